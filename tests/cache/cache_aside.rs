//! Cache-aside: a miss loads and keeps, a write saves and drops, a read after a write sees it.

use std::time::Duration;

use crate::support::{MINUTE, numbers, usual};
use larder::testing::Call;
use larder::{Copies, Local, Reached, ReadOptions, Result};

#[tokio::test(start_paused = true)]
async fn a_miss_loads_once_and_then_hits() -> Result<()> {
    let store = numbers(10);
    let cache = usual(larder::cache_aside(store.clone())).build()?;
    for _ in 0..3 {
        assert_eq!(cache.get(&7).await?, Some(7));
    }
    assert_eq!(store.loads(), 1);
    let stats = cache.stats();
    assert_eq!((stats.hits, stats.misses, stats.loads), (2, 1, 1));
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_put_is_in_the_store_and_the_copy_is_gone() -> Result<()> {
    let store = numbers(10);
    let cache = usual(larder::cache_aside(store.clone())).build()?;
    cache.get(&7).await?;
    let written = cache.put(&7, 70).await?;
    assert_eq!((written.reached(), written.copies()), (Reached::Store, Copies::Dropped));
    assert_eq!(store.row(&7), Some(70));
    assert_eq!(cache.get_local(&7), Local::Unknown);
    assert_eq!(cache.get(&7).await?, Some(70));
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_delete_is_in_the_store_and_in_the_copies() -> Result<()> {
    let store = numbers(10);
    let cache = usual(larder::cache_aside(store.clone())).build()?;
    cache.get(&7).await?;
    _ = cache.delete(&7).await?;
    assert_eq!(store.row(&7), None);
    assert_eq!(cache.get(&7).await?, None);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_copy_lives_for_its_ttl_and_no_longer() -> Result<()> {
    let store = numbers(10);
    let cache = usual(larder::cache_aside(store.clone())).build()?;
    cache.get(&7).await?;
    store.set_row(7, 70); // behind the cache's back
    tokio::time::advance(MINUTE - Duration::from_nanos(1)).await;
    assert_eq!(cache.get(&7).await?, Some(7));
    tokio::time::advance(Duration::from_nanos(1)).await;
    assert_eq!(cache.get(&7).await?, Some(70));
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn age_counts_from_before_a_slow_load() -> Result<()> {
    let store = numbers(10);
    store.delay(Call::Load, MINUTE / 4);
    let cache = usual(larder::cache_aside(store.clone())).build()?;
    cache.get(&7).await?;
    let served = cache.get_entry(&7).await?.expect("there is a copy");
    assert_eq!((served.age(), served.tier()), (MINUTE / 4, Some("memory")));
    tokio::time::advance(MINUTE * 3 / 4).await;
    assert_eq!(cache.get_local(&7), Local::Unknown);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn one_read_may_want_another_ttl() -> Result<()> {
    let store = numbers(10);
    let cache = usual(larder::cache_aside(store.clone())).build()?;
    cache.get_with(&7, ReadOptions::new().ttl(MINUTE * 2)).await?;
    tokio::time::advance(MINUTE).await;
    assert_eq!(cache.get_local(&7), Local::Value(7));
    cache.get_with(&8, ReadOptions::new().ttl(Duration::ZERO)).await?;
    assert_eq!(cache.get_local(&8), Local::Unknown);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn jitter_only_ever_shortens_a_life() -> Result<()> {
    let store = numbers(1000);
    let cache = usual(larder::cache_aside(store.clone())).jitter(0.5).build()?;
    for key in 0..1000 {
        cache.get(&key).await?;
    }
    tokio::time::advance(MINUTE / 2 - Duration::from_millis(1)).await;
    let alive = |cache: &larder::LayeredCache<u64, u64>| {
        (0..1000).filter(|key| cache.get_local(key) != Local::Unknown).count()
    };
    assert_eq!(alive(&cache), 1000, "half a life is certain");
    tokio::time::advance(MINUTE / 4).await;
    assert!((300..700).contains(&alive(&cache)), "after three quarters about half are left");
    tokio::time::advance(MINUTE / 4 + Duration::from_millis(1)).await;
    assert_eq!(alive(&cache), 0, "a whole life is the most");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn many_keys_have_an_answer_each_in_their_order() -> Result<()> {
    let store = numbers(3);
    let cache = usual(larder::cache_aside(store.clone())).build()?;
    cache.get(&1).await?;
    let mut answers = Vec::new();
    for answer in cache.get_many(&[2, 9, 1, 2]).await {
        answers.push(answer?);
    }
    assert_eq!(answers, [Some(2), None, Some(1), Some(2)]);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn of_many_keys_one_may_fail_alone() -> Result<()> {
    let store = numbers(3);
    let cache = usual(larder::cache_aside(store.clone())).build()?;
    store.next(Call::Load, larder::testing::Trouble::Unknown);
    let answers = cache.get_many(&[0, 1, 2]).await;
    assert_eq!(answers.iter().filter(|answer| answer.is_err()).count(), 1);
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 2);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_refresh_replaces_the_copy_and_leaves_it_when_it_fails() -> Result<()> {
    let store = numbers(10);
    let cache = usual(larder::cache_aside(store.clone())).build()?;
    cache.get(&7).await?;
    store.set_row(7, 70);
    assert_eq!(cache.refresh(&7).await?, Some(70));
    assert_eq!(cache.get_local(&7), Local::Value(70));
    store.next(Call::Load, larder::testing::Trouble::Unknown);
    assert!(cache.refresh(&7).await.is_err());
    assert_eq!(cache.get_local(&7), Local::Value(70));
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_clear_drops_every_copy() -> Result<()> {
    let store = numbers(100);
    let cache = usual(larder::cache_aside(store.clone())).build()?;
    for key in 0..100 {
        cache.get(&key).await?;
    }
    cache.clear().await?;
    assert!((0..100).all(|key| cache.get_local(&key) == Local::Unknown));
    assert_eq!(cache.get(&7).await?, Some(7), "and fills again");
    assert_eq!(cache.get_local(&7), Local::Value(7));
    Ok(())
}
