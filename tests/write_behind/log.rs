//! Writes that wait in files, and a database that knows how far it is: what one process leaves, the next one finishes.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::support::sqlite::Sqlite;
use larder::journal::{LocalLog, inspect};
use larder::sqlx::{Kind, SqliteStore, Table};
use larder::{ErrorKind, Loader, Store, WriteBehind, write_behind};

const HOUR: Duration = Duration::from_secs(3_600);
const SOON: Duration = Duration::from_secs(10);

/// A database and the directory of a log, gone with the test.
struct Place {
    database: Sqlite,
    log: PathBuf,
}

impl Place {
    fn new(test: &str) -> Self {
        let log = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{test}-{}", std::process::id()));
        _ = std::fs::remove_dir_all(&log);
        Self { database: Sqlite::make(), log }
    }

    async fn rows(&self) -> SqliteStore<u64, u64> {
        let pool = self.database.pool();
        let create = "CREATE TABLE IF NOT EXISTS numbers (id INTEGER PRIMARY KEY, number INTEGER)";
        sqlx::query(create).execute(&pool).await.unwrap();
        let table = Table::new("numbers").key("id", Kind::Int).column("number", Kind::Int);
        let rows = SqliteStore::new(pool, table.sqlite().unwrap());
        rows.migrate().await.unwrap();
        rows
    }

    /// A process, as far as the log can tell.
    async fn process(&self, flush_every: Duration) -> WriteBehind<u64, u64> {
        self.try_process(flush_every, &self.log).await.unwrap()
    }

    async fn try_process(&self, flush_every: Duration, log: &Path) -> larder::Result<WriteBehind<u64, u64>> {
        let settings = write_behind(self.rows().await).exactly_once();
        settings.journal(LocalLog::at(log)).flush_every(flush_every).store()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        _ = std::fs::remove_dir_all(&self.log);
    }
}

#[tokio::test]
async fn what_a_process_leaves_the_next_one_reads_and_writes() {
    let place = Place::new("left");
    let first = place.process(HOUR).await;
    for key in 0..100 {
        first.save(&key, &(key + 1)).await.unwrap();
    }
    first.delete(&7).await.unwrap();
    drop(first);
    let second = place.process(HOUR).await;
    assert_eq!(second.backlog().writes, 101);
    assert_eq!((second.load(&3).await.unwrap(), second.load(&7).await.unwrap()), (Some(4), None));
    assert_eq!(place.rows().await.load(&3).await.unwrap(), None, "not there yet");
    second.flush().await.unwrap();
    assert_eq!(place.rows().await.load(&3).await.unwrap(), Some(4));
    assert_eq!(place.rows().await.load(&7).await.unwrap(), None);
}

#[tokio::test]
async fn what_is_stored_is_not_written_again() {
    let place = Place::new("again");
    let first = place.process(HOUR).await;
    first.save(&1, &10).await.unwrap();
    first.flush().await.unwrap();
    let left = first.close(SOON).await.unwrap();
    assert!(left.writes.is_empty());
    place.rows().await.save(&1, &99).await.unwrap();
    let second = place.process(Duration::ZERO).await;
    assert_eq!(second.load(&1).await.unwrap(), Some(99), "somebody else has changed it since");
    second.save(&2, &20).await.unwrap();
    second.flush().await.unwrap();
    assert_eq!(place.rows().await.load(&1).await.unwrap(), Some(99));
}

#[tokio::test]
async fn closing_frees_the_log_and_keeps_what_is_left() {
    let place = Place::new("closed");
    let first = place.process(HOUR).await;
    first.save(&1, &10).await.unwrap();
    let elsewhere = place.try_process(HOUR, &place.log).await.unwrap_err();
    assert_eq!(elsewhere.kind(), ErrorKind::Journal, "{elsewhere}");
    let left = first.close(Duration::ZERO).await.unwrap();
    assert!(left.are_kept);
    assert!(first.save(&1, &11).await.unwrap_err().to_string().contains("closed"));
    let second = place.process(HOUR).await;
    assert_eq!(second.load(&1).await.unwrap(), Some(10));
}

#[tokio::test]
async fn a_log_of_another_database_is_refused() {
    let place = Place::new("other");
    let first = place.process(HOUR).await;
    first.save(&1, &10).await.unwrap();
    first.flush().await.unwrap();
    drop(first);
    // As after a copy of the log that was made before anything was written, under the same id.
    let empty = Place::new("other-copy");
    let copy = empty.process(HOUR).await;
    copy.save(&1, &1).await.unwrap();
    copy.flush().await.unwrap();
    copy.save(&2, &2).await.unwrap();
    drop(copy);
    let pool = empty.database.pool();
    sqlx::query("UPDATE larder_shard SET last = 40").execute(&pool).await.unwrap();
    let ahead = empty.process(HOUR).await;
    let error = ahead.flush().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Journal, "{error}");
    assert!(error.to_string().contains("40"), "{error}");
    assert!(ahead.save(&3, &3).await.is_err(), "it would be taken for written");
}

#[tokio::test]
async fn what_waits_in_a_log_can_be_listed_without_opening_it() {
    let place = Place::new("listed");
    let first = place.process(HOUR).await;
    first.save(&1, &10).await.unwrap();
    let listed = inspect(&place.log).unwrap();
    assert!(listed.is_open);
    assert_eq!(listed.id, Some(first.journal()));
    assert_eq!(listed.writes.len(), 1);
}
