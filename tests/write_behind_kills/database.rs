//! The databases, seen from outside: made, and read.

#![allow(dead_code, reason = "each of the tests that share it uses its own part")]

use std::path::PathBuf;
use std::time::Duration;

use larder::sqlx::{POSTGRES_TABLES, SQLITE_TABLES};
use sqlx::{AssertSqlSafe, Connection, PgConnection, SqliteConnection, query_as, query_scalar, raw_sql};
use tokio::time::sleep;

use crate::books::Effect;
use crate::place::{Place, postgres_options, sqlite_options};
use crate::support::postgres::Postgres;
use crate::support::redis_process::Folder;

/// A database of one test's own.
pub(crate) enum Database {
    Sqlite(Folder),
    Postgres(Postgres),
}

/// COMMIT takes about as long as all that comes before it, so that it is often under way when somebody is killed.
const POSTGRES_EFFECTS: &str = "\
CREATE TABLE effects (position BIGSERIAL, key BIGINT, operation BIGINT);
CREATE FUNCTION linger() RETURNS trigger LANGUAGE plpgsql AS
    'BEGIN PERFORM pg_sleep(0.0005); RETURN NULL; END';
CREATE CONSTRAINT TRIGGER linger AFTER INSERT ON effects DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION linger();";

const SINCE: &str = "SELECT position, key, operation FROM effects WHERE position > $1 ORDER BY position";

impl Database {
    pub(crate) async fn sqlite() -> Self {
        let made = Self::Sqlite(Folder::make("kills"));
        let mut connection = made.connect_sqlite().await;
        let effects = "CREATE TABLE effects (position INTEGER PRIMARY KEY AUTOINCREMENT, key INTEGER, operation INTEGER)";
        let tables = format!("{SQLITE_TABLES} {effects};");
        raw_sql(AssertSqlSafe(tables)).execute(&mut connection).await.expect("a new database");
        connection.close().await.expect("it is open");
        made
    }

    pub(crate) async fn postgres_or_skip(test: &str) -> Option<Self> {
        let made = Self::Postgres(Postgres::start_or_skip(test).await?);
        let mut connection = made.connect_postgres().await;
        let tables = format!("{POSTGRES_TABLES} {POSTGRES_EFFECTS}");
        raw_sql(AssertSqlSafe(tables)).execute(&mut connection).await.expect("a new database");
        // A transaction that asks for it waits in the middle of its COMMIT.
        for setting in ["synchronous_commit = local", "synchronous_standby_names = nobody"] {
            let set = AssertSqlSafe(format!("ALTER SYSTEM SET {setting}"));
            raw_sql(set).execute(&mut connection).await.expect("a known setting");
        }
        raw_sql("SELECT pg_reload_conf()").execute(&mut connection).await.expect("it may be called");
        connection.close().await.expect("it is open");
        Some(made)
    }

    /// Waits until a transaction is there; whether one was.
    pub(crate) async fn commits_for_ever(&self) -> bool {
        let mut connection = self.connect_postgres().await;
        let mut does = false;
        for _ in 0..200 {
            let waiting = "SELECT count(*) > 0 FROM pg_stat_activity WHERE wait_event = 'SyncRep'";
            does = query_scalar(waiting).fetch_one(&mut connection).await.expect("it may be asked");
            if does {
                break;
            }
            sleep(Duration::from_millis(5)).await;
        }
        connection.close().await.expect("it is open");
        does
    }

    /// The effects after a position, and the position of the last.
    ///
    /// A connection is made anew each time and closed at once: who keeps one open to SQLite keeps the next process from
    /// finding the database as the killed one has left it.
    pub(crate) async fn effects(&self, after: i64) -> (Vec<Effect>, i64) {
        let rows: Vec<(i64, i64, i64)> = match self {
            Self::Sqlite(_) => {
                let mut connection = self.connect_sqlite().await;
                let rows = query_as(SINCE).bind(after).fetch_all(&mut connection).await;
                connection.close().await.expect("it is open");
                rows.expect("it can be read")
            }
            Self::Postgres(_) => {
                let mut connection = self.connect_postgres().await;
                let rows = query_as(SINCE).bind(after).fetch_all(&mut connection).await;
                connection.close().await.expect("it is open");
                rows.expect("it can be read")
            }
        };
        let last = rows.last().map_or(after, |(position, ..)| *position);
        let effect = |(_, key, operation): (i64, i64, i64)| Effect {
            key: key.cast_unsigned(),
            operation: operation.cast_unsigned(),
        };
        (rows.into_iter().map(effect).collect(), last)
    }

    /// Makes more tables in it.
    pub(crate) async fn make(&self, tables: &'static str) {
        let done = match self {
            Self::Sqlite(_) => raw_sql(tables).execute(&mut self.connect_sqlite().await).await.map(drop),
            Self::Postgres(_) => raw_sql(tables).execute(&mut self.connect_postgres().await).await.map(drop),
        };
        done.expect("new tables");
    }

    /// Two numbers of every row.
    pub(crate) async fn pairs(&self, rows: &'static str) -> Vec<(u64, u64)> {
        let rows: Vec<(i64, i64)> = match self {
            Self::Sqlite(_) => query_as(rows).fetch_all(&mut self.connect_sqlite().await).await,
            Self::Postgres(_) => query_as(rows).fetch_all(&mut self.connect_postgres().await).await,
        }
        .expect("it can be read");
        rows.into_iter().map(|(one, other)| (one.cast_unsigned(), other.cast_unsigned())).collect()
    }

    pub(crate) fn place(&self) -> Place {
        match self {
            Self::Sqlite(_) => Place::Sqlite(self.file()),
            Self::Postgres(server) => Place::Postgres(server.options().get_port()),
        }
    }

    pub(crate) fn server(&self) -> &Postgres {
        match self {
            Self::Postgres(server) => server,
            Self::Sqlite(_) => unreachable!("SQLite has no server that could be killed"),
        }
    }

    fn file(&self) -> PathBuf {
        match self {
            Self::Sqlite(folder) => folder.path().join("data.db"),
            Self::Postgres(_) => unreachable!("PostgreSQL has more files than one"),
        }
    }

    async fn connect_sqlite(&self) -> SqliteConnection {
        SqliteConnection::connect_with(&sqlite_options(&self.file())).await.expect("a file can be opened")
    }

    async fn connect_postgres(&self) -> PgConnection {
        let options = postgres_options(self.server().options().get_port());
        PgConnection::connect_with(&options).await.expect("the server runs")
    }
}
