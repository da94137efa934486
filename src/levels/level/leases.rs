//! The right to fill a tier: asking for it, keeping it alive, waiting while somebody else has it, giving it back.

use std::marker::PhantomData;
use std::pin::pin;
use std::slice;
use std::time::Duration;

use futures_util::future::{BoxFuture, Either, select};
use tokio::time::{Instant, Sleep};

use super::{Errand, Level, Right, Slots};
use crate::bounds::{Key, Value};
use crate::coherence::Mark;
use crate::entry::Entry;
use crate::error::Result;
use crate::event::Event;
use crate::levels::{Found, Question, Search, Seat, unanswered};
use crate::tier::{Acquired, Purpose, Tier};
use crate::time;

/// How long to wait before asking again whether another process has loaded: the first time, and at the most.
const PAUSES: (Duration, Duration) = (Duration::from_millis(2), Duration::from_millis(25));
/// The same where word of it will come, though a word can be lost.
const PATIENCE: Duration = Duration::from_millis(250);

/// What a tier's answer to an acquire leaves to do.
enum Next<V> {
    /// Nothing: somebody has filled meanwhile.
    Answered(Found<V>),
    /// To ask below, with this right and the old copy.
    Ask(Right, Option<Entry<V>>),
    /// To wait for another process.
    Wait(Duration),
}

/// What became of questions that wanted leases: errands to run, and loads of others to wait for.
pub(super) struct Taken<K, V> {
    pub(super) own: Vec<(Errand<K>, Question<K, V>)>,
    pub(super) others: Vec<(usize, Question<K, V>, Duration)>,
}

impl<K: Key, V: Value, T: Tier<K, V>> Level<T, K, V> {
    /// Asks for the right to keep the answers, *before* the questions go down, so that a write of a key between its
    /// question and its answer destroys it: `R: lease · R: store→v1 · W: store←v2 · W: invalidate · R: fill v1` ends in a
    /// refusal. The same guards the promotion of a copy from a slow tier below against an invalidation.
    pub(super) async fn take_leases(
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
        let marks: Vec<Mark> = keys.iter().map(|key| self.tier.mark(key)).collect();
        let acquired = self.heard(self.tier.acquire_many(&keys, purpose(search)).await);
        let mut acquired = acquired.unwrap_or_default().into_iter();
        for (((at, question), covers), mark) in questions.into_iter().zip(covered).zip(marks) {
            match self.next(acquired.next(), covers) {
                Next::Answered(found) => answers[at] = Some(Ok(found)),
                Next::Ask(right, stale) => taken.own.push(self.errand(at, question, right, stale, mark)),
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

    /// Waits for `load`, and renews the leases at half their life as long as it takes: a slow loader is not overtaken,
    /// a dead one is.
    pub(super) async fn with_leases_alive<A>(
        &self,
        errands: &[Errand<K>],
        load: impl Future<Output = A>,
    ) -> A {
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

    /// Waits for the load of another process, asking now and then, at the most for one lease. Then this process loads:
    /// with the lease, if the other one is late, or past it, keeping nothing.
    pub(super) async fn outwait(
        &self,
        (at, question, left): (usize, Question<K, V>, Duration),
        search: &Search<'_, K, V>,
    ) -> (usize, Result<Found<V>>) {
        self.context.events.emit(&Event::Waited { tier: self.tier.name() });
        let ends = time::from_now(self.tier.lease().unwrap_or(left));
        let (next, mark) = self.asked_again(&question, search, ends).await;
        let (right, stale) = match next {
            Next::Answered(found) => return (at, Ok(found)),
            Next::Ask(right, stale) => (right, stale),
            Next::Wait(_) => (Right::None, None),
        };
        let answers = self.run(vec![self.errand(at, question, right, stale, mark)], search).await;
        answers.into_iter().next().unwrap_or_else(|| (at, Err(unanswered())))
    }

    async fn asked_again(
        &self,
        question: &Question<K, V>,
        search: &Search<'_, K, V>,
        ends: Instant,
    ) -> (Next<V>, Mark) {
        let (mut pause, mut word) = (PAUSES.0, None);
        loop {
            if word.is_none() {
                word = self.tier.word_of_end(&question.key).await;
            }
            if word.is_some() {
                // Who ended it before word was asked for has told nobody.
                match self.ask_again(question, search).await {
                    (Next::Wait(_), _) if Instant::now() < ends => {}
                    next => return next,
                }
            }
            let longest = if word.is_some() { PATIENCE } else { pause };
            let moment = (Instant::now() + longest.mul_f64(0.5 + fastrand::f64())).min(ends);
            let Ok(timer) = time::timer(moment) else { return (Next::Ask(Right::None, None), Mark::NONE) };
            if self.heard_or_late(&mut word, timer).await {
                self.context.events.emit(&Event::Woken { tier: self.tier.name() });
            }
            pause = (pause * 2).min(PAUSES.1);
            if word.is_none() {
                match self.ask_again(question, search).await {
                    (Next::Wait(_), _) if Instant::now() < ends => {}
                    next => return next,
                }
            }
        }
    }

    /// Waits for a word, which is then gone, or for the timer. Whether the word has come.
    async fn heard_or_late(&self, word: &mut Option<BoxFuture<'static, ()>>, timer: Sleep) -> bool {
        let Some(coming) = word else {
            timer.await;
            return false;
        };
        let has_come = matches!(select(coming, pin!(timer)).await, Either::Left(_));
        if has_come {
            *word = None;
        }
        has_come
    }

    async fn ask_again(&self, question: &Question<K, V>, search: &Search<'_, K, V>) -> (Next<V>, Mark) {
        let (covers, mark) = (self.context.covered(&question.place), self.tier.mark(&question.key));
        // Somebody's renewal is not seen by asking for a lease to renew.
        if search.unless_newer.is_some()
            && let Ok(copies) = self.peek(slice::from_ref(&question.key)).await
            && let Some(entry) = copies.into_iter().flatten().find(|entry| self.will_do(entry, search))
        {
            return (Next::Answered(self.found(entry, covers)), mark);
        }
        let acquired = self.heard(self.tier.acquire(&question.key, purpose(search)).await).ok();
        (self.next(acquired, covers), mark)
    }
}

fn purpose<K, V>(search: &Search<'_, K, V>) -> Purpose {
    if search.reload { Purpose::Renew } else { Purpose::Fill }
}

/// Leases of a search that is under way. One that is given up, with its caller or at its deadline, gives them back:
/// others would otherwise wait for it until they run out.
pub(super) struct Unused<'a, T: Tier<K, V>, K: Key, V: Value> {
    pub(super) tier: &'a T,
    pub(super) errands: &'a [Errand<K>],
    pub(super) values: PhantomData<fn() -> V>,
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
