//! When to write what: accepted operations and outcomes in, batches out. No I/O, no time of its own.
//!
//! Operations are numbered in the order in which they were accepted, and leave in that order: a batch is all of a range of
//! numbers, so that one number, the last of a batch that the store has, says what the store has. The next batch begins
//! when the last one is settled: two that are under way could be swapped. Numbers may have gaps, where a journal gives them.
//!
//! ```text
//!   accepted ──► waiting … waiting ──► a batch: by size, by age of the oldest, or because somebody wants it
//!                   ▲                        │
//!                   │         stored ◄───────┼───────► transient: the same range again, after a pause, for ever
//!                   │                        ├───────► unclassified: again, a few times, then as if permanent
//!                   └── one half, then the ◄─┴───────► permanent: halved until one operation is alone, which is parked
//!                       rest
//! ```

use std::collections::VecDeque;
use std::time::Duration;

use super::Seq;
use crate::time::Timestamp;

/// When a batch is due, and what is done about failures.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Rules {
    /// How many operations one batch has at the most.
    pub batch: usize,
    /// How long the oldest operation waits for others to join it.
    pub delay: Duration,
    /// The pauses after transient failures: the first, and the longest.
    pub pauses: (Duration, Duration),
    /// How often a failure that says nothing about its kind is tried again.
    pub tries: u32,
    /// How long after a batch the next one waits, for each operation of it.
    pub pace: Duration,
}

/// One operation that waits, with what its owner keeps of it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Waiting<O> {
    /// Its number, larger than that of the operation before it.
    pub seq: Seq,
    /// What is to be done.
    pub operation: O,
    /// When it was accepted.
    pub since: Timestamp,
}

/// What to do now.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Order<W> {
    /// Have the store do this, and tell what came of it.
    Store(W),
    /// Look again then, or when something has been accepted.
    WaitUntil(Timestamp),
    /// Look again when something has been accepted.
    Rest,
}

/// A range of operations, in their order.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Batch<O> {
    /// The number of the last operation before it.
    pub after: Seq,
    /// The number of its last operation.
    pub upto: Seq,
    /// The operations to be done.
    pub operations: Vec<Waiting<O>>,
    /// The operation that the store will never take: to be put aside, with the same commit that moves on past it.
    pub parked: Option<Waiting<O>>,
}

/// What a store said of a batch that it did not take.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Failure {
    /// Another time it will do.
    Transient,
    /// It will never do.
    Permanent,
    /// It did not say.
    Unclassified,
}

/// The operations of one shard on their way to the store.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Flusher<O> {
    rules: Rules,
    waiting: VecDeque<Waiting<O>>,
    /// The number of the last operation that is settled.
    settled: Seq,
    /// The number of the last operation that was accepted.
    accepted: Seq,
    /// How many of the oldest are under way.
    flying: usize,
    /// Up to which operation somebody wants all settled, without delay.
    wanted: Seq,
    /// Some operation up to this one is permanently refused: smaller batches, until it is alone.
    suspect: Seq,
    /// How many of the oldest to try while one is suspect.
    limit: usize,
    /// The oldest operation is to be put aside.
    parking: bool,
    failures: u32,
    unclassified: u32,
    /// How many operations in a row were put aside on the mere suspicion that their failures would not pass.
    suspicions: u32,
    not_before: Timestamp,
    /// Not before this either, however well all goes.
    paced: Timestamp,
}

impl<O: Clone> Flusher<O> {
    /// Nothing waits, and all up to `settled` is in the store.
    pub fn new(rules: Rules, settled: Seq) -> Self {
        Self {
            rules,
            waiting: VecDeque::new(),
            settled,
            accepted: settled,
            flying: 0,
            wanted: settled,
            suspect: settled,
            limit: usize::MAX,
            parking: false,
            failures: 0,
            unclassified: 0,
            suspicions: 0,
            not_before: Timestamp::ZERO,
            paced: Timestamp::ZERO,
        }
    }

    /// One more operation; its number.
    pub fn accept(&mut self, operation: O, now: Timestamp) -> Seq {
        self.accept_as(self.accepted + 1, operation, now);
        self.accepted
    }

    /// One more operation, which has its number already: larger than all before it.
    pub fn accept_as(&mut self, seq: Seq, operation: O, now: Timestamp) {
        debug_assert!(seq > self.accepted, "numbers grow");
        self.accepted = seq;
        self.waiting.push_back(Waiting { seq, operation, since: now });
    }

    /// Somebody wants all that was accepted so far to be in the store; up to which number that is.
    pub fn want_all(&mut self) -> Seq {
        self.wanted = self.accepted;
        self.accepted
    }

    /// What to do at `now`. While a batch is under way: nothing.
    pub fn next(&mut self, now: Timestamp) -> Order<Batch<O>> {
        let Some(oldest) = self.waiting.front() else { return Order::Rest };
        if self.flying > 0 {
            return Order::Rest;
        }
        let not_before = self.not_before.max(self.paced);
        if now < not_before {
            return Order::WaitUntil(not_before);
        }
        let due = oldest.since.after(self.rules.delay);
        let is_due = now >= due || self.waiting.len() >= self.rules.batch || oldest.seq <= self.wanted;
        if !is_due && !self.is_suspect() {
            return Order::WaitUntil(due);
        }
        self.flying = self.waiting.len().min(self.rules.batch).min(self.limit).max(1);
        self.paced = now.after(self.rules.pace.saturating_mul(self.flying as u32));
        Order::Store(self.batch())
    }

    /// The batch that is under way, again: for whoever has lost sight of it.
    pub fn batch(&self) -> Batch<O> {
        let oldest = self.waiting.iter().take(self.flying).cloned();
        let mut operations: Vec<_> = oldest.collect();
        let upto = operations.last().map_or(self.settled, |last| last.seq);
        let parked = if self.parking { operations.pop() } else { None };
        Batch { after: self.settled, upto, operations, parked }
    }

    /// The store turns out to have all up to `seq`: of the batch that is under way, or of an earlier try of another length.
    pub fn stored_upto(&mut self, seq: Seq) -> Vec<Waiting<O>> {
        self.flying = self.waiting.partition_point(|waiting| waiting.seq <= seq);
        self.stored()
    }

    /// The store has the batch: its operations.
    pub fn stored(&mut self) -> Vec<Waiting<O>> {
        let done: Vec<_> = self.waiting.drain(..self.flying.min(self.waiting.len())).collect();
        self.settled = done.last().map_or(self.settled, |last| last.seq);
        self.flying = 0;
        self.failures = 0;
        self.unclassified = 0;
        self.not_before = Timestamp::ZERO;
        if std::mem::take(&mut self.parking) {
            // What was suspect is out of the way.
            self.suspect = self.settled;
        } else {
            self.suspicions = 0;
        }
        self.limit = match self.is_suspect() {
            // It is among the rest.
            true => half(self.waiting.partition_point(|waiting| waiting.seq <= self.suspect)),
            false => usize::MAX,
        };
        done
    }

    /// The store has not taken the batch, and surely nothing of it; `luck`, from 0 to 1, takes up to half off the pause.
    pub fn failed(&mut self, failure: Failure, now: Timestamp, luck: f64) {
        let size = std::mem::take(&mut self.flying);
        let failure = match failure {
            Failure::Unclassified if self.unclassified >= self.patience() => {
                self.suspicions += u32::from(size == 1);
                Failure::Permanent
            }
            other => other,
        };
        match failure {
            Failure::Permanent if !self.parking => {
                (self.failures, self.unclassified) = (0, 0);
                self.suspect = size.checked_sub(1).map_or(self.settled, |last| self.waiting[last].seq);
                self.limit = half(size);
                self.parking = size == 1;
            }
            // A store that cannot put something aside cannot do anything else either.
            other => {
                self.unclassified += u32::from(other == Failure::Unclassified);
                let (first, longest) = self.rules.pauses;
                let pause = first.saturating_mul(2_u32.saturating_pow(self.failures.min(20))).min(longest);
                self.failures = self.failures.saturating_add(1);
                self.not_before = now.after(pause.mul_f64(1.0 - luck.clamp(0.0, 1.0) / 2.0));
            }
        }
    }

    /// When the oldest of them was accepted.
    pub fn oldest(&self) -> Option<Timestamp> {
        self.waiting.front().map(|oldest| oldest.since)
    }

    /// The number of the last operation that is settled.
    pub fn settled(&self) -> Seq {
        self.settled
    }

    /// The number of the last operation that was accepted.
    pub fn accepted(&self) -> Seq {
        self.accepted
    }

    /// Whether a batch is under way.
    pub fn is_flying(&self) -> bool {
        self.flying > 0
    }

    /// Whether some of the batch under way may be put aside: one is, or `others` follow one that was.
    pub fn is_suspicious(&self, others: bool) -> bool {
        self.is_flying() && (self.parking || others)
    }

    /// How many more would make a batch at once.
    pub fn lacks(&self) -> usize {
        self.rules.batch.saturating_sub(self.waiting.len())
    }

    /// An operation that is not settled.
    pub fn get(&self, seq: Seq) -> Option<&Waiting<O>> {
        self.waiting.get(self.index(seq)?)
    }

    /// One that is not under way and not about to be put aside, to be replaced.
    pub fn get_waiting_mut(&mut self, seq: Seq) -> Option<&mut O> {
        let taken = self.flying.max(usize::from(self.parking));
        let index = self.index(seq).filter(|index| *index >= taken)?;
        self.waiting.get_mut(index).map(|waiting| &mut waiting.operation)
    }

    /// All that are not settled, in their order.
    pub fn iter(&self) -> impl Iterator<Item = &Waiting<O>> {
        self.waiting.iter()
    }

    /// The store has had all up to `seq` since before they were accepted here: those of them that are. Only while nothing
    /// is under way.
    pub fn pass_over(&mut self, seq: Seq) -> Vec<Waiting<O>> {
        let known = self.waiting.iter().take_while(|waiting| waiting.seq <= seq).count();
        let passed: Vec<_> = self.waiting.drain(..known).collect();
        self.settled = passed.last().map_or(self.settled, |last| last.seq);
        passed
    }

    /// Where an operation stands: mostly where its number says.
    fn index(&self, seq: Seq) -> Option<usize> {
        let index = usize::try_from(seq.checked_sub(self.waiting.front()?.seq)?).ok()?;
        match self.waiting.get(index) {
            Some(waiting) if waiting.seq == seq => Some(index),
            _ => self.waiting.binary_search_by_key(&seq, |waiting| waiting.seq).ok(),
        }
    }

    /// How often a failure that says nothing about its kind is tried again now. A store that takes nothing at all, and does
    /// not say that this will pass, must not make a dead letter of everything: each that is put aside without anything
    /// being stored in between doubles the patience for the next.
    fn patience(&self) -> u32 {
        self.rules.tries.saturating_mul(2_u32.saturating_pow(self.suspicions.min(16)))
    }

    fn is_suspect(&self) -> bool {
        self.suspect > self.settled
    }
}

impl<O> Flusher<O> {
    /// When a batch is due, and what is done about failures.
    pub fn rules(&self) -> &Rules {
        &self.rules
    }

    /// How many operations are not settled.
    pub fn depth(&self) -> usize {
        self.waiting.len()
    }
}

fn half(size: usize) -> usize {
    (size / 2).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const DELAY: Duration = Duration::from_secs(1);

    fn rules() -> Rules {
        let pauses = (Duration::from_millis(100), Duration::from_secs(10));
        Rules { batch: 100, delay: DELAY, pauses, tries: 3, pace: Duration::ZERO }
    }

    fn at(millis: u64) -> Timestamp {
        Timestamp::ZERO.after(Duration::from_millis(millis))
    }

    /// A flusher that has accepted the operations 1 to `count`.
    fn with(count: u64) -> Flusher<u64> {
        let mut flusher = Flusher::new(rules(), 0);
        (1..=count).for_each(|operation| assert_eq!(flusher.accept(operation, at(0)), operation));
        flusher
    }

    fn numbers(order: Order<Batch<u64>>) -> Vec<u64> {
        match order {
            Order::Store(batch) => batch.operations.into_iter().map(|waiting| waiting.operation).collect(),
            other => panic!("no batch: {other:?}"),
        }
    }

    /// Has a store that never takes `poison` do all there is to do: what it took, what was parked, and how often it was
    /// asked.
    fn drain(flusher: &mut Flusher<u64>, poison: &[u64]) -> (Vec<u64>, Vec<u64>, u32) {
        let (mut taken, mut parked, mut asked) = (Vec::new(), Vec::new(), 0);
        flusher.want_all();
        while let Order::Store(batch) = flusher.next(at(5_000)) {
            asked += 1;
            assert!(asked < 10_000, "it does not end");
            if batch.operations.iter().any(|waiting| poison.contains(&waiting.operation)) {
                flusher.failed(Failure::Permanent, at(5_000), 0.0);
                continue;
            }
            taken.extend(batch.operations.iter().map(|waiting| waiting.operation));
            parked.extend(batch.parked.iter().map(|waiting| waiting.operation));
            flusher.stored();
        }
        (taken, parked, asked)
    }

    #[test]
    fn a_batch_goes_when_its_oldest_operation_has_waited_long_enough() {
        let mut flusher = with(1);
        assert_eq!(flusher.next(at(0)), Order::WaitUntil(at(1_000)));
        // An operation that is changed again and again is not put off for ever by that.
        flusher.accept(2, at(999));
        assert_eq!(flusher.next(at(999)), Order::WaitUntil(at(1_000)));
        assert_eq!(numbers(flusher.next(at(1_000))), [1, 2]);
    }

    #[test]
    fn a_full_batch_goes_at_once_and_is_no_bigger() {
        let mut flusher = with(250);
        assert_eq!(numbers(flusher.next(at(0))).len(), 100);
        assert_eq!(flusher.stored().len(), 100);
        assert_eq!(numbers(flusher.next(at(0))).len(), 100);
        flusher.stored();
        assert_eq!(flusher.next(at(0)), Order::WaitUntil(at(1_000)), "fifty are no batch yet");
    }

    #[test]
    fn what_somebody_wants_goes_at_once_and_what_comes_after_it_does_not() {
        let mut flusher = with(3);
        assert_eq!(flusher.want_all(), 3);
        assert_eq!(numbers(flusher.next(at(0))), [1, 2, 3]);
        flusher.accept(4, at(0));
        flusher.stored();
        assert_eq!(flusher.next(at(0)), Order::WaitUntil(at(1_000)));
    }

    #[test]
    fn one_batch_is_under_way_at_a_time() {
        let mut flusher = with(150);
        assert!(matches!(flusher.next(at(0)), Order::Store(_)));
        assert_eq!(flusher.next(at(9_000)), Order::Rest);
    }

    #[test]
    fn an_empty_one_rests() {
        assert_eq!(Flusher::<u64>::new(rules(), 7).next(at(9_000)), Order::Rest);
    }

    #[test]
    fn a_transient_failure_is_tried_again_for_ever_at_growing_pauses() {
        let mut flusher = with(2);
        let mut now = at(1_000);
        let mut pauses = Vec::new();
        for _ in 0..1_000 {
            assert_eq!(numbers(flusher.next(now)), [1, 2], "the same operations, in their order");
            flusher.failed(Failure::Transient, now, 0.0);
            let Order::WaitUntil(then) = flusher.next(now) else { panic!("a pause") };
            pauses.push(then.since(now).as_millis());
            now = then;
        }
        assert_eq!(pauses[..8], [100, 200, 400, 800, 1_600, 3_200, 6_400, 10_000]);
        assert_eq!(pauses[999], 10_000);
        flusher.next(now);
        assert_eq!(flusher.stored().len(), 2);
        assert_eq!(flusher.depth(), 0);
    }

    #[test]
    fn what_joins_during_a_pause_goes_with_the_next_try() {
        let mut flusher = with(1);
        flusher.next(at(1_000));
        flusher.failed(Failure::Transient, at(1_000), 0.0);
        flusher.accept(2, at(1_050));
        assert_eq!(numbers(flusher.next(at(1_100))), [1, 2]);
    }

    #[test]
    fn an_unclassified_failure_is_tried_again_a_few_times_and_then_permanent() {
        let mut flusher = with(1);
        let mut now = at(1_000);
        for _ in 0..3 {
            flusher.next(now);
            flusher.failed(Failure::Unclassified, now, 0.0);
            now = now.after(DELAY);
        }
        flusher.next(now);
        flusher.failed(Failure::Unclassified, now, 0.0);
        let Order::Store(batch) = flusher.next(now) else { panic!("it is parked") };
        assert_eq!((batch.operations.len(), batch.parked.map(|parked| parked.operation)), (0, Some(1)));
        assert_eq!((batch.after, batch.upto), (0, 1));
    }

    #[test]
    fn one_poison_among_a_hundred_is_parked_alone() {
        for poison in 1..=100 {
            let mut flusher = with(100);
            let (taken, parked, asked) = drain(&mut flusher, &[poison]);
            assert_eq!(taken, (1..=100).filter(|number| *number != poison).collect::<Vec<_>>());
            assert_eq!(parked, [poison]);
            // Seven halvings find one of a hundred: each costs a refusal and a commit at the most.
            assert!(asked <= 17, "{asked} transactions for poison {poison}");
        }
    }

    #[test]
    fn a_parked_operation_that_cannot_be_parked_yet_is_tried_again() {
        let mut flusher = with(1);
        flusher.next(at(1_000));
        flusher.failed(Failure::Permanent, at(1_000), 0.0);
        assert!(matches!(flusher.next(at(1_000)), Order::Store(Batch { parked: Some(_), .. })));
        flusher.failed(Failure::Permanent, at(1_000), 0.0);
        assert_eq!(flusher.next(at(1_000)), Order::WaitUntil(at(1_100)));
        assert!(matches!(flusher.next(at(1_100)), Order::Store(Batch { parked: Some(_), .. })));
        assert_eq!(flusher.stored().len(), 1);
    }

    #[test]
    fn a_store_that_takes_nothing_and_does_not_say_why_gets_few_dead_letters() {
        let mut flusher = with(1_000);
        flusher.want_all();
        let (mut now, mut parked) = (at(0), 0);
        while now < at(24 * 3_600_000) {
            match flusher.next(now) {
                Order::Store(Batch { parked: Some(_), .. }) => {
                    parked += 1;
                    flusher.stored();
                }
                Order::Store(_) => flusher.failed(Failure::Unclassified, now, 0.0),
                Order::WaitUntil(then) => now = then,
                Order::Rest => panic!("there is more"),
            }
        }
        assert!((1..=12).contains(&parked), "{parked} in a day");
    }

    #[test]
    fn a_paced_flusher_leaves_the_store_time() {
        let mut flusher = Flusher::new(Rules { pace: Duration::from_millis(10), ..rules() }, 0);
        (0..150).for_each(|operation| _ = flusher.accept(operation, at(0)));
        flusher.want_all();
        assert!(matches!(flusher.next(at(0)), Order::Store(Batch { upto: 100, .. })));
        flusher.stored();
        assert_eq!(flusher.next(at(500)), Order::WaitUntil(at(1_000)));
        assert!(matches!(flusher.next(at(1_000)), Order::Store(Batch { upto: 150, .. })));
    }

    #[test]
    fn what_the_store_has_had_before_is_passed_over() {
        let mut flusher = with(5);
        assert_eq!(flusher.pass_over(3).len(), 3);
        flusher.want_all();
        assert_eq!(numbers(flusher.next(at(0))), [4, 5]);
        assert_eq!(flusher.settled(), 3);
    }

    #[test]
    fn it_goes_on_from_what_the_store_has() {
        let mut flusher = Flusher::new(rules(), 41);
        assert_eq!(flusher.accept("next", at(0)), 42);
        let Order::Store(batch) = flusher.next(at(1_000)) else { panic!("due") };
        assert_eq!((batch.after, batch.upto), (41, 42));
    }

    #[test]
    fn numbers_with_gaps_do_as_well() {
        let mut flusher = Flusher::new(rules(), 1_000);
        for seq in [1_007, 1_008, 2_000, 2_001, 5_000] {
            flusher.accept_as(seq, seq, at(0));
        }
        assert!([1_007, 2_000, 5_000].iter().all(|seq| flusher.get(*seq).is_some_and(|it| it.seq == *seq)));
        assert!([1, 1_000, 1_009, 2_002, 9_000].iter().all(|seq| flusher.get(*seq).is_none()));
        let (taken, parked, _) = drain(&mut flusher, &[2_000]);
        assert_eq!((taken, parked), (vec![1_007, 1_008, 2_001, 5_000], vec![2_000]));
        assert_eq!((flusher.depth(), flusher.settled()), (0, 5_000));
    }

    proptest! {
        #[test]
        fn nothing_is_lost_and_nothing_comes_twice_or_out_of_order(
            count in 1_u64..300,
            poison in proptest::collection::btree_set(1_u64..300, 0..20),
        ) {
            let poison: Vec<u64> = poison.into_iter().filter(|number| *number <= count).collect();
            let mut flusher = with(count);
            let (taken, parked, _) = drain(&mut flusher, &poison);
            prop_assert_eq!(&parked, &poison);
            prop_assert_eq!(taken, (1..=count).filter(|number| !poison.contains(number)).collect::<Vec<_>>());
            prop_assert_eq!((flusher.depth(), flusher.settled()), (0, count));
        }
    }
}
