//! Zero, false, nothing and empty are values: hits, in single and batch reads.

use std::time::Duration;

use larder::testing::FakeStore;
use larder::{Local, Memory, Result, Value};

async fn is_a_hit<V: Value + PartialEq + std::fmt::Debug>(falsy: V) -> Result<()> {
    let store = FakeStore::with([(1, falsy.clone())]);
    let cache = larder::cache_aside(store.clone())
        .tier(Memory::with_capacity(10))
        .ttl(Duration::from_secs(60))
        .build()?;
    for _ in 0..2 {
        assert_eq!(cache.get(&1).await?, Some(falsy.clone()));
        assert_eq!(cache.get_many(&[1]).await.remove(0)?, Some(falsy.clone()));
    }
    assert_eq!(cache.get_local(&1), Local::Value(falsy));
    assert_eq!(store.loads(), 1);
    Ok(())
}

#[tokio::test]
async fn falsy_values_are_hits() -> Result<()> {
    is_a_hit(0_u64).await?;
    is_a_hit(0.0_f64).await?;
    is_a_hit(false).await?;
    is_a_hit(()).await?;
    is_a_hit(String::new()).await?;
    is_a_hit(Vec::<u8>::new()).await?;
    is_a_hit(None::<u8>).await
}
