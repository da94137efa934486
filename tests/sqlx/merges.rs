//! Counters on real databases: exact whatever is written meanwhile, by whom, and after a restart.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::support::postgres::Postgres;
use crate::support::sqlite::Sqlite;
use async_trait::async_trait;
use futures_util::future::join_all;
use larder::journal::{Journal, LocalLog, Volatile};
use larder::sqlx::{Kind, PostgresRows, PostgresStore, PostgresTable, SqliteRows, SqliteStore, Table};
use larder::store::{MergeStore, PendingWrite, Sum};
use larder::{Change, LayeredCache, Loader, Memory, Store, StoreError, write_behind};
use sqlx::{Connection, PgConnection, SqliteConnection, raw_sql};

const MINUTE: Duration = Duration::from_secs(60);
const SOON: Duration = Duration::from_millis(5);

const CREATE: &str = "CREATE TABLE numbers (id BIGINT PRIMARY KEY, number BIGINT)";

type Rows = Arc<dyn MergeStore<u64, u64>>;

fn table() -> Table {
    Table::new("numbers").key("id", Kind::Int).column("number", Kind::Int)
}

async fn sqlite(file: &Sqlite) -> Rows {
    let pool = file.pool();
    raw_sql(CREATE).execute(&pool).await.unwrap();
    let store = SqliteStore::new(pool, table().sqlite().unwrap());
    store.migrate().await.unwrap();
    Arc::new(store)
}

async fn postgres(server: &Postgres, rows: impl PostgresRows<u64, u64>) -> Rows {
    let pool = server.pool();
    raw_sql(CREATE).execute(&pool).await.unwrap();
    let store = PostgresStore::new(pool, rows);
    store.migrate().await.unwrap();
    Arc::new(store)
}

fn cache(rows: &Rows, journal: impl Journal<u64, u64>, flush_every: Duration) -> LayeredCache<u64, u64> {
    let settings = write_behind(Arc::clone(rows)).merge(Sum).journal(journal).flush_every(flush_every);
    settings.tier(Memory::with_capacity(100)).ttl(MINUTE).build().unwrap()
}

/// The totals that `writers` are answered with, who raise key 7 by one `times` times each.
async fn totals(cache: &LayeredCache<u64, u64>, writers: u64, times: u64) -> Vec<u64> {
    let counting = (0..writers).map(|writer| {
        let cache = cache.clone();
        tokio::spawn(async move {
            let mut totals = Vec::new();
            for _ in 0..times {
                totals.push(cache.increment(&7, 1).await.unwrap().into_output());
                tokio::time::sleep(Duration::from_millis(writer % 4)).await;
            }
            totals
        })
    });
    join_all(counting).await.into_iter().flat_map(Result::unwrap).collect()
}

async fn totals_are_exact_across_restarts(rows: Rows, test: &str) {
    let log = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{test}-{}", std::process::id()));
    _ = std::fs::remove_dir_all(&log);
    let mut all = Vec::new();
    for _ in 0..3 {
        let cache = cache(&rows, LocalLog::at(&log), SOON);
        all.extend(totals(&cache, 8, 10).await);
        // Without a word: what waits is left in the log.
        drop(cache);
        tokio::time::sleep(10 * SOON).await;
    }
    let distinct: BTreeSet<u64> = all.iter().copied().collect();
    assert_eq!((all.len(), distinct.len(), distinct.last()), (240, 240, Some(&240)));
    let last = cache(&rows, LocalLog::at(&log), SOON);
    last.flush().await.unwrap();
    assert_eq!(rows.load(&7).await.unwrap(), Some(240));
    _ = std::fs::remove_dir_all(&log); // it is left for a moment more
}

#[tokio::test(flavor = "multi_thread")]
async fn totals_are_exact_across_restarts_on_sqlite() {
    let file = Sqlite::make();
    totals_are_exact_across_restarts(sqlite(&file).await, "totals-sqlite").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn totals_are_exact_across_restarts_on_postgres() {
    let test = "totals_are_exact_across_restarts_on_postgres";
    let Some(server) = Postgres::start_or_skip(test).await else { return };
    totals_are_exact_across_restarts(postgres(&server, table().postgres().unwrap()).await, test).await;
}

/// `O: reads 10 · P: adds 100, past larder · O: writes 11`: a row that is merged into is locked before it is read.
#[tokio::test]
async fn what_others_add_past_larder_is_not_lost() {
    let test = "what_others_add_past_larder_is_not_lost";
    let Some(server) = Postgres::start_or_skip(test).await else { return };
    let rows = postgres(&server, table().postgres().unwrap()).await;
    rows.apply(&[Change::Put(7, 10)]).await.unwrap();
    let cache = cache(&rows, Volatile::new(), MINUTE);
    let mut other = PgConnection::connect_with(&server.options()).await.unwrap();
    let mut transaction = other.begin().await.unwrap();
    let add = "UPDATE numbers SET number = number + 100 WHERE id = 7";
    raw_sql(add).execute(&mut *transaction).await.unwrap();
    assert_eq!(cache.increment(&7, 1).await.unwrap().into_output(), 11);
    let flushing = tokio::spawn({
        let cache = cache.clone();
        async move { cache.flush().await }
    });
    // It has come to the row.
    let waits = "SELECT count(*) FROM pg_locks WHERE NOT granted";
    let pool = server.pool();
    while sqlx::query_scalar::<_, i64>(waits).fetch_one(&pool).await.unwrap() == 0 {
        tokio::time::sleep(SOON).await;
    }
    transaction.commit().await.unwrap();
    flushing.await.unwrap().unwrap();
    assert_eq!(rows.load(&7).await.unwrap(), Some(111));
}

/// Statements that add by themselves, and nothing is read before.
struct Adding(PostgresTable);

#[async_trait]
impl PostgresRows<u64, u64> for Adding {
    async fn load(&self, connection: &mut PgConnection, key: &u64) -> Result<Option<u64>, StoreError> {
        self.0.load(connection, key).await
    }

    async fn load_to_merge(
        &self,
        _: &mut PgConnection,
        keys: &[u64],
    ) -> Vec<Result<Option<u64>, StoreError>> {
        keys.iter().map(|_| Err(StoreError::new("nobody need read"))).collect()
    }

    async fn apply(
        &self,
        connection: &mut PgConnection,
        changes: &[Change<u64, u64>],
    ) -> Result<(), StoreError> {
        for change in changes {
            let Change::Merge(key, operand) = change else {
                self.0.apply(&mut *connection, std::slice::from_ref(change)).await?;
                continue;
            };
            let add = "INSERT INTO numbers VALUES ($1, $2) ON CONFLICT (id) DO UPDATE SET number = numbers.number + $2";
            let add = sqlx::query(add).bind(key.cast_signed()).bind(operand.cast_signed());
            add.execute(&mut *connection).await?;
        }
        Ok(())
    }

    fn applies_merges(&self) -> bool {
        true
    }
}

#[tokio::test]
async fn rows_that_apply_merges_are_given_them_as_they_are() {
    let test = "rows_that_apply_merges_are_given_them_as_they_are";
    let Some(server) = Postgres::start_or_skip(test).await else { return };
    let rows = postgres(&server, Adding(table().postgres().unwrap())).await;
    let cache = cache(&rows, Volatile::new(), MINUTE);
    for expected in [[1, 10], [2, 20]] {
        for ((key, delta), expected) in [(7, 1), (8, 10)].into_iter().zip(expected) {
            assert_eq!(cache.increment(&key, delta).await.unwrap().into_output(), expected);
        }
        cache.flush().await.unwrap();
    }
    _ = cache.put(&7, 100).await.unwrap();
    assert_eq!(cache.increment(&7, 1).await.unwrap().into_output(), 101);
    cache.flush().await.unwrap();
    assert_eq!((rows.load(&7).await.unwrap(), rows.load(&8).await.unwrap()), (Some(101), Some(20)));
}

/// Every write leaves a row: what a merge has come to.
struct History;

#[async_trait]
impl SqliteRows<u64, u64> for History {
    async fn load(&self, connection: &mut SqliteConnection, key: &u64) -> Result<Option<u64>, StoreError> {
        let last = "SELECT number FROM history WHERE id = $1 ORDER BY seq DESC LIMIT 1";
        let last: Option<Option<i64>> =
            sqlx::query_scalar(last).bind(key.cast_signed()).fetch_optional(connection).await?;
        Ok(last.flatten().map(i64::cast_unsigned))
    }

    async fn apply(&self, _: &mut SqliteConnection, _: &[Change<u64, u64>]) -> Result<(), StoreError> {
        Err(StoreError::new("a history is of pending writes"))
    }

    async fn apply_writes(
        &self,
        connection: &mut SqliteConnection,
        writes: &[PendingWrite<u64, u64>],
    ) -> Result<(), StoreError> {
        for write in writes {
            let number = match write.change() {
                Change::Put(_, number) => Some(number.cast_signed()),
                Change::Delete(_) => None,
                _ => return Err(StoreError::new("it has been merged before")),
            };
            let insert =
                sqlx::query("INSERT INTO history VALUES ($1, $2, $3)").bind(write.seq().cast_signed());
            let insert = insert.bind(write.change().key().cast_signed()).bind(number);
            insert.execute(&mut *connection).await?;
        }
        Ok(())
    }

    fn keeps_every_write(&self) -> bool {
        true
    }
}

/// Of a key that is merged into and then put, too: the first of them needs what was there before.
#[tokio::test]
async fn a_history_gets_what_every_merge_has_come_to() {
    let file = Sqlite::make();
    let pool = file.pool();
    let create = "CREATE TABLE history (seq INTEGER PRIMARY KEY, id INTEGER, number INTEGER)";
    raw_sql(create).execute(&pool).await.unwrap();
    let store = SqliteStore::new(pool.clone(), History);
    store.migrate().await.unwrap();
    let rows: Rows = Arc::new(store);
    let behind = write_behind(rows).merge(Sum).journal(Volatile::new()).flush_every(MINUTE).store().unwrap();
    let (merge, put) = (|operand| Change::Merge(7, operand), |value| Change::Put(7, value));
    behind.apply(&[merge(10), merge(5)]).await.unwrap();
    behind.flush().await.unwrap();
    behind.apply(&[merge(1), put(100), merge(2), Change::Delete(7), merge(3)]).await.unwrap();
    behind.flush().await.unwrap();
    let history: Vec<Option<i64>> =
        sqlx::query_scalar("SELECT number FROM history ORDER BY seq").fetch_all(&pool).await.unwrap();
    assert_eq!(history, [Some(10), Some(15), Some(16), Some(100), Some(102), None, Some(3)]);
    assert!(behind.dead_letters(None, 9).await.unwrap().is_empty());
}
