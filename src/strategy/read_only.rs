//! Nothing is written.

use async_trait::async_trait;

use super::WriteStrategy;
use crate::bounds::{Key, Value};
use crate::engine::{Turn, Written};
use crate::error::{Error, ErrorKind, Result};
use crate::store::Change;

/// Refuses every put and delete with [`ErrorKind::ReadOnly`]. Copies can still be invalidated.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct ReadOnly;

impl ReadOnly {
    /// The strategy.
    #[must_use]
    pub const fn new() -> Self {
        Self
    }
}

#[async_trait]
impl<K: Key, V: Value> WriteStrategy<K, V> for ReadOnly {
    async fn put(&self, _turn: Turn<K, V>, _value: V) -> Result<Written> {
        Err(refused())
    }

    async fn delete(&self, _turn: Turn<K, V>) -> Result<Written> {
        Err(refused())
    }

    async fn apply(&self, _turn: Turn<K, V>, _changes: Vec<Change<K, V>>) -> Result<Written> {
        Err(refused())
    }
}

fn refused() -> Error {
    Error::new(
        ErrorKind::ReadOnly,
        "this cache stands on a loader; to write, build it on a store, or use `write` with a write of your own",
    )
}
