//! A read strategy of your own: while the store is down for maintenance, copies answer, stale ones too.
//!
//! `cargo run --example own_strategy` prints:
//!
//! ```text
//! as usual          Some("v1"), 0 s old, Fresh
//! in maintenance    Some("v1"), 90 s old, Stale
//! of another key    cache `titles`: get: the store is down for maintenance, and there is no copy
//! as usual again    Some("v2"), 0 s old, Fresh
//! ```

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use async_trait::async_trait;
use larder::strategy::ReadStrategy;
use larder::testing::TestClock;
use larder::{Engine, Error, ErrorKind, Key, Memory, ReadOptions, Result, Served, Value, load_fn};

/// Read-through with a switch.
#[derive(Clone, Default)]
struct Maintained {
    down: Arc<AtomicBool>,
}

#[async_trait]
impl<K: Key, V: Value> ReadStrategy<K, V> for Maintained {
    async fn find(&self, engine: &Engine<K, V>, key: &K, options: &ReadOptions) -> Result<Option<Served<V>>> {
        if !self.down.load(Relaxed) {
            return engine.find(key, options).await.map(Some);
        }
        match engine.servable(key).await {
            Some(copy) => Ok(Some(copy)),
            None => {
                Err(Error::new(ErrorKind::Store, "the store is down for maintenance, and there is no copy"))
            }
        }
    }
}

fn say(when: &str, served: Option<Served<String>>) {
    let Some(served) = served else { return println!("{when:<18}nothing") };
    let (age, freshness) = (served.age().as_secs(), served.freshness());
    println!("{when:<18}{:?}, {age} s old, {freshness:?}", served.value());
}

#[tokio::main(flavor = "current_thread", start_paused = true)]
async fn main() -> Result<()> {
    let asked = AtomicU64::new(0);
    let load = move |_id: u64| {
        let title = format!("v{}", asked.fetch_add(1, Relaxed) + 1);
        async { Ok::<_, io::Error>(Some(title)) }
    };
    let seat = Maintained::default();
    let titles = larder::read_through(load_fn(load))
        .name("titles")
        .tier(Memory::with_capacity(100))
        .ttl(Duration::from_secs(60))
        .stale_while_revalidate(Duration::from_secs(3600))
        .read(seat.clone())
        .clock(TestClock::new()) // moves with tokio's paused clock
        .build()?;

    say("as usual", titles.get_entry(&1).await?);
    seat.down.store(true, Relaxed);
    tokio::time::advance(Duration::from_secs(90)).await;
    say("in maintenance", titles.get_entry(&1).await?);
    println!("of another key    {}", titles.get(&2).await.expect_err("there is no copy of 2"));
    seat.down.store(false, Relaxed);
    say("as usual again", titles.get_entry(&1).await?);
    Ok(())
}
