//! One tier above whatever lies below it.

mod checking;
mod keeping;
mod leases;
mod lifting;

use std::borrow::Cow;
use std::marker::PhantomData;
use std::mem;
use std::slice;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::{join, join_all};

use self::leases::{Taken, Unused};
use super::{Context, Found, Levels, Owed, Place, Question, Search, Seat, unanswered};
use crate::bounds::{Key, Value};
use crate::coherence::Mark;
use crate::entry::{Entry, Freshness};
use crate::error::Result;
use crate::event::Event;
use crate::receipt::Reading;
use crate::sync::{AtomicBool, Ordering};
use crate::tier::{Filled, Hold, Lease, Lookup, Scope, Tier};
use crate::time::Timestamp;

/// A tier, and the levels below it.
pub(crate) struct Level<T, K, V> {
    tier: T,
    below: Box<dyn Levels<K, V>>,
    context: Arc<Context>,
    owed: Arc<Owed<K>>,
    /// Whether the tier has ever failed to drop copies: only then its copies can be owed.
    has_failed: AtomicBool,
}

/// A question on its way down: where its answer belongs, and what may be done with it on its way up.
struct Errand<K> {
    at: usize,
    key: K,
    place: Arc<Place>,
    right: Right,
    /// Whether there is an old copy, here or above.
    has_copy: bool,
    /// What the copy is marked with that the answer becomes here.
    mark: Mark,
    /// When it set out.
    asked: Timestamp,
}

/// What this tier says to somebody who wants to fill a key.
#[derive(Clone, Copy)]
enum Right {
    /// Fill with this lease.
    Lease(Lease),
    /// A writer or another process has the key: what is loaded past it may be old before it is here.
    None,
    /// The tier failed. Nothing can be kept here; the levels above may keep it all the same, for a while.
    Unknown,
}

/// Answers by the positions of their questions.
type Slots<V> = Vec<Option<Result<Found<V>>>>;

impl<K: Key, V: Value, T: Tier<K, V>> Level<T, K, V> {
    pub(crate) fn new(
        tier: T,
        below: Box<dyn Levels<K, V>>,
        context: Arc<Context>,
        owed: Arc<Owed<K>>,
    ) -> Self {
        Self { tier, below, context, owed, has_failed: AtomicBool::new(false) }
    }

    /// This tier's copies, fresh or not, one place for each key. `Err`: it did not answer, which has been reported.
    async fn peek(&self, keys: &[K]) -> Result<Vec<Option<Entry<V>>>> {
        if let [key] = keys {
            return Ok(vec![self.heard(self.tier.get(key).await)?]);
        }
        let mut copies = self.heard(self.tier.get_many(keys).await)?;
        copies.resize_with(keys.len(), || None);
        Ok(copies)
    }

    /// Answers what this tier has usable copies of, and splits the rest: questions to take leases for, and errands past
    /// a tier that does not answer, or whose copy of the key is [owed](Owed).
    async fn look_here(
        &self,
        questions: Vec<Question<K, V>>,
        search: &Search<'_, K, V>,
        answers: &mut Slots<V>,
    ) -> (Vec<(usize, Question<K, V>)>, Vec<(Errand<K>, Question<K, V>)>) {
        let (mut open, mut past) = (Vec::new(), Vec::new());
        let (asked, owed): (Vec<_>, Vec<_>) =
            questions.into_iter().enumerate().partition(|(_, question)| !self.owes(&question.key));
        past.extend(owed.into_iter().map(|(at, question)| self.past(at, question)));
        if search.looked && self.tier.is_shared() {
            return (asked, past);
        }
        let keys: Vec<K> = asked.iter().map(|(_, question)| question.key.clone()).collect();
        let covered: Vec<Seat> =
            asked.iter().map(|(_, question)| self.context.covered(&question.place)).collect();
        let copies = match keys.is_empty() {
            true => Ok(Vec::new()),
            false => self.peek(&keys).await,
        };
        let Ok(copies) = copies else {
            past.extend(asked.into_iter().map(|(at, question)| self.past(at, question)));
            return (open, past);
        };
        for (((at, question), copy), covers) in asked.into_iter().zip(copies).zip(covered) {
            match copy {
                Some(entry) if self.will_do(&entry, search) => {
                    answers[at] = Some(Ok(self.found(entry, covers)));
                }
                old => open.push((at, Question { previous: old.or(question.previous), ..question })),
            }
        }
        (open, past)
    }

    /// Whether a copy makes a load unnecessary.
    fn will_do(&self, entry: &Entry<V>, search: &Search<'_, K, V>) -> bool {
        let is_new = match (search.reload, &search.unless_newer) {
            (false, _) => true,
            (true, Some(since)) => since.covers(entry),
            (true, None) => false,
        };
        let now = self.context.clock.now();
        is_new && entry.is_fresh(now) && self.context.counts(entry, now)
    }

    /// An errand past this tier.
    fn past(&self, at: usize, question: Question<K, V>) -> (Errand<K>, Question<K, V>) {
        let mark = self.tier.mark(&question.key);
        self.errand(at, question, Right::Unknown, None, mark)
    }

    fn errand(
        &self,
        at: usize,
        question: Question<K, V>,
        right: Right,
        stale: Option<Entry<V>>,
        mark: Mark,
    ) -> (Errand<K>, Question<K, V>) {
        let question = Question { previous: stale.or(question.previous), ..question };
        let (key, place) = (question.key.clone(), Arc::clone(&question.place));
        (
            Errand { at, key, place, right, has_copy: question.previous.is_some(), mark, asked: self.now() },
            question,
        )
    }

    /// Asks below, and keeps what comes from there.
    async fn run(
        &self,
        errands: Vec<(Errand<K>, Question<K, V>)>,
        search: &Search<'_, K, V>,
    ) -> Vec<(usize, Result<Found<V>>)> {
        if errands.is_empty() {
            return Vec::new();
        }
        let (errands, questions): (Vec<_>, Vec<_>) = errands.into_iter().unzip();
        let unused = Unused { tier: &self.tier, errands: &errands, values: PhantomData };
        let mut found = self.with_leases_alive(&errands, self.below.find(questions, search)).await;
        self.keep(&errands, &mut found).await;
        mem::forget(unused);
        errands.into_iter().map(|errand| errand.at).zip(found).collect()
    }

    /// An entry as this tier may keep it: above a shared tier only for a while, since other processes write too, unless
    /// their word reaches it.
    ///
    /// That while counts from before the levels below were `asked`: a process can be stopped between the answer and this.
    fn own_term<'a>(&self, entry: &'a Entry<V>, asked: Timestamp) -> Cow<'a, Entry<V>> {
        match self.context.shared && !self.tier.is_shared() && !entry.mark().is_reached() {
            true => Cow::Owned(entry.clone().until(asked.after(self.context.local_ttl))),
            false => Cow::Borrowed(entry),
        }
    }

    fn owes(&self, key: &K) -> bool {
        self.has_failed.load(Ordering::Acquire) && self.owed.has(key)
    }

    fn now(&self) -> Timestamp {
        self.context.clock.now()
    }

    /// A copy as it may be served, stale or fresh.
    fn servable(&self, entry: Option<Entry<V>>, now: Timestamp) -> Option<Found<V>> {
        let entry = entry.filter(|entry| entry.freshness(now) != Freshness::Expired)?;
        Some(self.found(entry, super::ALL))
    }

    fn found(&self, entry: Entry<V>, covers: Seat) -> Found<V> {
        let keep = !self.tier.is_shared() || self.context.may_lift(&entry);
        Found { entry, tier: Some(self.tier.name()), keep, covers }
    }

    /// What this tier said to having to drop copies.
    fn dropped<A>(&self, answer: Result<A>) -> Result<A> {
        self.heard(answer).inspect_err(|_| self.has_failed.store(true, Ordering::Release))
    }

    /// What this tier said; a failure becomes an event.
    fn heard<A>(&self, answer: Result<A>) -> Result<A> {
        answer.inspect_err(|error| {
            self.context.events.emit(&Event::TierFailed { tier: self.tier.name(), error });
        })
    }
}

fn is_fresh<V: Value>(copy: Option<&Found<V>>, now: Timestamp) -> bool {
    copy.is_some_and(|found| found.entry.is_fresh(now))
}

/// Of two copies the fresh one, or else the upper one.
fn better<V: Value>(here: Option<Found<V>>, below: Option<Found<V>>, now: Timestamp) -> Option<Found<V>> {
    if here.is_none() || is_fresh(below.as_ref(), now) { below } else { here }
}

#[async_trait]
impl<K: Key, V: Value, T: Tier<K, V>> Levels<K, V> for Level<T, K, V> {
    #[inline]
    fn local(&self, key: &K) -> Option<Entry<V>> {
        self.tier.local(key)
    }

    #[inline]
    fn local_by(&self, key: &Lookup<'_, K>) -> Option<Entry<V>> {
        self.tier.local_by(key)
    }

    async fn copy(&self, key: &K, skipped: Option<&'static str>) -> Option<Found<V>> {
        if skipped == Some(self.tier.name()) {
            return self.below.copy(key, skipped).await;
        }
        let here = match self.owes(key) {
            false => self.heard(self.tier.get(key).await).ok().flatten(),
            true => None,
        };
        let had = here.is_some();
        let here = match here {
            Some(copy) if self.is_in_doubt(&copy) => self.checked(key, copy).await,
            here => here,
        };
        let now = self.context.clock.recent();
        let here = self.servable(here, now);
        if had && here.is_none() {
            self.make_way(slice::from_ref(key));
        }
        if is_fresh(here.as_ref(), now) || !self.below.has_copies() {
            return here;
        }
        let below = Box::pin(self.lifted_copy(key, skipped)).await;
        better(here, below, now)
    }

    async fn copies(&self, keys: &[K], skipped: Option<&'static str>) -> Vec<Option<Found<V>>> {
        if skipped == Some(self.tier.name()) {
            return self.below.copies(keys, skipped).await;
        }
        // Before the tier is asked: a debt that is paid in between was still owed when it answered.
        let owed: Vec<bool> = keys.iter().map(|key| self.owes(key)).collect();
        let here = self.peek(keys).await.unwrap_or_else(|_| keys.iter().map(|_| None).collect());
        let now = self.context.clock.recent();
        let here: Vec<_> = here.into_iter().zip(owed).map(|(entry, owed)| entry.filter(|_| !owed)).collect();
        let had: Vec<bool> = here.iter().map(Option::is_some).collect();
        let here = self.all_checked(keys, here).await;
        let mut best: Vec<_> = here.into_iter().map(|entry| self.servable(entry, now)).collect();
        for at in (0..keys.len()).filter(|at| had[*at] && best[*at].is_none()) {
            self.make_way(slice::from_ref(&keys[at]));
        }
        let wanting: Vec<usize> = (0..keys.len()).filter(|at| !is_fresh(best[*at].as_ref(), now)).collect();
        if wanting.is_empty() || !self.below.has_copies() {
            return best;
        }
        let asked: Vec<K> = wanting.iter().map(|at| keys[*at].clone()).collect();
        let (leases, begin) = (self.leases_to_lift(&asked).await, self.now());
        let below = self.below.copies(&asked, skipped).await;
        self.lift(&asked, &leases, &below, begin).await;
        for (at, below) in wanting.into_iter().zip(below) {
            best[at] = better(best[at].take(), below, now);
        }
        best
    }

    fn mark(&self, key: &K) -> Mark {
        if self.tier.is_shared() { self.tier.mark(key) } else { self.below.mark(key) }
    }

    async fn revalidate(&self, copies: &[(K, Mark)]) -> Result<Vec<Option<Mark>>> {
        match self.tier.is_shared() {
            true => self.heard(self.tier.revalidate_many(copies).await),
            false => self.below.revalidate(copies).await,
        }
    }

    fn readings(&self, keys: &[K]) -> Vec<Reading> {
        if self.tier.is_shared() { self.tier.readings(keys) } else { self.below.readings(keys) }
    }

    async fn moment_of(&self, keys: &[K], readings: &[Reading]) -> Option<Timestamp> {
        match self.tier.is_shared() {
            true => self.tier.moment_of(keys, readings).await,
            false => self.below.moment_of(keys, readings).await,
        }
    }

    fn has_copies(&self) -> bool {
        true
    }

    async fn find(&self, questions: Vec<Question<K, V>>, search: &Search<'_, K, V>) -> Vec<Result<Found<V>>> {
        if search.skipped == Some(self.tier.name()) {
            return self.below.find(questions, search).await;
        }
        let mut answers: Slots<V> = questions.iter().map(|_| None).collect();
        let (open, past) = self.look_here(questions, search, &mut answers).await;
        let Taken { mut own, others } = self.take_leases(open, search, &mut answers).await;
        own.extend(past);
        // Own loads begin before others' are awaited: two processes could otherwise wait for each other.
        let others = join_all(others.into_iter().map(|other| self.outwait(other, search)));
        let (own, others) = join(self.run(own, search), others).await;
        for (at, found) in own.into_iter().chain(others) {
            answers[at] = Some(found);
        }
        answers.into_iter().map(|answer| answer.unwrap_or_else(|| Err(unanswered()))).collect()
    }

    async fn invalidate(&self, keys: &[K]) -> Result<()> {
        let below = self.below.invalidate(keys).await;
        self.dropped(self.tier.invalidate_many(keys).await).and(below)
    }

    async fn invalidate_each(&self, keys: &[K]) -> Vec<Result<()>> {
        let below = self.below.invalidate_each(keys).await;
        let here = self.tier.invalidate_each(keys).await;
        // One word on a tier that fails will do for the whole batch.
        _ = self.dropped(here.iter().find_map(|answer| answer.clone().err()).map_or(Ok(()), Err));
        below.into_iter().zip(here).map(|(below, here)| here.and(below)).collect()
    }

    fn invalidate_now(&self, keys: &[K]) {
        self.below.invalidate_now(keys);
        self.tier.invalidate_now(keys);
    }

    async fn hold(&self, keys: &[K], hold: Hold, lifetime: Duration) -> Result<()> {
        let below = self.below.hold(keys, hold, lifetime).await;
        self.heard(self.tier.hold_many(keys, hold, lifetime).await).and(below)
    }

    async fn release(&self, keys: &[K], hold: Hold) -> Result<()> {
        let below = self.below.release(keys, hold).await;
        self.dropped(self.tier.release_many(keys, hold).await).and(below)
    }

    async fn publish(&self, key: &K, hold: Hold, entry: &Entry<V>) -> Result<bool> {
        let (mark, asked) = (self.below.mark(key), self.now());
        match self.below.publish(key, hold, entry).await {
            Ok(true) => {
                let entry = entry.clone().marked(mark.of_copy(hold.number()));
                if !self.tier.is_shared() && !self.context.may_lift(&entry) {
                    self.dropped(self.tier.release_many(slice::from_ref(key), hold).await)?;
                    return Ok(true);
                }
                let entry = self.own_term(&entry, asked);
                Ok(self.dropped(self.tier.publish(key, hold, &entry).await)? == Filled::Stored)
            }
            // Below, another writer came between: whose value is the store's is unknown, so nothing is kept here.
            not_kept => {
                self.dropped(self.tier.release_many(slice::from_ref(key), hold).await)?;
                not_kept
            }
        }
    }

    async fn clear(&self) -> Result<()> {
        let below = self.below.clear().await;
        self.dropped(self.tier.clear().await).and(below)
    }

    async fn clear_where(&self, scope: &Scope<K>) -> Result<()> {
        let below = self.below.clear_where(scope).await;
        self.dropped(self.tier.clear_where(scope).await).and(below)
    }

    async fn close(&self) -> Result<()> {
        let below = self.below.close().await;
        self.heard(self.tier.close().await).and(below)
    }
}
