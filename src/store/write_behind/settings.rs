//! What can be set of write-behind, and what it is if it is not.

use std::time::Duration;

use super::flusher::Rules;
use super::pending::Bounds;
use crate::error::{Error, ErrorKind, Result};

/// What happens to a write when as many wait as may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum AtLimit {
    /// It waits for room, so long at the most; then it is refused.
    Block(Duration),
    /// It is refused at once, with [`ErrorKind::Full`].
    Reject,
    /// It goes to the store itself, past the journal, once nothing waits for its key any more; it takes as long as that
    /// does. Over a journal that outlives the process it asks for
    /// [`exactly_once`](crate::store::WriteBehindBuilder::exactly_once) or
    /// [`once_by_id`](crate::store::WriteBehindBuilder::once_by_id): else what is written again after a crash would come
    /// after it.
    WriteThrough,
}

#[derive(Clone, Debug)]
pub(super) struct Settings {
    pub(super) batch: usize,
    pub(super) delay: Duration,
    pub(super) pending: usize,
    pub(super) pending_bytes: usize,
    pub(super) max_age: Option<Duration>,
    pub(super) alarm_after: Duration,
    pub(super) at_limit: AtLimit,
    pub(super) tries: u32,
    pub(super) pauses: (Duration, Duration),
    pub(super) store_deadline: Duration,
    pub(super) rate: Option<f64>,
    pub(super) concurrency: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            batch: 500,
            delay: Duration::from_millis(200),
            pending: 100_000,
            pending_bytes: 64 << 20,
            max_age: None,
            alarm_after: Duration::from_secs(60),
            at_limit: AtLimit::Block(Duration::from_secs(5)),
            tries: 5,
            pauses: (Duration::from_millis(100), Duration::from_secs(30)),
            store_deadline: Duration::from_secs(30),
            rate: None,
            concurrency: 1,
        }
    }
}

impl Settings {
    /// For each of `shards`: all of them together keep to the bounds.
    pub(super) fn bounds(&self, shards: u16) -> Bounds {
        let shards = usize::from(shards.max(1));
        Bounds { operations: (self.pending / shards).max(1), bytes: (self.pending_bytes / shards).max(1) }
    }

    /// At which age of a write something is wrong.
    pub(super) fn alarm_age(&self) -> Duration {
        self.delay.saturating_add(self.alarm_after)
    }

    pub(super) fn rules(&self, shards: u16) -> Rules {
        let pace =
            self.rate.map(|rate| Duration::from_secs_f64(f64::from(shards) / rate)).unwrap_or_default();
        Rules { batch: self.batch, delay: self.delay, pauses: self.pauses, tries: self.tries, pace }
    }

    /// # Errors
    ///
    /// Everything that is wrong.
    pub(super) fn check(&self) -> Result<()> {
        let mut wrong: Vec<String> = Vec::new();
        for (setting, number) in [
            ("batch", self.batch),
            ("max_pending", self.pending),
            ("max_pending_bytes", self.pending_bytes),
            ("concurrency", self.concurrency),
        ] {
            if number == 0 {
                wrong.push(format!("`{setting}` is zero: nothing could ever be written"));
            }
        }
        if self.batch > self.pending {
            wrong.push(format!(
                "`batch({})` and `max_pending({})` disagree: so many never wait",
                self.batch, self.pending
            ));
        }
        if let Some(rate) = self.rate
            && !(rate.is_finite() && rate >= 0.001)
        {
            wrong.push(format!("`rate({rate})` is none: give writes per second, above zero"));
        }
        if self.max_age.is_some_and(|age| age < self.delay) {
            wrong.push("`max_age` is shorter than `flush_every`: every write would be too old".to_owned());
        }
        if self.pauses.0.is_zero() || self.pauses.1 < self.pauses.0 {
            wrong.push(
                "`pauses` begin at zero or end before they begin: give the shortest and the longest"
                    .to_owned(),
            );
        }
        if self.store_deadline.is_zero() {
            wrong.push("`store_deadline` is zero: nothing could ever finish".to_owned());
        }
        match wrong.is_empty() {
            true => Ok(()),
            false => Err(Error::new(ErrorKind::Settings, wrong.join("; "))),
        }
    }
}
