//! Where effects go: a table with a row for every write that is done, once more if it is done once more. Nothing in it keeps
//! a second row of one operation out.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use async_trait::async_trait;
use larder::sqlx::{PostgresRows, PostgresStore, SqliteRows, SqliteStore};
use larder::store::{
    Batch, Claim, Committed, DeadLetter, JournalId, PendingWrite, Seq, ShardId, TransactionalStore,
};
use larder::{Change, Loader, Outcome, Saved, Store, StoreError};
use sqlx::postgres::PgPoolOptions;
use sqlx::sqlite::SqlitePoolOptions;
use sqlx::{PgConnection, SqliteConnection};

use crate::job::Step;
use crate::notes::{Heard, Note};
use crate::place::{Place, postgres_options, sqlite_options};
use crate::steps::Steps;

/// A store that may be either.
pub(crate) type AnyStore = Arc<dyn TransactionalStore<u64, u64>>;

const INSERT: &str = "INSERT INTO effects (key, operation) VALUES ($1, $2)";

/// Rows of the table of effects; none, where only the offset is to be moved.
pub(crate) struct Effects {
    pub(crate) steps: Arc<Steps>,
    pub(crate) are_kept: bool,
}

pub(crate) fn open(place: &Place, effects: Effects) -> AnyStore {
    match place {
        Place::Sqlite(file) => {
            let pool = SqlitePoolOptions::new().max_connections(2).connect_lazy_with(sqlite_options(file));
            Arc::new(SqliteStore::new(pool, effects))
        }
        Place::Postgres(port) => {
            // Short: a server that is away is asked again soon.
            let pool = PgPoolOptions::new().max_connections(2).acquire_timeout(Duration::from_millis(500));
            Arc::new(PostgresStore::new(pool.connect_lazy_with(postgres_options(*port)), effects))
        }
    }
}

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
        let changes = if self.are_kept { changes } else { &[] };
        for (at, change) in changes.iter().enumerate() {
            let (key, operation) = cells(change)?;
            sqlx::query(INSERT).bind(key).bind(operation).execute(&mut *connection).await?;
            if at == 0 {
                self.steps.take(Step::Begun).await;
            }
        }
        self.steps.take(Step::Applied).await;
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
        let changes = if self.are_kept { changes } else { &[] };
        for (at, change) in changes.iter().enumerate() {
            let (key, operation) = cells(change)?;
            sqlx::query(INSERT).bind(key).bind(operation).execute(&mut *connection).await?;
            if at == 0 {
                self.steps.take(Step::Begun).await;
            }
        }
        self.steps.take(Step::Applied).await;
        if self.steps.is_due(Step::Committing) {
            // The server does all that there is to do, and then waits for a standby that does not exist.
            sqlx::query("SET LOCAL synchronous_commit = on").execute(connection).await?;
        }
        Ok(())
    }

    fn keeps_every_write(&self) -> bool {
        true
    }
}

/// Says what the flusher asks of a store and what it hears, and stops where it is to.
pub(crate) struct Watched {
    pub(crate) store: AnyStore,
    pub(crate) steps: Arc<Steps>,
}

impl Watched {
    async fn bring<T>(
        &self,
        upto: Seq,
        work: impl Future<Output = Result<T, StoreError>> + Send,
        is_done: impl Fn(&T) -> bool + Send,
    ) -> Result<T, StoreError> {
        self.steps.take(Step::Given).await;
        if self.steps.is_closing.load(Ordering::SeqCst) {
            self.steps.take(Step::Closing).await;
        }
        Note::Committing { upto }.say();
        let answer = work.await;
        if answer.is_ok() {
            self.steps.take(Step::Committed).await;
        }
        Note::Committed(match &answer {
            Ok(answer) if is_done(answer) => Heard::Done,
            Ok(_) => Heard::Undone,
            Err(error) if error.outcome() == Outcome::NotApplied => Heard::Undone,
            Err(_) => Heard::Nothing,
        })
        .say();
        answer
    }
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
        self.apply(&[Change::Put(*key, *value)]).await.map(Saved::from)
    }

    async fn delete(&self, key: &u64) -> Result<(), StoreError> {
        self.apply(&[Change::Delete(*key)]).await
    }

    async fn apply(&self, changes: &[Change<u64, u64>]) -> Result<(), StoreError> {
        self.bring(0, self.store.apply(changes), |()| true).await
    }
}

#[async_trait]
impl TransactionalStore<u64, u64> for Watched {
    fn keeps_every_write(&self) -> bool {
        self.store.keeps_every_write()
    }

    async fn claim(&self, shard: ShardId) -> Result<Claim, StoreError> {
        self.steps.take(Step::Claiming).await;
        let claim = self.store.claim(shard).await?;
        self.steps.take(Step::Claimed).await;
        Note::Standing { offset: claim.offset() }.say();
        Ok(claim)
    }

    async fn offset(&self, shard: ShardId) -> Result<Option<Claim>, StoreError> {
        let claim = self.store.offset(shard).await?;
        if let Some(claim) = claim {
            Note::Standing { offset: claim.offset() }.say();
        }
        Ok(claim)
    }

    async fn commit(&self, batch: &Batch<u64, u64>) -> Result<Committed, StoreError> {
        let is_done = |committed: &Committed| *committed == Committed::Done;
        self.bring(batch.upto(), self.store.commit(batch), is_done).await
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
pub(crate) fn changes(writes: &[PendingWrite<u64, u64>]) -> Vec<Change<u64, u64>> {
    writes.iter().map(|write| write.change().clone()).collect()
}
