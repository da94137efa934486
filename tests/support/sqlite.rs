//! A SQLite database in a file of one test's own.

use sqlx::SqlitePool;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions};
use std::time::Duration;

use super::redis_process::Folder;

/// A file, removed when dropped, and how to connect to it.
pub struct Sqlite(Folder);

impl Sqlite {
    pub fn make() -> Self {
        Self(Folder::make("sqlite"))
    }

    /// As a service has it: readers do not wait for the writer, and writers wait for one another.
    pub fn options(&self) -> SqliteConnectOptions {
        SqliteConnectOptions::new()
            .filename(self.0.path().join("data.db"))
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .busy_timeout(Duration::from_secs(5))
    }

    pub fn pool(&self) -> SqlitePool {
        SqlitePoolOptions::new().max_connections(4).connect_lazy_with(self.options())
    }
}
