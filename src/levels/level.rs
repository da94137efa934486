//! One tier above whatever lies below it.

use std::borrow::Cow;
use std::marker::PhantomData;
use std::mem;
use std::slice;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::{join, join_all};
use tokio::time::Instant;

use super::{Context, Found, Levels, Owed, Place, Question, Search, Seat, unanswered};
use crate::bounds::{Key, Value};
use crate::consistency::Consistency;
use crate::entry::{Entry, Freshness};
use crate::error::Result;
use crate::event::Event;
use crate::sync::{AtomicBool, Ordering};
use crate::tier::{Acquired, Filled, Hold, Lease, Lookup, Purpose, Scope, Tier};
use crate::time::{self, Timestamp};

/// After a failed load a tier need not be asked for a lease again for this long.
const BACK_OFF: Duration = Duration::from_secs(1);
/// How long to wait before asking again whether another process has loaded: the first time, and at the most.
const PAUSES: (Duration, Duration) = (Duration::from_millis(2), Duration::from_millis(25));

/// How many leases are given back at once.
const TOGETHER: usize = 64;

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

/// What a tier's answer to an acquire leaves to do.
enum Next<V> {
    /// Nothing: somebody has filled meanwhile.
    Answered(Found<V>),
    /// To ask below, with this right and the old copy.
    Ask(Right, Option<Entry<V>>),
    /// To wait for another process.
    Wait(Duration),
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
        past.extend(owed.into_iter().map(|(at, question)| self.errand(at, question, Right::Unknown, None)));
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
            past.extend(
                asked.into_iter().map(|(at, question)| self.errand(at, question, Right::Unknown, None)),
            );
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
        let is_new = match (search.reload, search.unless_newer) {
            (false, _) => true,
            (true, Some(moment)) => entry.as_of() > moment,
            (true, None) => false,
        };
        is_new && entry.is_fresh(self.context.clock.now())
    }

    /// Asks for the right to keep the answers, *before* the questions go down, so that a write of a key between its
    /// question and its answer destroys it: `R: lease · R: store→v1 · W: store←v2 · W: invalidate · R: fill v1` ends in a
    /// refusal. The same guards the promotion of a copy from a slow tier below against an invalidation.
    async fn take_leases(
        &self,
        questions: Vec<(usize, Question<K, V>)>,
        search: &Search<'_, K, V>,
        answers: &mut Slots<V>,
    ) -> Taken<K, V> {
        let mut taken = Taken { own: Vec::new(), others: Vec::new() };
        if questions.is_empty() {
            return taken;
        }
        let keys: Vec<K> = questions.iter().map(|(_, question)| question.key.clone()).collect();
        let covered: Vec<Seat> =
            questions.iter().map(|(_, question)| self.context.covered(&question.place)).collect();
        let acquired = self.heard(self.tier.acquire_many(&keys, purpose(search)).await);
        let mut acquired = acquired.unwrap_or_default().into_iter();
        for ((at, question), covers) in questions.into_iter().zip(covered) {
            match self.next(acquired.next(), covers) {
                Next::Answered(found) => answers[at] = Some(Ok(found)),
                Next::Ask(right, stale) => taken.own.push(self.errand(at, question, right, stale)),
                Next::Wait(left) => taken.others.push((at, question, left)),
            }
        }
        taken
    }

    fn next(&self, acquired: Option<Acquired<V>>, covers: Seat) -> Next<V> {
        match acquired {
            Some(Acquired::Fresh(entry)) => Next::Answered(self.found(entry, covers)),
            Some(Acquired::Granted(lease, stale)) => Next::Ask(Right::Lease(lease), stale),
            Some(Acquired::Busy(left)) => Next::Wait(left),
            Some(Acquired::Held) => Next::Ask(Right::None, None),
            None => Next::Ask(Right::Unknown, None),
        }
    }

    fn errand(
        &self,
        at: usize,
        question: Question<K, V>,
        right: Right,
        stale: Option<Entry<V>>,
    ) -> (Errand<K>, Question<K, V>) {
        let question = Question { previous: stale.or(question.previous), ..question };
        let (key, place) = (question.key.clone(), Arc::clone(&question.place));
        (Errand { at, key, place, right, has_copy: question.previous.is_some() }, question)
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

    /// Waits for `load`, and renews the leases at half their life as long as it takes: a slow loader is not overtaken,
    /// a dead one is.
    async fn with_leases_alive<A>(&self, errands: &[Errand<K>], load: impl Future<Output = A>) -> A {
        let Some(lease) = self.tier.lease() else { return load.await };
        let renewals = async {
            while let Ok(timer) = time::timer(time::from_now(lease / 2)) {
                timer.await;
                for errand in errands {
                    if let Right::Lease(lease) = errand.right {
                        _ = self.heard(self.tier.renew(&errand.key, lease).await);
                    }
                }
            }
            std::future::pending::<()>().await;
        };
        tokio::select! {
            biased;
            answer = load => answer,
            () = renewals => unreachable!("renewals go on for as long as they are awaited"),
        }
    }

    /// The right to keep copies that may come from below, in a tier of this process. It costs nothing there, and is
    /// taken before the tier below is asked, for the same reason as before a load.
    async fn leases_to_lift(&self, keys: &[K]) -> Vec<Option<Lease>> {
        if self.tier.is_shared() || self.tier.lease().is_some() {
            return Vec::new();
        }
        let acquired = self.heard(self.tier.acquire_many(keys, Purpose::Renew).await).unwrap_or_default();
        let lease = |acquired| match acquired {
            Acquired::Granted(lease, _) => Some(lease),
            _ => None,
        };
        acquired.into_iter().map(lease).collect()
    }

    /// The best copy from below, kept here from now on.
    async fn lifted_copy(&self, key: &K, skipped: Option<&'static str>) -> Option<Found<V>> {
        let lease = self.leases_to_lift(slice::from_ref(key)).await;
        let below = self.below.copy(key, skipped).await;
        self.lift(slice::from_ref(key), &lease, slice::from_ref(&below)).await;
        below
    }

    /// Keeps copies from below, so that they are nearer the next time.
    async fn lift(&self, keys: &[K], leases: &[Option<Lease>], copies: &[Option<Found<V>>]) {
        let rights = keys.iter().zip(leases).zip(copies);
        let lifted: Vec<(&K, Lease, Cow<'_, Entry<V>>)> = rights
            .filter_map(|((key, lease), found)| Some((key, (*lease)?, self.own_term(&found.as_ref()?.entry))))
            .collect();
        if !lifted.is_empty() {
            let fills: Vec<_> = lifted.iter().map(|(key, lease, entry)| (*key, *lease, &**entry)).collect();
            _ = self.heard(self.tier.fill_many(&fills).await);
        }
    }

    /// Waits for the load of another process, asking now and then, at the most for one lease. Then this process loads:
    /// with the lease, if the other one is late, or past it, keeping nothing.
    async fn outwait(
        &self,
        (at, question, left): (usize, Question<K, V>, Duration),
        search: &Search<'_, K, V>,
    ) -> (usize, Result<Found<V>>) {
        self.context.events.emit(&Event::Waited { tier: self.tier.name() });
        let ends = time::from_now(self.tier.lease().unwrap_or(left));
        let (right, stale) = match self.asked_again(&question, search, ends).await {
            Next::Answered(found) => return (at, Ok(found)),
            Next::Ask(right, stale) => (right, stale),
            Next::Wait(_) => (Right::None, None),
        };
        let answers = self.run(vec![self.errand(at, question, right, stale)], search).await;
        answers.into_iter().next().unwrap_or_else(|| (at, Err(unanswered())))
    }

    async fn asked_again(
        &self,
        question: &Question<K, V>,
        search: &Search<'_, K, V>,
        ends: Instant,
    ) -> Next<V> {
        let mut pause = PAUSES.0;
        loop {
            let moment = (Instant::now() + pause.mul_f64(0.5 + fastrand::f64())).min(ends);
            let Ok(timer) = time::timer(moment) else { return Next::Ask(Right::None, None) };
            timer.await;
            pause = (pause * 2).min(PAUSES.1);
            let covers = self.context.covered(&question.place);
            // Somebody's renewal is not seen by asking for a lease to renew.
            if search.unless_newer.is_some()
                && let Ok(copies) = self.peek(slice::from_ref(&question.key)).await
                && let Some(entry) = copies.into_iter().flatten().find(|entry| self.will_do(entry, search))
            {
                return Next::Answered(self.found(entry, covers));
            }
            let acquired = self.heard(self.tier.acquire(&question.key, purpose(search)).await).ok();
            match self.next(acquired, covers) {
                Next::Wait(_) if Instant::now() < ends => {}
                next => return next,
            }
        }
    }

    /// Keeps what came from below, where the lease is alive and the answer still wanted.
    async fn keep(&self, errands: &[Errand<K>], found: &mut [Result<Found<V>>]) {
        let mut fills = Vec::new();
        for (at, (errand, found)) in errands.iter().zip(found.iter()).enumerate() {
            if let (Right::Lease(lease), Ok(found)) = (errand.right, found)
                && found.keep
                && errand.place.is_wanted()
            {
                fills.push((at, lease, self.own_term(&found.entry), self.context.covered(&errand.place)));
            }
        }
        let filled = match fills.is_empty() {
            true => Ok(Vec::new()),
            false => {
                let fills: Vec<_> =
                    fills.iter().map(|(at, lease, entry, _)| (&errands[*at].key, *lease, &**entry)).collect();
                self.heard(self.tier.fill_many(&fills).await)
            }
        };
        let failed = filled.is_err();
        let mut outcomes: Vec<Option<(Filled, Seat)>> = errands.iter().map(|_| None).collect();
        let fills: Vec<_> = fills.into_iter().map(|(at, .., covers)| (at, covers)).collect();
        for ((at, covers), filled) in fills.into_iter().zip(filled.unwrap_or_default()) {
            outcomes[at] = Some((filled, covers));
        }
        let settled = errands.iter().zip(found.iter_mut()).zip(outcomes);
        let mut settled: Vec<_> =
            settled.map(|((errand, found), outcome)| self.settle(errand, found, outcome, failed)).collect();
        while !settled.is_empty() {
            join_all(settled.drain(..settled.len().min(TOGETHER))).await;
        }
    }

    /// What could not be stored here is not kept above either, unless it is only that this tier cannot. A lease that was
    /// not used is given back, so that others need not wait for it to end.
    async fn settle(
        &self,
        errand: &Errand<K>,
        found: &mut Result<Found<V>>,
        outcome: Option<(Filled, Seat)>,
        failed: bool,
    ) {
        match (found, errand.right, outcome) {
            // Nobody had written until it was stored: it is new enough for all who had boarded by then.
            (Ok(found), Right::Lease(_), Some((Filled::Stored, covers))) => {
                found.covers = if self.tier.is_shared() { covers } else { found.covers };
            }
            (Ok(_), Right::Lease(_), Some((Filled::Unfit, _))) => {}
            (Ok(found), Right::Lease(_), Some((Filled::Refused, _))) => {
                found.keep = false;
                self.context.events.emit(&Event::FillRefused { tier: self.tier.name() });
            }
            (Ok(found), Right::Lease(lease), None) => {
                let wanted = mem::take(&mut found.keep);
                if failed {
                    return self.tier.abandon_now(&errand.key, lease);
                }
                if wanted {
                    self.context.events.emit(&Event::FillRefused { tier: self.tier.name() });
                } else if errand.has_copy {
                    // The answer is to be kept nowhere, an absence for example; the copy it replaces is wrong by now.
                    _ = self.dropped(self.tier.invalidate_many(slice::from_ref(&errand.key)).await);
                    return;
                }
                _ = self.heard(self.tier.abandon(&errand.key, lease, Duration::ZERO).await);
            }
            (Err(_), Right::Lease(lease), _) => {
                _ = self.heard(self.tier.abandon(&errand.key, lease, BACK_OFF).await);
            }
            (Ok(found), Right::None, _) => found.keep = false,
            (Ok(found), Right::Unknown, _) if self.context.consistency == Consistency::Linearizable => {
                found.keep = false;
            }
            _ => {}
        }
    }

    /// An entry as this tier may keep it: above a shared tier only for a while, since other processes write too.
    fn own_term<'a>(&self, entry: &'a Entry<V>) -> Cow<'a, Entry<V>> {
        match self.context.shared && !self.tier.is_shared() {
            true => Cow::Owned(entry.clone().until(self.now().after(self.context.local_ttl))),
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
        Found { entry, tier: Some(self.tier.name()), keep: true, covers }
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

/// Leases of a search that is under way. One that is given up, with its caller or at its deadline, gives them back:
/// others would otherwise wait for it until they run out.
struct Unused<'a, T: Tier<K, V>, K: Key, V: Value> {
    tier: &'a T,
    errands: &'a [Errand<K>],
    values: PhantomData<fn() -> V>,
}

impl<T: Tier<K, V>, K: Key, V: Value> Drop for Unused<'_, T, K, V> {
    fn drop(&mut self) {
        for errand in self.errands {
            if let Right::Lease(lease) = errand.right {
                self.tier.abandon_now(&errand.key, lease);
            }
        }
    }
}

/// What became of questions that wanted leases: errands to run, and loads of others to wait for.
struct Taken<K, V> {
    own: Vec<(Errand<K>, Question<K, V>)>,
    others: Vec<(usize, Question<K, V>, Duration)>,
}

fn is_fresh<V: Value>(copy: Option<&Found<V>>, now: Timestamp) -> bool {
    copy.is_some_and(|found| found.entry.is_fresh(now))
}

/// Of two copies the fresh one, or else the upper one.
fn better<V: Value>(here: Option<Found<V>>, below: Option<Found<V>>, now: Timestamp) -> Option<Found<V>> {
    if here.is_none() || is_fresh(below.as_ref(), now) { below } else { here }
}

fn purpose<K, V>(search: &Search<'_, K, V>) -> Purpose {
    if search.reload { Purpose::Renew } else { Purpose::Fill }
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
        let now = self.context.clock.recent();
        let here = self.servable(here, now);
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
        let here = here.into_iter().zip(owed).map(|(entry, owed)| entry.filter(|_| !owed));
        let mut best: Vec<_> = here.map(|entry| self.servable(entry, now)).collect();
        let wanting: Vec<usize> = (0..keys.len()).filter(|at| !is_fresh(best[*at].as_ref(), now)).collect();
        if wanting.is_empty() || !self.below.has_copies() {
            return best;
        }
        let asked: Vec<K> = wanting.iter().map(|at| keys[*at].clone()).collect();
        let leases = self.leases_to_lift(&asked).await;
        let below = self.below.copies(&asked, skipped).await;
        self.lift(&asked, &leases, &below).await;
        for (at, below) in wanting.into_iter().zip(below) {
            best[at] = better(best[at].take(), below, now);
        }
        best
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
        match self.below.publish(key, hold, entry).await {
            Ok(true) => {
                let entry = self.own_term(entry);
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
