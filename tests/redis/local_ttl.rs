//! Memory above Redis: how much later a write of another process is seen, and how long what was below may live above.

use std::time::{Duration, Instant};

use crate::support::redis_server::RedisServer;
use crate::support::watching::{soon, until};
use crate::support::{MINUTE, numbers};
use larder::testing::FakeStore;
use larder::{Builder, LayeredCache, Local, Memory, cache_aside, write_through};

const LOCAL_TTL: Duration = Duration::from_millis(200);
/// For a machine with other things to do.
const SLACK: Duration = Duration::from_millis(1_500);

/// One process of a service: its own memory above the server of all.
fn process(server: &RedisServer, builder: Builder<u64, u64>) -> LayeredCache<u64, u64> {
    let redis = server.redis();
    builder
        .tier(Memory::with_capacity(1_000))
        .tier(redis.namespace("n"))
        .ttl(MINUTE)
        .jitter(0.0)
        .local_ttl(LOCAL_TTL)
        .build()
        .expect("complete")
}

async fn get(cache: &LayeredCache<u64, u64>, key: u64) -> Option<u64> {
    soon(cache.get(&key)).await.expect("answered")
}

#[tokio::test]
async fn a_write_of_another_process_is_seen_after_the_local_ttl() {
    let name = "a_write_of_another_process_is_seen_after_the_local_ttl";
    let Some(server) = RedisServer::start_or_skip(name).await else { return };
    let store = numbers(100);
    let one = process(&server, cache_aside(store.clone()));
    let other = process(&server, cache_aside(store.clone()));
    for key in 0..10 {
        assert_eq!((get(&one, key).await, get(&other, key).await), (Some(key), Some(key)));
        assert_eq!(one.get_local(&key), Local::Value(key), "memory keeps it, at least for a moment");
        soon(other.put(&key, key + 100)).await.expect("written");
        let written = Instant::now();
        until("the new value is seen", async || get(&one, key).await == Some(key + 100)).await;
        assert!(written.elapsed() < LOCAL_TTL + SLACK, "it took {:?}", written.elapsed());
    }
}

#[tokio::test]
async fn after_the_local_ttl_the_shared_copy_answers_and_nobody_loads() {
    let name = "after_the_local_ttl_the_shared_copy_answers_and_nobody_loads";
    let Some(server) = RedisServer::start_or_skip(name).await else { return };
    let store = numbers(10);
    let one = process(&server, cache_aside(store.clone()));
    for _ in 0..3 {
        assert_eq!(get(&one, 7).await, Some(7));
        tokio::time::sleep(LOCAL_TTL + Duration::from_millis(20)).await;
        assert_eq!(one.get_local(&7), Local::Unknown);
    }
    assert_eq!(store.loads(), 1);
}

/// The peers' bug: lifted into memory, a copy began a new life.
#[tokio::test]
async fn what_is_lifted_into_memory_ends_when_the_copy_below_does() {
    let name = "what_is_lifted_into_memory_ends_when_the_copy_below_does";
    let Some(server) = RedisServer::start_or_skip(name).await else { return };
    const TTL: Duration = Duration::from_millis(1_000);
    let store = numbers(10);
    let process = || {
        let patient = cache_aside(store.clone()).tier(Memory::with_capacity(100));
        let redis = server.redis();
        patient.tier(redis.namespace("n")).ttl(TTL).jitter(0.0).local_ttl(MINUTE).build().expect("complete")
    };
    let (one, other) = (process(), process());
    let begin = Instant::now();
    assert_eq!(get(&one, 7).await, Some(7));
    let loaded = Instant::now(); // the store was asked before this
    tokio::time::sleep(TTL / 2).await;
    let served = soon(other.get_entry(&7)).await.expect("answered").expect("a store");
    let late = begin.elapsed();
    assert!(served.tier() == Some("redis") || late >= TTL, "it was not lifted after {late:?}");
    store.set_row(7, 70); // behind everybody's back: what is old can be told from what is new
    while loaded.elapsed() < TTL * 2 {
        let asked = loaded.elapsed();
        let answer = other.get_local(&7);
        assert!(answer != Local::Value(7) || asked < TTL, "still served after {asked:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(get(&other, 7).await, Some(70));
}

#[tokio::test]
async fn own_writes_are_seen_at_once() {
    let Some(server) = RedisServer::start_or_skip("own_writes_are_seen_at_once").await else { return };
    for pattern in [cache_aside::<u64, u64>, write_through] {
        let cache = process(&server, pattern(numbers(10)));
        for value in 0..30 {
            soon(cache.put(&7, value)).await.expect("written");
            assert_eq!(get(&cache, 7).await, Some(value));
            assert_eq!(cache.get_local(&7), Local::Value(value), "and kept");
        }
        soon(cache.delete(&7)).await.expect("deleted");
        assert_eq!(get(&cache, 7).await, None);
        soon(cache.clear()).await.expect("cleared");
    }
}

/// While nobody can hear of others' writes, memory keeps answers as long as it always does, and no longer.
#[tokio::test]
async fn while_redis_is_away_memory_keeps_answers_for_the_local_ttl() {
    let name = "while_redis_is_away_memory_keeps_answers_for_the_local_ttl";
    let Some(server) = RedisServer::start_or_skip(name).await else { return };
    let store: FakeStore<u64, u64> = numbers(10);
    let one = process(&server, cache_aside(store.clone()));
    assert_eq!(get(&one, 1).await, Some(1));
    server.kill();
    assert_eq!(get(&one, 7).await, Some(7));
    assert_eq!(one.get_local(&7), Local::Value(7), "it spares the store");
    store.set_row(7, 70); // another process
    let written = Instant::now();
    until("the new value is seen", async || get(&one, 7).await == Some(70)).await;
    assert!(written.elapsed() < LOCAL_TTL + SLACK, "it took {:?}", written.elapsed());
    assert_eq!(store.loads(), 3);
}
