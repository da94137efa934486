//! Writes that are answered before the store has them.
//!
//! A write is answered when the journal has it. A driver task brings what waits to the store, in batches; meanwhile loads
//! find it in [`pending`] first.
//!
//! | file | what |
//! |---|---|
//! | [`flusher`] | what is written when, and again when: pure |
//! | [`pending`] | what waits, and what readers see of it: pure |
//! | `tally` | the operations on one key, and what some of them come to: pure |
//! | `coalesce` | what a batch comes to: pure |
//! | `shard` | one sequence of writes, between callers and its driver |
//! | `driver` | the task that brings them to the store |
//! | `accepting` | how a write comes to wait, or does not |
//! | `reading` | what readers see |
//! | `counting` | what they see of keys that something is merged into |
//! | `destination` | what is promised of that: at least once, once by id, exactly once |
//! | `letters` | what the store will never take |
//! | `shared` | writes that wait where many processes write to |
//! | `last_writes` | what can be awaited of them |
//! | `steward` | which of these processes brings which to the store |

#![allow(clippy::exhaustive_enums, clippy::exhaustive_structs, reason = "not part of the public interface")]

mod accepting;
mod backing;
mod builder;
mod coalesce;
mod counting;
mod destination;
mod driver;
#[doc(hidden)]
pub mod flusher;
mod last_writes;
mod letters;
#[doc(hidden)]
pub mod pending;
mod reading;
mod settings;
mod shard;
mod shared;
mod steward;
mod tally;
mod ticket;

use std::fmt;
use std::future::Future;
use std::hash::BuildHasher;
use std::pin::Pin;
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::bounds::{Key, Value};
use crate::error::{Error, ErrorKind, Outcome, Result};
use crate::event::{Event, Events};
use crate::journal::{Found, Log, Opened, Progress};
use crate::store::{Change, JournalId, ShardId};
use crate::stream::Number;
use crate::time::{self, Timestamp, Unanswered};

use destination::Destination;
use driver::{Driven, drive, is_whole};
use flusher::Rules;
use letters::InMemory;
use pending::Pending;
use settings::Settings;
use shard::{Place, Shard, closed};
use shared::Shared;
use steward::{Stewarded, steward};

pub(crate) use backing::Backing;
pub use builder::{WriteBehindBuilder, write_behind};
pub(crate) use counting::unmerged;
pub use settings::AtLimit;
pub(crate) use ticket::Ticket;

pub use crate::store::Seq;

/// A store in front of a store: it answers a write when its journal has it, and writes it to the other one later, in
/// batches. Made by [`write_behind`]. Clones are handles of the same one.
///
/// **Whoever reads the database itself does not see what waits.** Loads through this do.
///
/// - Writes of one key reach the store in the order in which they were answered; with a log all writes do.
/// - A write that is answered is never dropped: where too many wait, writers wait too or are told.
/// - What the store will never take is put aside as a [`DeadLetter`](crate::store::DeadLetter).
///
/// What else is promised depends on the journal and on what the store can do:
///
/// | | [`Volatile`](crate::journal::Volatile) | a log |
/// |---|---|---|
/// | the process ends | all that waits is lost | nothing is lost: the next one that opens the log goes on |
/// | any [`Store`](crate::Store) | a batch of which nobody knows what became is written again | the same, and after a restart as well |
/// | [`exactly_once`](WriteBehindBuilder::exactly_once) | each write has its effect at most once | exactly once |
///
/// In a log of which other processes are a part, `RedisStream`, what one has written any of them reads and any of them
/// brings to the store.
pub struct WriteBehind<K, V>(Arc<Parts<K, V>>);

struct Parts<K, V> {
    id: JournalId,
    shards: Vec<Arc<Shard<K, V>>>,
    hasher: foldhash::fast::RandomState,
    log: Option<Arc<dyn Log<K, V>>>,
    /// Where the writes of many processes wait: then there is no log.
    shared: Option<Shared<K, V>>,
    destination: Destination<K, V>,
    settings: Settings,
    /// What a write weighs where there is no record of it.
    weigh: Weigh<K, V>,
    events: OnceLock<Arc<Events>>,
    /// Who hears of keys that have been written.
    flushed: OnceLock<Hear<K>>,
    letters: InMemory<K, V>,
    permits: Semaphore,
    began: Instant,
    stop: CancellationToken,
}

/// How long beyond its deadline a close waits for a log that is being synced.
const LAST_SYNC: Duration = Duration::from_secs(1);

/// Says how many bytes a change takes.
type Weigh<K, V> = Box<dyn Fn(&Change<K, V>) -> usize + Send + Sync>;

/// Hears of keys.
pub(crate) type Hear<K> = Box<dyn Fn(Vec<K>) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send + Sync>;

/// What waits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Backlog {
    /// How many writes.
    pub writes: usize,
    /// How many bytes: of their records, or as they were weighed.
    pub bytes: usize,
    /// For how long the oldest has waited.
    pub oldest: Option<Duration>,
}

/// What was not written when write-behind was closed.
#[must_use = "it may be all there is of these writes"]
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Unwritten<K, V> {
    /// The writes, those of one key in their order.
    pub writes: Vec<Change<K, V>>,
    /// Whether the journal has them, for the next process that opens it.
    pub are_kept: bool,
}

impl<K, V> fmt::Debug for Unwritten<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Unwritten")
            .field("writes", &self.writes.len())
            .field("are_kept", &self.are_kept)
            .finish()
    }
}

impl<K: Key + Ord, V: Value> WriteBehind<K, V> {
    fn new(
        destination: Destination<K, V>,
        opened: Opened<K, V>,
        settings: Settings,
        weigh: Weigh<K, V>,
    ) -> Result<Self> {
        let Opened { id, shards, log, found, stream } = opened;
        if !is_whole(&found) {
            return Err(Error::new(ErrorKind::Journal, "the journal has a gap: writes are missing"));
        }
        let keeps_offsets = destination.keeps_offsets();
        let forgotten = if keeps_offsets { found.first - 1 } else { found.settled.max(found.first - 1) };
        let is_shared = stream.is_some();
        let bounds = settings.bounds(shards);
        // A stream gives out what is due.
        let delay = if is_shared { Duration::ZERO } else { settings.delay };
        let rules = Rules { delay, ..settings.rules(shards) };
        // A log has every write, and a store that wants every one must get it.
        let replaces = log.is_none() && !is_shared && !destination.keeps_every_write();
        let pending = || match replaces {
            true => Pending::replacing(rules.clone(), bounds, forgotten),
            false => Pending::new(rules.clone(), bounds, forgotten),
        };
        let merging = destination.merges().map(|merges| merges.merging.clone());
        let pending = || pending().merging(merging.clone());
        let shard = |number| {
            let id = ShardId::new(id, number);
            Arc::new(Shard::new(id, pending(), settings.max_age, (log.is_some() || is_shared, is_shared)))
        };
        let shared = stream.map(|stream| Shared::new(stream, &settings, shards));
        let shards: Vec<_> = (0..shards.max(1)).map(shard).collect();
        let behind = Self(Arc::new(Parts {
            id,
            shards,
            hasher: foldhash::fast::RandomState::default(),
            log,
            shared,
            destination,
            permits: Semaphore::new(settings.concurrency.min(Semaphore::MAX_PERMITS)),
            settings,
            weigh,
            events: OnceLock::new(),
            flushed: OnceLock::new(),
            letters: InMemory::default(),
            began: Instant::now(),
            stop: CancellationToken::new(),
        }));
        behind.give_starters();
        behind.give_places();
        behind.take_over(found, forgotten);
        behind.watch();
        Ok(behind)
    }

    fn take_over(&self, mut found: Found<K, V>, forgotten: Seq) {
        found.writes.retain(|write| write.seq > forgotten);
        self.0.shards[0].take_over(found, self.0.now());
    }

    /// Has the log tell the shard how far it is. The log must not keep the shard alive.
    fn watch(&self) {
        let Some(log) = &self.0.log else { return };
        let (shard, began) = (Arc::downgrade(&self.0.shards[0]), self.0.began);
        let parts = Arc::downgrade(&self.0);
        log.watch(Box::new(move |progress| {
            let Some(shard) = shard.upgrade() else { return };
            match progress {
                Progress::Durable(upto) => shard.durable(upto, since(began)),
                Progress::Failed(error) => {
                    shard.log_failed(error.clone());
                    if let Some(parts) = parts.upgrade() {
                        parts.emit(&Event::JournalFailed { error: &error });
                    }
                }
            }
        }));
    }

    /// Writes all that waits now, without delay, and resolves when it is in the store or put aside. As long as the store
    /// fails it does not resolve; dropping it is harmless.
    ///
    /// # Errors
    ///
    /// This process cannot write any more: it is closed, or another one has taken the journal over.
    pub async fn flush(&self) -> Result<()> {
        self.start()?;
        if let Some(shared) = &self.0.shared {
            return self.flush_shared(shared).await;
        }
        let wanted: Vec<_> = self.0.shards.iter().map(|shard| (shard, shard.want_all())).collect();
        for (shard, upto) in wanted {
            match shard.settled(here(upto)).await {
                Err(error) if error.kind() == ErrorKind::DeadLetter => {}
                other => other?,
            }
        }
        Ok(())
    }

    /// What waits now. In a stream: what did when this process last looked, several times in each lease.
    #[must_use]
    pub fn backlog(&self) -> Backlog {
        if let Some(shared) = &self.0.shared {
            return shared.backlog();
        }
        let now = self.0.now();
        self.0.shards.iter().fold(Backlog::default(), |all, shard| {
            let (writes, bytes, oldest) = shard.depth(now);
            Backlog { writes: all.writes + writes, bytes: all.bytes + bytes, oldest: all.oldest.max(oldest) }
        })
    }

    /// The journal's id, under which a store keeps its offsets and dead letters.
    #[must_use]
    pub fn journal(&self) -> JournalId {
        self.0.id
    }

    /// Accepts nothing more, writes what waits, no longer than `deadline`, and says what is left. A log is free for
    /// another process then.
    ///
    /// # Errors
    ///
    /// There is no runtime to wait in.
    pub async fn close(&self, deadline: Duration) -> Result<Unwritten<K, V>> {
        self.end(deadline).await?;
        Ok(self.unwritten())
    }

    /// The same; how many writes are left, in a stream those of all processes.
    pub(super) async fn end(&self, deadline: Duration) -> Result<usize> {
        let until = time::from_now(deadline);
        self.0.shards.iter().for_each(|shard| shard.refuse(closed()));
        let flushed = time::within(until, self.flush()).await;
        if let Err(Unanswered::NoTimer) = flushed {
            return Err(no_runtime());
        }
        let is_flushed = matches!(flushed, Ok(Ok(())));
        if is_flushed && !self.0.keeps_records() {
            self.forget(until).await;
        }
        self.0.stop.cancel();
        if let Some(shared) = &self.0.shared {
            _ = time::within(until + LAST_SYNC, self.0.leave_all(shared)).await;
            if !is_flushed {
                // If that is not answered either: what was known last.
                _ = time::within(until + LAST_SYNC, self.0.take_stock(shared)).await;
            }
        }
        self.0.shards.iter().for_each(|shard| shard.end(closed()));
        if let Some(log) = &self.0.log {
            // A disk that hangs would hang this too.
            _ = time::within(until + LAST_SYNC, log.close()).await;
        }
        Ok(match &self.0.shared {
            Some(_) if is_flushed => 0,
            Some(shared) => shared.backlog().writes,
            None => self.unwritten().writes.len(),
        })
    }

    /// What is in the memory of this process and not known to be in the store.
    pub fn unwritten(&self) -> Unwritten<K, V> {
        if self.0.shared.is_some() {
            // They are in the stream, and nobody's more than anybody else's.
            return Unwritten { writes: Vec::new(), are_kept: true };
        }
        let writes = self.0.shards.iter().flat_map(|shard| shard.unwritten()).collect();
        Unwritten { writes, are_kept: self.0.log.is_some() }
    }

    /// The store need not know a journal that ends with this process.
    async fn forget(&self, until: Instant) {
        for shard in &self.0.shards {
            _ = time::within(until, self.0.destination.forget(shard.id)).await;
        }
    }

    /// Whether writes wait where many processes write to, and read.
    pub(crate) fn is_shared(&self) -> bool {
        self.0.shared.is_some()
    }

    /// What a later call can wait for: the last writes of `keys`.
    pub(crate) fn ticket(&self, keys: &[K]) -> Option<Ticket> {
        if let Some(shared) = &self.0.shared {
            return shared.ticket(keys);
        }
        self.places(keys, |shard, key| shard.latest(key))
    }

    fn places(&self, keys: &[K], seq: impl Fn(&Shard<K, V>, &K) -> Option<Seq>) -> Option<Ticket> {
        let place = |key: &K| {
            let shard = self.shard(key);
            Some((Arc::clone(shard) as Arc<dyn Place>, here(seq(shard, key)?)))
        };
        Ticket::of(keys.iter().filter_map(place).collect())
    }

    /// Resolves when nothing waits for `keys` any more, nor is on its way into the log.
    pub(crate) async fn settle(&self, keys: &[K]) -> Result<()> {
        if let Some(shared) = &self.0.shared {
            return self.settle_shared(shared, keys).await;
        }
        let Some(ticket) = self.places(keys, |shard, key| shard.last(key)) else { return Ok(()) };
        keys.iter().for_each(|key| _ = self.shard(key).want_all());
        ticket.settled().await
    }

    /// Events go to the cache that this is the store of.
    pub(crate) fn attach(&self, events: Arc<Events>) {
        _ = self.0.events.set(events);
        let writes = self.backlog().writes;
        if writes > 0 {
            self.0.emit(&Event::Recovered { writes });
        }
    }

    /// From now on somebody asks for the ticket of each write.
    pub(crate) fn give_tickets(&self) {
        if let Some(shared) = &self.0.shared {
            shared.give_tickets();
        }
    }

    /// Has `hear` told of the keys that have been written.
    pub(crate) fn on_flushed(&self, hear: Hear<K>) {
        _ = self.0.flushed.set(hear);
    }

    #[inline]
    fn shard(&self, key: &K) -> &Arc<Shard<K, V>> {
        match (&self.0.shards[..], &self.0.shared) {
            ([only], _) => only,
            (many, Some(shared)) => &many[usize::from(shared.stream.shard_of(key)) % many.len()],
            (many, None) => &many[self.0.hasher.hash_one(key) as usize % many.len()],
        }
    }

    /// Sees to it that every shard has a driver, in whichever runtime this is.
    #[inline]
    fn start(&self) -> Result<()> {
        self.0.shards.iter().try_for_each(|shard| shard.start())?;
        if let Some(stewarded) = Stewarded::take(&self.0) {
            let runtime = tokio::runtime::Handle::try_current().map_err(|_| no_runtime())?;
            runtime.spawn(steward(stewarded));
        }
        Ok(())
    }

    /// Begins to write what was found in the journal, once there is somebody to hear of it. Outside a runtime that is done
    /// by the first call.
    pub(crate) fn begin(&self) {
        _ = self.start();
    }

    /// Tells each shard how its driver is started.
    fn give_starters(&self) {
        for shard in &self.0.shards {
            let (parts, own) = (Arc::downgrade(&self.0), Arc::downgrade(shard));
            shard.start_with(Box::new(move || {
                let runtime = tokio::runtime::Handle::try_current().map_err(|_| no_runtime())?;
                drop(time::timer(Instant::now()).map_err(|_| no_runtime())?);
                if let Some(driven) = own.upgrade().and_then(|shard| Driven::take(&shard)) {
                    runtime.spawn(drive(Weak::clone(&parts), driven));
                }
                Ok(())
            }));
        }
    }
}

impl<K, V> Parts<K, V> {
    fn now(&self) -> Timestamp {
        since(self.began)
    }

    fn emit(&self, event: &Event<'_>) {
        if let Some(events) = self.events.get() {
            events.emit(event);
        }
    }
}

impl<K, V> Drop for Parts<K, V> {
    /// Says what is lost, or left to the next process.
    fn drop(&mut self) {
        let writes = self.shards.iter().map(|shard| shard.leave()).sum();
        // What an owner has in hand is in the stream.
        if writes > 0 && self.shared.is_none() {
            self.emit(&Event::Unwritten { writes });
        }
    }
}

impl<K, V> Clone for WriteBehind<K, V> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<K, V> fmt::Debug for WriteBehind<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WriteBehind").field("journal", &self.0.id).finish_non_exhaustive()
    }
}

fn since(began: Instant) -> Timestamp {
    Timestamp::ZERO.after(began.elapsed())
}

fn no_runtime() -> Error {
    Error::new(
        ErrorKind::NoRuntime,
        "writes are brought to the store by a task: call from inside a tokio runtime, built with `enable_time`",
    )
    .with_outcome(Outcome::NotApplied)
}

/// A number that was given in this process.
fn here(seq: Seq) -> Number {
    Number { seq, life: 0 }
}
