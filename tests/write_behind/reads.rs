//! Whoever reads through write-behind sees what has been answered, wherever it is on its way.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use crate::support::behind::{HOUR, Log, Numbers, SECOND, exact, put, settings, volatile};
use crate::support::{MINUTE, numbers};
use larder::journal::Volatile;
use larder::testing::{Call, TestClock, Trouble};
use larder::{LayeredCache, Loader, Memory, Store};

fn cache(store: &Numbers) -> LayeredCache<u64, u64> {
    let builder = settings(store).journal(Volatile::new()).alarm_after(HOUR).tier(Memory::with_capacity(10));
    builder.ttl(MINUTE).jitter(0.0).clock(TestClock::new()).build().unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_write_that_waits_is_read_after_its_copy_was_evicted() {
    let store = numbers(100);
    store.always(Call::Save, Some(Trouble::Transient));
    let cache = cache(&store);
    for key in 0..100 {
        cache.put(&key, key + 1_000).await.unwrap();
    }
    for key in 0..100 {
        assert_eq!(cache.get(&key).await.unwrap(), Some(key + 1_000));
    }
    assert_eq!(store.loads(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_write_that_waits_does_not_expire() {
    let store = numbers(1);
    store.always(Call::Save, Some(Trouble::Transient));
    let cache = cache(&store);
    cache.put(&0, 10).await.unwrap();
    for _ in 0..60 {
        tokio::time::sleep(2 * MINUTE).await;
        assert_eq!(cache.get(&0).await.unwrap(), Some(10), "its copy has expired, itself has not");
    }
    store.always(Call::Save, None);
    cache.flush().await.unwrap();
    assert_eq!(store.row(&0), Some(10));
}

#[tokio::test(start_paused = true)]
async fn a_write_that_is_accepted_while_the_store_is_read_wins() {
    let store = numbers(2);
    let behind = volatile(&store);
    let gate = store.gate_after(Call::Load);
    let (one, many) = (behind.clone(), behind.clone());
    let one = tokio::spawn(async move { one.load(&0).await });
    let many = tokio::spawn(async move { many.load_many(&[0, 1]).await });
    gate.arrived(3).await;
    put(&behind, 0, 10).await;
    behind.delete(&1).await.unwrap();
    gate.open();
    assert_eq!(one.await.unwrap().unwrap(), Some(10));
    let many: Vec<_> = many.await.unwrap().into_iter().map(Result::unwrap).collect();
    assert_eq!(many, [Some(10), None]);
}

#[tokio::test(start_paused = true)]
async fn a_load_that_a_write_has_come_before_is_not_kept() {
    let store = numbers(1);
    let cache = cache(&store);
    let gate = store.gate_after(Call::Load);
    let reader = tokio::spawn({
        let cache = cache.clone();
        async move { cache.get(&0).await }
    });
    gate.arrived(1).await;
    cache.put(&0, 10).await.unwrap();
    cache.flush().await.unwrap();
    gate.open();
    _ = reader.await.unwrap().unwrap();
    assert_eq!(cache.get(&0).await.unwrap(), Some(10));
}

#[tokio::test(start_paused = true)]
async fn a_write_is_not_seen_before_it_is_durable() {
    let store = numbers(1);
    let log = Log::new();
    let behind = exact(&store, &log);
    log.hold_back(true);
    let writer = tokio::spawn({
        let behind = behind.clone();
        async move { behind.save(&0, &10).await.map(drop) }
    });
    tokio::time::sleep(MINUTE).await;
    assert!(!writer.is_finished(), "it is not answered");
    assert_eq!(behind.load(&0).await.unwrap(), Some(0), "a power loss would take it back");
    assert_eq!((store.row(&0), store.count(Call::Commit)), (Some(0), 0));
    assert_eq!(behind.backlog().writes, 1);
    log.hold_back(false);
    writer.await.unwrap().unwrap();
    assert_eq!(behind.load(&0).await.unwrap(), Some(10));
    tokio::time::sleep(2 * SECOND).await;
    assert_eq!(store.row(&0), Some(10));
}
