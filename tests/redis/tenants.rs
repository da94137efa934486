//! Tenants in a real Redis: whatever their names and keys look like, the copies of one go without those of another.

use std::time::Duration;

use crate::support::MINUTE;
use crate::support::redis_server::RedisServer;
use crate::support::watching::soon;
use larder::testing::{Call, FakeStore};
use larder::{LayeredCache, Redis, Tenant, TenantKey};

/// Of two parts: a tenant `x}` with a key of its own that begins like another tenant's is named `…x}:1:…`.
type Key = TenantKey<String, (String, String)>;

fn key(tenant: &str, key: &str) -> Key {
    Tenant::of(tenant.to_owned()).key((key.to_owned(), "x".to_owned()))
}

/// Names that could be taken for each other, for a pattern, or for a piece of a name in Redis.
const TENANTS: [&str; 21] = [
    "1", "11", "1:", "1:1", ":1", "*", "1*", "?", "??", "[1]", "[^1]", "1\\", "\\*", "", " ", "1\r\n",
    "{b000}", "x}:1", "1}", "%31", "%",
];

fn redis(server: &RedisServer) -> Redis {
    server.builder().deadline(Duration::from_secs(2)).build().expect("a URL")
}

/// A process of the service, with rows for all keys.
fn process(server: &RedisServer, rows: &FakeStore<Key, String>) -> LayeredCache<Key, String> {
    let builder = larder::cache_aside(rows.clone()).tier(redis(server).namespace("post"));
    builder.ttl(MINUTE).jitter(0.0).build().expect("complete")
}

/// Which of `keys` have copies in Redis.
async fn kept(server: &RedisServer, keys: &[Key]) -> Vec<Key> {
    let copies: LayeredCache<Key, String> =
        larder::cache().tier(redis(server).namespace("post")).ttl(MINUTE).build().expect("complete");
    let answers = soon(copies.get_many(keys)).await;
    let kept = keys.iter().zip(answers).filter(|(_, answer)| answer.as_ref().expect("answered").is_some());
    kept.map(|(key, _)| key.clone()).collect()
}

/// Every tenant with keys that look like the tenants, one that is too long for a name, and one in a long tenant's name.
fn keys_of(tenant: &str) -> Vec<Key> {
    let keys = TENANTS.iter().map(ToString::to_string).chain([format!("x}}:{tenant}:1"), "k".repeat(1_100)]);
    keys.map(|text| key(tenant, &text)).collect()
}

#[tokio::test]
async fn one_tenants_copies_go_and_nobody_elses() {
    let test = "one_tenants_copies_go_and_nobody_elses";
    let Some(server) = RedisServer::start_or_skip(test).await else { return };
    let long = ["t".repeat(128), "t".repeat(129), "*".repeat(200), format!("{}:", "t".repeat(129))];
    let tenants: Vec<&str> = TENANTS.into_iter().chain(long.iter().map(String::as_str)).collect();
    let all: Vec<Key> = tenants.iter().flat_map(|tenant| keys_of(tenant)).collect();
    let cache = process(&server, &FakeStore::with(all.iter().map(|key| (key.clone(), "v".to_owned()))));
    soon(cache.get_many(&all)).await;
    let mut left = kept(&server, &all).await;
    assert_eq!(left.len(), all.len(), "all are kept");
    for tenant in tenants {
        soon(cache.clear_tenant(&Tenant::of(tenant.to_owned()))).await.expect("Redis answers");
        left.retain(|key| key.tenant().id() != tenant);
        assert_eq!(kept(&server, &all).await, left, "after the clear of {tenant:?}");
    }
}

#[tokio::test]
async fn another_process_load_under_way_is_not_kept() {
    let test = "another_process_load_under_way_is_not_kept";
    let Some(server) = RedisServer::start_or_skip(test).await else { return };
    for text in ["short".to_owned(), "k".repeat(1_100)] {
        let key = key("a:*", &text);
        let rows = FakeStore::with([(key.clone(), "old".to_owned())]);
        let (one, other) = (process(&server, &rows), process(&server, &FakeStore::new()));
        let gate = rows.gate_after(Call::Load);
        let reader = tokio::spawn({
            let (one, key) = (one.clone(), key.clone());
            async move { one.get(&key).await }
        });
        gate.arrived(1).await;
        soon(other.clear_tenant(key.tenant())).await.expect("Redis answers");
        gate.open();
        assert_eq!(reader.await.expect("no panic").expect("loaded").as_deref(), Some("old"));
        assert_eq!(one.stats().fills_refused, 1);
        assert_eq!(kept(&server, &[key]).await, []);
    }
}

#[tokio::test]
async fn other_namespaces_with_the_same_tenant_are_left_alone() {
    let test = "other_namespaces_with_the_same_tenant_are_left_alone";
    let Some(server) = RedisServer::start_or_skip(test).await else { return };
    let key = key("1", "x");
    let rows = FakeStore::with([(key.clone(), "v".to_owned())]);
    let cache = process(&server, &rows);
    soon(cache.get(&key)).await.expect("loaded");
    let lists: LayeredCache<Key, String> = larder::cache_aside(rows)
        .tier(redis(&server).namespace("post.list"))
        .ttl(MINUTE)
        .build()
        .expect("complete");
    soon(lists.clear_tenant(key.tenant())).await.expect("Redis answers");
    assert_eq!(kept(&server, std::slice::from_ref(&key)).await, [key]);
}
