//! No tenant has more copies than its quota: what is above goes to its readers, and other tenants notice nothing.

use std::time::Duration;

use crate::support::MINUTE;
use crate::support::watching::Heard;
use larder::testing::{FakeStore, SharedServer, TestClock};
use larder::{Builder, Copies, ErrorKind, LayeredCache, Memory, Result, Tenant, TenantKey};

type Key = TenantKey<u32, u64>;
type Numbers = LayeredCache<Key, u64>;

const ONE: Tenant<u32> = Tenant::of(1);
const OTHER: Tenant<u32> = Tenant::of(2);
const QUOTA: usize = 3;

fn store() -> FakeStore<Key, u64> {
    let keys = [ONE, OTHER].into_iter().flat_map(|tenant| (0..10).map(move |key| tenant.key(key)));
    FakeStore::with(keys.map(|key| (key, *key.key())))
}

fn usual(builder: Builder<Key, u64>) -> Builder<Key, u64> {
    builder.ttl(MINUTE).jitter(0.0).clock(TestClock::new()).tenant_quota(QUOTA)
}

fn in_memory(store: &FakeStore<Key, u64>) -> Numbers {
    usual(larder::cache_aside(store.clone())).tier(Memory::with_capacity(100)).build().expect("complete")
}

/// Reads `count` keys of a tenant, and says how many the store was asked for.
async fn read(cache: &Numbers, store: &FakeStore<Key, u64>, tenant: Tenant<u32>, count: u64) -> u64 {
    let before = store.loads();
    for key in 0..count {
        assert_eq!(cache.get(&tenant.key(key)).await.expect("the store answers"), Some(key));
    }
    store.loads() - before
}

#[tokio::test(start_paused = true)]
async fn what_is_above_the_quota_is_loaded_for_each_reader_and_counted() {
    let store = store();
    let cache = in_memory(&store);
    assert_eq!(read(&cache, &store, ONE, 5).await, 5);
    assert_eq!(read(&cache, &store, ONE, 5).await, 2, "three are kept");
    assert_eq!(cache.stats().over_quota, 4);
}

#[tokio::test(start_paused = true)]
async fn other_tenants_have_a_quota_of_their_own() {
    let store = store();
    let cache = in_memory(&store);
    read(&cache, &store, ONE, 10).await;
    read(&cache, &store, OTHER, 3).await;
    assert_eq!(read(&cache, &store, OTHER, 3).await, 0);
}

#[tokio::test(start_paused = true)]
async fn without_a_quota_everything_is_kept() -> Result<()> {
    let store = store();
    let builder = larder::cache_aside(store.clone()).ttl(MINUTE).clock(TestClock::new());
    let cache = builder.tier(Memory::with_capacity(100)).build()?;
    read(&cache, &store, ONE, 10).await;
    assert_eq!(read(&cache, &store, ONE, 10).await, 0);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn copies_whose_ttl_has_ended_make_room() {
    let store = store();
    let cache = in_memory(&store);
    read(&cache, &store, ONE, 3).await;
    tokio::time::advance(MINUTE + Duration::from_secs(1)).await;
    cache.get(&ONE.key(9)).await.expect("the store answers");
    assert_eq!(
        cache.get_entry(&ONE.key(9)).await.expect("answered").and_then(|kept| kept.tier()),
        Some("memory")
    );
}

#[tokio::test(start_paused = true)]
async fn copies_that_are_dropped_make_room() -> Result<()> {
    let store = store();
    let cache = in_memory(&store);
    for way in 0..3 {
        cache.clear().await?;
        read(&cache, &store, ONE, 3).await;
        match way {
            0 => cache.invalidate(&ONE.key(0)).await?,
            1 => cache.clear_tenant(&ONE).await?,
            _ => _ = cache.write(&[ONE.key(0)], || async { Ok::<_, std::io::Error>(()) }).await?,
        }
        cache.get(&ONE.key(9)).await?;
        let kept = cache.get_entry(&ONE.key(9)).await?.and_then(|kept| kept.tier());
        assert_eq!(kept, Some("memory"), "way {way}");
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn clearing_another_tenant_makes_no_room() -> Result<()> {
    let store = store();
    let cache = in_memory(&store);
    read(&cache, &store, ONE, 3).await;
    cache.clear_tenant(&OTHER).await?;
    cache.get(&ONE.key(9)).await?;
    assert_eq!(cache.stats().over_quota, 1);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_copy_that_is_renewed_keeps_its_place() -> Result<()> {
    let store = store();
    let cache = in_memory(&store);
    read(&cache, &store, ONE, 3).await;
    for key in 0..3 {
        cache.refresh(&ONE.key(key)).await?;
    }
    assert_eq!((read(&cache, &store, ONE, 3).await, cache.stats().over_quota), (0, 0));
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_write_through_above_the_quota_leaves_no_copy() -> Result<()> {
    let store = store();
    let cache = usual(larder::write_through(store.clone())).tier(Memory::with_capacity(100)).build()?;
    for key in 0..3 {
        assert_eq!(cache.put(&ONE.key(key), key).await?.copies(), Copies::Kept);
    }
    assert_eq!(cache.put(&ONE.key(0), 0).await?.copies(), Copies::Kept, "it has a place");
    assert_eq!(cache.put(&ONE.key(3), 3).await?.copies(), Copies::Dropped);
    assert_eq!(store.row(&ONE.key(3)), Some(3), "the store has it all the same");
    assert_eq!(read(&cache, &store, ONE, 3).await, 0);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn what_callers_bring_and_what_batches_load_counts_too() -> Result<()> {
    let heard = Heard::default();
    let builder = usual(larder::cache()).tier(Memory::with_capacity(100)).observer(heard.clone());
    let cache = builder.build()?;
    let keys: Vec<Key> = (0..10).map(|key| ONE.key(key)).collect();
    cache.get_or_load(&keys[0], || async { Ok::<_, std::io::Error>(Some(0)) }).await?;
    let load = |keys: Vec<Key>| async move {
        Ok::<_, std::io::Error>(keys.into_iter().map(|key| (key, 1)).collect())
    };
    cache.get_or_load_many(&keys, load).await;
    let kept = cache.get_many(&keys).await.into_iter().filter(|answer| matches!(answer, Ok(Some(_))));
    assert_eq!(kept.count(), QUOTA);
    assert_eq!(heard.count("OverQuota"), 7);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn what_is_above_the_quota_is_kept_in_no_tier() -> Result<()> {
    let (store, server) = (store(), SharedServer::new());
    let builder = usual(larder::cache_aside(store.clone()));
    let cache = builder.tier(Memory::with_capacity(100)).tier(server.tier()).build()?;
    read(&cache, &store, ONE, 10).await;
    let copies = larder::cache().tier(server.tier()).ttl(MINUTE).clock(TestClock::new()).build()?;
    let keys: Vec<Key> = (0..10).map(|key| ONE.key(key)).collect();
    let kept = copies.get_many(&keys).await.into_iter().filter(|answer| matches!(answer, Ok(Some(_))));
    assert_eq!(kept.count(), QUOTA);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_quota_of_nothing_is_refused() {
    let builder = usual(larder::cache_aside(store())).tier(Memory::with_capacity(100)).tenant_quota(0);
    let error = builder.build().expect_err("nothing could be kept");
    assert_eq!(error.kind(), ErrorKind::Settings);
    assert!(error.to_string().contains("tenant_quota"), "{error}");
}
