//! Two processes of a service with copies in one Redis. Without a server they read from the database, and are as right.
//!
//! `cargo run --example redis` prints:
//!
//! ```text
//! one writes "Hello"
//! the other reads Some("Hello")
//! one reads Some("Hello")
//! the other writes "Hello, world"
//! one reads Some("Hello, world")
//! ```
//!
//! On standard error it says so if there is no server, and what became of copies and queries: with a server, what the
//! other process has loaded is a hit. `--url redis://host:port` names one; otherwise it is `redis://127.0.0.1`.

use std::collections::BTreeMap;
use std::error::Error;
use std::io;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use larder::{LayeredCache, Redis, load_fn};

/// The database, which counts what it is asked for.
static TITLES: Mutex<BTreeMap<u64, String>> = Mutex::new(BTreeMap::new());
static QUERIES: AtomicU64 = AtomicU64::new(0);

async fn find(id: u64) -> io::Result<Option<String>> {
    QUERIES.fetch_add(1, Ordering::Relaxed);
    Ok(TITLES.lock().expect("no query panics").get(&id).cloned())
}

async fn save(id: u64, title: &str) -> io::Result<()> {
    TITLES.lock().expect("no query panics").insert(id, title.to_owned());
    Ok(())
}

/// What a process of the service makes when it starts. Nothing is connected yet.
fn process(url: &str) -> larder::Result<(Redis, LayeredCache<u64, String>)> {
    let redis = Redis::builder(url).deadline(Duration::from_secs(1)).build()?; // in no hurry, on a busy machine
    let namespace = format!("example-{}", std::process::id()); // another for each run; a service has a fixed one
    let titles = larder::read_through(load_fn(find)).tier(redis.namespace(&namespace));
    Ok((redis, titles.ttl(Duration::from_secs(60)).build()?))
}

async fn read(who: &str, titles: &LayeredCache<u64, String>) -> larder::Result<()> {
    println!("{who} reads {:?}", titles.get(&1).await?);
    eprintln!("    {} queries so far", QUERIES.load(Ordering::Relaxed));
    Ok(())
}

async fn write(who: &str, titles: &LayeredCache<u64, String>, title: &str) -> larder::Result<()> {
    println!("{who} writes {title:?}");
    eprintln!("    the copies are {:?}", titles.write(&[1], || save(1, title)).await?.copies());
    Ok(())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let url = match &arguments[..] {
        [] => "redis://127.0.0.1",
        [flag, url] if flag == "--url" => url,
        _ => {
            println!("cargo run --example redis [-- --url redis://host:port]");
            return Ok(());
        }
    };
    let ((redis, one), (_, other)) = (process(url)?, process(url)?);
    if let Err(error) = redis.ping().await {
        eprintln!("{}; we go on without it", error.source().expect("a tier has its reasons"));
    }
    write("one", &one, "Hello").await?;
    read("the other", &other).await?;
    read("one", &one).await?;
    write("the other", &other, "Hello, world").await?;
    Ok(read("one", &one).await?)
}
