//! The tables, and the file they are in.
//!
//! | table | has |
//! |---|---|
//! | `urls` | a row for each link, never changed |
//! | `clicks` | a row for each click, only ever added to |
//! | `click_counts` | how many clicks each link has: what `clicks` would be counted for |
//! | `counters` | the next number of a link and of a click that nobody has reserved |
//! | `settings` | the name under which Redis keeps copies of these links, and of no others |
//!
//! Beside them `larder_shard` and `larder_dead_letter`, which write-behind keeps.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};

use crate::link_id;

pub(crate) const DATABASE: &str = "links.db";

const TABLES: &str = "
    CREATE TABLE IF NOT EXISTS urls (
        id         INTEGER PRIMARY KEY,
        long_url   TEXT NOT NULL,
        created_at INTEGER NOT NULL
    );
    CREATE TABLE IF NOT EXISTS clicks (
        id         INTEGER PRIMARY KEY,
        link       INTEGER NOT NULL,
        clicked_at INTEGER NOT NULL,
        referer    TEXT
    );
    CREATE INDEX IF NOT EXISTS clicks_by_link ON clicks (link);
    CREATE TABLE IF NOT EXISTS click_counts (
        id     INTEGER PRIMARY KEY,
        clicks INTEGER NOT NULL
    );
    CREATE TABLE IF NOT EXISTS counters (
        name TEXT PRIMARY KEY,
        next INTEGER NOT NULL
    );
    CREATE TABLE IF NOT EXISTS settings (
        name  TEXT PRIMARY KEY,
        value TEXT NOT NULL
    );
    INSERT INTO settings VALUES ('namespace', 'larder-links-' || lower(hex(randomblob(8)))) ON CONFLICT DO NOTHING;
";

/// How long a writer waits for the one before it. SQLite has one at a time, and a batch of 5,000 rows is one.
const BUSY: Duration = Duration::from_secs(30);

const CONNECTIONS: u32 = 8;

/// The database of the service that lives in `folder`, made if there is none.
pub(crate) async fn open(folder: &Path) -> Result<SqlitePool> {
    let path = folder.join(DATABASE);
    // Commits are synced: what write-behind has been told is stored, its log forgets.
    let options = SqliteConnectOptions::new()
        .filename(&path)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .busy_timeout(BUSY);
    let pool = SqlitePoolOptions::new().max_connections(CONNECTIONS).connect_with(options).await;
    let pool = pool.with_context(|| format!("cannot open the database {}", path.display()))?;
    make_tables(&pool).await.with_context(|| format!("cannot make tables in {}", path.display()))?;
    Ok(pool)
}

async fn make_tables(pool: &SqlitePool) -> sqlx::Result<()> {
    let mut making = pool.begin_with("BEGIN IMMEDIATE").await?;
    sqlx::raw_sql(TABLES).execute(&mut *making).await?;
    let first = i64::try_from(link_id::FIRST.0).unwrap_or(i64::MAX);
    sqlx::query("INSERT INTO counters VALUES ('links', ?), ('clicks', 1) ON CONFLICT DO NOTHING")
        .bind(first)
        .execute(&mut *making)
        .await?;
    making.commit().await
}

/// Under which name Redis keeps copies of these links: two services on one Redis do not meet each other's.
pub(crate) async fn namespace(pool: &SqlitePool) -> sqlx::Result<String> {
    sqlx::query_scalar("SELECT value FROM settings WHERE name = 'namespace'").fetch_one(pool).await
}
