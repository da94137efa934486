//! A clock that tests move.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::time::{Clock, Timestamp};

/// A clock that follows tokio's: under `#[tokio::test(start_paused = true)]` the ages of entries, timers and sleeps
/// move together. [`advance`](Self::advance) moves this clock alone, also without a runtime.
///
/// ```
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> larder::Result<()> {
/// use larder::{Memory, testing::{FakeStore, TestClock}};
/// use std::time::Duration;
///
/// let store = FakeStore::with([(1, "one")]);
/// let cache = larder::cache_aside(store.clone())
///     .tier(Memory::with_capacity(10))
///     .ttl(Duration::from_secs(60))
///     .clock(TestClock::new())
///     .build()?;
/// cache.get(&1).await?;
/// tokio::time::advance(Duration::from_secs(59)).await;
/// cache.get(&1).await?; // jitter may have shortened the ttl to 54 seconds
/// tokio::time::advance(Duration::from_secs(1)).await;
/// cache.get(&1).await?;
/// assert_eq!(store.loads(), 2);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct TestClock {
    origin: tokio::time::Instant,
    ahead: Arc<AtomicU64>,
}

impl TestClock {
    /// A clock that begins now. Make it inside the test's runtime.
    #[must_use]
    pub fn new() -> Self {
        Self { origin: tokio::time::Instant::now(), ahead: Arc::default() }
    }

    /// Moves this clock and its clones, and nothing else.
    pub fn advance(&self, duration: Duration) {
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        _ = self
            .ahead
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |ahead| Some(ahead.saturating_add(nanos)));
    }
}

impl Default for TestClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        let ahead = Duration::from_nanos(self.ahead.load(Ordering::Acquire));
        Timestamp::ZERO.after(self.origin.elapsed()).after(ahead)
    }
}

impl fmt::Debug for TestClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TestClock").field(&self.now()).finish()
    }
}
