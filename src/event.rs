//! What happened: events for an observer, and counters that are always on.

use std::cell::Cell;
use std::fmt;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use crate::error::Error;

/// Something that happened in a cache. New events may be added in any release.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// A read was answered by a copy in this tier.
    Hit {
        /// The tier's name.
        tier: &'static str,
    },
    /// A read was answered by a copy past its ttl, within the window of stale use.
    StaleHit {
        /// The tier's name.
        tier: &'static str,
    },
    /// A read found no usable copy.
    Miss,
    /// A copy is being renewed behind a reader's back.
    Refresh,
    /// A copy could not be renewed; the next try waits for the back-off.
    RefreshFailed,
    /// A read waited for a load that another read had begun.
    Coalesced,
    /// The loader was asked for a key, and answered.
    Loaded,
    /// The loader was asked for a key, and failed.
    LoadFailed {
        /// Why.
        error: &'a Error,
    },
    /// A loaded answer was not kept, because a write came between.
    FillRefused {
        /// The tier's name.
        tier: &'static str,
    },
    /// The store has been written.
    Written,
    /// A write failed.
    WriteFailed {
        /// Why.
        error: &'a Error,
    },
    /// A write ended without anyone knowing whether the store has it; its copies are dropped now and again later.
    InDoubt,
    /// Copies were dropped.
    Invalidated {
        /// Of how many keys.
        keys: usize,
    },
    /// A tier failed.
    TierFailed {
        /// The tier's name.
        tier: &'static str,
        /// Why.
        error: &'a Error,
    },
}

/// Someone to tell what happens. Called on the thread where it happens, hits included: be quick, and do not block.
pub trait Observer: Send + Sync + 'static {
    /// `event` has happened in the cache named `cache`.
    fn on(&self, cache: &str, event: &Event<'_>);
}

/// How often each thing happened since the cache was built.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Reads answered by a copy, stale ones included.
    pub hits: u64,
    /// Reads answered by a copy past its ttl.
    pub stale_hits: u64,
    /// Reads that found no usable copy, those that waited for another's load included.
    pub misses: u64,
    /// Reads that waited for a load that another read had begun.
    pub coalesced: u64,
    /// Keys that the loader answered.
    pub loads: u64,
    /// Keys that the loader failed.
    pub load_failures: u64,
    /// Copies that were renewed, or tried to be, behind a reader's back.
    pub refreshes: u64,
    /// Those of them that failed.
    pub refresh_failures: u64,
    /// Loaded answers that were not kept, because a write came between.
    pub fills_refused: u64,
    /// Writes that the store has.
    pub writes: u64,
    /// Writes that failed, those in doubt included.
    pub write_failures: u64,
    /// Writes that ended without anyone knowing whether the store has them.
    pub in_doubt: u64,
    /// Keys whose copies were dropped.
    pub invalidated: u64,
    /// Calls that a tier failed.
    pub tier_failures: u64,
}

impl Stats {
    /// Reads answered by a copy, as a part of all reads; zero before the first.
    #[must_use]
    pub fn hit_ratio(&self) -> f64 {
        let reads = self.hits + self.misses;
        if reads == 0 { 0.0 } else { self.hits as f64 / reads as f64 }
    }
}

/// Where events go: to the counters, and to the observer if there is one.
pub(crate) struct Events {
    cache: std::sync::Arc<str>,
    counters: Counters,
    observer: Option<std::sync::Arc<dyn Observer>>,
}

impl Events {
    pub(crate) fn new(cache: std::sync::Arc<str>, observer: Option<std::sync::Arc<dyn Observer>>) -> Self {
        Self { cache, counters: Counters::new(), observer }
    }

    pub(crate) fn stats(&self) -> Stats {
        self.counters.stats()
    }

    pub(crate) fn hit(&self, tier: &'static str) {
        self.counters.add(Counter::Hits, 1);
        self.tell(&Event::Hit { tier });
    }

    pub(crate) fn emit(&self, event: &Event<'_>) {
        self.counters.count(event);
        self.tell(event);
    }

    #[inline]
    fn tell(&self, event: &Event<'_>) {
        if let Some(observer) = &self.observer {
            observer.on(&self.cache, event);
        }
    }
}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Events").field("stats", &self.stats()).finish_non_exhaustive()
    }
}

#[derive(Clone, Copy)]
enum Counter {
    Hits,
    StaleHits,
    Misses,
    Coalesced,
    Loads,
    LoadFailures,
    Refreshes,
    RefreshFailures,
    FillsRefused,
    Writes,
    WriteFailures,
    InDoubt,
    Invalidated,
    TierFailures,
}

const COUNTERS: usize = Counter::TierFailures as usize + 1;
const SHARDS: usize = 16;

/// Counters in shards, one for each of up to sixteen threads, each on cache lines of its own: two cores that count
/// hits do not pass a line to and fro.
struct Counters {
    shards: Box<[Shard; SHARDS]>,
}

#[repr(align(128))]
#[derive(Default)]
struct Shard([AtomicU64; COUNTERS]);

impl Counters {
    fn new() -> Self {
        Self { shards: Box::default() }
    }

    fn count(&self, event: &Event<'_>) {
        match event {
            Event::Hit { .. } => self.add(Counter::Hits, 1),
            Event::StaleHit { .. } => {
                self.add(Counter::Hits, 1);
                self.add(Counter::StaleHits, 1);
            }
            Event::Miss => self.add(Counter::Misses, 1),
            Event::Refresh => self.add(Counter::Refreshes, 1),
            Event::RefreshFailed => self.add(Counter::RefreshFailures, 1),
            Event::Coalesced => self.add(Counter::Coalesced, 1),
            Event::Loaded => self.add(Counter::Loads, 1),
            Event::LoadFailed { .. } => self.add(Counter::LoadFailures, 1),
            Event::FillRefused { .. } => self.add(Counter::FillsRefused, 1),
            Event::Written => self.add(Counter::Writes, 1),
            Event::WriteFailed { .. } => self.add(Counter::WriteFailures, 1),
            Event::InDoubt => self.add(Counter::InDoubt, 1),
            Event::Invalidated { keys } => self.add(Counter::Invalidated, *keys as u64),
            Event::TierFailed { .. } => self.add(Counter::TierFailures, 1),
        }
    }

    #[inline]
    fn add(&self, counter: Counter, n: u64) {
        self.shards[thread_slot()].0[counter as usize].fetch_add(n, Ordering::Relaxed);
    }

    fn stats(&self) -> Stats {
        let sum = |counter: Counter| {
            self.shards.iter().map(|shard| shard.0[counter as usize].load(Ordering::Relaxed)).sum()
        };
        Stats {
            hits: sum(Counter::Hits),
            stale_hits: sum(Counter::StaleHits),
            misses: sum(Counter::Misses),
            coalesced: sum(Counter::Coalesced),
            loads: sum(Counter::Loads),
            load_failures: sum(Counter::LoadFailures),
            refreshes: sum(Counter::Refreshes),
            refresh_failures: sum(Counter::RefreshFailures),
            fills_refused: sum(Counter::FillsRefused),
            writes: sum(Counter::Writes),
            write_failures: sum(Counter::WriteFailures),
            in_doubt: sum(Counter::InDoubt),
            invalidated: sum(Counter::Invalidated),
            tier_failures: sum(Counter::TierFailures),
        }
    }
}

/// The shard of this thread: threads take the shards in turn.
#[inline]
fn thread_slot() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local!(static SLOT: Cell<usize> = const { Cell::new(usize::MAX) });
    SLOT.try_with(|slot| {
        if slot.get() == usize::MAX {
            slot.set(NEXT.fetch_add(1, Ordering::Relaxed) % SHARDS);
        }
        slot.get()
    })
    .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_of_all_threads_add_up() {
        let events = Events::new("test".into(), None);
        std::thread::scope(|scope| {
            for _ in 0..40 {
                scope.spawn(|| (0..1000).for_each(|_| events.hit("memory")));
            }
        });
        assert_eq!(events.stats().hits, 40_000);
        events.emit(&Event::Miss);
        assert_eq!(events.stats().hit_ratio(), 40_000.0 / 40_001.0);
    }
}
