//! `Cache` can be held as `Arc<dyn Cache>`, with the generic calls, and be implemented by hand in four methods.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex};

use crate::support::{numbers, usual};
use larder::{
    Answer, Cache, CacheExt, ErrorKind, Local, ReadOptions, Reply, Result, StoreError, WriteOptions, Written,
};

#[tokio::test(start_paused = true)]
async fn a_dyn_cache_does_all_that_a_concrete_one_does() -> Result<()> {
    let store = numbers(10);
    let cache: Arc<dyn Cache<u64, u64>> =
        Arc::new(usual(larder::write_through(store.clone())).name("numbers").build()?);
    assert_eq!(cache.name(), "numbers");
    assert_eq!(cache.get(&1).await?, Some(1));
    assert_eq!(cache.get_local(&1), Local::Value(1));
    assert!(cache.get(&1).is_ready());
    assert_eq!(cache.get_entry(&1).await?.and_then(larder::Served::into_value), Some(1));
    assert_eq!(cache.get_many(&[1, 2]).await.len(), 2);
    _ = cache.put(&1, 10).await?;
    assert_eq!(cache.get(&1).await?, Some(10));
    let updated = cache.update(&1, |old| old.map(|n| n + 1)).await?;
    assert_eq!(updated.into_output(), Some(11));
    let name = String::from("borrowed");
    let sql = || async {
        store.set_row(1, 12);
        Ok::<_, io::Error>(name.len())
    };
    assert_eq!(cache.write(&[1], sql).await?.into_output(), 8);
    assert_eq!(cache.get(&1).await?, Some(12));
    let load = || async { Ok::<_, io::Error>(Some(name.len() as u64)) };
    assert_eq!(cache.get_or_load(&99, load).await?, Some(8));
    assert_eq!(cache.refresh(&1).await?, Some(12));
    cache.invalidate(&1).await?;
    cache.invalidate_many(&[2, 3]).await?;
    _ = cache.delete(&1).await?;
    cache.clear().await?;
    assert!(cache.stats().hits > 0);
    assert!(cache.close(crate::support::MINUTE).await?.is_empty());
    Ok(())
}

/// The least that a cache can be.
#[derive(Default)]
struct Least(Mutex<HashMap<u64, u64>>);

impl Least {
    fn map(&self) -> std::sync::MutexGuard<'_, HashMap<u64, u64>> {
        self.0.lock().expect("no panic")
    }
}

impl Cache<u64, u64> for Least {
    fn get_with<'a>(&'a self, key: &'a u64, _options: ReadOptions) -> Answer<'a, u64> {
        Answer::ready(Ok(self.map().get(key).copied()))
    }

    fn put_with<'a>(&'a self, key: &'a u64, value: u64, _options: WriteOptions) -> Reply<'a, Written> {
        self.map().insert(*key, value);
        Box::pin(async { Ok(Written::copies_only()) })
    }

    fn delete<'a>(&'a self, key: &'a u64) -> Reply<'a, Written> {
        self.map().remove(key);
        Box::pin(async { Ok(Written::copies_only()) })
    }

    fn invalidate<'a>(&'a self, key: &'a u64) -> Reply<'a, ()> {
        self.map().remove(key);
        Box::pin(async { Ok(()) })
    }
}

#[tokio::test]
async fn four_methods_make_a_cache() -> Result<()> {
    let cache: Arc<dyn Cache<u64, u64>> = Arc::new(Least::default());
    assert_eq!(cache.get(&1).await?, None);
    assert_eq!(cache.get_or_load(&1, || async { Ok::<_, io::Error>(Some(10)) }).await?, Some(10));
    assert_eq!(cache.get(&1).await?, Some(10), "kept");
    assert_eq!(cache.write(&[1], || async { Ok::<_, io::Error>("done") }).await?.into_output(), "done");
    assert_eq!(cache.get(&1).await?, None, "dropped after the write");
    _ = cache.put(&1, 11).await?;
    let refused = || async { Err::<(), _>(StoreError::new("taken").not_applied()) };
    assert!(cache.write(&[1], refused).await.is_err());
    assert_eq!(cache.get(&1).await?, Some(11), "not dropped: nothing was written");
    let error = cache.update(&1, |old| old).await.expect_err("honest about what it cannot do");
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    Ok(())
}
