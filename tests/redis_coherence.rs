//! Copies of several processes in step with Redis: what one drops, the others serve no more, at once where messages come,
//! and after the bound where they do not.

mod support;

use std::time::{Duration, Instant};

use larder::testing::FakeStore;
use larder::tier::redis::RedisBuilder;
use larder::{Coherence, LayeredCache, Local, Memory, cache_aside};
use support::proxy::Proxy;
use support::redis_server::RedisServer;
use support::watching::{Heard, soon, until};
use support::{MINUTE, numbers};

const BOUND: Duration = Duration::from_millis(600);
const LONG: Duration = Duration::from_secs(20);
const MODES: [fn(Duration) -> Coherence; 2] = [Coherence::Bus, Coherence::Tracked];

/// One process of a service: its own memory above the server of all.
struct Process {
    cache: LayeredCache<u64, u64>,
    heard: Heard,
}

impl Process {
    fn of(store: &FakeStore<u64, u64>, redis: RedisBuilder, coherence: Coherence) -> Self {
        let heard = Heard::default();
        let redis = redis.build().expect("a URL");
        let builder =
            cache_aside(store.clone()).tier(Memory::with_capacity(1_000)).tier(redis.namespace("n"));
        let builder = builder.ttl(MINUTE).jitter(0.0).coherence(coherence).observer(heard.clone());
        Self { cache: builder.build().expect("complete"), heard }
    }

    async fn get(&self, key: u64) -> Option<u64> {
        soon(self.cache.get(&key)).await.expect("answered")
    }

    async fn put(&self, key: u64, value: u64) {
        soon(self.cache.put(&key, value)).await.expect("written");
    }

    /// Reads until memory answers.
    async fn warm(&self, key: u64, value: u64) {
        until("memory answers", async || {
            assert_eq!(self.get(key).await, Some(value));
            self.cache.get_local(&key) == Local::Value(value)
        })
        .await;
    }

    fn has(&self, key: u64) -> bool {
        !self.cache.get_local(&key).is_unknown()
    }
}

#[tokio::test]
async fn a_write_elsewhere_is_heard_of_long_before_the_bound_is_over() {
    let name = "a_write_elsewhere_is_heard_of_long_before_the_bound_is_over";
    let Some(server) = RedisServer::start_or_skip(name).await else { return };
    let store = numbers(100);
    for mode in MODES {
        let how = mode(LONG);
        let one = Process::of(&store, server.builder(), mode(LONG));
        let other = Process::of(&store, server.builder(), mode(LONG));
        for key in 0..20 {
            let old = store.row(&key).expect("a row");
            one.warm(key, old).await;
            other.put(key, old + 100).await;
            let written = Instant::now();
            until("memory has let go of it", async || !one.has(key)).await;
            assert!(written.elapsed() < LONG / 4, "{how:?}: {:?}", written.elapsed());
            assert_eq!(one.get(key).await, Some(old + 100), "{how:?}");
        }
        assert_eq!(one.heard.count("MessageMissed"), 0);
    }
}

#[tokio::test]
async fn behind_a_dead_line_a_copy_is_served_for_the_bound_and_no_longer() {
    let name = "behind_a_dead_line_a_copy_is_served_for_the_bound_and_no_longer";
    let Some(server) = RedisServer::start_or_skip(name).await else { return };
    let store = numbers(100);
    for mode in MODES {
        let how = mode(LONG);
        let proxy = Proxy::to(server.address()).await;
        let one = Process::of(&store, server.builder_through(&proxy), mode(BOUND));
        let other = Process::of(&store, server.builder(), mode(BOUND));
        let old = store.row(&7).expect("a row");
        one.warm(7, old).await;
        proxy.half_open(true);
        other.put(7, old + 1).await;
        let written = Instant::now();
        until("memory is in doubt", async || !one.has(7)).await;
        assert!(written.elapsed() < BOUND + Duration::from_millis(300), "{how:?}: {:?}", written.elapsed());
        assert_eq!(one.get(7).await, Some(old + 1), "{how:?}: the store knows");
        proxy.heal();
    }
}
