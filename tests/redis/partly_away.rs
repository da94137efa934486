//! Clusters and sentinels of which a part is away, hangs or is on its way: the other part is served as ever, nobody waits
//! for what does not come, and nothing is forgotten that was to be dropped.

use std::time::{Duration, Instant};

use crate::support::numbers;
use crate::support::process::{DEADLINE, Process, key_in};
use crate::support::redis_cluster::{Plan, RedisCluster, TakeOver, slot_of};
use crate::support::rights;
use crate::support::sentinel::{SERVICE, Sentinels};
use crate::support::watching::{soon, until};
use larder::testing::{Call, FakeStore};
use larder::tier::redis::RedisBuilder;
use larder::tier::{Acquired, Purpose, Tier};
use larder::{Redis, cache_aside};

const MANY: u64 = 500;

fn on(cluster: &RedisCluster, store: &FakeStore<u64, u64>) -> Process {
    with(cluster.builder(), store)
}

/// Batches are big here, and may take their time.
fn with(redis: RedisBuilder, store: &FakeStore<u64, u64>) -> Process {
    let process = Process::with(redis.deadline(DEADLINE), cache_aside(store.clone()));
    Process { longest_batch: Duration::from_secs(20), ..process }
}

fn all() -> Vec<u64> {
    (0..MANY).collect()
}

async fn keys_on(cluster: &RedisCluster, node: usize) -> Vec<u64> {
    let mut keys = Vec::new();
    for name in cluster.keys("n:*").await {
        if cluster.primary_of(slot_of(&name)).await == node {
            keys.push(key_in(&name));
        }
    }
    keys
}

/// A batch begins with a key of a node to which no connection is up and none comes up.
#[tokio::test]
async fn a_node_that_hangs_takes_no_time_from_the_others() {
    let name = "a_node_that_hangs_takes_no_time_from_the_others";
    let Some(cluster) = RedisCluster::start_or_skip(name).await else { return };
    let (other, fresh) = (on(&cluster, &numbers(MANY)), on(&cluster, &numbers(MANY)));
    other.get_all(&all()).await;
    let (slow, one, two) =
        (keys_on(&cluster, 0).await, keys_on(&cluster, 1).await, keys_on(&cluster, 2).await);
    cluster.freeze(0);
    let keys: Vec<u64> = [&slow[..5], &one[..40], &two[..40]].concat();
    soon(fresh.cache.invalidate_many(&keys)).await.expect_err("one node is away");
    let left: Vec<u64> = cluster.keys("n:*").await.iter().map(|name| key_in(name)).collect();
    let left = keys[5..].iter().filter(|key| left.contains(key)).count();
    cluster.resume(0);
    assert_eq!(left, 0, "of 80 keys on nodes that answer");
}

/// More keys than one part of a batch has; some of the first part are on a node that is away.
#[tokio::test]
async fn all_keys_of_the_other_nodes_are_dropped() {
    let name = "all_keys_of_the_other_nodes_are_dropped";
    let Some(cluster) = RedisCluster::start_or_skip(name).await else { return };
    let one = on(&cluster, &numbers(MANY));
    one.get_all(&all()).await;
    cluster.freeze(0);
    soon(one.cache.invalidate_many(&all())).await.expect_err("one node is away");
    let left = cluster.keys("n:*").await.len();
    cluster.resume(0);
    assert_eq!(left, 0, "of the keys on nodes that answer");
}

#[tokio::test]
async fn a_clear_clears_the_nodes_that_are_there() {
    let name = "a_clear_clears_the_nodes_that_are_there";
    let Some(cluster) = RedisCluster::start_or_skip(name).await else { return };
    for away in 0..3 {
        let one = on(&cluster, &numbers(MANY));
        until("all is kept", async || one.finds(&all()).await == MANY).await;
        cluster.freeze(away);
        soon(one.cache.clear()).await.expect_err("one node is away");
        let left = cluster.keys("n:*").await.len();
        cluster.resume(away);
        assert_eq!(left, 0, "while node {away} was away");
        cluster.settled().await;
    }
}

/// `a slot moves to a node that has none yet · a reader loads a key there · the row changes · clear · read`.
#[tokio::test]
async fn a_clear_finds_what_is_on_its_way_to_a_new_node() {
    let name = "a_clear_finds_what_is_on_its_way_to_a_new_node";
    let plan = Plan { replicas: 0, ..Plan::default() };
    let Some(cluster) = RedisCluster::start_or_skip_with(name, plan).await else { return };
    for node in [2, 0, 1] {
        cluster.node(node).order(&["CLUSTER", "DELSLOTSRANGE", "10922", "16383"]).await;
    }
    cluster.node(1).order(&["CLUSTER", "ADDSLOTSRANGE", "10922", "16383"]).await;
    cluster.settled().await;
    assert!(!cluster.primaries().await.contains(&2), "it has no slots");
    let store = numbers(MANY);
    let (one, other) = (on(&cluster, &store), on(&cluster, &store));
    one.get_all(&all()).await;
    other.get_all(&all()).await;
    let key = keys_on(&cluster, 0).await[0];
    let redis_name = cluster.keys("n:*").await.into_iter().find(|name| key_in(name) == key).expect("there");
    let moving = cluster.open(slot_of(&redis_name), 2).await;
    moving.move_keys(1_000).await;
    one.get_all(&[key]).await;
    assert_eq!(one.finds(&[key]).await, 1, "kept where it is now");
    store.set_row(key, 777_777);
    soon(other.cache.clear()).await.expect("cleared");
    assert_eq!(one.get_all(&[key]).await, [Some(777_777)]);
}

/// A node is away for a moment while a batch is loaded: its leases are given back, and nobody waits for them.
#[tokio::test]
async fn leases_of_a_node_that_was_away_for_a_moment_are_given_back() {
    let name = "leases_of_a_node_that_was_away_for_a_moment_are_given_back";
    let Some(cluster) = RedisCluster::start_or_skip(name).await else { return };
    let store = numbers(MANY);
    let (one, other) = (on(&cluster, &store), on(&cluster, &numbers(MANY)));
    other.get_all(&[1]).await;
    one.get_all(&all()).await;
    soon(one.cache.clear()).await.expect("cleared");
    let gate = store.gate_after(Call::Load);
    let keys = all();
    let trouble = async {
        gate.arrived(1).await;
        cluster.freeze(0);
        gate.open();
    };
    let begin = Instant::now();
    tokio::join!(one.get_all(&keys), trouble);
    println!("loaded after {:?}", begin.elapsed());
    cluster.resume(0);
    let begin = Instant::now();
    other.get_all(&all()).await;
    assert!(begin.elapsed() < Duration::from_secs(2), "others waited: {:?}", begin.elapsed());
}

/// A slot that its node has lost, while the others go on sending everybody there: the cluster does not serve.
#[tokio::test]
async fn a_cluster_that_is_down_is_away_once_without_info_too() {
    let name = "a_cluster_that_is_down_is_away_once_without_info_too";
    let plan = Plan { replicas: 0, ..Plan::default() };
    let Some(cluster) = RedisCluster::start_or_skip_with(name, plan).await else { return };
    cluster.command_on_all(&["ACL", "SETUSER", rights::USER, "-info"]).await;
    let store = numbers(MANY);
    let one = with(cluster.builder().trust_restarts(), &store);
    one.get_all(&all()).await;
    let names = cluster.keys("n:*").await;
    let mut slot = None;
    for name in &names {
        if cluster.primary_of(slot_of(name)).await == 0 {
            slot = Some(slot_of(name));
        }
    }
    cluster.node(0).order(&["CLUSTER", "DELSLOTS", &slot.expect("a slot").to_string()]).await;
    let begin = Instant::now();
    while begin.elapsed() < Duration::from_secs(2) {
        one.get_all(&all()).await;
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let away = one.heard.count("TierAway");
    assert!(away <= 2, "away {away} times in two seconds");
}

/// Two of three sentinels are gone without a word: the third still knows.
#[tokio::test]
async fn one_sentinel_of_three_is_enough() {
    let Some(sentinels) = Sentinels::start_or_skip("one_sentinel_of_three_is_enough").await else { return };
    sentinels.sentinel(0).freeze();
    sentinels.sentinel(1).freeze();
    let url = format!("redis://{}:{}@{SERVICE}{}", rights::USER, rights::PASSWORD, rights::protocol());
    let addresses: Vec<String> = sentinels.addresses().iter().map(ToString::to_string).collect();
    let redis =
        Redis::builder(url).sentinels(addresses.iter().map(String::as_str)).build().expect("addresses");
    until("it answers", async || redis.ping().await.is_ok()).await;
    sentinels.sentinel(0).resume();
    sentinels.sentinel(1).resume();
}

/// The first runtime, with the tasks that look after the cluster, goes; another one goes on.
#[test]
fn a_cluster_heals_in_another_runtime() {
    let runtime =
        || tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("one");
    let (first, second) = (runtime(), runtime());
    let Some(cluster) = second.block_on(RedisCluster::start_or_skip("a_cluster_heals_in_another_runtime"))
    else {
        return;
    };
    let one = on(&cluster, &numbers(MANY));
    first.block_on(async {
        one.get_all(&all()).await;
        (0..cluster.len()).for_each(|node| cluster.freeze(node));
        one.get_all(&all()).await;
        one.get_all(&all()).await;
    });
    first.shutdown_background();
    second.block_on(async {
        one.get_all(&all()).await;
        (0..cluster.len()).for_each(|node| cluster.resume(node));
        until("all is kept", async || one.finds(&all()).await == MANY).await;
        until("it is said to be back", async || one.heard.count("TierBack") == one.heard.count("TierAway"))
            .await;
        assert_eq!(one.heard.count("TierAway"), 1);
    });
}

/// One node is gone for long, and much is owed to it; another one is away for a moment. What is owed to that is paid.
#[tokio::test]
async fn what_is_owed_to_one_node_does_not_wait_for_another() {
    let name = "what_is_owed_to_one_node_does_not_wait_for_another";
    let options = ["--cluster-require-full-coverage", "no"].map(str::to_owned).to_vec();
    let plan = Plan { replicas: 0, options, ..Plan::default() };
    let Some(cluster) = RedisCluster::start_or_skip_with(name, plan).await else { return };
    let store = numbers(4_000);
    let (one, other) = (on(&cluster, &store), on(&cluster, &store));
    let keys: Vec<u64> = (0..4_000).collect();
    one.get_all(&keys).await;
    other.get_all(&keys).await;
    let (gone, away) = (keys_on(&cluster, 0).await, keys_on(&cluster, 1).await[0]);
    assert!(gone.len() > 1_000);
    cluster.kill(0);
    soon(one.cache.invalidate_many(&gone)).await.expect_err("it is away");
    cluster.freeze(1);
    soon(one.cache.put(&away, 777_777)).await.expect("written");
    // What it was sent is still there when it thaws: a second one, which is not sent.
    let second = keys_on(&cluster, 1).await;
    assert!(second.is_empty(), "it cannot be asked");
    cluster.resume(1);
    until("what is owed to the one that is back is paid", async || one.cache.stats().paid > 0).await;
    assert!(
        one.cache.stats().owed - one.cache.stats().paid >= gone.len() as u64,
        "the other one is still gone"
    );
    one.get_all(&[away]).await;
    assert_eq!(one.finds(&[away]).await, 1, "the key of a node that is there is read there");
}

/// How long big batches take.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn big_batches() {
    let Some(cluster) = RedisCluster::start_or_skip("big_batches").await else { return };
    let store = numbers(5_000);
    let (one, other) = (on(&cluster, &store), on(&cluster, &store));
    let keys: Vec<u64> = (0..5_000).collect();
    for (what, who) in [("loads", &one), ("first hits", &other), ("hits", &other)] {
        let begin = Instant::now();
        who.get_all(&keys).await;
        println!("{what}: {:?}", begin.elapsed());
    }
    let begin = Instant::now();
    soon(one.cache.invalidate_many(&keys)).await.expect("dropped");
    println!("invalidate: {:?}", begin.elapsed());
    other.get_all(&keys).await;
    let begin = Instant::now();
    soon(one.cache.clear()).await.expect("cleared");
    println!("clear: {:?}", begin.elapsed());
    assert_eq!((one.heard.count("TierAway"), other.heard.count("TierAway")), (0, 0));
}

/// A node that says it is on another machine: nobody told us to send the password there in plain text.
#[tokio::test]
async fn a_password_does_not_follow_a_redirect_to_another_machine() {
    let name = "a_password_does_not_follow_a_redirect_to_another_machine";
    let plan = Plan { replicas: 0, ..Plan::default() };
    let Some(cluster) = RedisCluster::start_or_skip_with(name, plan).await else { return };
    let other = on(&cluster, &numbers(MANY));
    other.get_all(&all()).await;
    let (here, there) = (keys_on(&cluster, 0).await, keys_on(&cluster, 1).await);
    cluster.node(1).order(&["CONFIG", "SET", "cluster-announce-ip", "10.254.254.254"]).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let one = on(&cluster, &numbers(MANY));
    let begin = Instant::now();
    one.get_all(&all()).await;
    assert_eq!(one.finds(&there).await, 0);
    assert_eq!(one.finds(&here).await, here.len() as u64);
    let heard = one.heard.everything();
    assert!(heard.contains("plain text"), "{heard}");
    assert!(!heard.contains("10.254") && !heard.contains(rights::PASSWORD), "{heard}");
    println!("{:?}", begin.elapsed());
}

/// A batch that is given up while its leases are being taken leaves none.
#[tokio::test]
async fn a_batch_that_is_given_up_leaves_no_leases() {
    let name = "a_batch_that_is_given_up_leaves_no_leases";
    let Some(cluster) = RedisCluster::start_or_skip(name).await else { return };
    let tier = |name| cluster.builder().build().expect("addresses").namespace::<u64>(name);
    let (one, other) = (tier("n"), tier("n"));
    let keys: Vec<u64> = (0..5_000).collect();
    _ = other.get_many(&keys).await;
    let acquired = one.acquire_many(&keys, Purpose::Fill);
    let given_up = tokio::time::timeout(Duration::from_millis(60), acquired).await.is_err();
    assert!(given_up, "it was too fast for this test");
    tokio::time::sleep(Duration::from_millis(700)).await;
    let answers = other.acquire_many(&keys, Purpose::Fill).await.expect("answers");
    let busy = answers.iter().filter(|answer| matches!(answer, Acquired::Busy(_))).count();
    assert_eq!(busy, 0, "leases of nobody");
}

/// Who takes over stumbles while the last invalidations are sent to it again.
#[tokio::test]
async fn what_is_sent_again_reaches_a_server_that_stumbles() {
    let name = "what_is_sent_again_reaches_a_server_that_stumbles";
    let Some(cluster) = RedisCluster::start_or_skip(name).await else { return };
    let store = numbers(3_000);
    let (one, other) = (on(&cluster, &store), on(&cluster, &store));
    let keys: Vec<u64> = (0..3_000).collect();
    other.get_all(&keys).await;
    let slot = slot_of(cluster.keys("n:*").await.iter().find(|name| slot_of(name) < 5_000).expect("one"));
    soon(one.cache.invalidate_many(&keys)).await.expect("dropped");
    let new = cluster.fail_over(slot, TakeOver::Agreed).await;
    until("all is kept", async || other.finds(&keys).await == 3_000).await;
    let there = keys_on(&cluster, new).await;
    one.get_all(&there[..1]).await;
    cluster.freeze(new);
    tokio::time::sleep(Duration::from_millis(600)).await;
    cluster.resume(new);
    let begin = Instant::now();
    while begin.elapsed() < Duration::from_secs(8) && keys_on(&cluster, new).await.len() > 10 {
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let left = keys_on(&cluster, new).await.len();
    assert!(left <= 10, "{left} of {} copies were not dropped again", there.len());
}
