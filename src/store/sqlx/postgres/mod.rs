//! A store on a PostgreSQL database.

mod exclusive;
mod ledger;
mod rows;
mod table;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use ::sqlx::{Connection, PgConnection, PgPool, Postgres, pool::PoolConnection};
use async_trait::async_trait;

use self::exclusive::Exclusive;
use self::ledger::Ledger;
use super::error::{classified, for_each, uncommitted, unconnected, undone};
use super::table::quoted;
use super::work::{Work, due, merged, merged_keys, merged_writes};
use crate::bounds::{Key, Value};
use crate::error::{Error, Result, StoreError};
use crate::store::{
    Batch, Change, Claim, Committed, DeadLetter, JournalId, Loader, MergeStore, Saved, Seq, ShardId, Store,
    TransactionalStore,
};

pub use rows::PostgresRows;
pub use table::PostgresTable;

/// A store on a PostgreSQL database: of a [`Table`](super::Table), or of statements of your own, [`PostgresRows`].
///
/// A batch of puts is one statement, and so is one of deletes; both are one transaction. Exactly-once writes need the
/// tables that [`migrate`](Self::migrate) creates; everything else does without.
///
/// A write that is dropped under way, at the write deadline for example, closes its connection, so that no transaction
/// stays open in the pool.
pub struct PostgresStore<K, V> {
    pool: PgPool,
    rows: Arc<dyn PostgresRows<K, V>>,
    ledger: Ledger,
}

impl<K: Key, V: Value> PostgresStore<K, V> {
    /// The store of `rows` in the database of `pool`, which is the primary: a replica knows too little and too late.
    ///
    /// Give it a pool of its own, best of all. With sqlx 0.9 a `begin` of yours that is dropped under way leaves a
    /// transaction open on its connection, and sqlx does not know of it. A write of a single statement that gets this
    /// connection next is in that transaction, which nobody may ever commit. Larder's own do not leave one behind.
    ///
    /// A pool with an `acquire_timeout` below the deadlines of the cache tells a database that is away from a slow one.
    pub fn new(pool: PgPool, rows: impl PostgresRows<K, V>) -> Self {
        Self { pool, rows: Arc::new(rows), ledger: Ledger::new("") }
    }

    /// Has larder's own tables in `schema`. Unless called: in the first schema of the connection's `search_path`.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Settings`](crate::error::ErrorKind::Settings) when that is no name.
    pub fn schema(self, schema: &str) -> Result<Self> {
        let ledger = Ledger::new(&format!("{}.", quoted(schema)?));
        Ok(Self { ledger, ..self })
    }

    /// Creates larder's own tables where they are missing. Processes that do it at the same time take turns.
    ///
    /// # Errors
    ///
    /// The database's own, and when the tables are of a later version of larder.
    pub async fn migrate(&self) -> Result<()> {
        let mut connection = self.connection().await.map_err(Error::store)?;
        self.ledger.migrate(&mut connection).await.map_err(Error::store)
    }

    async fn connection(&self) -> Result<PoolConnection<Postgres>, StoreError> {
        self.pool.acquire().await.map_err(unconnected)
    }

    /// Does `work` in a transaction of its own, all of it or nothing.
    async fn transact(&self, work: Work<'_, K, V>) -> Result<Committed, StoreError> {
        let mut connection = Exclusive::new(self.connection().await?);
        let mut transaction = connection.begin().await.map_err(undone)?;
        let worked = self.work(&mut transaction, work).await;
        if !matches!(worked, Ok(Committed::Done)) {
            if transaction.rollback().await.is_ok() {
                connection.give_back();
            }
            return worked.map_err(|error| classified(error).not_applied());
        }
        transaction.commit().await.map_err(uncommitted)?;
        connection.give_back();
        worked
    }

    async fn work(
        &self,
        connection: &mut PgConnection,
        work: Work<'_, K, V>,
    ) -> Result<Committed, StoreError> {
        match work {
            Work::Changes(changes) => self.rows.apply(connection, changes).await?,
            Work::Batch(batch) => {
                // First of all: the row stays locked, so that `offset` waits for what is under way.
                if !self.ledger.advance(connection, batch).await? {
                    return Ok(Committed::Refused);
                }
                self.apply_batch(connection, batch).await?;
                self.ledger.keep(connection, batch.letters()).await?;
            }
        }
        if !self.rows.passes_errors_on() {
            self.ledger.check_transaction(connection).await?;
        }
        Ok(Committed::Done)
    }
}

impl<K: Key, V: Value> PostgresStore<K, V> {
    /// Has the rows apply a batch; what is merged is made of what they have.
    async fn apply_batch(
        &self,
        connection: &mut PgConnection,
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
impl<K: Key, V: Value> Loader<K, V> for PostgresStore<K, V> {
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
impl<K: Key, V: Value> Store<K, V> for PostgresStore<K, V> {
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
impl<K: Key, V: Value> TransactionalStore<K, V> for PostgresStore<K, V> {
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
        self.ledger.offset(&mut *self.connection().await?, shard).await
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
impl<K: Key, V: Value> MergeStore<K, V> for PostgresStore<K, V> {
    async fn snapshot(&self, shard: ShardId, keys: &[K]) -> Result<(Vec<Option<V>>, Seq), StoreError> {
        let mut connection = Exclusive::new(self.connection().await?);
        let begin = "BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY";
        let mut transaction = connection.begin_with(begin).await.map_err(undone)?;
        let offset = self.ledger.standing(&mut transaction, shard).await;
        let values = self.rows.load_many(&mut transaction, keys).await;
        if transaction.rollback().await.is_ok() {
            connection.give_back();
        }
        let values = values.into_iter().map(|value| value.map_err(classified)).collect::<Result<_, _>>()?;
        Ok((values, offset?))
    }
}

/// A pool knows addresses and users; they are nobody's business.
impl<K, V> fmt::Debug for PostgresStore<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresStore").finish_non_exhaustive()
    }
}
