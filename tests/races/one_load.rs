//! Of many who ask for one key, one loads; and one who goes away, fails, hangs or panics harms nobody else.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::support::{MINUTE, numbers, usual};
use larder::testing::{Call, Trouble};
use larder::{ErrorKind, Local, Result};

#[tokio::test(flavor = "multi_thread", worker_threads = 8)]
async fn ten_thousand_reads_of_a_cold_key_load_once() -> Result<()> {
    for round in 0..3_u64 {
        let store = numbers(10);
        store.delay(Call::Load, Duration::from_millis(20) * round as u32);
        let cache = larder::cache_aside(store.clone())
            .tier(larder::Memory::with_capacity(100))
            .ttl(MINUTE)
            .build()?;
        let reads: Vec<_> = (0..10_000)
            .map(|_| {
                let cache = cache.clone();
                tokio::spawn(async move { cache.get(&7).await })
            })
            .collect();
        for read in reads {
            assert_eq!(read.await.expect("no panic")?, Some(7));
        }
        assert_eq!(store.loads(), 1, "round {round}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 8)]
async fn ten_thousand_callers_with_loads_of_their_own_load_once() -> Result<()> {
    let cache = larder::cache().tier(larder::Memory::with_capacity(100)).ttl(MINUTE).build()?;
    let loads = std::sync::Arc::new(AtomicU64::new(0));
    let reads: Vec<_> = (0..10_000)
        .map(|_| {
            let (cache, loads) = (cache.clone(), std::sync::Arc::clone(&loads));
            tokio::spawn(async move {
                let load = || async {
                    loads.fetch_add(1, Ordering::Relaxed);
                    tokio::time::sleep(Duration::from_millis(20)).await;
                    Ok::<_, std::io::Error>(Some(7))
                };
                cache.get_or_load(&7, load).await
            })
        })
        .collect();
    for read in reads {
        assert_eq!(read.await.expect("no panic")?, Some(7));
    }
    assert_eq!(loads.load(Ordering::Relaxed), 1);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_goes_away_leaves_the_load_running() -> Result<()> {
    let store = numbers(10);
    store.delay(Call::Load, Duration::from_secs(1));
    let cache = usual(larder::cache_aside(store.clone())).build()?;
    assert!(tokio::time::timeout(Duration::from_millis(1), cache.get(&7)).await.is_err());
    let follower = cache.get(&7).await?;
    assert_eq!((follower, store.loads()), (Some(7), 1));
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_caller_who_drops_its_own_load_leaves_the_lead_to_another() -> Result<()> {
    let cache = usual(larder::cache()).build()?;
    let never = || async { std::future::pending::<Result<Option<u64>, std::io::Error>>().await };
    let seven = || async { Ok::<_, std::io::Error>(Some(7)) };
    let leader = tokio::time::timeout(Duration::from_secs(1), cache.get_or_load(&7, never));
    let follower = cache.get_or_load(&7, seven);
    let (leader, follower) = tokio::join!(leader, follower);
    assert!(leader.is_err(), "dropped");
    assert_eq!(follower?, Some(7));
    Ok(())
}

/// Nobody polls the leader any more, and nobody drops it: the waiters' own timers take its place away.
#[tokio::test(start_paused = true)]
async fn a_leader_that_is_never_polled_again_loses_the_flight() -> Result<()> {
    let cache = usual(larder::cache()).load_deadline(Duration::from_secs(5)).build()?;
    let (go, gone) = tokio::sync::oneshot::channel::<()>();
    let slow = || async {
        _ = gone.await;
        Ok::<_, std::io::Error>(Some(1))
    };
    let mut leader = Box::pin(cache.get_or_load(&7, slow));
    assert!(futures_util::poll!(leader.as_mut()).is_pending());
    let began = tokio::time::Instant::now();
    let follower = cache.get_or_load(&7, || async { Ok::<_, std::io::Error>(Some(2)) }).await?;
    assert_eq!((follower, began.elapsed().as_secs()), (Some(2), 5));
    go.send(()).expect("the leader waits");
    _ = leader.await;
    assert_eq!(cache.get_local(&7), Local::Value(2), "the late answer is not kept");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_load_that_never_ends_is_given_up_and_the_next_caller_gets_through() -> Result<()> {
    let store = numbers(10);
    let cache = usual(larder::cache_aside(store.clone())).load_deadline(Duration::from_secs(5)).build()?;
    store.next(Call::Load, Trouble::Hang);
    let (first, second) = tokio::join!(cache.get(&7), cache.get(&7));
    for waiter in [first, second] {
        assert_eq!(waiter.expect_err("the load hangs").kind(), ErrorKind::Timeout);
    }
    assert_eq!(cache.get(&7).await?, Some(7));
    assert_eq!(store.loads(), 2);
    Ok(())
}

/// The loader blocks its thread past the deadline and then answers: who waited has been told, the answer is too old.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_late_answer_is_not_kept() -> Result<()> {
    let blocking = larder::load_fn(|key: u64| async move {
        std::thread::sleep(Duration::from_millis(400));
        Ok::<_, std::io::Error>(Some(key))
    });
    let cache = larder::read_through(blocking)
        .tier(larder::Memory::with_capacity(100))
        .ttl(MINUTE)
        .load_deadline(Duration::from_millis(50))
        .build()?;
    let error = cache.get(&7).await.expect_err("late");
    assert_eq!(error.kind(), ErrorKind::Timeout);
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(cache.get_local(&7), Local::Unknown);
    assert_eq!(cache.stats().fills_refused, 1);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_panicking_loader_is_an_error_for_all_who_wait_and_the_slot_is_free() -> Result<()> {
    let store = numbers(10);
    store.delay(Call::Load, Duration::from_secs(1));
    let cache = usual(larder::cache_aside(store.clone())).build()?;
    store.next(Call::Load, Trouble::Panic);
    let (first, second) = tokio::join!(cache.get(&7), cache.get(&7));
    for waiter in [first, second] {
        assert_eq!(waiter.expect_err("the loader panics").kind(), ErrorKind::Panicked);
    }
    assert_eq!(cache.get(&7).await?, Some(7));
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_panicking_load_of_the_callers_own_is_an_error_too() -> Result<()> {
    let cache = usual(larder::cache()).build()?;
    let panics = || async { panic!("the caller's own bug") as Result<Option<u64>, std::io::Error> };
    let error = cache.get_or_load(&7, panics).await.expect_err("it panics");
    assert_eq!(error.kind(), ErrorKind::Panicked);
    assert_eq!(cache.get_or_load(&7, || async { Ok::<_, std::io::Error>(Some(7)) }).await?, Some(7));
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn an_error_is_told_to_those_who_wait_and_not_remembered() -> Result<()> {
    let store = numbers(10);
    store.delay(Call::Load, Duration::from_secs(1));
    let cache = usual(larder::cache_aside(store.clone())).build()?;
    store.next(Call::Load, Trouble::Unknown);
    let (first, second) = tokio::join!(cache.get(&7), cache.get(&7));
    assert!(first.is_err() && second.is_err());
    assert_eq!(store.loads(), 1);
    assert_eq!(cache.get(&7).await?, Some(7));
    Ok(())
}

/// A reader that only looks for copies has no part in a load: it would inherit an answer it did not ask for, or make
/// others inherit its "nothing here".
#[tokio::test(start_paused = true)]
async fn who_only_looks_for_copies_joins_no_load() -> Result<()> {
    let cache = usual(larder::cache()).build()?;
    let slow = || async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        Ok::<_, std::io::Error>(Some(7))
    };
    let (loaded, looked) = tokio::join!(cache.get_or_load(&7, slow), cache.get(&7));
    assert_eq!((loaded?, looked?), (Some(7), None));
    Ok(())
}
