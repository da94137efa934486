//! Writes what waits in a dead service's log to a table of a SQLite file: keys and values as the JSON that they are.

use std::process::ExitCode;
use std::time::Duration;

use larder::WriteBehind;
use larder::journal::{LocalLog, inspect};
use larder::sqlx::{Kind, SqliteStore, Table};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;
use sqlx::sqlite::{SqliteConnectOptions, SqlitePoolOptions};

const PROGRESS: Duration = Duration::from_secs(1);

/// Any JSON, as its text.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Json(String);

impl Serialize for Json {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let value: Value = serde_json::from_str(&self.0).map_err(serde::ser::Error::custom)?;
        value.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Value::deserialize(deserializer).map(|value| Self(value.to_string()))
    }
}

impl larder::sqlx::ToCell for Json {
    fn to_cell(&self) -> Result<larder::sqlx::Cell, larder::sqlx::WrongCell> {
        self.0.to_cell()
    }
}

impl larder::sqlx::Row<Self> for Json {
    fn to_cells(&self) -> Result<Vec<larder::sqlx::Cell>, larder::BoxError> {
        Ok(vec![larder::sqlx::ToCell::to_cell(self)?])
    }

    fn from_cells(_: &Self, mut cells: larder::sqlx::Cells) -> Result<Self, larder::BoxError> {
        Ok(Self(cells.take()?))
    }
}

/// The writes of the log in `directory` to `table` of the database in `file`, which are made if they are missing.
pub(crate) fn run(directory: &str, file: &str, table: &str) -> Result<ExitCode, String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let replayed = runtime.map_err(|error| error.to_string())?.block_on(replay(directory, file, table));
    replayed.or_else(|error| {
        eprintln!("{error}");
        Ok(ExitCode::FAILURE)
    })
}

async fn replay(directory: &str, file: &str, table: &str) -> larder::Result<ExitCode> {
    // Opening would make a log where there is none.
    let waiting = inspect(directory)?;
    if waiting.id.is_none() {
        println!("there is no log in {directory}");
        return Ok(ExitCode::FAILURE);
    }
    let due = waiting.writes.iter().filter(|write| write.seq > waiting.settled);
    let merges = due.filter(|write| write.parts().is_ok_and(|parts| parts.is_merge)).count();
    if merges > 0 {
        println!("{merges} merges wait, and nobody but the service knows how to merge: let it open the log");
        return Ok(ExitCode::FAILURE);
    }
    let options = SqliteConnectOptions::new().filename(file).create_if_missing(true);
    let pool = SqlitePoolOptions::new().max_connections(1).connect_lazy_with(options);
    let rows = Table::new(table).key("key", Kind::Text).column("value", Kind::Text).sqlite()?;
    let store: SqliteStore<Json, Json> = SqliteStore::new(pool.clone(), rows);
    let create = format!("CREATE TABLE IF NOT EXISTS \"{table}\" (key TEXT PRIMARY KEY, value TEXT)");
    let made = sqlx::query(sqlx::AssertSqlSafe(create)).execute(&pool).await;
    made.map_err(|_| larder::Error::new(larder::ErrorKind::Store, "the table could not be made"))?;

    // Not exactly once: this database has no offset of the log, which may have forgotten its first writes.
    let behind = larder::write_behind(store).journal(LocalLog::at(directory)).store()?;
    let flushed = flush(&behind).await;
    let letters = behind.dead_letters(None, usize::MAX).await?.len();
    let left = behind.close(Duration::from_secs(5)).await?.writes.len();
    flushed?;
    println!("done: {left} writes wait, {letters} dead letters");
    Ok(if left + letters == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn flush(behind: &WriteBehind<Json, Json>) -> larder::Result<()> {
    let mut flush = std::pin::pin!(behind.flush());
    loop {
        println!("{} writes wait", behind.backlog().writes);
        if let Ok(flushed) = tokio::time::timeout(PROGRESS, flush.as_mut()).await {
            return flushed;
        }
    }
}
