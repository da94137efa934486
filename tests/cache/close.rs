//! `close` refuses new work, waits for what is under way, and says what is left.

use std::time::Duration;

use crate::support::{MINUTE, numbers, usual};
use larder::testing::{Call, Trouble};
use larder::{ErrorKind, Local, Result};

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn work_under_way_is_waited_for() -> Result<()> {
    let store = numbers(10);
    store.delay(Call::Save, SECOND);
    let cache = usual(larder::write_through(store.clone())).build()?;
    assert!(tokio::time::timeout(SECOND / 2, cache.put(&7, 70)).await.is_err(), "the caller has gone");
    assert!(cache.close(MINUTE).await?.is_empty());
    assert_eq!(store.row(&7), Some(70));
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn what_does_not_end_in_time_is_left_and_said() -> Result<()> {
    let store = numbers(10);
    store.next(Call::Load, Trouble::Hang);
    store.next(Call::Save, Trouble::Hang);
    let cache = usual(larder::write_through(store.clone())).build()?;
    _ = tokio::time::timeout(SECOND / 2, cache.get(&7)).await;
    _ = tokio::time::timeout(SECOND / 2, cache.put(&8, 80)).await;
    let began = tokio::time::Instant::now();
    let left = cache.close(SECOND).await?;
    assert_eq!((left.loads, left.writes), (1, 1));
    assert_eq!(began.elapsed().as_secs(), 1);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_closed_cache_serves_copies_and_refuses_the_rest() -> Result<()> {
    let cache = usual(larder::cache_aside(numbers(10))).build()?;
    cache.get(&7).await?;
    assert!(cache.close(SECOND).await?.is_empty());
    assert_eq!(cache.get_local(&7), Local::Value(7));
    assert_eq!(cache.get(&7).await?, Some(7));
    let load = || async { Ok::<_, std::io::Error>(Some(8)) };
    let sql = || async { Ok::<_, std::io::Error>(()) };
    let refused = [
        cache.get(&8).await.map(|_| ()),
        cache.get_or_load(&8, load).await.map(|_| ()),
        cache.refresh(&7).await.map(|_| ()),
        cache.put(&8, 80).await.map(|_| ()),
        cache.delete(&8).await.map(|_| ()),
        cache.update(&8, |old| old).await.map(|_| ()),
        cache.write(&[8], sql).await.map(|_| ()),
    ];
    for answer in refused {
        assert_eq!(answer.expect_err("closed").kind(), ErrorKind::Closed);
    }
    assert!(cache.close(SECOND).await?.is_empty(), "twice is no harm");
    Ok(())
}

/// What is to be dropped once more later is dropped at once: nobody will be there later.
#[tokio::test(start_paused = true)]
async fn a_doubt_is_settled_at_once() -> Result<()> {
    let store = numbers(10);
    let cache = usual(larder::cache_aside(store.clone())).write_deadline(MINUTE).build()?;
    store.next(Call::Save, Trouble::Unknown);
    assert!(cache.put(&7, 70).await.is_err());
    cache.get(&7).await?;
    let began = tokio::time::Instant::now();
    assert!(cache.close(MINUTE).await?.is_empty());
    assert!(began.elapsed() < SECOND);
    assert_eq!(cache.get_local(&7), Local::Unknown);
    Ok(())
}
