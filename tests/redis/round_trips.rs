//! What the Redis tier says to its server, message by message: a hit is one, an invalidation one, a held write two, a
//! miss three.

use std::time::Duration;

use crate::support::redis_server::{RedisServer, ServerLog};
use crate::support::{MINUTE, numbers};
use larder::testing::FakeStore;
use larder::{Builder, Consistency, LayeredCache};

type Cache = LayeredCache<u64, u64>;

/// All keys that are asked for here.
const KEYS: u64 = 10;

/// A cache on one connection of the server, which has seen every script before; of a cluster, of each node that has some
/// of the keys. Key 0 is kept, and no other.
async fn cache(server: &RedisServer, builder: Builder<u64, u64>, name: &str) -> Cache {
    let redis = server.builder().lanes(1).deadline(Duration::from_secs(5)).build().expect("a URL");
    let cache = builder.tier(redis.namespace(name)).ttl(Duration::from_secs(60)).build().expect("complete");
    for key in 0..KEYS {
        _ = cache.put(&key, 1).await.expect("saved");
        cache.get(&key).await.expect("loaded");
        cache.invalidate(&key).await.expect("dropped");
    }
    cache.get(&0).await.expect("loaded");
    cache
}

/// The commands that were sent, by name. Not those of the clock, which is asked for the time now and then, and whether
/// all is well.
async fn sent(log: &ServerLog) -> Vec<String> {
    let sent = log.take_sent().await.into_iter().map(|words| words[0].to_uppercase());
    sent.filter(|name| !["TIME", "INFO", "CLUSTER"].contains(&name.as_str())).collect()
}

#[tokio::test]
async fn a_hit_is_one_message() {
    let Some(server) = RedisServer::start_or_skip("a_hit_is_one_message").await else { return };
    let cache = cache(&server, larder::cache_aside(numbers(KEYS)), "hit").await;
    let log = server.monitor().await;
    cache.get(&0).await.expect("a hit");
    assert_eq!(sent(&log).await, ["GET"]);
    cache.get_many(&[0, 0, 0]).await.into_iter().for_each(|answer| _ = answer.expect("a hit"));
    assert_eq!(sent(&log).await, ["GET"], "a key that is asked for thrice is asked for once");
}

#[tokio::test]
async fn a_batch_of_hits_is_one_message() {
    let Some(server) = RedisServer::start_or_skip("a_batch_of_hits_is_one_message").await else { return };
    let cache = cache(&server, larder::cache_aside(numbers(KEYS)), "batch").await;
    let keys: Vec<u64> = (0..KEYS).collect();
    cache.get_many(&keys).await;
    let log = server.monitor().await;
    cache.get_many(&keys).await;
    let buckets = if server.is_in_a_cluster() { keys.len() } else { 1 }; // no two of these share one
    assert_eq!(sent(&log).await, vec!["MGET"; buckets]);
}

#[tokio::test]
async fn a_miss_is_three_messages() {
    let Some(server) = RedisServer::start_or_skip("a_miss_is_three_messages").await else { return };
    let cache = cache(&server, larder::cache_aside(numbers(KEYS)), "miss").await;
    let log = server.monitor().await;
    cache.get(&7).await.expect("loaded");
    assert_eq!(sent(&log).await, ["GET", "EVALSHA", "EVALSHA"], "look, acquire, fill");
}

#[tokio::test]
async fn so_is_one_of_a_cache_that_refreshes_ahead() {
    let Some(server) = RedisServer::start_or_skip("so_is_one_of_a_cache").await else { return };
    let builder = larder::cache_aside(numbers(KEYS)).refresh_ahead(0.8).stale_while_revalidate(MINUTE);
    let cache = cache(&server, builder, "ahead").await;
    let log = server.monitor().await;
    cache.get(&7).await.expect("loaded");
    assert_eq!(sent(&log).await, ["GET", "EVALSHA", "EVALSHA"], "look, acquire, fill");
    cache.get(&7).await.expect("a hit");
    assert_eq!(sent(&log).await, ["GET"]);
}

#[tokio::test]
async fn an_invalidation_is_one_message_and_so_is_a_write() {
    let Some(server) = RedisServer::start_or_skip("an_invalidation_is_one_message").await else { return };
    let cache = cache(&server, larder::cache_aside(numbers(KEYS)), "drop").await;
    let log = server.monitor().await;
    cache.invalidate(&7).await.expect("dropped");
    assert_eq!(sent(&log).await, ["EVALSHA"]);
    _ = cache.put(&7, 70).await.expect("saved");
    assert_eq!(sent(&log).await, ["EVALSHA"]);
}

#[tokio::test]
async fn a_held_write_is_two_messages() {
    let Some(server) = RedisServer::start_or_skip("a_held_write_is_two_messages").await else { return };
    let held = |store: FakeStore<u64, u64>| larder::cache_aside(store).consistency(Consistency::Linearizable);
    for (builder, name) in [
        (held(numbers(KEYS)), "held"),
        (larder::write_through(numbers(KEYS)), "through"),
        (larder::write_through(numbers(KEYS)).consistency(Consistency::Linearizable), "held-through"),
    ] {
        let cache = cache(&server, builder, name).await;
        let log = server.monitor().await;
        _ = cache.put(&7, 70).await.expect("saved");
        assert_eq!(sent(&log).await, ["EVALSHA", "EVALSHA"], "{name}: hold, and release or publish");
        cache.get(&7).await.expect("found");
        let read = sent(&log).await;
        let expected: &[&str] = if name == "held" { &["GET", "EVALSHA", "EVALSHA"] } else { &["GET"] };
        assert_eq!(read, expected, "{name}");
    }
}
