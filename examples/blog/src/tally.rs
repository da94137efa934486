//! What a version says of itself after a run: what it asked of the database, and where its pages came from.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use larder::{Event, Observer};
use serde::{Deserialize, Serialize};

use crate::meter::Usage;

/// The account of one version, or of one of its processes. Processes send it to the driver as JSON.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Tally {
    pub(crate) usage: Usage,
    /// `None` for a version without a cache.
    pub(crate) reads: Option<Reads>,
}

/// Who answered the reads of a cache.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Reads {
    pub(crate) by_memory: u64,
    pub(crate) by_redis: u64,
    pub(crate) by_database: u64,
    /// How often a tier stopped answering.
    pub(crate) outages: u64,
}

impl Tally {
    /// Of two processes together.
    pub(crate) fn and(&self, other: &Self) -> Self {
        let reads = [self.reads, other.reads].into_iter().flatten().reduce(Reads::and);
        Self { usage: self.usage.and(&other.usage), reads }
    }
}

impl Reads {
    fn and(self, other: Self) -> Self {
        Self {
            by_memory: self.by_memory + other.by_memory,
            by_redis: self.by_redis + other.by_redis,
            by_database: self.by_database + other.by_database,
            outages: self.outages + other.outages,
        }
    }

    /// The part of all reads that needed no database.
    pub(crate) fn hit_ratio(&self) -> f64 {
        part(self.by_memory + self.by_redis, self.all())
    }

    /// The part of all reads that memory answered.
    pub(crate) fn memory_hit_ratio(&self) -> f64 {
        part(self.by_memory, self.all())
    }

    /// The part that Redis answered of those reads that got as far: memory had nothing for them.
    pub(crate) fn redis_hit_ratio(&self) -> f64 {
        part(self.by_redis, self.by_redis + self.by_database)
    }

    fn all(&self) -> u64 {
        self.by_memory + self.by_redis + self.by_database
    }
}

fn part(some: u64, all: u64) -> f64 {
    if all == 0 { 0.0 } else { some as f64 / all as f64 }
}

/// Listens to a cache and counts. Clones count together.
#[derive(Clone, Debug, Default)]
pub(crate) struct ReadCounter(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    by_memory: AtomicU64,
    by_redis: AtomicU64,
    by_database: AtomicU64,
    outages: AtomicU64,
}

impl ReadCounter {
    pub(crate) fn reads(&self) -> Reads {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Reads {
            by_memory: count(&self.0.by_memory),
            by_redis: count(&self.0.by_redis),
            by_database: count(&self.0.by_database),
            outages: count(&self.0.outages),
        }
    }
}

impl Observer for ReadCounter {
    fn on(&self, _cache: &str, event: &Event<'_>) {
        let counter = match event {
            Event::Hit { tier: "redis" } => &self.0.by_redis,
            Event::Hit { .. } => &self.0.by_memory,
            Event::Miss => &self.0.by_database,
            Event::TierAway { .. } => &self.0.outages,
            _ => return,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn tally(queries: usize, slow: u64, reads: Option<Reads>) -> Tally {
        let usage = Usage { queries, busy: Duration::from_secs(1), slow_query: Duration::from_millis(slow) };
        Tally { usage, reads }
    }

    #[test]
    fn processes_add_up_and_the_slowest_query_stays_slow() {
        let reads = Reads { by_memory: 6, by_redis: 3, by_database: 1, outages: 1 };
        let both = tally(4, 9, Some(reads)).and(&tally(5, 2, Some(reads)));
        assert_eq!(both.usage.queries, 9);
        assert_eq!(both.usage.busy, Duration::from_secs(2));
        assert_eq!(both.usage.slow_query, Duration::from_millis(9));
        assert_eq!(both.reads, Some(Reads { by_memory: 12, by_redis: 6, by_database: 2, outages: 2 }));
    }

    #[test]
    fn each_tier_is_judged_by_the_reads_that_reached_it() {
        let reads = Reads { by_memory: 6, by_redis: 3, by_database: 1, outages: 0 };
        assert_eq!((reads.hit_ratio(), reads.memory_hit_ratio(), reads.redis_hit_ratio()), (0.9, 0.6, 0.75));
        assert_eq!(Reads::default().redis_hit_ratio(), 0.0, "nothing was asked");
    }

    #[test]
    fn every_read_is_counted_where_it_was_answered() {
        let counter = ReadCounter::default();
        for tier in ["memory", "memory", "redis"] {
            counter.on("posts", &Event::Hit { tier });
        }
        counter.on("posts", &Event::Miss);
        counter.on("posts", &Event::TierAway { tier: "redis" });
        counter.on("posts", &Event::Written);
        assert_eq!(counter.reads(), Reads { by_memory: 2, by_redis: 1, by_database: 1, outages: 1 });
    }
}
