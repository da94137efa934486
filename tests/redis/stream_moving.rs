//! The slot of a shard is on its way to another node, and what a script asks for may be here, there, or not yet made.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use crate::support::behind::put;
use crate::support::redis_cluster::{Plan, RedisCluster, slot_of};
use crate::support::resp::{Connection, Reply};
use crate::support::rights;
use crate::support::stream::{NAME, settings, stream};
use larder::journal::Durability;
use larder::testing::{Call, FakeStore, Trouble};
use larder::tier::redis::stream_scripts_with_time_as_argument;
use larder::{Loader, Redis, Store};

const PLAN: Plan = Plan { primaries: 3, replicas: 0, options: Vec::new(), password: None };

/// What all names of the first shard begin with.
fn prefix() -> String {
    format!("{NAME}:journal:{{b000}}:")
}

fn slot() -> u16 {
    slot_of(prefix())
}

fn client(cluster: &RedisCluster) -> Redis {
    let nodes: Vec<_> = cluster.addresses().iter().map(ToString::to_string).collect();
    let first = format!("redis://{}{}", nodes[0], rights::protocol());
    Redis::builder(&first).cluster(nodes.iter().map(String::as_str)).build().unwrap()
}

/// `W: 10 · the slot is opened · W: 11, what it replaces goes, and what has gone cannot be made anew here` has left nothing to
/// be read: neither 10 nor 11, but what the store had before.
#[tokio::test]
async fn a_key_that_is_written_again_while_its_slot_is_on_its_way_is_read_no_older() {
    let test = "a_key_that_is_written_again_while_its_slot_is_on_its_way_is_read_no_older";
    let Some(cluster) = RedisCluster::start_or_skip_with(test, PLAN).await else { return };
    let store = FakeStore::with([(1, 1)]);
    store.always(Call::Commit, Some(Trouble::Transient));
    let journal = stream(&client(&cluster)).durability(Durability::Memory).shards(1);
    let behind = settings(&store, journal).store().unwrap();
    put(&behind, 1, 10).await;
    assert_eq!(behind.load(&1).await.unwrap(), Some(10));
    let migration = cluster.open(slot(), (cluster.primary_of(slot()).await + 1) % 3).await;
    let again = behind.save(&1, &11).await;
    migration.abandon().await;
    let read = behind.load(&1).await.unwrap();
    match again {
        Ok(_) => assert_eq!(read, Some(11)),
        Err(_) => assert!([Some(10), Some(11)].contains(&read), "{read:?}"),
    }
}

/// One node of a cluster, and the scripts as it is sent them.
struct Node {
    connection: Connection,
    scripts: Vec<(&'static str, String)>,
}

impl Node {
    fn run(&mut self, script: &str, key: Option<&str>, arguments: &[&str]) -> Reply {
        let (_, source) = self.scripts.iter().find(|(name, _)| *name == script).unwrap();
        let mut keys: Vec<String> = ["meta", "log"].map(|name| prefix() + name).into();
        keys.extend(key.map(|key| prefix() + "p:" + key));
        let count = keys.len().to_string();
        let words = ["EVAL", source, &count].into_iter().chain(keys.iter().map(String::as_str));
        let words: Vec<&str> = words.chain(arguments.iter().copied()).collect();
        self.connection.ask(&words).unwrap()
    }

    fn append(&mut self, life: &str, key: &str, now: &str) {
        let reply = self.run("append", Some(key), &[life, "0", "1", key, "record", "0", "0", "0", now]);
        assert!(matches!(reply, Reply::Array(_)), "{reply:?}");
    }

    /// All that there is of the shard, but for what has gone elsewhere.
    fn has(&mut self) -> [Reply; 3] {
        let ask = |words: &[&str]| self.connection.ask(words).unwrap();
        let (meta, log, list) = (prefix() + "meta", prefix() + "log", prefix() + "p:a");
        [["HGETALL", &meta].as_slice(), &["XRANGE", &log, "-", "+"], &["LRANGE", &list, "0", "-1"]].map(ask)
    }
}

/// An owner meets a server of which it gives entries other numbers, and what waits for one of their keys is elsewhere.
#[tokio::test]
async fn an_owner_that_finds_half_of_a_shard_changes_nothing() {
    let test = "an_owner_that_finds_half_of_a_shard_changes_nothing";
    let Some(cluster) = RedisCluster::start_or_skip_with(test, PLAN).await else { return };
    let from = cluster.primary_of(slot()).await;
    let to = (from + 1) % 3;
    let scripts = stream_scripts_with_time_as_argument();
    let mut node = Node { connection: cluster.connection(from), scripts };
    node.append("1", "a", "100");
    node.run("collect", None, &["1", "1", "0", "10", "0", "101"]);
    node.append("2", "a", "102");
    node.append("2", "b", "103");
    let migration = cluster.open(slot(), to).await;
    let (port, list) = (cluster.node(to).address().port().to_string(), prefix() + "p:b");
    cluster.node(from).order(&["MIGRATE", "127.0.0.1", &port, &list, "0", "5000"]).await;
    let before = node.has();
    let refused = node.run("collect", None, &["2", "1", "200", "10", "0", "201"]);
    assert!(matches!(&refused, Reply::Error(_)), "{refused:?}");
    assert_eq!(node.has(), before);
    migration.finish().await;
}
