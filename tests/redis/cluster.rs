//! A real cluster of three primaries with a replica each: keys of all nodes in one batch, slots that move, nodes that die,
//! hang and are taken over from. Nothing hangs, and nothing old is served.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::support::ledger::Ledger;
use crate::support::numbers;
use crate::support::process::{DEADLINE, Process, key_in};
use crate::support::redis_cluster::{Plan, RedisCluster, TakeOver, slot_of};
use crate::support::redis_server::RedisServer;
use crate::support::watching::{everything_in, soon, until};
use larder::testing::{FakeStore, tier_contract};
use larder::tier::redis::Namespace;
use larder::{Redis, cache_aside, write_through};

/// The slots of the buckets of a few keys are all over the cluster.
const MANY: u64 = 500;

fn all() -> Vec<u64> {
    (0..MANY).collect()
}

fn values(keys: &[u64]) -> Vec<Option<u64>> {
    keys.iter().map(|key| Some(*key)).collect()
}

/// A key of the namespace whose slot is this node's.
async fn key_on(cluster: &RedisCluster, node: usize) -> (u64, u16) {
    for name in cluster.keys("n:*").await {
        let slot = slot_of(&name);
        if cluster.primary_of(slot).await == node {
            return (key_in(&name), slot);
        }
    }
    panic!("none of the keys is there");
}

#[tokio::test]
async fn it_keeps_the_contract_of_a_tier() {
    let Some(cluster) = RedisCluster::start_or_skip("it_keeps_the_contract_of_a_tier").await else { return };
    let redis = cluster.builder().build().expect("addresses");
    let number = std::cell::Cell::new(0);
    let make = async || -> Namespace<String> {
        number.set(number.get() + 1);
        redis.namespace(&format!("contract-{}", number.get()))
    };
    tier_contract(make).await.expect("the cluster answers");
}

#[tokio::test]
async fn a_batch_over_all_nodes_is_loaded_once_and_shared() {
    let name = "a_batch_over_all_nodes_is_loaded_once_and_shared";
    let Some(cluster) = RedisCluster::start_or_skip(name).await else { return };
    let (one, other) = (
        Process::on(&cluster, cache_aside(numbers(MANY))),
        Process::on(&cluster, cache_aside(numbers(MANY))),
    );
    assert_eq!(one.get_all(&all()).await, values(&all()));
    assert_eq!(other.get_all(&all()).await, values(&all()));
    assert_eq!(other.cache.stats().loads, 0);
    for node in cluster.primaries().await {
        key_on(&cluster, node).await;
    }
    assert_eq!((one.heard.count("TierFailed"), other.heard.count("TierFailed")), (0, 0));
}

#[tokio::test]
async fn many_are_written_and_dropped_on_all_nodes() {
    let Some(cluster) = RedisCluster::start_or_skip("many_are_written_and_dropped_on_all_nodes").await else {
        return;
    };
    let store = numbers(MANY);
    let (writer, reader) =
        (Process::on(&cluster, write_through(store.clone())), Process::on(&cluster, cache_aside(store)));
    reader.get_all(&all()).await;
    let rows: Vec<_> = all().into_iter().map(|key| (key, key + 1_000)).collect();
    assert!(soon(writer.cache.put_many(rows.clone())).await.iter().all(Result::is_ok));
    let written: Vec<_> = rows.iter().map(|(_, value)| Some(*value)).collect();
    assert_eq!(reader.get_all(&all()).await, written);
    assert_eq!(reader.cache.stats().loads, MANY, "what was written was kept");
    soon(writer.cache.invalidate_many(&all())).await.expect("dropped");
    assert_eq!(reader.finds(&all()).await, 0);
}

#[tokio::test]
async fn a_clear_reaches_every_node() {
    let Some(cluster) = RedisCluster::start_or_skip("a_clear_reaches_every_node").await else { return };
    let one = Process::on(&cluster, cache_aside(numbers(MANY)));
    one.get_all(&all()).await;
    soon(one.cache.clear()).await.expect("cleared");
    assert_eq!(cluster.keys("n:*").await, Vec::<String>::new());
}

#[tokio::test]
async fn the_nodes_are_found_from_any_that_is_there() {
    let Some(cluster) = RedisCluster::start_or_skip("the_nodes_are_found_from_any_that_is_there").await
    else {
        return;
    };
    let nobody = "127.0.0.1:1";
    for node in 0..cluster.len() {
        let there = cluster.addresses()[node].to_string();
        let url = cluster.urls()[node].replace(&there, nobody);
        let process =
            Process::with(Redis::builder(url).cluster([there.as_str()]), cache_aside(numbers(MANY)));
        assert_eq!(process.get_all(&all()).await, values(&all()));
        until("the nodes are found", async || process.finds(&all()).await == MANY).await;
    }
}

#[tokio::test]
async fn a_cluster_that_is_not_there_yet_stops_nothing() {
    let Some(cluster) = RedisCluster::start_or_skip("a_cluster_that_is_not_there_yet_stops_nothing").await
    else {
        return;
    };
    (0..cluster.len()).for_each(|node| cluster.freeze(node));
    let process = Process::on(&cluster, cache_aside(numbers(MANY)));
    let begin = Instant::now();
    for key in 0..100 {
        assert_eq!(process.get(key).await, Some(key));
    }
    assert!(begin.elapsed() < 10 * DEADLINE, "one waits, and the others do not: {:?}", begin.elapsed());
    assert_eq!(process.heard.count("TierAway"), 1);
    (0..cluster.len()).for_each(|node| cluster.resume(node));
    until("copies are kept", async || process.finds(&all()).await == MANY).await;
    until("it is said to be back", async || process.heard.count("TierBack") == 1).await;
}

#[tokio::test]
async fn a_slot_that_moved_is_followed() {
    let Some(cluster) = RedisCluster::start_or_skip("a_slot_that_moved_is_followed").await else { return };
    let process = Process::on(&cluster, cache_aside(numbers(MANY)));
    process.get_all(&all()).await;
    let (key, slot) = key_on(&cluster, 0).await;
    cluster.migrate(slot, 1).await;
    assert_eq!(process.get(key).await, Some(key));
    assert_eq!(process.cache.stats().tier_failures, 0);
    assert_eq!(process.finds(&[key]).await, 1, "what was loaded was kept, where the slot is now");
    assert_eq!(process.get_all(&all()).await, values(&all()));
    assert_eq!((process.cache.stats().tier_failures, process.cache.stats().tier_outages), (0, 0));
}

/// Some keys of a slot have gone, and some have not: a batch asks for both, and every write reaches either.
#[tokio::test]
async fn a_slot_that_is_on_its_way_is_read_and_written() {
    let name = "a_slot_that_is_on_its_way_is_read_and_written";
    let Some(cluster) = RedisCluster::start_or_skip(name).await else { return };
    let store = numbers(3_000);
    let (one, other) = (
        Process::on(&cluster, cache_aside(store.clone())),
        Process::on(&cluster, cache_aside(store.clone())),
    );
    let keys: Vec<u64> = (0..3_000).collect();
    one.get_all(&keys).await;
    let (_, slot) = key_on(&cluster, 0).await;
    let there: Vec<u64> = cluster
        .keys("n:*")
        .await
        .into_iter()
        .filter(|name| slot_of(name) == slot)
        .map(|name| key_in(&name))
        .collect();
    assert!(there.len() > 10, "a bucket has some {} keys", 3_000 / 64);
    let moving = cluster.open(slot, 1).await;
    moving.move_keys(there.len() / 2).await;
    assert_eq!(other.get_all(&there).await, values(&there));
    for key in &there {
        soon(one.cache.put(key, key + 10_000)).await.expect("written");
    }
    let written: Vec<_> = there.iter().map(|key| Some(key + 10_000)).collect();
    assert_eq!(other.get_all(&there).await, written);
    assert_eq!(one.get_all(&there).await, written);
    moving.finish().await;
    assert_eq!(other.get_all(&there).await, written);
    soon(other.cache.invalidate_many(&there)).await.expect("dropped");
    assert_eq!(other.finds(&there).await, 0);
    assert_eq!(one.heard.count("TierFailed") + other.heard.count("TierFailed"), 0);
}

/// A clear that meets a slot on its way from a node that it has not looked at to one that it has.
#[tokio::test]
async fn a_clear_finds_what_is_on_its_way() {
    let Some(cluster) = RedisCluster::start_or_skip("a_clear_finds_what_is_on_its_way").await else { return };
    let process = Process::on(&cluster, cache_aside(numbers(MANY)));
    process.get_all(&all()).await;
    for node in [0, 1, 2] {
        let (_, slot) = key_on(&cluster, node).await;
        let moving = cluster.open(slot, (node + 1) % 3).await;
        moving.move_keys(2).await;
        soon(process.cache.clear()).await.expect("cleared");
        assert_eq!(cluster.keys("n:*").await, Vec::<String>::new());
        moving.finish().await;
        process.get_all(&all()).await;
    }
}

/// A node that dies takes its copies with it, and nothing else: the others' are found, nobody waits for it but once, and
/// what its replica has is passed over, as the last writes may be missing there.
#[tokio::test]
async fn a_node_that_dies_is_taken_over_from() {
    let Some(cluster) = RedisCluster::start_or_skip("a_node_that_dies_is_taken_over_from").await else {
        return;
    };
    let process = Process::on(&cluster, cache_aside(numbers(MANY)));
    process.get_all(&all()).await;
    let (key, slot) = key_on(&cluster, 0).await;
    let (elsewhere, _) = key_on(&cluster, 1).await;
    let replica = cluster.replicas_of(slot).await[0];
    until("the replica has it", async || cluster.has(replica, slot).await).await;
    let lost = cluster.kill_primary_of(slot).await;
    assert_eq!(process.get(key).await, Some(key));
    assert_eq!(process.finds(&[elsewhere]).await, 1, "the others serve what they have");
    cluster.replaced(slot, lost).await;
    until("the one who took over is found", async || process.finds(&[key]).await == 1).await;
    until("all is kept", async || process.finds(&all()).await == MANY).await;
    assert!(process.cache.stats().outlived > 0, "what it had taken over was passed over");
    until("it is said to be back", async || process.heard.count("TierBack") == 1).await;
    assert_eq!(process.heard.count("TierAway"), 1);
}

/// `W: store←2, invalidate, acknowledged by the primary · the primary dies, and its replica has not heard of it · the
/// replica takes over, with the old copy`. It is the copy of another life.
async fn loses_an_acknowledged_invalidation(name: &str, guarded: bool) -> Option<Option<u64>> {
    let cluster = RedisCluster::start_or_skip(name).await?;
    let redis = || {
        let redis = cluster.builder().deadline(DEADLINE);
        if guarded { redis } else { redis.trust_restarts() }
    };
    let store = numbers(MANY);
    let (writer, reader) = (
        Process::with(redis(), cache_aside(store.clone())),
        Process::with(redis(), cache_aside(store.clone())),
    );
    writer.get_all(&all()).await;
    let (key, slot) = key_on(&cluster, 0).await;
    let replica = cluster.replicas_of(slot).await[0];
    falls_behind(&cluster, replica, slot).await;
    soon(writer.cache.put(&key, 7)).await.expect("written");
    drop(writer); // a process that goes on would invalidate once more
    let lost = cluster.kill_primary_of(slot).await;
    cluster.resume(replica);
    cluster.take_over(replica, slot, lost, TakeOver::Unasked).await;
    until("the new one is asked", async || reader.finds(&[key]).await == 1).await;
    assert!(!guarded || reader.cache.stats().outlived > 0, "the old copy was there");
    Some(reader.get(key).await)
}

/// The replica has all that its primary has, and hears of nothing that comes from now on.
async fn falls_behind(cluster: &RedisCluster, replica: usize, slot: u16) {
    until("the replica has it", async || cluster.has(replica, slot).await).await;
    cluster.freeze(replica);
    // What is on its way to a frozen process is there when it thaws.
    let primary = cluster.primary_of(slot).await;
    cluster.command(primary, &["CLIENT", "KILL", "TYPE", "replica"]).await;
}

#[tokio::test]
async fn what_replication_lost_is_not_served() {
    let Some(answer) = loses_an_acknowledged_invalidation("what_replication_lost_is_not_served", true).await
    else {
        return;
    };
    assert_eq!(answer, Some(7));
}

/// And what becomes of it without the guard: the harness can tell.
#[tokio::test]
async fn what_replication_lost_is_served_where_restarts_are_trusted() {
    let name = "what_replication_lost_is_served_where_restarts_are_trusted";
    let Some(answer) = loses_an_acknowledged_invalidation(name, false).await else { return };
    assert_ne!(answer, Some(7));
}

/// A process that goes on sends the last invalidations again to whoever takes over, also where restarts are trusted.
#[tokio::test]
async fn what_replication_lost_is_dropped_again() {
    let Some(cluster) = RedisCluster::start_or_skip("what_replication_lost_is_dropped_again").await else {
        return;
    };
    let process =
        || Process::with(cluster.builder().deadline(DEADLINE).trust_restarts(), cache_aside(numbers(MANY)));
    let writer = process();
    writer.get_all(&all()).await;
    let (key, slot) = key_on(&cluster, 0).await;
    let replica = cluster.replicas_of(slot).await[0];
    falls_behind(&cluster, replica, slot).await;
    soon(writer.cache.invalidate(&key)).await.expect("dropped");
    let lost = cluster.kill_primary_of(slot).await;
    cluster.resume(replica);
    let new = cluster.take_over(replica, slot, lost, TakeOver::Unasked).await;
    until("the old copy is dropped", async || {
        // Any call that reaches the new node will do.
        writer.get_all(&all().into_iter().filter(|other| *other != key).collect::<Vec<_>>()).await;
        !cluster
            .keys("n:*")
            .await
            .iter()
            .any(|name| name.ends_with(&format!(":{key}")) && slot_of(name) == slot)
    })
    .await;
    assert_eq!(cluster.primary_of(slot).await, new);
}

#[tokio::test]
async fn a_fail_over_by_agreement_costs_nothing_but_copies() {
    let name = "a_fail_over_by_agreement_costs_nothing_but_copies";
    let Some(cluster) = RedisCluster::start_or_skip(name).await else { return };
    let process = Process::on(&cluster, cache_aside(numbers(MANY)));
    process.get_all(&all()).await;
    let (key, slot) = key_on(&cluster, 0).await;
    cluster.fail_over(slot, TakeOver::Agreed).await;
    assert_eq!(process.get(key).await, Some(key));
    until("it is kept again", async || process.finds(&all()).await == MANY).await;
    assert_eq!(process.heard.count("TierAway"), 0, "nobody was away");
}

/// There and back again: the first primary has its old number, and is not who it was.
#[tokio::test]
async fn a_primary_that_was_a_replica_meanwhile_is_another() {
    let name = "a_primary_that_was_a_replica_meanwhile_is_another";
    let Some(cluster) = RedisCluster::start_or_skip(name).await else { return };
    let process = Process::on(&cluster, cache_aside(numbers(MANY)));
    process.get_all(&all()).await;
    let (key, slot) = key_on(&cluster, 0).await;
    cluster.fail_over(slot, TakeOver::Agreed).await;
    let back = cluster.fail_over(slot, TakeOver::Agreed).await;
    assert_eq!(back, 0);
    let late = Process::on(&cluster, cache_aside(numbers(MANY)));
    assert_eq!(late.finds(&[key]).await, 0, "the copy was written in an earlier life");
    assert_eq!(late.cache.stats().outlived, 1);
}

#[tokio::test]
async fn a_frozen_node_is_waited_for_once() {
    let name = "a_frozen_node_is_waited_for_once";
    // So long that all is over before the others have noticed: from then on the whole cluster serves nobody for a moment.
    let options = ["--cluster-node-timeout", "3000"].map(str::to_owned).into();
    let plan = Plan { options, ..Plan::default() };
    let Some(cluster) = RedisCluster::start_or_skip_with(name, plan).await else { return };
    let process = Process::on(&cluster, cache_aside(numbers(MANY)));
    process.get_all(&all()).await;
    let (key, slot) = key_on(&cluster, 0).await;
    cluster.freeze(0);
    let begin = Instant::now();
    for _ in 0..100 {
        assert_eq!(process.get(key).await, Some(key));
        assert_eq!(process.get_all(&all()).await, values(&all()));
    }
    println!("100 rounds beside a frozen node: {:?}", begin.elapsed());
    assert!(process.cache.stats().hits > 100 * MANY / 3, "the others serve what they have");
    cluster.replaced(slot, 0).await;
    until("the one who took over is found", async || process.finds(&all()).await == MANY).await;
    cluster.resume(0);
    cluster.settled().await;
    assert_eq!(process.finds(&all()).await, MANY);
}

/// Writers and readers go on while a node is killed, one fails over by command, and slots move back and forth.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_old_is_served_while_the_cluster_changes() {
    let name = "nothing_old_is_served_while_the_cluster_changes";
    let Some(cluster) = RedisCluster::start_or_skip(name).await else { return };
    let (ledger, rows) = (Ledger::default(), 200);
    let store: FakeStore<u64, u64> = FakeStore::with((0..rows).map(|key| (key, 0)));
    (0..rows).for_each(|key| ledger.commit(key, Some(0)));
    let processes: Vec<_> =
        (0..3).map(|_| Arc::new(Process::on(&cluster, cache_aside(store.clone())))).collect();
    let (goes_on, reads, writes) =
        (Arc::new(AtomicBool::new(true)), Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let mut tasks = Vec::new();
    for (number, process) in processes.iter().enumerate() {
        let (process, ledger, goes_on) = (Arc::clone(process), ledger.clone(), Arc::clone(&goes_on));
        let writes = Arc::clone(&writes);
        tasks.push(tokio::spawn(async move {
            let mut value = number as u64;
            while goes_on.load(Ordering::Relaxed) {
                // Every process writes keys of its own, so that the ledger is in the order of the commits.
                let key = fastrand::u64(..rows / 3) * 3 + number as u64 % 3;
                if key >= rows {
                    continue;
                }
                value += 3;
                ledger.commit(key, Some(value));
                if let Ok(written) = soon(process.cache.put(&key, value)).await
                    && written.copies() == larder::Copies::Dropped
                {
                    ledger.acknowledge(key, Some(value));
                }
                writes.fetch_add(1, Ordering::Relaxed);
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }));
    }
    for reader in 0..6 {
        let (process, ledger) = (Arc::clone(&processes[reader % 3]), ledger.clone());
        let (goes_on, reads) = (Arc::clone(&goes_on), Arc::clone(&reads));
        tasks.push(tokio::spawn(async move {
            while goes_on.load(Ordering::Relaxed) {
                let key = fastrand::u64(..rows);
                let since = ledger.acknowledged(key);
                let answer = process.get(key).await;
                assert!(ledger.is_current(key, answer, since), "{key}: {answer:?} is older than {since}");
                reads.fetch_add(1, Ordering::Relaxed);
                tokio::task::yield_now().await;
            }
        }));
    }
    let slots: Vec<u16> = {
        processes[0].get_all(&(0..rows).collect::<Vec<_>>()).await;
        let mut slots: Vec<u16> = cluster.keys("n:*").await.iter().map(slot_of).collect();
        slots.sort_unstable();
        slots.dedup();
        slots
    };
    let mut moved = 0;
    for slot in slots.iter().take(24) {
        let from = cluster.primary_of(*slot).await;
        let others = cluster.primaries().await.into_iter().filter(|node| *node != from).collect::<Vec<_>>();
        cluster.migrate(*slot, others[moved % others.len()]).await;
        moved += 1;
    }
    cluster.fail_over(slots[0], TakeOver::Agreed).await;
    let slot = *slots.last().expect("slots");
    let lost = cluster.kill_primary_of(slot).await;
    cluster.replaced(slot, lost).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    goes_on.store(false, Ordering::Relaxed);
    for task in tasks {
        task.await.expect("no panic");
    }
    let sum = |of: fn(&larder::Stats) -> u64| processes.iter().map(|one| of(&one.cache.stats())).sum::<u64>();
    let (reads, writes) = (reads.load(Ordering::Relaxed), writes.load(Ordering::Relaxed));
    println!(
        "{reads} reads, {writes} writes, {} hits, {} fills refused, {} outlived, {} failures, {moved} slots moved",
        sum(|stats| stats.hits),
        sum(|stats| stats.fills_refused),
        sum(|stats| stats.outlived),
        sum(|stats| stats.tier_failures),
    );
    assert!(reads > 2_000 && writes > 500, "hardly anything happened: {reads} reads, {writes} writes");
    assert!(sum(|stats| stats.outlived) > 0 && sum(|stats| stats.hits) > 1_000);
}

#[tokio::test]
async fn a_node_is_no_server_of_its_own() {
    let Some(cluster) = RedisCluster::start_or_skip("a_node_is_no_server_of_its_own").await else { return };
    let redis = Redis::new(cluster.urls()[0].clone()).expect("a URL");
    let error = redis.ping().await.expect_err("refused");
    assert!(everything_in(&error).contains("RedisBuilder::cluster"), "{error}");
}

#[tokio::test]
async fn a_server_of_its_own_is_no_cluster() {
    let Some(server) = RedisServer::start_alone_or_skip("a_server_of_its_own_is_no_cluster").await else {
        return;
    };
    let redis = Redis::builder(server.url()).cluster([]).build().expect("a URL");
    let error = redis.ping().await.expect_err("refused");
    assert!(everything_in(&error).contains("without `cluster`"), "{}", everything_in(&error));
}

/// A node is asked who it is before a call when it was not for half a second; by one caller then, and by all after a second.
const TRUSTED: Duration = Duration::from_millis(1_100);

/// A primary hangs, is taken over from by a replica that has not heard of the last invalidation, follows it, and is the
/// primary again: all while a connection to it stays open, which knows it by its first life.
#[tokio::test]
async fn a_primary_that_comes_back_under_an_open_connection_is_another() {
    let name = "a_primary_that_comes_back_under_an_open_connection_is_another";
    let Some(cluster) = RedisCluster::start_or_skip(name).await else { return };
    let store = numbers(MANY);
    let writer = Process::on(&cluster, cache_aside(store.clone()));
    writer.get_all(&all()).await;
    let (key, slot) = key_on(&cluster, 0).await;
    let replica = cluster.replicas_of(slot).await[0];
    falls_behind(&cluster, replica, slot).await;
    let reader = Process::on(&cluster, cache_aside(store.clone()));
    reader.get_all(&all()).await;
    soon(writer.cache.put(&key, 7_777)).await.expect("written");
    drop(writer); // a process that goes on would invalidate once more
    cluster.freeze(0);
    cluster.resume(replica);
    cluster.take_over(replica, slot, 0, TakeOver::Unasked).await;
    cluster.resume(0);
    cluster.settled().await;
    cluster.fail_over(slot, TakeOver::Agreed).await;
    assert_eq!(cluster.primary_of(slot).await, 0);
    // All of this can be over within the time for which a node's word on who it is counts.
    tokio::time::sleep(TRUSTED).await;
    assert_eq!(reader.get(key).await, Some(7_777));
    assert!(reader.cache.stats().outlived > 0, "the old copy was there");
}
