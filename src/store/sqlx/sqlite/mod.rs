//! A store on a SQLite database.

mod ledger;
mod rows;
mod table;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use ::sqlx::{Sqlite, SqliteConnection, SqlitePool, Transaction, pool::PoolConnection};
use async_trait::async_trait;

use self::ledger::Ledger;
use super::error::{classified, for_each, uncommitted, unconnected, undone};
use super::work::{Work, due, merged, merged_keys, merged_writes};
use crate::bounds::{Key, Value};
use crate::error::{Error, Result, StoreError};
use crate::store::{
    Batch, Change, Claim, Committed, DeadLetter, JournalId, Loader, MergeStore, Saved, Seq, ShardId, Store,
    TransactionalStore,
};

pub use rows::SqliteRows;
pub use table::SqliteTable;

/// A store on a SQLite database: of a [`Table`](super::Table), or of statements of your own, [`SqliteRows`].
///
/// A batch of puts takes a handful of statements, however many there are, and so does one of deletes; both are one
/// transaction. Exactly-once writes need the tables that [`migrate`](Self::migrate) creates; everything else does without.
///
/// Larder's own tables are in the same file as yours: a transaction over several files is none when the power fails.
/// There is one writer at a time, who is waited for as long as the connection's `busy_timeout` says. The database should be
/// in WAL mode, so that readers do not wait as well.
pub struct SqliteStore<K, V> {
    pool: SqlitePool,
    rows: Arc<dyn SqliteRows<K, V>>,
    ledger: Ledger,
}

impl<K: Key, V: Value> SqliteStore<K, V> {
    /// The store of `rows` in the database of `pool`.
    pub fn new(pool: SqlitePool, rows: impl SqliteRows<K, V>) -> Self {
        Self { pool, rows: Arc::new(rows), ledger: Ledger::new() }
    }

    /// Creates larder's own tables where they are missing.
    ///
    /// # Errors
    ///
    /// The database's own, and when the tables are of a later version of larder.
    pub async fn migrate(&self) -> Result<()> {
        let mut transaction = self.begin().await.map_err(Error::store)?;
        self.ledger.migrate(&mut transaction).await.map_err(Error::store)?;
        transaction.commit().await.map_err(|error| Error::store(uncommitted(error)))
    }

    async fn connection(&self) -> Result<PoolConnection<Sqlite>, StoreError> {
        self.pool.acquire().await.map_err(unconnected)
    }

    /// A transaction that is the writer from its beginning: one that begins by reading may find, when it comes to write,
    /// that somebody else has written meanwhile.
    async fn begin(&self) -> Result<Transaction<'static, Sqlite>, StoreError> {
        self.pool.begin_with("BEGIN IMMEDIATE").await.map_err(undone)
    }

    /// Does `work` in a transaction of its own, all of it or nothing. sqlx rolls back what is dropped.
    async fn transact(&self, work: Work<'_, K, V>) -> Result<Committed, StoreError> {
        let mut transaction = self.begin().await?;
        let worked = self.work(&mut transaction, work).await;
        if matches!(worked, Ok(Committed::Done)) {
            transaction.commit().await.map_err(uncommitted)?;
            return worked;
        }
        // Waited for, so that the next writer finds the database free. If it fails it is tried again on the way to the pool.
        _ = transaction.rollback().await;
        worked.map_err(|error| classified(error).not_applied())
    }

    async fn work(
        &self,
        connection: &mut SqliteConnection,
        work: Work<'_, K, V>,
    ) -> Result<Committed, StoreError> {
        match work {
            Work::Changes(changes) => self.rows.apply(connection, changes).await?,
            Work::Batch(batch) => {
                if !self.ledger.advance(connection, batch).await? {
                    return Ok(Committed::Refused);
                }
                self.apply_batch(connection, batch).await?;
                self.ledger.keep(connection, batch.letters()).await?;
            }
        }
        Ok(Committed::Done)
    }
}

impl<K: Key, V: Value> SqliteStore<K, V> {
    /// Has the rows apply a batch; what is merged is made of what they have.
    async fn apply_batch(
        &self,
        connection: &mut SqliteConnection,
        batch: &Batch<K, V>,
    ) -> Result<(), StoreError> {
        let keeps_every_write = self.rows.keeps_every_write();
        let keys = merged_keys(batch, keeps_every_write);
        let takes_as_is = keys.is_empty() || self.rows.applies_merges();
        match (keeps_every_write, takes_as_is) {
            (true, true) => return self.rows.apply_writes(connection, batch.writes()).await,
            (false, true) => return self.rows.apply(connection, batch.changes()).await,
            (_, false) => {}
        }
        let values = self.rows.load_to_merge(connection, &keys).await;
        if keeps_every_write {
            let writes = merged_writes(batch, keys, values)?;
            return self.rows.apply_writes(connection, &writes).await;
        }
        self.rows.apply(connection, &merged(batch, keys, values)?).await
    }
}

#[async_trait]
impl<K: Key, V: Value> Loader<K, V> for SqliteStore<K, V> {
    async fn load(&self, key: &K) -> Result<Option<V>, StoreError> {
        self.rows.load(&mut *self.connection().await?, key).await.map_err(classified)
    }

    async fn load_many(&self, keys: &[K]) -> Vec<Result<Option<V>, StoreError>> {
        if keys.is_empty() {
            return Vec::new();
        }
        match self.connection().await {
            Ok(mut connection) => {
                let answers = self.rows.load_many(&mut connection, keys).await;
                answers.into_iter().map(|answer| answer.map_err(classified)).collect()
            }
            Err(error) => for_each(error, keys.len()),
        }
    }
}

#[async_trait]
impl<K: Key, V: Value> Store<K, V> for SqliteStore<K, V> {
    async fn save(&self, key: &K, value: &V) -> Result<Saved<V>, StoreError> {
        self.apply(&[Change::Put(key.clone(), value.clone())]).await.map(Saved::from)
    }

    async fn delete(&self, key: &K) -> Result<(), StoreError> {
        self.apply(&[Change::Delete(key.clone())]).await
    }

    async fn apply(&self, changes: &[Change<K, V>]) -> Result<(), StoreError> {
        let changes = due(changes, self.rows.keeps_every_write());
        if changes.is_empty() {
            return Ok(());
        }
        if self.rows.is_one_statement(&changes) {
            return self.rows.apply(&mut *self.connection().await?, &changes).await.map_err(classified);
        }
        self.transact(Work::Changes(&changes)).await.map(drop)
    }
}

#[async_trait]
impl<K: Key, V: Value> TransactionalStore<K, V> for SqliteStore<K, V> {
    fn keeps_every_write(&self) -> bool {
        self.rows.keeps_every_write()
    }

    async fn claim(&self, shard: ShardId) -> Result<Claim, StoreError> {
        self.ledger.claim(&mut *self.connection().await?, shard).await
    }

    async fn claim_for(
        &self,
        shard: ShardId,
        owner: u64,
        lease: Duration,
    ) -> Result<Option<Claim>, StoreError> {
        self.ledger.claim_for(&mut *self.connection().await?, shard, owner, lease).await
    }

    async fn renew(
        &self,
        journal: JournalId,
        owner: u64,
        lease: Duration,
    ) -> Result<Vec<(u16, u64)>, StoreError> {
        self.ledger.renew(&mut *self.connection().await?, journal, owner, lease).await
    }

    async fn release(&self, shard: ShardId, epoch: u64) -> Result<(), StoreError> {
        self.ledger.release(&mut *self.connection().await?, shard, epoch).await
    }

    async fn offset(&self, shard: ShardId) -> Result<Option<Claim>, StoreError> {
        // As the only writer: nobody else's transaction is under way.
        let mut transaction = self.begin().await?;
        let found = self.ledger.offset(&mut transaction, shard).await;
        transaction.rollback().await.map_err(undone)?;
        found
    }

    async fn commit(&self, batch: &Batch<K, V>) -> Result<Committed, StoreError> {
        self.transact(Work::Batch(batch)).await
    }

    async fn letters(
        &self,
        journal: JournalId,
        after: Option<(u16, Seq)>,
        most: usize,
    ) -> Result<Vec<DeadLetter>, StoreError> {
        self.ledger.letters(&mut *self.connection().await?, journal, after, most).await
    }

    async fn discard(&self, shard: ShardId, seq: Seq) -> Result<bool, StoreError> {
        self.ledger.discard(&mut *self.connection().await?, shard, seq).await
    }

    async fn forget(&self, shard: ShardId) -> Result<(), StoreError> {
        self.ledger.forget(&mut *self.connection().await?, shard).await
    }
}

#[async_trait]
impl<K: Key, V: Value> MergeStore<K, V> for SqliteStore<K, V> {
    async fn snapshot(&self, shard: ShardId, keys: &[K]) -> Result<(Vec<Option<V>>, Seq), StoreError> {
        // Not the writer, who need not be waited for: what the first statement finds is what all of them see.
        let mut transaction = self.pool.begin_with("BEGIN DEFERRED").await.map_err(undone)?;
        let offset = self.ledger.standing(&mut transaction, shard).await;
        let values = self.rows.load_many(&mut transaction, keys).await;
        _ = transaction.rollback().await;
        let values = values.into_iter().map(|value| value.map_err(classified)).collect::<Result<_, _>>()?;
        Ok((values, offset?))
    }
}

/// A pool knows addresses and users; they are nobody's business.
impl<K, V> fmt::Debug for SqliteStore<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqliteStore").finish_non_exhaustive()
    }
}
