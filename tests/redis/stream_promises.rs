//! What write-behind promises, of writes that wait in a Redis which several processes share. What is read, stored, counted
//! or put aside does not depend on which of them has written it, nor on which brings it to the store.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::{Duration, Instant};

use crate::support::MINUTE;
use crate::support::behind::{Behind, HOUR, Numbers, put, put_all};
use crate::support::resp::Reply;
use crate::support::stream::{NAME, World, settings, stream};
use futures_util::future::join_all;
use larder::journal::RedisStream;
use larder::store::{Sum, WriteBehindBuilder};
use larder::testing::{Call, FakeStore, TestClock, Trouble};
use larder::{AtLimit, Change, ErrorKind, LayeredCache, Loader, Memory, Store, StoreError, WriteBehind};

const A_SECOND: Duration = Duration::from_secs(1);

/// One sequence for all keys.
fn in_one_shard(world: &World) -> WriteBehindBuilder<u64, u64, Numbers> {
    settings(&world.store, stream(&world.redis()).shards(1))
}

fn of(store: &Numbers, key: u64) -> Vec<Change<u64, u64>> {
    store.history().into_iter().filter(|change| *change.key() == key).collect()
}

fn kind(error: &StoreError) -> Option<ErrorKind> {
    error.downcast_ref::<larder::Error>().map(larder::Error::kind)
}

#[tokio::test]
async fn of_several_writes_of_a_key_in_one_window_the_last_is_stored() {
    let test = "of_several_writes_of_a_key_in_one_window_the_last_is_stored";
    let Some(world) = World::start_or_skip(test).await else { return };
    world.store.set_row(1, 1);
    let one = world.settings().flush_every(HOUR).store().unwrap();
    let other = world.settings().flush_every(HOUR).store().unwrap();
    put(&one, 1, 10).await;
    other.delete(&1).await.unwrap();
    put(&one, 2, 20).await;
    one.delete(&2).await.unwrap();
    put(&other, 2, 21).await;
    one.flush().await.unwrap();
    assert_eq!(
        (of(&world.store, 1), of(&world.store, 2)),
        (vec![Change::Delete(1)], vec![Change::Put(2, 21)])
    );
}

#[tokio::test]
async fn a_key_that_is_written_all_the_time_is_stored_all_the_time() {
    let test = "a_key_that_is_written_all_the_time_is_stored_all_the_time";
    let Some(world) = World::start_or_skip(test).await else { return };
    let behind = world.process();
    put(&behind, 1, 0).await;
    behind.flush().await.unwrap();
    let began = Instant::now();
    let mut number = 0;
    while of(&world.store, 1).len() < 11 {
        number += 1;
        put(&behind, 1, number).await;
        assert!(began.elapsed() < 10 * A_SECOND, "{number} writes, stored {:?}", of(&world.store, 1));
    }
    println!("{number} writes, 10 times stored in {:?}", began.elapsed());
    behind.flush().await.unwrap();
    assert_eq!(world.store.row(&1), Some(number));
}

#[tokio::test]
async fn what_is_written_while_the_store_takes_an_earlier_value_is_read_and_stored_after_it() {
    let test = "what_is_written_while_the_store_takes_an_earlier_value_is_read_and_stored_after_it";
    let Some(world) = World::start_or_skip(test).await else { return };
    let (one, other) = (world.process(), world.process());
    for hold in [FakeStore::gate_before, FakeStore::gate_after] {
        let gate = hold(&world.store, Call::Commit);
        put(&one, 1, 1).await;
        gate.arrived(1).await;
        put(&other, 1, 2).await;
        assert_eq!((one.load(&1).await.unwrap(), other.load(&1).await.unwrap()), (Some(2), Some(2)));
        gate.open();
        one.flush().await.unwrap();
    }
    assert_eq!(world.store.history(), [1, 2, 1, 2].map(|value| Change::Put(1, value)));
}

#[tokio::test]
async fn what_waits_is_read_after_its_copy_is_gone_by_every_process() {
    let test = "what_waits_is_read_after_its_copy_is_gone_by_every_process";
    let Some(world) = World::start_or_skip(test).await else { return };
    let cache = || -> LayeredCache<u64, u64> {
        let settings = world.settings().flush_every(HOUR).tier(Memory::with_capacity(10));
        settings.ttl(HOUR).build().unwrap()
    };
    let (one, other) = (cache(), cache());
    for key in 0..100 {
        _ = one.put(&key, key + 1_000).await.unwrap();
    }
    for cache in [one, other] {
        let keys: Vec<u64> = (0..100).collect();
        let found = cache.get_many(&keys).await.into_iter().map(Result::unwrap);
        assert!(found.eq(keys.iter().map(|key| Some(key + 1_000))));
        assert_eq!(cache.get(&7).await.unwrap(), Some(1_007));
    }
    assert_eq!(world.store.loads(), 0);
}

/// `R: nothing waits · R: the store has 1 · W: 2 · R: a copy of 1` must not be what is read from then on.
#[tokio::test]
async fn a_write_that_is_accepted_while_the_store_is_read_is_what_is_read_after_it() {
    let test = "a_write_that_is_accepted_while_the_store_is_read_is_what_is_read_after_it";
    let Some(world) = World::start_or_skip(test).await else { return };
    let (reader, writer) = (world.cache(), world.cache());
    for (key, writer) in [(1, &writer), (2, &reader)] {
        world.store.set_row(key, 1);
        let gate = world.store.gate_after(Call::Load);
        let reading = tokio::spawn({
            let reader = reader.clone();
            async move { reader.get(&key).await }
        });
        gate.arrived(1).await;
        _ = writer.put(&key, 2).await.unwrap();
        gate.open();
        _ = reading.await.unwrap().unwrap();
        assert_eq!((reader.get(&key).await.unwrap(), writer.get(&key).await.unwrap()), (Some(2), Some(2)));
        writer.flush().await.unwrap();
        assert_eq!((world.store.row(&key), reader.get(&key).await.unwrap()), (Some(2), Some(2)));
    }
}

/// One of the two that write is not the owner of the only shard.
#[tokio::test]
async fn one_poison_in_a_batch_of_a_hundred_is_put_aside_and_its_writer_told() {
    let test = "one_poison_in_a_batch_of_a_hundred_is_put_aside_and_its_writer_told";
    let Some(world) = World::start_or_skip(test).await else { return };
    let store = world.store.clone().keeping_every_write();
    store.poison(|change| matches!(change, Change::Put(_, 666)));
    let cache = || -> LayeredCache<u64, u64> {
        let settings = settings(&store, stream(&world.redis()).shards(1)).flush_every(HOUR).batch(200);
        settings.tier(Memory::with_capacity(1_000)).ttl(HOUR).build().unwrap()
    };
    let (one, other) = (cache(), cache());
    for (round, cache) in (0..).zip([&one, &other]) {
        let first = 100 * round;
        let mut written = Vec::new();
        for key in first..first + 97 {
            written.push(cache.put(&key, key).await.unwrap());
        }
        written.push(cache.put(&(first + 7), 70).await.unwrap());
        let poison = cache.put(&(first + 7), 666).await.unwrap();
        written.push(cache.put(&(first + 7), 71).await.unwrap());
        cache.flush().await.unwrap();
        assert_eq!(poison.stored().await.unwrap_err().kind(), ErrorKind::DeadLetter);
        for written in written {
            written.stored().await.unwrap();
        }
        let seven = [first + 7, 70, 71].map(|value| Change::Put(first + 7, value));
        assert_eq!(of(&store, first + 7), seven, "in their order");
        assert_eq!(store.history().len() as u64, 99 * (round + 1), "once each");
    }
    let behind = settings(&store, stream(&world.redis()).shards(1)).store().unwrap();
    let letters = behind.dead_letters(None, 10).await.unwrap();
    let aside: Vec<_> = letters.iter().map(|letter| behind.read_letter(letter).unwrap()).collect();
    assert_eq!(aside, [Change::Put(7, 666), Change::Put(107, 666)]);
}

/// Written behind the others it would be put aside behind them, again and again.
#[tokio::test]
async fn a_merge_is_not_replayed_while_others_of_its_key_are_put_aside() {
    let test = "a_merge_is_not_replayed_while_others_of_its_key_are_put_aside";
    let Some(world) = World::start_or_skip(test).await else { return };
    world.store.poison(|change| matches!(change, Change::Merge(1, delta) if *delta >= 666));
    let behind = in_one_shard(&world).merge(Sum).store().unwrap();
    for delta in [666, 1] {
        behind.apply(&[Change::Merge(1, delta)]).await.unwrap();
        behind.flush().await.unwrap();
    }
    world.store.poison(|_| false);
    let letters = behind.dead_letters(None, 10).await.unwrap();
    assert_eq!(letters.len(), 2);
    for letter in &letters {
        let refused = behind.replay(letter).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::DeadLetter);
        assert!(refused.to_string().contains("discard"), "{refused}");
    }
    behind.flush().await.unwrap();
    assert_eq!(behind.dead_letters(None, 10).await.unwrap().len(), 2, "they are as they were");
    assert!(behind.discard(&letters[1]).await.unwrap());
    behind.replay(&letters[0]).await.unwrap();
    behind.flush().await.unwrap();
    assert_eq!(world.store.row(&1), Some(666));
    assert!(behind.dead_letters(None, 10).await.unwrap().is_empty());
}

#[tokio::test]
async fn while_the_store_is_down_what_waits_is_bounded_and_later_all_is_stored_once() {
    let test = "while_the_store_is_down_what_waits_is_bounded_and_later_all_is_stored_once";
    let Some(world) = World::start_or_skip(test).await else { return };
    world.store.always(Call::Commit, Some(Trouble::Transient));
    let process = || -> Behind {
        let settings = world.settings().batch(5).max_pending(40);
        settings.at_limit(AtLimit::Block(Duration::from_millis(1))).store().unwrap()
    };
    let (one, other) = (process(), process());
    let mut accepted = Vec::new();
    let mut refused = [0, 0];
    for key in 0..100 {
        let at = (key % 2) as usize;
        match [&one, &other][at].save(&key, &key).await {
            Ok(_) => accepted.push(key),
            Err(error) => {
                assert_eq!(kind(&error), Some(ErrorKind::Full), "{error}");
                refused[at] += 1;
            }
        }
    }
    assert!(refused.iter().all(|refused| *refused > 0) && accepted.len() <= 40, "{accepted:?}");
    let (first, last) = (accepted[0], *accepted.last().unwrap());
    assert_eq!(
        (other.load(&first).await.unwrap(), one.load(&last).await.unwrap()),
        (Some(first), Some(last))
    );
    let patient = world.settings().batch(5).max_pending(40).store().unwrap();
    let held_up = tokio::spawn(async move { put_all(&patient, 100..200).await });
    world.store.always(Call::Commit, None);
    held_up.await.unwrap();
    other.flush().await.unwrap();
    let mut stored: Vec<_> = world.store.history().iter().map(|change| *change.key()).collect();
    stored.sort_unstable();
    accepted.extend(100..200);
    assert_eq!(stored, accepted, "each once");
}

#[tokio::test]
async fn closing_with_the_store_down_returns_in_time_says_what_is_left_and_the_next_finishes() {
    let test = "closing_with_the_store_down_returns_in_time_says_what_is_left_and_the_next_finishes";
    let Some(world) = World::start_or_skip(test).await else { return };
    for trouble in [Trouble::Transient, Trouble::Unknown, Trouble::Hang] {
        let store = FakeStore::new();
        store.always(Call::Commit, Some(trouble.clone()));
        store.always(Call::Offset, Some(trouble));
        let stream = || RedisStream::new(&world.redis(), NAME).shards(4).lease(crate::support::stream::LEASE);
        let settings = || settings(&store, stream());
        let cache = settings().tier(Memory::with_capacity(100)).ttl(HOUR).build().unwrap();
        for key in 0..10 {
            _ = cache.put(&key, key).await.unwrap();
        }
        let began = Instant::now();
        let left = cache.close(A_SECOND / 5).await.unwrap();
        assert!(began.elapsed() < 2 * A_SECOND, "{:?}", began.elapsed());
        assert_eq!((left.pending, left.is_empty()), (10, false), "{left}");
        let behind = settings().store().unwrap();
        put(&behind, 10, 10).await;
        let left = behind.close(A_SECOND / 5).await.unwrap();
        assert!(
            left.writes.is_empty() && left.are_kept,
            "they are nobody's more than anybody else's: {left:?}"
        );
        assert!(store.history().is_empty());
        store.always(Call::Commit, None);
        store.always(Call::Offset, None);
        let next: WriteBehind<u64, u64> = settings().store().unwrap();
        next.flush().await.unwrap();
        assert!((0..=10).all(|key| store.row(&key) == Some(key)) && store.history().len() == 11);
        assert!(next.close(A_SECOND).await.unwrap().writes.is_empty());
        // Another store begins with another stream.
        _ = world.server.command(&["FLUSHALL"]).await;
    }
}

#[tokio::test]
async fn puts_and_deletes_among_each_other_fill_batches() {
    let Some(world) = World::start_or_skip("puts_and_deletes_among_each_other_fill_batches").await else {
        return;
    };
    let behind = in_one_shard(&world).flush_every(HOUR).batch(100).store().unwrap();
    for key in 0..400 {
        match key % 3 {
            0 => behind.delete(&key).await.unwrap(),
            _ => put(&behind, key, key).await,
        }
    }
    behind.flush().await.unwrap();
    assert_eq!((world.store.history().len(), world.store.count(Call::Commit)), (400, 4));
}

#[tokio::test]
async fn what_waits_does_not_expire() {
    let Some(world) = World::start_or_skip("what_waits_does_not_expire").await else { return };
    world.store.always(Call::Commit, Some(Trouble::Transient));
    let clock = TestClock::new();
    let cache = || -> LayeredCache<u64, u64> {
        let settings = world.settings().tier(Memory::with_capacity(100)).ttl(MINUTE);
        settings.clock(clock.clone()).build().unwrap()
    };
    let (one, other) = (cache(), cache());
    _ = one.put(&1, 10).await.unwrap();
    for _ in 0..3 {
        clock.advance(HOUR);
        assert_eq!((one.get(&1).await.unwrap(), other.get(&1).await.unwrap()), (Some(10), Some(10)));
    }
    let mut waiting = 0;
    for shard in 0..4 {
        let name = format!("{NAME}:journal:{{b{shard:03}}}:log");
        // What is not there has -2 to live, and what does not expire -1.
        match world.server.command(&["PTTL", &name]).await {
            Reply::Int(-2) => {}
            left => assert_eq!((left, { waiting += 1 }), (Reply::Int(-1), ())),
        }
    }
    assert_eq!(waiting, 1);
    world.store.always(Call::Commit, None);
    other.flush().await.unwrap();
    assert_eq!(world.store.row(&1), Some(10));
}

#[tokio::test]
async fn processes_that_increment_the_same_counters_count_exactly() {
    const TIMES: u64 = 40;
    let test = "processes_that_increment_the_same_counters_count_exactly";
    let Some(world) = World::start_or_skip(test).await else { return };
    for (processes, key) in [(2, 7), (3, 8)] {
        for shares_copies in [false, true] {
            let key = key + 100 * u64::from(shares_copies);
            world.store.set_row(key, 1_000);
            let caches: Vec<LayeredCache<u64, u64>> = (0..processes)
                .map(|_| match shares_copies {
                    true => world.cache(),
                    false => {
                        let memory = Memory::with_capacity(100);
                        world.settings().merge(Sum).tier(memory).ttl(HOUR).build().unwrap()
                    }
                })
                .collect();
            let counting = caches.iter().map(|cache| async {
                let mut totals = Vec::new();
                for _ in 0..TIMES {
                    totals.push(cache.increment(&key, 1).await.unwrap().into_output());
                }
                assert!(totals.is_sorted_by(|one, next| one < next), "{totals:?}");
                totals
            });
            // The answers may have in them what came after, but never less, nor more than there is.
            let totals = join_all(counting).await.concat();
            let all = processes * TIMES;
            assert!(totals.iter().all(|total| *total > 1_000) && totals.iter().max() == Some(&(1_000 + all)));
            caches[0].flush().await.unwrap();
            assert_eq!(world.store.row(&key), Some(1_000 + all));
            if shares_copies {
                for cache in &caches {
                    assert_eq!(cache.get(&key).await.unwrap(), Some(1_000 + all));
                }
            }
            for cache in caches {
                cache.close(5 * A_SECOND).await.unwrap();
            }
        }
    }
}
