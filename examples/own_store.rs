//! A store of your own, which says what it knows when it fails: what becomes of the copy then.
//!
//! `cargo run --example own_store` prints:
//!
//! ```text
//! the name is taken     known: NotApplied   try again: no   the copy stays     the next read: Ann
//! no connection         known: NotApplied   try again: yes  the copy stays     the next read: Ann
//! the answer was lost   known: Unknown      try again: yes  the copy is gone   the next read: Bob
//! ```
//!
//! In the last line the store had the write after all, and nobody could know: so the copy had to go.

use std::collections::HashMap;
use std::io;
use std::sync::Mutex;
use std::time::Duration;

use async_trait::async_trait;
use larder::{Loader, Local, Memory, Saved, Store, StoreError};

/// The database. It fails in the ways that a database behind a network has.
struct Names(Mutex<HashMap<u64, String>>);

impl Names {
    fn insert(&self, id: u64, name: &str) {
        self.0.lock().expect("no query panics").insert(id, name.to_owned());
    }
}

#[async_trait]
impl Loader<u64, String> for Names {
    async fn load(&self, id: &u64) -> Result<Option<String>, StoreError> {
        Ok(self.0.lock().expect("no query panics").get(id).cloned())
    }
}

#[async_trait]
impl Store<u64, String> for Names {
    async fn save(&self, id: &u64, name: &String) -> Result<Saved<String>, StoreError> {
        match name.as_str() {
            "taken" => return Err(StoreError::new("the name is taken").not_applied().permanent()),
            "refused" => return Err(StoreError::new("no connection").not_applied().transient()),
            _ => self.insert(*id, name),
        }
        Err(io::Error::other("the answer was lost"))? // any error: nothing is known of the write
    }

    async fn delete(&self, id: &u64) -> Result<(), StoreError> {
        self.0.lock().expect("no query panics").remove(id);
        Ok(())
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> larder::Result<()> {
    let names = larder::cache_aside(Names(Mutex::new(HashMap::from([(1, "Ann".to_owned())]))))
        .tier(Memory::with_capacity(100))
        .ttl(Duration::from_secs(60))
        .build()?;
    for name in ["taken", "refused", "Bob"] {
        names.get(&1).await?; // there is a copy now
        let error = names.put(&1, name.to_owned()).await.expect_err("this store fails every write");
        let said = error.store_error().expect("it was the store");
        println!(
            "{:<22}known: {:<13}try again: {:<5}the copy {:<10}the next read: {}",
            said.to_string(),
            format!("{:?}", said.outcome()),
            if error.is_retryable() { "yes" } else { "no" },
            if names.get_local(&1) == Local::Unknown { "is gone" } else { "stays" },
            names.get(&1).await?.unwrap_or_default(),
        );
    }
    Ok(())
}
