//! There is no store: reads see copies, writes make and drop them.

use async_trait::async_trait;

use super::{ReadStrategy, WriteStrategy};
use crate::bounds::{Key, Value};
use crate::engine::{Engine, ReadOptions, Served, Turn, Written};
use crate::error::Result;
use crate::store::Change;

/// Copies and nothing else.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct CopiesOnly;

impl CopiesOnly {
    /// The strategy.
    #[must_use]
    pub const fn new() -> Self {
        Self
    }
}

#[async_trait]
impl<K: Key, V: Value> ReadStrategy<K, V> for CopiesOnly {
    async fn find(&self, engine: &Engine<K, V>, key: &K, options: &ReadOptions) -> Result<Option<Served<V>>> {
        Ok(engine.copies(std::slice::from_ref(key), options).await?.pop().flatten())
    }

    async fn find_many(
        &self,
        engine: &Engine<K, V>,
        keys: &[K],
        options: &ReadOptions,
    ) -> Vec<Result<Option<Served<V>>>> {
        match engine.copies(keys, options).await {
            Ok(copies) => copies.into_iter().map(Ok).collect(),
            Err(error) => keys.iter().map(|_| Err(error.clone())).collect(),
        }
    }
}

#[async_trait]
impl<K: Key, V: Value> WriteStrategy<K, V> for CopiesOnly {
    async fn put(&self, turn: Turn<K, V>, value: V) -> Result<Written> {
        turn.keep(Some(value)).await
    }

    async fn delete(&self, turn: Turn<K, V>) -> Result<Written> {
        Ok(turn.invalidate().await)
    }

    async fn apply(&self, turn: Turn<K, V>, changes: Vec<Change<K, V>>) -> Result<Written> {
        match changes.iter().any(|change| matches!(change, Change::Put(..))) {
            true => turn.keep_all(changes).await,
            false => Ok(turn.invalidate().await),
        }
    }
}
