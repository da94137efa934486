//! The last write of each key, from the moment that it is accepted until whoever wrote it asks what can be awaited of it.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::Duration;

use tokio::time::Instant;

use crate::stream::Number;

/// Whoever has not asked by then does not ask any more: the write was given up, or failed after it was accepted.
const ABANDONED: Duration = Duration::from_secs(60);
/// How many there are at least before those are looked for.
const FEW: usize = 1_024;

pub(super) struct LastWrites<K> {
    of: HashMap<K, LastWrite>,
    /// When there are so many, the abandoned ones are thrown away.
    most: usize,
}

#[derive(Clone, Copy, Debug)]
struct LastWrite {
    shard: u16,
    number: Number,
    askers: usize,
    at: Instant,
}

impl<K: Eq + Hash> LastWrites<K> {
    /// The write of this `number` in `shard` has been accepted, and somebody is about to ask for it.
    pub(super) fn note(&mut self, key: K, shard: u16, number: Number, now: Instant) {
        if self.of.len() >= self.most {
            self.of.retain(|_, last| now.saturating_duration_since(last.at) < ABANDONED);
            self.most = (self.of.len() * 2).max(FEW);
        }
        let last = self.of.entry(key).or_insert(LastWrite { shard, number, askers: 0, at: now });
        if last.number.seq < number.seq {
            last.number = number;
        }
        last.askers += 1;
        last.at = now;
    }

    /// Shard and number of the last write of `key`, for one of those who ask.
    pub(super) fn take(&mut self, key: &K) -> Option<(u16, Number)> {
        let last = self.of.get_mut(key)?;
        let place = (last.shard, last.number);
        last.askers -= 1;
        if last.askers == 0 {
            self.of.remove(key);
        }
        Some(place)
    }
}

impl<K> Default for LastWrites<K> {
    fn default() -> Self {
        Self { of: HashMap::new(), most: FEW }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(seq: u64) -> Number {
        Number { seq, life: 1 }
    }

    #[test]
    fn everybody_who_writes_a_key_is_told_of_the_last_write() {
        let (mut writes, now) = (LastWrites::default(), Instant::now());
        writes.note('a', 1, number(10), now);
        writes.note('a', 1, number(11), now);
        assert_eq!(
            [writes.take(&'a'), writes.take(&'a'), writes.take(&'a')],
            [Some((1, number(11))), Some((1, number(11))), None]
        );
    }

    #[test]
    fn what_nobody_asks_for_does_not_stay() {
        let (mut writes, begin) = (LastWrites::default(), Instant::now());
        for key in 0..100_000_u64 {
            writes.note(key, 0, number(key), begin + Duration::from_millis(key * 100));
        }
        // A minute's worth, and as many again.
        assert!(writes.of.len() <= 2 * FEW, "{}", writes.of.len());
        assert_eq!(writes.take(&99_999), Some((0, number(99_999))));
    }
}
