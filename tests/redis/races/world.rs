//! A store with random delays, the books of what it held and what has been acknowledged, and a fleet of caches over it.

use std::collections::{HashMap, VecDeque};
use std::fmt::Write as _;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use larder::tier::redis::Namespace;
use larder::tier::{Acquired, Filled, Purpose};
use larder::{
    Builder, Copies, Entry, LayeredCache, Loader, Saved, Stats, Store, StoreError, Tier, Timestamp,
};
use redis::aio::MultiplexedConnection;

use crate::races::upheaval::Upheaval;
use crate::support::raw;
use crate::support::redis_server::RedisServer;

pub(crate) const KEYS: u64 = 6;
pub(crate) const PROCESSES: usize = 4;
pub(crate) const READERS: usize = 24;
pub(crate) const WRITERS: usize = 4;
/// As short as a load often is: leases run out, are renewed and are taken over.
pub(crate) const LEASE: Duration = Duration::from_millis(20);
/// How many events of a key are kept to tell what led to a wrong answer.
const TRACE: usize = 400;
/// Values from here on are what writers ask to be saved; below it are versions, which is what the store keeps.
const TICKETS: u64 = 1 << 40;

/// What the store held, and who has been told of it. A key's value is its version: how often it has been written.
pub(crate) struct World {
    books: Vec<Mutex<Book>>,
    began: Instant,
    tickets: AtomicU64,
    pub(crate) seen: Seen,
}

#[derive(Default)]
struct Book {
    version: u64,
    acknowledged: u64,
    /// Which version a writer's ticket became.
    tickets: HashMap<u64, u64>,
    trace: VecDeque<(Duration, String)>,
}

/// What readers have seen.
#[derive(Default)]
pub(crate) struct Seen {
    pub(crate) reads: AtomicU64,
    /// Older than a write that was acknowledged before the read began.
    pub(crate) stale: AtomicU64,
    /// Older than the store was when the read began, those among them.
    pub(crate) behind: AtomicU64,
    /// Versions that the store never had.
    pub(crate) impossible: AtomicU64,
    /// Reads whose caller went away.
    pub(crate) dropped: AtomicU64,
    /// What a process had to fill that came back when its lease was over: kept, and refused.
    pub(crate) late_kept: AtomicU64,
    pub(crate) late_refused: AtomicU64,
    /// The events before the first wrong answer.
    pub(crate) first_stale: Mutex<Option<String>>,
    pub(crate) first_behind: Mutex<Option<String>>,
}

/// The moment at which a read begins: what it may not be older than.
#[derive(Clone, Copy)]
struct Beginning {
    at: Duration,
    acknowledged: u64,
    committed: u64,
}

impl World {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            books: (0..KEYS).map(|_| Mutex::default()).collect(),
            began: Instant::now(),
            tickets: AtomicU64::new(TICKETS),
            seen: Seen::default(),
        })
    }

    fn note(&self, key: u64, write: impl FnOnce(&mut Book) -> String) {
        let mut book = self.books[key as usize].lock().expect("no panic");
        let line = write(&mut book);
        let now = self.began.elapsed();
        book.trace.push_back((now, line));
        if book.trace.len() > TRACE {
            book.trace.pop_front();
        }
    }

    fn version(&self, key: u64) -> u64 {
        self.books[key as usize].lock().expect("no panic").version
    }

    fn commit(&self, key: u64, process: usize, ticket: Option<u64>) -> u64 {
        let mut version = 0;
        self.note(key, |book| {
            book.version += 1;
            version = book.version;
            book.tickets.extend(ticket.map(|ticket| (ticket, version)));
            format!("process {process}: the store commits {version}")
        });
        version
    }

    fn acknowledge(&self, key: u64, process: usize, version: u64) {
        self.note(key, |book| {
            book.acknowledged = book.acknowledged.max(version);
            format!("process {process}: the write of {version} is acknowledged")
        });
    }

    fn begin(&self, key: u64) -> Beginning {
        let book = self.books[key as usize].lock().expect("no panic");
        Beginning { at: self.began.elapsed(), acknowledged: book.acknowledged, committed: book.version }
    }

    fn judge(&self, key: u64, process: usize, since: Beginning, answer: u64, how: &str) {
        self.seen.reads.fetch_add(1, Ordering::Relaxed);
        self.note(key, |_| {
            format!(
                "process {process}: {how} begun at {:.3} ms is answered {answer}; then acknowledged {}, committed {}",
                since.at.as_secs_f64() * 1e3,
                since.acknowledged,
                since.committed
            )
        });
        let is_stale = answer < since.acknowledged;
        if is_stale && self.seen.stale.fetch_add(1, Ordering::Relaxed) == 0 {
            *self.seen.first_stale.lock().expect("no panic") = Some(self.story(key));
        }
        if answer < since.committed && self.seen.behind.fetch_add(1, Ordering::Relaxed) == 0 {
            *self.seen.first_behind.lock().expect("no panic") = Some(self.story(key));
        }
        if answer > self.version(key) {
            self.seen.impossible.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn story(&self, key: u64) -> String {
        let book = self.books[key as usize].lock().expect("no panic");
        book.trace.iter().fold(format!("key {key}:\n"), |mut story, (at, line)| {
            _ = writeln!(story, "{:10.3} ms  {line}", at.as_secs_f64() * 1e3);
            story
        })
    }
}

/// The world's store, as one process sees it.
#[derive(Clone)]
pub(crate) struct Rows {
    world: Arc<World>,
    process: usize,
}

impl Rows {
    /// Both sides of the moment of reading take time: an answer may be old before it is here.
    async fn read(&self, key: u64) -> u64 {
        let process = self.process;
        self.world.note(key, |_| format!("process {process}: a load begins"));
        pause().await;
        let version = self.world.version(key);
        pause().await;
        self.world.note(key, |_| format!("process {process}: a load answers {version}"));
        version
    }

    async fn write(&self, key: u64, ticket: Option<u64>) -> u64 {
        pause().await;
        let version = self.world.commit(key, self.process, ticket);
        pause().await;
        version
    }
}

#[async_trait]
impl Loader<u64, u64> for Rows {
    async fn load(&self, key: &u64) -> Result<Option<u64>, StoreError> {
        Ok(Some(self.read(*key).await))
    }
}

#[async_trait]
impl Store<u64, u64> for Rows {
    async fn save(&self, key: &u64, ticket: &u64) -> Result<Saved<u64>, StoreError> {
        Ok(Saved::value(self.write(*key, Some(*ticket)).await))
    }

    async fn delete(&self, _key: &u64) -> Result<(), StoreError> {
        Err(StoreError::new("nobody deletes here").not_applied())
    }
}

/// Mostly short, so that a run has room for many; now and then longer than a lease.
async fn pause() {
    match fastrand::u32(..100) {
        0..30 => tokio::task::yield_now().await,
        30..98 => tokio::time::sleep(Duration::from_micros(fastrand::u64(..1_500))).await,
        _ => tokio::time::sleep(LEASE + Duration::from_millis(fastrand::u64(..20))).await,
    }
}

/// One of the keys; the first ones are popular, so that readers meet.
fn some_key() -> u64 {
    fastrand::u64(..KEYS).min(fastrand::u64(..KEYS))
}

/// What is taken out of the server by hand meanwhile, as it would be for want of room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Removals {
    /// Anything.
    Anything,
    /// Copies and leases. Losing a hold costs a write in progress its linearizability, which is documented.
    SparingHolds,
}

/// The caches of one run, each standing for a process, and the tasks that use them.
pub(crate) struct Fleet {
    pub(crate) world: Arc<World>,
    pub(crate) caches: Vec<LayeredCache<u64, u64>>,
    /// What has happened to the cluster that it runs on.
    pub(crate) upheaval: Arc<Upheaval>,
}

impl Fleet {
    /// A process each from a builder over its store.
    pub(crate) fn build(build: impl Fn(usize, Rows) -> Builder<u64, u64>) -> Self {
        let world = World::new();
        let cache = |process| {
            let rows = Rows { world: Arc::clone(&world), process };
            build(process, rows).ttl(Duration::from_secs(60)).build().expect("the settings are right")
        };
        let caches = (0..PROCESSES).map(cache).collect();
        Self { world, caches, upheaval: Arc::default() }
    }

    /// Reads and writes until so many reads have been answered. A cluster of several nodes changes meanwhile, and the run
    /// goes on until it has changed enough.
    pub(crate) async fn run(
        &self,
        server: &RedisServer,
        reads: u64,
        removals: Removals,
        failing: Option<Namespace<u64>>,
    ) {
        let over = Arc::new(AtomicBool::new(false));
        let rows = Rows { world: Arc::clone(&self.world), process: PROCESSES };
        let faults = Faults::of(server);
        let failing =
            failing.map(|tier| tokio::spawn(fail_again_and_again(tier, rows, faults, Arc::clone(&over))));
        let vandal = Vandal { servers: connect_to_all(server).await, removals, faults };
        let vandal = tokio::spawn(vandal.go_on(Arc::clone(&over)));
        let member = |n| self.member(n % PROCESSES, faults);
        let writers: Vec<_> =
            (0..WRITERS).map(|n| tokio::spawn(member(n).write_on(Arc::clone(&over)))).collect();
        let readers: Vec<_> = (0..READERS)
            .map(|n| tokio::spawn(member(n).read_on(reads, Arc::clone(&self.upheaval))))
            .collect();
        let reading = async {
            for reader in readers {
                reader.await.expect("no panic");
            }
            over.store(true, Ordering::Relaxed);
        };
        let outlived = || self.sum(|stats| stats.outlived);
        tokio::join!(reading, self.upheaval.go_on(server.cluster(), outlived, &over));
        for writer in writers {
            writer.await.expect("no panic");
        }
        vandal.await.expect("no panic");
        if let Some(failing) = failing {
            failing.await.expect("no panic");
        }
    }

    fn member(&self, process: usize, faults: Faults) -> Member {
        Member { world: Arc::clone(&self.world), cache: self.caches[process].clone(), process, faults }
    }

    pub(crate) fn sum(&self, count: impl Fn(&Stats) -> u64) -> u64 {
        self.caches.iter().map(|cache| count(&cache.stats())).sum()
    }
}

/// What may go wrong between a process and its server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Faults {
    /// Nothing: the server works.
    None,
    /// Some calls fail, as their node is being replaced.
    Some,
}

impl Faults {
    fn of(server: &RedisServer) -> Self {
        if server.cluster().is_some() { Self::Some } else { Self::None }
    }

    /// The answer, if there is one; there must be, where nothing goes wrong.
    fn excuse<A, E: std::fmt::Debug>(self, answer: Result<A, E>) -> Option<A> {
        match self {
            Self::None => Some(answer.expect("the server works")),
            Self::Some => answer.ok(),
        }
    }

    /// Whether old copies are gone for certain, and nobody may read what is older than the write.
    fn are_gone(self, copies: Copies) -> bool {
        assert!(self == Self::Some || copies != Copies::Pending, "the server works");
        copies != Copies::Pending
    }
}

async fn connect_to_all(server: &RedisServer) -> Vec<MultiplexedConnection> {
    let urls = server.urls_of_default_user();
    futures_util::future::join_all(urls.iter().map(|url| raw::connect(url))).await
}

/// A task of a process.
struct Member {
    world: Arc<World>,
    cache: LayeredCache<u64, u64>,
    process: usize,
    faults: Faults,
}

impl Member {
    async fn read_on(self, reads: u64, upheaval: Arc<Upheaval>) {
        while self.world.seen.reads.load(Ordering::Relaxed) < reads || !upheaval.is_enough() {
            self.read().await;
            if fastrand::u32(..16) == 0 {
                tokio::time::sleep(Duration::from_micros(fastrand::u64(..2_000))).await;
            }
        }
    }

    async fn read(&self) {
        let key = some_key();
        let since = self.world.begin(key);
        let (how, answer) = match fastrand::u32(..64) {
            0 => ("a refresh", Some(self.cache.refresh(&key).await)),
            1 => ("a batch", Some(self.cache.get_many(&[(key + 1) % KEYS, key]).await.remove(1))),
            2..8 => ("a read with a load of its own", self.read_and_perhaps_go_away(key).await),
            _ => ("a read", Some(self.cache.get(&key).await)),
        };
        match answer {
            Some(answer) => {
                let answer = answer.expect("the store works").expect("every key has a row");
                self.world.judge(key, self.process, since, answer, how);
            }
            None => _ = self.world.seen.dropped.fetch_add(1, Ordering::Relaxed),
        }
    }

    /// A load that the caller brings along goes away with the caller, and leaves its lease behind.
    async fn read_and_perhaps_go_away(&self, key: u64) -> Option<larder::Result<Option<u64>>> {
        let rows = Rows { world: Arc::clone(&self.world), process: self.process };
        let read = self.cache.get_or_load(&key, || async { Ok::<_, StoreError>(Some(rows.read(key).await)) });
        tokio::time::timeout(Duration::from_millis(fastrand::u64(1..12)), read).await.ok()
    }

    async fn write_on(self, over: Arc<AtomicBool>) {
        while !over.load(Ordering::Relaxed) {
            let key = some_key();
            match fastrand::u32(..8) {
                0 => self.write_by_hand(key).await,
                1 => self.put_and_go_away(key).await,
                _ => self.put(key).await,
            }
            tokio::time::sleep(Duration::from_micros(fastrand::u64(..4_000))).await;
        }
    }

    async fn put(&self, key: u64) {
        let ticket = self.world.tickets.fetch_add(1, Ordering::Relaxed);
        // What cannot be held is not written.
        let Some(written) = self.faults.excuse(self.cache.put(&key, ticket).await) else { return };
        let mut version = None;
        self.world.note(key, |book| {
            version = book.tickets.remove(&ticket);
            format!("process {}: a put has left copies {:?}", self.process, written.copies())
        });
        let version = version.expect("an acknowledged write was committed");
        if self.faults.are_gone(written.copies()) {
            self.world.acknowledge(key, self.process, version);
        }
    }

    async fn write_by_hand(&self, key: u64) {
        let rows = Rows { world: Arc::clone(&self.world), process: self.process };
        let write = || async { Ok::<_, StoreError>(rows.write(key, None).await) };
        let Some(written) = self.faults.excuse(self.cache.write(&[key], write).await) else { return };
        if self.faults.are_gone(written.copies()) {
            self.world.acknowledge(key, self.process, written.into_output());
        }
    }

    /// The write goes on, and nobody is told.
    async fn put_and_go_away(&self, key: u64) {
        let ticket = self.world.tickets.fetch_add(1, Ordering::Relaxed);
        let put = self.cache.put(&key, ticket);
        _ = tokio::time::timeout(Duration::from_micros(fastrand::u64(..4_000)), put).await;
    }
}

/// One more process, which does not get on: it takes leases and does not renew them. Half of the time it dies, else it
/// stands still for longer than its lease, and then sends what it has loaded, to be kept for ever.
async fn fail_again_and_again(tier: Namespace<u64>, rows: Rows, faults: Faults, over: Arc<AtomicBool>) {
    let tier = Arc::new(tier);
    while !over.load(Ordering::Relaxed) {
        tokio::time::sleep(Duration::from_micros(fastrand::u64(..1_000))).await;
        let key = fastrand::u64(..KEYS);
        let purpose = if fastrand::u32(..8) == 0 { Purpose::Renew } else { Purpose::Fill };
        let acquired = faults.excuse(tier.acquire(&key, purpose).await);
        let Some(Acquired::Granted(lease, _)) = acquired else { continue };
        if fastrand::bool() {
            continue;
        }
        let (tier, rows) = (Arc::clone(&tier), rows.clone());
        tokio::spawn(async move {
            let version = rows.read(key).await;
            tokio::time::sleep(LEASE.mul_f64(0.5 + fastrand::f64())).await;
            let entry = Entry::new(Some(version), Timestamp::ZERO, Timestamp::NEVER, Timestamp::NEVER);
            let filled = tier.fill(&key, lease, &entry).await;
            rows.world.note(key, |_| format!("the one that fails: a late fill of {version}: {filled:?}"));
            let seen = &rows.world.seen;
            let count = if filled.is_ok_and(|filled| filled == Filled::Stored) {
                &seen.late_kept
            } else {
                &seen.late_refused
            };
            count.fetch_add(1, Ordering::Relaxed);
        });
    }
}

/// Removes keys by hand, and makes servers forget their scripts.
struct Vandal {
    servers: Vec<MultiplexedConnection>,
    removals: Removals,
    faults: Faults,
}

impl Vandal {
    async fn go_on(self, over: Arc<AtomicBool>) {
        const REMOVE: &str = "local key = redis.call('RANDOMKEY')
            if key and (ARGV[1] == 'anything' or redis.call('GETRANGE', key, 0, 3) ~= 'ld1H') then
              redis.call('DEL', key)
            end";
        let what = if self.removals == Removals::Anything { "anything" } else { "no holds" };
        while !over.load(Ordering::Relaxed) {
            let mut server = self.servers[fastrand::usize(..self.servers.len())].clone();
            let remove = redis::cmd("EVAL").arg(REMOVE).arg(0).arg(what).to_owned();
            // A replica takes no writes, and a slot that has just gone takes none either.
            _ = self.faults.excuse(remove.exec_async(&mut server).await);
            if fastrand::u32(..16) == 0 {
                let flush = redis::cmd("SCRIPT").arg("FLUSH").to_owned();
                _ = self.faults.excuse(flush.exec_async(&mut server).await);
            }
            tokio::time::sleep(Duration::from_micros(fastrand::u64(..6_000))).await;
        }
    }
}
