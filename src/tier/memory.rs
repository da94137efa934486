//! Copies in this process' memory, on moka.

use std::fmt;

use super::fenced::{Fenced, LocalMap, Stored};
use crate::bounds::{Key, Value};

/// Copies in this process' memory, bounded by a number of entries; what is read often stays (TinyLFU).
///
/// moka alone decides which entry leaves when room is wanted. It never decides what is served: the entry's own times
/// do, and the fence of [`Fenced`]. moka's loading calls are not used, since they let a slow load put an old value
/// back after an invalidation.
///
/// ```
/// use larder::Memory;
/// let memory: Memory<u64, String> = Memory::with_capacity(10_000);
/// # let _ = memory;
/// ```
pub type Memory<K, V> = Fenced<K, V, MokaMap<K, V>>;

impl<K: Key, V: Value> Memory<K, V> {
    /// Room for `entries` entries; with 0 nothing is ever kept.
    #[must_use]
    pub fn with_capacity(entries: u64) -> Self {
        Self::new("memory", MokaMap::with_capacity(entries))
    }
}

/// A moka cache as a [`LocalMap`].
pub struct MokaMap<K, V>(moka::sync::Cache<K, Stored<V>, foldhash::fast::RandomState>);

impl<K: Key, V: Value> MokaMap<K, V> {
    fn with_capacity(entries: u64) -> Self {
        Self(
            moka::sync::Cache::builder()
                .max_capacity(entries)
                .build_with_hasher(foldhash::fast::RandomState::default()),
        )
    }
}

impl<K: Key, V: Value> LocalMap<K, V> for MokaMap<K, V> {
    #[inline]
    fn get(&self, key: &K) -> Option<Stored<V>> {
        self.0.get(key)
    }

    fn put(&self, key: K, stored: Stored<V>) {
        self.0.insert(key, stored);
    }

    fn remove(&self, key: &K) {
        self.0.invalidate(key);
    }

    fn clear(&self) {
        self.0.invalidate_all();
    }
}

impl<K, V> fmt::Debug for MokaMap<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MokaMap").finish_non_exhaustive()
    }
}
