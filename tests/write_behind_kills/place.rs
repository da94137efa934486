//! Where the effects are, and how to connect to it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgSslMode};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode};

#[derive(Clone, Debug)]
pub(crate) enum Place {
    Sqlite(PathBuf),
    /// On this port of this machine.
    Postgres(u16),
}

impl Place {
    /// Two words, with a bar in between.
    pub(crate) fn write(&self) -> String {
        match self {
            Self::Sqlite(file) => format!("sqlite|{}", file.display()),
            Self::Postgres(port) => format!("postgres|{port}"),
        }
    }

    pub(crate) fn read(kind: &str, place: &str) -> Self {
        match kind {
            "sqlite" => Self::Sqlite(place.into()),
            _ => Self::Postgres(place.parse().expect("a port")),
        }
    }
}

pub(crate) fn sqlite_options(file: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(file)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .busy_timeout(Duration::from_secs(20))
}

pub(crate) fn postgres_options(port: u16) -> PgConnectOptions {
    PgConnectOptions::new_without_pgpass()
        .host("127.0.0.1")
        .port(port)
        .username("larder")
        .database("postgres")
        .ssl_mode(PgSslMode::Disable)
}
