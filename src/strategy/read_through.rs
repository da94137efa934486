//! A miss loads, and the answer is kept.

use async_trait::async_trait;

use super::ReadStrategy;
use crate::bounds::{Key, Value};
use crate::engine::{Engine, ReadOptions, Served};
use crate::error::Result;

/// A copy, or else the store's answer, which is kept in every tier.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct ReadThrough;

impl ReadThrough {
    /// The strategy.
    #[must_use]
    pub const fn new() -> Self {
        Self
    }
}

#[async_trait]
impl<K: Key, V: Value> ReadStrategy<K, V> for ReadThrough {
    async fn find(&self, engine: &Engine<K, V>, key: &K, options: &ReadOptions) -> Result<Option<Served<V>>> {
        engine.find(key, options).await.map(Some)
    }

    async fn find_many(
        &self,
        engine: &Engine<K, V>,
        keys: &[K],
        options: &ReadOptions,
    ) -> Vec<Result<Option<Served<V>>>> {
        super::some_of_each(engine.find_many(keys, options).await)
    }
}
