//! What each of the processes does: it reads from all keys and writes to them, and remembers what it saw.

use std::collections::HashMap;
use std::io::{self, BufRead as _, Write as _};
use std::process::exit;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use larder::{Copies, LayeredCache, Loader, Local, Memory, Redis, StoreError, read_through};
use redis::aio::MultiplexedConnection;
use rustix::time::{ClockId, clock_gettime};

use crate::job::Job;

pub(crate) const KEYS: u64 = 160;
const READERS: u64 = 10;
const WRITERS: u64 = 4;
/// Hits that are made without a pause.
const AT_ONCE: u64 = 80;
/// So long a write is followed by none of the same writer, at the most.
const PAUSE: Duration = Duration::from_millis(60);
/// The key in the store under which the processes add up how often they have read, and how often they do so.
pub(crate) const READS: &str = "reads";
const TELLING: Duration = Duration::from_millis(200);

/// Each key's version, in a server that nobody harms: a write makes the next one.
struct Versions(MultiplexedConnection);

impl Versions {
    async fn next(&self, key: u64) -> Result<u64, StoreError> {
        let mut incr = redis::cmd("INCR");
        incr.arg(key);
        incr.query_async(&mut self.0.clone()).await.map_err(StoreError::from)
    }

    async fn add_reads(&self, reads: u64) {
        let mut incr = redis::cmd("INCRBY");
        incr.arg(READS).arg(reads);
        incr.query_async::<()>(&mut self.0.clone()).await.expect("nobody harms the store");
    }
}

#[async_trait]
impl Loader<u64, u64> for Versions {
    async fn load(&self, key: &u64) -> Result<Option<u64>, StoreError> {
        let mut get = redis::cmd("GET");
        get.arg(key);
        Ok(Some(get.query_async::<Option<u64>>(&mut self.0.clone()).await?.unwrap_or(0)))
    }
}

/// What it saw and did.
#[derive(Default)]
struct Seen {
    /// The last moment at which a read of this version of a key began.
    reads: HashMap<(u64, u64), u64>,
    /// The moment at which a write was answered whose copies were dropped.
    writes: Vec<(u64, u64, u64)>,
    /// All reads, and those that memory answered at once.
    counts: [u64; 2],
}

/// Does its job, and never comes back.
pub(crate) fn work(job: &Job) -> ! {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.expect("threads can be started").block_on(run(job));
    exit(0)
}

async fn run(job: &Job) {
    let versions = redis::Client::open(job.store.as_str()).expect("a URL");
    let versions = versions.get_multiplexed_async_connection().await.expect("the store is there");
    let versions = Arc::new(Versions(versions));
    let cache = cache(job, &versions);
    let (over, seen) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Seen::default())));
    let made = Arc::new(AtomicU64::new(0));
    let mut tasks =
        vec![tokio::spawn(tell_of_reads(Arc::clone(&versions), Arc::clone(&over), Arc::clone(&made)))];
    for _ in 0..READERS {
        let read = read_for_ever(cache.clone(), Arc::clone(&over), Arc::clone(&seen), Arc::clone(&made));
        tasks.push(tokio::spawn(read));
    }
    for _ in 0..WRITERS {
        let write =
            write_for_ever(cache.clone(), Arc::clone(&versions), Arc::clone(&over), Arc::clone(&seen));
        tasks.push(tokio::spawn(write));
    }
    tokio::task::spawn_blocking(|| io::stdin().lock().lines().next()).await.expect("no panic");
    over.store(true, Ordering::SeqCst);
    for task in tasks {
        task.await.expect("no panic");
    }
    say(&cache, &seen.lock().expect("no panic"));
}

fn cache(job: &Job, versions: &Arc<Versions>) -> LayeredCache<u64, u64> {
    let (first, others) = job.redis.split_first().expect("a URL");
    let others: Vec<&str> = others.iter().map(|url| url.rsplit('@').next().expect("an address")).collect();
    let builder = Redis::builder(first.clone());
    let builder = if others.is_empty() { builder } else { builder.cluster(others) };
    let redis = builder.build().expect("addresses");
    if let Some(flaw) = job.flaw {
        redis.leave_out(flaw);
    }
    let builder = read_through(Shared(Arc::clone(versions))).tier(Memory::with_capacity(10_000));
    let builder = builder.tier(redis.namespace("n").lease(Duration::from_secs(1)));
    builder.ttl(Duration::from_secs(600)).coherence(job.mode.coherence()).build().expect("complete")
}

struct Shared(Arc<Versions>);

#[async_trait]
impl Loader<u64, u64> for Shared {
    async fn load(&self, key: &u64) -> Result<Option<u64>, StoreError> {
        self.0.load(key).await
    }
}

/// Microseconds on the machine's clock, the same for all processes.
pub(crate) fn now() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec as u64 * 1_000_000 + now.tv_nsec as u64 / 1_000
}

/// So that whoever started the processes knows when they have read enough.
async fn tell_of_reads(versions: Arc<Versions>, over: Arc<AtomicBool>, made: Arc<AtomicU64>) {
    while !over.load(Ordering::Relaxed) {
        tokio::time::sleep(TELLING).await;
        versions.add_reads(made.swap(0, Ordering::Relaxed)).await;
    }
}

async fn read_for_ever(
    cache: LayeredCache<u64, u64>,
    over: Arc<AtomicBool>,
    seen: Arc<Mutex<Seen>>,
    made: Arc<AtomicU64>,
) {
    let mut own = Seen::default();
    while !over.load(Ordering::Relaxed) {
        for _ in 0..AT_ONCE {
            let (key, begin) = (fastrand::u64(0..KEYS), now());
            let version = match cache.get_local(&key) {
                Local::Value(version) => {
                    own.counts[1] += 1;
                    version
                }
                _ => match cache.get(&key).await {
                    Ok(Some(version)) => version,
                    _ => continue,
                },
            };
            own.counts[0] += 1;
            made.fetch_add(1, Ordering::Relaxed);
            let last = own.reads.entry((key, version)).or_default();
            *last = begin.max(*last);
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let mut seen = seen.lock().expect("no panic");
    for (read, begin) in own.reads {
        let last = seen.reads.entry(read).or_default();
        *last = begin.max(*last);
    }
    own.counts.iter().zip(&mut seen.counts).for_each(|(own, all)| *all += own);
}

async fn write_for_ever(
    cache: LayeredCache<u64, u64>,
    versions: Arc<Versions>,
    over: Arc<AtomicBool>,
    seen: Arc<Mutex<Seen>>,
) {
    while !over.load(Ordering::Relaxed) {
        let key = fastrand::u64(0..KEYS);
        let written = cache.write(&[key], || versions.next(key)).await;
        if let Ok(written) = written
            && written.copies() == Copies::Dropped
        {
            let write = (key, *written.output(), now());
            seen.lock().expect("no panic").writes.push(write);
        }
        tokio::time::sleep(PAUSE.mul_f64(fastrand::f64())).await;
    }
}

/// One line for each thing.
fn say(cache: &LayeredCache<u64, u64>, seen: &Seen) {
    let mut out = io::BufWriter::new(io::stdout().lock());
    let stats = cache.stats();
    let numbers = [
        seen.counts[0],
        seen.counts[1],
        stats.local_doubts,
        stats.local_flushes,
        stats.messages_missed,
        stats.woken,
        stats.revalidated,
        stats.loads,
    ];
    let mut lines = vec![format!("stats {}", numbers.map(|number| number.to_string()).join(" "))];
    lines.extend(seen.reads.iter().map(|((key, version), at)| format!("read {key} {version} {at}")));
    lines.extend(seen.writes.iter().map(|(key, version, at)| format!("write {key} {version} {at}")));
    // The test harness has begun a line.
    writeln!(out).expect("somebody listens");
    for line in lines {
        writeln!(out, "{line}").expect("somebody listens");
    }
    out.flush().expect("somebody listens");
}
