//! As many writes wait as may: then writers are told, or wait, or write themselves. Nothing that was answered is dropped.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use crate::support::MINUTE;
use crate::support::behind::{Behind, HOUR, Log, Numbers, SECOND, put, put_all, settings};
use crate::support::watching::Heard;
use larder::journal::Volatile;
use larder::store::WriteBehindBuilder;
use larder::testing::{Call, FakeStore, Trouble};
use larder::{AtLimit, Change, ErrorKind, Store, StoreError};
use tokio::time::Instant;

/// A store that is down, and write-behind over it that holds ten writes.
fn down(at_limit: AtLimit) -> (Numbers, Behind, Heard) {
    let heard = Heard::default();
    let (store, builder) = builder();
    let builder = builder.at_limit(at_limit).observer(heard.clone());
    (store, builder.journal(Log::new()).store().unwrap(), heard)
}

fn builder() -> (Numbers, WriteBehindBuilder<u64, u64, Numbers>) {
    let store = FakeStore::new().keeping_every_write();
    store.always(Call::Commit, Some(Trouble::Transient));
    let builder = settings(&store).exactly_once().max_pending(10).batch(5);
    (store, builder)
}

fn is_full(error: &StoreError) -> bool {
    error.downcast_ref::<larder::Error>().is_some_and(|error| error.kind() == ErrorKind::Full)
}

fn spawn(behind: &Behind, key: u64, value: u64) -> tokio::task::JoinHandle<Result<(), StoreError>> {
    let behind = behind.clone();
    tokio::spawn(async move { behind.save(&key, &value).await.map(drop) })
}

/// Hazelcast's queue grew until there was no memory left, and failed writes came twice.
#[tokio::test(start_paused = true)]
async fn a_store_that_is_down_for_an_hour_costs_no_memory_and_gets_everything_once() {
    let (store, behind, heard) = down(AtLimit::Reject);
    let mut accepted = Vec::new();
    let began = Instant::now();
    let mut refused = 0;
    for key in 0.. {
        match behind.save(&key, &key).await {
            Ok(_) => accepted.push(Change::Put(key, key)),
            Err(error) => {
                assert!(is_full(&error));
                refused += 1;
            }
        }
        assert!(behind.backlog().writes <= 10);
        tokio::time::sleep(SECOND).await;
        if began.elapsed() > HOUR {
            break;
        }
    }
    assert_eq!((accepted.len(), heard.count("AtLimit")), (10, refused));
    store.always(Call::Commit, None);
    behind.flush().await.unwrap();
    assert_eq!(store.history(), accepted);
    put(&behind, 1, 1).await;
}

#[tokio::test(start_paused = true)]
async fn a_writer_waits_for_room_and_is_then_told() {
    let (_store, behind, heard) = down(AtLimit::Block(20 * SECOND));
    put_all(&behind, 0..10).await;
    let began = Instant::now();
    assert!(is_full(&behind.save(&10, &10).await.unwrap_err()));
    assert_eq!(began.elapsed().as_secs(), 20);
    assert_eq!(heard.count("AtLimit"), 1);
}

#[tokio::test(start_paused = true)]
async fn writers_that_wait_are_let_in_as_soon_as_there_is_room() {
    let (store, behind, _) = down(AtLimit::Block(HOUR));
    put_all(&behind, 0..10).await;
    let writers: Vec<_> = (10..110).map(|key| spawn(&behind, key, key)).collect();
    tokio::time::sleep(MINUTE).await;
    assert!(writers.iter().all(|writer| !writer.is_finished()));
    assert_eq!(behind.backlog().writes, 10);
    store.always(Call::Commit, None);
    let began = Instant::now();
    for writer in writers {
        writer.await.unwrap().unwrap();
    }
    assert!(began.elapsed() <= 12 * SECOND, "a pause, and not their patience: {:?}", began.elapsed());
    behind.flush().await.unwrap();
    assert_eq!(store.history().len(), 110);
}

#[tokio::test(start_paused = true)]
async fn a_writer_that_goes_away_while_it_waits_leaves_nothing_behind() {
    let (store, behind, _) = down(AtLimit::Block(HOUR));
    put_all(&behind, 0..10).await;
    let gone: Vec<_> = (10..60).map(|key| spawn(&behind, key, key)).collect();
    tokio::time::sleep(MINUTE).await;
    gone.iter().for_each(tokio::task::JoinHandle::abort);
    tokio::time::sleep(SECOND).await;
    assert_eq!(behind.backlog().writes, 10);
    let stays = spawn(&behind, 60, 60);
    store.always(Call::Commit, None);
    stays.await.unwrap().unwrap();
    behind.flush().await.unwrap();
    let expected: Vec<_> = (0..10).chain([60]).map(|key| Change::Put(key, key)).collect();
    assert_eq!(store.history(), expected);
    assert_eq!((behind.backlog().writes, behind.backlog().bytes), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn at_the_limit_a_write_goes_to_the_store_itself() {
    let (store, behind, _) = down(AtLimit::WriteThrough);
    put_all(&behind, 0..10).await;
    put(&behind, 50, 50).await;
    assert_eq!(store.row(&50), Some(50), "when it is answered");
    store.always(Call::Save, Some(Trouble::NotApplied));
    assert!(behind.save(&51, &51).await.is_err(), "what the store says is the answer");
}

#[tokio::test(start_paused = true)]
async fn what_goes_to_the_store_itself_comes_after_what_waits_for_its_key() {
    let (store, behind, _) = down(AtLimit::WriteThrough);
    put_all(&behind, 0..10).await;
    let through = spawn(&behind, 3, 33);
    tokio::time::sleep(MINUTE).await;
    assert!(!through.is_finished());
    store.always(Call::Commit, None);
    through.await.unwrap().unwrap();
    behind.flush().await.unwrap();
    let of_three: Vec<_> = store.history().into_iter().filter(|change| *change.key() == 3).collect();
    assert_eq!(of_three, [Change::Put(3, 3), Change::Put(3, 33)]);
}

#[tokio::test(start_paused = true)]
async fn bytes_are_counted_as_they_are_weighed() {
    let (store, builder) = builder();
    let weigh = |change: &Change<u64, u64>| match change {
        Change::Put(_, value) => *value as usize,
        _ => 1,
    };
    let builder = builder.at_limit(AtLimit::Reject).max_pending_bytes(100).weigh(weigh);
    let behind = builder.journal(Volatile::new()).store().unwrap();
    put(&behind, 1, 60).await;
    assert!(is_full(&behind.save(&2, &41).await.unwrap_err()));
    put(&behind, 3, 40).await;
    assert_eq!((behind.backlog().writes, behind.backlog().bytes), (2, 100));
    store.always(Call::Commit, None);
    behind.flush().await.unwrap();
    put(&behind, 4, 1_000).await;
    assert!(is_full(&behind.delete(&5).await.unwrap_err()), "one that is too big goes alone");
}

#[tokio::test(start_paused = true)]
async fn when_the_oldest_is_too_old_no_more_is_accepted() {
    for log in [true, false] {
        let (store, builder) = builder();
        let builder = builder.at_limit(AtLimit::Reject).max_age(5 * SECOND).store_deadline(HOUR);
        let behind = match log {
            true => builder.journal(Log::new()).store().unwrap(),
            false => builder.journal(Volatile::new()).store().unwrap(),
        };
        store.always(Call::Commit, Some(Trouble::Hang));
        put(&behind, 1, 1).await;
        tokio::time::sleep(4 * SECOND).await;
        put(&behind, 2, 2).await;
        tokio::time::sleep(2 * SECOND).await;
        assert!(is_full(&behind.save(&3, &3).await.unwrap_err()), "also while the store is being asked");
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_written_during_a_long_wait_is_not_as_old_as_the_wait() {
    let (store, builder) = builder();
    let builder = builder.at_limit(AtLimit::Reject).max_age(21 * SECOND);
    let behind = builder.journal(Volatile::new()).store().unwrap();
    store.always(Call::Commit, None);
    store.delay(Call::Commit, 10 * SECOND);
    put(&behind, 1, 1).await;
    for key in 2..100 {
        tokio::time::sleep(9 * SECOND).await;
        put(&behind, key, key).await;
    }
}
