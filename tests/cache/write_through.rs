//! Write-through: the store first, then the copies; a failed write never leaves a wrong copy behind.

use crate::support::{MINUTE, numbers, usual};
use larder::testing::{Call, Trouble};
use larder::{Copies, ErrorKind, Local, Reached, Result};

#[tokio::test(start_paused = true)]
async fn a_put_is_in_the_store_and_in_the_copies() -> Result<()> {
    let store = numbers(10);
    let cache = usual(larder::write_through(store.clone())).build()?;
    let written = cache.put(&7, 70).await?;
    assert_eq!((written.reached(), written.copies()), (Reached::Store, Copies::Kept));
    assert_eq!((store.row(&7), cache.get_local(&7)), (Some(70), Local::Value(70)));
    assert_eq!(store.loads(), 0);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_write_that_surely_did_not_happen_leaves_the_old_value_to_be_read() -> Result<()> {
    let store = numbers(10);
    let cache = usual(larder::write_through(store.clone())).build()?;
    store.next(Call::Save, Trouble::NotApplied);
    let error = cache.put(&7, 70).await.expect_err("the store failed");
    assert_eq!(error.kind(), ErrorKind::Store);
    assert_eq!(cache.get(&7).await?, Some(7));
    assert_eq!(cache.get_local(&7), Local::Value(7), "the key is free to be filled again");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_write_that_happened_and_failed_after_it_is_seen() -> Result<()> {
    let store = numbers(10);
    let cache = usual(larder::write_through(store.clone())).build()?;
    cache.get(&7).await?;
    store.next(Call::Save, Trouble::Applied);
    assert!(cache.put(&7, 70).await.is_err());
    assert_eq!(cache.get(&7).await?, Some(70));
    Ok(())
}

/// The store lost the connection and commits all the same, ten seconds later: no copy of the old value survives it.
#[tokio::test(start_paused = true)]
async fn a_write_that_comes_true_late_is_seen() -> Result<()> {
    let store = numbers(10);
    let cache = usual(larder::write_through(store.clone())).write_deadline(MINUTE / 4).build()?;
    cache.get(&7).await?;
    store.next(Call::Save, Trouble::LandsLater(MINUTE / 6));
    assert!(cache.put(&7, 70).await.is_err());
    assert_eq!(cache.get(&7).await?, Some(7), "nothing has happened yet");
    assert_eq!(cache.get_local(&7), Local::Unknown, "and nothing is kept while it may");
    tokio::time::sleep(MINUTE / 2).await;
    assert_eq!(cache.get(&7).await?, Some(70));
    assert_eq!(cache.get_local(&7), Local::Value(70), "the doubt is over");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_write_without_an_answer_is_given_up_at_the_deadline() -> Result<()> {
    let store = numbers(10);
    let cache = usual(larder::write_through(store.clone())).write_deadline(MINUTE).build()?;
    store.next(Call::Save, Trouble::Hang);
    let error = cache.put(&7, 70).await.expect_err("the store hangs");
    assert_eq!(error.kind(), ErrorKind::Timeout);
    _ = cache.put(&7, 71).await?;
    assert_eq!(cache.get(&7).await?, Some(71));
    assert_eq!(cache.stats().in_doubt, 1);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_panicking_store_is_an_error_and_the_next_write_works() -> Result<()> {
    let store = numbers(10);
    let cache = usual(larder::write_through(store.clone())).build()?;
    store.next(Call::Save, Trouble::Panic);
    assert_eq!(cache.put(&7, 70).await.expect_err("the store panics").kind(), ErrorKind::Panicked);
    _ = cache.put(&7, 71).await?;
    assert_eq!(cache.get(&7).await?, Some(71));
    Ok(())
}

/// `W1: hold · W1: store←70 · invalidate after another's write · W1: publish 70`: the copy would be older than the
/// invalidation.
#[tokio::test(start_paused = true)]
async fn an_invalidation_during_a_put_leaves_no_copy() -> Result<()> {
    let store = numbers(10);
    let cache = usual(larder::write_through(store.clone())).build()?;
    let gate = store.gate_after(Call::Save);
    let put = tokio::spawn({
        let cache = cache.clone();
        async move { cache.put(&7, 70).await }
    });
    gate.arrived(1).await;
    store.set_row(7, 700);
    cache.invalidate(&7).await?;
    gate.open();
    let written = put.await.expect("no panic")?;
    assert_eq!(written.copies(), Copies::Dropped);
    assert_eq!(cache.get(&7).await?, Some(700));
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_dropped_put_goes_on() -> Result<()> {
    let store = numbers(10);
    let cache = usual(larder::write_through(store.clone())).build()?;
    store.delay(Call::Save, MINUTE / 60);
    assert!(tokio::time::timeout(MINUTE / 120, cache.put(&7, 70)).await.is_err(), "the caller has gone");
    tokio::time::sleep(MINUTE / 60).await;
    assert_eq!((store.row(&7), cache.get_local(&7)), (Some(70), Local::Value(70)));
    Ok(())
}
