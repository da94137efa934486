//! Writes of one key reach the store in the order in which they were answered, whatever is merged on the way.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use crate::support::behind::{Log, MILLI, SECOND, exact, put, put_all, settings, volatile};
use crate::support::{MINUTE, numbers};
use larder::Change::{Delete, Put};
use larder::journal::Volatile;
use larder::testing::{Call, FakeStore, Trouble};
use larder::{ErrorKind, Loader, Memory, Store};

#[tokio::test(start_paused = true)]
async fn a_put_and_a_delete_in_one_window_never_swap() {
    let store = numbers(0);
    let behind = volatile(&store);
    put(&behind, 1, 10).await;
    behind.delete(&1).await.unwrap();
    behind.flush().await.unwrap();
    assert_eq!(store.row(&1), None, "redisson stored deletes before puts");
    put(&behind, 1, 11).await;
    behind.delete(&1).await.unwrap();
    put(&behind, 1, 12).await;
    behind.flush().await.unwrap();
    assert_eq!(store.row(&1), Some(12));
}

/// Hazelcast once put a key off for as long as it was written.
#[tokio::test(start_paused = true)]
async fn a_key_that_is_written_every_millisecond_is_stored_in_every_window() {
    let store = numbers(0);
    let behind = volatile(&store);
    for millis in 1..=60_000 {
        put(&behind, 1, millis).await;
        tokio::time::sleep(MILLI).await;
        if millis > 1_100 {
            let row = store.row(&1).expect("the first window has passed");
            assert!(millis - row <= 1_100, "at {millis} the store has {row}");
        }
    }
    assert!(store.saves() <= 61, "once for each window, not {} times", store.saves());
}

/// Hazelcast lost the second write when it took the key for stored.
#[tokio::test(start_paused = true)]
async fn what_is_written_while_the_same_key_is_being_stored_is_stored_after_it() {
    let store = numbers(0);
    let behind = volatile(&store);
    let gate = store.gate_after(Call::Save);
    put(&behind, 1, 10).await;
    gate.arrived(1).await;
    put(&behind, 1, 11).await;
    assert_eq!((store.row(&1), behind.load(&1).await.unwrap()), (Some(10), Some(11)));
    gate.open();
    tokio::time::sleep(SECOND / 2).await;
    // The first one has landed: whoever took the key for settled would read past the second.
    assert_eq!((store.row(&1), behind.load(&1).await.unwrap()), (Some(10), Some(11)));
    behind.flush().await.unwrap();
    assert_eq!(store.history(), [Put(1, 10), Put(1, 11)]);
}

#[tokio::test(start_paused = true)]
async fn what_is_written_while_an_older_write_fails_is_stored_with_the_next_try() {
    let store = numbers(0);
    let behind = volatile(&store);
    let gate = store.gate_before(Call::Save);
    store.next(Call::Save, Trouble::Transient);
    put(&behind, 1, 10).await;
    gate.arrived(1).await;
    put(&behind, 1, 11).await;
    gate.open();
    behind.flush().await.unwrap();
    assert_eq!(store.history(), [Put(1, 11)]);
}

#[tokio::test(start_paused = true)]
async fn writes_reach_a_store_that_wants_every_one_in_their_order() {
    for log in [true, false] {
        let store = FakeStore::new().keeping_every_write();
        let behind = match log {
            true => exact(&store, &Log::new()),
            false => settings(&store).exactly_once().journal(Volatile::new()).store().unwrap(),
        };
        store.next(Call::Commit, Trouble::Transient);
        let mut expected = Vec::new();
        for round in 0..250 {
            put(&behind, round % 3, round).await;
            behind.delete(&(round % 7)).await.unwrap();
            expected.extend([Put(round % 3, round), Delete(round % 7)]);
        }
        behind.flush().await.unwrap();
        assert_eq!(store.history(), expected);
    }
}

/// Ehcache ends a batch where puts change to deletes.
#[tokio::test(start_paused = true)]
async fn puts_and_deletes_share_full_batches() {
    let store = numbers(0);
    let behind = exact(&store, &Log::new());
    for key in 0..500 {
        put(&behind, key, key).await;
        behind.delete(&(key + 1_000)).await.unwrap();
    }
    behind.flush().await.unwrap();
    assert_eq!(store.count(Call::Commit), 10, "a thousand writes, a hundred in each batch");
}

#[tokio::test(start_paused = true)]
async fn a_batch_of_changes_is_accepted_in_its_order() {
    let store = numbers(0);
    let behind = exact(&store, &Log::new());
    behind.apply(&[Put(1, 1), Delete(1), Put(2, 2), Put(1, 3), Delete(2)]).await.unwrap();
    assert_eq!(
        behind.load_many(&[1, 2, 3]).await.into_iter().map(Result::unwrap).collect::<Vec<_>>(),
        [Some(3), None, None]
    );
    behind.flush().await.unwrap();
    assert_eq!((store.row(&1), store.row(&2)), (Some(3), None));
}

#[tokio::test(start_paused = true)]
async fn a_full_batch_does_not_wait() {
    let store = numbers(0);
    let behind = volatile(&store);
    put_all(&behind, 0..99).await;
    tokio::time::sleep(SECOND / 2).await;
    assert_eq!(store.saves(), 0);
    put_all(&behind, [99]).await;
    tokio::time::sleep(MILLI).await;
    assert_eq!(store.saves(), 100);
}

/// A put whose caller has gone away is still on its way into the journal, and would land on what is written after it.
#[tokio::test(start_paused = true)]
async fn a_write_of_ones_own_waits_for_what_is_on_its_way_into_the_journal() {
    let (store, log) = (numbers(0), Log::new());
    let builder = settings(&store).exactly_once().journal(log.clone()).tier(Memory::with_capacity(10));
    let cache = builder.ttl(MINUTE).build().unwrap();
    log.hold_back(true);
    assert_eq!(cache.put(&1, 10).await.unwrap_err().kind(), ErrorKind::Timeout);
    let own = tokio::spawn({
        let (cache, store) = (cache.clone(), store.clone());
        async move {
            let write = || async move {
                store.set_row(1, 20);
                Ok::<_, std::io::Error>(())
            };
            cache.write(&[1], write).await.map(drop)
        }
    });
    tokio::time::sleep(SECOND).await;
    assert!(!own.is_finished());
    log.hold_back(false);
    own.await.unwrap().unwrap();
    tokio::time::sleep(MINUTE).await;
    assert_eq!(store.row(&1), Some(20));
}
