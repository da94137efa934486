//! How keys and values are read and written: statements of one's own.

use ::sqlx::SqliteConnection;
use async_trait::async_trait;

use crate::bounds::{Key, Value};
use crate::change::PendingWrite;
use crate::error::StoreError;
use crate::store::Change;

/// Statements that read and write the values of keys in SQLite. [`SqliteTable`](super::SqliteTable) is one.
///
/// What writes is handed a connection in a transaction that is committed, or rolled back after an error, by who called.
/// Errors of sqlx may be passed on with `?`: larder looks at them with [`store_error`](crate::sqlx::store_error). Some
/// undo the whole transaction, a full disk for example: pass them on.
#[async_trait]
pub trait SqliteRows<K: Key, V: Value>: Send + Sync + 'static {
    /// The value of `key`, if it has one.
    async fn load(&self, connection: &mut SqliteConnection, key: &K) -> Result<Option<V>, StoreError>;

    /// The values of `keys`, one result for each, in their order. Unless overridden: one after the other.
    async fn load_many(
        &self,
        connection: &mut SqliteConnection,
        keys: &[K],
    ) -> Vec<Result<Option<V>, StoreError>> {
        let mut answers = Vec::with_capacity(keys.len());
        for key in keys {
            answers.push(self.load(connection, key).await);
        }
        answers
    }

    /// Applies `changes`: one of each key, unless it [keeps every write](Self::keeps_every_write).
    async fn apply(
        &self,
        connection: &mut SqliteConnection,
        changes: &[Change<K, V>],
    ) -> Result<(), StoreError>;

    /// Applies `writes` one by one, in their order. Called instead of [`apply`](Self::apply) where pending writes are to
    /// be kept [each](Self::keeps_every_write). Unless overridden: `apply` of what they change, without their numbers.
    async fn apply_writes(
        &self,
        connection: &mut SqliteConnection,
        writes: &[PendingWrite<K, V>],
    ) -> Result<(), StoreError> {
        let changes: Vec<_> = writes.iter().map(|write| write.change().clone()).collect();
        self.apply(connection, &changes).await
    }

    /// The values of `keys`, about to be merged into, in the transaction that does it. What can be locked should be: else what
    /// others write meanwhile, past larder, is lost. Unless overridden: [`load_many`](Self::load_many).
    async fn load_to_merge(
        &self,
        connection: &mut SqliteConnection,
        keys: &[K],
    ) -> Vec<Result<Option<V>, StoreError>> {
        self.load_many(connection, keys).await
    }

    /// Whether [`apply`](Self::apply) takes [`Change::Merge`], with a statement such as `SET views = views + ?`. Unless
    /// overridden: no, and it is given the value that the merge comes to.
    fn applies_merges(&self) -> bool {
        false
    }

    /// Whether every single write leaves a trace, such as a row of a history. Unless overridden: no.
    fn keeps_every_write(&self) -> bool {
        false
    }

    /// Whether [`apply`](Self::apply) of `changes` is a single statement, which needs no transaction around it. Unless
    /// overridden: no.
    fn is_one_statement(&self, _changes: &[Change<K, V>]) -> bool {
        false
    }
}
