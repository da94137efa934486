//! Where effects go: a table with a row for every write that is done, once more if it is done once more. Nothing in it keeps
//! a second row of one operation out. And a table of counters.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use larder::sqlx::{Kind, PostgresRows, PostgresStore, SqliteRows, SqliteStore, Table};
use larder::store::{
    Batch, Claim, Committed, DeadLetter, JournalId, MergeStore, PendingWrite, Seq, ShardId,
    TransactionalStore,
};
use larder::{Change, Loader, Saved, Store, StoreError};
use sqlx::postgres::{PgPool, PgPoolOptions};
use sqlx::sqlite::{SqlitePool, SqlitePoolOptions};
use sqlx::{PgConnection, SqliteConnection};

use crate::job::Guards;
use crate::notes::Note;
use crate::place::{Place, postgres_options, sqlite_options};

/// A store of effects that may be either.
pub(crate) type AnyStore = Arc<dyn TransactionalStore<u64, u64>>;
/// A store of counters that may be either.
pub(crate) type Counters = Arc<dyn MergeStore<u64, u64>>;

pub(crate) const COUNTERS: &str = "CREATE TABLE counters (id BIGINT PRIMARY KEY, number BIGINT)";

const INSERT: &str = "INSERT INTO effects (key, operation) VALUES ($1, $2)";

pub(crate) fn effects(place: &Place) -> AnyStore {
    match place {
        Place::Sqlite(file) => Arc::new(SqliteStore::new(sqlite(file), Effects)),
        Place::Postgres(port) => Arc::new(PostgresStore::new(postgres(*port), Effects)),
    }
}

pub(crate) fn counters(place: &Place) -> Counters {
    let table = Table::new("counters").key("id", Kind::Int).column("number", Kind::Int);
    match place {
        Place::Sqlite(file) => Arc::new(SqliteStore::new(sqlite(file), table.sqlite().expect("a table"))),
        Place::Postgres(port) => {
            Arc::new(PostgresStore::new(postgres(*port), table.postgres().expect("a table")))
        }
    }
}

fn sqlite(file: &std::path::Path) -> SqlitePool {
    SqlitePoolOptions::new().max_connections(2).connect_lazy_with(sqlite_options(file))
}

fn postgres(port: u16) -> PgPool {
    // Short: a server that is away is asked again soon.
    let pool = PgPoolOptions::new().max_connections(2).acquire_timeout(Duration::from_millis(500));
    pool.connect_lazy_with(postgres_options(port))
}

struct Effects;

fn cells(change: &Change<u64, u64>) -> Result<(i64, i64), StoreError> {
    match change {
        Change::Put(key, operation) => Ok((key.cast_signed(), operation.cast_signed())),
        _ => Err(StoreError::new("nothing is deleted here").permanent()),
    }
}

#[async_trait]
impl SqliteRows<u64, u64> for Effects {
    async fn load(&self, _: &mut SqliteConnection, _: &u64) -> Result<Option<u64>, StoreError> {
        Ok(None)
    }

    async fn apply(
        &self,
        connection: &mut SqliteConnection,
        changes: &[Change<u64, u64>],
    ) -> Result<(), StoreError> {
        for change in changes {
            let (key, operation) = cells(change)?;
            sqlx::query(INSERT).bind(key).bind(operation).execute(&mut *connection).await?;
        }
        Ok(())
    }

    fn keeps_every_write(&self) -> bool {
        true
    }
}

#[async_trait]
impl PostgresRows<u64, u64> for Effects {
    async fn load(&self, _: &mut PgConnection, _: &u64) -> Result<Option<u64>, StoreError> {
        Ok(None)
    }

    async fn apply(
        &self,
        connection: &mut PgConnection,
        changes: &[Change<u64, u64>],
    ) -> Result<(), StoreError> {
        for change in changes {
            let (key, operation) = cells(change)?;
            sqlx::query(INSERT).bind(key).bind(operation).execute(&mut *connection).await?;
        }
        Ok(())
    }

    fn keeps_every_write(&self) -> bool {
        true
    }
}

/// Says what the store answers of shards and batches. With a guard out it is one that looks right and is not.
pub(crate) struct Watched {
    pub(crate) store: AnyStore,
    pub(crate) guards: Guards,
}

#[async_trait]
impl Loader<u64, u64> for Watched {
    async fn load(&self, key: &u64) -> Result<Option<u64>, StoreError> {
        self.store.load(key).await
    }
}

#[async_trait]
impl Store<u64, u64> for Watched {
    async fn save(&self, key: &u64, value: &u64) -> Result<Saved<u64>, StoreError> {
        self.store.save(key, value).await
    }

    async fn delete(&self, key: &u64) -> Result<(), StoreError> {
        self.store.delete(key).await
    }
}

#[async_trait]
impl TransactionalStore<u64, u64> for Watched {
    fn keeps_every_write(&self) -> bool {
        true
    }

    async fn claim(&self, shard: ShardId) -> Result<Claim, StoreError> {
        self.store.claim(shard).await
    }

    async fn claim_for(
        &self,
        shard: ShardId,
        owner: u64,
        lease: Duration,
    ) -> Result<Option<Claim>, StoreError> {
        let claim = self.store.claim_for(shard, owner, lease).await?;
        if let Some(claim) = claim {
            Note::Claimed { shard: shard.number().into(), epoch: claim.epoch() }.say();
        }
        Ok(claim)
    }

    async fn renew(
        &self,
        journal: JournalId,
        owner: u64,
        lease: Duration,
    ) -> Result<Vec<(u16, u64)>, StoreError> {
        self.store.renew(journal, owner, lease).await
    }

    async fn release(&self, shard: ShardId, epoch: u64) -> Result<(), StoreError> {
        // Before: nobody can claim it sooner.
        Note::Released { shard: shard.number().into() }.say();
        self.store.release(shard, epoch).await
    }

    async fn offset(&self, shard: ShardId) -> Result<Option<Claim>, StoreError> {
        self.store.offset(shard).await
    }

    async fn commit(&self, batch: &Batch<u64, u64>) -> Result<Committed, StoreError> {
        // An owner is often stopped or killed when it has a batch and has not begun to bring it.
        tokio::time::sleep(Duration::from_micros(fastrand::u64(..3_000))).await;
        let (shard, epoch) = (batch.shard().number().into(), batch.epoch());
        let committed = self.store.commit(batch).await?;
        match committed {
            Committed::Done => Note::Brought { shard, epoch }.say(),
            _ => Note::Refused { shard, epoch }.say(),
        }
        if committed != Committed::Done && self.guards == Guards::NoEpoch {
            self.store.apply(&changes(batch.writes())).await?;
            return Ok(Committed::Done);
        }
        Ok(committed)
    }

    async fn letters(
        &self,
        journal: JournalId,
        after: Option<(u16, Seq)>,
        most: usize,
    ) -> Result<Vec<DeadLetter>, StoreError> {
        self.store.letters(journal, after, most).await
    }

    async fn discard(&self, shard: ShardId, seq: Seq) -> Result<bool, StoreError> {
        self.store.discard(shard, seq).await
    }

    async fn forget(&self, shard: ShardId) -> Result<(), StoreError> {
        self.store.forget(shard).await
    }
}

/// What a batch changes, write by write.
fn changes(writes: &[PendingWrite<u64, u64>]) -> Vec<Change<u64, u64>> {
    writes.iter().map(|write| write.change().clone()).collect()
}
