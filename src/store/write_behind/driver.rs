//! The task that brings the writes of one shard to the store: looks what is due, has the store do it, finds out what became
//! of it.
//!
//! ```text
//!   claim the shard ──► look ──► give the store a batch ──► taken: settle, have the copies dropped
//!                        ▲                │
//!                        │                ├──► surely not taken: the flusher says when again, and how much
//!                        └────────────────┴──► nobody knows: ask the store for its offset until it answers
//! ```

use std::panic::AssertUnwindSafe;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::{Duration, SystemTime};

use futures_util::FutureExt;

use super::Parts;
use super::destination::Given;
use super::flusher::Failure;
use super::pending::{What, Work};
use super::shard::{Look, Shard};
use crate::bounds::{Key, Value};
use crate::error::{Error, ErrorKind, Fault, Outcome, Result, StoreError};
use crate::event::Event;
use crate::journal::Found;
use crate::store::{Change, Claim, DeadLetter, Seq};
use crate::time::{self, Timestamp, Unanswered};

/// Why a merge is put aside that the store might take.
const FOLLOWS: &str = "an earlier merge into the same key has been put aside";

/// How many dead letters of a shard are looked through for merges at once.
const LOOKED_THROUGH: usize = 1_000;

/// Keeps track of a driver for as long as it exists, also when it is dropped with its runtime.
pub(super) struct Driven<K, V>(Arc<Shard<K, V>>);

impl<K: Key, V: Value> Driven<K, V> {
    /// `None` if there is one already.
    pub(super) fn take(shard: &Arc<Shard<K, V>>) -> Option<Self> {
        let is_first = !shard.is_driven.swap(true, Ordering::AcqRel);
        is_first.then(|| Self(Arc::clone(shard)))
    }
}

impl<K, V> Drop for Driven<K, V> {
    fn drop(&mut self) {
        self.0.driver_gone();
    }
}

/// When to look again.
pub(super) enum Next {
    Now,
    Then(Timestamp),
    WhenWoken,
    Never,
}

/// Brings writes to the store until there is nobody left who could add any. While it waits it keeps nothing alive.
pub(super) async fn drive<K: Key + Ord, V: Value>(parts: Weak<Parts<K, V>>, driven: Driven<K, V>) {
    let shard = Arc::clone(&driven.0);
    loop {
        let Some(strong) = parts.upgrade() else { return };
        let next = strong.step(&shard).await;
        let until = match &next {
            Next::Then(then) => Some(strong.moment(*then)),
            _ => None,
        };
        drop(strong);
        match (next, until) {
            (Next::Now, _) => {}
            (Next::Never, _) => return,
            (_, Some(until)) => _ = time::within(until, shard.wake.notified()).await,
            (_, None) => shard.wake.notified().await,
        }
    }
}

impl<K: Key + Ord, V: Value> Parts<K, V> {
    async fn step(&self, shard: &Arc<Shard<K, V>>) -> Next {
        let now = self.now();
        if let Some(oldest) = shard.is_newly_overdue(self.settings.alarm_age(), now) {
            self.emit(&Event::Overdue { oldest });
        }
        match shard.look(now) {
            Look::Claim => self.claim(shard).await,
            Look::Decide => self.decide(shard).await,
            Look::Give(work, epoch) => self.give(shard, work, epoch).await,
            Look::Collect(ownership) => return self.collect(shard, ownership).await,
            Look::Release(epoch) => self.release(shard, epoch).await,
            Look::WaitUntil(then) => return Next::Then(then),
            Look::Rest => return Next::WhenWoken,
            Look::End => return Next::Never,
        }
        match self.stop.is_cancelled() {
            true => Next::Never,
            false => Next::Now,
        }
    }

    async fn claim(&self, shard: &Arc<Shard<K, V>>) {
        match self.ask(self.destination.claim(shard.id)).await {
            Ok(None) => _ = shard.claimed(None),
            Ok(Some(claim)) => match misfit(claim, shard.range()) {
                Some(why) => self.give_up(shard, why),
                None => {
                    let parked = match self.parked_keys(shard).await {
                        Ok(parked) => parked,
                        Err(error) => {
                            shard.claim_unheard();
                            return self.unanswered(shard, error);
                        }
                    };
                    let had = shard.claimed(Some(claim));
                    shard.park(parked);
                    self.hand_over(had).await;
                }
            },
            Err(error) => {
                shard.claim_unheard();
                self.unanswered(shard, error);
            }
        }
    }

    /// Nobody has heard what became of the work: the store's offset says it. Of a store without offsets it is taken for
    /// not done, and done again.
    async fn decide(&self, shard: &Arc<Shard<K, V>>) {
        let Some(doubt) = shard.doubt() else { return };
        if !self.destination.keeps_offsets() {
            return shard.failed(Failure::Transient, self.now(), fastrand::f64());
        }
        let row = match self.ask(self.destination.offset(shard.id)).await {
            Err(error) => return self.unanswered(shard, error),
            Ok(Some(row)) if shard.claims_again(row.epoch()) => return,
            Ok(row) => row.filter(|row| row.epoch() == doubt.epoch).map(Claim::offset),
        };
        match row {
            Some(offset) if offset == doubt.after => shard.failed(doubt.failure, self.now(), fastrand::f64()),
            Some(offset) if offset == doubt.upto => {
                let letters = self.letters(shard, &doubt.work);
                let stored = shard.stored(&numbers(&letters));
                self.settle(shard, stored, doubt.work.writes(), &letters).await;
            }
            // An earlier try, of more writes or of fewer, was slower than the question what had become of it.
            Some(offset) if offset > doubt.after && offset <= doubt.last => {
                let writes = usize::try_from(offset - doubt.after).unwrap_or(usize::MAX);
                let stored = shard.stored_upto(offset, &[]);
                self.settle(shard, stored, writes, &[]).await;
            }
            // Who owns it next gives the store what this process has in hand.
            _ if self.shared.is_some() => self.forsake(shard),
            _ => self.give_up(shard, somebody_else()),
        }
    }

    /// The keys of which a merge is among the dead letters of a shard: those that follow are put aside, too.
    pub(super) async fn parked_keys(&self, shard: &Shard<K, V>) -> Result<Vec<K>, StoreError> {
        if self.destination.merges().is_none() {
            return Ok(Vec::new());
        }
        if !self.keeps_records() {
            return Ok(self.remembered_merges(shard.id));
        }
        let (mut parked, mut after) = (Vec::new(), 0);
        loop {
            let from = Some((shard.id.number(), after));
            let letters = self.destination.letters(shard.id.journal(), from, LOOKED_THROUGH);
            let letters = self.ask(async { letters.await.transpose() }).await?;
            let Some(letters) = letters else { return Ok(parked) };
            let is_all = letters.len() < LOOKED_THROUGH;
            for letter in &letters {
                if letter.shard() != shard.id {
                    return Ok(parked);
                }
                after = letter.seq();
                if let Ok(Change::Merge(key, _)) = self.decode(letter.record()) {
                    parked.push(key);
                }
            }
            if is_all {
                return Ok(parked);
            }
        }
    }

    /// Before something follows what was put aside: it may have been replayed or thrown away meanwhile, by anybody. Whether
    /// the work has become another.
    async fn unpark(&self, shard: &Shard<K, V>) -> bool {
        let Ok(parked) = self.parked_keys(shard).await else { return false };
        shard.keep_parked(|key| parked.contains(key));
        true
    }

    async fn give(&self, shard: &Arc<Shard<K, V>>, mut work: Work<K, V>, epoch: u64) {
        if !work.following.is_empty()
            && self.unpark(shard).await
            && let Some(now) = shard.doubt()
        {
            work = now.work;
        }
        let letters = self.letters(shard, &work);
        let writes = work.writes();
        let given = match self.put_aside(shard, &work, &letters).await {
            Ok(for_store) => {
                let _permit = self.permits.acquire().await;
                self.answer(self.destination.give(shard.id, epoch, work, for_store)).await
            }
            Err(error) => Given::Failed(StoreError::new(error).not_applied().transient()),
        };
        match given {
            Given::Taken => {
                let stored = shard.stored(&numbers(&letters));
                self.settle(shard, stored, writes, &letters).await;
            }
            // Of an earlier try of the same work, or of somebody else: the row says it.
            Given::Refused => {}
            // Of a transaction that is true of all of it; of changes one by one, perhaps only of the first.
            Given::Failed(error)
                if error.outcome() == Outcome::Applied && self.destination.keeps_offsets() =>
            {
                let stored = shard.stored(&numbers(&letters));
                self.settle(shard, stored, writes, &letters).await;
            }
            Given::Failed(error) => self.failed(shard, writes, error),
        }
    }

    /// Where a failure leaves open whether the store has the work, the doubt stays, and is looked into next.
    fn failed(&self, shard: &Arc<Shard<K, V>>, writes: usize, error: StoreError) {
        let failure = match error.fault() {
            Fault::Transient => Failure::Transient,
            Fault::Permanent => Failure::Permanent,
            Fault::Unclassified => Failure::Unclassified,
        };
        shard.doubt_as(failure, error.to_string());
        if error.outcome() != Outcome::Unknown || !self.destination.keeps_offsets() {
            shard.failed(failure, self.now(), fastrand::f64());
        }
        self.emit(&Event::FlushFailed { writes, error: &Error::store(error) });
    }

    /// Somebody did not say what was asked: it is asked again after a pause that grows.
    pub(super) fn unanswered(&self, shard: &Arc<Shard<K, V>>, error: StoreError) {
        let (first, longest) = self.settings.pauses;
        let pause = |times: u32| {
            let pause = first.saturating_mul(2_u32.saturating_pow(times.min(20))).min(longest);
            pause.mul_f64(1.0 - fastrand::f64() / 2.0)
        };
        shard.unanswered(pause, self.now());
        self.emit(&Event::FlushFailed { writes: 0, error: &Error::store(error) });
    }

    /// The work is in the store or put aside.
    async fn settle(
        &self,
        shard: &Arc<Shard<K, V>>,
        (mut keys, upto): (Vec<K>, Seq),
        writes: usize,
        letters: &[DeadLetter],
    ) {
        if let Some(log) = &self.log {
            log.settle(upto);
        }
        for letter in letters {
            self.emit(&Event::PutAside { seq: letter.seq() });
        }
        let replaced = shard.take_replaced();
        if writes > 0 || replaced > 0 {
            self.emit(&Event::Flushed { writes, replaced });
        }
        keys.sort_unstable();
        self.hand_over(keys).await;
    }

    /// What has been written is dropped from the copies: the store may have made something else of it.
    pub(super) async fn hand_over(&self, keys: Vec<K>) {
        if let Some(hear) = self.flushed.get()
            && !keys.is_empty()
        {
            hear(keys).await;
        }
    }

    /// The letters of work: what cannot be read, and what the store will not take.
    fn letters(&self, shard: &Shard<K, V>, work: &Work<K, V>) -> Vec<DeadLetter> {
        let unreadable = work.operations.iter().filter_map(|(seq, what)| match what {
            What::Unreadable(record, why) => Some(self.letter(shard, *seq, why.clone(), record.clone())),
            What::Change(_) => None,
        });
        let mut letters: Vec<_> = unreadable.collect();
        for (seq, what) in work.operations.iter().filter(|(seq, _)| work.following.contains(seq)) {
            if let What::Change(change) = what {
                letters.push(self.letter(shard, *seq, FOLLOWS.to_owned(), self.encode(change)));
            }
        }
        if let Some((seq, what)) = &work.parked {
            let record = match (what, self) {
                (What::Unreadable(record, _), _) => record.clone(),
                (What::Change(change), keeps) => keeps.encode(change),
            };
            letters.push(self.letter(shard, *seq, shard.last_words(), record));
        }
        letters
    }

    fn letter(&self, shard: &Shard<K, V>, seq: Seq, why: String, record: Vec<u8>) -> DeadLetter {
        DeadLetter::new(shard.id, seq, SystemTime::UNIX_EPOCH + time::since_1970(), why, record)
    }

    /// Puts letters aside where the store does not do it; the others, for the store.
    async fn put_aside(
        &self,
        shard: &Shard<K, V>,
        work: &Work<K, V>,
        letters: &[DeadLetter],
    ) -> Result<Vec<DeadLetter>> {
        match &self.log {
            _ if letters.is_empty() => Ok(Vec::new()),
            _ if self.keeps_records() && self.destination.keeps_offsets() => Ok(letters.to_vec()),
            Some(log) => log.put_aside(letters).await.map(|()| Vec::new()),
            None => {
                self.remember(shard, work, letters);
                Ok(Vec::new())
            }
        }
    }

    /// Ends the shard: what waits in it cannot be written by this process.
    pub(super) fn give_up(&self, shard: &Arc<Shard<K, V>>, why: Error) {
        self.emit(&Event::JournalFailed { error: &why });
        shard.end(why);
    }

    /// Whether what waits is written down somewhere.
    pub(super) const fn keeps_records(&self) -> bool {
        self.log.is_some() || self.shared.is_some()
    }

    fn decode(&self, record: &[u8]) -> Result<Change<K, V>, String> {
        match (&self.log, &self.shared) {
            (Some(log), _) => log.decode(record),
            (None, Some(shared)) => shared.stream.decode(record),
            (None, None) => Err("there are no records here".to_owned()),
        }
    }

    /// The record of a change, where there are any.
    fn encode(&self, change: &Change<K, V>) -> Vec<u8> {
        match (&self.log, &self.shared) {
            (Some(log), _) => log.encode(change).unwrap_or_default(),
            (None, Some(shared)) => shared.stream.encode(change).unwrap_or_default(),
            (None, None) => Vec::new(),
        }
    }

    /// An answer of the store, or what it means that there is none.
    async fn answer(&self, asked: impl Future<Output = Given>) -> Given {
        self.bounded(asked).await.unwrap_or_else(Given::Failed)
    }

    pub(super) async fn ask<T>(
        &self,
        asked: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        self.bounded(asked).await?
    }

    /// A store that does not answer, or panics, has failed, and nobody knows how far it had come.
    async fn bounded<T>(&self, asked: impl Future<Output = T>) -> Result<T, StoreError> {
        let until = time::from_now(self.settings.store_deadline);
        let stopped = self.stop.cancelled();
        let asked = AssertUnwindSafe(asked).catch_unwind();
        let answer = tokio::select! {
            biased;
            answer = time::within(until, asked) => answer,
            () = stopped => return Err(StoreError::new("write-behind was closed before the store answered")),
        };
        match answer {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(_panic)) => Err(StoreError::new("the store panicked")),
            Err(Unanswered::Late) => {
                Err(StoreError::new("the store did not answer within its deadline").transient())
            }
            Err(Unanswered::NoTimer) => Err(StoreError::new("there are no timers here").transient()),
        }
    }

    pub(super) fn moment(&self, then: Timestamp) -> tokio::time::Instant {
        self.began + Duration::from_nanos(then.as_nanos())
    }
}

impl<K, V> Work<K, V> {
    /// How many operations the store is to have.
    fn writes(&self) -> usize {
        let changes = self.operations.iter().filter(|(_, what)| matches!(what, What::Change(_)));
        changes.count() - self.following.len()
    }
}

fn numbers(letters: &[DeadLetter]) -> Vec<Seq> {
    letters.iter().map(DeadLetter::seq).collect()
}

/// The store has had all up to `offset`, and what came after that up to `forgotten` is in neither.
pub(super) fn store_is_behind(offset: Seq, forgotten: Seq) -> Error {
    let what = format!(
        "the store has writes up to {offset} of this journal, and the journal begins after {forgotten}: those between \
         are in neither. Was the store restored from a backup? Restore the journal with it, or begin a new one. Was the \
         journal written to another store so far, or without `exactly_once`? Finish it there first"
    );
    Error::new(ErrorKind::Journal, what)
}

/// Why a store's offset cannot be that of a journal which has forgotten all up to `forgotten`, and had `last` at the end.
fn misfit(claim: Claim, (forgotten, last): (Seq, Seq)) -> Option<Error> {
    let offset = claim.offset();
    if offset < forgotten {
        return Some(store_is_behind(offset, forgotten));
    }
    if offset <= last {
        return None;
    }
    let what = format!(
        "the store has writes up to {offset} of this journal, and the journal ends at {last}: it is an old copy, or has lost \
         its end. What it would accept now would be taken for written. Begin a new journal"
    );
    Some(Error::new(ErrorKind::Journal, what))
}

fn somebody_else() -> Error {
    Error::new(
        ErrorKind::Journal,
        "another process has taken this journal over: its row in the store is not this one's any more",
    )
}

/// What was found cannot be more than the journal says, nor can more be settled than it has had.
pub(super) fn is_whole<K, V>(found: &Found<K, V>) -> bool {
    let due = found.first..found.next;
    let is_possible = found.first > 0 && found.settled < found.next;
    is_possible && found.writes.iter().map(|write| write.seq).eq(due)
}
