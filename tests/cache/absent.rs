//! "The store has none" is an answer: remembered when asked to, and forgotten at the first write of the key.

use std::time::Duration;

use crate::support::{MINUTE, numbers, usual};
use larder::{Local, Result};

const BRIEFLY: Duration = Duration::from_secs(5);

#[tokio::test(start_paused = true)]
async fn an_absence_is_not_remembered_unless_asked_for() -> Result<()> {
    let store = numbers(0);
    let cache = usual(larder::cache_aside(store.clone())).build()?;
    assert_eq!(cache.get(&1).await?, None);
    assert_eq!(cache.get(&1).await?, None);
    assert_eq!(store.loads(), 2);
    Ok(())
}

/// A copy of what is gone is not served again.
#[tokio::test(start_paused = true)]
async fn a_reload_that_finds_nothing_drops_the_copy() -> Result<()> {
    let store = numbers(2);
    let cache = usual(larder::cache_aside(store.clone())).build()?;
    assert_eq!(cache.get(&1).await?, Some(1));
    store.remove_row(&1);
    assert_eq!(cache.refresh(&1).await?, None);
    assert_eq!(cache.get(&1).await?, None);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_remembered_absence_is_a_hit_for_its_own_ttl() -> Result<()> {
    let store = numbers(0);
    let cache = usual(larder::cache_aside(store.clone())).absent_ttl(BRIEFLY).build()?;
    assert_eq!(cache.get(&1).await?, None);
    assert_eq!(cache.get_local(&1), Local::Absent);
    assert_eq!(cache.get(&1).await?, None);
    assert_eq!((store.loads(), cache.stats().hits), (1, 2));
    tokio::time::advance(BRIEFLY).await;
    assert_eq!(cache.get_local(&1), Local::Unknown);
    Ok(())
}

/// The peer's bug: an insert found nothing to delete, and the cached "not found" stayed.
#[tokio::test(start_paused = true)]
async fn an_insert_after_a_remembered_absence_is_visible_at_once() -> Result<()> {
    for (name, builder) in [
        ("cache-aside", larder::cache_aside(numbers(0))),
        ("write-through", larder::write_through(numbers(0))),
    ] {
        let cache = usual(builder).absent_ttl(MINUTE).build()?;
        assert_eq!(cache.get(&1).await?, None);
        _ = cache.put(&1, 10).await?;
        assert_eq!(cache.get(&1).await?, Some(10), "{name}");
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn an_insert_of_ones_own_sql_is_visible_at_once() -> Result<()> {
    let store = numbers(0);
    let cache = usual(larder::cache_aside(store.clone())).absent_ttl(MINUTE).build()?;
    assert_eq!(cache.get(&1).await?, None);
    let insert = || async {
        store.set_row(1, 10);
        Ok::<_, std::io::Error>(())
    };
    _ = cache.write(&[1], insert).await?;
    assert_eq!(cache.get(&1).await?, Some(10));
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_write_through_delete_is_remembered_as_an_absence() -> Result<()> {
    let store = numbers(2);
    let cache = usual(larder::write_through(store.clone())).absent_ttl(MINUTE).build()?;
    _ = cache.delete(&1).await?;
    assert_eq!(cache.get_local(&1), Local::Absent);
    assert_eq!(store.loads(), 0);
    Ok(())
}
