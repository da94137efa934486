//! What a read answers.

use std::time::Duration;

use crate::bounds::Value;
use crate::entry::{Entry, Freshness};
use crate::levels::Found;
use crate::time::Timestamp;

/// What can be said of a key at once, without waiting for anything.
#[allow(clippy::exhaustive_enums, reason = "there is no fourth thing to say, and callers match on the three")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Local<V> {
    /// A fresh copy is here.
    Value(V),
    /// It is known, freshly, that the store has none.
    Absent,
    /// Ask properly: there is no copy, or something needs to be done about it.
    Unknown,
}

impl<V> Local<V> {
    /// Whether one has to ask properly.
    #[must_use]
    pub const fn is_unknown(&self) -> bool {
        matches!(self, Self::Unknown)
    }

    /// The value, if a fresh copy of one is here.
    #[must_use]
    pub fn into_value(self) -> Option<V> {
        match self {
            Self::Value(value) => Some(value),
            Self::Absent | Self::Unknown => None,
        }
    }
}

/// An answer with where it came from and how old it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Served<V> {
    entry: Entry<V>,
    tier: Option<&'static str>,
    age: Duration,
    freshness: Freshness,
}

impl<V: Value> Served<V> {
    /// The value; `None` when the store has none.
    #[must_use]
    pub const fn value(&self) -> Option<&V> {
        self.entry.value()
    }

    /// The value; `None` when the store has none.
    #[must_use]
    pub fn into_value(self) -> Option<V> {
        self.entry.into_value()
    }

    /// How long ago the store was asked.
    #[must_use]
    pub const fn age(&self) -> Duration {
        self.age
    }

    /// How much of its fresh life is over: 0 when the store has just been asked, 1 when its ttl ends, more when it is
    /// stale.
    #[must_use]
    pub fn lived(&self) -> f64 {
        let life = self.entry.fresh_until().since(self.entry.as_of());
        if life.is_zero() { f64::INFINITY } else { self.age.as_secs_f64() / life.as_secs_f64() }
    }

    /// Whether it is fresh, by its own times. An answer that is kept nowhere counts as expired.
    #[must_use]
    pub const fn freshness(&self) -> Freshness {
        self.freshness
    }

    /// The tier that had it; `None` when the store was asked.
    #[must_use]
    pub const fn tier(&self) -> Option<&'static str> {
        self.tier
    }

    /// What was found, as it is `now`.
    pub(super) fn at(now: Timestamp, found: Found<V>) -> Self {
        let Found { entry, tier, .. } = found;
        Self { tier, age: now.since(entry.as_of()), freshness: entry.freshness(now), entry }
    }
}
