//! When to stop asking a server that does not answer. Pure: failures in, "ask it or not" out.
//!
//! Closed, calls pass. A connection that cannot be made, or a few calls in a row without an answer, open it: calls
//! are refused on the spot, and a probe tries to connect anew now and then. A connection that answers closes it.

use std::time::Duration;

/// How many calls in a row may stay unanswered.
const PATIENCE: u32 = 3;
/// The pauses between probes: the first, and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));

/// What is known of a server's health.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Breaker {
    open: bool,
    unanswered: u32,
    probes: u32,
}

impl Breaker {
    pub(super) fn is_open(&self) -> bool {
        self.open
    }

    /// A call was answered.
    pub(super) fn answered(&mut self) {
        self.unanswered = 0;
    }

    /// A call was not answered in time. True when that opened the breaker.
    pub(super) fn unanswered(&mut self) -> bool {
        self.unanswered = self.unanswered.saturating_add(1);
        self.unanswered >= PATIENCE && self.trip()
    }

    /// No connection can be made, or the server says that it cannot serve. True when that opened the breaker.
    pub(super) fn trip(&mut self) -> bool {
        let opened = !self.open;
        *self = Self { open: true, unanswered: 0, probes: self.probes };
        opened
    }

    /// How long to wait before the next probe; `luck`, from 0 to 1, takes up to half of it off.
    pub(super) fn next_probe(&mut self, luck: f64) -> Duration {
        let pause = PAUSES.0.saturating_mul(2_u32.saturating_pow(self.probes)).min(PAUSES.1);
        self.probes = self.probes.saturating_add(1);
        pause.mul_f64(1.0 - luck.clamp(0.0, 1.0) / 2.0)
    }

    /// A connection was made and answered. True when that closed the breaker.
    pub(super) fn heal(&mut self) -> bool {
        std::mem::take(self).open
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_silences_in_a_row_open_it() {
        let mut breaker = Breaker::default();
        assert!(!breaker.unanswered() && !breaker.unanswered());
        breaker.answered();
        assert!(!breaker.unanswered() && !breaker.unanswered() && breaker.unanswered());
        assert!(breaker.is_open());
        assert!(!breaker.trip(), "it was open already");
    }

    #[test]
    fn probes_come_at_growing_pauses_and_begin_anew_after_it_has_healed() {
        let mut breaker = Breaker::default();
        assert!(breaker.trip());
        let pauses: Vec<_> = (0..6).map(|_| breaker.next_probe(0.0).as_millis()).collect();
        assert_eq!(pauses, [100, 200, 400, 800, 1_600, 2_000]);
        assert_eq!(breaker.next_probe(1.0).as_millis(), 1_000);
        assert!(breaker.heal() && !breaker.is_open() && !breaker.heal());
        assert_eq!(breaker.next_probe(0.0).as_millis(), 100);
    }
}
