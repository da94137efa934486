//! One sequence of pending writes: what callers add at one end, and the driver takes from the other.

use std::collections::{BTreeSet, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use tokio::sync::{Notify, watch};

use super::flusher::{Failure, Order};
use super::pending::{Full, Pending, What, Work};
use crate::bounds::{Key, Value};
use crate::error::{Error, ErrorKind, Result};
use crate::journal::{Appending, Found, FoundWrite, Log};
use crate::store::{Change, Claim, Seq, ShardId};
use crate::stream::Number;
use crate::time::Timestamp;

/// How many numbers of dead letters are remembered, for those who ask later what became of a write.
const REMEMBERED: usize = 10_000;

pub(super) struct Shard<K, V> {
    pub(super) id: ShardId,
    state: Mutex<State<K, V>>,
    /// Tells the driver that there is something to look at.
    pub(super) wake: Notify,
    /// Tells callers that there may be room.
    pub(super) room: Notify,
    settled: watch::Sender<Settled>,
    /// Whether a driver is at work.
    pub(super) is_driven: AtomicBool,
    /// Starts one, in whichever runtime this is.
    starter: OnceLock<Starter>,
    /// How long the oldest write may have waited before no more are accepted.
    max_age: Option<Duration>,
    /// Whether a write that is answered outlives the process.
    is_logged: bool,
    /// Whether other processes want to own it as well, and a steward claims it.
    is_shared: bool,
}

pub(super) type Starter = Box<dyn Fn() -> Result<()> + Send + Sync>;

struct State<K, V> {
    pending: Pending<K, V>,
    /// Appended to the log, and not durable yet. Nobody sees them: readers would see what a power loss takes back, and a
    /// store would have what the log has forgotten, under a number that is then given to another.
    arriving: VecDeque<Arriving<K, V>>,
    arriving_bytes: usize,
    /// Up to which number somebody wants all to be settled.
    wanted: Seq,
    /// Why nothing more is accepted.
    end: Option<Error>,
    claim: Standing,
    parting: Parting,
    /// In which life its server was before it was claimed, where it has one.
    life: u32,
    /// The number of the last write that was found in the log when it was opened.
    inherited: Seq,
    /// Whether nobody knows what became of the work that is under way.
    in_doubt: bool,
    /// What its failure was, if the store turns out not to have it.
    doubt: Failure,
    /// How often this process may have claimed the row without hearing of it.
    unheard: u64,
    /// How often in a row the store did not say what was asked of it, and when to ask again.
    unanswered: u32,
    ask_again: Timestamp,
    /// When the driver last looked, or somebody wrote, if writes may be too old. What is accepted while others wait is
    /// dated by it: too early by one look at the most.
    looked: Timestamp,
    is_overdue: bool,
    /// What the store said when it last refused something.
    last_words: String,
}

struct Arriving<K, V> {
    change: Change<K, V>,
    bytes: usize,
}

/// How this process stands to the shard's row in the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// It has not asked.
    Unclaimed,
    /// It owns the row, in this epoch; 0 of a store without rows.
    Owner(u64),
    /// Somebody else owns it, or it does not fit the journal.
    Gone,
}

/// Whether this process is to own the shard no more, once nothing is under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Parting {
    No,
    /// It leaves it to another.
    Leaves,
    /// Another has it already.
    Lost,
}

#[derive(Clone, Debug, Default)]
struct Settled {
    upto: Seq,
    /// No write after this one has been accepted, nor will be: the log has failed.
    last: Option<Seq>,
    dead: Arc<BTreeSet<Seq>>,
    /// It will not get any further, in this process.
    ended: Option<Error>,
}

impl Settled {
    /// What is known of `seq`; `None` as long as it is nothing.
    fn of(&self, seq: Seq) -> Option<Result<()>> {
        let due = self.last.map_or(seq, |last| last.min(seq));
        match &self.ended {
            _ if self.dead.contains(&seq) => Some(Err(dead())),
            _ if self.upto >= due => Some(Ok(())),
            ended => ended.as_ref().map(|why| Err(why.clone())),
        }
    }
}

/// What the driver is to do.
pub(super) enum Look<K, V> {
    Claim,
    Decide,
    Give(Work<K, V>, u64),
    /// Ask a stream what is due.
    Collect(Ownership),
    /// Leave the shard to another, in this epoch.
    Release(u64),
    WaitUntil(Timestamp),
    Rest,
    End,
}

/// How an owner of a shard stands to the stream that it is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ownership {
    pub(super) epoch: u64,
    /// In which life the server was before the shard was claimed.
    pub(super) life: u32,
    /// Up to where the store has all.
    pub(super) offset: Seq,
}

/// Work that was given to the store, and may be in it or not.
pub(super) struct Doubt<K, V> {
    pub(super) epoch: u64,
    pub(super) after: Seq,
    pub(super) upto: Seq,
    /// The number of the last write that the store can have.
    pub(super) last: Seq,
    pub(super) failure: Failure,
    pub(super) work: Work<K, V>,
}

/// The place that a write has.
pub(super) struct Taken<K, V> {
    pub(super) seq: Seq,
    /// Of a merge that others can be joined to: all that has come to its key with it.
    pub(super) so_far: Option<Vec<(Seq, Change<K, V>)>>,
}

/// Why a write was not accepted.
pub(super) enum Refusal<K, V> {
    /// There is no room.
    Full(Change<K, V>, Option<Vec<u8>>),
    /// Nothing is accepted any more.
    Ended(Error),
}

impl<K: Key, V: Value> Shard<K, V> {
    pub(super) fn new(
        id: ShardId,
        pending: Pending<K, V>,
        max_age: Option<Duration>,
        (is_logged, is_shared): (bool, bool),
    ) -> Self {
        let upto = pending.settled();
        Self {
            id,
            state: Mutex::new(State {
                pending,
                arriving: VecDeque::new(),
                arriving_bytes: 0,
                wanted: 0,
                end: None,
                claim: Standing::Unclaimed,
                parting: Parting::No,
                life: 0,
                inherited: upto,
                in_doubt: false,
                doubt: Failure::Transient,
                unheard: 0,
                unanswered: 0,
                ask_again: Timestamp::ZERO,
                looked: Timestamp::ZERO,
                is_overdue: false,
                last_words: String::new(),
            }),
            wake: Notify::new(),
            room: Notify::new(),
            settled: watch::Sender::new(Settled { upto, ..Settled::default() }),
            is_driven: AtomicBool::new(false),
            starter: OnceLock::new(),
            max_age,
            is_logged,
            is_shared,
        }
    }

    /// What an earlier process has left.
    pub(super) fn take_over(&self, found: Found<K, V>, now: Timestamp) {
        let mut state = self.state.lock();
        for write in found.writes {
            let bytes = write.record.len();
            match write.change {
                Ok(change) => _ = state.pending.take(change, bytes, now),
                Err(why) => _ = state.pending.take_unreadable(write.record, why, now),
            }
        }
        state.inherited = state.pending.accepted();
    }

    /// Takes a write that needs no log.
    #[inline]
    pub(super) fn accept(
        &self,
        change: Change<K, V>,
        weigh: impl Fn(&Change<K, V>) -> usize,
        clock: impl Fn() -> Timestamp,
    ) -> Result<Taken<K, V>, Refusal<K, V>> {
        let mut state = self.state.lock();
        if let Some(end) = &state.end {
            return Err(Refusal::Ended(end.clone()));
        }
        let is_first = state.pending.depth().0 == 0;
        let lacked = state.pending.lacks();
        if is_first || self.max_age.is_some() {
            state.looked = clock();
        }
        if state.is_too_old(self.max_age) {
            return Err(Refusal::Full(change, None));
        }
        let looked = state.looked;
        let merged = (!change.replaces()).then(|| change.key().clone());
        let seq = match state.pending.accept(change, weigh, looked) {
            Ok(seq) => seq,
            Err(Full(change)) => return Err(Refusal::Full(change, None)),
        };
        // Under the same lock: the next merge may take this one's place.
        let so_far = merged.and_then(|key| state.pending.so_far(&key));
        let is_batch = lacked > 0 && state.pending.lacks() == 0;
        drop(state);
        if is_first || is_batch {
            self.wake.notify_one();
        }
        Ok(Taken { seq, so_far })
    }

    /// Appends a write to the log, in the same order in which it will leave here.
    pub(super) fn append(
        &self,
        change: Change<K, V>,
        record: Vec<u8>,
        log: &dyn Log<K, V>,
        clock: impl Fn() -> Timestamp,
    ) -> Result<Appending, Refusal<K, V>> {
        let mut state = self.state.lock();
        if let Some(end) = &state.end {
            return Err(Refusal::Ended(end.clone()));
        }
        if self.max_age.is_some() {
            state.looked = clock();
        }
        let bytes = record.len();
        let (arriving, arriving_bytes) = (state.arriving.len(), state.arriving_bytes);
        if state.is_too_old(self.max_age) || !state.pending.has_room(arriving + 1, arriving_bytes + bytes) {
            return Err(Refusal::Full(change, Some(record)));
        }
        // Under the lock: two callers who appended in one order and queued here in the other would swap their writes.
        let appending = log.append(record);
        state.arriving.push_back(Arriving { change, bytes });
        state.arriving_bytes += bytes;
        Ok(appending)
    }

    /// The log has made all up to `upto` durable: readers and the store may have them.
    pub(super) fn durable(&self, upto: Seq, now: Timestamp) {
        let mut state = self.state.lock();
        while state.pending.accepted() < upto
            && let Some(Arriving { change, bytes }) = state.arriving.pop_front()
        {
            state.arriving_bytes -= bytes;
            state.pending.take(change, bytes, now);
        }
        if state.wanted > state.pending.settled() {
            state.pending.want_all();
        }
        drop(state);
        self.wake.notify_one();
    }

    /// Nothing more is accepted. What has been is written all the same.
    pub(super) fn refuse(&self, why: Error) {
        let mut state = self.state.lock();
        state.end.get_or_insert(why);
        drop(state);
        self.room.notify_waiters();
    }

    /// The log has failed: what it had not made durable is not written by this process, whatever the log still has of it.
    pub(super) fn log_failed(&self, why: Error) {
        let mut state = self.state.lock();
        state.arriving.clear();
        state.arriving_bytes = 0;
        let last = state.pending.accepted();
        state.wanted = state.wanted.min(last);
        // Under the same lock: what came in between would count as accepted.
        state.end.get_or_insert(why);
        drop(state);
        self.room.notify_waiters();
        self.settled.send_modify(|settled| settled.last = Some(last));
    }

    /// Nothing more is written by this process.
    pub(super) fn end(&self, why: Error) {
        self.state.lock().claim = Standing::Gone;
        self.refuse(why.clone());
        self.settled.send_modify(|settled| _ = settled.ended.get_or_insert(why));
        self.wake.notify_one();
    }

    /// Somebody is about to find out what `key` comes to.
    pub(super) fn count<'a>(&'a self, key: &'a K) -> Counting<'a, K, V> {
        let since = self.state.lock().pending.begin_count(key);
        Counting { shard: self, key, since }
    }

    /// Merges of these keys have been put aside before.
    pub(super) fn park(&self, keys: Vec<K>) {
        self.state.lock().pending.park(keys);
    }

    /// Only of these keys something is still put aside.
    pub(super) fn keep_parked(&self, is_parked: impl Fn(&K) -> bool) {
        self.state.lock().pending.keep_parked(is_parked);
    }

    /// The value that waits for `key`, or its absence.
    ///
    /// # Errors
    ///
    /// It does not wait any more: somebody else has the journal, or it does not fit the store, or this is closed.
    #[inline]
    pub(super) fn read(&self, key: &K) -> Result<Option<Option<V>>> {
        let mut state = self.state.lock();
        match (state.claim, &state.end) {
            (Standing::Gone, Some(why)) if state.pending.latest(key).is_some() => return Err(why.clone()),
            _ => {}
        }
        if let Some(value) = state.pending.read(key) {
            return Ok(Some(value.cloned()));
        }
        Ok(state.pending.total(key))
    }

    /// The number of the last write of `key` that waits.
    pub(super) fn latest(&self, key: &K) -> Option<Seq> {
        self.state.lock().pending.latest(key)
    }

    /// The same, or that of one which is not durable yet.
    pub(super) fn last(&self, key: &K) -> Option<Seq> {
        let state = self.state.lock();
        let arriving = state.arriving.iter().rposition(|arriving| arriving.change.key() == key);
        match arriving {
            Some(index) => Some(state.pending.accepted() + index as Seq + 1),
            None => state.pending.latest(key),
        }
    }

    /// Whether a write has been put aside, not too long ago.
    pub(super) fn is_dead(&self, seq: Seq) -> bool {
        self.settled.borrow().dead.contains(&seq)
    }

    /// Whether it is known what of the writes found in the log the store has had before.
    pub(super) fn is_claimed(&self) -> bool {
        self.state.lock().claim != Standing::Unclaimed
    }

    /// Wants all that was accepted to be written without delay; up to which number that is.
    pub(super) fn want_all(&self) -> Seq {
        let mut state = self.state.lock();
        state.wanted = state.pending.want_all() + state.arriving.len() as Seq;
        let wanted = state.wanted;
        drop(state);
        self.wake.notify_one();
        wanted
    }

    /// What the driver is to do at `now`.
    pub(super) fn look(&self, now: Timestamp) -> Look<K, V> {
        let mut state = self.state.lock();
        state.looked = now;
        match state.claim {
            Standing::Gone => Look::End,
            _ if now < state.ask_again => Look::WaitUntil(state.ask_again),
            Standing::Unclaimed if self.is_shared => Look::Rest,
            Standing::Unclaimed => Look::Claim,
            Standing::Owner(_) if state.in_doubt => Look::Decide,
            Standing::Owner(_) if state.parting == Parting::Lost => {
                state.forsake();
                Look::Rest
            }
            Standing::Owner(epoch) if state.parting == Parting::Leaves => Look::Release(epoch),
            Standing::Owner(epoch) => match state.pending.next(now) {
                Order::Store(work) => {
                    // Until it is known what became of it: a driver may be dropped with its runtime.
                    (state.in_doubt, state.doubt) = (true, Failure::Transient);
                    Look::Give(work, epoch)
                }
                Order::WaitUntil(then) => Look::WaitUntil(then),
                Order::Rest if self.is_shared => {
                    Look::Collect(Ownership { epoch, life: state.life, offset: state.pending.settled() })
                }
                Order::Rest => Look::Rest,
            },
        }
    }

    /// This process owns the row, and the store has all up to its offset: the keys of what it has had before.
    pub(super) fn claimed(&self, claim: Option<Claim>) -> Vec<K> {
        let mut state = self.state.lock();
        if state.claim == Standing::Gone {
            // It was closed while the store was asked.
            return Vec::new();
        }
        state.claim = Standing::Owner(claim.map_or(0, Claim::epoch));
        state.unanswered = 0;
        state.ask_again = Timestamp::ZERO;
        // What is under way is looked into, and may be more than the offset says now.
        let passed = claim.filter(|_| !state.in_doubt).map(|claim| state.pending.pass_over(claim.offset()));
        let upto = state.pending.settled();
        drop(state);
        self.settled.send_modify(|settled| settled.upto = settled.upto.max(upto));
        self.room.notify_waiters();
        passed.unwrap_or_default()
    }

    /// This process has come to own a shard that others want as well. In `life` was its server before that; merges of
    /// `parked` have been put aside.
    pub(super) fn take_charge(&self, claim: Claim, life: u32, parked: Vec<K>) {
        let mut state = self.state.lock();
        if state.claim != Standing::Unclaimed {
            // It was closed while the store was asked.
            return;
        }
        state.pending = state.pending.afresh(claim.offset());
        state.pending.park(parked);
        state.claim = Standing::Owner(claim.epoch());
        state.life = life;
        state.decided();
        drop(state);
        self.wake.notify_one();
    }

    /// The epoch in which this process owns it.
    pub(super) fn epoch(&self) -> Option<u64> {
        match self.state.lock().claim {
            Standing::Owner(epoch) => Some(epoch),
            Standing::Unclaimed | Standing::Gone => None,
        }
    }

    /// What a stream has given out for an owner of this epoch.
    pub(super) fn arrive(&self, epoch: u64, found: Vec<FoundWrite<K, V>>, now: Timestamp) {
        let mut state = self.state.lock();
        if state.claim != Standing::Owner(epoch) {
            return;
        }
        for FoundWrite { seq, record, change } in found {
            let bytes = record.len();
            let what = match change {
                Ok(change) => What::Change(change),
                Err(why) => What::Unreadable(record, why),
            };
            state.pending.take_as(seq, what, bytes, now);
        }
    }

    /// Another process is to have it, once nothing is under way.
    pub(super) fn leave_to_another(&self) {
        self.part(Parting::Leaves);
    }

    /// Another process has it, whose batches the store will not refuse as it will this one's.
    pub(super) fn lost(&self) {
        self.part(Parting::Lost);
    }

    fn part(&self, parting: Parting) {
        self.state.lock().parting = parting;
        self.wake.notify_one();
    }

    /// This process does not own it any more. What it knew of it is another's now.
    pub(super) fn forsake(&self) {
        self.state.lock().forsake();
    }

    /// Why nothing more is written by this process either.
    pub(super) fn ended_for_good(&self) -> Option<Error> {
        self.settled.borrow().ended.clone()
    }

    /// Why nothing more is accepted.
    pub(super) fn ended(&self) -> Option<Error> {
        self.state.lock().end.clone()
    }

    /// The store did not answer a claim: it may come to it all the same, later.
    pub(super) fn claim_unheard(&self) {
        self.state.lock().unheard += 1;
    }

    /// Whether the row's epoch can be that of a claim of this process that came late: it is claimed once more then.
    pub(super) fn claims_again(&self, epoch: u64) -> bool {
        let mut state = self.state.lock();
        let Standing::Owner(own) = state.claim else { return false };
        let late = epoch.checked_sub(own).filter(|late| (1..=state.unheard).contains(late));
        if let Some(late) = late {
            state.unheard -= late;
            state.claim = Standing::Unclaimed;
            state.inherited = state.pending.accepted();
        }
        late.is_some()
    }

    /// The numbers that the store's offset must not leave: what comes before the first has been forgotten here, and what
    /// comes after the last an earlier process has never had.
    pub(super) fn range(&self) -> (Seq, Seq) {
        let state = self.state.lock();
        (state.pending.settled(), state.inherited)
    }

    /// The store has not said what was asked of it.
    pub(super) fn unanswered(&self, pause: impl Fn(u32) -> Duration, now: Timestamp) {
        let mut state = self.state.lock();
        state.ask_again = now.after(pause(state.unanswered));
        state.unanswered = state.unanswered.saturating_add(1);
    }

    /// What the store said of the work that is under way, whether or not it has it.
    pub(super) fn doubt_as(&self, failure: Failure, words: String) {
        let mut state = self.state.lock();
        (state.doubt, state.last_words) = (failure, words);
    }

    /// The work that nobody knows the outcome of.
    pub(super) fn doubt(&self) -> Option<Doubt<K, V>> {
        let state = self.state.lock();
        let Standing::Owner(epoch) = state.claim else { return None };
        let work = state.pending.under_way()?;
        let last = state.pending.accepted();
        Some(Doubt { epoch, after: work.after, upto: work.upto, last, failure: state.doubt, work })
    }

    /// The work that was under way is in the store: the keys of which nothing newer waits, and up to where all is settled.
    pub(super) fn stored(&self, dead: &[Seq]) -> (Vec<K>, Seq) {
        self.settle(dead, Pending::stored)
    }

    /// The same, where the store turned out to have all up to `upto`.
    pub(super) fn stored_upto(&self, upto: Seq, dead: &[Seq]) -> (Vec<K>, Seq) {
        self.settle(dead, |pending| pending.stored_upto(upto))
    }

    fn settle(&self, dead: &[Seq], stored: impl FnOnce(&mut Pending<K, V>) -> Vec<K>) -> (Vec<K>, Seq) {
        let mut state = self.state.lock();
        let keys = stored(&mut state.pending);
        state.decided();
        let upto = state.pending.settled();
        drop(state);
        self.settled.send_modify(|settled| {
            settled.upto = upto;
            if !dead.is_empty() {
                let remembered = Arc::make_mut(&mut settled.dead);
                remembered.extend(dead);
                while remembered.len() > REMEMBERED {
                    remembered.pop_first();
                }
            }
        });
        self.room.notify_waiters();
        (keys, upto)
    }

    /// The work that was under way is surely not in the store.
    pub(super) fn failed(&self, failure: Failure, now: Timestamp, luck: f64) {
        let mut state = self.state.lock();
        state.pending.failed(failure, now, luck);
        state.decided();
    }

    /// Whether the oldest write has come to wait longer than `age`, since this was last asked.
    pub(super) fn is_newly_overdue(&self, age: Duration, now: Timestamp) -> Option<Duration> {
        let mut state = self.state.lock();
        let waited = state.pending.oldest().map_or(Duration::ZERO, |oldest| now.since(oldest));
        let was_overdue = std::mem::replace(&mut state.is_overdue, waited > age);
        (waited > age && !was_overdue).then_some(waited)
    }

    /// Whether writes are late now, and were not when this was last said.
    pub(super) fn is_newly_late(&self, is_late: bool) -> bool {
        let mut state = self.state.lock();
        let was_late = std::mem::replace(&mut state.is_overdue, is_late);
        is_late && !was_late
    }

    /// How many writes wait, how many bytes, and for how long the oldest has.
    pub(super) fn depth(&self, now: Timestamp) -> (usize, usize, Option<Duration>) {
        let state = self.state.lock();
        let (writes, bytes) = state.pending.depth();
        let waited = state.pending.oldest().map(|oldest| now.since(oldest));
        (writes + state.arriving.len(), bytes + state.arriving_bytes, waited)
    }

    pub(super) fn last_words(&self) -> String {
        self.state.lock().last_words.clone()
    }

    pub(super) fn take_replaced(&self) -> u64 {
        self.state.lock().pending.take_replaced()
    }

    /// All that is not known to be in the store.
    pub(super) fn unwritten(&self) -> Vec<Change<K, V>> {
        let state = self.state.lock();
        let mut changes = state.pending.changes();
        changes.extend(state.arriving.iter().map(|arriving| arriving.change.clone()));
        changes
    }
}

impl<K, V> Shard<K, V> {
    /// How a driver is started.
    pub(super) fn start_with(&self, starter: Starter) {
        _ = self.starter.set(starter);
    }

    /// Sees to it that there is a driver.
    #[inline]
    pub(super) fn start(&self) -> Result<()> {
        match self.starter.get() {
            Some(starter) if !self.is_driven.load(Ordering::Acquire) => starter(),
            _ => Ok(()),
        }
    }

    /// The driver has gone: those who wait look whether they need another.
    pub(super) fn driver_gone(&self) {
        self.is_driven.store(false, Ordering::Release);
        self.settled.send_modify(|_| ());
        self.room.notify_waiters();
    }

    /// There is nobody left who could have it written: how many writes waited.
    pub(super) fn leave(&self) -> usize {
        let mut state = self.state.lock();
        let left =
            if state.claim == Standing::Gone { 0 } else { state.pending.depth().0 + state.arriving.len() };
        state.end.get_or_insert_with(closed);
        drop(state);
        self.settled.send_modify(|settled| _ = settled.ended.get_or_insert_with(closed));
        self.wake.notify_one();
        left
    }
}

impl<K: Key, V: Value> State<K, V> {
    fn forsake(&mut self) {
        if let Standing::Owner(_) = self.claim {
            self.claim = Standing::Unclaimed;
        }
        self.pending = self.pending.afresh(0);
        self.parting = Parting::No;
        self.decided();
    }

    fn decided(&mut self) {
        self.in_doubt = false;
        self.unanswered = 0;
        self.ask_again = Timestamp::ZERO;
    }

    fn is_too_old(&self, max_age: Option<Duration>) -> bool {
        max_age.zip(self.pending.oldest()).is_some_and(|(most, oldest)| self.looked.since(oldest) > most)
    }
}

/// A key that somebody is about to merge into: what is stored of it meanwhile is remembered.
pub(super) struct Counting<'a, K: Key, V: Value> {
    shard: &'a Shard<K, V>,
    key: &'a K,
    since: Seq,
}

impl<K: Key, V: Value> Counting<'_, K, V> {
    /// What has come to the key after `above`, up to `upto`, as one change.
    pub(super) fn between(&self, above: Seq, upto: Seq) -> Option<Change<K, V>> {
        self.shard.state.lock().pending.between(self.key, above, upto)
    }
}

impl<K: Key, V: Value> Drop for Counting<'_, K, V> {
    fn drop(&mut self) {
        self.shard.state.lock().pending.end_count(self.key, self.since);
    }
}

/// What can be awaited of a write that has been accepted.
#[async_trait]
pub(super) trait Place: Send + Sync {
    /// It is in the store, or it has been put aside.
    async fn settled(&self, number: Number) -> Result<()>;

    /// It outlives this process.
    async fn durable(&self, number: Number) -> Result<()>;
}

#[async_trait]
impl<K: Key, V: Value> Place for Shard<K, V> {
    async fn settled(&self, number: Number) -> Result<()> {
        let mut settled = self.settled.subscribe();
        loop {
            if let Some(known) = settled.borrow_and_update().of(number.seq) {
                return known;
            }
            // Whoever waits sees to it that there is somebody to wait for: a driver goes down with its runtime.
            self.start()?;
            settled.changed().await.map_err(|_| closed())?;
        }
    }

    async fn durable(&self, number: Number) -> Result<()> {
        // A write that is answered is in the log.
        if self.is_logged { Ok(()) } else { self.settled(number).await }
    }
}

pub(super) fn dead() -> Error {
    Error::new(ErrorKind::DeadLetter, "the store will never take this write; it is among the dead letters")
}

pub(super) fn closed() -> Error {
    Error::new(ErrorKind::Closed, "write-behind is closed, and this write is not known to be in the store")
}
