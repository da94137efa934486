//! Stale-while-revalidate: for a while after its ttl a value is served, marked, while it is renewed; what was
//! invalidated never is, and neither is an absence.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::support::{MINUTE, numbers, usual};
use larder::testing::{Call, Trouble};
use larder::{Freshness, Local, Result};

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn a_stale_copy_is_served_marked_and_renewed() -> Result<()> {
    let store = numbers(10);
    let cache = usual(larder::cache_aside(store.clone())).stale_while_revalidate(MINUTE).build()?;
    cache.get(&7).await?;
    store.set_row(7, 70);
    tokio::time::advance(MINUTE + 30 * SECOND).await;
    assert_eq!(cache.get_local(&7), Local::Unknown, "something is to be done");
    let served = cache.get_entry(&7).await?.expect("there is a copy");
    assert_eq!((served.value(), served.freshness()), (Some(&7), Freshness::Stale));
    assert_eq!(served.age(), MINUTE + 30 * SECOND);
    tokio::time::sleep(SECOND).await;
    let served = cache.get_entry(&7).await?.expect("there is a copy");
    assert_eq!((served.value(), served.freshness()), (Some(&70), Freshness::Fresh));
    assert_eq!(cache.stats().stale_hits, 1);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn after_the_window_readers_wait() -> Result<()> {
    let store = numbers(10);
    let cache = usual(larder::cache_aside(store.clone())).stale_while_revalidate(MINUTE).build()?;
    cache.get(&7).await?;
    store.set_row(7, 70);
    tokio::time::advance(2 * MINUTE).await;
    assert_eq!(cache.get(&7).await?, Some(70));
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn what_was_invalidated_is_never_served_stale() -> Result<()> {
    let store = numbers(10);
    let cache = usual(larder::cache_aside(store.clone())).stale_while_revalidate(MINUTE).build()?;
    cache.get(&7).await?;
    tokio::time::advance(MINUTE + SECOND).await;
    cache.invalidate(&7).await?;
    store.always(Call::Load, Some(Trouble::Unknown));
    assert!(cache.get(&7).await.is_err());
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn an_absence_is_never_served_past_its_ttl() -> Result<()> {
    let store = numbers(0);
    let cache = usual(larder::cache_aside(store.clone()))
        .absent_ttl(SECOND)
        .stale_while_revalidate(MINUTE)
        .build()?;
    assert_eq!(cache.get(&7).await?, None);
    store.set_row(7, 70);
    tokio::time::advance(SECOND).await;
    assert_eq!(cache.get(&7).await?, Some(70));
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_store_that_fails_is_asked_again_only_after_the_back_off() -> Result<()> {
    let store = numbers(10);
    let cache = usual(larder::cache_aside(store.clone()))
        .stale_while_revalidate(10 * MINUTE)
        .refresh_back_off(20 * SECOND)
        .build()?;
    cache.get(&7).await?;
    store.always(Call::Load, Some(Trouble::Unknown));
    tokio::time::advance(MINUTE).await;
    for _ in 0..10 {
        assert_eq!(cache.get(&7).await?, Some(7));
        tokio::time::sleep(SECOND).await;
    }
    assert_eq!(store.loads(), 2);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn of_callers_with_loads_of_their_own_one_loads_and_the_others_get_the_copy() -> Result<()> {
    let cache = usual(larder::cache()).stale_while_revalidate(MINUTE).build()?;
    _ = cache.put(&7, 7).await?;
    tokio::time::advance(MINUTE + SECOND).await;
    let loads = AtomicU64::new(0);
    let load = || async {
        loads.fetch_add(1, Ordering::Relaxed);
        tokio::time::sleep(SECOND).await;
        Ok::<_, io::Error>(Some(70))
    };
    let (one, other) = tokio::join!(cache.get_or_load(&7, load), cache.get_or_load(&7, load));
    assert_eq!((one?, other?), (Some(70), Some(7)));
    assert_eq!(loads.load(Ordering::Relaxed), 1);
    let stats = cache.stats();
    assert_eq!((stats.stale_hits, stats.misses), (1, 1), "each of them counts once");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_callers_own_load_that_fails_is_answered_by_the_copy() -> Result<()> {
    let cache = usual(larder::cache()).stale_while_revalidate(MINUTE).build()?;
    _ = cache.put(&7, 7).await?;
    tokio::time::advance(MINUTE + SECOND).await;
    let fails = || async { Err::<Option<u64>, _>(io::Error::other("down")) };
    assert_eq!(cache.get_or_load(&7, fails).await?, Some(7));
    let unasked = || async { panic!("it is being left alone") as Result<Option<u64>, io::Error> };
    assert_eq!(cache.get_or_load(&7, unasked).await?, Some(7));
    tokio::time::advance(MINUTE).await;
    assert!(cache.get_or_load(&7, fails).await.is_err(), "the window is over");
    Ok(())
}
