//! How much a tier in this process may keep, and who is told when it lets go of something.

use std::fmt;
use std::sync::Arc;

use super::fenced::Stored;
use crate::bounds::{Key, Value};

/// What the size of an entry is, in units of your choice; bytes are a good one. It need not be exact.
pub(super) type Weigher<K, V> = Arc<dyn Fn(&K, &V) -> u32 + Send + Sync>;

/// Who is told when an entry leaves a tier, with its value (`None` for an absence) and why.
pub(super) type Listener<K, V> = Arc<dyn Fn(&K, Option<&V>, Removal) + Send + Sync>;

/// Why an entry left a tier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Removal {
    /// Room was wanted for others.
    Capacity,
    /// Nobody had asked for it for the time to idle.
    Idle,
    /// A newer answer took its place.
    Replaced,
    /// It was invalidated, or the key was written.
    Dropped,
}

/// How much may be kept.
pub(super) enum Room<K, V> {
    Entries(u64),
    Weight(u64, Weigher<K, V>),
}

impl<K: Key, V: Value> Room<K, V> {
    /// Room for absences, when nothing else is said: a tenth of the room for values, where that is counted.
    pub(super) fn absences(&self) -> u64 {
        match self {
            Self::Entries(entries) => entries.div_ceil(10),
            Self::Weight(..) => 1_000,
        }
    }

    pub(super) fn units(&self) -> u64 {
        match self {
            Self::Entries(units) | Self::Weight(units, _) => *units,
        }
    }

    pub(super) fn weigher(&self) -> Option<Weigher<K, V>> {
        match self {
            Self::Entries(_) => None,
            Self::Weight(_, weigher) => Some(Arc::clone(weigher)),
        }
    }
}

/// The weight of an entry: at least one, since what weighs nothing would never leave.
pub(super) fn weight<K: Key, V: Value>(weigher: &Weigher<K, V>, key: &K, stored: &Stored<V>) -> u32 {
    stored.entry().value().map_or(1, |value| weigher(key, value)).max(1)
}

impl<K, V> fmt::Debug for Room<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Entries(entries) => write!(f, "{entries} entries"),
            Self::Weight(weight, _) => write!(f, "weight {weight}"),
        }
    }
}
