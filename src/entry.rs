//! One key's cached answer with its times.

use crate::bounds::Value;
use crate::coherence::Mark;
use crate::time::Timestamp;

/// One key's cached answer: a value, or the knowledge that the store has none, with the times that bound its use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry<V> {
    value: Option<V>,
    as_of: Timestamp,
    fresh_until: Timestamp,
    expires_at: Timestamp,
    mark: Mark,
}

impl<V: Value> Entry<V> {
    /// An entry as a tier reads it back. `value` is `None` when the store has none for the key.
    #[must_use]
    pub const fn new(
        value: Option<V>,
        as_of: Timestamp,
        fresh_until: Timestamp,
        expires_at: Timestamp,
    ) -> Self {
        Self { value, as_of, fresh_until, expires_at, mark: Mark::NONE }
    }

    /// The value, or `None` for a remembered absence.
    #[must_use]
    pub const fn value(&self) -> Option<&V> {
        self.value.as_ref()
    }

    /// The value, or `None` for a remembered absence.
    #[must_use]
    pub fn into_value(self) -> Option<V> {
        self.value
    }

    /// Whether this entry remembers that the store has no value.
    #[must_use]
    pub const fn is_absent(&self) -> bool {
        self.value.is_none()
    }

    /// When the store was *asked*; age counts from here, so that a slow load does not make its answer look young.
    #[must_use]
    pub const fn as_of(&self) -> Timestamp {
        self.as_of
    }

    /// Until when it is served without further ado.
    #[must_use]
    pub const fn fresh_until(&self) -> Timestamp {
        self.fresh_until
    }

    /// From when on it is not served at all, fresh or not. A copy that a tier may not keep for its whole life ends
    /// before it is stale.
    #[must_use]
    pub const fn expires_at(&self) -> Timestamp {
        self.expires_at
    }

    /// The same entry, not to be served from `moment` on.
    #[must_use]
    pub(crate) fn until(self, moment: Timestamp) -> Self {
        Self { expires_at: self.expires_at.min(moment), ..self }
    }

    /// What it is known by to messages of a shared tier; none until one gives it.
    #[doc(hidden)]
    #[must_use]
    pub const fn mark(&self) -> Mark {
        self.mark
    }

    /// The same entry with this mark, taken before the shared tier was asked.
    #[doc(hidden)]
    #[must_use]
    pub fn marked(self, mark: Mark) -> Self {
        Self { mark, ..self }
    }

    pub(crate) const fn set_mark(&mut self, mark: Mark) {
        self.mark = mark;
    }

    /// The same entry, of which nobody knows whether it is still what the shared tier has: stale already.
    #[must_use]
    pub(crate) fn suspect(self) -> Self {
        Self { fresh_until: self.as_of, ..self }
    }

    /// What may be done with it at `now`.
    #[must_use]
    pub fn freshness(&self, now: Timestamp) -> Freshness {
        if now >= self.expires_at {
            Freshness::Expired
        } else if now < self.fresh_until {
            Freshness::Fresh
        } else {
            Freshness::Stale
        }
    }

    /// Whether it is served at `now` without further ado.
    #[must_use]
    pub fn is_fresh(&self, now: Timestamp) -> bool {
        self.freshness(now) == Freshness::Fresh
    }
}

/// What may be done with an entry, in the words of RFC 9111 and RFC 5861.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Freshness {
    /// Serve it.
    Fresh,
    /// Serve it marked, and renew it.
    Stale,
    /// Do not serve it.
    Expired,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_can_end_before_it_is_stale() {
        let at = Timestamp::from_nanos;
        let entry = Entry::new(Some(7), at(10), at(20), at(30)).until(at(15));
        assert_eq!([14, 15, 20].map(|now| entry.is_fresh(at(now))), [true, false, false]);
        assert_eq!(entry.clone().until(at(40)), entry, "never later than it would have");
    }

    #[test]
    fn an_entry_ages_from_fresh_over_stale_to_expired() {
        let at = Timestamp::from_nanos;
        let entry = Entry::new(Some(7), at(10), at(20), at(30));
        let ages = [10, 19, 20, 29, 30].map(|now| entry.freshness(at(now)));
        use Freshness::{Expired, Fresh, Stale};
        assert_eq!(ages, [Fresh, Fresh, Stale, Stale, Expired]);
    }
}
