//! What write-behind tells an observer, and what its counters say.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::Duration;

use crate::support::behind::{HOUR, Log, Numbers, SECOND, exact, put_all, settings};
use crate::support::watching::Heard;
use crate::support::{MINUTE, numbers};
use larder::journal::Volatile;
use larder::testing::{Call, FakeStore, Trouble};
use larder::{AtLimit, LayeredCache, Memory};

fn watched(store: &Numbers) -> (LayeredCache<u64, u64>, Heard) {
    let heard = Heard::default();
    let builder = settings(store).exactly_once().journal(Volatile::new()).max_pending(100);
    let builder = builder.at_limit(AtLimit::Reject).tier(Memory::with_capacity(1_000)).ttl(HOUR);
    (builder.observer(heard.clone()).build().unwrap(), heard)
}

#[tokio::test(start_paused = true)]
async fn batches_and_what_was_replaced_are_counted() {
    let store = numbers(0);
    let (cache, heard) = watched(&store);
    for round in 0..3 {
        for key in 0..50 {
            cache.put(&key, round).await.unwrap();
        }
    }
    cache.flush().await.unwrap();
    let stats = cache.stats();
    assert_eq!((stats.flushed, stats.replaced, stats.batches), (150, 100, 1));
    assert!(heard.everything().contains("Flushed { writes: 50, replaced: 100 }"), "{}", heard.everything());
    assert_eq!((stats.flush_failures, stats.dead_letters, stats.overdue, stats.at_limit), (0, 0, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn what_waits_is_measured() {
    let store = numbers(0);
    let (cache, _) = watched(&store);
    assert_eq!((cache.stats().pending, cache.stats().pending_age), (0, Duration::ZERO));
    cache.put(&1, 1).await.unwrap();
    cache.put(&2, 2).await.unwrap();
    tokio::time::sleep(SECOND / 2).await;
    let stats = cache.stats();
    assert_eq!((stats.pending, stats.pending_bytes), (2, 2 * 16));
    assert_eq!(stats.pending_age.as_millis(), 500);
    cache.flush().await.unwrap();
    let stats = cache.stats();
    assert_eq!((stats.pending, stats.pending_bytes, stats.pending_age), (0, 0, Duration::ZERO));
}

#[tokio::test(start_paused = true)]
async fn failures_are_told_with_their_reason() {
    let store = numbers(0);
    let (cache, heard) = watched(&store);
    store.next(Call::Claim, Trouble::Transient);
    store.next(Call::Commit, Trouble::Unknown);
    store.next(Call::Offset, Trouble::Transient);
    cache.put(&1, 1).await.unwrap();
    cache.flush().await.unwrap();
    assert_eq!((heard.count("FlushFailed"), cache.stats().flush_failures), (3, 3));
    let said = heard.everything();
    assert_eq!(said.matches("FlushFailed { writes: 0").count(), 2, "{said}");
    assert_eq!(said.matches("FlushFailed { writes: 1").count(), 1, "{said}");
}

#[tokio::test(start_paused = true)]
async fn dead_letters_alarms_and_the_limit_are_counted() {
    let store = numbers(0);
    let (cache, heard) = watched(&store);
    store.always(Call::Commit, Some(Trouble::Transient));
    for key in 0..105 {
        _ = cache.put(&key, key).await;
    }
    tokio::time::sleep(2 * MINUTE).await;
    store.poison(|change| *change.key() == 7);
    store.always(Call::Commit, None);
    cache.flush().await.unwrap();
    let stats = cache.stats();
    assert_eq!((stats.at_limit, stats.overdue, stats.dead_letters), (5, 1, 1));
    assert_eq!((heard.count("AtLimit"), heard.count("Overdue"), heard.count("PutAside")), (5, 1, 1));
    assert!(heard.everything().contains("PutAside { seq: 8 }"), "{}", heard.everything());
    assert_eq!(stats.flushed, 99);
}

#[tokio::test(start_paused = true)]
async fn what_an_earlier_process_has_left_is_told() {
    let (store, log) = (FakeStore::new(), Log::new());
    let first = exact(&store, &log);
    put_all(&first, 0..3).await;
    drop(first);
    let heard = Heard::default();
    let builder = settings(&store).exactly_once().journal(log).tier(Memory::with_capacity(10)).ttl(HOUR);
    let cache = builder.observer(heard.clone()).build().unwrap();
    assert!(heard.everything().contains("Recovered { writes: 3 }"), "{}", heard.everything());
    assert_eq!(cache.stats().pending, 3);
}
