//! A tier of your own: any map in this process, bounded as you like, with the fence around it.
//!
//! `cargo run --example own_tier` prints:
//!
//! ```text
//! it keeps every promise of a tier
//! after reading 1 to 5 there are copies of [3, 4, 5]
//! what was invalidated during its load is kept: false
//! ```

use std::collections::VecDeque;
use std::io;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use larder::testing::tier_contract;
use larder::tier::{LocalMap, Stored};
use larder::{Fenced, Key, Local, Value, load_fn};
use tokio::time::sleep;

/// The newest entries, as many as there is room for.
struct Newest<K, V>(usize, Mutex<VecDeque<(K, Stored<V>)>>);

impl<K: Key, V: Value> Newest<K, V> {
    fn entries(&self) -> MutexGuard<'_, VecDeque<(K, Stored<V>)>> {
        self.1.lock().expect("nothing in here panics")
    }
}

impl<K: Key, V: Value> LocalMap<K, V> for Newest<K, V> {
    fn get(&self, key: &K) -> Option<Stored<V>> {
        self.entries().iter().find(|entry| entry.0 == *key).map(|entry| entry.1.clone())
    }

    fn put(&self, key: K, stored: Stored<V>) {
        let mut entries = self.entries();
        entries.retain(|entry| entry.0 != key);
        entries.push_front((key, stored));
        entries.truncate(self.0);
    }

    fn remove(&self, key: &K) {
        self.entries().retain(|entry| entry.0 != *key);
    }

    fn clear(&self) {
        self.entries().clear();
    }

    fn len(&self) -> u64 {
        self.entries().len() as u64
    }
}

async fn render(id: u64) -> io::Result<Option<String>> {
    sleep(Duration::from_secs(1)).await;
    Ok(Some(format!("page {id}")))
}

#[tokio::main(flavor = "current_thread", start_paused = true)]
async fn main() -> larder::Result<()> {
    tier_contract(async || Fenced::new("newest", Newest(3, Mutex::default()))).await?;
    println!("it keeps every promise of a tier");
    let pages = larder::read_through(load_fn(render))
        .tier(Fenced::new("newest", Newest(3, Mutex::default())))
        .ttl(Duration::from_secs(60))
        .build()?;
    for id in 1..=5 {
        pages.get(&id).await?;
    }
    let here: Vec<u64> = (1..=5).filter(|id| pages.get_local(id) != Local::Unknown).collect();
    println!("after reading 1 to 5 there are copies of {here:?}");
    let dropping = async {
        sleep(Duration::from_millis(500)).await;
        pages.invalidate(&6).await
    };
    tokio::try_join!(pages.get(&6), dropping)?;
    println!("what was invalidated during its load is kept: {}", pages.get_local(&6) != Local::Unknown);
    Ok(())
}
