//! What a cache needs of the write-behind below it, whatever its keys can be compared by.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::{Backlog, Hear, Ticket, WriteBehind};
use crate::bounds::{Key, Value};
use crate::error::{Result, StoreError};
use crate::event::Events;

#[async_trait]
pub(crate) trait Backing<K, V>: Send + Sync {
    /// Events go to the cache, and it hears of what has been written, from the first write on.
    fn attach(&self, events: Arc<Events>, hear: Hear<K>);
    /// What can be awaited of the last writes of `keys`; `None` if nothing waits for them.
    fn ticket(&self, keys: &[K]) -> Option<Ticket>;
    /// Resolves when nothing waits for `keys` any more.
    async fn settle(&self, keys: &[K]) -> Result<()>;
    /// Has an operand merged into what a key has; what that comes to.
    async fn merge(&self, key: &K, operand: V) -> Result<V, StoreError>;
    /// Whether other processes read what waits.
    fn is_read_by_others(&self) -> bool;
    fn backlog(&self) -> Backlog;
    async fn flush(&self) -> Result<()>;
    /// How many writes are left.
    async fn close(&self, deadline: Duration) -> Result<usize>;
}

#[async_trait]
impl<K: Key + Ord, V: Value> Backing<K, V> for WriteBehind<K, V> {
    fn attach(&self, events: Arc<Events>, hear: Hear<K>) {
        self.attach(events);
        self.give_tickets();
        self.on_flushed(hear);
        self.begin();
    }

    fn ticket(&self, keys: &[K]) -> Option<Ticket> {
        self.ticket(keys)
    }

    async fn settle(&self, keys: &[K]) -> Result<()> {
        self.settle(keys).await
    }

    async fn merge(&self, key: &K, operand: V) -> Result<V, StoreError> {
        self.merge(key, operand).await
    }

    fn is_read_by_others(&self) -> bool {
        self.is_shared()
    }

    fn backlog(&self) -> Backlog {
        self.backlog()
    }

    async fn flush(&self) -> Result<()> {
        self.flush().await
    }

    async fn close(&self, deadline: Duration) -> Result<usize> {
        self.end(deadline).await
    }
}
