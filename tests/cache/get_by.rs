//! A key can be looked up by what it borrows as: `&str` where the keys are `String`.

use std::sync::Arc;

use crate::support::MINUTE;
use larder::testing::FakeStore;
use larder::{Cache, CacheExt, Local, Memory, Quick, Result, Tier};

async fn finds_by_str<T: Tier<String, u64>>(tier: T) -> Result<()> {
    let store = FakeStore::with([("one".to_owned(), 1)]);
    let cache = larder::cache_aside(store.clone()).tier(tier).ttl(MINUTE).absent_ttl(MINUTE).build()?;
    assert_eq!(cache.get_by("one").await?, Some(1));
    assert_eq!(cache.get_local(&"one".to_owned()), Local::Value(1), "kept under the key");
    assert!(cache.get_by("one").is_ready(), "a hit by its borrowed form");
    assert_eq!(cache.get_by("two").await?, None);
    assert!(cache.get_by("two").is_ready(), "an absence too");
    let held: Arc<dyn Cache<String, u64>> = Arc::new(cache.clone());
    assert!(held.get_by("one").is_ready());
    assert_eq!(held.get_by("three").await?, None);
    cache.invalidate(&"one".to_owned()).await?;
    store.set_row("one".to_owned(), 10);
    assert_eq!(held.get_by("one").await?, Some(10));
    Ok(())
}

#[tokio::test]
async fn in_memory() -> Result<()> {
    finds_by_str(Memory::with_capacity(100)).await
}

#[tokio::test]
async fn on_the_quick_engine() -> Result<()> {
    finds_by_str(Quick::with_capacity(100)).await
}
