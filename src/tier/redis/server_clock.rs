//! A server's clock, as far as it can be known from here. Pure: samples in, bounds out.
//!
//! A sample is a question and its answer: the server's time was read between the two, so it lies between two bounds
//! (Cristian, *Probabilistic clock synchronization*, 1989). Bounds of later samples narrow it; between samples the two
//! clocks may drift apart. A sample that contradicts the others means that the server's clock was set, or that it is
//! another server: then it alone counts.

use crate::tier::slot::Millis;

/// How many microseconds two clocks may drift apart in a second.
pub(super) const DRIFT: u64 = 200;

/// What the server's clock is ahead of ours, in microseconds, at the least and at the most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ServerClock {
    least: i64,
    most: i64,
    /// When, on our clock, that was known.
    at: i64,
}

impl ServerClock {
    /// From a first sample: our time before and after, the server's between them, all in microseconds.
    pub(super) fn new(before: i64, server: i64, after: i64) -> Self {
        Self { least: server.saturating_sub(after), most: server.saturating_sub(before), at: after }
    }

    /// What is known after one more sample.
    pub(super) fn with(self, before: i64, server: i64, after: i64) -> Self {
        let fresh = Self::new(before, server, after);
        let (least, most) = self.bounds(after);
        let (least, most) = (least.max(fresh.least), most.min(fresh.most));
        if least <= most { Self { least, most, at: after } } else { fresh }
    }

    /// The server's time now, if it is as late as it can be: by this, copies are judged.
    pub(super) fn latest(&self, now: i64) -> Millis {
        let (_, most) = self.bounds(now);
        u64::try_from(now.saturating_add(most).saturating_add(999)).unwrap_or(0) / 1_000
    }

    /// The server's time now, if it is as early as it can be: by this, answers are dated.
    pub(super) fn earliest(&self, now: i64) -> Millis {
        let (least, _) = self.bounds(now);
        u64::try_from(now.saturating_add(least)).unwrap_or(0) / 1_000
    }

    fn bounds(&self, now: i64) -> (i64, i64) {
        let drift = now.saturating_sub(self.at).max(0) / 1_000_000 * DRIFT as i64 + 1;
        (self.least.saturating_sub(drift), self.most.saturating_add(drift))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_bounds_are_as_wide_as_the_round_trip() {
        let clock = ServerClock::new(1_000, 500_000, 3_000);
        assert_eq!((clock.earliest(3_000), clock.latest(3_000)), (499, 503));
    }

    #[test]
    fn a_clock_that_was_set_is_believed() {
        let clock = ServerClock::new(0, 1_000_000_000, 1_000).with(2_000, 500_000_000, 3_000);
        assert_eq!(clock.latest(3_000) / 10, 50_000);
    }

    proptest! {
        #[test]
        fn the_servers_time_lies_between_the_bounds(
            ahead in -1_000_000_i64..1_000_000_000_000,
            trips in proptest::collection::vec((0_i64..100_000, 0_i64..100_000, 0_i64..60_000_000), 1..20),
        ) {
            let mut now = 1_000_000;
            let mut clock: Option<ServerClock> = None;
            for (there, back, pause) in trips {
                let (before, server, after) = (now, now + there + ahead, now + there + back);
                clock = Some(clock.map_or_else(
                    || ServerClock::new(before, server, after),
                    |clock| clock.with(before, server, after),
                ));
                now = after + pause;
                let clock = clock.expect("sampled");
                let truth = (now + ahead).max(0) / 1_000;
                prop_assert!(clock.earliest(now) <= truth as u64 && clock.latest(now) >= truth as u64);
            }
        }
    }
}
