//! A load that was overtaken by a write answers those who waited for it, and is kept by nobody.
//!
//! The classic race of cache-aside: `R: miss · R: store→v1 · W: store←v2 · W: invalidate · R: keep v1` leaves v1 until its
//! ttl. Every test here fails when the fence is taken out of [`Memory`]; the last one shows it.

use std::time::Duration;

use crate::support::{MINUTE, numbers, usual};
use larder::testing::{Call, FakeStore, Gate, TestClock};
use larder::{LayeredCache, Local, Memory, Result};
use tokio::task::JoinHandle;

/// A cache whose load of key 7 has read the old value, 7, and not yet answered.
async fn in_the_middle(
    cache: &LayeredCache<u64, u64>,
    store: &FakeStore<u64, u64>,
) -> (Gate, JoinHandle<Result<Option<u64>>>) {
    let gate = store.gate_after(Call::Load);
    let reader = tokio::spawn({
        let cache = cache.clone();
        async move { cache.get(&7).await }
    });
    gate.arrived(1).await;
    (gate, reader)
}

#[tokio::test(start_paused = true)]
async fn an_invalidation_overtakes_a_load() -> Result<()> {
    let store = numbers(10);
    let cache = usual(larder::cache_aside(store.clone())).build()?;
    let (gate, reader) = in_the_middle(&cache, &store).await;
    store.set_row(7, 70);
    cache.invalidate(&7).await?;
    let after = cache.get(&7);
    gate.open();
    assert_eq!(after.await?, Some(70), "who asks after the invalidation sees the new value");
    assert_eq!(reader.await.expect("no panic")?, Some(7), "who asked before may see the old one");
    assert_eq!(cache.get(&7).await?, Some(70), "and the old one is not kept");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn every_kind_of_write_overtakes_a_load() -> Result<()> {
    type Write = for<'a> fn(
        &'a LayeredCache<u64, u64>,
        &'a FakeStore<u64, u64>,
    ) -> futures_util::future::BoxFuture<'a, Result<()>>;
    let writes: [(&str, Write); 4] = [
        ("put", |cache, _| Box::pin(async move { cache.put(&7, 70).await.map(|_| ()) })),
        ("update", |cache, store| {
            Box::pin(async move {
                store.set_row(7, 69); // `update` loads as well, through the open gate
                cache.update(&7, |old| old.map(|n| n + 1)).await.map(|_| ())
            })
        }),
        ("write", |cache, store| {
            Box::pin(async move {
                let sql = || async {
                    store.set_row(7, 70);
                    Ok::<_, std::io::Error>(())
                };
                cache.write(&[7], sql).await.map(|_| ())
            })
        }),
        ("clear", |cache, store| {
            Box::pin(async move {
                store.set_row(7, 70);
                cache.clear().await
            })
        }),
    ];
    for (name, write) in writes {
        for through in [false, true] {
            let store = numbers(10);
            let builder = if through {
                larder::write_through(store.clone())
            } else {
                larder::cache_aside(store.clone())
            };
            let cache = usual(builder).build()?;
            let (gate, reader) = in_the_middle(&cache, &store).await;
            if name == "update" {
                // the reader's load has read; let it answer only after the update has begun
                let update = write(&cache, &store);
                let (updated, ()) = tokio::join!(update, async {
                    gate.arrived(2).await;
                    gate.open();
                });
                updated?;
            } else {
                write(&cache, &store).await?;
                gate.open();
            }
            assert_eq!(cache.get(&7).await?, Some(70), "{name}, through: {through}");
            reader.await.expect("no panic")?;
            assert_eq!(cache.get(&7).await?, Some(70), "{name}, through: {through}, later");
        }
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_refresh_is_overtaken_like_any_load() -> Result<()> {
    let store = numbers(10);
    let cache = usual(larder::cache_aside(store.clone())).build()?;
    cache.get(&7).await?;
    let gate = store.gate_after(Call::Load);
    let refresh = tokio::spawn({
        let cache = cache.clone();
        async move { cache.refresh(&7).await }
    });
    gate.arrived(1).await;
    store.set_row(7, 70);
    cache.invalidate(&7).await?;
    gate.open();
    assert_eq!(refresh.await.expect("no panic")?, Some(7));
    assert_eq!(cache.get(&7).await?, Some(70));
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_load_of_the_callers_own_is_overtaken_like_any_other() -> Result<()> {
    let cache = usual(larder::cache()).build()?;
    let (read, written) = (tokio::sync::Notify::new(), tokio::sync::Notify::new());
    let load = || async {
        read.notify_one(); // has read the old value
        written.notified().await;
        Ok::<_, std::io::Error>(Some(7))
    };
    let write = async {
        read.notified().await;
        cache.invalidate(&7).await?;
        written.notify_one();
        Ok(())
    };
    let (loaded, wrote): (_, Result<()>) = tokio::join!(cache.get_or_load(&7, load), write);
    wrote?;
    assert_eq!(loaded?, Some(7));
    assert_eq!(cache.get_local(&7), Local::Unknown);
    Ok(())
}

/// The old value must not come back through the promotion of a copy from a slow tier below, either.
#[tokio::test(start_paused = true)]
async fn an_invalidation_overtakes_a_promotion() -> Result<()> {
    let store = numbers(10);
    let slow = larder::testing::Faulty::new(Memory::with_capacity(100));
    let faults = slow.faults();
    let cache = larder::cache_aside(store.clone())
        .tier(Memory::with_capacity(1))
        .tier(slow)
        .ttl(MINUTE)
        .clock(TestClock::new())
        .build()?;
    cache.get(&7).await?;
    for key in [1, 2, 3] {
        for _ in 0..50 {
            cache.get(&key).await?; // crowds 7 out of the upper tier
        }
    }
    faults.delay(Duration::from_secs(1));
    let reader = tokio::spawn({
        let cache = cache.clone();
        async move { cache.get(&7).await }
    });
    tokio::time::sleep(Duration::from_millis(500)).await;
    store.set_row(7, 70);
    cache.invalidate(&7).await?;
    _ = reader.await.expect("no panic")?;
    faults.delay(Duration::ZERO);
    assert_eq!(cache.get(&7).await?, Some(70));
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn without_the_fence_the_old_value_comes_back() -> Result<()> {
    let store = numbers(10);
    let cache = larder::cache_aside(store.clone())
        .tier(Memory::with_capacity(100).without_fence())
        .ttl(MINUTE)
        .clock(TestClock::new())
        .build()?;
    let (gate, reader) = in_the_middle(&cache, &store).await;
    store.set_row(7, 70);
    cache.invalidate(&7).await?;
    gate.open();
    _ = reader.await.expect("no panic")?;
    assert_eq!(cache.get(&7).await?, Some(7), "this is the race that the fence stops");
    Ok(())
}
