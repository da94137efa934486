//! A rolling update to a new schema of the value, and its rollback: old and new processes side by side on one server.

use std::collections::HashMap;
use std::time::Duration;

use crate::support::MINUTE;
use crate::support::redis_server::RedisServer;
use crate::support::watching::soon;
use larder::testing::FakeStore;
use larder::tier::redis::Namespace;
use larder::{LayeredCache, StoreError, load_fn, read_through};
use serde::{Deserialize, Serialize};

const KEYS: u64 = 200;

/// What the store has: a number that every write raises.
type Rows = FakeStore<u64, u64>;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct OldUser {
    number: u64,
}

/// The new form cannot read the old one by itself: it lacks a field.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct NewUser {
    number: u64,
    shown_as: String,
}

impl NewUser {
    fn of(number: u64) -> Self {
        Self { number, shown_as: format!("user {number}") }
    }
}

/// A process of either version. Its rows are everybody's.
enum Process {
    Old(LayeredCache<u64, OldUser>),
    New(LayeredCache<u64, NewUser>),
}

impl Process {
    async fn old(server: &RedisServer, rows: &Rows) -> Self {
        let process = Self::Old(cache(rows, tier(server), |number| OldUser { number }));
        process.meet_all_nodes().await;
        process
    }

    async fn new(server: &RedisServer, rows: &Rows) -> Self {
        let tier = tier(server).schema(2).accepts(1, |old: OldUser| NewUser::of(old.number));
        let process = Self::New(cache(rows, tier, NewUser::of));
        process.meet_all_nodes().await;
        process
    }

    /// A process that meets a node of a cluster drops once more what it has dropped lately, in case that node took over
    /// from another: nothing yet.
    async fn meet_all_nodes(&self) {
        let nobodys: Vec<u64> = (KEYS..2 * KEYS).collect();
        match self {
            Self::Old(cache) => soon(cache.invalidate_many(&nobodys)).await.expect("dropped"),
            Self::New(cache) => soon(cache.invalidate_many(&nobodys)).await.expect("dropped"),
        }
    }

    fn is_new(&self) -> bool {
        matches!(self, Self::New(_))
    }

    /// The number of the user, who must be whole.
    async fn read(&self, key: u64) -> Option<u64> {
        match self {
            Self::Old(cache) => soon(cache.get(&key)).await.expect("answered").map(|user| user.number),
            Self::New(cache) => {
                let user = soon(cache.get(&key)).await.expect("answered")?;
                assert_eq!(user, NewUser::of(user.number), "an upgraded user is like any other");
                Some(user.number)
            }
        }
    }

    async fn write(&self, rows: &Rows, key: u64, number: u64) {
        let write = || async {
            rows.set_row(key, number);
            Ok::<_, StoreError>(())
        };
        match self {
            Self::Old(cache) => _ = soon(cache.write(&[key], write)).await.expect("written"),
            Self::New(cache) => _ = soon(cache.write(&[key], write)).await.expect("written"),
        }
    }

    fn stats(&self) -> larder::Stats {
        match self {
            Self::Old(cache) => cache.stats(),
            Self::New(cache) => cache.stats(),
        }
    }
}

fn tier<V>(server: &RedisServer) -> Namespace<V> {
    let redis = server.builder().deadline(Duration::from_secs(2)).build().expect("a URL");
    redis.namespace("user")
}

/// A cache of users made from `rows`.
fn cache<V>(rows: &Rows, tier: Namespace<V>, user: fn(u64) -> V) -> LayeredCache<u64, V>
where
    V: larder::Value + Serialize + serde::de::DeserializeOwned,
{
    let rows = rows.clone();
    let load = load_fn(move |key: u64| {
        let rows = rows.clone();
        async move { Ok::<_, StoreError>(rows.row(&key).map(user)) }
    });
    read_through(load).tier(tier).ttl(MINUTE).jitter(0.0).build().expect("complete")
}

/// Which version has kept a key's copy, if any; by that it is known which reads load.
#[derive(Default)]
struct Model {
    kept_by_new: HashMap<u64, bool>,
    /// Loads that there would have been with one version alone.
    needed: u64,
    /// Loads of old processes where a new one had kept a copy.
    extra: u64,
    fills_by_new: u64,
}

impl Model {
    fn read(&mut self, key: u64, by_new: bool) {
        match self.kept_by_new.get(&key) {
            Some(kept_by_new) if by_new || !kept_by_new => return,
            Some(_) => self.extra += 1,
            None => self.needed += 1,
        }
        self.fills_by_new += u64::from(by_new);
        self.kept_by_new.insert(key, by_new);
    }

    fn write(&mut self, key: u64) {
        self.kept_by_new.remove(&key);
    }
}

/// Random reads and writes by the processes in random order, one after the other: whatever is read is the store's.
async fn traffic(processes: &[Process], rows: &Rows, model: &mut Model, calls: u64) {
    for _ in 0..calls {
        let process = &processes[fastrand::usize(..processes.len())];
        let key = fastrand::u64(..KEYS);
        if fastrand::u8(..10) == 0 {
            let number = rows.row(&key).expect("a row") + 1;
            process.write(rows, key, number).await;
            model.write(key);
        }
        assert_eq!(
            process.read(key).await,
            rows.row(&key),
            "key {key}, read by a new process: {}",
            process.is_new()
        );
        model.read(key, process.is_new());
    }
}

fn loads(processes: &[Process]) -> u64 {
    processes.iter().map(|process| process.stats().loads).sum()
}

fn assert_nothing_went_wrong(processes: &[Process]) {
    for process in processes {
        let stats = process.stats();
        assert_eq!((stats.tier_failures, stats.load_failures, stats.write_failures), (0, 0, 0));
        assert_eq!((stats.waited, stats.fills_refused, stats.unfit, stats.outlived), (0, 0, 0, 0));
        assert!(!process.is_new() || stats.unreadable == 0, "the new version reads whatever there is");
    }
}

#[tokio::test]
async fn an_update_and_its_rollback_serve_nothing_wrong_and_load_little_more() {
    let name = "an_update_and_its_rollback_serve_nothing_wrong_and_load_little_more";
    let Some(server) = RedisServer::start_or_skip(name).await else { return };
    let rows: Rows = FakeStore::with((0..KEYS).map(|key| (key, key * 1_000)));
    let mut model = Model::default();

    let mut fleet = vec![Process::old(&server, &rows).await, Process::old(&server, &rows).await];
    traffic(&fleet, &rows, &mut model, 1_000).await;
    assert_eq!(model.extra, 0);
    fleet.push(Process::new(&server, &rows).await);
    fleet.push(Process::new(&server, &rows).await);
    traffic(&fleet, &rows, &mut model, 4_000).await;
    assert_nothing_went_wrong(&fleet);
    let extra = model.extra;
    // A new process loads what it would have to load anyway. An old one takes what a new one has kept for nothing, loads
    // it, and by that makes it a copy that both can read: it loads each fill of a new process once more at the most.
    assert_eq!(loads(&fleet), model.needed + extra, "and nothing else");
    assert!(extra <= model.fills_by_new, "{extra} extra loads for {} fills", model.fills_by_new);
    assert!(extra > 0, "the two versions met");
    println!(
        "5,000 reads: {} loads needed, {extra} more; {} fills by new processes",
        model.needed, model.fills_by_new
    );

    let back = &fleet[..2];
    for key in 0..KEYS {
        assert_eq!(back[0].read(key).await, rows.row(&key));
        model.read(key, false);
    }
    assert!(model.extra - extra <= KEYS, "the rollback loads each key once at the most");
    println!("rollback: {} extra loads for {KEYS} keys", model.extra - extra);
    let before = loads(&fleet);
    for key in 0..KEYS {
        assert_eq!(back[1].read(key).await, rows.row(&key));
    }
    assert_eq!(loads(&fleet), before, "everything is kept in the old form again");
    traffic(back, &rows, &mut model, 500).await;
    assert_nothing_went_wrong(&fleet);
    assert_eq!(loads(&fleet), model.needed + model.extra);
}

/// The rest of the update: once the old processes are gone nothing is loaded for its form, old copies included.
#[tokio::test]
async fn when_all_are_new_nothing_is_loaded_again() {
    let Some(server) = RedisServer::start_or_skip("when_all_are_new_nothing_is_loaded_again").await else {
        return;
    };
    let rows: Rows = FakeStore::with((0..KEYS).map(|key| (key, key * 1_000)));
    let old = Process::old(&server, &rows).await;
    let mut model = Model::default();
    traffic(std::slice::from_ref(&old), &rows, &mut model, 500).await;
    let kept = model.kept_by_new.len() as u64;
    let new = [Process::new(&server, &rows).await, Process::new(&server, &rows).await];
    for key in 0..KEYS {
        assert_eq!(new[0].read(key).await, rows.row(&key));
        assert_eq!(new[1].read(key).await, rows.row(&key));
    }
    assert_eq!(loads(&new), KEYS - kept);
    assert_nothing_went_wrong(&new);
}

/// All processes at once, each key written by one of them at a time: no read is older than the last write that was
/// answered before it began.
#[tokio::test]
async fn both_versions_at_once_serve_nothing_old() {
    let Some(server) = RedisServer::start_or_skip("both_versions_at_once_serve_nothing_old").await else {
        return;
    };
    let rows: Rows = FakeStore::with((0..KEYS).map(|key| (key, 0)));
    let answered = Rows::with((0..KEYS).map(|key| (key, 0)));
    let readers = (0..8).map(|n| {
        let (server, rows, answered) = (&server, rows.clone(), answered.clone());
        async move {
            let process = if n % 2 == 0 {
                Process::old(server, &rows).await
            } else {
                Process::new(server, &rows).await
            };
            for _ in 0..400 {
                let key = fastrand::u64(..20);
                if key % 8 == n && fastrand::bool() {
                    let number = rows.row(&key).expect("a row") + 1;
                    process.write(&rows, key, number).await;
                    answered.set_row(key, number);
                }
                let since = answered.row(&key).expect("a row");
                let read = process.read(key).await.expect("a row");
                assert!(read >= since, "{read} was read after {since} had been written");
            }
            process
        }
    });
    let fleet = futures_util::future::join_all(readers).await;
    assert!(fleet.iter().all(|process| process.stats().tier_failures == 0));
}
