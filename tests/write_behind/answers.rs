//! Writes are answered at once, read back at once, and come to the store in batches, in their order.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;
use std::time::Duration;

use crate::support::{MINUTE, numbers};
use futures_util::FutureExt;
use larder::journal::Volatile;
use larder::testing::{Call, FakeStore};
use larder::{Builder, Cache, ErrorKind, LayeredCache, Memory, Reached, Store, write_behind};

const SECOND: Duration = Duration::from_secs(1);

fn cache(store: &FakeStore<u64, u64>) -> LayeredCache<u64, u64> {
    settings(store).build().unwrap()
}

fn settings(store: &FakeStore<u64, u64>) -> Builder<u64, u64> {
    write_behind(store.clone())
        .journal(Volatile::new())
        .flush_every(SECOND)
        .tier(Memory::with_capacity(100))
        .ttl(MINUTE)
        .jitter(0.0)
}

#[tokio::test(start_paused = true)]
async fn a_write_is_answered_before_the_store_has_it_and_read_at_once() {
    let store = numbers(3);
    let cache = cache(&store);
    let written = cache.put(&1, 10).await.unwrap();
    assert_eq!((written.reached(), store.row(&1)), (Reached::Journal, Some(1)));
    assert_eq!(cache.get(&1).await.unwrap(), Some(10));
    cache.delete(&2).await.unwrap();
    assert_eq!(cache.get(&2).await.unwrap(), None);
    written.stored().await.unwrap();
    assert_eq!((store.row(&1), store.row(&2)), (Some(10), None), "both were in the batch");
}

#[tokio::test(start_paused = true)]
async fn what_waits_is_read_when_no_tier_has_a_copy() {
    let store = numbers(3);
    let cache = cache(&store);
    cache.put(&1, 10).await.unwrap();
    cache.delete(&2).await.unwrap();
    cache.clear().await.unwrap();
    assert_eq!(cache.get(&1).await.unwrap(), Some(10));
    assert_eq!(cache.get(&2).await.unwrap(), None);
    assert_eq!(store.loads(), 0);
}

#[tokio::test(start_paused = true)]
async fn flush_brings_all_that_waits_to_the_store() {
    let store = numbers(0);
    let cache = cache(&store);
    for key in 0..1_200 {
        cache.put(&key, key).await.unwrap();
    }
    cache.flush().await.unwrap();
    assert!((0..1_200).all(|key| store.row(&key) == Some(key)));
    assert_eq!(cache.stats().pending, 0);
}

#[tokio::test(start_paused = true)]
async fn what_has_been_stored_is_dropped_from_the_copies() {
    let store = numbers(0);
    let cache = cache(&store);
    cache.put(&1, 10).await.unwrap();
    cache.flush().await.unwrap();
    store.set_row(1, 11);
    assert_eq!(cache.get(&1).await.unwrap(), Some(11), "the store has made something else of it");
}

#[tokio::test(start_paused = true)]
async fn a_write_of_ones_own_comes_after_what_waits_for_the_key() {
    let store = numbers(1);
    let cache = cache(&store);
    cache.put(&0, 10).await.unwrap();
    let own = || async {
        assert_eq!(store.row(&0), Some(10), "it would be written over this");
        store.set_row(0, 20);
        Ok::<_, std::io::Error>(())
    };
    cache.write(&[0], own).await.unwrap();
    tokio::time::sleep(MINUTE).await;
    assert_eq!((store.row(&0), cache.get(&0).await.unwrap()), (Some(20), Some(20)));
}

#[tokio::test(start_paused = true)]
async fn update_sees_what_waits() {
    let store = numbers(1);
    let cache = cache(&store);
    cache.put(&0, 10).await.unwrap();
    cache.update(&0, |value| value.map(|value| value + 1)).await.unwrap();
    assert_eq!(cache.get(&0).await.unwrap(), Some(11));
    cache.flush().await.unwrap();
    assert_eq!(store.row(&0), Some(11));
}

#[tokio::test(start_paused = true)]
async fn a_volatile_write_is_durable_when_the_store_has_it() {
    let store = numbers(0);
    let cache = cache(&store);
    let written = cache.put(&1, 10).await.unwrap();
    written.durable().await.unwrap();
    assert_eq!(store.row(&1), Some(10));
}

#[tokio::test(start_paused = true)]
async fn a_shared_tier_asks_for_the_promise_that_nobody_else_writes() {
    let server = larder::testing::SharedServer::new();
    let build = |sole: bool| {
        let builder = settings(&numbers(0)).tier(server.tier());
        if sole { builder.sole_writer().build() } else { builder.build() }
    };
    let error = build(false).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Settings);
    assert!(error.to_string().contains("sole_writer"), "{error}");
    build(true).unwrap();
}

#[tokio::test(start_paused = true)]
async fn without_a_journal_it_is_not_built() {
    let error = write_behind(numbers(0)).tier(Memory::with_capacity(1)).ttl(MINUTE).build().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Settings);
    assert!(error.to_string().contains("journal"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn settings_that_disagree_are_named() {
    let built = write_behind(numbers(0)).journal(Volatile::new()).batch(10).max_pending(5).rate(0.0).store();
    let error = built.unwrap_err().to_string();
    assert!(error.contains("`batch(10)`") && error.contains("`max_pending(5)`"), "{error}");
    assert!(error.contains("rate"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn closing_writes_what_waits() {
    let store = numbers(0);
    let cache = cache(&store);
    cache.put(&1, 10).await.unwrap();
    let left = cache.close(MINUTE).await.unwrap();
    assert!(left.is_empty(), "{left}");
    assert_eq!(store.row(&1), Some(10));
    assert_eq!(cache.put(&1, 11).await.unwrap_err().kind(), ErrorKind::Closed);
}

#[tokio::test(start_paused = true)]
async fn several_shards_keep_each_keys_order() {
    let store = numbers(0);
    let cache = write_behind(store.clone())
        .journal(Volatile::new().shards(8))
        .concurrency(4)
        .tier(Memory::with_capacity(100))
        .ttl(MINUTE)
        .build()
        .unwrap();
    for round in 0..50 {
        for key in 0..20 {
            cache.put(&key, round).await.unwrap();
        }
        if round % 7 == 0 {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
    cache.flush().await.unwrap();
    assert!((0..20).all(|key| store.row(&key) == Some(49)));
    assert!(store.count(Call::Save) < 20 * 50, "most were replaced while they waited");
}

/// A copy that another process reads was made of what waited; the store may have made something else of it.
#[tokio::test(start_paused = true)]
async fn what_has_been_stored_is_dropped_from_a_shared_tier_too() {
    let (store, server) = (numbers(0), larder::testing::SharedServer::new());
    let writer = settings(&store).tier(server.tier()).sole_writer().build().unwrap();
    let reader = larder::read_through(store.clone()).tier(server.tier()).ttl(MINUTE).build().unwrap();
    writer.put(&1, 10).await.unwrap();
    assert_eq!(reader.get(&1).await.unwrap(), Some(10), "from the shared tier: the store has it not");
    writer.flush().await.unwrap();
    store.set_row(1, 11);
    assert_eq!(reader.get(&1).await.unwrap(), Some(11));
}

#[tokio::test(start_paused = true)]
async fn any_cache_can_be_flushed() {
    let store = numbers(0);
    let caches: [Arc<dyn Cache<u64, u64>>; 2] = [
        Arc::new(cache(&store)),
        Arc::new(
            larder::cache_aside(store.clone()).tier(Memory::with_capacity(1)).ttl(MINUTE).build().unwrap(),
        ),
    ];
    for cache in caches {
        let _ = cache.put(&1, 10).await.unwrap();
        cache.flush().await.unwrap();
        assert_eq!(store.row(&1), Some(10));
    }
}

/// Building needs no runtime; writing does, and says so.
#[test]
fn outside_a_runtime_it_says_what_it_needs() {
    let store = numbers(1);
    let behind = write_behind(store.clone()).journal(Volatile::new()).store().unwrap();
    let refused = behind.save(&1, &10).now_or_never().expect("it does not wait").unwrap_err();
    assert_eq!(refused.downcast_ref::<larder::Error>().map(larder::Error::kind), Some(ErrorKind::NoRuntime));
    assert_eq!(refused.outcome(), larder::Outcome::NotApplied);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async {
        _ = behind.save(&1, &10).await.unwrap();
        behind.flush().await.unwrap();
    });
    assert_eq!(store.row(&1), Some(10));
}
