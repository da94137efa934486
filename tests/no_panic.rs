//! Nothing that a caller can write makes larder panic: extreme settings, keys named twice or not at all, calls outside
//! a runtime, in a runtime without timers, or after the runtime has gone. Each works, or gives a typed error.

mod support;

use std::collections::HashMap;
use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake};
use std::thread::{self, Thread};
use std::time::Duration;

use larder::testing::{Call, FakeStore, TestClock, Trouble};
use larder::{
    Answer, Cache, CacheExt, ErrorKind, LayeredCache, Local, Memory, Quick, ReadOptions, Result, Tier,
    WriteOptions,
};
use support::{MINUTE, numbers, usual};
use tokio::runtime::{Builder, Runtime};

const CENTURY: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

type Numbers = LayeredCache<u64, u64>;

/// Runs `future` on a thread that has no tokio runtime.
fn block_on<A>(future: impl Future<Output = A>) -> A {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Arc::new(Unpark(thread::current())).into();
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(answer) => return answer,
            Poll::Pending => thread::park(),
        }
    }
}

fn runtime() -> Runtime {
    Builder::new_multi_thread().worker_threads(1).enable_time().build().expect("a runtime starts")
}

fn kind<A>(answer: Result<A>) -> Option<ErrorKind> {
    answer.err().map(|error| error.kind())
}

/// Everything that can be asked of a cache, once. Whatever it answers, nothing panics.
async fn use_all(cache: &Numbers) {
    let boxed: Arc<dyn Cache<u64, u64>> = Arc::new(cache.clone());
    for key in [0, 1, u64::MAX] {
        _ = cache.get(&key).await;
        _ = cache.get_local(&key);
        _ = cache.get_entry(&key).await;
        _ = cache.get_with(&key, ReadOptions::new().ttl(Duration::MAX).reload()).await;
        _ = cache.get_or_load(&key, async || Ok::<_, Infallible>(Some(1))).await;
        _ = cache.put(&key, 1).await;
        _ = cache.put_with(&key, 1, WriteOptions::new().ttl(Duration::MAX)).await;
        _ = cache.update(&key, |old| old.map(|n| n.wrapping_add(1))).await;
        _ = cache.write(&[key], async || Ok::<_, Infallible>(())).await;
        _ = cache.refresh(&key).await;
        _ = boxed.get_or_load(&key, async || Ok::<_, Infallible>(None)).await;
        _ = boxed.update(&key, |_| None).await;
        _ = cache.delete(&key).await;
        _ = cache.invalidate(&key).await;
    }
    _ = cache.get_by(&1).await;
    _ = cache.get_many(&[1, 1, 2]).await;
    _ = cache.get_or_load_many(&[1, 1, 2], async |_| Ok::<_, Infallible>(HashMap::from([(3, 3)]))).await;
    _ = cache.put_many(vec![(1, 1), (1, 2), (2, 2)]).await;
    _ = cache.delete_many(&[1, 1, 2]).await;
    _ = cache.invalidate_many(&[1, 1, 2]).await;
    _ = cache.clear().await;
    _ = cache.stats();
}

#[tokio::test(start_paused = true)]
async fn a_ttl_of_zero_keeps_nothing_and_every_read_loads() -> Result<()> {
    let store = numbers(2);
    let cache = usual(larder::write_through(store.clone())).ttl(Duration::ZERO).build()?;
    for loads in 1..=3 {
        assert_eq!(cache.get(&1).await?, Some(1));
        assert_eq!(store.loads(), loads);
    }
    _ = cache.put(&1, 10).await?;
    assert_eq!(cache.get_local(&1), Local::Unknown);
    assert_eq!(cache.get(&1).await?, Some(10));
    use_all(&cache).await;
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_ttl_below_a_millisecond_or_above_a_lifetime_is_kept_to() -> Result<()> {
    let clock = TestClock::new();
    for ttl in [Duration::from_nanos(1), Duration::from_micros(999), CENTURY] {
        let store = numbers(2);
        let cache = usual(larder::cache_aside(store.clone())).ttl(ttl).clock(clock.clone()).build()?;
        assert_eq!(cache.get(&1).await?, Some(1));
        clock.advance(ttl - Duration::from_nanos(1));
        assert_eq!(cache.get_local(&1), Local::Value(1), "{ttl:?}");
        clock.advance(Duration::from_nanos(1));
        assert_eq!(cache.get_local(&1), Local::Unknown, "{ttl:?}");
        use_all(&cache).await;
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn for_ever_is_a_time_like_any_other() -> Result<()> {
    let (store, clock) = (numbers(2), TestClock::new());
    let cache = usual(larder::write_through(store.clone()))
        .ttl(Duration::MAX)
        .absent_ttl(Duration::MAX)
        .jitter(1.0)
        .stale_while_revalidate(Duration::MAX)
        .refresh_ahead(0.8)
        .refresh_back_off(Duration::MAX)
        .max_batch(usize::MAX)
        .load_deadline(Duration::MAX)
        .write_deadline(Duration::MAX)
        .clock(clock.clone())
        .build()?;
    assert_eq!((cache.get(&1).await?, cache.get(&7).await?), (Some(1), None));
    _ = cache.put(&0, 10).await?;
    clock.advance(CENTURY);
    assert_eq!(
        (cache.get_local(&1), cache.get_local(&7), cache.get_local(&0)),
        (Local::Value(1), Local::Absent, Local::Value(10))
    );
    assert_eq!(store.loads(), 2);
    use_all(&cache).await;
    assert!(cache.close(Duration::MAX).await?.is_empty());
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_copy_may_be_renewed_almost_at_once_or_almost_never() -> Result<()> {
    for part in [f64::MIN_POSITIVE, 1.0 - f64::EPSILON] {
        for ttl in [Duration::from_nanos(1), MINUTE, Duration::MAX] {
            let builder = usual(larder::cache_aside(numbers(2))).ttl(ttl).refresh_ahead(part);
            let cache = builder.refresh_back_off(Duration::ZERO).max_batch(1).build()?;
            assert_eq!(cache.get(&1).await?, Some(1), "{part} of {ttl:?}");
            use_all(&cache).await;
        }
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn no_jitter_and_all_jitter_are_both_settings() -> Result<()> {
    for jitter in [0.0, 1.0] {
        let store = numbers(100);
        let cache = usual(larder::cache_aside(store.clone())).jitter(jitter).build()?;
        for key in 0..100 {
            assert_eq!(cache.get(&key).await?, Some(key));
        }
        tokio::time::advance(MINUTE - Duration::from_nanos(1)).await;
        let alive = (0..100).filter(|key| cache.get_local(key) != Local::Unknown).count();
        assert!(
            if jitter == 0.0 { alive == 100 } else { alive < 100 },
            "{alive} live on with a jitter of {jitter}"
        );
        use_all(&cache).await;
    }
    Ok(())
}

/// How often a cache with this tier loads a key that is asked for two hundred times, and remembers that there is none
/// of another.
async fn loads_with(tier: impl Tier<u64, u64>) -> Result<u64> {
    let store = numbers(2);
    let cache = larder::cache_aside(store.clone()).tier(tier).ttl(MINUTE).absent_ttl(MINUTE).build()?;
    for _ in 0..200 {
        assert_eq!(cache.get(&1).await?, Some(1));
    }
    let loads = store.loads();
    assert_eq!(cache.get(&7).await?, None);
    use_all(&cache).await;
    Ok(loads)
}

#[tokio::test]
async fn room_for_nothing_and_room_for_everything_are_both_rooms() -> Result<()> {
    for (room, loads) in [(0, 200), (u64::MAX, 1)] {
        assert_eq!(loads_with(Memory::with_capacity(room)).await?, loads, "room for {room}");
        assert_eq!(loads_with(Quick::with_capacity(room)).await?, loads, "room for {room}");
        let heavy = |_: &u64, _: &u64| u32::MAX;
        let weighed = loads_with(Memory::builder().weight(room, heavy).absent_capacity(room).build()).await?;
        assert_eq!(weighed, loads, "room for a weight of {room}");
        let weighed = loads_with(Quick::builder().weight(room, heavy).absent_capacity(room).build()).await?;
        assert_eq!(weighed, loads, "room for a weight of {room}");
    }
    Ok(())
}

#[tokio::test]
async fn what_weighs_nothing_is_kept_all_the_same() -> Result<()> {
    let light = |_: &u64, _: &u64| 0;
    assert_eq!(loads_with(Memory::builder().weight(100, light).build()).await?, 1);
    assert_eq!(loads_with(Quick::builder().weight(100, light).build()).await?, 1);
    Ok(())
}

#[tokio::test]
async fn a_time_to_idle_may_be_nothing_or_for_ever() -> Result<()> {
    assert_eq!(loads_with(Memory::builder().time_to_idle(Duration::ZERO).build()).await?, 200);
    assert_eq!(loads_with(Memory::builder().time_to_idle(CENTURY * 9).build()).await?, 1);
    assert_eq!(loads_with(Memory::builder().time_to_idle(CENTURY * 11).build()).await?, 1);
    assert_eq!(loads_with(Memory::builder().time_to_idle(Duration::MAX).build()).await?, 1);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_key_may_be_named_twice() -> Result<()> {
    let store = numbers(3);
    let cache = usual(larder::cache_aside(store.clone())).build()?;
    let answers: Result<Vec<_>> = cache.get_many(&[1, 2, 1, 9, 1]).await.into_iter().collect();
    assert_eq!(answers?, [Some(1), Some(2), Some(1), None, Some(1)]);
    assert_eq!(store.loads(), 3, "each key once");
    cache.invalidate_many(&[1, 1, 1]).await?;
    assert_eq!(cache.get_local(&1), Local::Unknown);
    let written = cache.write(&[2, 2], async || Ok::<_, Infallible>("done")).await?;
    assert_eq!(written.into_output(), "done");
    assert_eq!(cache.get_local(&2), Local::Unknown);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_list_of_keys_may_be_empty() -> Result<()> {
    let cache = usual(larder::cache_aside(numbers(3))).build()?;
    assert!(cache.get_many(&[]).await.is_empty());
    cache.invalidate_many(&[]).await?;
    let written = cache.write(&[], async || Ok::<_, Infallible>("done")).await?;
    assert_eq!(written.into_output(), "done");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn an_answer_may_be_polled_after_it_was_given() -> Result<()> {
    let cache = usual(larder::cache_aside(numbers(2))).build()?;
    let mut miss = cache.get(&1);
    assert_eq!((&mut miss).await?, Some(1));
    let mut hit = cache.get(&1);
    assert_eq!((&mut hit).await?, Some(1));
    let mut nobodys = Answer::ready(Ok(Some(1)));
    assert_eq!((&mut nobodys).await?, Some(1));
    for spent in [&mut miss, &mut hit, &mut nobodys] {
        assert!(futures_util::poll!(spent).is_pending(), "there is nothing more to come");
    }
    Ok(())
}

/// A cache over `store` that has key 1, built and filled in a runtime that is gone by now.
fn filled_elsewhere(store: &FakeStore<u64, u64>) -> Result<Numbers> {
    runtime().block_on(async {
        let cache =
            larder::cache_aside(store.clone()).tier(Memory::with_capacity(100)).ttl(MINUTE).build()?;
        assert_eq!(cache.get(&1).await?, Some(1));
        Ok(cache)
    })
}

#[test]
fn outside_a_runtime_a_hit_is_served() -> Result<()> {
    let cache = filled_elsewhere(&numbers(2))?;
    assert_eq!(block_on(cache.get(&1))?, Some(1));
    assert_eq!(cache.get_local(&1), Local::Value(1));
    assert_eq!(block_on(cache.get_or_load(&1, async || Ok::<_, Infallible>(None)))?, Some(1));
    Ok(())
}

#[test]
fn outside_a_runtime_copies_can_be_dropped() -> Result<()> {
    let cache = filled_elsewhere(&numbers(2))?;
    block_on(cache.invalidate(&1))?;
    assert_eq!(cache.get_local(&1), Local::Unknown);
    let cache = filled_elsewhere(&numbers(2))?;
    block_on(cache.clear())?;
    assert_eq!(cache.get_local(&1), Local::Unknown);
    Ok(())
}

#[test]
fn outside_a_runtime_a_load_or_a_write_is_refused() -> Result<()> {
    let store = numbers(3);
    let cache = filled_elsewhere(&store)?;
    let no_runtime = Some(ErrorKind::NoRuntime);
    assert_eq!(kind(block_on(cache.get(&2))), no_runtime);
    assert_eq!(kind(block_on(cache.get_entry(&2))), no_runtime);
    assert!(block_on(cache.get_many(&[2, 2])).into_iter().all(|answer| kind(answer) == no_runtime));
    assert_eq!(kind(block_on(cache.get_or_load(&2, async || Ok::<_, Infallible>(Some(2))))), no_runtime);
    assert_eq!(kind(block_on(cache.refresh(&1))), no_runtime);
    assert_eq!(kind(block_on(cache.put(&1, 10))), no_runtime);
    assert_eq!(kind(block_on(cache.delete(&1))), no_runtime);
    assert_eq!(kind(block_on(cache.update(&1, |_| None))), no_runtime);
    assert_eq!(kind(block_on(cache.write(&[1], async || Ok::<_, Infallible>(())))), no_runtime);
    assert_eq!((store.row(&1), store.loads()), (Some(1), 1), "the store was not asked");
    block_on(use_all(&cache));
    runtime().block_on(async { assert_eq!(cache.get(&2).await.expect("there is a runtime now"), Some(2)) });
    Ok(())
}

#[test]
fn outside_a_runtime_close_cannot_wait() -> Result<()> {
    let (elsewhere, store) = (runtime(), numbers(3));
    let cache = filled_elsewhere(&store)?;
    store.always(Call::Load, Some(Trouble::Hang));
    let hanging = cache.clone();
    elsewhere.spawn(async move { hanging.get(&2).await });
    while store.loads() < 2 {
        thread::yield_now();
    }
    assert_eq!(kind(block_on(cache.close(MINUTE))), Some(ErrorKind::NoRuntime));
    drop(elsewhere);
    assert!(block_on(cache.close(MINUTE))?.is_empty(), "there is nothing to wait for");
    Ok(())
}

#[test]
fn in_a_runtime_without_timers_the_same_holds_as_outside_one() -> Result<()> {
    let store = numbers(3);
    let cache = filled_elsewhere(&store)?;
    let no_runtime = Some(ErrorKind::NoRuntime);
    Builder::new_current_thread().build().expect("a runtime starts").block_on(async {
        assert_eq!(cache.get(&1).await?, Some(1));
        assert_eq!(kind(cache.get(&2).await), no_runtime);
        assert_eq!(kind(cache.get_or_load(&2, async || Ok::<_, Infallible>(Some(2))).await), no_runtime);
        assert_eq!(kind(cache.put(&1, 10).await), no_runtime);
        assert_eq!(kind(cache.delete(&1).await), no_runtime);
        assert_eq!(kind(cache.update(&1, |_| None).await), no_runtime);
        assert_eq!(kind(cache.write(&[1], async || Ok::<_, Infallible>(())).await), no_runtime);
        assert_eq!(store.row(&1), Some(1), "the store was not written");
        cache.invalidate(&1).await?;
        assert_eq!(cache.get_local(&1), Local::Unknown);
        cache.clear().await?;
        use_all(&cache).await;
        Ok(())
    })
}

#[cfg(feature = "redis")]
#[test]
fn a_lease_that_nobody_would_outlive_is_refused() -> Result<()> {
    let redis = larder::Redis::new("redis://127.0.0.1:1")?;
    for lease in [Duration::MAX, CENTURY, Duration::ZERO] {
        let journal = larder::journal::RedisStream::new(&redis, "numbers").lease(lease);
        let built =
            larder::write_behind(FakeStore::<u64, u64>::new()).exactly_once().journal(journal).store();
        assert_eq!(kind(built.map(drop)), Some(ErrorKind::Settings), "{lease:?}");
    }
    Ok(())
}

#[test]
fn a_cache_outlives_the_runtime_it_was_built_in() -> Result<()> {
    let (first, store) = (runtime(), numbers(3));
    let cache = first.block_on(async {
        larder::cache_aside(store.clone()).tier(Memory::with_capacity(100)).ttl(MINUTE).build()
    })?;
    store.always(Call::Load, Some(Trouble::Hang));
    store.always(Call::Save, Some(Trouble::Hang));
    let (reader, writer) = (cache.clone(), cache.clone());
    first.spawn(async move { reader.get(&1).await });
    first.spawn(async move { writer.put(&2, 20).await });
    while store.loads() + store.saves() < 2 {
        thread::yield_now();
    }
    drop(first);
    store.always(Call::Load, None);
    store.always(Call::Save, None);
    runtime().block_on(async {
        assert_eq!(cache.get(&1).await?, Some(1), "the load that hung is gone, and so is its flight");
        _ = cache.put(&2, 21).await?; // and so is the turn of the write that hung
        assert_eq!(cache.get(&2).await?, Some(21));
        use_all(&cache).await;
        assert!(cache.close(MINUTE).await?.is_empty());
        Ok(())
    })
}

#[test]
fn who_waits_for_a_load_in_a_runtime_that_goes_loads_by_himself() -> Result<()> {
    let (first, second, store) = (runtime(), runtime(), numbers(2));
    let cache = larder::cache_aside(store.clone()).tier(Memory::with_capacity(100)).ttl(MINUTE).build()?;
    store.next(Call::Load, Trouble::Hang);
    let leader = cache.clone();
    first.spawn(async move { leader.get(&1).await });
    while store.loads() < 1 {
        thread::yield_now();
    }
    let passenger = cache.clone();
    let passenger = second.spawn(async move { passenger.get(&1).await });
    while cache.stats().coalesced < 1 {
        thread::yield_now();
    }
    drop(first);
    assert_eq!(second.block_on(passenger).expect("the passenger does not panic")?, Some(1));
    assert_eq!(store.loads(), 2);
    Ok(())
}
