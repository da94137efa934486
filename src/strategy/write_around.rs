//! A write goes to the store and drops the copies.

use async_trait::async_trait;

use super::WriteStrategy;
use crate::bounds::{Key, Value};
use crate::engine::{Turn, Written};
use crate::error::Result;

/// Store first, then no copy: the next read loads what the store made of it.
///
/// Between the store's answer and the invalidation a read may still see the old copy; none does after the write has
/// been answered.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct WriteAround;

impl WriteAround {
    /// The strategy.
    #[must_use]
    pub const fn new() -> Self {
        Self
    }
}

#[async_trait]
impl<K: Key, V: Value> WriteStrategy<K, V> for WriteAround {
    async fn put(&self, mut turn: Turn<K, V>, value: V) -> Result<Written> {
        turn.save(&value).await?;
        Ok(turn.invalidate().await)
    }

    async fn delete(&self, mut turn: Turn<K, V>) -> Result<Written> {
        turn.delete().await?;
        Ok(turn.invalidate().await)
    }
}
