//! Several tiers: the fastest answers, those above keep what those below had, and one that fails is a miss.

use std::sync::Arc;
use std::time::Duration;

use crate::support::{MINUTE, numbers};
use larder::testing::{Faults, Faulty, TestClock};
use larder::tier::Hold;
use larder::{Consistency, Copies, LayeredCache, Local, Memory, Outcome, Result, Tier};

type TwoTiers = (LayeredCache<u64, u64>, larder::testing::FakeStore<u64, u64>, Faults);

/// Memory over a slow, failing-on-command tier below, over a store with ten rows.
fn two_tiers() -> Result<TwoTiers> {
    let store = numbers(10);
    let below = Faulty::new(Memory::with_capacity(1000));
    let faults = below.faults();
    let cache = larder::write_through(store.clone())
        .tier(Memory::with_capacity(1))
        .tier(below)
        .ttl(MINUTE)
        .jitter(0.0)
        .clock(TestClock::new())
        .build()?;
    Ok((cache, store, faults))
}

/// The upper tier has room for one: reading another key again and again crowds `key` out.
async fn crowd_out(cache: &LayeredCache<u64, u64>, key: u64) -> Result<()> {
    for other in (0..10).filter(|other| *other != key) {
        for _ in 0..20 {
            cache.get(&other).await?;
        }
    }
    for _ in 0..500 {
        if cache.get_local(&key) == Local::Unknown {
            return Ok(());
        }
        cache.get(&((key + 1) % 10)).await?;
    }
    panic!("the upper tier kept two entries in room for one");
}

#[tokio::test(start_paused = true)]
async fn a_copy_below_saves_the_load_and_is_lifted() -> Result<()> {
    let (cache, store, _) = two_tiers()?;
    cache.get(&7).await?;
    crowd_out(&cache, 7).await?;
    let loads = store.loads();
    let served = cache.get_entry(&7).await?.expect("there is a store");
    assert_eq!((served.value(), served.tier()), (Some(&7), Some("memory")));
    assert_eq!(store.loads(), loads);
    Ok(())
}

/// The peer's bug: a promoted copy began a new life.
#[tokio::test(start_paused = true)]
async fn a_lifted_copy_keeps_its_age() -> Result<()> {
    let (cache, _, _) = two_tiers()?;
    cache.get(&7).await?;
    tokio::time::advance(MINUTE * 3 / 4).await;
    crowd_out(&cache, 7).await?;
    let served = cache.get_entry(&7).await?.expect("there is a store");
    assert_eq!(served.age(), MINUTE * 3 / 4);
    tokio::time::advance(MINUTE / 4).await;
    assert_eq!(cache.get_local(&7), Local::Unknown, "the whole life is over");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_tier_that_fails_is_a_miss_and_the_others_go_on() -> Result<()> {
    let (cache, _, faults) = two_tiers()?;
    faults.fail(true);
    assert_eq!(cache.get(&7).await?, Some(7));
    assert!(cache.stats().tier_failures > 0);
    assert_eq!(cache.get_local(&7), Local::Value(7));
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_write_whose_copies_cannot_be_dropped_says_so_and_drops_them_later() -> Result<()> {
    let store = numbers(10);
    let tier = Faulty::new(Memory::with_capacity(1000));
    let faults = tier.faults();
    let cache =
        larder::cache_aside(store.clone()).tier(tier).ttl(MINUTE * 60).clock(TestClock::new()).build()?;
    cache.get(&7).await?;
    faults.fail(true);
    let written = cache.put(&7, 70).await?;
    assert_eq!(written.copies(), Copies::Pending);
    assert!(cache.invalidate(&7).await.is_err(), "an invalidation that failed is an error");
    tokio::time::sleep(Duration::from_secs(20)).await;
    faults.fail(false);
    tokio::time::sleep(Duration::from_secs(6)).await;
    assert_eq!(cache.get(&7).await?, Some(70));
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_write_through_that_cannot_claim_its_key_keeps_nothing() -> Result<()> {
    let (cache, store, faults) = two_tiers()?;
    cache.get(&7).await?;
    faults.fail(true);
    assert_eq!(cache.put(&7, 70).await?.copies(), Copies::Pending);
    assert_eq!(store.row(&7), Some(70), "a failing tier does not stop a write");
    faults.fail(false);
    assert_eq!(cache.get(&7).await?, Some(70), "what is owed is not read");
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(cache.put(&7, 71).await?.copies(), Copies::Kept, "and the key is free again");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_linearizable_write_that_cannot_claim_its_key_writes_nothing() -> Result<()> {
    let store = numbers(10);
    let tier = Faulty::new(Memory::with_capacity(1000));
    let faults = tier.faults();
    let cache = larder::cache_aside(store.clone())
        .tier(tier)
        .ttl(MINUTE)
        .consistency(Consistency::Linearizable)
        .clock(TestClock::new())
        .build()?;
    faults.fail(true);
    let refused = cache.put(&7, 70).await.expect_err("the claim was refused");
    assert_eq!(refused.outcome(), Some(Outcome::NotApplied));
    assert_eq!(store.row(&7), Some(7));
    faults.fail(false);
    assert_eq!(cache.put(&7, 70).await?.copies(), Copies::Dropped);
    assert_eq!(cache.get(&7).await?, Some(70));
    Ok(())
}

/// `W: drops above · R: lifts the old copy from below · W: drops below` would leave the old copy above: copies are dropped
/// lowest tier first.
#[tokio::test(start_paused = true)]
async fn a_copy_below_is_dropped_before_the_one_above() -> Result<()> {
    let (cache, store, faults) = two_tiers()?;
    cache.get(&7).await?;
    faults.delay(Duration::from_secs(1)); // for the invalidation
    let invalidation = tokio::spawn({
        let cache = cache.clone();
        async move { cache.invalidate(&7).await }
    });
    tokio::time::sleep(Duration::from_millis(500)).await;
    faults.delay(Duration::ZERO); // and not for the reader
    store.set_row(7, 70);
    cache.get(&7).await?;
    invalidation.await.expect("no panic")?;
    assert_eq!(cache.get(&7).await?, Some(70));
    Ok(())
}

/// Another process writes the key, and holds it in the tier below: what is loaded past it may be old before it is here.
#[tokio::test(start_paused = true)]
async fn what_is_loaded_past_a_hold_below_is_kept_nowhere() -> Result<()> {
    let below = Arc::new(Memory::with_capacity(1000));
    let cache = larder::cache_aside(numbers(10))
        .tier(Memory::with_capacity(1000))
        .tier(Arc::clone(&below))
        .ttl(MINUTE)
        .clock(TestClock::new())
        .build()?;
    let hold = Hold::unique();
    Tier::<u64, u64>::hold_many(&below, &[7], hold, MINUTE).await?;
    assert_eq!(cache.get(&7).await?, Some(7));
    assert_eq!(cache.get_local(&7), Local::Unknown);
    Tier::<u64, u64>::release_many(&below, &[7], hold).await?;
    cache.get(&7).await?;
    assert_eq!(cache.get_local(&7), Local::Value(7));
    Ok(())
}
