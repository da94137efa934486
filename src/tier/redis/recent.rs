//! The last invalidations, to be sent again to a server that has come back from the past.
//!
//! A server restarted from a snapshot, or taken over from, may have lost what it had acknowledged last. What every
//! process invalidated lately it then invalidates once more.

use std::collections::{HashSet, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

/// How long an invalidation is remembered.
const MEMORY: Duration = Duration::from_secs(60);
/// How many are, at the most; the oldest goes first.
const MOST: usize = 4_096;

/// The names of the keys that were invalidated lately, oldest first.
#[derive(Debug, Default)]
pub(super) struct Recent(VecDeque<(Instant, String)>);

impl Recent {
    pub(super) fn note(&mut self, name: String, now: Instant) {
        while self.0.len() >= MOST || self.0.front().is_some_and(|(at, _)| now - *at > MEMORY) {
            self.0.pop_front();
        }
        self.0.push_back((now, name));
    }

    /// Each once, however often it was invalidated: a key that is written all the time would be dropped by every process
    /// thousands of times over, and meanwhile nobody could keep it.
    pub(super) fn names(&self, now: Instant) -> Vec<String> {
        let recent = self.0.iter().filter(|(at, _)| now - *at <= MEMORY).map(|(_, name)| name);
        let mut seen = HashSet::new();
        recent.filter(|name| seen.insert(*name)).cloned().collect()
    }
}

/// The lives of servers that were met, as many as fit.
#[derive(Debug, Default)]
pub(super) struct Met {
    /// The life met last, and one; most calls meet it again.
    last: AtomicU64,
    lives: Mutex<VecDeque<u32>>,
}

/// How many lives are remembered: those of the biggest clusters.
const LIVES: usize = 1_024;

impl Met {
    /// Whether this life was not met before.
    pub(super) fn is_new(&self, life: u32) -> bool {
        let last = u64::from(life) + 1;
        if self.last.load(Ordering::Relaxed) == last {
            return false;
        }
        self.last.store(last, Ordering::Relaxed);
        let mut lives = self.lives.lock();
        if lives.contains(&life) {
            return false;
        }
        if lives.len() == LIVES {
            lives.pop_back();
        }
        lives.push_front(life);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_minute_is_remembered() {
        let begin = Instant::now();
        let mut recent = Recent::default();
        for second in 0..100 {
            recent.note(second.to_string(), begin + Duration::from_secs(second));
        }
        let names = recent.names(begin + Duration::from_secs(100));
        assert_eq!((names.first().map(String::as_str), names.len()), (Some("40"), 60));
    }

    #[test]
    fn a_life_is_new_once() {
        let met = Met::default();
        assert_eq!([7, 7, 0, 7, 0].map(|life| met.is_new(life)), [true, false, true, false, false]);
    }

    #[test]
    fn what_was_invalidated_often_is_named_once() {
        let (now, mut recent) = (Instant::now(), Recent::default());
        for name in ["one", "other", "one", "one"] {
            recent.note(name.to_owned(), now);
        }
        assert_eq!(recent.names(now), ["one", "other"]);
    }

    #[test]
    fn it_does_not_grow_without_bound() {
        let mut recent = Recent::default();
        for n in 0..2 * MOST {
            recent.note(n.to_string(), Instant::now());
        }
        assert_eq!(recent.0.len(), MOST);
    }
}
