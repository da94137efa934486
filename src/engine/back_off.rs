//! After a refresh has failed, the next one waits: every read of a stale copy would otherwise begin another.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hash};
use std::time::Duration;

use foldhash::quality::RandomState;
use parking_lot::Mutex;

use crate::time::Timestamp;

/// Until when each key that failed is left alone. Keys are known by their hashes: two with the same hash wait together.
pub(crate) struct BackOff {
    pause: Duration,
    failed: Mutex<HashMap<u64, Timestamp, RandomState>>,
    hasher: RandomState,
}

/// Above this many failed keys, those whose time is over are looked for and forgotten.
const MANY: usize = 1024;

impl BackOff {
    /// `pause` is how long a key is left alone, but for the jitter.
    pub(crate) fn new(pause: Duration) -> Self {
        let hasher = RandomState::default();
        Self { pause, failed: Mutex::new(HashMap::with_hasher(hasher.clone())), hasher }
    }

    /// Whether `key` is to be left alone at `now`.
    pub(crate) fn is_waiting<K: Hash>(&self, key: &K, now: Timestamp) -> bool {
        let failed = self.failed.lock();
        !failed.is_empty() && failed.get(&self.hasher.hash_one(key)).is_some_and(|until| now < *until)
    }

    /// A refresh of `key` has failed. `luck`, from 0 to 1, spreads the next tries over half the pause.
    pub(crate) fn failed<K: Hash>(&self, key: &K, now: Timestamp, luck: f64) {
        let mut failed = self.failed.lock();
        if failed.len() >= MANY {
            failed.retain(|_, until| now < *until);
        }
        failed.insert(self.hasher.hash_one(key), now.after(self.shortened(luck)));
    }

    fn shortened(&self, luck: f64) -> Duration {
        Duration::try_from_secs_f64(self.pause.as_secs_f64() * (1.0 - luck / 2.0)).unwrap_or(self.pause)
    }

    /// A refresh of `key` has succeeded.
    pub(crate) fn succeeded<K: Hash>(&self, key: &K) {
        let mut failed = self.failed.lock();
        if !failed.is_empty() {
            failed.remove(&self.hasher.hash_one(key));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAUSE: Duration = Duration::from_secs(10);

    fn at(secs: u64) -> Timestamp {
        Timestamp::ZERO.after(Duration::from_secs(secs))
    }

    #[test]
    fn a_key_that_failed_is_left_alone_for_the_pause() {
        let back_off = BackOff::new(PAUSE);
        back_off.failed(&1, at(0), 0.0);
        assert!(back_off.is_waiting(&1, at(9)) && !back_off.is_waiting(&1, at(10)));
        assert!(!back_off.is_waiting(&2, at(9)));
        back_off.failed(&1, at(20), 1.0);
        assert!(
            back_off.is_waiting(&1, at(24)) && !back_off.is_waiting(&1, at(25)),
            "luck halves it at the most"
        );
    }

    #[test]
    fn success_ends_the_pause() {
        let back_off = BackOff::new(PAUSE);
        back_off.failed(&1, at(0), 0.0);
        back_off.succeeded(&1);
        assert!(!back_off.is_waiting(&1, at(1)));
    }

    #[test]
    fn keys_whose_time_is_over_are_forgotten() {
        let back_off = BackOff::new(PAUSE);
        for key in 0..10 * MANY as u64 {
            back_off.failed(&key, at(key), 0.0);
        }
        assert!(back_off.failed.lock().len() <= MANY);
    }
}
