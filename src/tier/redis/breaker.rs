//! When to stop asking a server that does not answer: failures in, "ask it or not" out. No I/O, no time of its own.
//!
//! Closed, calls pass. One call without an answer opens it, and calls are refused on the spot: whoever reads has waited a
//! whole deadline already, and those behind need not. That one may have been the server's only slow moment, so a probe
//! asks it for a sign of life at once, and then tries to connect anew at growing pauses. The first answer closes it.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

/// The pauses between probes: the first, and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(2));

/// Whether a server is asked.
#[derive(Debug, Default)]
pub(super) struct Breaker {
    open: AtomicBool,
    probes: AtomicU32,
}

impl Breaker {
    #[inline]
    pub(super) fn is_open(&self) -> bool {
        self.open.load(Ordering::Acquire)
    }

    /// The server did not answer. True when that opened the breaker.
    pub(super) fn trip(&self) -> bool {
        !self.open.swap(true, Ordering::AcqRel)
    }

    /// How long to wait before the next probe; `luck`, from 0 to 1, takes up to half of it off.
    pub(super) fn next_probe(&self, luck: f64) -> Duration {
        let probes = self.probes.fetch_add(1, Ordering::AcqRel);
        let pause = PAUSES.0.saturating_mul(2_u32.saturating_pow(probes.min(20))).min(PAUSES.1);
        pause.mul_f64(1.0 - luck.clamp(0.0, 1.0) / 2.0)
    }

    /// The server answers. True when that closed the breaker.
    pub(super) fn heal(&self) -> bool {
        self.probes.store(0, Ordering::Release);
        self.open.swap(false, Ordering::AcqRel)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_silence_opens_it_and_an_answer_closes_it() {
        let breaker = Breaker::default();
        assert!(!breaker.is_open());
        assert!(breaker.trip() && breaker.is_open());
        assert!(!breaker.trip(), "it was open already");
        assert!(breaker.heal() && !breaker.is_open());
        assert!(!breaker.heal(), "it was closed already");
    }

    #[test]
    fn probes_come_at_growing_pauses_and_begin_anew_after_it_has_healed() {
        let breaker = Breaker::default();
        breaker.trip();
        let pauses: Vec<_> = (0..9).map(|_| breaker.next_probe(0.0).as_millis()).collect();
        assert_eq!(pauses, [10, 20, 40, 80, 160, 320, 640, 1_280, 2_000]);
        assert_eq!(breaker.next_probe(1.0).as_millis(), 1_000);
        breaker.heal();
        assert_eq!(breaker.next_probe(0.0).as_millis(), 10);
    }
}
