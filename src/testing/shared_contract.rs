//! What a journal that processes share, and what merges, ask of a transactional store: as a suite.

use std::time::Duration;

use super::batch;
use crate::error::StoreError;
use crate::store::{Change, Committed, JournalId, MergeStore, Merging, ShardId, Sum, TransactionalStore};

const JOURNAL: JournalId = JournalId::from_bytes([9; 16]);
const SHARD: ShardId = ShardId::new(JOURNAL, 2);
const OTHER: ShardId = ShardId::new(JOURNAL, 5);
const LONG: Duration = Duration::from_secs(3_600);
const SHORT: Duration = Duration::from_millis(30);
const ONE: u64 = 1;
/// All bits count.
const TWO: u64 = u64::MAX - 1;

/// Checks what [`TransactionalStore`] promises to processes that share a journal, and [`MergeStore`] to those who count, against
/// stores made by `make`, a new and empty one for each promise. The other promises are in
/// [`transactional_store_contract`](super::transactional_store_contract()). Takes a tenth of a second for leases to run out.
///
/// # Errors
///
/// The store's own.
///
/// # Panics
///
/// When a promise is broken, naming it.
pub async fn merge_store_contract<S>(make: impl AsyncFn() -> S) -> Result<(), StoreError>
where
    S: MergeStore<u64, i64>,
{
    a_lease_keeps_others_out(make().await).await?;
    a_lease_runs_out_unless_it_is_renewed(make().await).await?;
    a_lease_that_is_ended_is_free(make().await).await?;
    merges_are_made_of_what_is_there(make().await).await?;
    value_and_offset_are_of_one_moment(make().await).await
}

async fn a_lease_keeps_others_out(store: impl TransactionalStore<u64, i64>) -> Result<(), StoreError> {
    let claim = store.claim_for(SHARD, ONE, LONG).await?.expect("a shard that nobody owns can be claimed");
    assert_eq!(
        (claim.epoch(), claim.offset()),
        (1, 0),
        "a shard that is not known begins with epoch 1 and offset 0"
    );
    assert_eq!(store.claim_for(SHARD, TWO, LONG).await?, None, "a lease keeps others out");
    assert!(store.claim_for(OTHER, TWO, LONG).await?.is_some(), "a lease is on one shard");
    let again = store.claim_for(SHARD, ONE, LONG).await?.expect("its owner may claim a shard anew");
    assert_eq!(again.epoch(), 2, "every claim raises the epoch");
    Ok(())
}

async fn a_lease_runs_out_unless_it_is_renewed(
    store: impl TransactionalStore<u64, i64>,
) -> Result<(), StoreError> {
    _ = store.claim_for(SHARD, ONE, SHORT).await?;
    assert_eq!(
        store.renew(JOURNAL, ONE, LONG).await?,
        [(2, 1)],
        "what is owned is renewed, and named with its epoch"
    );
    tokio::time::sleep(2 * SHORT).await;
    assert_eq!(store.claim_for(SHARD, TWO, LONG).await?, None, "a lease that was renewed has not run out");
    _ = store.renew(JOURNAL, ONE, SHORT).await?;
    tokio::time::sleep(2 * SHORT).await;
    let claim = store.claim_for(SHARD, TWO, LONG).await?.expect("a lease that has run out keeps nobody out");
    assert_eq!(claim.epoch(), 2);
    assert_eq!(store.renew(JOURNAL, ONE, LONG).await?, [], "what another owns is not renewed");
    let late = batch(SHARD, 1, 0, vec![Change::Put(1, 1)], vec![]);
    assert_eq!(store.commit(&late).await?, Committed::Refused, "who was an owner once is refused");
    Ok(())
}

async fn a_lease_that_is_ended_is_free(store: impl TransactionalStore<u64, i64>) -> Result<(), StoreError> {
    _ = store.claim_for(SHARD, ONE, LONG).await?;
    store.release(SHARD, 7).await?;
    assert_eq!(store.claim_for(SHARD, TWO, LONG).await?, None, "a lease of another epoch is not ended");
    store.release(SHARD, 1).await?;
    assert!(store.claim_for(SHARD, TWO, LONG).await?.is_some(), "a lease that was ended keeps nobody out");
    Ok(())
}

async fn merges_are_made_of_what_is_there(store: impl MergeStore<u64, i64>) -> Result<(), StoreError> {
    _ = store.claim_for(SHARD, ONE, LONG).await?;
    let changes = |changes| {
        let mut batch = batch(SHARD, 1, 0, changes, vec![]);
        batch.merging = Some(Merging::new(Sum));
        batch
    };
    let first = changes(vec![Change::Put(1, 10), Change::Merge(2, 5), Change::Put(3, 1)]);
    assert_eq!(store.commit(&first).await?, Committed::Done);
    let mut second =
        changes(vec![Change::Merge(1, 7), Change::Merge(2, -1), Change::Delete(3), Change::Merge(4, 4)]);
    (second.after, second.upto) = (3, 7);
    assert_eq!(store.commit(&second).await?, Committed::Done);
    assert_eq!(store.commit(&second).await?, Committed::Refused, "a batch is merged once");
    let mut values = Vec::new();
    for key in 1..=4 {
        values.push(store.load(&key).await?);
    }
    assert_eq!(values, [Some(17), Some(4), None, Some(4)], "an operand is merged into what the key has");
    Ok(())
}

async fn value_and_offset_are_of_one_moment(store: impl MergeStore<u64, i64>) -> Result<(), StoreError> {
    let (values, offset) = store.snapshot(SHARD, &[1, 2]).await?;
    assert_eq!((values, offset), (vec![None, None], 0), "of what is not there nothing is said");
    _ = store.claim_for(SHARD, ONE, LONG).await?;
    _ = store.commit(&batch(SHARD, 1, 0, vec![Change::Put(2, 20)], vec![])).await?;
    assert_eq!(
        store.snapshot(SHARD, &[1, 2]).await?,
        (vec![None, Some(20)], 1),
        "value and offset go together"
    );
    assert_eq!(store.snapshot(OTHER, &[2]).await?, (vec![Some(20)], 0), "the offset is that of the shard");
    Ok(())
}
