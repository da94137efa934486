//! What does write-behind gain over writing through, and what does it cost?
//!
//! Stores are real ones, with the same settings on both sides: SQLite in a file, `synchronous = FULL`; PostgreSQL with
//! `fsync` and `synchronous_commit` on, where it is installed; a Redis that syncs every write, and one that syncs once a
//! second, on the same disk. Rows are of 1 KiB, keys distinct. What is compared
//! runs in turns, [`ROUNDS`] times, and the median of the ratios counts.

mod support;

#[path = "../tests/support/mod.rs"]
mod servers;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use futures_util::future::join_all;
use larder::journal::{Durability, Journal, LocalLog, RedisStream, Volatile};
use larder::sqlx::{Kind, PostgresStore, SqliteStore, Table};
use larder::store::TransactionalStore;
use larder::{AtLimit, Change, Loader, Redis, Store, StoreError, WriteBehind};
use servers::postgres::Postgres;
use servers::redis_server::{self, RedisServer};
use servers::sqlite::Sqlite;
use sqlx::postgres::PgPoolOptions;
use sqlx::sqlite::{SqlitePoolOptions, SqliteSynchronous};
use support::Case;
use tokio::runtime::Runtime;

const HOUR: Duration = Duration::from_secs(3_600);
/// Keys that are written over and over.
const KEYS: u64 = 100_003;
/// How many writes wait before they are brought to the store.
const WINDOW: u64 = 5_000;

/// Takes everything and does nothing: what is left is the cost of waiting.
struct Nothing;

#[async_trait]
impl Loader<u64, Arc<str>> for Nothing {
    async fn load(&self, _key: &u64) -> Result<Option<Arc<str>>, StoreError> {
        Ok(None)
    }
}

#[async_trait]
impl Store<u64, Arc<str>> for Nothing {
    async fn save(&self, _key: &u64, _value: &Arc<str>) -> Result<larder::Saved<Arc<str>>, StoreError> {
        Ok(().into())
    }

    async fn delete(&self, _key: &u64) -> Result<(), StoreError> {
        Ok(())
    }

    async fn apply(&self, _changes: &[Change<u64, Arc<str>>]) -> Result<(), StoreError> {
        Ok(())
    }
}

fn main() {
    let runtime = Arc::new(
        tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime starts"),
    );
    if !support::is_wanted() {
        return;
    }
    enqueue(&runtime);
    let many = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime starts");
    many.block_on(async {
        let Some(streams) = Streams::start_or_skip().await else { return };
        if let Some(server) = Postgres::start_with_or_skip("benches/write_behind.rs", &DURABLE).await {
            postgres(&server, &streams).await;
        }
        sqlite(&streams).await;
        stopped().await;
    });
}

/// As a service has it.
const DURABLE: [&str; 2] = ["fsync=on", "shared_buffers=512MB"];
const ROUNDS: usize = 7;
/// Rows of one write-behind run.
const ROWS: u64 = 20_000;
/// Rows of one run that writes them one by one.
const FEW: u64 = 500;
const WRITERS: u64 = 64;
const BATCH: usize = 1_000;

type Rows = Arc<dyn TransactionalStore<u64, String>>;

async fn postgres(server: &Postgres, streams: &Streams) {
    let pool = PgPoolOptions::new().max_connections(1).connect_lazy_with(server.options());
    let create = "CREATE TABLE posts (id BIGINT PRIMARY KEY, body TEXT NOT NULL)";
    sqlx::query(create).execute(&pool).await.expect("a table");
    let rows = PostgresStore::new(pool.clone(), table().postgres().expect("names"));
    rows.migrate().await.expect("larder's own tables");
    let one: Rows = Arc::new(rows);
    // Write-behind reads and writes by one connection, as its rival does.
    compare("PostgreSQL", &one, streams).await;
}

async fn sqlite(streams: &Streams) {
    let database = Sqlite::make();
    let options = database.options().synchronous(SqliteSynchronous::Full);
    let pool = SqlitePoolOptions::new().max_connections(1).connect_lazy_with(options);
    let create = "CREATE TABLE posts (id INTEGER PRIMARY KEY, body TEXT NOT NULL)";
    sqlx::query(create).execute(&pool).await.expect("a table");
    let rows = SqliteStore::new(pool, table().sqlite().expect("names"));
    rows.migrate().await.expect("larder's own tables");
    compare("SQLite", &(Arc::new(rows) as Rows), streams).await;
}

fn table() -> Table {
    Table::new("posts").key("id", Kind::Int).column("body", Kind::Text)
}

async fn compare(database: &str, rows: &Rows, streams: &Streams) {
    for scattered in [false, true] {
        SCATTERED.store(scattered, Ordering::Relaxed);
        let order = if scattered { "scattered keys" } else { "keys in order" };
        take_turns(&format!("{database}, {order}"), rows, streams).await;
    }
}

/// Rows a second.
async fn take_turns(what: &str, rows: &Rows, streams: &Streams) {
    bare(rows).await;
    let mut rates: Vec<[f64; 8]> = Vec::new();
    for _ in 0..ROUNDS {
        rates.push([
            rate(FEW, through(rows, 1, FEW)).await,
            rate(FEW * 4, through(rows, WRITERS, FEW * 4)).await,
            rate(ROWS, bare(rows)).await,
            rate(ROWS, behind(rows, Volatile::new(), 1)).await,
            rate(ROWS, behind(rows, log(), 1)).await,
            rate(ROWS, behind(rows, log(), WRITERS)).await,
            rate(ROWS, behind(rows, streams.always(), WRITERS)).await,
            rate(ROWS, behind(rows, streams.every_second(), WRITERS)).await,
        ]);
    }
    let median = |at: usize| support::part(&support::sorted(rates.iter().map(|rates| rates[at])), 5);
    let ratio = |at: usize, base: usize| {
        support::part(&support::sorted(rates.iter().map(|rates| rates[at] / rates[base])), 5)
    };
    println!("\n{what:<44} {:>10}   ratio, median of {ROUNDS} rounds, to", "rows/s");
    let names = [
        "one writer, one row each commit",
        "64 writers, the same, one connection",
        "a loop of batches of 1,000, nothing else",
        "write-behind, volatile, one writer",
        "write-behind, local log, one writer",
        "write-behind, local log, 64 writers",
        "write-behind, Redis, always, 64 writers",
        "write-behind, Redis, everysec, 64 writers",
    ];
    for (at, name) in names.iter().enumerate() {
        println!(
            "{name:<44} {:>10.0}   {:>6.2} one writer   {:>6.2} 64 writers   {:>6.2} the loop",
            median(at),
            ratio(at, 0),
            ratio(at, 1),
            ratio(at, 2)
        );
    }
}

async fn rate(rows: u64, run: impl Future<Output = Duration>) -> f64 {
    rows as f64 / run.await.as_secs_f64()
}

/// One of [`ROWS`] rows that are there, another one for each `n` of a run: in the order of their keys, or scattered, which
/// has a batch touch as many pages as it has rows. The value differs from that of every other run: SQLite does not write
/// what is there already.
fn row(n: u64, run: u64) -> (u64, String) {
    let key = if SCATTERED.load(Ordering::Relaxed) { n * 7_919 % 20_011 } else { n };
    (key, format!("{run:>8}{n:>8}{}", "x".repeat(1_000)))
}

static SCATTERED: AtomicBool = AtomicBool::new(false);

/// A number that no other run has.
fn run() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

async fn through(rows: &Rows, writers: u64, total: u64) -> Duration {
    let (run, start) = (run(), Instant::now());
    let writers = (0..writers).map(|writer| {
        let rows = Arc::clone(rows);
        tokio::spawn(async move {
            for n in (writer..total).step_by(writers as usize) {
                let (key, value) = row(n, run);
                rows.save(&key, &value).await.expect("saved");
            }
        })
    });
    join_all(writers).await.into_iter().for_each(|writer| writer.expect("no panic"));
    start.elapsed()
}

async fn bare(rows: &Rows) -> Duration {
    let (run, start) = (run(), Instant::now());
    for first in (0..ROWS).step_by(BATCH) {
        let mut batch: Vec<_> = (first..first + BATCH as u64).map(|n| row(n, run)).collect();
        batch.sort();
        let batch: Vec<_> = batch.into_iter().map(|(key, value)| Change::Put(key, value)).collect();
        rows.apply(&batch).await.expect("applied");
    }
    start.elapsed()
}

async fn behind(rows: &Rows, journal: impl Journal<u64, String>, writers: u64) -> Duration {
    let run = run();
    let behind = larder::write_behind(Arc::clone(rows))
        .exactly_once()
        .journal(journal)
        .batch(BATCH)
        // Several batches for each shard of a stream.
        .max_pending(20_000)
        .at_limit(AtLimit::Block(HOUR))
        .store()
        .expect("complete");
    let start = Instant::now();
    let writing = (0..writers).map(|writer| {
        let behind = behind.clone();
        tokio::spawn(async move {
            for n in (writer..ROWS).step_by(writers as usize) {
                let (key, value) = row(n, run);
                behind.save(&key, &value).await.expect("room");
            }
        })
    });
    join_all(writing).await.into_iter().for_each(|writer| writer.expect("no panic"));
    behind.flush().await.expect("it takes everything");
    let took = start.elapsed();
    let left = behind.close(HOUR).await.expect("a runtime");
    assert!(left.writes.is_empty());
    took
}

/// A log of its own, in a folder that stays until the program ends.
fn log() -> LocalLog<u64, String> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let n = NEXT.fetch_add(1, Ordering::Relaxed);
    let path =
        std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("log-{}-{n}", std::process::id()));
    LocalLog::at(path)
}

/// Two servers that keep what they are given, each in its way. What the second one was given last it loses when it is killed.
struct Streams {
    always: RedisServer,
    every_second: RedisServer,
}

impl Streams {
    async fn start_or_skip() -> Option<Self> {
        let keeps = |how| ["--appendonly", "yes", "--appendfsync", how];
        let start = async |how| RedisServer::start_or_skip_with("benches/write_behind.rs", &keeps(how)).await;
        Some(Self { always: start("always").await?, every_second: start("everysec").await? })
    }

    fn always(&self) -> RedisStream<u64, String> {
        stream(&self.always)
    }

    fn every_second(&self) -> RedisStream<u64, String> {
        stream(&self.every_second).durability(Durability::EverySecond)
    }
}

/// A stream that nobody else has.
fn stream(server: &RedisServer) -> RedisStream<u64, String> {
    // A server that syncs may be slow for a moment, and is not away for that.
    let redis = redis_server::builder(&server.url_of_default_user()).deadline(Duration::from_secs(10));
    let redis: Redis = redis.build().expect("a URL");
    RedisStream::new(&redis, &format!("bench-{}", run())).shards(4).deadline(Duration::from_secs(10))
}

/// What memory a store that takes nothing costs.
async fn stopped() {
    struct Stopped;
    #[async_trait]
    impl Loader<u64, String> for Stopped {
        async fn load(&self, _key: &u64) -> Result<Option<String>, StoreError> {
            Ok(None)
        }
    }
    #[async_trait]
    impl Store<u64, String> for Stopped {
        async fn save(&self, _key: &u64, _value: &String) -> Result<larder::Saved<String>, StoreError> {
            Err(StoreError::new("stopped").transient())
        }

        async fn delete(&self, _key: &u64) -> Result<(), StoreError> {
            Err(StoreError::new("stopped").transient())
        }
    }
    let behind = larder::write_behind(Stopped)
        .journal(Volatile::new())
        .max_pending(20_000)
        .at_limit(AtLimit::Reject)
        .store()
        .expect("complete");
    println!("\na store that takes nothing, room for 20,000 writes of 1 KiB");
    for offered in [0_u64, 20_000, 200_000, 1_000_000] {
        for n in 0..offered {
            let (key, value) = row(n, 0);
            _ = behind.save(&key, &value).await;
        }
        println!("{offered:>9} offered: {:>6} wait, {:>4} MiB resident", behind.backlog().writes, resident());
    }
}

/// Mebibytes of this process in memory.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages: u64 = status.split(' ').nth(1).and_then(|pages| pages.parse().ok()).unwrap_or_default();
    pages * 4 / 1024
}

/// How long it takes until a write waits. Bringing it to the store comes in between, and is not counted.
fn enqueue(runtime: &Arc<Runtime>) {
    let value: Arc<str> = "a view".into();
    let case = |name, base, shards, spread: u64| {
        let (runtime, value) = (Arc::clone(runtime), Arc::clone(&value));
        let behind = runtime.block_on(async {
            larder::write_behind(Nothing)
                .journal(Volatile::new().shards(shards))
                .flush_every(HOUR)
                .batch(2 * WINDOW as usize)
                .store()
                .expect("complete")
        });
        let run = move |times: u64| {
            runtime.block_on(async {
                let mut took = Duration::ZERO;
                for window in 0..times.div_ceil(WINDOW) {
                    let first = window * WINDOW;
                    took += write(&behind, first..times.min(first + WINDOW), spread, &value).await;
                    behind.flush().await.expect("it takes everything");
                }
                took
            })
        };
        Case { name, base, run: Box::new(run) }
    };
    support::print_table(
        "one write that waits",
        &[
            case("distinct keys", 0, 1, KEYS),
            case("distinct keys, 8 shards", 0, 8, KEYS),
            case("100 keys written over", 0, 1, 100),
        ],
    );
}

async fn write(
    behind: &WriteBehind<u64, Arc<str>>,
    numbers: std::ops::Range<u64>,
    spread: u64,
    value: &Arc<str>,
) -> Duration {
    let start = Instant::now();
    for n in numbers {
        behind.save(&(n.wrapping_mul(0x9E37_79B9) % spread), value).await.expect("room");
    }
    start.elapsed()
}
