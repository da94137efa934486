//! One process of a service whose copies are in Redis, and what it hears of that.

use std::time::Duration;

use larder::tier::redis::RedisBuilder;
use larder::{Builder, LayeredCache};

use super::MINUTE;
use super::redis_cluster::RedisCluster;
use super::watching::{Heard, LONGEST_CALL, soon};

/// Longer than the tier's own 100 milliseconds: a machine with other things to do is no outage.
pub const DEADLINE: Duration = Duration::from_millis(300);

/// In the namespace `n`.
pub struct Process {
    pub cache: LayeredCache<u64, u64>,
    pub heard: Heard,
    /// How long a call of many keys may take.
    pub longest_batch: Duration,
}

impl Process {
    /// On a cluster, for whose nodes it waits no longer than [`DEADLINE`].
    pub fn on(cluster: &RedisCluster, builder: Builder<u64, u64>) -> Self {
        Self::with(cluster.builder().deadline(DEADLINE), builder)
    }

    /// The same on what `redis` reaches, with the deadline that `redis` has.
    pub fn with(redis: RedisBuilder, builder: Builder<u64, u64>) -> Self {
        let heard = Heard::default();
        let redis = redis.build().expect("addresses");
        let builder = builder.tier(redis.namespace("n")).ttl(MINUTE).jitter(0.0).observer(heard.clone());
        Self { cache: builder.build().expect("complete"), heard, longest_batch: LONGEST_CALL }
    }

    pub async fn get(&self, key: u64) -> Option<u64> {
        soon(self.cache.get(&key)).await.expect("answered")
    }

    pub async fn get_all(&self, keys: &[u64]) -> Vec<Option<u64>> {
        let answers = tokio::time::timeout(self.longest_batch, self.cache.get_many(keys)).await;
        answers.expect("no call hangs").into_iter().map(|answer| answer.expect("answered")).collect()
    }

    /// How many of the keys are found without a load.
    pub async fn finds(&self, keys: &[u64]) -> u64 {
        let loads = self.cache.stats().loads;
        self.get_all(keys).await;
        keys.len() as u64 - (self.cache.stats().loads - loads)
    }
}

/// The key whose copy has this name.
pub fn key_in(name: &str) -> u64 {
    name.rsplit(':').next().expect("a part").parse().expect("a number")
}
