//! A store that fails is asked again: for ever if it may pass, at growing pauses, and nothing is lost.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::support::behind::{HOUR, Log, Numbers, SECOND, exact, put, put_all, settings, shard, volatile};
use crate::support::numbers;
use crate::support::watching::Heard;
use async_trait::async_trait;
use larder::journal::Volatile;
use larder::testing::{Call, Trouble};
use larder::{Change, Loader, Saved, Store, StoreError, write_behind};
use tokio::time::Instant;

/// A store that notes when it was asked.
#[derive(Clone)]
struct Noting(Numbers, Arc<Mutex<Vec<Instant>>>);

#[async_trait]
impl Loader<u64, u64> for Noting {
    async fn load(&self, key: &u64) -> Result<Option<u64>, StoreError> {
        self.0.load(key).await
    }
}

#[async_trait]
impl Store<u64, u64> for Noting {
    async fn save(&self, key: &u64, value: &u64) -> Result<Saved<u64>, StoreError> {
        self.1.lock().unwrap().push(Instant::now());
        self.0.save(key, value).await
    }

    async fn delete(&self, key: &u64) -> Result<(), StoreError> {
        self.0.delete(key).await
    }
}

#[tokio::test(start_paused = true)]
async fn what_may_pass_is_tried_again_for_ever_at_growing_pauses_with_jitter() {
    let store = Noting(numbers(0), Arc::default());
    store.0.always(Call::Save, Some(Trouble::Transient));
    let (first, longest) = (SECOND / 10, 10 * SECOND);
    let builder = write_behind(store.clone()).flush_every(SECOND).pauses(first, longest);
    let behind = builder.journal(Volatile::new()).store().unwrap();
    put(&behind, 1, 10).await;
    tokio::time::sleep(3 * HOUR).await;
    let asked = store.1.lock().unwrap().clone();
    let pauses: Vec<Duration> = asked.windows(2).map(|pair| pair[1] - pair[0]).collect();
    for (times, pause) in pauses.iter().enumerate() {
        let most = (first * 2_u32.pow(times.min(20) as u32)).min(longest);
        assert!(*pause >= most / 2 && *pause <= most + SECOND / 100, "pause {times} is {pause:?}");
    }
    assert!(pauses.len() > 1_000, "hazelcast gave up after hours");
    let long: std::collections::BTreeSet<_> = pauses[10..].iter().collect();
    assert!(long.len() > 100, "processes that share a store do not come back in step");
    store.0.always(Call::Save, None);
    tokio::time::sleep(longest).await;
    assert_eq!(store.0.row(&1), Some(10));
    assert!(behind.dead_letters(None, 10).await.unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_is_not_classified_is_tried_a_few_times_and_then_put_aside() {
    let store = numbers(0);
    let behind = settings(&store).exactly_once().journal(Log::new()).tries(3).store().unwrap();
    (0..4).for_each(|_| store.next(Call::Commit, Trouble::NotApplied));
    put(&behind, 1, 10).await;
    behind.flush().await.unwrap();
    assert_eq!(store.count(Call::Commit), 5, "once, three tries more, and the one that puts it aside");
    assert_eq!((store.row(&1), store.history().len()), (None, 0));
    let letters = behind.dead_letters(None, 10).await.unwrap();
    assert_eq!((letters.len(), letters[0].seq()), (1, 1));
    assert!(letters[0].why().contains("told to fail"), "{}", letters[0].why());
}

#[tokio::test(start_paused = true)]
async fn an_unclassified_failure_that_passes_in_time_costs_nothing() {
    let store = numbers(0);
    let behind = settings(&store).journal(Volatile::new()).tries(3).store().unwrap();
    (0..3).for_each(|_| store.next(Call::Save, Trouble::NotApplied));
    put(&behind, 1, 10).await;
    behind.flush().await.unwrap();
    assert_eq!(store.row(&1), Some(10));
}

/// The first of a batch is in the store, the second is not: the error says of the batch that something of it was applied.
#[tokio::test(start_paused = true)]
async fn a_batch_that_was_applied_in_part_is_not_taken_for_written() {
    for trouble in [Trouble::NotApplied, Trouble::Transient, Trouble::Unknown, Trouble::Applied] {
        let store = numbers(0);
        let behind = volatile(&store);
        put_all(&behind, 0..10).await;
        let failing = tokio::spawn({
            let (store, trouble) = (store.clone(), trouble.clone());
            async move {
                while store.saves() < 4 {
                    tokio::time::sleep(SECOND / 1_000).await;
                }
                store.next(Call::Save, trouble);
            }
        });
        store.delay(Call::Save, SECOND / 100);
        behind.flush().await.unwrap();
        failing.await.unwrap();
        assert!((0..10).all(|key| store.row(&key) == Some(key)), "{trouble:?}");
        assert!(store.saves() > 10, "{trouble:?}: it failed");
    }
}

#[tokio::test(start_paused = true)]
async fn a_store_that_panics_is_asked_again() {
    let store = numbers(0);
    let behind = volatile(&store);
    store.next(Call::Save, Trouble::Panic);
    put(&behind, 1, 10).await;
    behind.flush().await.unwrap();
    assert_eq!(store.row(&1), Some(10));
    let exactly = exact(&store, &Log::new());
    for call in [Call::Claim, Call::Commit, Call::Offset] {
        store.next(call, Trouble::Panic);
    }
    put(&exactly, 2, 20).await;
    exactly.flush().await.unwrap();
    assert_eq!((store.row(&2), store.history().len()), (Some(20), 2));
}

#[tokio::test(start_paused = true)]
async fn a_store_that_does_not_answer_is_asked_again_after_its_deadline() {
    let store = numbers(0);
    let heard = Heard::default();
    let builder = settings(&store).exactly_once().journal(Log::new()).store_deadline(20 * SECOND);
    let behind = builder.observer(heard.clone()).store().unwrap();
    for call in [Call::Claim, Call::Commit, Call::Offset] {
        store.next(call, Trouble::Hang);
    }
    let began = Instant::now();
    put(&behind, 1, 10).await;
    behind.flush().await.unwrap();
    let waited = began.elapsed();
    assert!(waited >= 60 * SECOND && waited < 70 * SECOND, "{waited:?}");
    assert_eq!((store.row(&1), store.history().len()), (Some(10), 1));
    assert_eq!(heard.count("FlushFailed"), 3);
}

#[tokio::test(start_paused = true)]
async fn the_alarm_sounds_once_until_none_has_waited_so_long_any_more() {
    let store = numbers(0);
    let heard = Heard::default();
    let builder = settings(&store).journal(Volatile::new()).batch(10).alarm_after(60 * SECOND);
    let behind = builder.observer(heard.clone()).store().unwrap();
    for round in 1..=3 {
        store.always(Call::Save, Some(Trouble::Transient));
        put_all(&behind, 0..100).await;
        tokio::time::sleep(50 * SECOND).await;
        assert_eq!(heard.count("Overdue") as u64, round - 1);
        tokio::time::sleep(HOUR).await;
        assert_eq!(heard.count("Overdue") as u64, round);
        store.always(Call::Save, None);
        behind.flush().await.unwrap();
        assert_eq!(heard.count("Overdue") as u64, round, "nor while the backlog goes, batch by batch");
    }
}

#[test]
fn a_runtime_that_goes_away_does_not_take_the_driver_with_it() {
    let runtime =
        || tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    for gated in [Call::Claim, Call::Commit, Call::Offset] {
        let store = numbers(0).keeping_every_write();
        let first = runtime();
        let behind = first.block_on(async {
            let behind = exact(&store, &Log::new());
            if gated != Call::Claim {
                behind.load(&0).await.unwrap(); // it has claimed
            }
            if gated == Call::Offset {
                store.next(Call::Commit, Trouble::Unknown);
            }
            let gate = store.gate_after(gated);
            put(&behind, 1, 10).await;
            gate.arrived(1).await;
            gate.open();
            behind
        });
        drop(first); // at the gate: the store has done it and has not answered
        runtime().block_on(async {
            put(&behind, 2, 20).await;
            behind.flush().await.unwrap();
        });
        assert_eq!(store.history(), [Change::Put(1, 10), Change::Put(2, 20)], "{gated:?}");
        assert_eq!(store.shard(shard(&behind)).unwrap().offset(), 2);
    }
}
