//! A load or a write that would wait for itself is told so at once.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use crate::support::{MINUTE, numbers, usual};
use larder::{ErrorKind, LayeredCache, Memory, Result, StoreError, load_fn};

type Slot = Arc<OnceLock<LayeredCache<u64, u64>>>;

/// A cache whose loader of `key` asks the same cache for what `next` says.
fn asks_itself(next: fn(u64) -> Option<u64>) -> Result<LayeredCache<u64, u64>> {
    let slot = Slot::default();
    let inner = Arc::clone(&slot);
    let loader = load_fn(move |key: u64| {
        let inner = Arc::clone(&inner);
        async move {
            let cache = inner.get().expect("set before the first read");
            match next(key) {
                Some(other) => cache.get(&other).await.map_err(StoreError::from),
                None => Ok(Some(key)),
            }
        }
    });
    let cache = larder::read_through(loader).tier(Memory::with_capacity(100)).ttl(MINUTE).build()?;
    _ = slot.set(cache.clone());
    Ok(cache)
}

#[tokio::test(start_paused = true)]
async fn a_loader_that_asks_for_its_own_key_gets_an_error() -> Result<()> {
    let cache = asks_itself(Some)?;
    let asked =
        tokio::time::timeout(Duration::from_secs(1), cache.get(&7)).await.expect("at once, no deadlock");
    assert_eq!(asked.expect_err("it would wait for itself").kind(), ErrorKind::Nested);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_circle_of_loads_gets_an_error() -> Result<()> {
    let cache = asks_itself(|key| Some((key + 1) % 3))?;
    let asked =
        tokio::time::timeout(Duration::from_secs(1), cache.get(&0)).await.expect("at once, no deadlock");
    assert_eq!(asked.expect_err("it would wait for itself").kind(), ErrorKind::Nested);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_loader_may_ask_for_other_keys() -> Result<()> {
    let cache = asks_itself(|key| (key > 0).then(|| key - 1))?;
    assert_eq!(cache.get(&20).await?, Some(0));
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_write_inside_a_write_of_the_same_key_gets_an_error() -> Result<()> {
    let store = numbers(10);
    let cache = usual(larder::cache_aside(store.clone())).build()?;
    let inside = || async {
        _ = cache.put(&7, 70).await.map_err(|error| StoreError::from(error).not_applied())?;
        Ok::<_, StoreError>(())
    };
    let error = cache.write(&[7], inside).await.expect_err("it would wait for itself");
    assert_eq!(error.kind(), ErrorKind::Nested);
    let other = || async {
        _ = cache.put(&8, 80).await?;
        Ok::<_, StoreError>(())
    };
    _ = cache.write(&[7], other).await?;
    Ok(())
}
