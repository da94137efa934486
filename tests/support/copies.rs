//! Copies in a real Redis, from both sides: through a cache that keeps them there, and as the bytes that stand there.

use std::time::Duration;

use larder::bounds::{Key, Value};
use larder::codec::{CacheKey, Codec};
use larder::testing::FakeStore;
use larder::tier::redis::Namespace;
use larder::{LayeredCache, cache_aside};

use super::MINUTE;
use super::redis_server::RedisServer;
use super::resp::Reply;

/// Not the deadline is tested with it: a slow machine gets all the time it wants.
pub fn tier<V>(server: &RedisServer, namespace: &str) -> Namespace<V> {
    let redis = server.builder().deadline(Duration::from_secs(2)).build().expect("a URL");
    redis.namespace(namespace)
}

/// A cache that keeps what `store` has in `tier`, for a minute and nowhere else.
pub fn on<K: Key + CacheKey, V: Value, C: Codec<V>>(
    tier: Namespace<V, C>,
    store: &FakeStore<K, V>,
) -> LayeredCache<K, V> {
    let builder = cache_aside(store.clone()).tier(tier).ttl(MINUTE).absent_ttl(MINUTE);
    builder.jitter(0.0).build().expect("complete")
}

/// The one name in the server that fits.
pub async fn name(server: &RedisServer, pattern: &str) -> String {
    let names = names(server, pattern).await;
    assert_eq!(names.len(), 1, "{pattern}: {names:?}");
    names.concat()
}

pub async fn names(server: &RedisServer, pattern: &str) -> Vec<String> {
    let Reply::Array(names) = server.command(&["KEYS", pattern]).await else { panic!("no list") };
    names.iter().map(|name| name.text().expect("a name")).collect()
}

pub async fn bytes(server: &RedisServer, name: &str) -> Vec<u8> {
    match server.command(&["GET", name]).await {
        Reply::Bulk(Some(bytes)) => bytes,
        other => panic!("{name}: {other:?}"),
    }
}

pub async fn set(server: &RedisServer, name: &str, bytes: &[u8]) {
    let answer = server.command(&[b"SET", name.as_bytes(), bytes]).await;
    assert_eq!(answer, Reply::Simple("OK".to_owned()));
}
