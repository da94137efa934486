//! Refresh-ahead: readers of a hot key never wait. One refresh of a key at a time, fenced like any load, and none for a
//! while after one has failed.

use std::time::Duration;

use crate::support::{MINUTE, numbers, usual};
use larder::testing::{Call, FakeStore, Trouble};
use larder::{LayeredCache, Local, Result};

const SECOND: Duration = Duration::from_secs(1);

/// Key 7 is loaded; its refresh is due from the 48th second on.
async fn loaded() -> Result<(LayeredCache<u64, u64>, FakeStore<u64, u64>)> {
    let store = numbers(10);
    let cache = usual(larder::cache_aside(store.clone())).refresh_ahead(0.8).build()?;
    cache.get(&7).await?;
    store.set_row(7, 70);
    Ok((cache, store))
}

#[tokio::test(start_paused = true)]
async fn a_copy_is_renewed_once_its_part_of_life_is_over() -> Result<()> {
    let (cache, store) = loaded().await?;
    tokio::time::advance(47 * SECOND).await;
    assert_eq!(cache.get_local(&7), Local::Value(7), "nothing to be done yet");
    tokio::time::advance(SECOND).await;
    assert_eq!(cache.get_local(&7), Local::Unknown, "something is to be done");
    assert_eq!(cache.get(&7).await?, Some(7), "the reader does not wait");
    tokio::time::sleep(SECOND / 100).await;
    assert_eq!(cache.get_local(&7), Local::Value(70));
    assert_eq!((store.loads(), cache.stats().refreshes), (2, 1));
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn of_many_readers_one_begins_the_refresh() -> Result<()> {
    let (cache, store) = loaded().await?;
    store.delay(Call::Load, SECOND);
    tokio::time::advance(50 * SECOND).await;
    for _ in 0..100 {
        assert_eq!(cache.get(&7).await?, Some(7));
    }
    tokio::time::sleep(2 * SECOND).await;
    assert_eq!(cache.get(&7).await?, Some(70));
    assert_eq!((store.loads(), cache.stats().refreshes), (2, 1));
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_key_that_nobody_reads_is_not_renewed() -> Result<()> {
    let (_cache, store) = loaded().await?;
    tokio::time::sleep(2 * MINUTE).await;
    assert_eq!(store.loads(), 1);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_failed_refresh_leaves_the_copy_and_waits_for_the_back_off() -> Result<()> {
    for trouble in [Trouble::Unknown, Trouble::Panic] {
        let store = numbers(10);
        let cache = usual(larder::cache_aside(store.clone()))
            .ttl(10 * MINUTE)
            .refresh_ahead(0.1)
            .refresh_back_off(40 * SECOND)
            .build()?;
        cache.get(&7).await?;
        store.always(Call::Load, Some(trouble));
        tokio::time::advance(MINUTE).await;
        for _ in 0..20 {
            assert_eq!(cache.get(&7).await?, Some(7));
            tokio::time::sleep(SECOND).await;
        }
        assert_eq!(
            store.loads(),
            2,
            "one try in twenty seconds: at least half the back-off of forty is waited for"
        );
        assert_eq!(cache.stats().refresh_failures, 1);
        tokio::time::sleep(20 * SECOND).await;
        store.always(Call::Load, None);
        store.set_row(7, 70);
        assert_eq!(cache.get(&7).await?, Some(7));
        tokio::time::sleep(SECOND).await;
        assert_eq!(cache.get(&7).await?, Some(70), "and then it is tried again");
    }
    Ok(())
}

/// The peer's bug: the fence guarded foreground loads, and a refresh put the old value back.
#[tokio::test(start_paused = true)]
async fn a_refresh_that_a_write_overtakes_is_not_kept() -> Result<()> {
    let (cache, store) = loaded().await?;
    store.set_row(7, 7);
    tokio::time::advance(50 * SECOND).await;
    let gate = store.gate_after(Call::Load);
    assert_eq!(cache.get(&7).await?, Some(7));
    gate.arrived(1).await; // the refresh has read the old value
    store.set_row(7, 70);
    cache.invalidate(&7).await?;
    gate.open();
    tokio::time::sleep(SECOND).await;
    assert_eq!(cache.get(&7).await?, Some(70));
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_refresh_that_hangs_is_given_up_and_the_copy_serves_on() -> Result<()> {
    let store = numbers(10);
    let cache =
        usual(larder::cache_aside(store.clone())).refresh_ahead(0.1).load_deadline(5 * SECOND).build()?;
    cache.get(&7).await?;
    store.next(Call::Load, Trouble::Hang);
    tokio::time::advance(10 * SECOND).await;
    cache.get(&7).await?;
    tokio::time::sleep(6 * SECOND).await;
    assert_eq!(cache.get(&7).await?, Some(7));
    assert_eq!(cache.stats().refresh_failures, 1);
    assert!(cache.close(SECOND).await?.is_empty(), "nothing is left behind");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn many_keys_are_renewed_each_for_itself() -> Result<()> {
    let store = numbers(10);
    let cache = usual(larder::cache_aside(store.clone())).refresh_ahead(0.5).build()?;
    cache.get_many(&[1, 2]).await;
    tokio::time::advance(40 * SECOND).await;
    cache.get(&3).await?;
    (1..=4).for_each(|key| store.set_row(key, key * 10));
    let answers = cache.get_many(&[1, 2, 3, 4]).await;
    let values: Vec<_> = answers.into_iter().map(|answer| answer.expect("the store works")).collect();
    assert_eq!(values, [Some(1), Some(2), Some(3), Some(40)]);
    tokio::time::sleep(SECOND).await;
    assert_eq!((cache.get(&1).await?, cache.get(&2).await?), (Some(10), Some(20)));
    assert_eq!(cache.stats().refreshes, 2);
    Ok(())
}
