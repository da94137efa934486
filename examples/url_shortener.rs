//! A URL shortener in one file: links that are read from memory, ids that nobody has, clicks that are written behind.
//!
//! `cargo run --example url_shortener` prints:
//!
//! ```text
//! https://example.com/a/long/way is 1000000 from now on
//! 1000000 leads there, as memory knows
//! 100000Z leads nowhere, as the database knows
//! 100000Z leads nowhere, as memory knows
//! 12000 clicks are answered, the database has 0 of them
//! 1000000 has 12001 clicks
//! rows of clicks, in batches: 5000, 5000, 2001
//! the database has 12001 rows, and counts 12001 of 1000000
//! ```
//!
//! Here the database is a few maps, and what waits would be lost with the process; `cargo run -p url-shortener` does the
//! same on SQLite with journals that survive it, and shows that nothing is lost.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use larder::journal::Volatile;
use larder::{Change, LayeredCache, Loader, Memory, Saved, Store, StoreError, WriteBehind};

/// The database.
#[derive(Default)]
struct Database {
    links: Table<Arc<str>>,
    clicks: Table<u64>,
    counts: Table<u64>,
}

/// One table of it, which remembers how many rows each statement had.
struct Table<V>(Arc<Mutex<(HashMap<u64, V>, Vec<usize>)>>);

impl<V> Table<V> {
    fn rows(&self) -> MutexGuard<'_, (HashMap<u64, V>, Vec<usize>)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl<V: larder::Value> Loader<u64, V> for Table<V> {
    async fn load(&self, id: &u64) -> Result<Option<V>, StoreError> {
        Ok(self.rows().0.get(id).cloned())
    }
}

#[async_trait]
impl<V: larder::Value> Store<u64, V> for Table<V> {
    async fn save(&self, id: &u64, value: &V) -> Result<Saved<V>, StoreError> {
        self.apply(&[Change::Put(*id, value.clone())]).await.map(Into::into)
    }

    async fn delete(&self, id: &u64) -> Result<(), StoreError> {
        self.apply(&[Change::Delete(*id)]).await
    }

    /// One statement.
    async fn apply(&self, changes: &[Change<u64, V>]) -> Result<(), StoreError> {
        let (rows, statements) = &mut *self.rows();
        statements.push(changes.len());
        for change in changes {
            match change {
                Change::Put(id, value) => _ = rows.insert(*id, value.clone()),
                other => _ = rows.remove(other.key()),
            }
        }
        Ok(())
    }
}
