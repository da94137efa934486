//! Many keys at once through Redis, and answers that look like none: absences, zeros, empty texts.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::support::copies::{name, set};
use crate::support::redis_server::RedisServer;
use crate::support::resp::Reply;
use crate::support::watching::soon;
use crate::support::{MINUTE, numbers};
use larder::bounds::Value;
use larder::testing::FakeStore;
use larder::tier::redis::Credentials;
use larder::{Builder, LayeredCache, Memory, Redis, cache_aside, write_through};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// More than two messages hold.
const MANY: u64 = 1_200;

fn redis(server: &RedisServer) -> Redis {
    // Not the deadline is tested here: a slow machine gets all the time it wants.
    server.builder().deadline(Duration::from_secs(3)).build().expect("a URL")
}

/// A process of its own.
fn process<V>(server: &RedisServer, builder: Builder<u64, V>) -> LayeredCache<u64, V>
where
    V: Value + Serialize + DeserializeOwned,
{
    builder.tier(redis(server).namespace("n")).ttl(MINUTE).jitter(0.0).build().expect("complete")
}

async fn get<V: Value>(cache: &LayeredCache<u64, V>, key: u64) -> Option<V> {
    soon(cache.get(&key)).await.expect("answered")
}

async fn get_many(cache: &LayeredCache<u64, u64>, keys: &[u64]) -> Vec<Option<u64>> {
    soon(cache.get_many(keys)).await.into_iter().map(|answer| answer.expect("answered")).collect()
}

async fn damage(server: &RedisServer, key: u64) {
    set(server, &name(server, &format!("n:{{*:{key}")).await, b"of somebody else").await;
}

/// Hits, misses, kept absences, unkept ones, damaged copies and repeated keys in one call: each has its own answer.
#[tokio::test]
async fn every_key_of_a_batch_has_its_own_answer() {
    let Some(server) = RedisServer::start_or_skip("every_key_of_a_batch_has_its_own_answer").await else {
        return;
    };
    // Of ten keys the seventh to ninth are absent.
    let store = FakeStore::with((0..MANY).filter(|key| key % 10 < 7).map(|key| (key, key)));
    let builder = || cache_aside(store.clone()).absent_ttl(MINUTE);
    let (one, other) = (process(&server, builder()), process(&server, builder()));
    let expected = |key: u64| (key % 10 < 7).then_some(key);
    let a_third: Vec<u64> = (0..MANY).filter(|key| key % 3 == 0).collect();
    for (key, answer) in a_third.iter().zip(get_many(&one, &a_third).await) {
        assert_eq!(answer, expected(*key));
    }
    for key in [30, 33, 36, 39, 42] {
        damage(&server, key).await;
    }
    let loads = store.loads();
    let mut keys: Vec<u64> = (0..MANY).collect();
    fastrand::shuffle(&mut keys);
    keys.extend([5, 5, 8, 30]);
    for (key, answer) in keys.iter().zip(get_many(&other, &keys).await) {
        assert_eq!(answer, expected(*key), "{key}");
    }
    let hits = a_third.len() as u64 - 5;
    assert_eq!(store.loads() - loads, MANY - hits, "what was kept is not loaded, nor is anything twice");
    let stats = other.stats();
    assert_eq!((stats.hits, stats.misses, stats.unreadable), (hits, MANY - hits, 5));
    assert_eq!((stats.tier_failures, stats.waited, stats.fills_refused), (0, 0, 0));

    get_many(&one, &keys).await;
    assert_eq!(store.loads() - loads, MANY - hits, "all of it is kept for everybody");
}

/// One batch of a size that leaves one key for a message of its own, which is then another command.
#[tokio::test]
async fn batches_of_every_size_are_whole() {
    let Some(server) = RedisServer::start_or_skip("batches_of_every_size_are_whole").await else { return };
    let store = numbers(1_001);
    let cache = process(&server, cache_aside(store.clone()));
    for size in [0, 1, 2, 499, 500, 501, 1_000, 1_001] {
        let keys: Vec<u64> = (0..size).collect();
        let answers = get_many(&cache, &keys).await;
        assert_eq!(answers, keys.iter().copied().map(Some).collect::<Vec<_>>());
    }
    assert_eq!((store.loads(), cache.stats().tier_failures), (1_001, 0));
}

#[tokio::test]
async fn many_are_written_and_seen_by_all() {
    let Some(server) = RedisServer::start_or_skip("many_are_written_and_seen_by_all").await else { return };
    for pattern in [cache_aside::<u64, u64>, write_through] {
        let store = numbers(MANY);
        let (one, other) =
            (process(&server, pattern(store.clone())), process(&server, pattern(store.clone())));
        let keys: Vec<u64> = (0..MANY).collect();
        get_many(&other, &keys).await;
        let entries: Vec<_> = keys.iter().map(|key| (*key, key + 5_000)).collect();
        for written in soon(one.put_many(entries)).await {
            written.expect("written");
        }
        assert_eq!(
            get_many(&other, &keys).await,
            keys.iter().map(|key| Some(key + 5_000)).collect::<Vec<_>>()
        );
        assert_eq!((one.stats().tier_failures, other.stats().tier_failures), (0, 0));

        for written in soon(one.delete_many(&keys[..700])).await {
            written.expect("deleted");
        }
        let answers = get_many(&other, &keys).await;
        assert!(answers[..700].iter().all(Option::is_none) && answers[700..].iter().all(Option::is_some));
        soon(one.clear()).await.expect("cleared");
    }
}

#[tokio::test]
async fn many_are_invalidated_and_no_more() {
    let Some(server) = RedisServer::start_or_skip("many_are_invalidated_and_no_more").await else { return };
    let store = numbers(MANY);
    let (one, other) =
        (process(&server, cache_aside(store.clone())), process(&server, cache_aside(store.clone())));
    let keys: Vec<u64> = (0..MANY).collect();
    get_many(&one, &keys).await;
    keys.iter().for_each(|key| store.set_row(*key, key + 5_000)); // behind everybody's back
    soon(one.invalidate_many(&keys[..1_100])).await.expect("dropped");
    let expected: Vec<_> =
        keys.iter().map(|key| Some(if *key < 1_100 { key + 5_000 } else { *key })).collect();
    assert_eq!(get_many(&other, &keys).await, expected);
    assert_eq!(store.loads(), MANY + 1_100);
}

/// The peers' bug: a new row stayed "not found" for all but its writer.
#[tokio::test]
async fn an_absence_is_shared_and_ends_with_an_insert() {
    let Some(server) = RedisServer::start_or_skip("an_absence_is_shared_and_ends_with_an_insert").await
    else {
        return;
    };
    for pattern in [cache_aside::<u64, u64>, write_through] {
        let store = FakeStore::new();
        let process = || process(&server, pattern(store.clone()).absent_ttl(MINUTE));
        let (one, other) = (process(), process());
        for key in 0..20 {
            assert_eq!((get(&one, key).await, get(&other, key).await), (None, None));
            assert_eq!(get(&one, key).await, None);
        }
        assert_eq!((store.loads(), other.stats().hits, one.stats().hits), (20, 20, 20));
        for key in 0..20 {
            soon(one.put(&key, key + 1)).await.expect("inserted");
            assert_eq!(get(&other, key).await, Some(key + 1));
        }
        for key in 0..20 {
            soon(other.delete(&key)).await.expect("deleted");
            assert_eq!(get(&one, key).await, None);
        }
        soon(one.clear()).await.expect("cleared");
    }
}

#[tokio::test]
async fn an_absence_ends_with_its_own_ttl() {
    let Some(server) = RedisServer::start_or_skip("an_absence_ends_with_its_own_ttl").await else { return };
    let store = FakeStore::<u64, u64>::new();
    let process = || process(&server, cache_aside(store.clone()).absent_ttl(Duration::from_millis(300)));
    let (one, other) = (process(), process());
    let begin = Instant::now();
    assert_eq!(get(&one, 7).await, None);
    store.set_row(7, 7); // by somebody who tells nobody
    while get(&other, 7).await.is_none() {
        assert!(begin.elapsed() < Duration::from_secs(3), "it does not end");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(begin.elapsed() > Duration::from_millis(250), "it has been kept");
}

type OverStore = fn(FakeStore<u64, u64>) -> Builder<u64, u64>;

/// What is loaded and not to be kept must not keep the next reader waiting for its lease to end, which takes seconds.
#[tokio::test]
async fn what_is_not_to_be_kept_keeps_nobody_waiting() {
    let Some(server) = RedisServer::start_or_skip("what_is_not_to_be_kept_keeps_nobody_waiting").await else {
        return;
    };
    let nothing = FakeStore::<u64, u64>::new();
    let builders: [(_, OverStore); 2] = [
        ("memory above", |store| cache_aside(store).tier(Memory::with_capacity(1_000))),
        ("Redis alone", cache_aside),
    ];
    for (what, builder) in builders {
        let process = || process(&server, builder(nothing.clone())); // no `absent_ttl`
        let (one, other) = (process(), process());
        let keys: Vec<u64> = (0..300).collect();
        for cache in [&one, &other, &one] {
            assert_eq!(get(cache, 7).await, None);
            assert_eq!(get_many(cache, &keys).await, vec![None; keys.len()]);
        }
        assert_eq!((one.stats().waited, other.stats().waited), (0, 0), "{what}");
        assert_eq!(server.command(&["DBSIZE"]).await, Reply::Int(0), "{what}");
    }
    let store = numbers(10);
    let builder = cache_aside(store.clone()).tier(redis(&server).namespace("n"));
    let keeps_nothing = builder.ttl(Duration::ZERO).build().expect("complete");
    for _ in 0..3 {
        assert_eq!(get(&keeps_nothing, 7).await, Some(7));
    }
    assert_eq!((keeps_nothing.stats().waited, store.loads()), (0, 3));
}

/// What is kept under every key of `values` is found by another process, whatever it looks like.
async fn are_hits<V>(server: &RedisServer, values: &[V])
where
    V: Value + Serialize + DeserializeOwned + PartialEq + std::fmt::Debug,
{
    let store: FakeStore<u64, V> = FakeStore::with((0..).zip(values.iter().cloned()));
    let (one, other) =
        (process(server, cache_aside(store.clone())), process(server, cache_aside(store.clone())));
    for (key, value) in (0..).zip(values) {
        assert_eq!(get(&one, key).await.as_ref(), Some(value));
        assert_eq!(get(&other, key).await.as_ref(), Some(value));
    }
    assert_eq!((other.stats().hits, other.stats().loads), (values.len() as u64, 0), "{values:?}");
    let keys: Vec<u64> = (0..values.len() as u64).collect();
    for (answer, value) in soon(one.get_many(&keys)).await.into_iter().zip(values) {
        assert_eq!(answer.expect("answered").as_ref(), Some(value));
    }
    assert_eq!(store.loads(), values.len() as u64);
    soon(one.clear()).await.expect("cleared");
}

/// The peers' bug: what is zero or empty was never a hit.
#[tokio::test]
async fn zero_false_and_empty_are_hits() {
    let Some(server) = RedisServer::start_or_skip("zero_false_and_empty_are_hits").await else { return };
    are_hits(&server, &[0_u64, u64::MAX]).await;
    are_hits(&server, &[0_i64, -1, i64::MIN]).await;
    are_hits(&server, &[false, true]).await;
    are_hits(&server, &[0.0_f64, -0.5, f64::MAX]).await;
    are_hits(&server, &["", "null", "None", "nil", "0", "false", "\0", "\"", "ld1V"].map(str::to_owned))
        .await;
    are_hits(&server, &[Vec::<u64>::new(), vec![0]]).await;
    are_hits(&server, &[HashMap::<String, u64>::new()]).await;
    are_hits(&server, &[None, Some(0_u64)]).await;
    are_hits(&server, &[()]).await;
}

/// Thousands of misses are thousands of scripts. A server that works through them as fast as it can is not away.
#[tokio::test]
async fn a_batch_of_thousands_is_no_outage() {
    let Some(server) = RedisServer::start_or_skip("a_batch_of_thousands_is_no_outage").await else { return };
    let redis = server.builder().deadline(Duration::from_millis(300)).build().expect("a URL");
    let builder = cache_aside(numbers(5_000)).tier(redis.namespace("n")).ttl(MINUTE).jitter(0.0);
    let one = builder.build().expect("complete");
    let keys: Vec<u64> = (0..5_000).collect();
    assert!(get_many(&one, &keys).await.into_iter().eq(keys.iter().map(|key| Some(*key))));
    assert_eq!((one.stats().tier_outages, one.stats().tier_failures), (0, 0));
    let other = process(&server, cache_aside(numbers(5_000)));
    assert!(get_many(&other, &keys).await.into_iter().eq(keys.iter().map(|key| Some(*key))));
    assert_eq!(other.stats().loads, 0, "all has been kept");
}

/// A batch of which one key cannot be leased keeps none of the others' leases: nobody would ever fill with them.
#[tokio::test]
async fn a_batch_that_fails_in_part_keeps_nobody_waiting() {
    let name = "a_batch_that_fails_in_part_keeps_nobody_waiting";
    let Some(server) = RedisServer::start_or_skip(name).await else { return };
    // May read all keys, and write those of the first ten buckets only.
    let rights = ["%R~*", "~n:{b00*", "+@all"];
    server.command(&[&["ACL", "SETUSER", "part", "on", ">secret"], &rights[..]].concat()).await;
    let user = || async { Ok(Credentials::user("part", "secret")) };
    let part = server.builder().credentials(user).deadline(Duration::from_secs(3)).build().expect("a URL");
    let builder = cache_aside(numbers(200)).tier(part.namespace("n")).ttl(MINUTE);
    let part = builder.build().expect("complete");
    let keys: Vec<u64> = (0..200).collect();
    assert!(get_many(&part, &keys).await.into_iter().eq(keys.iter().map(|key| Some(*key))));
    assert!(part.stats().tier_failures > 0, "some keys cannot be leased");
    let begin = Instant::now();
    get_many(&process(&server, cache_aside(numbers(200))), &keys).await;
    assert!(begin.elapsed() < Duration::from_secs(3), "it waited for leases: {:?}", begin.elapsed());
}
