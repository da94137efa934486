//! The contract of a transactional store as a suite, and the batches that it is made of.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use crate::bounds::{Key, Value};
use crate::error::StoreError;
use crate::store::{
    Batch, Change, Claim, Committed, DeadLetter, JournalId, PendingWrite, Seq, ShardId, TransactionalStore,
};

const JOURNAL: JournalId = JournalId::from_bytes([7; 16]);
const SHARD: ShardId = ShardId::new(JOURNAL, 3);
const OTHER_SHARD: ShardId = ShardId::new(JOURNAL, u16::MAX);
const OTHER_JOURNAL: ShardId = ShardId::new(JournalId::from_bytes([0xff; 16]), 3);

/// The batch that moves `shard` on by `changes` and `letters` from the offset `after`: the changes are numbered from there,
/// and the batch reaches up to the last of them, or to the last letter.
pub fn batch<K: Key + Ord, V: Value>(
    shard: ShardId,
    epoch: u64,
    after: Seq,
    changes: Vec<Change<K, V>>,
    letters: Vec<DeadLetter>,
) -> Batch<K, V> {
    let writes: Vec<_> =
        (after + 1..).zip(changes).map(|(seq, change)| PendingWrite::new(shard, seq, change)).collect();
    let last: BTreeMap<_, _> =
        writes.iter().map(|write| (write.change().key().clone(), write.change())).collect();
    let changes = last.into_values().cloned().collect();
    let numbers = writes.iter().map(PendingWrite::seq).chain(letters.iter().map(DeadLetter::seq));
    let upto = numbers.max().unwrap_or(after);
    Batch { shard, epoch, after, upto, writes, changes, letters, merging: None }
}

/// Checks every promise of [`TransactionalStore`] against stores made by `make`, a new and empty one for each promise.
/// Those of [`Store`](crate::Store) are in [`store_contract`](super::store_contract()).
///
/// What no suite can check is yours to show: that nothing is left of a transaction whose connection or process dies, and
/// that [`offset`](TransactionalStore::offset) waits for one that is still under way.
///
/// # Errors
///
/// The store's own.
///
/// # Panics
///
/// When a promise is broken, naming it.
pub async fn transactional_store_contract<S>(make: impl AsyncFn() -> S) -> Result<(), StoreError>
where
    S: TransactionalStore<u64, String>,
{
    what_was_never_claimed_has_no_row(make().await).await?;
    a_claim_raises_the_epoch_and_keeps_the_offset(make().await).await?;
    a_commit_has_effects_and_moves_the_offset(make().await).await?;
    an_earlier_owner_is_refused(make().await).await?;
    a_batch_is_done_once(make().await).await?;
    a_gap_is_refused(make().await).await?;
    who_never_claimed_is_refused(make().await).await?;
    shards_know_nothing_of_each_other(make().await).await?;
    letters_come_with_their_batch(make().await).await?;
    letters_are_listed_page_by_page(make().await).await?;
    a_letter_comes_back_as_it_was(make().await).await?;
    a_letter_is_discarded_once(make().await).await?;
    an_empty_batch_is_one(make().await).await?;
    numbers_may_be_large(make().await).await?;
    what_was_forgotten_begins_anew(make().await).await
}

async fn what_was_never_claimed_has_no_row(
    store: impl TransactionalStore<u64, String>,
) -> Result<(), StoreError> {
    assert_eq!(store.offset(SHARD).await?, None, "a shard that nobody claimed has no row");
    assert!(store.letters(JOURNAL, None, 10).await?.is_empty(), "a journal without dead letters has none");
    Ok(())
}

async fn a_claim_raises_the_epoch_and_keeps_the_offset(
    store: impl TransactionalStore<u64, String>,
) -> Result<(), StoreError> {
    assert_eq!(store.claim(SHARD).await?, Claim::new(1, 0), "the first claim has epoch 1 and offset 0");
    assert_eq!(store.offset(SHARD).await?, Some(Claim::new(1, 0)), "the row says what the claim said");
    commit(&store, &puts(SHARD, 1, 0, &[1])).await?;
    assert_eq!(store.claim(SHARD).await?, Claim::new(2, 1), "a claim raises the epoch, and keeps the offset");
    assert_eq!(store.offset(SHARD).await?, Some(Claim::new(2, 1)), "the row says what the claim said");
    Ok(())
}

async fn a_commit_has_effects_and_moves_the_offset(
    store: impl TransactionalStore<u64, String>,
) -> Result<(), StoreError> {
    store.claim(SHARD).await?;
    commit(&store, &puts(SHARD, 1, 0, &[1, 2])).await?;
    let changes = vec![Change::Delete(1), put(2, "two"), put(3, "three"), put(2, "two again")];
    commit(&store, &batch(SHARD, 1, 2, changes, vec![])).await?;
    assert_eq!(store.load(&1).await?, None, "what a batch deletes is gone");
    assert_eq!(
        store.load(&2).await?.as_deref(),
        Some("two again"),
        "the last put of a key in a batch counts"
    );
    assert_eq!(store.load(&3).await?.as_deref(), Some("three"), "what a batch puts is there");
    assert_eq!(
        store.offset(SHARD).await?,
        Some(Claim::new(1, 6)),
        "a batch moves the offset to its last write"
    );
    Ok(())
}

async fn an_earlier_owner_is_refused(store: impl TransactionalStore<u64, String>) -> Result<(), StoreError> {
    store.claim(SHARD).await?;
    store.claim(SHARD).await?;
    refuse(&store, &puts(SHARD, 1, 0, &[1]), "a batch of an earlier owner is refused").await?;
    assert_eq!(store.offset(SHARD).await?, Some(Claim::new(2, 0)), "a refused batch leaves the row alone");
    commit(&store, &puts(SHARD, 2, 0, &[1])).await
}

async fn a_batch_is_done_once(store: impl TransactionalStore<u64, String>) -> Result<(), StoreError> {
    store.claim(SHARD).await?;
    commit(&store, &puts(SHARD, 1, 0, &[1])).await?;
    store.delete(&1).await?;
    refuse(&store, &puts(SHARD, 1, 0, &[1]), "a batch that is done is refused the second time").await
}

async fn a_gap_is_refused(store: impl TransactionalStore<u64, String>) -> Result<(), StoreError> {
    store.claim(SHARD).await?;
    refuse(&store, &puts(SHARD, 1, 1, &[1]), "a batch that comes after another offset is refused").await
}

async fn who_never_claimed_is_refused(store: impl TransactionalStore<u64, String>) -> Result<(), StoreError> {
    refuse(&store, &puts(SHARD, 1, 0, &[1]), "a batch of a shard that nobody claimed is refused").await?;
    assert_eq!(store.offset(SHARD).await?, None, "a refused batch makes no row");
    Ok(())
}

async fn shards_know_nothing_of_each_other(
    store: impl TransactionalStore<u64, String>,
) -> Result<(), StoreError> {
    for shard in [SHARD, OTHER_SHARD, OTHER_JOURNAL] {
        assert_eq!(
            store.claim(shard).await?,
            Claim::new(1, 0),
            "each shard of each journal is claimed by itself"
        );
    }
    commit(&store, &puts(OTHER_SHARD, 1, 0, &[1])).await?;
    commit(&store, &puts(OTHER_JOURNAL, 1, 0, &[2, 3])).await?;
    for (shard, offset) in [(SHARD, 0), (OTHER_SHARD, 1), (OTHER_JOURNAL, 2)] {
        assert_eq!(store.offset(shard).await?, Some(Claim::new(1, offset)), "each shard has its own offset");
    }
    Ok(())
}

async fn letters_come_with_their_batch(
    store: impl TransactionalStore<u64, String>,
) -> Result<(), StoreError> {
    store.claim(SHARD).await?;
    let with_letter = |after| batch(SHARD, 1, after, vec![put(1, "one")], vec![letter(SHARD, after + 2)]);
    commit(&store, &with_letter(0)).await?;
    assert_eq!(store.letters(JOURNAL, None, 10).await?, [letter(SHARD, 2)], "a batch keeps its letters");
    assert_eq!(
        store.offset(SHARD).await?,
        Some(Claim::new(1, 2)),
        "a letter is settled: it moves the offset"
    );
    assert_eq!(
        store.commit(&with_letter(7)).await?,
        Committed::Refused,
        "a batch that comes after another offset"
    );
    assert_eq!(store.letters(JOURNAL, None, 10).await?.len(), 1, "a refused batch keeps no letter");
    Ok(())
}

async fn letters_are_listed_page_by_page(
    store: impl TransactionalStore<u64, String>,
) -> Result<(), StoreError> {
    for shard in [OTHER_SHARD, OTHER_JOURNAL, SHARD] {
        store.claim(shard).await?;
        let letters = vec![letter(shard, 1), letter(shard, 2)];
        commit(&store, &batch(shard, 1, 0, vec![], letters)).await?;
    }
    let mut listed = Vec::new();
    let mut after = None;
    loop {
        let page = store.letters(JOURNAL, after, 3).await?;
        let Some(last) = page.last() else { break };
        after = Some((last.shard().number(), last.seq()));
        assert!(page.len() <= 3, "a page has no more letters than were asked for");
        listed.extend(page.iter().map(|letter| (letter.shard(), letter.seq())));
    }
    let expected = [(SHARD, 1), (SHARD, 2), (OTHER_SHARD, 1), (OTHER_SHARD, 2)];
    assert_eq!(listed, expected, "the pages have every letter of the journal once, by shard and number");
    Ok(())
}

async fn a_letter_comes_back_as_it_was(
    store: impl TransactionalStore<u64, String>,
) -> Result<(), StoreError> {
    store.claim(SHARD).await?;
    let at = SystemTime::UNIX_EPOCH + Duration::new(1_700_000_000, 123_456_789);
    let plain = DeadLetter::new(SHARD, 1, at, "it's \"wrong\"; $1 \u{1f980}", vec![0, 0xff, b'\'']);
    let bare = DeadLetter::new(SHARD, 2, at, "", vec![]);
    commit(&store, &batch(SHARD, 1, 0, vec![], vec![plain.clone(), bare.clone()])).await?;
    assert_eq!(store.letters(JOURNAL, None, 10).await?, [plain, bare], "a letter is kept as it is");
    let odd = DeadLetter::new(SHARD, 3, at, "a \0 in it", vec![1]);
    commit(&store, &batch(SHARD, 1, 2, vec![], vec![odd])).await?;
    assert_eq!(
        store.letters(JOURNAL, Some((3, 2)), 10).await?.len(),
        1,
        "every reason can be kept, if not as it is"
    );
    Ok(())
}

async fn a_letter_is_discarded_once(store: impl TransactionalStore<u64, String>) -> Result<(), StoreError> {
    store.claim(SHARD).await?;
    commit(&store, &batch(SHARD, 1, 0, vec![], vec![letter(SHARD, 1), letter(SHARD, 2)])).await?;
    assert!(store.discard(SHARD, 1).await?, "there is a letter to discard");
    assert!(!store.discard(SHARD, 1).await?, "and then there is none");
    assert!(!store.discard(OTHER_SHARD, 2).await?, "nor is there one of another shard");
    assert_eq!(store.letters(JOURNAL, None, 10).await?, [letter(SHARD, 2)], "the others stay");
    Ok(())
}

async fn an_empty_batch_is_one(store: impl TransactionalStore<u64, String>) -> Result<(), StoreError> {
    store.claim(SHARD).await?;
    commit(&store, &puts(SHARD, 1, 0, &[])).await?;
    assert_eq!(store.offset(SHARD).await?, Some(Claim::new(1, 0)), "a batch of nothing changes nothing");
    Ok(())
}

async fn numbers_may_be_large(store: impl TransactionalStore<u64, String>) -> Result<(), StoreError> {
    const FAR: Seq = u64::MAX >> 1;
    store.claim(SHARD).await?;
    let far = Batch { upto: FAR, ..puts(SHARD, 1, 0, &[1]) };
    commit(&store, &far).await?;
    assert_eq!(store.offset(SHARD).await?, Some(Claim::new(1, FAR)), "an offset has 63 bits");
    Ok(())
}

async fn what_was_forgotten_begins_anew(
    store: impl TransactionalStore<u64, String>,
) -> Result<(), StoreError> {
    store.claim(SHARD).await?;
    store.claim(OTHER_SHARD).await?;
    commit(&store, &puts(SHARD, 1, 0, &[1])).await?;
    store.forget(SHARD).await?;
    assert_eq!(store.offset(SHARD).await?, None, "what was forgotten has no row");
    assert_eq!(store.offset(OTHER_SHARD).await?, Some(Claim::new(1, 0)), "the other shards keep theirs");
    assert_eq!(store.claim(SHARD).await?, Claim::new(1, 0), "what was forgotten begins anew");
    store.forget(OTHER_JOURNAL).await
}

async fn commit(
    store: &impl TransactionalStore<u64, String>,
    batch: &Batch<u64, String>,
) -> Result<(), StoreError> {
    assert_eq!(store.commit(batch).await?, Committed::Done, "a batch of the owner that comes next is done");
    Ok(())
}

/// The batch puts key 1, which is not there before.
async fn refuse(
    store: &impl TransactionalStore<u64, String>,
    batch: &Batch<u64, String>,
    promise: &str,
) -> Result<(), StoreError> {
    assert_eq!(store.commit(batch).await?, Committed::Refused, "{promise}");
    assert_eq!(store.load(&1).await?, None, "a refused batch has no effect");
    Ok(())
}

fn puts(shard: ShardId, epoch: u64, after: Seq, keys: &[u64]) -> Batch<u64, String> {
    batch(shard, epoch, after, keys.iter().map(|key| put(*key, "put")).collect(), vec![])
}

fn put(key: u64, value: &str) -> Change<u64, String> {
    Change::Put(key, value.to_owned())
}

fn letter(shard: ShardId, seq: Seq) -> DeadLetter {
    DeadLetter::new(shard, seq, SystemTime::UNIX_EPOCH, "it will not do", vec![1, 2, 3])
}
