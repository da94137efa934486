//! `update` loses nothing in this process, and reads the store, never a copy.

use crate::support::{MINUTE, numbers, usual};
use larder::testing::{Call, Trouble};
use larder::{ErrorKind, Memory, Result};

#[tokio::test(flavor = "multi_thread", worker_threads = 8)]
async fn two_hundred_updates_of_one_counter_count_to_two_hundred() -> Result<()> {
    for through in [false, true] {
        let store = numbers(0);
        let builder =
            if through { larder::write_through(store.clone()) } else { larder::cache_aside(store.clone()) };
        let cache = builder.tier(Memory::with_capacity(100)).ttl(MINUTE).build()?;
        let updates: Vec<_> = (0..200)
            .map(|_| {
                let cache = cache.clone();
                tokio::spawn(async move { cache.update(&1, |count| Some(count.unwrap_or(0) + 1)).await })
            })
            .collect();
        let mut totals = Vec::new();
        for update in updates {
            totals.push(update.await.expect("no panic")?.into_output().expect("a count"));
        }
        totals.sort_unstable();
        assert_eq!(totals, (1..=200).collect::<Vec<_>>(), "each update saw a count of its own");
        assert_eq!((store.row(&1), cache.get(&1).await?), (Some(200), Some(200)));
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 8)]
async fn without_turns_counts_are_lost() -> Result<()> {
    let store = numbers(0);
    store.delay(Call::Save, std::time::Duration::from_millis(1));
    let cache = larder::cache_aside(store.clone())
        .tier(Memory::with_capacity(100))
        .ttl(MINUTE)
        .without_turns()
        .build()?;
    let updates: Vec<_> = (0..200)
        .map(|_| {
            let cache = cache.clone();
            tokio::spawn(async move { cache.update(&1, |count| Some(count.unwrap_or(0) + 1)).await })
        })
        .collect();
    for update in updates {
        _ = update.await.expect("no panic")?;
    }
    assert!(store.row(&1) < Some(200), "this is what turns are for");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn an_update_reads_the_store_and_not_a_copy() -> Result<()> {
    let store = numbers(10);
    let cache = usual(larder::cache_aside(store.clone())).build()?;
    cache.get(&7).await?;
    store.set_row(7, 100);
    let updated = cache.update(&7, |old| old.map(|n| n + 1)).await?;
    assert_eq!(updated.into_output(), Some(101));
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn an_update_to_nothing_deletes() -> Result<()> {
    let store = numbers(10);
    let cache = usual(larder::write_through(store.clone())).build()?;
    _ = cache.update(&7, |_| None).await?;
    assert_eq!((store.row(&7), cache.get(&7).await?), (None, None));
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn an_update_whose_load_fails_writes_nothing() -> Result<()> {
    let store = numbers(10);
    let cache = usual(larder::cache_aside(store.clone())).build()?;
    store.next(Call::Load, Trouble::Unknown);
    assert_eq!(cache.update(&7, |_| Some(1)).await.expect_err("no load").kind(), ErrorKind::Store);
    assert_eq!((store.row(&7), store.saves()), (Some(7), 0));
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn an_update_needs_a_store() -> Result<()> {
    let cache = usual(larder::cache()).build()?;
    assert_eq!(cache.update(&7, |_| Some(1)).await.expect_err("no store").kind(), ErrorKind::NoStore);
    let cache = usual(larder::read_through(numbers(10))).build()?;
    assert_eq!(cache.update(&7, |_| Some(1)).await.expect_err("read only").kind(), ErrorKind::ReadOnly);
    Ok(())
}
