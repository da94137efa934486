//! A URL shortener in one file: links read from memory, ids that nobody has, clicks and their counts written behind.
//!
//! `cargo run --example url_shortener` prints:
//!
//! ```text
//!   links: a statement, rows: 1
//! https://example.com/a/long/way is 1000000 from now on
//! 1000000 leads there, as memory knows
//! 100000Z leads nowhere, as the database knows
//! 100000Z leads nowhere, as memory knows
//!   clicks: a statement, rows: 5000
//!   clicks: a statement, rows: 5000
//! 12000 clicks are answered, 2000 rows of them wait
//! 1000000 has Some(12000) clicks
//!   clicks: a statement, rows: 2000
//! the database counts Some(12000)
//! ```
//!
//! Here the database is a few maps, and what waits would be lost with the process; `cargo run -p url-shortener` does the
//! same on SQLite with journals that survive it, and shows that nothing is lost.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use larder::journal::Volatile;
use larder::store::Sum;
use larder::testing::FakeStore;
use larder::{Change, LayeredCache, Loader, Memory, Saved, Store, StoreError, Value, WriteBehind};

const DIGITS: &[u8; 62] = b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
const FIRST: u64 = 56_800_235_584; // 62⁶, the first id of seven characters
const LINKS: u64 = 10_000; // in memory
const HOUR: Duration = Duration::from_secs(3600);

/// A table of the database.
struct Table<V> {
    name: &'static str,
    rows: Mutex<HashMap<u64, V>>,
}

impl<V> Table<V> {
    fn new(name: &'static str) -> Arc<Self> {
        Arc::new(Self { name, rows: Mutex::default() })
    }

    fn rows(&self) -> MutexGuard<'_, HashMap<u64, V>> {
        self.rows.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl<V: Value> Loader<u64, V> for Table<V> {
    async fn load(&self, id: &u64) -> Result<Option<V>, StoreError> {
        Ok(self.rows().get(id).cloned())
    }
}

#[async_trait]
impl<V: Value> Store<u64, V> for Table<V> {
    async fn save(&self, id: &u64, value: &V) -> Result<Saved<V>, StoreError> {
        self.apply(&[Change::Put(*id, value.clone())]).await.map(Into::into)
    }

    async fn delete(&self, id: &u64) -> Result<(), StoreError> {
        self.apply(&[Change::Delete(*id)]).await
    }

    async fn apply(&self, changes: &[Change<u64, V>]) -> Result<(), StoreError> {
        println!("  {}: a statement, rows: {}", self.name, changes.len());
        let mut rows = self.rows();
        for change in changes {
            match change {
                Change::Put(id, value) => _ = rows.insert(*id, value.clone()),
                other => _ = rows.remove(other.key()),
            }
        }
        Ok(())
    }
}

struct Shortener {
    links: LayeredCache<u64, Arc<str>>,
    clicks: WriteBehind<u64, u64>,
    counts: LayeredCache<u64, u64>,
    next: AtomicU64,
}

impl Shortener {
    /// The database has the link, and so has memory.
    async fn create(&self, url: &str) -> larder::Result<u64> {
        let id = FIRST + self.next.fetch_add(1, Ordering::Relaxed);
        let _ = self.links.put(&id, url.into()).await?;
        Ok(id)
    }

    /// Where the link leads, if there is one; that somebody followed it is written behind.
    async fn follow(&self, id: u64) -> Result<Option<Arc<str>>, StoreError> {
        let Some(url) = self.links.get(&id).await? else { return Ok(None) };
        self.clicks.save(&self.next.fetch_add(1, Ordering::Relaxed), &id).await?;
        let _ = self.counts.increment(&id, 1).await?;
        Ok(Some(url))
    }
}

fn base62(mut id: u64) -> String {
    let mut digits = String::new();
    while id > 0 || digits.is_empty() {
        digits.insert(0, char::from(DIGITS[(id % 62) as usize]));
        id /= 62;
    }
    digits
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), StoreError> {
    let links = larder::write_through(Table::new("links")).tier(Memory::with_capacity(LINKS));
    let clicks = larder::write_behind(Table::new("clicks")).journal(Volatile::new()).batch(5_000);
    // A counter wants a store that has value and offset in one transaction: `larder::sqlx`, or for this once the fake one.
    let totals = FakeStore::new();
    let counts = larder::write_behind(totals.clone()).merge(Sum).journal(Volatile::new());
    let shortener = Shortener {
        links: links.ttl(24 * HOUR).absent_ttl(HOUR).build()?,
        clicks: clicks.flush_every(HOUR).store()?,
        counts: counts.flush_every(HOUR).tier(Memory::with_capacity(LINKS)).ttl(HOUR).build()?,
        next: AtomicU64::new(0),
    };

    let url = "https://example.com/a/long/way";
    let id = shortener.create(url).await?;
    println!("{url} is {} from now on", base62(id));
    for id in [id, FIRST + 61, FIRST + 61] {
        let Some(served) = shortener.links.get_entry(&id).await? else { continue };
        let leads = served.value().map_or("nowhere", |_| "there");
        println!("{} leads {leads}, as {} knows", base62(id), served.tier().unwrap_or("the database"));
    }

    for _ in 0..12_000 {
        assert_eq!(shortener.follow(id).await?.as_deref(), Some(url));
    }
    println!("12000 clicks are answered, {} rows of them wait", shortener.clicks.backlog().writes);
    println!("{} has {:?} clicks", base62(id), shortener.counts.get(&id).await?);
    shortener.clicks.flush().await?;
    shortener.counts.flush().await?;
    println!("the database counts {:?}", totals.row(&id));
    Ok(())
}
