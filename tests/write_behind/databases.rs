//! Write-behind on real databases: what waits, what fails and what comes back, on SQLite and on PostgreSQL.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::support::postgres::Postgres;
use crate::support::sqlite::Sqlite;
use larder::journal::{LocalLog, Volatile};
use larder::sqlx::{Kind, PostgresStore, SqliteStore, Table};
use larder::store::{TransactionalStore, WriteBehindBuilder};
use larder::{AtLimit, Error, ErrorKind, Loader, Memory, Store, WriteBehind, write_behind};

const HOUR: Duration = Duration::from_secs(3_600);
const MINUTE: Duration = Duration::from_secs(60);
const SOON: Duration = Duration::from_millis(20);

type Rows = Arc<dyn TransactionalStore<u64, u64>>;

/// What a test is run on, and what must live as long as it.
struct Database {
    rows: Rows,
    log: PathBuf,
    server: Option<Postgres>,
    _file: Option<Sqlite>,
}

impl Database {
    /// Both, where PostgreSQL is installed. A number that is 666 is none.
    async fn each(test: &str) -> Vec<Self> {
        let table = || Table::new("numbers").key("id", Kind::Int).column("number", Kind::Int);
        let create = "CREATE TABLE numbers (id BIGINT PRIMARY KEY, number BIGINT CHECK (number <> 666))";
        let file = Sqlite::make();
        let pool = file.pool();
        sqlx::query(create).execute(&pool).await.unwrap();
        let rows = SqliteStore::new(pool, table().sqlite().unwrap());
        rows.migrate().await.unwrap();
        let mut databases = vec![Self::of(Arc::new(rows), test, None, Some(file))];
        if let Some(server) = Postgres::start_or_skip("tests/write_behind/databases.rs").await {
            let pool = server.pool();
            sqlx::query(create).execute(&pool).await.unwrap();
            let rows = PostgresStore::new(pool, table().postgres().unwrap());
            rows.migrate().await.unwrap();
            databases.push(Self::of(Arc::new(rows), test, Some(server), None));
        }
        databases
    }

    fn of(rows: Rows, test: &str, server: Option<Postgres>, file: Option<Sqlite>) -> Self {
        let kind = if server.is_some() { "postgres" } else { "sqlite" };
        let log =
            PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{test}-{kind}-{}", std::process::id()));
        _ = std::fs::remove_dir_all(&log);
        Self { rows, log, server, _file: file }
    }

    /// Exactly once, from a log.
    fn settings(&self) -> WriteBehindBuilder<u64, u64, Rows> {
        write_behind(Arc::clone(&self.rows)).exactly_once().pauses(SOON, 10 * SOON).flush_every(SOON)
    }

    fn behind(&self) -> WriteBehind<u64, u64> {
        self.settings().journal(LocalLog::at(&self.log)).store().unwrap()
    }

    async fn row(&self, key: u64) -> Option<u64> {
        self.rows.load(&key).await.unwrap()
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        _ = std::fs::remove_dir_all(&self.log);
    }
}

#[tokio::test]
async fn a_put_and_a_delete_in_one_window_never_swap() {
    for database in Database::each("swap").await {
        let behind = database.behind();
        for key in 0..10 {
            behind.save(&key, &1).await.unwrap();
            behind.delete(&key).await.unwrap();
            if key % 2 == 0 {
                behind.save(&key, &2).await.unwrap();
            }
        }
        behind.flush().await.unwrap();
        assert_eq!((database.row(0).await, database.row(1).await), (Some(2), None));
    }
}

#[tokio::test]
async fn a_key_that_is_written_all_the_time_is_stored_all_the_same() {
    for database in Database::each("always").await {
        let behind = database.settings().journal(Volatile::new()).store().unwrap();
        let mut seen = Vec::new();
        for number in 0..300 {
            behind.save(&1, &number).await.unwrap();
            tokio::time::sleep(Duration::from_millis(1)).await;
            seen.extend(database.row(1).await);
        }
        seen.dedup();
        assert!(seen.len() >= 3, "{seen:?}");
        assert!(seen.is_sorted(), "{seen:?}");
    }
}

#[tokio::test]
async fn one_poison_among_a_hundred_is_put_aside_where_the_offset_is() {
    for database in Database::each("poison").await {
        let behind = database.behind();
        for key in 0..100 {
            behind.save(&key, &if key == 57 { 666 } else { key }).await.unwrap();
        }
        behind.flush().await.unwrap();
        for key in 0..100 {
            assert_eq!(database.row(key).await, (key != 57).then_some(key));
        }
        let letters = behind.dead_letters(None, 10).await.unwrap();
        assert_eq!(letters.iter().map(|letter| letter.seq()).collect::<Vec<_>>(), [58]);
        assert!(behind.read_letter(&letters[0]).is_ok());
        let kept = database.rows.letters(behind.journal(), None, 10).await.unwrap();
        assert_eq!(kept, letters, "in the store, and not in the log");
        assert!(behind.discard(&letters[0]).await.unwrap());
        assert!(behind.dead_letters(None, 10).await.unwrap().is_empty());
    }
}

#[tokio::test]
async fn a_database_that_is_down_is_made_up_for_when_it_is_back() {
    for database in Database::each("down").await {
        let Some(server) = &database.server else { continue };
        let settings = database.settings().max_pending(500).at_limit(AtLimit::Reject);
        let behind = settings.journal(LocalLog::at(&database.log)).store().unwrap();
        behind.save(&0, &0).await.unwrap();
        behind.flush().await.unwrap();
        server.kill().await;
        let (mut accepted, mut refused) = (1, 0);
        for key in 1..=1_000 {
            match behind.save(&key, &key).await {
                Ok(_) => accepted += 1,
                Err(error) => {
                    let error = error.downcast_ref::<Error>().map(Error::kind);
                    assert_eq!(error, Some(ErrorKind::Full));
                    refused += 1;
                }
            }
        }
        assert_eq!((accepted, refused), (501, 500));
        assert_eq!(behind.load(&7).await.unwrap(), Some(7), "what waits is read");
        server.start_again().await;
        behind.flush().await.unwrap();
        let rows: i64 =
            sqlx::query_scalar("SELECT count(*) FROM numbers").fetch_one(&server.pool()).await.unwrap();
        assert_eq!(rows, accepted);
    }
}

#[tokio::test]
async fn closing_while_the_database_is_down_returns_in_time_and_loses_nothing() {
    for database in Database::each("close").await {
        let Some(server) = &database.server else { continue };
        let behind = database.behind();
        behind.save(&1, &1).await.unwrap();
        behind.flush().await.unwrap();
        server.kill().await;
        for key in 2..50 {
            behind.save(&key, &key).await.unwrap();
        }
        let left = tokio::time::timeout(MINUTE, behind.close(10 * SOON)).await.unwrap().unwrap();
        assert_eq!((left.writes.len(), left.are_kept), (48, true));
        server.start_again().await;
        let next = database.behind();
        next.flush().await.unwrap();
        assert_eq!(database.row(49).await, Some(49));
    }
}

#[tokio::test]
async fn a_cache_reads_what_waits_whatever_its_tiers_have() {
    for database in Database::each("cache").await {
        let settings = database.settings().flush_every(HOUR).journal(LocalLog::at(&database.log));
        let cache = settings.tier(Memory::with_capacity(100)).ttl(HOUR).build().unwrap();
        let written = cache.put(&1, 10).await.unwrap();
        written.durable().await.unwrap();
        cache.clear().await.unwrap();
        assert_eq!((cache.get(&1).await.unwrap(), database.row(1).await), (Some(10), None));
        assert_eq!(cache.stats().pending, 1);
        cache.flush().await.unwrap();
        written.stored().await.unwrap();
        assert_eq!((cache.get(&1).await.unwrap(), database.row(1).await), (Some(10), Some(10)));
        assert!(cache.close(MINUTE).await.unwrap().is_empty());
    }
}
