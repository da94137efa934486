//! From when on an answer is new enough for somebody who knows of a write.

use crate::bounds::Value;
use crate::entry::Entry;
use crate::receipt::Receipt;
use crate::time::Timestamp;

/// What is asked for after a moment is new enough; and so is what a write has left behind itself, for who has its receipt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Since {
    after: Timestamp,
    receipt: Option<Receipt>,
}

impl Since {
    /// Whatever was asked for after `after`.
    pub(crate) const fn moment(after: Timestamp) -> Self {
        Self { after, receipt: None }
    }

    /// Whatever is not older than the write of a receipt, which was surely done at `after`.
    pub(crate) const fn write(after: Timestamp, receipt: Receipt) -> Self {
        Self { after, receipt: Some(receipt) }
    }

    /// The moment of the write, where there is one.
    pub(crate) fn of_write(&self) -> Option<Timestamp> {
        self.receipt.as_ref().map(|_| self.after)
    }

    /// Whether a copy is new enough. One of the same moment is not: clocks have ticks.
    pub(crate) fn covers<V: Value>(&self, copy: &Entry<V>) -> bool {
        copy.as_of() > self.after
            || self.receipt.as_ref().is_some_and(|receipt| receipt.is_of_copy(copy.mark().copy()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::coherence::Mark;
    use crate::receipt::Facts;

    fn copy_as_of(nanos: u64) -> Entry<u64> {
        Entry::new(Some(1), Timestamp::from_nanos(nanos), Timestamp::NEVER, Timestamp::NEVER)
    }

    #[test]
    fn a_copy_of_the_same_moment_is_too_old() {
        let since = Since::moment(Timestamp::from_nanos(10));
        assert_eq!([9, 10, 11].map(|nanos| since.covers(&copy_as_of(nanos))), [false, false, true]);
    }

    #[test]
    fn what_the_write_left_is_new_enough_whenever_it_was_dated() {
        let number = Mark::NONE.of_copy(77).copy();
        let facts = Facts {
            origin: 1,
            number: 1,
            at: Timestamp::ZERO,
            copy: Some(number),
            waits: false,
            readings: vec![],
        };
        let since = Since::write(Timestamp::from_nanos(10), Receipt::new(facts));
        assert!(since.covers(&copy_as_of(5).marked(Mark::NONE.of_copy(77))));
        assert!(
            !since.covers(&copy_as_of(5).marked(Mark::NONE.of_copy(78))) && !since.covers(&copy_as_of(5))
        );
    }
}
