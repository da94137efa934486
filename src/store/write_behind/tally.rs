//! The operations on one key, such that what a part of them comes to is found without going through all: a counter is asked for
//! its total at every increment, and tens of thousands of them may wait.

use std::collections::VecDeque;
use std::ops::RangeInclusive;

use crate::store::{Change, Merging, Seq};

/// How many operations are gone through one by one; of the others it is remembered what so many come to.
const CHUNK: usize = 64;

/// The numbers of operations, in their order. The operations themselves are somebody else's.
#[derive(Clone, Debug)]
pub(super) struct Tally<K, V>(VecDeque<Chunk<K, V>>);

#[derive(Clone, Debug)]
struct Chunk<K, V> {
    seqs: VecDeque<Seq>,
    /// What all of them come to, once somebody has asked.
    sum: Option<Change<K, V>>,
}

impl<K: Clone, V: Clone + 'static> Tally<K, V> {
    pub(super) fn new() -> Self {
        Self(VecDeque::new())
    }

    /// One more, after all others.
    pub(super) fn push(&mut self, seq: Seq) {
        match self.0.back_mut() {
            Some(last) if last.seqs.len() < CHUNK => {
                last.seqs.push_back(seq);
                last.sum = None;
            }
            _ => self.0.push_back(Chunk { seqs: VecDeque::from([seq]), sum: None }),
        }
    }

    /// The first one leaves, if it is `seq`.
    pub(super) fn leave(&mut self, seq: Seq) {
        let Some(first) = self.0.front_mut().filter(|first| first.seqs.front() == Some(&seq)) else { return };
        first.seqs.pop_front();
        first.sum = None;
        if first.seqs.is_empty() {
            self.0.pop_front();
        }
    }

    /// The last one has become another operation.
    pub(super) fn changed(&mut self) {
        if let Some(last) = self.0.back_mut() {
            last.sum = None;
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = Seq> {
        self.0.iter().flat_map(|chunk| chunk.seqs.iter().copied())
    }

    /// What `before` and then those within `range` come to; `get` knows the operations.
    pub(super) fn sum<'a>(
        &mut self,
        before: Option<Change<K, V>>,
        range: RangeInclusive<Seq>,
        merging: &Merging<V>,
        get: impl Fn(Seq) -> Option<&'a Change<K, V>>,
    ) -> Option<Change<K, V>>
    where
        K: 'a,
    {
        let one_by_one = |before, seqs: &VecDeque<Seq>| {
            let within = seqs.iter().filter(|seq| range.contains(seq));
            within.filter_map(|seq| get(*seq)).fold(before, |sum, later| Some(merging.join(sum, later)))
        };
        let due = self.0.partition_point(|chunk| chunk.seqs.back() < Some(range.start()));
        self.0.range_mut(due..).fold(before, |sum, chunk| {
            let ends = [chunk.seqs.front(), chunk.seqs.back()];
            if !ends.iter().flatten().all(|end| range.contains(end)) {
                return one_by_one(sum, &chunk.seqs);
            }
            if chunk.sum.is_none() {
                chunk.sum = one_by_one(None, &chunk.seqs);
            }
            match &chunk.sum {
                Some(later) => Some(merging.join(sum, later)),
                None => sum,
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::store::{Merge, Sum};
    use proptest::prelude::*;

    /// Adds, and counts how often.
    struct Counted(Arc<AtomicUsize>);

    impl Merge<u64> for Counted {
        fn merge(&self, value: Option<&u64>, operand: &u64) -> u64 {
            value.map_or(*operand, |value| value + operand)
        }

        fn combine(&self, first: &u64, second: &u64) -> u64 {
            self.0.fetch_add(1, Ordering::Relaxed);
            first + second
        }
    }

    #[test]
    fn a_counter_that_is_raised_again_and_again_is_not_added_up_from_the_beginning() {
        let additions = Arc::new(AtomicUsize::new(0));
        let merging = Merging::new(Counted(Arc::clone(&additions)));
        let one = Change::Merge(7_u8, 1_u64);
        let mut tally = Tally::new();
        for seq in 1..=10_000 {
            tally.push(seq);
            let total = tally.sum(None, 1..=Seq::MAX, &merging, |_| Some(&one));
            assert_eq!(total, Some(Change::Merge(7, seq)));
        }
        let additions = additions.load(Ordering::Relaxed);
        assert!(additions < 10_000 * 250, "{additions} instead of 50 million");
    }

    proptest! {
        #[test]
        fn any_part_of_it_is_found(
            gaps in proptest::collection::vec(1_u64..3, 0..300),
            left in 0_usize..300,
            (start, length) in (0_u64..600, 0_u64..600),
            again: bool,
        ) {
            let merging = Merging::new(Sum);
            let mut tally = Tally::new();
            let seqs: Vec<Seq> = gaps.iter().scan(0, |seq, gap| { *seq += gap; Some(*seq) }).collect();
            seqs.iter().for_each(|seq| tally.push(*seq));
            let operands: Vec<Change<u8, u64>> = (0..=600).map(|seq| Change::Merge(1, seq * seq)).collect();
            let get = |seq: Seq| usize::try_from(seq).ok().and_then(|at| operands.get(at));
            if again {
                tally.sum(None, 0..=Seq::MAX, &merging, get);
            }
            seqs.iter().take(left).for_each(|seq| tally.leave(*seq));
            let range = start..=start + length;
            let within = seqs.iter().skip(left).filter(|seq| range.contains(seq));
            let expected = within.map(|seq| seq * seq).reduce(|one, other| one + other);
            prop_assert_eq!(tally.sum(None, range, &merging, get), expected.map(|sum| Change::Merge(1, sum)));
        }
    }
}
