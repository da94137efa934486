//! Cache-aside over a store made of three functions: what is read, what is written, which queries that costs.
//!
//! `cargo run --example cache_aside` prints:
//!
//! ```text
//! get 1
//!     SELECT title WHERE id = 1
//!     Some("Helo")
//! get 1
//!     Some("Helo")
//! put 1
//!     UPDATE title WHERE id = 1
//!     the copies are Dropped
//! get 1
//!     SELECT title WHERE id = 1
//!     Some("Hello")
//! delete 1
//!     DELETE WHERE id = 1
//!     the copies are Dropped
//! get 1
//!     SELECT title WHERE id = 1
//!     None
//! get 1
//!     None
//! ```

use std::collections::BTreeMap;
use std::io;
use std::sync::Mutex;
use std::time::Duration;

use larder::{LayeredCache, Memory, store_fn};

/// The database: one table, which says what it is asked.
static TITLES: Mutex<BTreeMap<u64, String>> = Mutex::new(BTreeMap::new());

fn query<A>(sql: &str, id: u64, run: impl FnOnce(&mut BTreeMap<u64, String>) -> A) -> io::Result<A> {
    println!("    {sql} WHERE id = {id}");
    Ok(run(&mut TITLES.lock().expect("no query panics")))
}

async fn find(id: u64) -> io::Result<Option<String>> {
    query("SELECT title", id, |titles| titles.get(&id).cloned())
}

async fn save(id: u64, title: String) -> io::Result<()> {
    query("UPDATE title", id, |titles| _ = titles.insert(id, title))
}

async fn delete(id: u64) -> io::Result<()> {
    query("DELETE", id, |titles| _ = titles.remove(&id))
}

async fn read(titles: &LayeredCache<u64, String>) -> larder::Result<()> {
    println!("get 1");
    titles.get(&1).await.map(|title| println!("    {title:?}"))
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> larder::Result<()> {
    TITLES.lock().expect("no query panics").insert(1, "Helo".to_owned());
    let titles = larder::cache_aside(store_fn(find, save, delete))
        .tier(Memory::with_capacity(10_000))
        .ttl(Duration::from_secs(3600))
        .absent_ttl(Duration::from_secs(60)) // without it, what is not there is asked for every time
        .build()?;
    read(&titles).await?;
    read(&titles).await?;
    println!("put 1");
    println!("    the copies are {:?}", titles.put(&1, "Hello".to_owned()).await?.copies());
    read(&titles).await?;
    println!("delete 1");
    println!("    the copies are {:?}", titles.delete(&1).await?.copies());
    read(&titles).await?;
    read(&titles).await
}
