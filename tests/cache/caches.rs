//! All caches of a service in one place: each has a name of its own, their counts can be read side by side, and one
//! call closes them all by one deadline and says what is left of each.

use std::time::Duration;

use crate::support::{MINUTE, numbers, usual};
use larder::testing::{Call, Trouble};
use larder::{Caches, ErrorKind, LayeredCache, Local, Result};
use tokio::time::Instant;

const DEADLINE: Duration = Duration::from_secs(5);

fn named(name: &str) -> Result<LayeredCache<u64, u64>> {
    usual(larder::cache_aside(numbers(10))).name(name).build()
}

#[tokio::test(start_paused = true)]
async fn each_cache_is_counted_under_its_own_name() -> Result<()> {
    let (posts, users, caches) = (named("posts")?, named("users")?, Caches::new());
    caches.add(posts.clone())?;
    caches.clone().add(users.clone())?; // a clone is a handle of the same registry
    for _ in 0..3 {
        assert_eq!(posts.get(&1).await?, Some(1));
    }
    assert_eq!(users.get(&1).await?, Some(1));
    let stats = caches.stats();
    assert_eq!(stats.keys().collect::<Vec<_>>(), ["posts", "users"]);
    assert_eq!((stats["posts"].hits, stats["posts"].misses), (2, 1));
    assert_eq!((stats["users"].hits, stats["users"].misses), (0, 1));
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn caches_of_different_keys_and_values_go_into_one_registry() -> Result<()> {
    let caches = Caches::new();
    caches.add(named("posts")?)?;
    let pages = larder::cache::<String, String>().tier(larder::Memory::with_capacity(1)).ttl(MINUTE);
    caches.add(pages.name("pages").build()?)?;
    assert_eq!(caches.stats().len(), 2);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_second_cache_of_the_same_name_is_refused() -> Result<()> {
    let (first, second, caches) = (named("posts")?, named("posts")?, Caches::new());
    caches.add(first.clone())?;
    let error = caches.add(second.clone()).expect_err("the name is taken");
    assert_eq!(error.kind(), ErrorKind::Settings);
    assert!(error.to_string().contains("`posts`"), "{error}");
    assert_eq!(first.get(&1).await?, Some(1));
    assert_eq!(caches.stats()["posts"].misses, 1, "the first one is still the one");
    assert_eq!(second.get(&1).await?, Some(1), "and the second can still be used");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn all_are_closed_by_one_deadline_and_what_is_left_is_said_of_each() -> Result<()> {
    let caches = Caches::new();
    caches.add(named("idle")?)?;
    for (name, call) in [("reading", Call::Load), ("writing", Call::Save), ("as stuck", Call::Load)] {
        let store = numbers(10);
        store.always(call, Some(Trouble::Hang));
        let cache = usual(larder::cache_aside(store.clone())).name(name).build()?;
        caches.add(cache.clone())?;
        tokio::spawn(async move {
            if call == Call::Load { cache.get(&1).await.is_ok() } else { cache.put(&1, 10).await.is_ok() }
        });
        while store.count(call) == 0 {
            tokio::task::yield_now().await;
        }
    }
    let start = Instant::now();
    let mut left = std::collections::BTreeMap::new();
    for (name, leftovers) in caches.close_all(DEADLINE).await {
        let leftovers = leftovers?;
        left.insert(name, (leftovers.loads, leftovers.writes));
    }
    assert_eq!(
        start.elapsed().as_secs(),
        DEADLINE.as_secs(),
        "one deadline for all, not one after the other"
    );
    let expected = [("as stuck", (1, 0)), ("idle", (0, 0)), ("reading", (1, 0)), ("writing", (0, 1))];
    assert_eq!(left, expected.map(|(name, left)| (name.to_owned(), left)).into());
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn what_finishes_in_time_is_waited_for_and_nothing_longer() -> Result<()> {
    let store = numbers(10);
    store.delay(Call::Save, Duration::from_secs(2));
    let (caches, cache) = (Caches::new(), usual(larder::write_through(store.clone())).build()?);
    caches.add(cache.clone())?;
    let writer = tokio::spawn(async move { cache.put(&1, 10).await.is_ok() });
    while store.saves() == 0 {
        tokio::task::yield_now().await;
    }
    let start = Instant::now();
    let leftovers = caches.close_all(DEADLINE).await.remove("cache").expect("it has the default name")?;
    assert!(leftovers.is_empty());
    assert_eq!(start.elapsed().as_secs(), 2);
    assert!(writer.await.expect("no panic"));
    assert_eq!(store.row(&1), Some(10));
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_closed_cache_serves_what_it_has_and_takes_nothing_new() -> Result<()> {
    let (posts, caches) = (named("posts")?, Caches::new());
    caches.add(posts.clone())?;
    assert_eq!(posts.get(&1).await?, Some(1));
    for (_, leftovers) in caches.close_all(DEADLINE).await {
        assert!(leftovers?.is_empty());
    }
    let miss = posts.get(&2).await.expect_err("a load is refused");
    let put = posts.put(&2, 20).await.expect_err("a write is refused");
    assert_eq!((miss.kind(), put.kind()), (ErrorKind::Closed, ErrorKind::Closed));
    assert_eq!(posts.get(&1).await?, Some(1));
    assert_eq!(posts.get_local(&1), Local::Value(1));
    posts.invalidate(&1).await?;
    assert_eq!(posts.get_local(&1), Local::Unknown, "what is wrong can still be dropped");
    Ok(())
}
