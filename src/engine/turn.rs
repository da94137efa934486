//! A turn: one write of some keys, from the wait for other writers to the last copy.
//!
//! ```text
//!   take ──► [hold] ──► save / delete / run ──► keep │ invalidate
//! ```
//!
//! Whatever ends a turn early, an error, a panic or a dropped future, the copies are put right: a write that surely
//! did not happen leaves them, one that did happen drops them, and one that nobody knows about drops them now and
//! once more when it can no longer come true.

use std::fmt;
use std::mem;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::background::{Duty, no_runtime};
use super::key_locks::{KeyLock, LockId, Right};
use super::nesting::{self, Under};
use super::options::WriteOptions;
use super::search::late;
use super::written::{Copies, Reached, Written};
use super::{Engine, closed};
use crate::bounds::{Key, Value};
use crate::consistency::Consistency;
use crate::error::{Error, ErrorKind, Outcome, Result, StoreError};
use crate::event::Event;
use crate::store::{Change, Saved, Store, Ticket, unmerged};
use crate::tier::Hold;
use crate::time::{self, Timestamp, Unanswered};

/// The sole right, in this process, to write some keys of a cache: from the wait for other writers to the last copy.
///
/// A strategy receives one and ends it with [`keep`](Self::keep) or [`invalidate`](Self::invalidate). One that is
/// dropped after its write drops the copies by itself.
#[must_use]
pub struct Turn<K: Key, V: Value> {
    engine: Engine<K, V>,
    keys: Vec<K>,
    options: WriteOptions,
    ids: Vec<LockId>,
    /// Given back when the turn is dropped.
    _locks: Vec<KeyLock>,
    hold: Option<(Hold, Instant)>,
    /// A tier refused the hold, and the write went on without one.
    unheld: bool,
    began: Timestamp,
    stage: Stage,
    /// Whether a write of this turn has succeeded.
    wrote: bool,
    /// What can be awaited of it, if it waits for the store.
    ticket: Option<Ticket>,
    /// The claim under which it may have left a copy.
    published: Option<Hold>,
}

/// How far a turn has come, which decides what its end must put right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Nothing has been written.
    Before,
    /// The store has been asked and has not answered.
    Writing,
    /// The store has the write, the copies do not know.
    Written,
    /// Nothing is left to do.
    Over,
}

impl<K: Key, V: Value> Turn<K, V> {
    pub(super) async fn take(
        engine: Engine<K, V>,
        keys: Vec<K>,
        options: WriteOptions,
        right: Right,
    ) -> Result<Self> {
        if engine.0.background.is_closed() {
            return Err(closed());
        }
        let ids = engine.0.key_locks.ids(&keys);
        if ids.iter().any(|id| nesting::is_in(Under::Turn(engine.0.number, *id))) {
            return Err(nested_write());
        }
        let locks = match engine.0.setup.turns {
            true => within_deadline(&engine, OTHERS_WRITE, engine.0.key_locks.lock(&ids, right)).await?,
            false => Vec::new(),
        };
        let began = engine.context().clock.now();
        Ok(Self {
            engine,
            keys,
            options,
            ids,
            _locks: locks,
            hold: None,
            unheld: false,
            began,
            stage: Stage::Before,
            wrote: false,
            ticket: None,
            published: None,
        })
    }

    /// Claims the keys in every tier: their copies go, and nobody fills them until the turn is over. Needed before a
    /// write whose value is to be [kept](Self::keep); otherwise up to the strategy.
    ///
    /// Where a tier refuses the claim, the write may go on without it, and nothing will be kept: unless the cache is
    /// [`Linearizable`](crate::Consistency::Linearizable), which makes the claim before every write.
    ///
    /// # Errors
    ///
    /// The cache is linearizable, and a tier refused the claim. Nothing has been written.
    pub async fn hold(&mut self) -> Result<()> {
        if self.hold.is_some() || self.unheld {
            return Ok(());
        }
        let lifetime = self.hold_lifetime();
        let hold = Hold::unique();
        self.hold = Some((hold, time::from_now(lifetime)));
        let levels = &self.engine.0.setup.levels;
        let Err(error) = levels.hold(&self.keys, hold, lifetime).await else { return Ok(()) };
        // What other tiers have granted is given back; in the one that failed it ends by itself.
        _ = levels.release(&self.keys, hold).await;
        self.hold = None;
        match self.engine.context().consistency {
            Consistency::Linearizable => Err(error.with_outcome(Outcome::NotApplied)),
            Consistency::NoStaleSet => {
                self.unheld = true;
                Ok(())
            }
        }
    }

    /// Long enough for a write that takes all the time it may, and for the answer.
    fn hold_lifetime(&self) -> Duration {
        self.engine.0.setup.write_deadline.saturating_mul(2)
    }

    /// What the store has for the key now. Never a copy.
    ///
    /// # Errors
    ///
    /// The store's failure, the load deadline, or a cache without a store.
    pub async fn load(&self) -> Result<Option<V>> {
        let store = self.store()?;
        let key = self.key()?;
        let deadline = time::from_now(self.engine.0.setup.load_deadline);
        match time::within(deadline, self.in_chain(store.load(key))).await {
            Ok(loaded) => loaded.map_err(Error::store),
            Err(Unanswered::Late) => Err(late()),
            Err(Unanswered::NoTimer) => Err(no_runtime()),
        }
    }

    /// Saves `value` in the store.
    ///
    /// # Errors
    ///
    /// The store's failure, or the write deadline. The copies have then been put right, and the turn is over.
    pub async fn save(&mut self, value: &V) -> Result<Saved<V>> {
        let store = self.store()?;
        let key = self.key()?.clone();
        self.write(true, async { store.save(&key, value).await }).await
    }

    /// Deletes the key in the store.
    ///
    /// # Errors
    ///
    /// As [`save`](Self::save).
    pub async fn delete(&mut self) -> Result<()> {
        let store = self.store()?;
        let key = self.key()?.clone();
        self.write(true, async { store.delete(&key).await }).await
    }

    /// Has an operand merged into what the key has, by the write-behind below; what that comes to.
    pub(crate) async fn merge(&mut self, operand: V) -> Result<V> {
        let Some(backing) = self.engine.0.setup.backing.clone() else { return Err(unmerged()) };
        let key = self.key()?.clone();
        self.write(true, async { backing.merge(&key, operand).await }).await
    }

    /// Applies changes of the turn's keys in the store, all in one call.
    ///
    /// # Errors
    ///
    /// As [`save`](Self::save). Which of the changes the store has is then unknown, unless it says that it has none.
    pub async fn apply(&mut self, changes: &[Change<K, V>]) -> Result<()> {
        let store = self.store()?;
        self.write(true, async { store.apply(changes).await }).await
    }

    /// Runs the caller's own write, which may take as long as it likes.
    ///
    /// What waits for the keys is written before it: it is older, and would be written over what this writes.
    pub(crate) async fn run<T>(&mut self, write: impl Future<Output = Result<T, StoreError>>) -> Result<T> {
        if let Some(backing) = &self.engine.0.setup.backing {
            within_deadline(&self.engine, STILL_WAITS, backing.settle(&self.keys)).await??;
        }
        self.write(false, write).await
    }

    /// Ends the turn and keeps `value`, or the absence of one, in every tier, unless another writer or an
    /// invalidation came between: then no copy is left.
    ///
    /// After a write that was made without a [hold](Self::hold) nothing can be known of others, and no copy is left
    /// either.
    ///
    /// # Errors
    ///
    /// Only where nothing has been written, and a tier failed.
    pub async fn keep(self, value: Option<V>) -> Result<Written> {
        let key = self.key()?.clone();
        self.keep_all(vec![
            value.map_or_else(|| Change::Delete(key.clone()), |value| Change::Put(key.clone(), value)),
        ])
        .await
    }

    /// [`keep`](Self::keep) for each of the turn's keys.
    ///
    /// # Errors
    ///
    /// As [`keep`](Self::keep).
    pub async fn keep_all(mut self, changes: Vec<Change<K, V>>) -> Result<Written> {
        if self.wrote && self.hold.is_none() {
            return Ok(self.invalidate().await);
        }
        self.hold().await?;
        // From here on each tier ends the hold as it keeps, or does not keep, the value.
        let Some((hold, _)) = self.hold.take() else { return Ok(self.invalidate().await) };
        self.published = Some(hold);
        let mut kept = Ok(true);
        for change in changes {
            let one = self.keep_one(hold, change).await;
            kept = kept.and_then(|all| one.map(|one| all && one));
        }
        self.engine.0.flights.overtake(&self.keys);
        match kept {
            Ok(true) => Ok(self.over(Copies::Kept)),
            Ok(false) => Ok(self.over(Copies::Dropped)),
            Err(_tier) => Ok(self.pending()),
        }
    }

    /// Publishes one key's new entry, or only ends its hold when the entry is to be kept nowhere.
    async fn keep_one(&self, hold: Hold, change: Change<K, V>) -> Result<bool> {
        let (key, value) = match change {
            Change::Put(key, value) => (key, Some(value)),
            Change::Delete(key) => (key, None),
            // What it comes to is not known here: no copy is kept.
            Change::Merge(key, _) => {
                let levels = &self.engine.0.setup.levels;
                return levels.release(std::slice::from_ref(&key), hold).await.map(|()| false);
            }
        };
        let levels = &self.engine.0.setup.levels;
        let entry = self.engine.context().date(value, self.began, self.options.own_ttl());
        if entry.expires_at() > self.began {
            levels.publish(&key, hold, &entry).await
        } else {
            levels.release(std::slice::from_ref(&key), hold).await.map(|()| false)
        }
    }

    /// Ends the turn and leaves no copy.
    ///
    /// A tier that fails does not make the write a failure: [`Written`] says that its copy is still to be dropped.
    pub async fn invalidate(mut self) -> Written {
        match self.drop_copies().await {
            Ok(()) => self.over(Copies::Dropped),
            Err(_tier) => self.pending(),
        }
    }

    /// The store's writes, the caller's writes: one way through, so that no failure escapes.
    async fn write<T>(
        &mut self,
        bounded: bool,
        write: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T> {
        if self.engine.context().consistency == Consistency::Linearizable {
            self.hold().await?;
        }
        let write = self.in_chain(write);
        self.stage = Stage::Writing;
        let answer = match bounded {
            true => time::within(time::from_now(self.engine.0.setup.write_deadline), write).await,
            false => Ok(self.with_hold_alive(write).await),
        };
        let error = match answer {
            Ok(Ok(done)) => {
                self.stage = Stage::Written;
                self.wrote = true;
                // Now: once it has left the journal, nobody there knows its number.
                let backing = self.engine.0.setup.backing.as_ref();
                self.ticket = backing.and_then(|backing| backing.ticket(&self.keys));
                self.engine.events().emit(&Event::Written);
                return Ok(done);
            }
            Ok(Err(error)) => {
                let outcome = error.outcome();
                self.put_right(outcome).await;
                Error::store(error)
            }
            Err(Unanswered::Late) => {
                self.put_right(Outcome::Unknown).await;
                too_slow()
            }
            Err(Unanswered::NoTimer) => {
                self.put_right(Outcome::NotApplied).await;
                no_runtime()
            }
        };
        self.engine.events().emit(&Event::WriteFailed { error: &error });
        Err(error)
    }

    /// Waits for a write that may take as long as it likes, and prolongs the hold at half its life meanwhile: it must
    /// outlive the commit.
    async fn with_hold_alive<A>(&mut self, write: impl Future<Output = A>) -> A {
        let mut write = pin!(write);
        loop {
            let Some((hold, _)) = self.hold else { return write.await };
            let lifetime = self.hold_lifetime();
            match time::within(time::from_now(lifetime / 2), write.as_mut()).await {
                Ok(answer) => return answer,
                Err(Unanswered::NoTimer) => return write.await,
                Err(Unanswered::Late) => {
                    let ends = time::from_now(lifetime);
                    // A tier that does not answer now may do so the next time, before the hold has run out.
                    if self.engine.0.setup.levels.hold(&self.keys, hold, lifetime).await.is_ok() {
                        self.hold = Some((hold, ends));
                    }
                }
            }
        }
    }

    /// Leaves the copies as they must be after a failed write.
    async fn put_right(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::NotApplied => {
                self.stage = Stage::Over;
                if let Some((hold, _)) = self.hold.take() {
                    // A tier that fails here keeps the hold until it ends by itself: nothing wrong can be served.
                    _ = self.engine.0.setup.levels.release(&self.keys, hold).await;
                }
            }
            Outcome::Applied => {
                if self.drop_copies().await.is_err() {
                    self.repair(None);
                }
            }
            Outcome::Unknown => {
                let again = self.doubt_ends();
                // A hold stays where it is until it ends by itself: while the write may still come true, nobody fills.
                if self.hold.take().is_none() && self.drop_copies().await.is_err() {
                    self.repair(None);
                }
                self.engine.0.flights.overtake(&self.keys);
                self.engine.events().emit(&Event::InDoubt);
                self.repair(Some(again));
            }
        }
    }

    /// When a write without an answer can be taken to never come true any more.
    fn doubt_ends(&self) -> Instant {
        self.hold.map_or_else(|| time::from_now(self.engine.0.setup.write_deadline), |(_, ends)| ends)
    }

    /// Without a hold the copies are dropped. With one they have been, and its end leaves none: it needs no second
    /// message.
    async fn drop_copies(&mut self) -> Result<()> {
        match self.hold {
            Some((hold, _)) => {
                let released = self.engine.0.setup.levels.release(&self.keys, hold).await;
                self.engine.dropped(&self.keys, released)?;
                self.hold = None;
            }
            None => self.engine.drop_copies(&self.keys).await?,
        }
        self.stage = Stage::Over;
        Ok(())
    }

    /// Drops the copies in the background: at `moment`, or else as soon as the tier that has just failed answers again.
    fn repair(&mut self, moment: Option<Instant>) {
        self.stage = Stage::Over;
        match moment {
            Some(moment) => self.engine.drop_later(self.keys.clone(), moment),
            None => self.engine.owe(&self.keys),
        }
    }

    fn over(mut self, copies: Copies) -> Written {
        self.stage = Stage::Over;
        self.written(copies)
    }

    fn pending(mut self) -> Written {
        self.repair(None);
        self.written(Copies::Pending)
    }

    fn written(&self, copies: Copies) -> Written {
        let reached = match &self.ticket {
            Some(_) => Reached::Journal,
            None if self.wrote => Reached::Store,
            None => Reached::CopiesOnly,
        };
        let receipt = self.engine.receipt_of(&self.keys, self.published, self.ticket.is_some());
        Written::new(reached, copies).with_ticket(self.ticket.clone()).with_receipt(receipt)
    }

    fn store(&self) -> Result<Arc<dyn Store<K, V>>> {
        let Engine(parts) = &self.engine;
        match (&parts.setup.store, &parts.setup.loader) {
            (Some(store), _) => Ok(Arc::clone(store)),
            (None, Some(_)) => {
                Err(Error::new(ErrorKind::ReadOnly, "this cache stands on a loader and cannot write"))
            }
            (None, None) => Err(Error::new(ErrorKind::NoStore, "this cache has no store")),
        }
    }

    fn key(&self) -> Result<&K> {
        self.keys.first().ok_or_else(|| Error::new(ErrorKind::Unsupported, "a turn without keys cannot save"))
    }

    fn in_chain<F: Future>(&self, future: F) -> impl Future<Output = F::Output> + use<F, K, V> {
        let number = self.engine.0.number;
        let chain = self
            .ids
            .iter()
            .fold(nesting::chain(), |chain, id| nesting::extend(chain, Under::Turn(number, *id)));
        nesting::scope(chain, future)
    }
}

impl<K: Key, V: Value> Drop for Turn<K, V> {
    fn drop(&mut self) {
        let engine = &self.engine;
        let again = match mem::replace(&mut self.stage, Stage::Over) {
            Stage::Over => return,
            Stage::Before => {
                if let Some((hold, _)) = self.hold {
                    let (engine, keys) = (engine.clone(), mem::take(&mut self.keys));
                    let background = Arc::clone(&self.engine.0.background);
                    let release = async move { _ = engine.0.setup.levels.release(&keys, hold).await };
                    // Without a runtime the hold ends by itself.
                    _ = background.spawn(Duty::Write, release);
                }
                return;
            }
            Stage::Written => None,
            Stage::Writing => {
                engine.events().emit(&Event::InDoubt);
                Some(self.doubt_ends())
            }
        };
        engine.0.setup.levels.invalidate_now(&self.keys);
        engine.0.flights.overtake(&self.keys);
        if again.is_some() || self.hold.is_none() {
            engine.drop_later(self.keys.clone(), Instant::now());
        }
        if let Some(again) = again {
            engine.drop_later(self.keys.clone(), again);
        }
    }
}

impl<K: Key, V: Value> fmt::Debug for Turn<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Turn")
            .field("keys", &self.keys.len())
            .field("stage", &self.stage)
            .finish_non_exhaustive()
    }
}

const OTHERS_WRITE: &str =
    "another write of the same key has not ended within the write deadline; nothing was written";
const STILL_WAITS: &str =
    "what waits for the key has not come to the store within the write deadline; nothing was written";

async fn within_deadline<K: Key, V: Value, A>(
    engine: &Engine<K, V>,
    late: &'static str,
    wait: impl Future<Output = A>,
) -> Result<A> {
    match time::within(time::from_now(engine.0.setup.write_deadline), wait).await {
        Ok(answer) => Ok(answer),
        Err(Unanswered::Late) => Err(Error::new(ErrorKind::Timeout, late).with_outcome(Outcome::NotApplied)),
        Err(Unanswered::NoTimer) => Err(no_runtime()),
    }
}

fn too_slow() -> Error {
    Error::new(
        ErrorKind::Timeout,
        "the store has not answered within the write deadline; it may or may not have the write",
    )
    .with_outcome(Outcome::Unknown)
}

fn nested_write() -> Error {
    Error::new(
        ErrorKind::Nested,
        "a write of a key was begun inside a write of the same key, and would wait for itself",
    )
}
