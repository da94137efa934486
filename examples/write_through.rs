//! Write-through beside cache-aside: who reads right after a write, and what that costs.
//!
//! `cargo run --example write_through` prints:
//!
//! ```text
//! cache_aside
//!     put " Ann@Example.org": the copies are Dropped
//!     get Some("ann@example.org"), queries: 1
//! write_through
//!     put " Ann@Example.org": the copies are Kept
//!     get Some("ann@example.org"), queries: 0
//! ```
//!
//! In both the reader sees what the store made of the value, since `save` tells: `Saved::value`.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use larder::{Builder, Loader, Memory, Saved, Store, StoreError};

/// The database: one table of addresses, which it tidies as it saves them.
#[derive(Default)]
struct Addresses {
    rows: Mutex<HashMap<u64, String>>,
    queries: AtomicU64,
}

impl Addresses {
    fn query<A>(&self, run: impl FnOnce(&mut HashMap<u64, String>) -> A) -> A {
        self.queries.fetch_add(1, Ordering::Relaxed);
        run(&mut self.rows.lock().expect("no query panics"))
    }
}

#[async_trait]
impl Loader<u64, String> for Addresses {
    async fn load(&self, id: &u64) -> Result<Option<String>, StoreError> {
        Ok(self.query(|rows| rows.get(id).cloned()))
    }
}

#[async_trait]
impl Store<u64, String> for Addresses {
    async fn save(&self, id: &u64, address: &String) -> Result<Saved<String>, StoreError> {
        let tidy = address.trim().to_lowercase();
        self.query(|rows| rows.insert(*id, tidy.clone()));
        Ok(Saved::value(tidy))
    }

    async fn delete(&self, id: &u64) -> Result<(), StoreError> {
        self.query(|rows| rows.remove(id));
        Ok(())
    }
}

async fn write_and_read(builder: Builder<u64, String>, db: &Addresses) -> larder::Result<()> {
    let cache = builder.tier(Memory::with_capacity(100)).ttl(Duration::from_secs(60)).build()?;
    let written = cache.put(&1, " Ann@Example.org".to_owned()).await?;
    println!("    put \" Ann@Example.org\": the copies are {:?}", written.copies());
    db.queries.store(0, Ordering::Relaxed);
    let read = cache.get(&1).await?;
    println!("    get {read:?}, queries: {}", db.queries.load(Ordering::Relaxed));
    Ok(())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> larder::Result<()> {
    let db = Arc::new(Addresses::default());
    println!("cache_aside");
    write_and_read(larder::cache_aside(Arc::clone(&db)), &db).await?;
    println!("write_through");
    write_and_read(larder::write_through(Arc::clone(&db)), &db).await
}
