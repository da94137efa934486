//! One tier above whatever lies below it.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::{Context, Found, Levels, Place, Question, Search, unanswered};
use crate::bounds::{Key, Value};
use crate::entry::{Entry, Freshness};
use crate::error::Result;
use crate::event::Event;
use crate::tier::{Acquired, Filled, Hold, Lease, Lookup, Purpose, Tier};

/// After a failed load a tier need not be asked for a lease again for this long.
const BACK_OFF: Duration = Duration::from_secs(1);

/// A tier, and the levels below it.
pub(crate) struct Level<T, K, V> {
    tier: T,
    below: Box<dyn Levels<K, V>>,
    context: Arc<Context>,
}

/// A question on its way down: where its answer belongs, and what may be done with it on its way up.
struct Errand<K> {
    at: usize,
    key: K,
    place: Arc<Place>,
    right: Right,
}

/// What this tier says to somebody who wants to fill a key.
#[derive(Clone, Copy)]
enum Right {
    /// Fill with this lease.
    Lease(Lease),
    /// A writer or another process has the key: what is loaded past it may be old before it is here.
    None,
    /// The tier failed. Nothing can be kept here; the levels above may keep it all the same.
    Unknown,
}

/// Answers by the positions of their questions.
type Slots<V> = Vec<Option<Result<Found<V>>>>;

impl<K: Key, V: Value, T: Tier<K, V>> Level<T, K, V> {
    pub(crate) fn new(tier: T, below: Box<dyn Levels<K, V>>, context: Arc<Context>) -> Self {
        Self { tier, below, context }
    }

    /// This tier's copies, fresh or not, one place for each key. A failing tier is a miss.
    async fn peek(&self, keys: &[K]) -> Vec<Option<Entry<V>>> {
        let mut copies = self.heard(self.tier.get_many(keys).await).unwrap_or_default();
        copies.resize_with(keys.len(), || None);
        copies
    }

    /// Answers what this tier has fresh copies of; the other questions are left, with the old copies seen here.
    async fn look_here(
        &self,
        questions: Vec<Question<K, V>>,
        reload: bool,
        answers: &mut Slots<V>,
    ) -> Vec<(usize, Question<K, V>)> {
        let keys: Vec<K> = questions.iter().map(|question| question.key.clone()).collect();
        let copies = self.peek(&keys).await;
        let mut left = Vec::new();
        for (at, (question, copy)) in questions.into_iter().zip(copies).enumerate() {
            match copy {
                Some(entry) if !reload && self.is_fresh(&entry) => answers[at] = Some(Ok(self.found(entry))),
                old => left.push((at, Question { previous: old.or(question.previous), ..question })),
            }
        }
        left
    }

    /// Asks for the right to keep the answers, *before* the questions go down, so that a write of a key between its
    /// question and its answer destroys it: `R: lease · R: store→v1 · W: store←v2 · W: invalidate · R: fill v1` ends in a
    /// refusal. The same guards the promotion of a copy from a slow tier below against an invalidation.
    async fn take_leases(
        &self,
        questions: Vec<(usize, Question<K, V>)>,
        reload: bool,
        answers: &mut Slots<V>,
    ) -> (Vec<Errand<K>>, Vec<Question<K, V>>) {
        let purpose = if reload { Purpose::Renew } else { Purpose::Fill };
        let keys: Vec<K> = questions.iter().map(|(_, question)| question.key.clone()).collect();
        let mut acquired =
            self.heard(self.tier.acquire_many(&keys, purpose).await).unwrap_or_default().into_iter();
        let (mut errands, mut below) = (Vec::new(), Vec::new());
        for ((at, question), key) in questions.into_iter().zip(keys) {
            let (right, stale) = match acquired.next() {
                Some(Acquired::Fresh(entry)) => {
                    answers[at] = Some(Ok(self.found(entry)));
                    continue;
                }
                Some(Acquired::Granted(lease, stale)) => (Right::Lease(lease), stale),
                Some(Acquired::Busy | Acquired::Held) => (Right::None, None),
                None => (Right::Unknown, None),
            };
            errands.push(Errand { at, key, place: Arc::clone(&question.place), right });
            below.push(Question { previous: stale.or(question.previous), ..question });
        }
        (errands, below)
    }

    /// Keeps what came from below, where the lease is alive and the answer still wanted.
    async fn keep(&self, errands: &[Errand<K>], found: &mut [Result<Found<V>>]) {
        let mut fills = Vec::new();
        for (at, (errand, found)) in errands.iter().zip(found.iter()).enumerate() {
            if let (Right::Lease(lease), Ok(found)) = (errand.right, found)
                && found.keep
                && errand.place.is_wanted()
            {
                fills.push((at, (&errand.key, lease, &found.entry)));
            }
        }
        let (places, fills): (Vec<_>, Vec<_>) = fills.into_iter().unzip();
        let filled = match fills.is_empty() {
            true => Ok(Vec::new()),
            false => self.heard(self.tier.fill_many(&fills).await),
        };
        let failed = filled.is_err();
        let stored: Vec<usize> = places
            .into_iter()
            .zip(filled.unwrap_or_default())
            .filter_map(|(at, filled)| (filled == Filled::Stored).then_some(at))
            .collect();
        for (at, (errand, found)) in errands.iter().zip(found.iter_mut()).enumerate() {
            self.settle(errand, found, stored.contains(&at), failed).await;
        }
    }

    /// What was not stored here is not kept above either; the lease of a failed load is given back.
    async fn settle(&self, errand: &Errand<K>, found: &mut Result<Found<V>>, stored: bool, failed: bool) {
        match (found, errand.right) {
            (Ok(found), Right::Lease(_)) if found.keep && !stored => {
                found.keep = false;
                if !failed {
                    self.context.events.emit(&Event::FillRefused { tier: self.tier.name() });
                }
            }
            (Ok(found), Right::None) => found.keep = false,
            (Err(_), Right::Lease(lease)) => {
                _ = self.heard(self.tier.abandon(&errand.key, lease, BACK_OFF).await);
            }
            _ => {}
        }
    }

    fn found(&self, entry: Entry<V>) -> Found<V> {
        Found { entry, tier: Some(self.tier.name()), keep: true }
    }

    fn is_fresh(&self, entry: &Entry<V>) -> bool {
        entry.is_fresh(self.context.clock.now())
    }

    /// What this tier said; a failure becomes an event.
    fn heard<A>(&self, answer: Result<A>) -> Result<A> {
        answer.inspect_err(|error| {
            self.context.events.emit(&Event::TierFailed { tier: self.tier.name(), error });
        })
    }
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

    async fn copies(&self, keys: &[K], skipped: Option<&'static str>) -> Vec<Option<Found<V>>> {
        if skipped == Some(self.tier.name()) {
            return self.below.copies(keys, skipped).await;
        }
        let now = self.context.clock.now();
        let here = self.peek(keys).await;
        let usable = |entry: &Entry<V>| entry.freshness(now) != Freshness::Expired;
        let mut best: Vec<_> =
            here.into_iter().map(|entry| entry.filter(usable).map(|entry| self.found(entry))).collect();
        let is_fresh =
            |found: &Option<Found<V>>| found.as_ref().is_some_and(|found| found.entry.is_fresh(now));
        let wanting: Vec<usize> = (0..keys.len()).filter(|at| !is_fresh(&best[*at])).collect();
        if wanting.is_empty() {
            return best;
        }
        let asked: Vec<K> = wanting.iter().map(|at| keys[*at].clone()).collect();
        for (at, below) in wanting.into_iter().zip(self.below.copies(&asked, skipped).await) {
            if is_fresh(&below) || best[at].is_none() {
                best[at] = below;
            }
        }
        best
    }

    async fn find(&self, questions: Vec<Question<K, V>>, search: &Search<'_, K, V>) -> Vec<Result<Found<V>>> {
        if search.skipped == Some(self.tier.name()) {
            return self.below.find(questions, search).await;
        }
        let mut answers: Slots<V> = questions.iter().map(|_| None).collect();
        let open = self.look_here(questions, search.reload, &mut answers).await;
        if !open.is_empty() {
            let (errands, below) = self.take_leases(open, search.reload, &mut answers).await;
            let mut found = self.below.find(below, search).await;
            self.keep(&errands, &mut found).await;
            for (errand, found) in errands.iter().zip(found) {
                answers[errand.at] = Some(found);
            }
        }
        answers.into_iter().map(|answer| answer.unwrap_or_else(|| Err(unanswered()))).collect()
    }

    async fn invalidate(&self, keys: &[K]) -> Result<()> {
        let below = self.below.invalidate(keys).await;
        self.heard(self.tier.invalidate_many(keys).await).and(below)
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
        self.heard(self.tier.release_many(keys, hold).await).and(below)
    }

    async fn publish(&self, key: &K, hold: Hold, entry: &Entry<V>) -> Result<bool> {
        match self.below.publish(key, hold, entry).await {
            Ok(true) => Ok(self.heard(self.tier.publish(key, hold, entry).await)? == Filled::Stored),
            // Below, another writer came between: whose value is the store's is unknown, so nothing is kept here.
            not_kept => {
                self.heard(self.tier.release_many(std::slice::from_ref(key), hold).await)?;
                not_kept
            }
        }
    }

    async fn clear(&self) -> Result<()> {
        let below = self.below.clear().await;
        self.heard(self.tier.clear().await).and(below)
    }

    async fn close(&self) -> Result<()> {
        let below = self.below.close().await;
        self.heard(self.tier.close().await).and(below)
    }
}
