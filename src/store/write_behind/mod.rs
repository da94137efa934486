//! Writes that are answered before the store has them.
//!
//! A write is answered when the journal has it. A driver task brings what waits to the store, in batches; meanwhile loads
//! find it in [`pending`] first.
//!
//! | file | what |
//! |---|---|
//! | [`flusher`] | what is written when, and again when: pure |
//! | [`pending`] | what waits, and what readers see of it: pure |
//! | [`coalesce`] | what a batch comes to: pure |
//! | `shard` | one sequence of writes, between callers and its driver |
//! | `driver` | the task that brings them to the store |
//! | `destination` | what is promised of that: at least once, once by id, exactly once |
//! | `letters` | what the store will never take |

#![allow(clippy::exhaustive_enums, clippy::exhaustive_structs, reason = "not part of the public interface")]

mod backing;
mod builder;
#[doc(hidden)]
pub mod coalesce;
mod destination;
mod driver;
#[doc(hidden)]
pub mod flusher;
mod letters;
#[doc(hidden)]
pub mod pending;
mod settings;
mod shard;
mod ticket;

use std::fmt;
use std::future::Future;
use std::hash::BuildHasher;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::bounds::{Key, Value};
use crate::error::{Error, ErrorKind, Outcome, Result, StoreError};
use crate::event::{Event, Events};
use crate::journal::{Appending, Found, Log, Opened, Progress};
use crate::store::{Change, JournalId, Loader, Saved, ShardId, Store};
use crate::time::{self, Timestamp, Unanswered};

use destination::Destination;
use driver::{Driven, drive, is_whole};
use letters::{InMemory, refused};
use pending::Pending;
use settings::Settings;
use shard::{Place, Refusal, Shard, closed, dead};

pub(crate) use backing::Backing;
pub use builder::{WriteBehindBuilder, write_behind};
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
/// | any [`Store`] | a batch of which nobody knows what became is written again | the same, and after a restart as well |
/// | [`exactly_once`](WriteBehindBuilder::exactly_once) | each write has its effect at most once | exactly once |
pub struct WriteBehind<K, V>(Arc<Parts<K, V>>);

struct Parts<K, V> {
    id: JournalId,
    shards: Vec<Arc<Shard<K, V>>>,
    hasher: foldhash::fast::RandomState,
    log: Option<Arc<dyn Log<K, V>>>,
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
        let Opened { id, shards, log, found } = opened;
        if !is_whole(&found) {
            return Err(Error::new(ErrorKind::Journal, "the journal has a gap: writes are missing"));
        }
        let keeps_offsets = destination.keeps_offsets();
        let forgotten = if keeps_offsets { found.first - 1 } else { found.settled.max(found.first - 1) };
        let (rules, bounds) = (settings.rules(shards), settings.bounds(shards));
        // A log has every write, and a store that wants every one must get it.
        let replaces = log.is_none() && !destination.keeps_every_write();
        let pending = || match replaces {
            true => Pending::replacing(rules.clone(), bounds, forgotten),
            false => Pending::new(rules.clone(), bounds, forgotten),
        };
        let shard = |number| {
            Arc::new(Shard::new(ShardId::new(id, number), pending(), settings.max_age, log.is_some()))
        };
        let shards: Vec<_> = (0..shards.max(1)).map(shard).collect();
        let behind = Self(Arc::new(Parts {
            id,
            shards,
            hasher: foldhash::fast::RandomState::default(),
            log,
            destination,
            permits: Semaphore::new(settings.concurrency),
            settings,
            weigh,
            events: OnceLock::new(),
            flushed: OnceLock::new(),
            letters: InMemory::default(),
            began: Instant::now(),
            stop: CancellationToken::new(),
        }));
        behind.take_over(found, forgotten);
        behind.watch();
        // Outside a runtime it begins with the first call.
        _ = behind.start();
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
        let wanted: Vec<_> = self.0.shards.iter().map(|shard| (shard, shard.want_all())).collect();
        for (shard, upto) in wanted {
            match shard.settled(upto).await {
                Err(error) if error.kind() == ErrorKind::DeadLetter => {}
                other => other?,
            }
        }
        Ok(())
    }

    /// What waits now.
    #[must_use]
    pub fn backlog(&self) -> Backlog {
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
        let until = time::from_now(deadline);
        self.0.shards.iter().for_each(|shard| shard.refuse(closed()));
        let flushed = time::within(until, self.flush()).await;
        if let Err(Unanswered::NoTimer) = flushed {
            return Err(no_runtime());
        }
        if matches!(flushed, Ok(Ok(()))) && self.0.log.is_none() {
            self.forget(until).await;
        }
        self.0.stop.cancel();
        self.0.shards.iter().for_each(|shard| shard.end(closed()));
        if let Some(log) = &self.0.log {
            log.close().await;
        }
        Ok(self.unwritten())
    }

    /// What is in the memory of this process and not known to be in the store.
    pub fn unwritten(&self) -> Unwritten<K, V> {
        let writes = self.0.shards.iter().flat_map(|shard| shard.unwritten()).collect();
        Unwritten { writes, are_kept: self.0.log.is_some() }
    }

    /// The store need not know a journal that ends with this process.
    async fn forget(&self, until: Instant) {
        for shard in &self.0.shards {
            _ = time::within(until, self.0.destination.forget(shard.id)).await;
        }
    }

    /// What a later call can wait for: the last writes of `keys`.
    pub(crate) fn ticket(&self, keys: &[K]) -> Option<Ticket> {
        self.places(keys, |shard, key| shard.latest(key))
    }

    fn places(&self, keys: &[K], seq: impl Fn(&Shard<K, V>, &K) -> Option<Seq>) -> Option<Ticket> {
        let place = |key: &K| {
            let shard = self.shard(key);
            Some((Arc::clone(shard) as Arc<dyn Place>, seq(shard, key)?))
        };
        Ticket::of(keys.iter().filter_map(place).collect())
    }

    /// Resolves when nothing waits for `keys` any more, nor is on its way into the log.
    pub(crate) async fn settle(&self, keys: &[K]) -> Result<()> {
        let Some(ticket) = self.places(keys, |shard, key| shard.last(key)) else { return Ok(()) };
        keys.iter().for_each(|key| _ = self.shard(key).want_all());
        match ticket.stored().await {
            Err(error) if error.kind() == ErrorKind::DeadLetter => Ok(()),
            other => other,
        }
    }

    /// Events go to the cache that this is the store of.
    pub(crate) fn attach(&self, events: Arc<Events>) {
        _ = self.0.events.set(events);
        let writes = self.backlog().writes;
        if writes > 0 {
            self.0.emit(&Event::Recovered { writes });
        }
    }

    /// Has `hear` told of the keys that have been written.
    pub(crate) fn on_flushed(&self, hear: Hear<K>) {
        _ = self.0.flushed.set(hear);
    }

    #[inline]
    fn shard(&self, key: &K) -> &Arc<Shard<K, V>> {
        match &self.0.shards[..] {
            [only] => only,
            many => &many[self.0.hasher.hash_one(key) as usize % many.len()],
        }
    }

    /// Sees to it that every shard has a driver, in whichever runtime this is.
    #[inline]
    fn start(&self) -> Result<()> {
        match self.0.shards.iter().all(|shard| shard.is_driven()) {
            true => Ok(()),
            false => self.start_drivers(),
        }
    }

    #[cold]
    fn start_drivers(&self) -> Result<()> {
        let runtime = tokio::runtime::Handle::try_current().map_err(|_| no_runtime())?;
        drop(time::timer(Instant::now()).map_err(|_| no_runtime())?);
        for shard in &self.0.shards {
            if let Some(driven) = Driven::take(shard) {
                runtime.spawn(drive(Arc::downgrade(&self.0), driven));
            }
        }
        Ok(())
    }

    async fn accept(&self, change: Change<K, V>) -> Result<(), StoreError> {
        match self.enter(change).await? {
            Some(appending) => {
                let seq = appending.await.map_err(refused)?;
                // Put aside before it was answered: nobody could ask for it later.
                if self.0.shards[0].is_dead(seq) { Err(refused(dead())) } else { Ok(()) }
            }
            None => Ok(()),
        }
    }

    /// Has a write take its place. It is accepted when it is in the log, where there is one.
    async fn enter(&self, change: Change<K, V>) -> Result<Option<Appending>, StoreError> {
        self.start().map_err(refused)?;
        let record = self.record(&change)?;
        match self.try_enter(change, record) {
            Ok(entered) => Ok(entered),
            Err(refusal) => self.at_limit(refusal).await,
        }
    }

    fn record(&self, change: &Change<K, V>) -> Result<Option<Vec<u8>>, StoreError> {
        self.0.log.as_ref().map(|log| log.encode(change)).transpose().map_err(refused)
    }

    #[inline]
    fn try_enter(
        &self,
        change: Change<K, V>,
        record: Option<Vec<u8>>,
    ) -> Result<Option<Appending>, Refusal<K, V>> {
        let shard = self.shard(change.key());
        match (&self.0.log, record) {
            (Some(log), Some(record)) => shard.append(change, record, &**log, || self.0.now()).map(Some),
            _ => {
                let bytes = (self.0.weigh)(&change);
                shard.accept(change, bytes, || self.0.now()).map(|()| None)
            }
        }
    }

    /// What becomes of a write for which there is no room.
    #[cold]
    async fn at_limit(&self, refusal: Refusal<K, V>) -> Result<Option<Appending>, StoreError> {
        let (change, record) = match refusal {
            Refusal::Ended(why) => return Err(ended(why)),
            Refusal::Full(change, record) => (change, record),
        };
        self.0.emit(&Event::AtLimit);
        match self.0.settings.at_limit {
            AtLimit::Reject => Err(full()),
            AtLimit::Block(patience) => self.wait_for_room(change, record, time::from_now(patience)).await,
            AtLimit::WriteThrough => {
                self.settle(std::slice::from_ref(change.key())).await.map_err(refused)?;
                self.0.destination.write_now(&change).await.map(|()| None)
            }
        }
    }

    async fn wait_for_room(
        &self,
        mut change: Change<K, V>,
        mut record: Option<Vec<u8>>,
        until: Instant,
    ) -> Result<Option<Appending>, StoreError> {
        let shard = Arc::clone(self.shard(change.key()));
        loop {
            let mut room = std::pin::pin!(shard.room.notified());
            // Before looking: room that is made in between must not be missed.
            room.as_mut().enable();
            (change, record) = match self.try_enter(change, record) {
                Ok(entered) => return Ok(entered),
                Err(Refusal::Ended(why)) => return Err(ended(why)),
                Err(Refusal::Full(change, record)) => (change, record),
            };
            if time::within(until, room).await.is_err() {
                return Err(full());
            }
        }
    }

    /// What is found in a log may be in the store already, and have been changed there since: it is not read before that
    /// is known.
    async fn is_ready(&self) -> Result<(), StoreError> {
        if self.0.log.is_none() || self.0.shards[0].is_claimed() {
            return Ok(());
        }
        self.start()?;
        let shard = &self.0.shards[0];
        loop {
            let mut changed = std::pin::pin!(shard.room.notified());
            changed.as_mut().enable();
            if shard.is_claimed() {
                return Ok(());
            }
            changed.await;
        }
    }
}

#[async_trait]
impl<K: Key + Ord, V: Value> Loader<K, V> for WriteBehind<K, V> {
    /// What waits for `key`, or else what the store has.
    async fn load(&self, key: &K) -> Result<Option<V>, StoreError> {
        self.is_ready().await?;
        let shard = self.shard(key);
        if let Some(waiting) = shard.read(key)? {
            return Ok(waiting);
        }
        let stored = self.0.destination.load(key).await?;
        // A write that was accepted meanwhile is newer than what the store has said.
        Ok(shard.read(key)?.unwrap_or(stored))
    }

    async fn load_many(&self, keys: &[K]) -> Vec<Result<Option<V>, StoreError>> {
        if let Err(error) = self.is_ready().await {
            let error = Error::store(error);
            return keys.iter().map(|_| Err(StoreError::from(error.clone()))).collect();
        }
        let waiting = |key: &K| self.shard(key).read(key).map_err(StoreError::from).transpose();
        let mut answers: Vec<Option<_>> = keys.iter().map(waiting).collect();
        let missing: Vec<usize> = (0..keys.len()).filter(|at| answers[*at].is_none()).collect();
        if !missing.is_empty() {
            let wanted: Vec<K> = missing.iter().map(|at| keys[*at].clone()).collect();
            let stored = self.0.destination.load_many(&wanted).await;
            if stored.len() != wanted.len() {
                // Whoever asked sees that it is wrong.
                return stored;
            }
            for (at, stored) in missing.into_iter().zip(stored) {
                answers[at] = Some(waiting(&keys[at]).unwrap_or(stored));
            }
        }
        answers.into_iter().flatten().collect()
    }
}

#[async_trait]
impl<K: Key + Ord, V: Value> Store<K, V> for WriteBehind<K, V> {
    async fn save(&self, key: &K, value: &V) -> Result<Saved<V>, StoreError> {
        self.accept(Change::Put(key.clone(), value.clone())).await.map(Into::into)
    }

    async fn delete(&self, key: &K) -> Result<(), StoreError> {
        self.accept(Change::Delete(key.clone())).await
    }

    /// Accepts them in their order, and waits for the log once.
    async fn apply(&self, changes: &[Change<K, V>]) -> Result<(), StoreError> {
        let mut appending = Vec::new();
        for (done, change) in changes.iter().enumerate() {
            let entered = self.enter(change.clone()).await.map_err(|error| error.after(done))?;
            appending.extend(entered);
        }
        let mut is_dead = false;
        for appending in appending {
            let seq = appending.await.map_err(refused)?;
            is_dead |= self.0.shards[0].is_dead(seq);
        }
        // The others are accepted.
        if is_dead { Err(refused(dead()).after(changes.len() - 1)) } else { Ok(()) }
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
        if writes > 0 {
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

fn ended(why: Error) -> StoreError {
    refused(why.with_outcome(Outcome::NotApplied))
}

fn full() -> StoreError {
    let why = "as many writes wait for the store as may; it is slower than its writers, or fails";
    refused(Error::new(ErrorKind::Full, why).with_outcome(Outcome::NotApplied))
}

fn no_runtime() -> Error {
    Error::new(
        ErrorKind::NoRuntime,
        "writes are brought to the store by a task: call from inside a tokio runtime, built with `enable_time`",
    )
    .with_outcome(Outcome::NotApplied)
}
