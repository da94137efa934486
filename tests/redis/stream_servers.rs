//! What becomes of pending writes when their Redis is restarted, forgets, is taken over from, is moved, or will not have them.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::support::behind::{Behind, HOUR, Numbers, put};
use crate::support::proxy::Proxy;
use crate::support::redis_cluster::{Plan, RedisCluster, slot_of};
use crate::support::redis_process::Waiting;
use crate::support::redis_server::RedisServer;
use crate::support::resp::Reply;
use crate::support::rights;
use crate::support::stream::{KEEPS, LEASE, NAME, World, redis, settings, stream};
use crate::support::watching::{everything_in, soon};
use larder::journal::{Durability, RedisStream};
use larder::store::{Sum, WriteBehindBuilder};
use larder::testing::{Call, FakeStore, Trouble};
use larder::{
    Change, ErrorKind, LayeredCache, Loader, Memory, Outcome, Redis, Store, StoreError, WriteBehind,
};
use tokio::task::JoinHandle;

const A_SECOND: Duration = Duration::from_secs(1);

/// The slot of a shard.
fn slot(shard: u16) -> u16 {
    slot_of(format!("{NAME}:journal:{{b{shard:03}}}:log"))
}

/// Of the user who may do everything.
fn client(cluster: &RedisCluster) -> Redis {
    let nodes: Vec<_> = cluster.addresses().iter().map(ToString::to_string).collect();
    let first = format!("redis://{}{}", nodes[0], rights::protocol());
    Redis::builder(&first).cluster(nodes.iter().map(String::as_str)).deadline(2 * A_SECOND).build().unwrap()
}

/// Waits until writes are accepted everywhere.
async fn open_again(caches: &[LayeredCache<u64, u64>]) {
    let waiting = Waiting::until("writes are accepted again");
    for cache in caches {
        for key in 500..530 {
            while cache.put(&key, key).await.is_err() {
                waiting.a_moment().await;
            }
        }
    }
}

/// What a stream says of a write that it does not have.
fn said(error: StoreError) -> larder::Error {
    *error.into_source().downcast::<larder::Error>().unwrap()
}

/// Somebody who writes and reads all the time, whatever he is told. Each key's numbers only grow.
struct Busy {
    stop: Arc<AtomicBool>,
    accepted: Arc<AtomicU64>,
    task: JoinHandle<Toll>,
}

/// What has come of it.
#[derive(Default)]
struct Toll {
    /// The last number of each key that was accepted.
    last: Vec<u64>,
    /// Increments that were accepted.
    counted: u64,
    /// Those of which nobody knows.
    perhaps: u64,
    /// The keys that were incremented once and never again, and what was said of it.
    once: Vec<(u64, Said)>,
    errors: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Said {
    Done,
    NotDone,
    Nothing,
}

impl Said {
    fn of<T>(answer: &Result<T, larder::Error>) -> Self {
        match answer.as_ref().map_err(larder::Error::outcome) {
            Ok(_) | Err(Some(Outcome::Applied)) => Self::Done,
            Err(Some(Outcome::NotApplied)) => Self::NotDone,
            Err(_) => Self::Nothing,
        }
    }
}

const KEYS: u64 = 8;
/// What all count in.
const COUNTER: u64 = 1_000;

impl Busy {
    /// Who writes keys that nobody else does.
    fn on(cache: LayeredCache<u64, u64>, first: u64) -> Self {
        let (stop, accepted) = (Arc::<AtomicBool>::default(), Arc::<AtomicU64>::default());
        let task = tokio::spawn(write(cache, first, Arc::clone(&stop), Arc::clone(&accepted)));
        Self { stop, accepted, task }
    }

    /// So many more writes are accepted.
    async fn goes_on(&self, more: u64) {
        let goal = self.accepted.load(Ordering::Relaxed) + more;
        let waiting = Waiting::until("more is accepted");
        while self.accepted.load(Ordering::Relaxed) < goal {
            waiting.a_moment().await;
        }
    }

    async fn end(self) -> Toll {
        self.stop.store(true, Ordering::Relaxed);
        self.task.await.unwrap()
    }
}

async fn write(
    cache: LayeredCache<u64, u64>,
    first: u64,
    stop: Arc<AtomicBool>,
    accepted: Arc<AtomicU64>,
) -> Toll {
    let mut toll = Toll { last: vec![0; KEYS as usize], ..Toll::default() };
    for number in 1.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let key = number % KEYS;
        match soon(cache.put(&(first + key), number)).await {
            Ok(_) => {
                toll.last[key as usize] = number;
                accepted.fetch_add(1, Ordering::Relaxed);
                if let Ok(read) = soon(cache.get(&(first + key))).await {
                    assert_eq!(read, Some(number), "what has been answered is read");
                }
            }
            Err(_) => toll.errors += 1,
        }
        match Said::of(&soon(cache.increment(&COUNTER, 1)).await) {
            Said::Done => toll.counted += 1,
            Said::NotDone => toll.errors += 1,
            Said::Nothing => toll.perhaps += 1,
        }
        let once = 10_000 * (first + 1) + number;
        toll.once.push((once, Said::of(&soon(cache.increment(&once, 1)).await)));
    }
    toll
}

/// What was accepted is stored, in its order, and once.
fn audit(store: &Numbers, tolls: &[Toll]) {
    for (first, toll) in (0..).step_by(100).zip(tolls) {
        for (key, last) in (first..).zip(&toll.last) {
            assert!(store.row(&key).unwrap_or(0) >= *last, "{key}: {:?} after {last}", store.row(&key));
        }
    }
    audit_order(store, tolls);
    let (counted, perhaps) = (sum(tolls, |toll| toll.counted), sum(tolls, |toll| toll.perhaps));
    let counter = store.row(&COUNTER).unwrap();
    println!("{counter} counted, {counted} were accepted and {perhaps} perhaps");
    assert!((counted..=counted + perhaps).contains(&counter), "{counter}: {counted} and perhaps {perhaps}");
}

/// Nothing was stored twice, nor what was said not to be done.
fn audit_order(store: &Numbers, tolls: &[Toll]) {
    let mut last = HashMap::new();
    for change in store.history() {
        let Change::Put(key, number) = change else { panic!("nobody deletes") };
        let before = last.insert(key, number).unwrap_or(0);
        assert!(before < number, "{key}: {number} after {before}");
    }
    for (key, said) in tolls.iter().flat_map(|toll| &toll.once) {
        let most = u64::from(*said != Said::NotDone);
        let stored = store.row(key).unwrap_or(0);
        assert!(stored <= most, "{key}: {stored} times, and was said: {said:?}");
    }
}

fn sum(tolls: &[Toll], of: impl Fn(&Toll) -> u64) -> u64 {
    tolls.iter().map(of).sum()
}

fn cached(builder: WriteBehindBuilder<u64, u64, Numbers>) -> LayeredCache<u64, u64> {
    builder.merge(Sum).tier(Memory::with_capacity(1_000)).ttl(HOUR).build().unwrap()
}

#[tokio::test]
async fn a_server_that_is_restarted_with_its_file_has_lost_nothing() {
    let test = "a_server_that_is_restarted_with_its_file_has_lost_nothing";
    let Some(world) = World::start_or_skip(test).await else { return };
    let busy = [0, 100].map(|first| Busy::on(cached(world.settings()), first));
    for _ in 0..2 {
        for busy in &busy {
            busy.goes_on(20).await;
        }
        world.server.start_again().await;
    }
    let mut tolls = Vec::new();
    for busy in busy {
        busy.goes_on(20).await;
        tolls.push(busy.end().await);
    }
    let last = world.settings().merge(Sum).store().unwrap();
    last.flush().await.unwrap();
    audit(&world.store, &tolls);
}

/// A server that keeps nothing on its disk, and comes back as an earlier one was.
#[tokio::test]
async fn what_an_older_state_of_the_server_brings_back_is_not_counted_again_and_later_writes_are() {
    let test = "what_an_older_state_of_the_server_brings_back_is_not_counted_again_and_later_writes_are";
    let Some(server) = RedisServer::start_or_skip(test).await else { return };
    let store = FakeStore::new();
    let journal = || stream(&redis(&server.url_of_default_user())).durability(Durability::Memory);
    let caches = [(); 2].map(|()| cached(settings(&store, journal())));
    let count = async |times: u64| {
        for at in 0..times {
            _ = caches[at as usize % 2].increment(&COUNTER, 1).await.unwrap();
            _ = caches[at as usize % 2].increment(&at, 1).await.unwrap();
        }
    };
    let gate = store.gate_before(Call::Commit);
    count(10).await;
    gate.arrived(1).await;
    server.snapshot().await;
    gate.open();
    caches[0].flush().await.unwrap();
    count(6).await;
    caches[0].flush().await.unwrap();
    server.restart_from_snapshot().await;
    open_again(&caches).await;
    count(8).await;
    caches[1].flush().await.unwrap();
    let counted: Vec<_> = (0..10).map(|key| store.row(&key)).collect();
    assert_eq!(store.row(&COUNTER), Some(24));
    assert_eq!(counted, [[Some(3); 6].as_slice(), &[Some(2); 2], &[Some(1); 2]].concat());
    let waiting = Waiting::until("it is told");
    while caches.iter().all(|cache| cache.stats().journal_regressions == 0) {
        waiting.a_moment().await;
    }
}

#[tokio::test]
async fn a_cluster_goes_on_when_the_primary_of_a_shard_is_killed() {
    let test = "a_cluster_goes_on_when_the_primary_of_a_shard_is_killed";
    let Some(cluster) = RedisCluster::start_or_skip(test).await else { return };
    let store = FakeStore::new().keeping_every_write();
    let journal = || stream(&client(&cluster)).durability(Durability::Memory);
    let caches = [(); 2].map(|()| cached(settings(&store, journal())));
    let busy = [0, 100].map(|first| Busy::on(caches[first as usize / 100].clone(), first));
    for busy in &busy {
        busy.goes_on(20).await;
    }
    let killed = Instant::now();
    let lost = cluster.kill_primary_of(slot(0)).await;
    cluster.replaced(slot(0), lost).await;
    let replaced = killed.elapsed();
    for busy in &busy {
        busy.goes_on(100).await;
    }
    println!("replaced after {replaced:?}, all goes on after {:?}", killed.elapsed());
    assert!(killed.elapsed() < replaced + 5 * A_SECOND);
    let mut tolls = Vec::new();
    for busy in busy {
        tolls.push(busy.end().await);
    }
    caches[0].flush().await.unwrap();
    // Every key has been written after it.
    for (first, toll) in [0, 100].into_iter().zip(&tolls) {
        for (key, last) in (first..).zip(&toll.last) {
            assert_eq!(store.row(&key), Some(*last), "{key}");
        }
    }
    audit_order(&store, &tolls);
    let most = sum(&tolls, |toll| toll.counted + toll.perhaps);
    assert!(store.row(&COUNTER).unwrap() <= most, "{:?} of {most}", store.row(&COUNTER));
}

#[tokio::test]
async fn a_shard_that_is_moved_to_another_node_while_it_is_written_loses_nothing() {
    let test = "a_shard_that_is_moved_to_another_node_while_it_is_written_loses_nothing";
    let plan = Plan { replicas: 0, ..Plan::default() };
    let Some(cluster) = RedisCluster::start_or_skip_with(test, plan).await else { return };
    let store = FakeStore::new();
    let journal = || stream(&client(&cluster)).durability(Durability::Memory).shards(1);
    let caches = [(); 2].map(|()| cached(settings(&store, journal())));
    let busy = [0, 100].map(|first| Busy::on(caches[first as usize / 100].clone(), first));
    for _ in 0..2 {
        for busy in &busy {
            busy.goes_on(20).await;
        }
        let to = (cluster.primary_of(slot(0)).await + 1) % 3;
        let migration = cluster.open(slot(0), to).await;
        // One key after the other, with writers in between.
        for _ in 0..5 {
            migration.move_keys(1).await;
            crate::support::aside(|| std::thread::sleep(Duration::from_millis(20))).await;
        }
        migration.finish().await;
    }
    let mut tolls = Vec::new();
    for busy in busy {
        busy.goes_on(20).await;
        tolls.push(busy.end().await);
    }
    caches[0].flush().await.unwrap();
    println!("{} were refused", sum(&tolls, |toll| toll.errors));
    audit(&store, &tolls);
}

#[tokio::test]
async fn a_write_that_must_be_on_a_replica_is_in_doubt_where_there_is_none() {
    let test = "a_write_that_must_be_on_a_replica_is_in_doubt_where_there_is_none";
    let at_once = [&KEEPS[..], &["--repl-diskless-sync-delay", "0"]].concat();
    let Some(primary) = RedisServer::start_one_or_skip_with(test, &at_once).await else { return };
    let store = FakeStore::new();
    let journal = || stream(&redis(&primary.url_of_default_user())).replicas(1);
    let behind = settings(&store, journal().deadline(A_SECOND / 2)).store().unwrap();
    let began = Instant::now();
    let error = said(behind.save(&1, &10).await.unwrap_err());
    assert_eq!((error.kind(), error.outcome()), (ErrorKind::Journal, Some(Outcome::Unknown)), "{error}");
    assert!(began.elapsed() < 2 * A_SECOND && error.to_string().contains("replicas"), "{error}");
    let replica = RedisServer::start_one_or_skip_with(test, &KEEPS).await.unwrap();
    if primary.is_in_a_cluster() {
        return;
    }
    let port = primary.port().to_string();
    assert_eq!(replica.command(&["REPLICAOF", "127.0.0.1", &port]).await, Reply::ok());
    let waiting = Waiting::until("the replica is there");
    let patient = settings(&store, journal()).store().unwrap();
    while patient.save(&2, &20).await.is_err() {
        waiting.a_moment().await;
    }
    _ = behind.save(&3, &30).await.unwrap();
    behind.flush().await.unwrap();
    assert_eq!(
        [1, 2, 3].map(|key| store.row(&key)),
        [Some(10), Some(20), Some(30)],
        "also what was in doubt"
    );
}

/// What the documentation of `RedisStream` names.
const RIGHTS: &str = "+eval +evalsha +ping +info +time +config|get +hmget +hset +rpush +ltrim +lrem +lrange +xadd +xrange +xdel \
                      +xtrim +xlen +zadd +zrem +zrange +zremrangebyscore +zcard +get +set";

/// Makes a user; his URL.
async fn user(server: &RedisServer, name: &str, rights: &str) -> String {
    let keys = format!("~{NAME}:journal:*");
    let cluster =
        if server.is_in_a_cluster() { rights::RIGHTS_IN_A_CLUSTER.join(" ") } else { String::new() };
    let order = format!("ACL SETUSER {name} reset on >hush-hush {keys} {rights} {cluster}");
    let order: Vec<&str> = order.split_whitespace().collect();
    assert_eq!(server.command(&order).await, Reply::ok());
    format!("redis://{name}:hush-hush@{}{}", server.address(), rights::protocol())
}

#[tokio::test]
async fn a_user_with_the_rights_that_are_documented_can_do_everything() {
    let test = "a_user_with_the_rights_that_are_documented_can_do_everything";
    let Some(world) = World::start_or_skip(test).await else { return };
    let url = user(&world.server, "writer", RIGHTS).await;
    let caches = [(); 2].map(|()| cached(settings(&world.store, stream(&redis(&url)))));
    let count = async |times: u64| {
        for at in 0..times {
            let cache = &caches[at as usize % 2];
            _ = cache.increment(&COUNTER, 1).await.unwrap();
            _ = cache.put(&at, at).await.unwrap();
            assert_eq!(cache.get(&at).await.unwrap(), Some(at));
            _ = cache.delete(&(at + 1)).await.unwrap();
        }
    };
    count(20).await;
    caches[0].flush().await.unwrap();
    // Also what is done when a server is met anew.
    world.server.start_again().await;
    _ = user(&world.server, "writer", RIGHTS).await;
    open_again(&caches).await;
    count(20).await;
    let [one, other] = caches;
    assert!(one.close(5 * A_SECOND).await.unwrap().is_empty());
    assert!(other.close(5 * A_SECOND).await.unwrap().is_empty());
    assert_eq!((world.store.row(&COUNTER), world.store.row(&19)), (Some(40), Some(19)));
}

#[tokio::test]
async fn a_user_who_may_not_ask_how_the_server_syncs_is_told_what_to_grant() {
    let test = "a_user_who_may_not_ask_how_the_server_syncs_is_told_what_to_grant";
    let Some(world) = World::start_or_skip(test).await else { return };
    let url = user(&world.server, "writer", &RIGHTS.replace("+config|get", "")).await;
    let refused = stream(&redis(&url)).check().await.unwrap_err();
    assert_eq!((refused.kind(), refused.outcome()), (ErrorKind::Journal, Some(Outcome::NotApplied)));
    assert!(refused.to_string().contains("+config|get"), "{refused}");
    let behind = settings(&world.store, stream(&redis(&url))).store().unwrap();
    let refused = said(behind.save(&1, &1).await.unwrap_err());
    assert!(refused.to_string().contains("+config|get"), "{refused}");
    assert!(!everything_in(&refused).contains("hush"), "{refused:?}");
}

#[tokio::test]
async fn a_user_who_may_not_wait_for_replicas_is_told_before_anything_is_written() {
    let test = "a_user_who_may_not_wait_for_replicas_is_told_before_anything_is_written";
    let Some(world) = World::start_or_skip(test).await else { return };
    let url = user(&world.server, "writer", RIGHTS).await;
    let journal = || stream(&redis(&url)).replicas(1).deadline(A_SECOND / 2);
    let refused = journal().check().await.unwrap_err();
    assert!(refused.to_string().contains("`+wait`"), "{refused}");
    let behind = settings(&world.store, journal()).store().unwrap();
    let refused = said(behind.save(&1, &1).await.unwrap_err());
    assert_eq!(refused.outcome(), Some(Outcome::NotApplied), "{refused}");
    assert!(refused.to_string().contains("`+wait`"), "{refused}");
    behind.flush().await.unwrap();
    assert_eq!(world.store.row(&1), None);
}

/// Whoever was told that it is not there would count once more. There are not two replicas anywhere.
#[tokio::test]
async fn a_write_that_is_there_is_in_doubt_when_nobody_may_wait_for_it() {
    let test = "a_write_that_is_there_is_in_doubt_when_nobody_may_wait_for_it";
    let Some(world) = World::start_or_skip(test).await else { return };
    let url = user(&world.server, "writer", &format!("{RIGHTS} +wait")).await;
    let cache = cached(settings(&world.store, stream(&redis(&url)).replicas(2).deadline(A_SECOND / 2)));
    _ = cache.put(&1, 20).await.unwrap_err();
    assert_eq!(world.server.command(&["ACL", "SETUSER", "writer", "-wait"]).await, Reply::ok());
    let refused = cache.increment(&1, 1).await.unwrap_err();
    assert_eq!(refused.outcome(), Some(Outcome::Unknown), "{}", everything_in(&refused));
    cache.flush().await.unwrap();
    assert_eq!(world.store.row(&1), Some(21));
}

/// A write that waits in a server which comes back as it was `before` it or after it: what is said of it, and of what is written
/// then, if anything is.
async fn told_after_a_snapshot(
    test: &str,
    before: bool,
    writes_on: bool,
) -> Option<(Result<(), larder::Error>, Option<u64>)> {
    let server = RedisServer::start_or_skip(test).await?;
    let store = FakeStore::new();
    let journal = stream(&redis(&server.url_of_default_user())).durability(Durability::Memory).shards(1);
    let cache = cached(settings(&store, journal));
    cache.put(&0, 0).await.unwrap().stored().await.unwrap();
    store.always(Call::Commit, Some(Trouble::Transient));
    if before {
        server.snapshot().await;
    }
    let written = cache.put(&1, 10).await.unwrap();
    if !before {
        server.snapshot().await;
    }
    server.restart_from_snapshot().await;
    if writes_on {
        open_again(std::slice::from_ref(&cache)).await;
    }
    store.always(Call::Commit, None);
    let waiting = Waiting::until("it can be asked");
    loop {
        match soon(written.stored()).await {
            // The server has only just come back.
            Err(error) if error.is_retryable() => waiting.a_moment().await,
            told => return Some((told, store.row(&1))),
        }
    }
}

#[tokio::test]
async fn what_a_server_has_lost_is_not_taken_for_stored() {
    let test = "what_a_server_has_lost_is_not_taken_for_stored";
    for writes_on in [true, false] {
        let Some((told, row)) = told_after_a_snapshot(test, true, writes_on).await else { return };
        let told = told.unwrap_err();
        assert_eq!((told.kind(), told.outcome(), row), (ErrorKind::Journal, Some(Outcome::Unknown), None));
        assert!(told.to_string().contains("replaced"), "{told}");
    }
}

#[tokio::test]
async fn what_a_server_has_kept_is_stored_in_its_next_life() {
    let test = "what_a_server_has_kept_is_stored_in_its_next_life";
    for writes_on in [true, false] {
        let Some((told, row)) = told_after_a_snapshot(test, false, writes_on).await else { return };
        told.unwrap();
        assert_eq!(row, Some(10));
    }
}

/// Whatever an owner writes goes to the disk and to the replicas, many times a second.
#[tokio::test]
async fn an_owner_of_shards_in_which_nothing_happens_has_the_server_write_nothing() {
    let test = "an_owner_of_shards_in_which_nothing_happens_has_the_server_write_nothing";
    let Some(server) = RedisServer::start_one_or_skip_with(test, &KEEPS).await else { return };
    let store = FakeStore::new();
    // It says that it is there six times in a lease.
    let journal = stream(&redis(&server.url_of_default_user())).lease(Duration::from_secs(60));
    let behind = settings(&store, journal).store().unwrap();
    for key in 0..20 {
        put(&behind, key, key).await;
    }
    behind.flush().await.unwrap();
    let changes = async || {
        let info = server.command(&["INFO", "persistence"]).await.text().unwrap();
        let line = info.lines().find_map(|line| line.strip_prefix("rdb_changes_since_last_save:"));
        line.unwrap().trim().parse::<u64>().unwrap()
    };
    crate::support::aside(|| std::thread::sleep(A_SECOND / 5)).await;
    let before = changes().await;
    crate::support::aside(|| std::thread::sleep(A_SECOND)).await;
    let written = changes().await - before;
    assert!(written <= 2, "{written} changes in a second");
}

#[tokio::test]
async fn a_server_that_is_not_there_or_not_the_right_one_is_an_error_in_time() {
    let test = "a_server_that_is_not_there_or_not_the_right_one_is_an_error_in_time";
    let Some(world) = World::start_or_skip(test).await else { return };
    // A port that refuses, one that is silent, and a user that nobody knows.
    let nowhere = Proxy::to(world.server.address()).await;
    let silent = Proxy::to(world.server.address()).await;
    nowhere.refuse(true);
    silent.half_open(true);
    let secret = "hush-hush";
    for address in [nowhere.address(), silent.address(), world.server.address()] {
        let url = format!("redis://nobody:{secret}@{address}{}", rights::protocol());
        let redis: Redis =
            crate::support::redis_server::builder(&url).deadline(A_SECOND / 2).build().unwrap();
        let journal = || RedisStream::<u64, u64>::new(&redis, NAME).deadline(A_SECOND / 2).lease(LEASE);
        let refused = soon(journal().check()).await.unwrap_err();
        let behind: WriteBehind<u64, u64> = settings(&world.store, journal()).store().unwrap();
        let unsaved = said(soon(behind.save(&1, &1)).await.unwrap_err());
        let unread = soon(behind.load(&1)).await.unwrap_err();
        let unread = said(unread);
        for error in [refused, unsaved, unread] {
            assert_eq!(error.kind(), ErrorKind::Journal, "{error}");
            assert!(!everything_in(&error).contains(secret), "{error:?}");
        }
        _ = soon(behind.close(A_SECOND / 2)).await.unwrap();
    }
    assert!(world.store.history().is_empty());
}

#[tokio::test]
async fn the_journal_may_be_on_another_server_than_the_copies() {
    let test = "the_journal_may_be_on_another_server_than_the_copies";
    let Some(world) = World::start_or_skip(test).await else { return };
    let copies = RedisServer::start_or_skip(test).await.unwrap();
    let cache = || -> LayeredCache<u64, u64> {
        let tier = copies.redis().namespace("n");
        world.settings().merge(Sum).tier(tier).ttl(HOUR).build().unwrap()
    };
    let (one, other) = (cache(), cache());
    for key in 0..20 {
        _ = one.put(&key, key).await.unwrap();
        assert_eq!(other.get(&key).await.unwrap(), Some(key));
        _ = other.increment(&key, 100).await.unwrap();
        assert_eq!(one.get(&key).await.unwrap(), Some(key + 100));
    }
    // What they share above is gone, what waits is not.
    copies.restart().await;
    let waiting = Waiting::until("the copies have a place again");
    for key in 0..20 {
        while one.get(&key).await.unwrap() != Some(key + 100) {
            waiting.a_moment().await;
        }
    }
    one.flush().await.unwrap();
    assert!((0..20).all(|key| world.store.row(&key) == Some(key + 100)));
    let behind: Behind = world.process();
    put(&behind, 1, 1).await;
    behind.flush().await.unwrap();
}
