//! Writes that wait in a stream which many processes write to: how they come to wait, what readers see, and when they have
//! left it. Who owns which shard of it is in `steward`.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::join_all;
use parking_lot::Mutex;
use tokio::sync::{Notify, OnceCell, Semaphore};
use tokio::time::Instant;

use super::accepting::{ended, full};
use super::counting::{Numbered, unmerged};
use super::driver::{Next, store_is_behind};
use super::last_writes::LastWrites;
use super::letters::refused;
use super::settings::{AtLimit, Settings};
use super::shard::{Ownership, Place, Shard, closed, dead};
use super::{Backlog, Parts, Ticket, WriteBehind};
use crate::bounds::{Key, Value};
use crate::error::{Error, ErrorKind, Outcome, Result, StoreError};
use crate::event::Event;
use crate::journal::{FoundWrite, Stream, Waiting};
use crate::store::{Change, Seq, ShardId};
use crate::stream::{Collect, Collected, Given, Limits, Number, Standing};
use crate::time;

/// How often an owner asks whether anything is due or wanted: not more seldom, and not more often.
const ASKS: (Duration, Duration) = (Duration::from_millis(10), Duration::from_millis(250));
/// How long somebody who waits for others pauses between two looks: at first, and at the most.
const PAUSES: (Duration, Duration) = (Duration::from_millis(2), Duration::from_millis(50));

/// How many of those who wait for room in a shard look for it at once: one alone would be a round trip behind the other.
const AT_ONCE: usize = 32;

/// Why a write is put aside that has outlived two servers.
const DOUBTFUL: &str = "its server was replaced twice with nobody there to see it, and by one whose clock is behind: the store \
                        may have this write already, or not. Look, and replay or discard it";

/// What this process has to do with a stream.
pub(super) struct Shared<K, V> {
    pub(super) stream: Arc<dyn Stream<K, V>>,
    /// What this process is known by.
    pub(super) process: u64,
    limits: Limits,
    written: Mutex<LastWrites<K>>,
    /// Whether anybody asks.
    gives_tickets: AtomicBool,
    places: OnceLock<Box<[Arc<dyn Place>]>>,
    /// How each shard stood when the steward last looked.
    pub(super) standings: Mutex<Vec<Standing>>,
    pub(super) is_stewarded: AtomicBool,
    /// Those who wait for room in each shard, in the order of their coming.
    queues: Box<[Semaphore]>,
    /// Whether this process has been counted among those that write to the stream.
    is_counted: OnceCell<()>,
    /// Tells the steward that a shard has been forsaken.
    pub(super) nudge: Arc<Notify>,
}

impl<K: Key + Ord, V: Value> Shared<K, V> {
    pub(super) fn new(stream: Arc<dyn Stream<K, V>>, settings: &Settings, shards: u16) -> Self {
        let bounds = settings.bounds(shards);
        let limits = Limits {
            writes: bounds.operations as u64,
            bytes: bounds.bytes as u64,
            age: settings.max_age.map_or(0, |age| micros(age).max(1)),
        };
        Self {
            stream,
            process: fastrand::u64(1..),
            limits,
            written: Mutex::default(),
            gives_tickets: AtomicBool::new(false),
            places: OnceLock::new(),
            standings: Mutex::new(vec![Standing::default(); usize::from(shards)]),
            is_stewarded: AtomicBool::new(false),
            queues: (0..shards).map(|_| Semaphore::new(AT_ONCE)).collect(),
            is_counted: OnceCell::new(),
            nudge: Arc::default(),
        }
    }

    /// Has this process counted among those that write to the stream, if it is not: before it reads or writes anything there.
    pub(super) async fn join(&self) -> Result<()> {
        let counted = async || self.stream.beat(self.process, self.stream.lease()).await.map(drop);
        self.is_counted.get_or_try_init(counted).await.copied()
    }

    /// From now on somebody asks what can be awaited of each write.
    pub(super) fn give_tickets(&self) {
        self.gives_tickets.store(true, Ordering::Release);
    }

    /// What can be awaited of the last writes of `keys`, once.
    pub(super) fn ticket(&self, keys: &[K]) -> Option<Ticket> {
        let places = self.places.get()?;
        let mut written = self.written.lock();
        let spots = keys.iter().filter_map(|key| {
            let (shard, number) = written.take(key)?;
            Some((Arc::clone(places.get(usize::from(shard))?), number))
        });
        Ticket::of(spots.collect())
    }

    fn note_written(&self, key: &K, shard: u16, number: Number) {
        if self.gives_tickets.load(Ordering::Acquire) {
            self.written.lock().note(key.clone(), shard, number, Instant::now());
        }
    }

    pub(super) fn backlog(&self) -> Backlog {
        let standings = self.standings.lock();
        standings.iter().fold(Backlog::default(), |all, standing| Backlog {
            writes: all.writes + standing.writes as usize,
            bytes: all.bytes + standing.bytes as usize,
            oldest: all.oldest.max((standing.writes > 0).then(|| Duration::from_micros(standing.age))),
        })
    }
}

impl<K: Key + Ord, V: Value> WriteBehind<K, V> {
    /// Tells the stream's tickets where to look.
    pub(super) fn give_places(&self) {
        let Some(shared) = &self.0.shared else { return };
        let place = |shard: &Arc<Shard<K, V>>| {
            Arc::new(Elsewhere { parts: Arc::downgrade(&self.0), id: shard.id }) as Arc<dyn Place>
        };
        _ = shared.places.set(self.0.shards.iter().map(place).collect());
    }

    /// Has a write wait in the stream; it is accepted when the stream has it: its number.
    pub(super) async fn append(
        &self,
        shared: &Shared<K, V>,
        change: &Change<K, V>,
    ) -> Result<Seq, StoreError> {
        self.start().map_err(refused)?;
        shared.join().await.map_err(refused)?;
        let record = shared.stream.encode(change).map_err(refused)?;
        let shard = self.shard(change.key());
        let queue = &shared.queues[usize::from(shard.id.number())];
        // Behind those who wait for room already: else each place that is made would be taken by whoever has just come. Who
        // finds nobody waiting takes no turn: turns are for those who found no room.
        let nobody_waits = queue.try_acquire().is_ok();
        if nobody_waits && let Some(seq) = self.try_append(shared, shard, change, &record).await? {
            return Ok(seq);
        }
        self.0.emit(&Event::AtLimit);
        let AtLimit::Block(patience) = self.0.settings.at_limit else { return Err(full()) };
        let until = time::from_now(patience);
        let Ok(_turn) = time::within(until, queue.acquire()).await else { return Err(full()) };
        loop {
            if let Some(seq) = self.try_append(shared, shard, change, &record).await? {
                return Ok(seq);
            }
            // Those that wait, wait for others to join them, and none can.
            self.hurry(shared, shard).await.map_err(refused)?;
            if Instant::now() >= until {
                return Err(full());
            }
            rest(&mut { PAUSES.0 }).await.map_err(refused)?;
        }
    }

    /// The number of a write that has come to wait; `None` if there is no room.
    async fn try_append(
        &self,
        shared: &Shared<K, V>,
        shard: &Shard<K, V>,
        change: &Change<K, V>,
        record: &[u8],
    ) -> Result<Option<Seq>, StoreError> {
        if let Some(why) = shard.ended() {
            return Err(ended(why));
        }
        let appended = shared.stream.append(change, record, shared.limits).await.map_err(refused)?;
        if let Some(number) = appended {
            shared.note_written(change.key(), shard.id.number(), number);
        }
        Ok(appended.map(|number| number.seq))
    }

    /// What waits, or else what the store has.
    ///
    /// First what waits: `R: the store has 1 · O: commits 2, and what waits is forgotten · R: nothing waits` would answer 1
    /// after 2 was answered.
    pub(super) async fn load_shared(
        &self,
        shared: &Shared<K, V>,
        keys: &[K],
    ) -> Vec<Result<Option<V>, StoreError>> {
        let waiting = match self.waiting(shared, keys).await {
            Ok(waiting) => waiting,
            Err(error) => return keys.iter().map(|_| Err(StoreError::from(error.clone()))).collect(),
        };
        let said = keys.iter().zip(waiting).map(|(key, waiting)| self.said_by(key, waiting));
        let mut answers: Vec<Option<_>> = join_all(said).await;
        let missing: Vec<usize> = (0..keys.len()).filter(|at| answers[*at].is_none()).collect();
        if !missing.is_empty() {
            let wanted: Vec<K> = missing.iter().map(|at| keys[*at].clone()).collect();
            let stored = self.0.destination.load_many(&wanted).await;
            if stored.len() != wanted.len() {
                // Whoever asked sees that it is wrong.
                return stored;
            }
            for (at, stored) in missing.into_iter().zip(stored) {
                answers[at] = Some(stored);
            }
        }
        answers.into_iter().flatten().collect()
    }

    /// What is said of a key by what waits for it: `None`, ask the store.
    async fn said_by(
        &self,
        key: &K,
        waiting: Result<Vec<Waiting<K, V>>>,
    ) -> Option<Result<Option<V>, StoreError>> {
        let waiting = match waiting {
            Ok(waiting) => waiting,
            Err(error) => return Some(Err(StoreError::from(error))),
        };
        match (&waiting.last()?.change, self.0.destination.merges()) {
            (Change::Put(_, value), _) => Some(Ok(Some(value.clone()))),
            (Change::Delete(_), _) => Some(Ok(None)),
            (Change::Merge(..), Some(merges)) => Some(self.total(merges, key, numbered(waiting)).await),
            (Change::Merge(..), None) => Some(Err(refused(unmerged()))),
        }
    }

    /// What waits for one key.
    pub(super) async fn waiting_for(&self, shared: &Shared<K, V>, key: &K) -> Result<Numbered<K, V>> {
        let waiting = self.waiting(shared, std::slice::from_ref(key)).await?.pop();
        waiting.map_or(Ok(Vec::new()), |waiting| waiting.map(numbered))
    }

    /// What waits for `keys`, once an owner has met the server that says so.
    async fn waiting(&self, shared: &Shared<K, V>, keys: &[K]) -> Result<Vec<Result<Vec<Waiting<K, V>>>>> {
        shared.join().await?;
        let mut pause = PAUSES.0;
        loop {
            let waiting = shared.stream.waiting(keys).await;
            if !waiting.iter().any(|waiting| matches!(waiting, Ok(None))) {
                return Ok(waiting
                    .into_iter()
                    .map(|waiting| waiting.map(Option::unwrap_or_default))
                    .collect());
            }
            self.start()?;
            rest(&mut pause).await?;
        }
    }

    /// Resolves when all that waits now is in the store or put aside.
    pub(super) async fn flush_shared(&self, shared: &Shared<K, V>) -> Result<()> {
        for shard in &self.0.shards {
            // Wanted in all of them before any is waited for.
            self.hurry(shared, shard).await?;
        }
        for shard in &self.0.shards {
            let last = shared.stream.look(shard.id.number(), 0, Number::default()).await?.last;
            self.left(shared, shard.id, last, Number::default()).await?;
        }
        Ok(())
    }

    /// Resolves when nothing waits for `keys`.
    pub(super) async fn settle_shared(&self, shared: &Shared<K, V>, keys: &[K]) -> Result<()> {
        self.start()?;
        let mut pause = PAUSES.0;
        loop {
            let waiting = self.waiting(shared, keys).await?;
            let mut is_settled = true;
            for (key, waiting) in keys.iter().zip(waiting) {
                if !waiting?.is_empty() {
                    is_settled = false;
                    self.hurry(shared, self.shard(key)).await?;
                }
            }
            if is_settled {
                return Ok(());
            }
            rest(&mut pause).await?;
        }
    }

    /// Has all that waits in a shard written without delay, whoever owns it.
    async fn hurry(&self, shared: &Shared<K, V>, shard: &Shard<K, V>) -> Result<()> {
        shared.stream.look(shard.id.number(), Seq::MAX, Number::default()).await?;
        shard.wake.notify_one();
        Ok(())
    }

    /// Resolves when a shard has nothing up to `seq` any more, if it has kept the write of that `number`.
    async fn left(&self, shared: &Shared<K, V>, shard: ShardId, seq: Seq, number: Number) -> Result<()> {
        let mut pause = PAUSES.0;
        loop {
            let standing = shared.stream.look(shard.number(), 0, number).await?;
            if !standing.is_kept {
                return Err(replaced());
            }
            // A server that has lost its end may never come to where it was.
            if standing.floor >= seq.min(standing.last) {
                return Ok(());
            }
            self.start()?;
            if let Some(why) = self.0.shards[usize::from(shard.number())].ended_for_good() {
                return Err(why);
            }
            rest(&mut pause).await?;
        }
    }
}

impl<K: Key + Ord, V: Value> Parts<K, V> {
    /// Asks the stream what is due.
    pub(super) async fn collect(&self, shard: &Arc<Shard<K, V>>, ownership: Ownership) -> Next {
        let Some(shared) = &self.shared else { return Next::WhenWoken };
        let (delay, Ownership { epoch, life, offset }) = (self.settings.delay, ownership);
        let collect = Collect { life, epoch, offset, most: self.settings.batch, delay: micros(delay) };
        let asks = (delay / 2).clamp(ASKS.0, ASKS.1);
        let collected = match shared.stream.collect(shard.id.number(), collect).await {
            Ok(Some(collected)) => collected,
            // Whoever meets a server first must know the offset for sure: `O: owns, is stopped · P: claims, collects, commits ·
            // the server dies, an earlier copy takes over · O: goes on, and meets it with the offset of before P`.
            Ok(None) => {
                self.forsake(shard);
                return Next::Now;
            }
            Err(error) => {
                self.unanswered(shard, StoreError::new(error));
                return Next::Now;
            }
        };
        match collected {
            Collected::Superseded => self.forsake(shard),
            Collected::Behind(forgotten) => self.give_up(shard, store_is_behind(offset, forgotten)),
            Collected::Nothing(met) => {
                self.note_met(met.lost_its_end, met.moved);
                return Next::Then(self.now().after(asks));
            }
            Collected::Later(met, wait) => {
                self.note_met(met.lost_its_end, met.moved);
                return Next::Then(self.now().after(asks.min(Duration::from_micros(wait))));
            }
            Collected::Due(met, batch) => {
                self.note_met(met.lost_its_end, met.moved);
                let found = batch.into_iter().map(|Given { seq, record, is_doubtful }| {
                    let change = match is_doubtful {
                        true => Err(DOUBTFUL.to_owned()),
                        false => shared.stream.decode(&record),
                    };
                    FoundWrite { seq, record, change }
                });
                shard.arrive(epoch, found.collect(), self.now());
            }
        }
        Next::Now
    }

    fn note_met(&self, lost_its_end: bool, moved: u64) {
        if lost_its_end || moved > 0 {
            self.emit(&Event::JournalRegressed { moved });
        }
    }

    /// Leaves a shard to another process.
    pub(super) async fn release(&self, shard: &Arc<Shard<K, V>>, epoch: u64) {
        // If the store does not hear of it, the lease runs out.
        _ = self.ask(self.destination.release(shard.id, epoch)).await;
        shard.forsake();
    }

    /// This process does not own a shard any more, or has to claim it anew.
    pub(super) fn forsake(&self, shard: &Shard<K, V>) {
        shard.forsake();
        if let Some(shared) = &self.shared {
            shared.nudge.notify_one();
        }
    }
}

fn numbered<K, V>(waiting: Vec<Waiting<K, V>>) -> Numbered<K, V> {
    waiting.into_iter().map(|Waiting { seq, change }| (seq, change)).collect()
}

async fn rest(pause: &mut Duration) -> Result<()> {
    let timer = time::timer(time::from_now(*pause)).map_err(|_| super::no_runtime())?;
    timer.await;
    *pause = (*pause * 2).min(PAUSES.1);
    Ok(())
}

fn replaced() -> Error {
    let what = "the server of the journal was replaced, and does not have this write as it was answered: it may be lost";
    Error::new(ErrorKind::Journal, what).with_outcome(Outcome::Unknown)
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX).min(1 << 52)
}

/// A shard that any process may bring to the store.
struct Elsewhere<K, V> {
    parts: Weak<Parts<K, V>>,
    id: ShardId,
}

#[async_trait]
impl<K: Key + Ord, V: Value> Place for Elsewhere<K, V> {
    async fn settled(&self, number: Number) -> Result<()> {
        let behind = WriteBehind(self.parts.upgrade().ok_or_else(closed)?);
        let Some(shared) = &behind.0.shared else { return Err(closed()) };
        let seq = number.seq;
        behind.left(shared, self.id, seq, number).await?;
        let letters =
            behind.0.destination.letters(self.id.journal(), Some((self.id.number(), seq - 1)), 1).await;
        let letters = letters.transpose().map_err(Error::store)?.unwrap_or_default();
        match letters.first() {
            Some(letter) if letter.shard() == self.id && letter.seq() == seq => Err(dead()),
            _ => Ok(()),
        }
    }

    async fn durable(&self, _number: Number) -> Result<()> {
        // A write that is answered is in the stream.
        Ok(())
    }
}

impl<K, V> fmt::Debug for Shared<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").finish_non_exhaustive()
    }
}
