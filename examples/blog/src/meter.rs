//! Counts the queries and the time spent inside them. Every query of a version goes through one meter.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::latencies::Latencies;

#[derive(Debug, Default)]
pub(crate) struct Meter {
    queries: AtomicUsize,
    times: Mutex<Vec<Duration>>,
    only_counts: bool,
}

/// What the meter has seen up to now.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Usage {
    pub(crate) queries: usize,
    /// The time inside queries, added up. Two connections at work for a second make two seconds.
    pub(crate) busy: Duration,
    /// Of twenty queries one took this long or longer.
    pub(crate) slow_query: Duration,
}

impl Usage {
    /// Of two processes together. Which queries were slow over both cannot be told from two figures, so the slower
    /// process speaks for both.
    pub(crate) fn and(&self, other: &Self) -> Self {
        Self {
            queries: self.queries + other.queries,
            busy: self.busy + other.busy,
            slow_query: self.slow_query.max(other.slow_query),
        }
    }
}

impl Meter {
    /// For a run without an end, which cannot keep the time of every query.
    pub(crate) fn counting() -> Self {
        Self { only_counts: true, ..Self::default() }
    }

    pub(crate) fn queries(&self) -> usize {
        self.queries.load(Ordering::Relaxed)
    }

    /// Runs a query under the clock. Take the connection before: waiting for one is the pool's time, not
    /// the database's.
    pub(crate) async fn time<T>(&self, query: impl Future<Output = T>) -> T {
        let _running = Running { meter: self, since: Instant::now() };
        query.await
    }

    pub(crate) fn usage(&self) -> Usage {
        let times = self.times.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Usage {
            queries: self.queries(),
            busy: times.iter().sum(),
            slow_query: Latencies::new(times).percentile(95.0),
        }
    }
}

/// Records its query when dropped, so that a query given up half-way is counted as well.
struct Running<'a> {
    meter: &'a Meter,
    since: Instant,
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        let spent = self.since.elapsed();
        self.meter.queries.fetch_add(1, Ordering::Relaxed);
        if self.meter.only_counts {
            return;
        }
        self.meter.times.lock().unwrap_or_else(PoisonError::into_inner).push(spent);
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use tokio::time::timeout;

    use super::*;

    #[tokio::test]
    async fn every_query_is_counted_even_one_given_up() {
        let meter = Meter::default();
        assert_eq!(meter.time(ready(5)).await, 5);
        assert!(timeout(Duration::from_millis(2), meter.time(pending::<()>())).await.is_err());
        let usage = meter.usage();
        assert_eq!(usage.queries, 2);
        assert!(usage.busy >= Duration::from_millis(2));
    }

    #[tokio::test]
    async fn a_counting_meter_keeps_no_times() {
        let meter = Meter::counting();
        meter.time(ready(())).await;
        assert_eq!((meter.queries(), meter.usage().busy), (1, Duration::ZERO));
    }
}
