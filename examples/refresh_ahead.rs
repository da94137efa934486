//! Refresh-ahead: who waits for a page that is read every ten seconds, and who no longer does.
//!
//! `cargo run --example refresh_ahead` prints:
//!
//! ```text
//!          ttl 60 s           the same, refresh_ahead(0.8)
//!   0 s    waits 0.3 s, v1    waits 0.3 s, v1
//!  10 s    at once, v1        at once, v1
//!  20 s    at once, v1        at once, v1
//!  30 s    at once, v1        at once, v1
//!  40 s    at once, v1        at once, v1
//!  50 s    at once, v1        at once, v1
//!  60 s    waits 0.3 s, v2    at once, v2
//!  70 s    at once, v2        at once, v2
//!  80 s    at once, v2        at once, v2
//!  90 s    at once, v2        at once, v2
//! 100 s    at once, v2        at once, v2
//! 110 s    at once, v2        at once, v3
//! 120 s    waits 0.3 s, v3    at once, v3
//! ```
//!
//! The read at 50 s came after four fifths of the ttl: it was answered by the copy, and had it renewed behind its back.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use larder::testing::TestClock;
use larder::{Builder, LayeredCache, Memory, load_fn};
use tokio::time::{Instant, sleep, sleep_until};

/// A page that takes 0.3 s to render, and is another one each time.
fn pages() -> Builder<&'static str, u64> {
    let rendered = AtomicU64::new(0);
    let render = move |_path: &'static str| {
        let version = rendered.fetch_add(1, Ordering::Relaxed) + 1;
        async move {
            sleep(Duration::from_millis(300)).await;
            Ok::<_, io::Error>(Some(version))
        }
    };
    larder::read_through(load_fn(render))
        .tier(Memory::with_capacity(100))
        .ttl(Duration::from_secs(60))
        .jitter(0.0) // to read the table by; leave it on in a service
        .clock(TestClock::new()) // moves with tokio's paused clock: two minutes pass at once
}

async fn read(pages: LayeredCache<&'static str, u64>) -> larder::Result<String> {
    let began = Instant::now();
    let version = pages.get(&"/").await?.unwrap_or_default();
    Ok(match began.elapsed() {
        Duration::ZERO => format!("at once, v{version}"),
        waited => format!("waits {:.1} s, v{version}", waited.as_secs_f64()),
    })
}

#[tokio::main(flavor = "current_thread", start_paused = true)]
async fn main() -> larder::Result<()> {
    let (plain, ahead) = (pages().build()?, pages().refresh_ahead(0.8).build()?);
    println!("         ttl 60 s           the same, refresh_ahead(0.8)");
    let start = Instant::now();
    for seconds in (0..=120).step_by(10) {
        sleep_until(start + Duration::from_secs(seconds)).await;
        let (plain, ahead) = tokio::try_join!(read(plain.clone()), read(ahead.clone()))?;
        println!("{seconds:3} s    {plain:<19}{ahead}");
    }
    Ok(())
}
