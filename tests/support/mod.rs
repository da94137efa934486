//! What several tests share: caches over a fake store, under a clock that the test moves; real Redis servers, clusters
//! and sentinels, and a network that fails on demand.
#![allow(dead_code, unreachable_pub, reason = "every test file uses its own part")]

pub mod behind;
pub mod command_log;
pub mod copies;
pub mod ledger;
#[cfg(feature = "postgres")]
pub mod postgres;
pub mod process;
pub mod proxy;
pub mod raw;
pub mod redis_cluster;
pub mod redis_process;
pub mod redis_server;
pub mod resp;
pub mod rights;
pub mod sentinel;
#[cfg(feature = "sqlite")]
pub mod sqlite;
pub mod stream;
pub mod tls;
pub mod watching;

use std::panic::resume_unwind;
use std::time::Duration;

use larder::testing::{FakeStore, TestClock};
use larder::{Builder, Memory};

pub const MINUTE: Duration = Duration::from_secs(60);

/// A store with `rows` rows, `n` under key `n`.
pub fn numbers(rows: u64) -> FakeStore<u64, u64> {
    FakeStore::with((0..rows).map(|n| (n, n)))
}

/// The settings most tests want: memory, a minute, no jitter, the paused clock.
pub fn usual(builder: Builder<u64, u64>) -> Builder<u64, u64> {
    builder.tier(Memory::with_capacity(10_000)).ttl(MINUTE).jitter(0.0).clock(TestClock::new())
}

/// Does what blocks on a thread of its own. A paused clock stands still meanwhile, while it would leap ahead when
/// a test waits for a socket: to tokio, such a test is idle.
pub async fn aside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|error| resume_unwind(error.into_panic()))
}
