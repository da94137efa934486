//! From the settings of write-behind to those of the cache that stands on it.

use std::sync::Arc;

use super::Builder;
use crate::bounds::{Key, Value};
use crate::error::Result;
use crate::store::{Backing, Store, WriteBehind, WriteBehindBuilder};
use crate::tier::Tier;

/// The same write-behind twice: for the caller, and for the engine.
pub(super) type Behind<K, V> = (WriteBehind<K, V>, Arc<dyn Backing<K, V>>);

/// Opens the journal and makes the store, when the cache is built.
pub(super) type MakeBehind<K, V> =
    Box<dyn FnOnce() -> Result<(Arc<dyn Store<K, V>>, WriteBehind<K, V>, Arc<dyn Backing<K, V>>)> + Send>;

impl<K: Key + Ord, V: Value, S: Store<K, V>> WriteBehindBuilder<K, V, S> {
    /// The settings of a cache over it: a write is answered when the journal has it and then replaces the copies; when the
    /// store has it the copies are dropped.
    pub fn cache(self) -> Builder<K, V> {
        let (patience, is_shared) = (self.patience(), self.is_shared());
        let make: MakeBehind<K, V> = Box::new(move || {
            let behind = self.behind()?;
            Ok((Arc::new(behind.clone()) as Arc<dyn Store<K, V>>, behind.clone(), Arc::new(behind)))
        });
        Builder::over_write_behind(make, patience, is_shared)
    }

    /// [`cache`](Self::cache) with this [name](Builder::name).
    pub fn name(self, name: impl Into<String>) -> Builder<K, V> {
        self.cache().name(name)
    }

    /// [`cache`](Self::cache) with this [tier](Builder::tier).
    pub fn tier(self, tier: impl Tier<K, V>) -> Builder<K, V> {
        self.cache().tier(tier)
    }
}
