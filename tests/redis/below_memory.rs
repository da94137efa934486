//! What comes between the two tiers of a cache, memory above Redis, while a load or an invalidation is under way.

use std::time::Duration;

use crate::support::copies::name;
use crate::support::proxy::Proxy;
use crate::support::redis_server::RedisServer;
use crate::support::resp::Reply;
use crate::support::watching::soon;
use crate::support::{MINUTE, numbers};
use larder::testing::{Call, FakeStore};
use larder::tier::redis::RedisBuilder;
use larder::{Builder, LayeredCache, Local, Memory, cache_aside};

fn with_memory(redis: RedisBuilder, store: FakeStore<u64, u64>) -> LayeredCache<u64, u64> {
    on_redis(cache_aside(store).tier(Memory::with_capacity(1_000)), redis)
}

fn without_memory(redis: RedisBuilder, store: FakeStore<u64, u64>) -> LayeredCache<u64, u64> {
    on_redis(cache_aside(store), redis)
}

fn on_redis(builder: Builder<u64, u64>, redis: RedisBuilder) -> LayeredCache<u64, u64> {
    let redis = redis.deadline(Duration::from_secs(2)).build().expect("a URL");
    let builder = builder.tier(redis.namespace("n")).ttl(MINUTE).jitter(0.0).local_ttl(MINUTE);
    builder.build().expect("complete")
}

async fn get(cache: &LayeredCache<u64, u64>, key: u64) -> Option<u64> {
    soon(cache.get(&key)).await.expect("answered")
}

/// Forgets the slot of key 7, as an eviction does, or a process that knows nothing of leases.
async fn evict(server: &RedisServer) {
    assert_eq!(server.command(&["DEL", &name_of_7(server).await]).await, Reply::Int(1));
}

async fn name_of_7(server: &RedisServer) -> String {
    name(server, "n:{b*:7").await
}

/// A read that has the old row from the store, and has not yet been able to keep it.
struct SlowRead {
    answer: tokio::task::JoinHandle<larder::Result<Option<u64>>>,
    gate: larder::testing::Gate,
}

impl SlowRead {
    /// `rows` are what this reader's store says.
    async fn begin(rows: &FakeStore<u64, u64>, cache: &LayeredCache<u64, u64>) -> Self {
        let gate = rows.gate_after(Call::Load);
        let cache = cache.clone();
        let answer = tokio::spawn(async move { cache.get(&7).await });
        gate.arrived(1).await;
        Self { answer, gate }
    }

    async fn end(self) -> Option<u64> {
        self.gate.open();
        soon(self.answer).await.expect("no panic").expect("answered")
    }
}

/// `R: lease · R: store→7 · W, elsewhere: store←70, drop · R: fill refused`: kept above, 7 would be served for the whole
/// local ttl after the write was acknowledged.
#[tokio::test]
async fn memory_keeps_nothing_that_redis_refused() {
    let Some(server) = RedisServer::start_or_skip("memory_keeps_nothing_that_redis_refused").await else {
        return;
    };
    let (old_rows, store) = (numbers(10), numbers(10));
    let reader = with_memory(server.builder(), old_rows.clone());
    let writer = with_memory(server.builder(), store.clone());
    let slow = SlowRead::begin(&old_rows, &reader).await;
    soon(writer.put(&7, 70)).await.expect("written");
    old_rows.set_row(7, 70); // one database: the reader has asked it before the write
    assert_eq!(slow.end().await, Some(7), "it began before the write");
    assert_eq!(reader.get_local(&7), Local::Unknown);
    assert_eq!(reader.stats().fills_refused, 1, "by Redis; memory was not even asked");
    assert_eq!((get(&reader, 7).await, get(&writer, 7).await), (Some(70), Some(70)));
}

/// Memory is filled by what Redis has accepted.
#[tokio::test]
async fn memory_keeps_what_redis_accepted() {
    let Some(server) = RedisServer::start_or_skip("memory_keeps_what_redis_accepted").await else { return };
    let store = numbers(10);
    let cache = with_memory(server.builder(), store.clone());
    let slow = SlowRead::begin(&store, &cache).await;
    assert_eq!(cache.get_local(&7), Local::Unknown, "nothing before the answer is here");
    assert_eq!(slow.end().await, Some(7));
    assert_eq!(cache.get_local(&7), Local::Value(7));
    assert_eq!(get(&without_memory(server.builder(), numbers(0)), 7).await, Some(7), "so does the server");
}

/// With the slot goes the lease: what was evicted may also have been written and dropped.
#[tokio::test]
async fn an_eviction_during_a_load_refuses_the_fill() {
    let Some(server) = RedisServer::start_or_skip("an_eviction_during_a_load_refuses_the_fill").await else {
        return;
    };
    for make in [with_memory, without_memory] {
        let (old_rows, store) = (numbers(10), numbers(10));
        let reader = make(server.builder(), old_rows.clone());
        let slow = SlowRead::begin(&old_rows, &reader).await;
        evict(&server).await;
        store.set_row(7, 70);
        old_rows.set_row(7, 70);
        assert_eq!(slow.end().await, Some(7), "it began before the write");
        assert!(reader.stats().fills_refused > 0);
        assert_eq!(reader.get_local(&7), Local::Unknown);
        let other = make(server.builder(), store.clone());
        assert_eq!((get(&other, 7).await, get(&reader, 7).await), (Some(70), Some(70)));
        assert_eq!(
            (store.loads(), old_rows.loads()),
            (1, 1),
            "the old answer is kept nowhere, the new one is"
        );
        soon(other.clear()).await.expect("cleared");
    }
}

/// The slot is evicted and leased anew: the fill of the first lease is not that of the second.
#[tokio::test]
async fn an_evicted_lease_is_not_the_next_ones() {
    let Some(server) = RedisServer::start_or_skip("an_evicted_lease_is_not_the_next_ones").await else {
        return;
    };
    let (old_rows, new_rows) = (numbers(10), numbers(10));
    new_rows.set_row(7, 70);
    let (one, other) = (
        without_memory(server.builder(), old_rows.clone()),
        without_memory(server.builder(), new_rows.clone()),
    );
    let first = SlowRead::begin(&old_rows, &one).await;
    evict(&server).await;
    let second = SlowRead::begin(&new_rows, &other).await;
    assert_eq!(first.end().await, Some(7));
    assert_eq!(one.stats().fills_refused, 1);
    assert_eq!(second.end().await, Some(70));
    assert_eq!(get(&one, 7).await, Some(70));
    assert_eq!(old_rows.loads(), 1, "the second reader's answer was kept");
}

/// `W: drop above · R: lifts the old copy from below · W: drop below` leaves the old copy above. The message to Redis is
/// slow here, and readers come at every moment of it.
#[tokio::test]
async fn a_read_during_a_slow_invalidation_does_not_bring_the_old_copy_back() {
    let name = "a_read_during_a_slow_invalidation_does_not_bring_the_old_copy_back";
    let Some(server) = RedisServer::start_alone_or_skip(name).await else { return };
    let proxy = Proxy::to(server.address()).await;
    let store = numbers(10);
    let cache = with_memory(server.builder_through(&proxy), store.clone());
    for round in 0..8_u32 {
        let (old, new) = (u64::from(round) * 2, u64::from(round) * 2 + 1);
        store.set_row(7, old);
        soon(cache.invalidate(&7)).await.expect("dropped");
        assert_eq!(get(&cache, 7).await, Some(old));

        proxy.delay(Duration::from_millis(20));
        store.set_row(7, new);
        let invalidation = tokio::spawn({
            let cache = cache.clone();
            async move { cache.invalidate(&7).await }
        });
        let readers: Vec<_> = (0..10)
            .map(|reader| {
                let cache = cache.clone();
                tokio::spawn(async move {
                    tokio::time::sleep(Duration::from_millis(reader * 6 + u64::from(round) % 6)).await;
                    cache.get(&7).await
                })
            })
            .collect();
        soon(invalidation).await.expect("no panic").expect("dropped");
        assert_eq!(get(&cache, 7).await, Some(new), "a read that begins after the answer");
        for reader in readers {
            let answer = soon(reader).await.expect("no panic").expect("answered");
            assert!([Some(old), Some(new)].contains(&answer), "{answer:?}");
        }
        assert_eq!(get(&cache, 7).await, Some(new), "nobody has put the old copy back");
        assert_eq!(get(&without_memory(server.builder(), store.clone()), 7).await, Some(new));
        proxy.delay(Duration::ZERO);
    }
    assert_eq!(cache.stats().tier_failures, 0);
}
