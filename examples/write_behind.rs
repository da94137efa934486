//! Write-behind: a thousand writes, one statement, and readers who notice nothing.
//!
//! `cargo run --example write_behind` prints:
//!
//! ```text
//! 1000 views of 10 pages, answered
//! page 7 has Some(100) views, while the database still says None
//! a statement of 10 rows
//! the database says Some(100)
//! ```

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use larder::journal::Volatile;
use larder::{Change, Loader, Memory, Saved, Store, StoreError};

/// The database: one table of counts.
#[derive(Default)]
struct Views(Mutex<HashMap<u64, u64>>);

#[async_trait]
impl Loader<u64, u64> for Views {
    async fn load(&self, page: &u64) -> Result<Option<u64>, StoreError> {
        Ok(self.0.lock().expect("no query panics").get(page).copied())
    }
}

#[async_trait]
impl Store<u64, u64> for Views {
    async fn save(&self, page: &u64, views: &u64) -> Result<Saved<u64>, StoreError> {
        self.apply(&[Change::Put(*page, *views)]).await.map(Into::into)
    }

    async fn delete(&self, page: &u64) -> Result<(), StoreError> {
        self.apply(&[Change::Delete(*page)]).await
    }

    /// What write-behind calls: a batch, one change for each key. In SQL, one statement with many rows.
    async fn apply(&self, changes: &[Change<u64, u64>]) -> Result<(), StoreError> {
        println!("a statement of {} rows", changes.len());
        let mut rows = self.0.lock().expect("no query panics");
        for change in changes {
            match change {
                Change::Put(page, views) => _ = rows.insert(*page, *views),
                other => _ = rows.remove(other.key()),
            }
        }
        Ok(())
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> larder::Result<()> {
    let db = Arc::new(Views::default());
    let views = larder::write_behind(Arc::clone(&db))
        .journal(Volatile::new()) // counts may be lost with the process; else `LocalLog`
        .flush_every(Duration::from_secs(5))
        .tier(Memory::with_capacity(1_000))
        .ttl(Duration::from_secs(3600))
        .build()?;
    for round in 1..=100 {
        for page in 0..10 {
            let _ = views.put(&page, round).await?;
        }
    }
    println!("1000 views of 10 pages, answered");
    let (cached, stored) = (views.get(&7).await?, db.load(&7).await);
    println!("page 7 has {cached:?} views, while the database still says {:?}", stored.unwrap_or_default());
    views.flush().await?;
    println!("the database says {:?}", db.load(&7).await.unwrap_or_default());
    Ok(())
}
