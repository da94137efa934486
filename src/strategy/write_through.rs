//! A write goes to the store and then into the copies.

use async_trait::async_trait;

use super::WriteStrategy;
use crate::bounds::{Key, Value};
use crate::engine::{Turn, Written};
use crate::error::Result;
use crate::store::Change;

/// Store first, then the copies: the next read finds the new value.
///
/// The key is held meanwhile, so its copy is away while the store writes: a read in that time asks the store and
/// keeps nothing.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct WriteThrough;

impl WriteThrough {
    /// The strategy.
    #[must_use]
    pub const fn new() -> Self {
        Self
    }
}

#[async_trait]
impl<K: Key, V: Value> WriteStrategy<K, V> for WriteThrough {
    async fn put(&self, mut turn: Turn<K, V>, value: V) -> Result<Written> {
        turn.hold().await?;
        let (stored, _version) = turn.save(&value).await?.into_parts();
        turn.keep(Some(stored.unwrap_or(value))).await
    }

    async fn delete(&self, mut turn: Turn<K, V>) -> Result<Written> {
        turn.hold().await?;
        turn.delete().await?;
        turn.keep(None).await
    }

    async fn apply(&self, mut turn: Turn<K, V>, changes: Vec<Change<K, V>>) -> Result<Written> {
        turn.hold().await?;
        turn.apply(&changes).await?;
        turn.keep_all(changes).await
    }
}
