//! Moments that processes tell each other, on the clocks of the servers that they share.
//!
//! A server's clock is only the messenger here: what was asked for after the moment at which a write was done is not older
//! than it, wherever the copies are. So any server will do that both know, in a life that both have met.

use std::collections::BTreeSet;

use futures_util::future::join_all;

use super::Namespace;
use crate::bounds::Value;
use crate::codec::{CacheKey, Codec};
use crate::receipt::Reading;
use crate::tier::redis::keys::Bucket;
use crate::tier::redis::moment::not_before;
use crate::time::Timestamp;

/// What a server is known by that does not say which one it is.
const NOBODY: u32 = 0;

impl<V: Value, C: Codec<V>> Namespace<V, C> {
    /// The buckets of `keys`, as far as they make a difference to whom is asked.
    pub(super) fn buckets<K: CacheKey>(&self, keys: &[K]) -> BTreeSet<Bucket> {
        let needed = if self.redis.0.are_many() { keys } else { &keys[..keys.len().min(1)] };
        needed.iter().map(|key| self.name(key).bucket).collect()
    }

    /// This moment on the clocks of the servers that have `buckets`, as far as they were met.
    pub(super) fn readings_of(&self, buckets: BTreeSet<Bucket>) -> Vec<Reading> {
        let mut readings: Vec<Reading> = Vec::new();
        for server in buckets.into_iter().filter_map(|bucket| self.redis.0.met(bucket)) {
            let is_told = readings.iter().any(|reading| reading.life == server.life);
            if server.life != NOBODY && !is_told {
                readings.push(Reading { life: server.life, millis: server.now().1 });
            }
        }
        readings
    }

    /// The earliest moment on the cache's clock that one of the `readings` stands for.
    pub(super) async fn moment_at(
        &self,
        buckets: BTreeSet<Bucket>,
        readings: &[Reading],
    ) -> Option<Timestamp> {
        if readings.is_empty() {
            return None;
        }
        let calls = self.redis.0.calls(buckets.into_iter()).await;
        let moments = join_all(calls.into_iter().map(|call| async {
            let call = self.made(call).await.ok()?;
            let server = call.server();
            let known = readings.iter().filter(|reading| reading.life == server.life);
            known.map(|reading| not_before(server, reading.millis, || self.now())).min()
        }));
        moments.await.into_iter().flatten().min()
    }
}
