//! Counters: every increment is logged as it is, counts once, and is answered with the exact total.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::support::behind::{Log, MILLI, Numbers, SECOND};
use crate::support::{MINUTE, numbers};
use futures_util::future::join_all;
use larder::journal::{Journal, Volatile};
use larder::store::{Merge, Sum};
use larder::testing::{Call, FakeJournal, FakeStore, Trouble};
use larder::{
    Cache, CacheExt, Change, ErrorKind, LayeredCache, Loader, Memory, Store, WriteBehind, write_behind,
};

fn behind(store: &Numbers, journal: impl Journal<u64, u64>) -> WriteBehind<u64, u64> {
    write_behind(store.clone()).merge(Sum).journal(journal).flush_every(SECOND).store().unwrap()
}

fn cache(store: &Numbers, journal: impl Journal<u64, u64>) -> LayeredCache<u64, u64> {
    let memory = Memory::with_capacity(100);
    write_behind(store.clone())
        .merge(Sum)
        .journal(journal)
        .flush_every(SECOND)
        .tier(memory)
        .ttl(MINUTE)
        .build()
        .unwrap()
}

async fn add(cache: &LayeredCache<u64, u64>, key: u64, delta: u64) -> u64 {
    cache.increment(&key, delta).await.unwrap().into_output()
}

#[tokio::test(start_paused = true)]
async fn an_increment_answers_with_the_total_and_is_stored_later() {
    let store = FakeStore::with([(1, 100)]);
    let cache = cache(&store, Volatile::new());
    assert_eq!([add(&cache, 1, 1).await, add(&cache, 1, 10).await, add(&cache, 2, 5).await], [101, 111, 5]);
    assert_eq!((cache.get(&1).await.unwrap(), store.row(&1)), (Some(111), Some(100)));
    cache.flush().await.unwrap();
    assert_eq!((store.row(&1), store.row(&2), cache.get(&1).await.unwrap()), (Some(111), Some(5), Some(111)));
    assert_eq!(store.history(), [Change::Put(1, 111), Change::Put(2, 5)], "summed, once for each key");
}

#[tokio::test(start_paused = true)]
async fn a_put_and_a_delete_are_merged_into_in_their_order() {
    let store = FakeStore::with([(1, 100)]);
    let cache = cache(&store, Volatile::new());
    add(&cache, 1, 1).await;
    _ = cache.put(&1, 50).await.unwrap();
    assert_eq!(add(&cache, 1, 2).await, 52);
    _ = cache.delete(&1).await.unwrap();
    assert_eq!(cache.get(&1).await.unwrap(), None);
    assert_eq!(add(&cache, 1, 3).await, 3);
    cache.flush().await.unwrap();
    assert_eq!(store.row(&1), Some(3));
}

/// Whoever counts while batches go to the store is answered with a total that nobody else is answered with.
#[tokio::test(start_paused = true)]
async fn totals_are_exact_while_the_store_is_being_written() {
    for journal in ["memory", "memory, each write", "log"] {
        let store = match journal {
            "memory, each write" => numbers(0).keeping_every_write(),
            _ => numbers(0),
        };
        let builder = write_behind(store.clone()).merge(Sum).flush_every(3 * MILLI).batch(7);
        let builder = match journal {
            "log" => builder.journal(FakeJournal::new()),
            _ => builder.journal(Volatile::new().shards(3)),
        };
        let cache = builder.tier(Memory::with_capacity(100)).ttl(MINUTE).build().unwrap();
        let counting = (0..40).map(|n| {
            let cache = cache.clone();
            tokio::spawn(async move {
                let mut totals = Vec::new();
                for _ in 0..25 {
                    totals.push(add(&cache, 7, 1).await);
                    tokio::time::sleep(MILLI * (n % 5)).await;
                }
                assert!(totals.is_sorted(), "{totals:?}");
                totals
            })
        });
        let totals: Vec<u64> = join_all(counting).await.into_iter().flat_map(Result::unwrap).collect();
        let distinct: BTreeSet<_> = totals.iter().copied().collect();
        assert_eq!((totals.len(), distinct.len(), distinct.last()), (1_000, 1_000, Some(&1_000)));
        cache.flush().await.unwrap();
        assert_eq!(store.row(&7), Some(1_000));
    }
}

/// Threads that come between one another's steps: what is joined to what waits is still told from what is joined later.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn totals_are_exact_on_many_threads() {
    let cache = cache(&numbers(0), Volatile::new());
    let counting = (0..4).map(|_| {
        let cache = cache.clone();
        tokio::spawn(async move {
            let mut totals = Vec::new();
            for _ in 0..2_000 {
                totals.push(add(&cache, 7, 1).await);
            }
            totals
        })
    });
    let totals: BTreeSet<u64> = join_all(counting).await.into_iter().flat_map(Result::unwrap).collect();
    assert_eq!((totals.len(), totals.last()), (8_000, Some(&8_000)));
}

/// `R: +1 waits · O: commits it · R: the store has 1`: whoever adds what waits to that counts it twice.
#[tokio::test(start_paused = true)]
async fn what_is_stored_while_a_reader_reads_is_not_counted_twice() {
    let store = numbers(0);
    let behind = behind(&store, FakeJournal::new());
    let gate = store.gate_before(Call::Load);
    let counting = {
        let behind = behind.clone();
        tokio::spawn(async move { count(&behind, 1).await })
    };
    gate.arrived(1).await;
    // It has looked what waits; now that is stored.
    tokio::time::sleep(2 * SECOND).await;
    assert_eq!(store.row(&1), Some(1));
    gate.open();
    counting.await.unwrap();
    assert_eq!(behind.load(&1).await.unwrap(), Some(1));
}

async fn count(behind: &WriteBehind<u64, u64>, key: u64) {
    behind.apply(&[Change::Merge(key, 1)]).await.unwrap();
    assert_eq!(behind.load(&key).await.unwrap(), Some(1));
}

#[tokio::test(start_paused = true)]
async fn a_log_that_is_opened_again_counts_what_was_left_in_it_once() {
    let (store, log) = (numbers(0), Log::new());
    let dead = behind(&store, log.clone());
    for _ in 0..10 {
        dead.apply(&[Change::Merge(1, 1)]).await.unwrap();
    }
    // Committed, and the log does not know.
    store.next(Call::Commit, Trouble::Unknown);
    tokio::time::sleep(2 * SECOND).await;
    let heir = behind(&store, log);
    drop(dead);
    assert_eq!(heir.load(&1).await.unwrap(), Some(10));
    heir.apply(&[Change::Merge(1, 1)]).await.unwrap();
    heir.flush().await.unwrap();
    assert_eq!(store.row(&1), Some(11));
}

/// What was put aside is not counted, and neither is what follows it, until the key is written anew.
#[tokio::test(start_paused = true)]
async fn what_follows_a_poisoned_increment_is_put_aside_with_it() {
    for log in [None, Some(Log::new())] {
        let store = numbers(0);
        store.poison(|change| matches!(change, Change::Merge(1, delta) if *delta >= 666));
        let behind = match &log {
            Some(log) => behind(&store, log.clone()),
            None => behind(&store, Volatile::new()),
        };
        let add = async |key, delta| behind.apply(&[Change::Merge(key, delta)]).await.unwrap();
        for (key, delta) in [(1, 1), (1, 666), (1, 2), (2, 5)] {
            add(key, delta).await;
        }
        behind.flush().await.unwrap();
        add(1, 4).await;
        behind.flush().await.unwrap();
        let letters = behind.dead_letters(None, 10).await.unwrap();
        let aside: Vec<_> = letters.iter().map(|letter| behind.read_letter(letter).unwrap()).collect();
        // In memory what waits for a key is one merge.
        let expected = if log.is_some() { vec![666, 2, 4] } else { vec![669, 4] };
        assert_eq!(aside, expected.into_iter().map(|delta| Change::Merge(1, delta)).collect::<Vec<_>>());
        assert_eq!((store.row(&1), store.row(&2)), (log.is_some().then_some(1), Some(5)));
        _ = behind.save(&1, &100).await.unwrap();
        add(1, 8).await;
        behind.flush().await.unwrap();
        assert_eq!(store.row(&1), Some(108));
        let Some(log) = log else { continue };
        // The next process knows what was put aside, and sees it go.
        let heir = self::behind(&store, log);
        heir.apply(&[Change::Merge(1, 16)]).await.unwrap();
        heir.flush().await.unwrap();
        assert_eq!(store.row(&1), Some(108));
        for letter in heir.dead_letters(None, 10).await.unwrap() {
            assert!(heir.discard(&letter).await.unwrap());
        }
        heir.apply(&[Change::Merge(1, 32)]).await.unwrap();
        heir.flush().await.unwrap();
        assert_eq!(store.row(&1), Some(140));
    }
}

/// However many dead letters of other keys come before it.
#[tokio::test(start_paused = true)]
async fn the_next_process_finds_a_merge_among_many_that_were_put_aside() {
    let (store, log) = (numbers(0), Log::new());
    store.poison(|change| matches!(change, Change::Put(2, _) | Change::Merge(1, 666)));
    let dead = behind(&store, log.clone());
    let puts: Vec<_> = (0..1_100).map(|value| Change::Put(2, value)).collect();
    dead.apply(&puts).await.unwrap();
    dead.apply(&[Change::Merge(1, 666)]).await.unwrap();
    dead.flush().await.unwrap();
    assert_eq!(dead.dead_letters(None, 2_000).await.unwrap().len(), 1_101);
    drop(dead);
    let heir = behind(&store, log);
    heir.apply(&[Change::Merge(1, 1)]).await.unwrap();
    heir.flush().await.unwrap();
    assert_eq!(store.row(&1), None);
}

/// A counter that is raised all the time takes the room of one write, and its delay.
#[tokio::test(start_paused = true)]
async fn in_memory_what_waits_for_a_key_is_one_merge() {
    let store = numbers(0);
    let cache = cache(&store, Volatile::new());
    for total in 1..=1_000 {
        assert_eq!(add(&cache, 1, 1).await, total);
    }
    _ = cache.put(&2, 10).await.unwrap();
    assert_eq!(add(&cache, 2, 1).await, 11);
    assert_eq!(cache.stats().pending, 2);
    cache.flush().await.unwrap();
    assert_eq!(store.history(), [Change::Put(1, 1_000), Change::Put(2, 11)]);
}

/// Those that are merged into in one snapshot; for the two others nothing waits, and this store loads one by one.
#[tokio::test(start_paused = true)]
async fn many_counters_are_read_at_once() {
    for log in [None, Some(Log::new())] {
        let store = FakeStore::with([(1, 100), (2, 200), (4, 400)]);
        let behind = match log {
            Some(log) => behind(&store, log),
            None => behind(&store, Volatile::new()),
        };
        let changes = [Change::Merge(1, 1), Change::Merge(3, 3), Change::Put(5, 5), Change::Merge(5, 50)];
        behind.apply(&changes).await.unwrap();
        let read = behind.load_many(&[1, 2, 3, 4, 5, 1]).await;
        let read: Vec<_> = read.into_iter().map(Result::unwrap).collect();
        assert_eq!(read, [Some(101), Some(200), Some(3), Some(400), Some(55), Some(101)]);
        assert_eq!(store.loads(), 1 + 2);
    }
}

#[tokio::test(start_paused = true)]
async fn any_merge_will_do_whose_operands_can_be_grouped() {
    struct Append;
    impl Merge<String> for Append {
        fn merge(&self, value: Option<&String>, operand: &String) -> String {
            value.map_or_else(|| operand.clone(), |value| format!("{value}{operand}"))
        }

        fn combine(&self, first: &String, second: &String) -> String {
            format!("{first}{second}")
        }
    }
    let store: FakeStore<u64, String> = FakeStore::with([(1, "a".to_owned())]);
    let builder = write_behind(store.clone()).merge(Append).journal(Volatile::new());
    let cache = builder.tier(Memory::with_capacity(10)).ttl(MINUTE).build().unwrap();
    for operand in ["b", "c", "d"] {
        _ = cache.merge(&1, operand.to_owned()).await.unwrap();
    }
    assert_eq!(cache.get(&1).await.unwrap().as_deref(), Some("abcd"));
    cache.flush().await.unwrap();
    assert_eq!(store.row(&1).as_deref(), Some("abcd"));
}

#[tokio::test(start_paused = true)]
async fn increments_of_one_key_do_not_wait_for_each_other_and_other_writes_do() {
    let store = numbers(0);
    let cache = cache(&store, FakeJournal::new());
    let gate = store.gate_before(Call::Load);
    let counting: Vec<_> = (0..10)
        .map(|_| {
            let cache = cache.clone();
            tokio::spawn(async move { add(&cache, 1, 1).await })
        })
        .collect();
    gate.arrived(10).await;
    let putting = {
        let cache = cache.clone();
        tokio::spawn(async move { cache.put(&1, 100).await })
    };
    tokio::time::sleep(MILLI).await;
    assert!(!putting.is_finished(), "it has its turn after those who count");
    gate.open();
    let mut totals: Vec<u64> = join_all(counting).await.into_iter().map(Result::unwrap).collect();
    totals.sort_unstable();
    assert_eq!(totals, (1..=10).collect::<Vec<_>>());
    _ = putting.await.unwrap().unwrap();
    assert_eq!(add(&cache, 1, 1).await, 101);
}

#[tokio::test(start_paused = true)]
async fn a_cache_that_was_not_told_how_to_merge_says_so() {
    let store = numbers(0);
    let written = write_behind(store.clone()).exactly_once().journal(Volatile::new());
    let written = written.tier(Memory::with_capacity(10)).ttl(MINUTE).build().unwrap();
    let through =
        larder::write_through(store.clone()).tier(Memory::with_capacity(10)).ttl(MINUTE).build().unwrap();
    for cache in [written, through] {
        let error = cache.increment(&1, 1).await.unwrap_err();
        assert!(error.kind() == ErrorKind::Unsupported && error.to_string().contains("merge"), "{error}");
        let shared: Arc<dyn Cache<u64, u64>> = Arc::new(cache);
        assert_eq!(shared.increment(&1, 1).await.unwrap_err().kind(), ErrorKind::Unsupported);
    }
    let error = store.apply(&[Change::Merge(1, 1)]).await.unwrap_err();
    assert_eq!(error.fault(), larder::Fault::Permanent);
}
