//! Write-behind over a fake store, with its settings in whole seconds.

use std::time::Duration;

use larder::journal::Volatile;
use larder::store::{ShardId, WriteBehindBuilder};
use larder::testing::{FakeJournal, FakeStore};
use larder::{Store, WriteBehind, write_behind};

pub const MILLI: Duration = Duration::from_millis(1);
pub const SECOND: Duration = Duration::from_secs(1);
pub const HOUR: Duration = Duration::from_secs(3_600);

pub type Numbers = FakeStore<u64, u64>;
pub type Behind = WriteBehind<u64, u64>;
pub type Log = FakeJournal<u64, u64>;

/// Batches of a hundred, after a second.
pub fn settings(store: &Numbers) -> WriteBehindBuilder<u64, u64, Numbers> {
    write_behind(store.clone()).flush_every(SECOND).batch(100).pauses(SECOND / 10, 10 * SECOND)
}

/// At least once, from memory.
pub fn volatile(store: &Numbers) -> Behind {
    settings(store).journal(Volatile::new()).store().expect("it is built")
}

/// Exactly once, from a log.
pub fn exact(store: &Numbers, log: &Log) -> Behind {
    settings(store).exactly_once().journal(log.clone()).store().expect("it is built")
}

pub async fn put(behind: &Behind, key: u64, value: u64) {
    _ = behind.save(&key, &value).await.expect("it is accepted");
}

/// Key `n` gets the value `n`.
pub async fn put_all(behind: &Behind, keys: impl IntoIterator<Item = u64>) {
    for key in keys {
        put(behind, key, key).await;
    }
}

/// The same, until none of it is pending.
pub async fn put_and_flush(behind: &Behind, keys: impl IntoIterator<Item = u64>) {
    put_all(behind, keys).await;
    behind.flush().await.expect("it is flushed");
}

/// The only shard.
pub fn shard(behind: &Behind) -> ShardId {
    ShardId::new(behind.journal(), 0)
}
