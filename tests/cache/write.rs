//! `write` runs a write of one's own, and drops the copies of the named keys: after it, never before, and not when it
//! surely did not happen.

use std::io;
use std::time::Duration;

use crate::support::{MINUTE, numbers, usual};
use larder::testing::Call;
use larder::{Copies, ErrorKind, Local, Reached, Result, StoreError};

#[tokio::test(start_paused = true)]
async fn the_copies_of_the_named_keys_are_dropped_after_it() -> Result<()> {
    let store = numbers(10);
    let cache = usual(larder::cache_aside(store.clone())).build()?;
    for key in [1, 2, 3] {
        cache.get(&key).await?;
    }
    let sql = || async {
        assert_eq!(cache.get_local(&1), Local::Value(1), "not before it");
        store.set_row(1, 10);
        store.set_row(2, 20);
        Ok::<_, io::Error>("two rows")
    };
    let written = cache.write(&[1, 2], sql).await?;
    assert_eq!((written.reached(), written.copies()), (Reached::Store, Copies::Dropped));
    assert_eq!(written.into_output(), "two rows");
    assert_eq!(cache.get(&1).await?, Some(10));
    assert_eq!(cache.get(&2).await?, Some(20));
    assert_eq!(cache.get_local(&3), Local::Value(3));
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_write_that_surely_did_not_happen_drops_nothing() -> Result<()> {
    let cache = usual(larder::cache_aside(numbers(10))).build()?;
    cache.get(&1).await?;
    let sql = || async { Err::<(), _>(StoreError::new("taken").not_applied()) };
    let error = cache.write(&[1], sql).await.expect_err("refused");
    assert_eq!(error.kind(), ErrorKind::Store);
    assert_eq!(cache.get_local(&1), Local::Value(1));
    Ok(())
}

/// The commit was sent, the connection broke, the store commits all the same a while later.
#[tokio::test(start_paused = true)]
async fn a_write_of_unknown_outcome_drops_now_and_once_more_later() -> Result<()> {
    let store = numbers(10);
    let cache = usual(larder::cache_aside(store.clone())).write_deadline(Duration::from_secs(10)).build()?;
    cache.get(&1).await?;
    let sql = || async { Err::<(), _>(io::Error::other("connection lost")) };
    assert!(cache.write(&[1], sql).await.is_err());
    assert_eq!(cache.get_local(&1), Local::Unknown, "dropped now");
    assert_eq!(cache.get(&1).await?, Some(1), "not committed yet, and filled again");
    tokio::time::sleep(Duration::from_secs(5)).await;
    store.set_row(1, 10); // the commit
    tokio::time::sleep(Duration::from_secs(6)).await;
    assert_eq!(cache.get(&1).await?, Some(10), "dropped once more");
    assert_eq!(cache.stats().in_doubt, 1);
    Ok(())
}

/// A request is cancelled while its SQL runs; the database finishes it.
#[tokio::test(start_paused = true)]
async fn a_cancelled_write_drops_now_and_once_more_later() -> Result<()> {
    let store = numbers(10);
    let cache = usual(larder::cache_aside(store.clone())).write_deadline(Duration::from_secs(10)).build()?;
    cache.get(&1).await?;
    let sql = || async { std::future::pending::<Result<(), io::Error>>().await };
    let cancelled = tokio::time::timeout(Duration::from_secs(1), cache.write(&[1], sql)).await;
    assert!(cancelled.is_err());
    assert_eq!(cache.get_local(&1), Local::Unknown, "dropped when it was cancelled");
    assert_eq!(cache.get(&1).await?, Some(1), "not committed yet, and filled again");
    store.set_row(1, 10); // the commit
    tokio::time::sleep(Duration::from_secs(11)).await;
    assert_eq!(cache.get(&1).await?, Some(10), "dropped once more");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_panicking_write_puts_the_copies_right_and_frees_the_keys() -> Result<()> {
    let store = numbers(10);
    let cache = usual(larder::cache_aside(store.clone())).build()?;
    cache.get(&1).await?;
    let panics = tokio::spawn({
        let (cache, store) = (cache.clone(), store.clone());
        async move {
            let sql = || async {
                store.set_row(1, 10);
                panic!("the caller's own bug") as Result<(), io::Error>
            };
            cache.write(&[1], sql).await
        }
    });
    assert!(panics.await.is_err(), "the caller's panic is the caller's");
    assert_eq!(cache.get(&1).await?, Some(10));
    _ = cache.put(&1, 11).await?;
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn writes_of_one_key_take_turns() -> Result<()> {
    let cache = usual(larder::cache_aside(numbers(10))).build()?;
    let order = std::sync::Mutex::new(Vec::new());
    let sql = |name: &'static str| {
        let order = &order;
        move || async move {
            order.lock().expect("no panic").push(format!("{name} begins"));
            tokio::time::sleep(Duration::from_secs(1)).await;
            order.lock().expect("no panic").push(format!("{name} ends"));
            Ok::<_, io::Error>(())
        }
    };
    let (first, second) =
        tokio::join!(cache.write(&[1, 2], sql("first")), cache.write(&[2, 3], sql("second")));
    (_, _) = (first?, second?);
    assert_eq!(
        *order.lock().expect("no panic"),
        ["first begins", "first ends", "second begins", "second ends"]
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn writes_of_crossing_keys_do_not_deadlock() -> Result<()> {
    let cache =
        larder::cache_aside(numbers(10)).tier(larder::Memory::with_capacity(10)).ttl(MINUTE).build()?;
    let writes: Vec<_> = (0..400_u64)
        .map(|n| {
            let cache = cache.clone();
            tokio::spawn(async move {
                let keys = [n % 5, (n * 3 + 1) % 5, (n * 7 + 2) % 5];
                let sql = || async {
                    tokio::task::yield_now().await;
                    Ok::<_, io::Error>(())
                };
                cache.write(&keys, sql).await
            })
        })
        .collect();
    for write in writes {
        _ = write.await.expect("no panic")?;
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_writer_waits_for_another_no_longer_than_the_deadline() -> Result<()> {
    let store = numbers(10);
    let cache = usual(larder::cache_aside(store.clone())).write_deadline(Duration::from_secs(2)).build()?;
    let hangs = || async { std::future::pending::<Result<(), io::Error>>().await };
    let hung = cache.write(&[1], hangs);
    let waiting = async {
        tokio::time::sleep(Duration::from_millis(1)).await;
        cache.put(&1, 10).await
    };
    let error = tokio::select! {
        _ = hung => unreachable!("it hangs"),
        waited = waiting => waited.expect_err("the turn never comes"),
    };
    assert_eq!((error.kind(), store.count(Call::Save)), (ErrorKind::Timeout, 0));
    Ok(())
}
