//! Which copies count, and until when.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use crate::time::Timestamp;

/// How many buckets there are: a shared tier says which bucket a key is in.
pub const BUCKETS: usize = 64;
/// How many stripes a bucket has.
pub const STRIPES: usize = 64;

/// What a copy is known by: its key's stripe, how far that had moved on when the shared tier was asked, and which copy of the
/// shared tier it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Mark {
    stripe: u32,
    generation: u32,
    copy: u64,
}

impl Mark {
    /// That of a copy which no message can reach.
    pub const NONE: Self = Self { stripe: u32::MAX, generation: 0, copy: 0 };

    /// Whether there is one.
    #[must_use]
    pub const fn is_some(self) -> bool {
        self.stripe != u32::MAX
    }

    /// The same, of a copy that no message is sure to reach, since the shared tier does not know who has it. It counts for a
    /// bound at the most, which whoever keeps it sees to, and until the next flush.
    #[must_use]
    pub const fn alone(self) -> Self {
        Self { copy: ALONE, ..self }
    }

    /// Whether messages are sure to reach the copy.
    #[must_use]
    pub const fn is_reached(self) -> bool {
        self.is_some() && self.copy != ALONE
    }

    /// The same, of the copy that the shared tier knows by this number. In whichever life the tier is: a writer knows the
    /// number of its copy, and not in which life it came to be there.
    #[must_use]
    pub const fn of_copy(self, number: u128) -> Self {
        let number = number & NUMBER;
        match self.copy {
            ALONE => self,
            _ => Self { copy: (number ^ (number >> 64)) as u64 & !(1 << 63), ..self },
        }
    }

    /// The number of the shared tier's copy, folded.
    #[must_use]
    pub const fn copy(self) -> u64 {
        self.copy
    }

    /// Whether it is of the copy that the shared tier knows by this number.
    #[must_use]
    pub const fn is_of(self, number: u128) -> bool {
        self.copy == Self::NONE.of_copy(number).copy
    }
}

/// The bits of a copy's number that do not say in which life of the tier it came to be there.
const NUMBER: u128 = (1 << 96) - 1;

/// In the place of a copy's number.
const ALONE: u64 = u64::MAX;

/// What one cache may believe of its copies.
#[derive(Debug)]
pub struct Trust {
    /// Until when copies of a bucket count, in nanoseconds of the cache's clock.
    until: Box<[AtomicU64]>,
    generations: Box<[AtomicU32]>,
    /// The buckets of which only tracked reads are told of.
    tracked: Box<[AtomicBool]>,
    /// Whether a shared tier sees to it.
    adopted: AtomicBool,
}

impl Default for Trust {
    fn default() -> Self {
        Self {
            until: (0..BUCKETS).map(|_| AtomicU64::new(0)).collect(),
            generations: (0..BUCKETS * STRIPES).map(|_| AtomicU32::new(0)).collect(),
            tracked: (0..BUCKETS).map(|_| AtomicBool::new(false)).collect(),
            adopted: AtomicBool::new(false),
        }
    }
}

impl Trust {
    /// A shared tier says that it sees to it.
    pub fn adopt(&self) {
        self.adopted.store(true, Ordering::Release);
    }

    /// Whether one does.
    #[must_use]
    pub fn is_adopted(&self) -> bool {
        self.adopted.load(Ordering::Acquire)
    }

    /// The mark of a key that the shared tier is about to be asked for.
    #[must_use]
    pub fn mark(&self, bucket: usize, stripe: usize) -> Mark {
        let place = bucket % BUCKETS * STRIPES + stripe % STRIPES;
        Mark { stripe: place as u32, generation: self.generations[place].load(Ordering::Acquire), copy: 0 }
    }

    /// The same for one that is not asked for by a tracked read: [alone](Mark::alone) where nothing else is told of.
    #[must_use]
    pub fn mark_untracked(&self, bucket: usize, stripe: usize) -> Mark {
        // In this order: what is told of changes before a flush, and a mark of before the flush is void.
        let mark = self.mark(bucket, stripe);
        if self.is_tracked(bucket) { mark.alone() } else { mark }
    }

    /// Says whether only tracked reads of a bucket are told of. True if that is news: the bucket must then be flushed.
    #[must_use]
    pub fn set_tracked(&self, bucket: usize, tracked: bool) -> bool {
        self.tracked[bucket % BUCKETS].swap(tracked, Ordering::AcqRel) != tracked
    }

    /// Whether only tracked reads of a bucket are told of.
    #[must_use]
    pub fn is_tracked(&self, bucket: usize) -> bool {
        self.tracked[bucket % BUCKETS].load(Ordering::Acquire)
    }

    /// Whether a copy with this mark counts at `now`: nothing has dropped it, and its bucket is trusted or it is alone.
    #[inline]
    #[must_use]
    pub fn holds(&self, mark: Mark, now: Timestamp) -> bool {
        self.until.get(mark.stripe as usize / STRIPES).is_some_and(|until| {
            // In this order: whoever trusts a bucket has flushed it before.
            (now.as_nanos() <= until.load(Ordering::Acquire) || mark.copy == ALONE) && self.is_current(mark)
        })
    }

    /// Whether nothing is known to have dropped it.
    #[inline]
    #[must_use]
    pub fn is_current(&self, mark: Mark) -> bool {
        let generation = self.generations.get(mark.stripe as usize);
        generation.is_some_and(|generation| generation.load(Ordering::Acquire) == mark.generation)
    }

    /// Whether messages, of which none is missing, have dropped it.
    #[must_use]
    pub fn is_known_dropped(&self, mark: Mark, now: Timestamp) -> bool {
        self.is_trusted(mark.stripe as usize / STRIPES, now) && !self.is_current(mark)
    }

    /// Whether the copies of a bucket count at `now`.
    #[must_use]
    pub fn is_trusted(&self, bucket: usize, now: Timestamp) -> bool {
        now.as_nanos() <= self.until[bucket % BUCKETS].load(Ordering::Acquire)
    }

    /// Something has dropped keys of this stripe.
    pub fn drop_stripe(&self, bucket: usize, stripe: usize) {
        self.generations[bucket % BUCKETS * STRIPES + stripe % STRIPES].fetch_add(1, Ordering::AcqRel);
    }

    /// Nobody knows what has been dropped of this bucket.
    pub fn flush(&self, bucket: usize) {
        (0..STRIPES).for_each(|stripe| self.drop_stripe(bucket, stripe));
    }

    /// All that had been dropped of the bucket by `until`, less the bound, is known.
    pub fn trust(&self, bucket: usize, until: Timestamp) {
        self.until[bucket % BUCKETS].store(until.as_nanos(), Ordering::Release);
    }

    /// Messages may be missing.
    pub fn distrust(&self, bucket: usize) {
        self.until[bucket % BUCKETS].store(0, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_nanos(1_000);

    #[test]
    fn a_copy_counts_while_its_bucket_is_trusted_and_its_stripe_has_not_moved() {
        let trust = Trust::default();
        let (mark, neighbour) = (trust.mark(3, 7), trust.mark(3, 8));
        assert!(!trust.holds(mark, NOW), "nobody listens yet");
        trust.trust(3, NOW);
        assert!(trust.holds(mark, NOW));
        assert!(!trust.holds(mark, Timestamp::from_nanos(1_001)));
        trust.drop_stripe(3, 7);
        assert!(!trust.holds(mark, NOW) && trust.holds(neighbour, NOW));
        trust.flush(3);
        assert!(!trust.holds(neighbour, NOW));
        assert!(trust.holds(trust.mark(3, 7), NOW), "what is read from now on");
        trust.distrust(3);
        assert!(!trust.holds(trust.mark(3, 7), NOW));
    }

    #[test]
    fn a_copy_without_a_mark_never_counts() {
        let trust = Trust::default();
        (0..BUCKETS).for_each(|bucket| trust.trust(bucket, Timestamp::NEVER));
        assert!(!trust.holds(Mark::NONE, NOW) && !trust.is_current(Mark::NONE));
    }

    #[test]
    fn a_copy_alone_counts_without_trust_until_a_flush() {
        let trust = Trust::default();
        let mark = trust.mark(3, 7).alone();
        assert!(trust.holds(mark, NOW) && mark.is_some() && !mark.is_reached());
        trust.flush(3);
        assert!(!trust.holds(mark, NOW));
    }

    #[test]
    fn a_tracked_bucket_marks_what_is_not_tracked_as_alone() {
        let trust = Trust::default();
        assert!(trust.mark_untracked(3, 7).is_reached());
        assert!(trust.set_tracked(3, true) && !trust.set_tracked(3, true));
        assert!(!trust.mark_untracked(3, 7).is_reached() && trust.mark(3, 7).is_reached());
    }

    #[test]
    fn a_mark_knows_its_copy() {
        let mark = Trust::default().mark(1, 1).of_copy(7 << 64);
        assert!(mark.is_of(7 << 64) && !mark.is_of(8 << 64));
    }
}
