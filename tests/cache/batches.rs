//! Many keys in one call: each once, in one load, each with an answer of its own, in the order of the question.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::support::{MINUTE, numbers, usual};
use async_trait::async_trait;
use larder::testing::{Call, FakeStore, TestClock, Trouble};
use larder::{
    Cache, CacheExt, Change, Copies, ErrorKind, LayeredCache, Loader, Local, Memory, ReadOptions, Result,
    Saved, Store, StoreError,
};

const SECOND: Duration = Duration::from_secs(1);

/// Sees what a store is asked for at once.
#[derive(Clone)]
struct Batched {
    store: FakeStore<u64, u64>,
    loads: Arc<Mutex<Vec<Vec<u64>>>>,
    applies: Arc<Mutex<Vec<usize>>>,
    bad: Option<u64>,
}

impl Batched {
    fn new(store: &FakeStore<u64, u64>) -> Self {
        Self { store: store.clone(), loads: Arc::default(), applies: Arc::default(), bad: None }
    }

    fn loads(&self) -> Vec<Vec<u64>> {
        let mut loads = self.loads.lock().expect("no panic").clone();
        loads.sort();
        loads
    }
}

#[async_trait]
impl Loader<u64, u64> for Batched {
    async fn load(&self, key: &u64) -> Result<Option<u64>, StoreError> {
        self.load_many(&[*key]).await.remove(0)
    }

    async fn load_many(&self, keys: &[u64]) -> Vec<Result<Option<u64>, StoreError>> {
        self.loads.lock().expect("no panic").push(keys.to_vec());
        let mut answers = Vec::new();
        for key in keys {
            let row = self.store.load(key).await;
            answers.push(if self.bad == Some(*key) { Err(StoreError::new("a bad row")) } else { row });
        }
        answers
    }
}

#[async_trait]
impl Store<u64, u64> for Batched {
    async fn save(&self, key: &u64, value: &u64) -> Result<Saved<u64>, StoreError> {
        self.store.save(key, value).await
    }

    async fn delete(&self, key: &u64) -> Result<(), StoreError> {
        self.store.delete(key).await
    }

    async fn apply(&self, changes: &[Change<u64, u64>]) -> Result<(), StoreError> {
        self.applies.lock().expect("no panic").push(changes.len());
        self.store.apply(changes).await
    }
}

fn values(answers: Vec<Result<Option<u64>>>) -> Vec<Option<u64>> {
    answers.into_iter().map(|answer| answer.expect("the store works")).collect()
}

#[tokio::test(start_paused = true)]
async fn misses_are_loaded_together_and_each_once() -> Result<()> {
    let batched = Batched::new(&numbers(10));
    let cache = usual(larder::cache_aside(batched.clone())).build()?;
    cache.get(&3).await?;
    let answers = values(cache.get_many(&[5, 3, 99, 5, 1]).await);
    assert_eq!(answers, [Some(5), Some(3), None, Some(5), Some(1)]);
    assert_eq!(batched.loads(), [vec![3], vec![5, 99, 1]]);
    assert_eq!(values(cache.get_many(&[1, 5]).await), [Some(1), Some(5)]);
    assert_eq!(batched.loads().len(), 2, "all hits");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_batch_is_no_larger_than_was_said() -> Result<()> {
    let batched = Batched::new(&numbers(10));
    let cache = usual(larder::cache_aside(batched.clone())).max_batch(4).build()?;
    let keys: Vec<u64> = (0..10).collect();
    assert_eq!(values(cache.get_many(&keys).await), keys.iter().map(|key| Some(*key)).collect::<Vec<_>>());
    let sizes: Vec<_> = batched.loads().iter().map(Vec::len).collect();
    assert_eq!(sizes, [4, 4, 2]);
    _ = cache.put_many(keys.iter().map(|key| (*key, key * 10)).collect()).await;
    assert_eq!(*batched.applies.lock().expect("no panic"), [4, 4, 2]);
    Ok(())
}

/// One fails, one is absent, one is stale, one is in flight elsewhere: each has its own answer.
#[tokio::test(start_paused = true)]
async fn each_key_has_a_fate_of_its_own() -> Result<()> {
    let store = numbers(10);
    let batched = Batched { bad: Some(1), ..Batched::new(&store) };
    let cache = usual(larder::cache_aside(batched.clone())).stale_while_revalidate(MINUTE).build()?;
    cache.get(&2).await?;
    tokio::time::advance(MINUTE + SECOND).await;
    store.delay(Call::Load, SECOND);
    let elsewhere = tokio::spawn({
        let cache = cache.clone();
        async move { cache.get(&3).await }
    });
    tokio::time::sleep(SECOND / 2).await;
    let mut answers = cache.get_many(&[1, 99, 2, 3, 4]).await;
    assert_eq!(answers.remove(0).expect_err("a bad row").kind(), ErrorKind::Store);
    assert_eq!(values(answers), [None, Some(2), Some(3), Some(4)]);
    assert_eq!(elsewhere.await.expect("no panic")?, Some(3));
    let loads_of_three = batched.loads().iter().flatten().filter(|key| **key == 3).count();
    assert_eq!(loads_of_three, 1, "in flight elsewhere: waited for, not loaded");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn crossing_batches_do_not_wait_for_each_other() -> Result<()> {
    let store = numbers(100);
    store.delay(Call::Load, SECOND);
    let cache = usual(larder::cache_aside(store.clone())).build()?;
    let (up, down): (Vec<u64>, Vec<u64>) = ((0..50).collect(), (0..50).rev().collect());
    let both = async { tokio::join!(cache.get_many(&up), cache.get_many(&down)) };
    let (one, other) = tokio::time::timeout(20 * SECOND, both).await.expect("no deadlock");
    assert!(one.iter().chain(&other).all(Result::is_ok));
    assert_eq!(store.loads(), 50);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_loader_that_loses_count_or_panics_fails_its_batch_only() -> Result<()> {
    struct Wrong;
    #[async_trait]
    impl Loader<u64, u64> for Wrong {
        async fn load(&self, key: &u64) -> Result<Option<u64>, StoreError> {
            Ok(Some(*key))
        }
        async fn load_many(&self, keys: &[u64]) -> Vec<Result<Option<u64>, StoreError>> {
            assert!(!keys.contains(&13), "a bug in the loader");
            vec![Ok(Some(1))]
        }
    }
    let cache = usual(larder::read_through(Wrong)).build()?;
    for answer in cache.get_many(&[1, 2, 3]).await {
        assert_eq!(answer.expect_err("one answer for three keys").kind(), ErrorKind::WrongLength);
    }
    for answer in cache.get_many(&[12, 13]).await {
        assert_eq!(answer.expect_err("a panic").kind(), ErrorKind::Panicked);
    }
    assert_eq!(cache.get(&13).await?, Some(13), "the slots are free");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_a_write_overtakes_keeps_the_other_keys() -> Result<()> {
    let store = numbers(10);
    let cache = usual(larder::cache_aside(store.clone())).build()?;
    let gate = store.gate_after(Call::Load);
    let batch = tokio::spawn({
        let cache = cache.clone();
        async move { cache.get_many(&(1..10).collect::<Vec<u64>>()).await }
    });
    gate.arrived(9).await;
    store.set_row(2, 20);
    cache.invalidate(&2).await?;
    gate.open();
    assert_eq!(values(batch.await.expect("no panic")), (1..10).map(Some).collect::<Vec<_>>());
    assert_eq!(cache.get(&2).await?, Some(20));
    // But for one that happens to share a stripe with the written one.
    let kept = (1..10).filter(|key| *key != 2 && cache.get_local(key) == Local::Value(*key)).count();
    assert!(kept >= 6, "{kept}");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_dropped_batch_goes_on() -> Result<()> {
    let store = numbers(10);
    store.delay(Call::Load, SECOND);
    let cache = usual(larder::cache_aside(store.clone())).build()?;
    assert!(tokio::time::timeout(SECOND / 2, cache.get_many(&[1, 2])).await.is_err());
    assert_eq!(values(cache.get_many(&[1, 2]).await), [Some(1), Some(2)]);
    assert_eq!(store.loads(), 2);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_load_of_many_that_the_caller_brings_is_given_what_nobody_loads() -> Result<()> {
    let cache = usual(larder::cache()).build()?;
    _ = cache.put(&1, 10).await?;
    let asked = Mutex::new(Vec::new());
    let load = |keys: Vec<u64>| {
        asked.lock().expect("no panic").push(keys.clone());
        async move {
            let found: HashMap<u64, u64> =
                keys.into_iter().filter(|key| *key < 50).map(|key| (key, key)).collect();
            Ok::<_, io::Error>(found)
        }
    };
    let answers = cache.get_or_load_many(&[1, 2, 99, 2], load).await;
    assert_eq!(values(answers), [Some(10), Some(2), None, Some(2)]);
    assert_eq!(*asked.lock().expect("no panic"), [vec![2, 99]]);
    let held: Arc<dyn Cache<u64, u64>> = Arc::new(cache);
    assert_eq!(values(held.get_or_load_many(&[1, 2, 3], load).await), [Some(10), Some(2), Some(3)]);
    let fails = |_keys: Vec<u64>| async { Err::<HashMap<u64, u64>, _>(io::Error::other("down")) };
    let answers = held.get_or_load_many(&[1, 8, 9], fails).await;
    assert_eq!(answers.iter().map(Result::is_ok).collect::<Vec<_>>(), [true, false, false]);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn whose_load_was_waited_for_and_dropped_is_loaded_by_who_waits() -> Result<()> {
    let cache = usual(larder::cache()).build()?;
    let never = || async { std::future::pending::<Result<Option<u64>, io::Error>>().await };
    let load = |keys: Vec<u64>| async move {
        Ok::<_, io::Error>(keys.into_iter().map(|key| (key, key)).collect::<HashMap<_, _>>())
    };
    let leader = tokio::time::timeout(SECOND, cache.get_or_load(&2, never));
    let batch = async {
        tokio::task::yield_now().await;
        cache.get_or_load_many(&[1, 2], load).await
    };
    let (leader, batch) = tokio::join!(leader, batch);
    assert!(leader.is_err(), "dropped");
    assert_eq!(values(batch), [Some(1), Some(2)]);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn many_values_are_saved_by_one_call_and_kept_or_dropped() -> Result<()> {
    for (through, copies, local) in
        [(true, Copies::Kept, Local::Value(20)), (false, Copies::Dropped, Local::Unknown)]
    {
        let store = numbers(10);
        let batched = Batched::new(&store);
        let builder = if through {
            larder::write_through(batched.clone())
        } else {
            larder::cache_aside(batched.clone())
        };
        let cache = usual(builder).build()?;
        cache.get_many(&[1, 2]).await;
        for written in cache.put_many(vec![(1, 10), (2, 19), (2, 20)]).await {
            assert_eq!(written?.copies(), copies);
        }
        assert_eq!(*batched.applies.lock().expect("no panic"), [2], "the last of two values for one key");
        assert_eq!((store.row(&1), store.row(&2)), (Some(10), Some(20)));
        assert_eq!(cache.get_local(&2), local);
        assert_eq!(cache.get(&2).await?, Some(20));
        for written in cache.delete_many(&[1, 2, 2]).await {
            _ = written?;
        }
        assert_eq!((store.row(&1), cache.get(&2).await?), (None, None));
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_batch_of_writes_that_fails_says_so_for_each_and_leaves_no_copy() -> Result<()> {
    let store = numbers(10);
    let cache = usual(larder::write_through(store.clone())).build()?;
    cache.get_many(&[1, 2, 3]).await;
    store.next(Call::Save, Trouble::Applied);
    for written in cache.put_many(vec![(1, 10), (2, 20)]).await {
        assert_eq!(written.expect_err("the store failed").kind(), ErrorKind::Store);
    }
    assert_eq!(store.row(&1), Some(10), "the first was applied");
    assert_eq!(values(cache.get_many(&[1, 2, 3]).await), [Some(10), Some(2), Some(3)]);
    Ok(())
}

/// Takes every row but that of key 2.
struct Picky(FakeStore<u64, u64>);

#[async_trait]
impl Loader<u64, u64> for Picky {
    async fn load(&self, key: &u64) -> Result<Option<u64>, StoreError> {
        self.0.load(key).await
    }
}

#[async_trait]
impl Store<u64, u64> for Picky {
    async fn save(&self, key: &u64, value: &u64) -> Result<Saved<u64>, StoreError> {
        if *key == 2 {
            return Err(StoreError::new("not this one").not_applied());
        }
        self.0.save(key, value).await
    }

    async fn delete(&self, key: &u64) -> Result<(), StoreError> {
        self.0.delete(key).await
    }
}

/// The second change was surely not applied, the first was: no copy of the first may stay.
#[tokio::test(start_paused = true)]
async fn a_batch_that_was_applied_in_part_leaves_no_copy() -> Result<()> {
    for through in [true, false] {
        let store = Picky(numbers(10));
        let builder = if through { larder::write_through(store) } else { larder::cache_aside(store) };
        let cache = usual(builder).build()?;
        cache.get_many(&[1, 2]).await;
        let written = cache.put_many(vec![(1, 10), (2, 20)]).await;
        assert!(written.iter().all(Result::is_err));
        assert_eq!(values(cache.get_many(&[1, 2]).await), [Some(10), Some(2)]);
        let refused = cache.put_many(vec![(2, 20), (1, 11)]).await;
        assert!(refused.iter().all(Result::is_err));
        assert_eq!(
            cache.get_local(&1).into_value().is_some(),
            !through,
            "nothing was applied, nothing is dropped"
        );
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn many_copies_are_dropped_at_once() -> Result<()> {
    let cache = usual(larder::cache_aside(numbers(10))).build()?;
    cache.get_many(&[1, 2, 3]).await;
    cache.invalidate_many(&[1, 3, 1]).await?;
    let left = [1, 2, 3].map(|key| cache.get_local(&key));
    assert_eq!(left, [Local::Unknown, Local::Value(2), Local::Unknown]);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_cache_without_a_store_keeps_and_drops_many() -> Result<()> {
    let cache = usual(larder::cache()).build()?;
    for written in cache.put_many(vec![(1, 10), (2, 20)]).await {
        assert_eq!(written?.copies(), Copies::Kept);
    }
    assert_eq!(values(cache.get_many(&[1, 2, 3]).await), [Some(10), Some(20), None]);
    for written in cache.delete_many(&[1]).await {
        _ = written?;
    }
    assert_eq!(values(cache.get_many(&[1, 2]).await), [None, Some(20)]);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_read_may_pass_a_tier_over() -> Result<()> {
    let store = numbers(10);
    let cache = larder::cache_aside(store.clone())
        .tier(Memory::with_capacity(100))
        .ttl(MINUTE)
        .clock(TestClock::new())
        .build()?;
    cache.get(&1).await?;
    store.set_row(1, 10);
    store.set_row(2, 20);
    let past = ReadOptions::new().skip_tier("memory");
    assert_eq!(cache.get_with(&1, past.clone()).await?, Some(10));
    assert_eq!(cache.get_local(&1), Local::Value(1), "neither read nor filled");
    assert_eq!(values(cache.get_many_with(&[1, 2], past).await), [Some(10), Some(20)]);
    let anew = ReadOptions::new().reload();
    assert_eq!(values(cache.get_many_with(&[1, 2], anew).await), [Some(10), Some(20)]);
    assert_eq!(cache.get_local(&1), Local::Value(10), "replaced");
    Ok(())
}

fn _a_batch_can_be_spawned(cache: LayeredCache<u64, u64>) {
    drop(tokio::spawn(async move { cache.get_many(&[1]).await.len() }));
}
