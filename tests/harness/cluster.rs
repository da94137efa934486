//! A cluster forms, its replicas take over, and its slots move.

use super::support::redis_cluster::{Plan, RedisCluster, TakeOver, slot_of};
use super::support::resp::Reply;
use super::support::rights;

async fn start(test: &str, plan: Plan) -> Option<RedisCluster> {
    RedisCluster::start_or_skip_with(test, plan).await
}

/// Keys with this tag live in one slot.
const SLOT: &str = "{tag}";

fn key(number: u64) -> String {
    format!("{SLOT}:{number}")
}

async fn fill(cluster: &RedisCluster, keys: u64) {
    for number in 0..keys {
        let words = ["SET".to_owned(), key(number), number.to_string()];
        assert_eq!(cluster.command_for(SLOT, &words).await, Reply::ok());
    }
}

fn refusal(reply: Reply) -> String {
    match reply {
        Reply::Error(refusal) => refusal,
        other => panic!("no refusal: {other:?}"),
    }
}

#[test]
fn the_slot_of_a_key_is_the_servers() {
    assert_eq!(slot_of("123456789"), 0x31c3, "the published check value");
    assert_eq!(slot_of("foo"), 12_182, "as Redis documents it");
    assert_eq!(slot_of("{user1000}.following"), slot_of("user1000"));
    assert_eq!(slot_of("foo{{bar}}zap"), slot_of("{bar"));
    assert_eq!(slot_of("foo{bar}{zap}"), slot_of("bar"));
    assert_ne!(slot_of("foo{}{bar}"), slot_of("bar"));
}

#[tokio::test]
async fn a_cluster_forms() {
    let Some(cluster) = RedisCluster::start_or_skip("a_cluster_forms").await else { return };
    assert_eq!((cluster.len(), cluster.primaries().await), (6, vec![0, 1, 2]));
    for (slot, primary) in [(0, 0), (5_460, 0), (5_461, 1), (10_922, 2), (16_383, 2)] {
        assert_eq!(cluster.primary_of(slot).await, primary, "slot {slot}");
        assert_eq!(cluster.replicas_of(slot).await, [primary + 3], "slot {slot}");
    }
    for name in ["a", "b", "c", "d", "e", "f"] {
        assert_eq!(cluster.command_for(name, &["SET", name, "v"]).await, Reply::ok());
        let asked = Reply::Int(slot_of(name).into());
        assert_eq!(cluster.command(0, &["CLUSTER", "KEYSLOT", name]).await, asked);
    }
    assert_eq!(cluster.keys("*").await, ["a", "b", "c", "d", "e", "f"]);
    assert_eq!(cluster.command_on_all(&["PING"]).await.len(), 6);
    let elsewhere = (cluster.primary_of_key("a").await + 1) % 3;
    assert!(refusal(cluster.command(elsewhere, &["GET", "a"]).await).starts_with("MOVED "));
    assert_eq!(cluster.connection(0).ask(&["PING"]).expect("up"), Reply::Simple("PONG".to_owned()));
}

#[tokio::test]
async fn a_cluster_may_be_of_one() {
    let plan = Plan { primaries: 1, replicas: 0, ..Plan::default() };
    let Some(cluster) = start("a_cluster_may_be_of_one", plan).await else { return };
    assert_eq!((cluster.len(), cluster.primary_of(16_383).await), (1, 0));
    assert_eq!(cluster.command(0, &["SET", "k", "v"]).await, Reply::ok());
    cluster.restart(0).await;
    assert_eq!(cluster.command(0, &["GET", "k"]).await, Reply::Bulk(None), "empty, and still a cluster");
}

#[tokio::test]
async fn a_dropped_cluster_is_gone() {
    let plan = Plan { primaries: 1, replicas: 1, ..Plan::default() };
    let Some(cluster) = start("a_dropped_cluster_is_gone", plan).await else { return };
    let folders: Vec<_> = (0..2).map(|node| cluster.node(node).folder().to_owned()).collect();
    assert!(folders.iter().all(|folder| folder.exists()));
    let panicked = tokio::spawn(async move {
        assert_eq!(cluster.len(), 3, "there are two");
    });
    panicked.await.expect_err("it panics, with the cluster in its hands");
    assert!(folders.iter().all(|folder| !folder.exists()));
}

#[tokio::test]
async fn when_a_primary_is_killed_its_replica_takes_over() {
    let Some(cluster) = RedisCluster::start_or_skip("when_a_primary_is_killed").await else { return };
    let killed = cluster.kill_primary_of(0).await;
    let promoted = cluster.replaced(0, killed).await;
    assert_eq!((killed, promoted), (0, 3));
    let mut written = false;
    for name in ["a", "b", "c", "d"] {
        written |= cluster.primary_of_key(name).await == promoted;
        assert_eq!(cluster.command_for(name, &["SET", name, "v"]).await, Reply::ok());
    }
    assert!(written, "one of these lives there");
    cluster.restart(killed).await;
    assert_eq!((cluster.primary_of(0).await, cluster.replicas_of(0).await), (promoted, vec![killed]));
}

#[tokio::test]
async fn a_replica_takes_over_when_it_is_told_to() {
    let Some(cluster) = RedisCluster::start_or_skip("a_replica_takes_over_when_told_to").await else {
        return;
    };
    fill(&cluster, 1).await;
    let slot = slot_of(SLOT);
    let first = cluster.primary_of(slot).await;
    let second = cluster.fail_over(slot, TakeOver::Agreed).await;
    assert_ne!(first, second);
    assert_eq!(cluster.replicas_of(slot).await, [first]);
    assert_eq!(cluster.command_for(SLOT, &["GET", &key(0)]).await, Reply::bulk("0"), "nothing is lost");
    assert_eq!(cluster.fail_over(slot, TakeOver::Unasked).await, first);
    assert_eq!(cluster.fail_over(slot, TakeOver::Forced).await, second);
}

#[tokio::test]
async fn a_primary_that_was_frozen_steps_down() {
    let Some(cluster) = RedisCluster::start_or_skip("a_primary_that_was_frozen_steps_down").await else {
        return;
    };
    cluster.freeze(0);
    let promoted = cluster.replaced(0, 0).await;
    cluster.resume(0);
    cluster.settled().await;
    assert_eq!((cluster.primary_of(0).await, cluster.replicas_of(0).await), (promoted, vec![0]));
}

#[tokio::test]
async fn a_slot_moves_with_its_keys() {
    let plan = Plan { replicas: 0, password: Some("sesame".to_owned()), ..Plan::default() };
    let Some(cluster) = start("a_slot_moves_with_its_keys", plan).await else { return };
    fill(&cluster, 250).await;
    let (slot, from) = (slot_of(SLOT), cluster.primary_of_key(SLOT).await);
    let to = (from + 1) % 3;
    cluster.migrate(slot, to).await;
    assert_eq!(cluster.primary_of(slot).await, to);
    assert_eq!(cluster.command(from, &["DBSIZE"]).await, Reply::Int(0));
    assert_eq!(cluster.command(to, &["GET", &key(249)]).await, Reply::bulk("249"));
    assert_eq!(cluster.keys("*").await.len(), 250);
    assert!(refusal(cluster.command(from, &["GET", &key(0)]).await).starts_with("MOVED "));
}

#[tokio::test]
async fn half_way_through_a_move_who_asks_for_what_is_gone_is_sent_on() {
    let plan = Plan { replicas: 0, ..Plan::default() };
    let Some(cluster) = start("half_way_through_a_move", plan).await else { return };
    fill(&cluster, 10).await;
    let (slot, from) = (slot_of(SLOT), cluster.primary_of_key(SLOT).await);
    let to = (from + 1) % 3;
    let migration = cluster.open(slot, to).await;
    assert_eq!(migration.move_keys(4).await, 4);
    let left: Vec<_> = migration.keys_left(100).await;
    assert_eq!((left.len(), cluster.keys("*").await.len()), (6, 10));
    assert_eq!(cluster.primary_of(slot).await, from, "until it is handed over");

    let moved = (0..10).map(key).find(|key| !left.contains(&key.as_bytes().to_vec())).expect("four");
    let there = format!("ASK {slot} {}", cluster.node(to).address());
    assert_eq!(refusal(cluster.command(from, &["GET", &moved]).await), there);
    assert!(refusal(cluster.command(to, &["GET", &moved]).await).starts_with("MOVED "), "without ASKING");
    let mut asking = cluster.connection(to);
    assert_eq!(asking.ask(&["ASKING"]).expect("up"), Reply::ok());
    assert!(matches!(asking.ask(&["GET", &moved]).expect("up"), Reply::Bulk(Some(_))));
    assert!(matches!(cluster.command(from, &[b"GET", &*left[0]]).await, Reply::Bulk(Some(_))), "still there");
    let both = ["MGET".to_owned(), moved, String::from_utf8_lossy(&left[0]).into_owned()];
    assert!(refusal(cluster.command(from, &both).await).starts_with("TRYAGAIN "));

    migration.finish().await;
    assert_eq!((cluster.primary_of(slot).await, cluster.keys("*").await.len()), (to, 10));
}

/// Who may do what docs/redis.md lists, and no more, is told where the slots are, and may follow an ASK.
#[tokio::test]
async fn the_rights_for_a_cluster_are_enough_to_find_a_way_in_it() {
    let plan = Plan { primaries: 1, replicas: 0, ..Plan::default() };
    let Some(cluster) = start("the_rights_for_a_cluster", plan).await else { return };
    let mut user = cluster.connection(0);
    assert_eq!(user.ask(&["AUTH", rights::USER, rights::PASSWORD]).expect("up"), Reply::ok());
    assert!(matches!(user.ask(&["CLUSTER", "SLOTS"]).expect("up"), Reply::Array(_)));
    assert_eq!(user.ask(&["ASKING"]).expect("up"), Reply::ok());
    assert_eq!(user.ask(&["SET", "k", "v"]).expect("up"), Reply::ok());
    for forbidden in
        [&["CLUSTER", "NODES"][..], &["CLUSTER", "FAILOVER"], &["READONLY"], &["ROLE"], &["KEYS", "*"]]
    {
        let refusal = refusal(user.ask(forbidden).expect("up"));
        assert!(refusal.starts_with("NOPERM "), "{forbidden:?}: {refusal}");
    }
}
