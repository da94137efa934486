//! What does write-behind gain over writing through, and what does it cost?
//!
//! Stores are real ones, with the same settings on both sides; what is compared runs in interleaved rounds.

mod support;

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use larder::journal::Volatile;
use larder::{Change, Loader, Store, StoreError, WriteBehind};
use support::Case;
use tokio::runtime::Runtime;

const HOUR: Duration = Duration::from_secs(3_600);
/// Keys that are written over and over.
const KEYS: u64 = 100_003;
/// How many writes wait before they are brought to the store.
const WINDOW: u64 = 5_000;

/// Takes everything and does nothing: what is left is the cost of waiting.
struct Nothing;

#[async_trait]
impl Loader<u64, Arc<str>> for Nothing {
    async fn load(&self, _key: &u64) -> Result<Option<Arc<str>>, StoreError> {
        Ok(None)
    }
}

#[async_trait]
impl Store<u64, Arc<str>> for Nothing {
    async fn save(&self, _key: &u64, _value: &Arc<str>) -> Result<larder::Saved<Arc<str>>, StoreError> {
        Ok(().into())
    }

    async fn delete(&self, _key: &u64) -> Result<(), StoreError> {
        Ok(())
    }

    async fn apply(&self, _changes: &[Change<u64, Arc<str>>]) -> Result<(), StoreError> {
        Ok(())
    }
}

fn main() {
    let runtime = Arc::new(
        tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime starts"),
    );
    if !support::is_wanted() {
        return;
    }
    enqueue(&runtime);
}

/// How long it takes until a write waits. Bringing it to the store comes in between, and is not counted.
fn enqueue(runtime: &Arc<Runtime>) {
    let value: Arc<str> = "a view".into();
    let case = |name, base, shards, spread: u64| {
        let (runtime, value) = (Arc::clone(runtime), Arc::clone(&value));
        let behind = runtime.block_on(async {
            larder::write_behind(Nothing)
                .journal(Volatile::new().shards(shards))
                .flush_every(HOUR)
                .batch(2 * WINDOW as usize)
                .store()
                .expect("complete")
        });
        let run = move |times: u64| {
            runtime.block_on(async {
                let mut took = Duration::ZERO;
                for window in 0..times.div_ceil(WINDOW) {
                    let first = window * WINDOW;
                    took += write(&behind, first..times.min(first + WINDOW), spread, &value).await;
                    behind.flush().await.expect("it takes everything");
                }
                took
            })
        };
        Case { name, base, run: Box::new(run) }
    };
    support::print_table(
        "one write that waits",
        &[
            case("distinct keys", 0, 1, KEYS),
            case("distinct keys, 8 shards", 0, 8, KEYS),
            case("100 keys written over", 0, 1, 100),
        ],
    );
}

async fn write(
    behind: &WriteBehind<u64, Arc<str>>,
    numbers: std::ops::Range<u64>,
    spread: u64,
    value: &Arc<str>,
) -> Duration {
    let start = Instant::now();
    for n in numbers {
        behind.save(&(n.wrapping_mul(0x9E37_79B9) % spread), value).await.expect("room");
    }
    start.elapsed()
}
