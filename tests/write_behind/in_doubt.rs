//! A commit that nobody has heard of: the store's row says what became of it, and each write has its effect once.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::Duration;

use crate::support::MINUTE;
use crate::support::behind::{
    Behind, Log, Numbers, SECOND, exact, put, put_all, put_and_flush, settings, shard,
};
use crate::support::watching::Heard;
use larder::store::{Claim, TransactionalStore};
use larder::testing::{Call, FakeStore, Trouble};
use larder::{Change, ErrorKind, Store};
use tokio::time::Instant;

fn store() -> Numbers {
    FakeStore::new().keeping_every_write()
}

fn once() -> Vec<Change<u64, u64>> {
    (0..10).map(|key| Change::Put(key, key)).collect()
}

/// Ten writes, the commit of which goes wrong like this.
async fn after(trouble: Trouble) -> (Numbers, Behind) {
    let store = store();
    store.next(Call::Commit, trouble);
    let behind = exact(&store, &Log::new());
    put_and_flush(&behind, 0..10).await;
    (store, behind)
}

#[tokio::test(start_paused = true)]
async fn one_that_has_landed_is_not_sent_again() {
    let (store, _behind) = after(Trouble::LandsLater(Duration::ZERO)).await;
    assert_eq!((store.history(), store.count(Call::Commit), store.count(Call::Offset)), (once(), 1, 1));
}

#[tokio::test(start_paused = true)]
async fn one_that_has_not_landed_is_sent_again() {
    let (store, _behind) = after(Trouble::Unknown).await;
    assert_eq!((store.history(), store.count(Call::Commit), store.count(Call::Offset)), (once(), 2, 1));
}

#[tokio::test(start_paused = true)]
async fn one_that_may_still_land_is_waited_for() {
    let began = Instant::now();
    let (store, behind) = after(Trouble::LandsLater(20 * SECOND)).await;
    assert!(began.elapsed() >= 20 * SECOND, "the row is locked by it");
    assert_eq!((store.history(), store.count(Call::Commit)), (once(), 1));
    assert_eq!(store.shard(shard(&behind)), Some(Claim::new(1, 10)));
}

#[tokio::test(start_paused = true)]
async fn one_that_says_that_it_is_done_is_believed() {
    let (store, _behind) = after(Trouble::Applied).await;
    assert_eq!((store.history(), store.count(Call::Commit), store.count(Call::Offset)), (once(), 1, 0));
}

#[tokio::test(start_paused = true)]
async fn one_that_says_that_nothing_is_done_is_sent_again_without_a_question() {
    let (store, _behind) = after(Trouble::NotApplied).await;
    assert_eq!((store.history(), store.count(Call::Commit), store.count(Call::Offset)), (once(), 2, 0));
}

/// The claim's answer is lost, the next claim is answered, and then the first one comes to the store after all: the row is
/// no longer what this process knows, and still its own.
#[tokio::test(start_paused = true)]
async fn a_claim_of_ones_own_that_comes_late_is_made_once_more() {
    let store = store();
    store.next(Call::Claim, Trouble::LandsLater(SECOND));
    let behind = exact(&store, &Log::new());
    put_and_flush(&behind, 0..10).await;
    tokio::time::sleep(MINUTE).await;
    put_and_flush(&behind, 10..20).await;
    let all: Vec<_> = (0..20).map(|key| Change::Put(key, key)).collect();
    assert_eq!((store.history(), store.shard(shard(&behind))), (all, Some(Claim::new(3, 20))));
}

/// Its deadline ends it while the store has committed and not answered.
#[tokio::test(start_paused = true)]
async fn one_whose_answer_is_lost_is_not_sent_again() {
    let store = store();
    let gate = store.gate_after(Call::Commit);
    let builder = settings(&store).exactly_once().journal(Log::new()).store_deadline(5 * SECOND);
    let behind = builder.store().unwrap();
    put_all(&behind, 0..10).await;
    gate.arrived(1).await;
    behind.flush().await.unwrap();
    assert_eq!((store.history(), store.count(Call::Commit)), (once(), 1));
}

#[tokio::test(start_paused = true)]
async fn nothing_is_sent_until_the_row_can_be_read() {
    for trouble in [Trouble::Transient, Trouble::Unknown, Trouble::Permanent, Trouble::Panic] {
        let store = store();
        store.next(Call::Commit, Trouble::LandsLater(SECOND));
        store.always(Call::Offset, Some(trouble));
        let behind = exact(&store, &Log::new());
        put_all(&behind, 0..10).await;
        tokio::time::sleep(10 * MINUTE).await;
        assert_eq!(store.count(Call::Commit), 1);
        assert!(store.count(Call::Offset) > 30, "it is asked again and again");
        assert_eq!(behind.backlog().writes, 10);
        store.always(Call::Offset, None);
        behind.flush().await.unwrap();
        assert_eq!((store.history(), store.count(Call::Commit)), (once(), 1));
    }
}

#[tokio::test(start_paused = true)]
async fn another_owner_ends_it_and_nothing_more_is_written() {
    let store = store();
    let heard = Heard::default();
    let builder = settings(&store).exactly_once().journal(Log::new()).observer(heard.clone());
    let behind = builder.store().unwrap();
    put(&behind, 0, 0).await;
    behind.flush().await.unwrap();
    let theirs = store.claim(shard(&behind)).await.unwrap();
    assert_eq!(theirs, Claim::new(2, 1));
    put(&behind, 1, 1).await;
    let error = behind.flush().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Journal);
    assert!(error.to_string().contains("another process"), "{error}");
    let refused = behind.save(&2, &2).await.unwrap_err();
    let ours = refused.downcast_ref::<larder::Error>().expect("larder's own");
    assert_eq!(ours.kind(), ErrorKind::Journal);
    tokio::time::sleep(10 * MINUTE).await;
    assert_eq!(store.history(), [Change::Put(0, 0)]);
    assert_eq!(heard.count("JournalFailed"), 1);
    assert_eq!(store.shard(shard(&behind)), Some(theirs));
    assert_eq!(behind.close(MINUTE).await.unwrap().writes, [Change::Put(1, 1)]);
}

/// A commit of the earlier owner that lands after the claim of the later one does nothing.
#[tokio::test(start_paused = true)]
async fn a_late_commit_of_an_earlier_owner_does_nothing() {
    let (store, log) = (store(), Log::new());
    let first = exact(&store, &log);
    store.next(Call::Commit, Trouble::LandsLater(MINUTE));
    put_all(&first, 0..10).await;
    tokio::time::sleep(2 * SECOND).await;
    drop(first);
    let second = exact(&store, &log);
    second.flush().await.unwrap();
    put(&second, 0, 100).await;
    second.flush().await.unwrap();
    tokio::time::sleep(2 * MINUTE).await;
    assert_eq!(store.history(), [once(), vec![Change::Put(0, 100)]].concat());
    assert_eq!(store.row(&0), Some(100));
}
