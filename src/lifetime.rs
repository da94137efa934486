//! How long an answer may be used: ttl, absent ttl, the window of stale use, jitter.

use std::time::Duration;

use crate::bounds::Value;
use crate::entry::Entry;
use crate::time::Timestamp;

/// How long answers may be used. Built from the settings of a cache.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Lifetime {
    /// How long a value is fresh, counted from before its load. Zero: it is kept nowhere.
    pub(crate) ttl: Duration,
    /// The same for "the store has none"; `None`: absences are not kept.
    pub(crate) absent_ttl: Option<Duration>,
    /// For how long after its ttl a value may be served while it is renewed.
    pub(crate) stale: Duration,
    /// By which part of itself a life may be shortened, 0 to 1.
    pub(crate) jitter: f64,
}

impl Lifetime {
    /// Dates an answer to a question that was asked at `as_of`.
    ///
    /// `own_ttl` is what the call or the loader wants instead of the cache's. `luck`, from 0 to 1, is how much of
    /// the jitter this answer gets: entries that were filled together then do not expire together, and none lives
    /// longer than it was told to. An entry that is to be kept nowhere is already expired.
    pub(crate) fn date<V: Value>(
        &self,
        value: Option<V>,
        as_of: Timestamp,
        own_ttl: Option<Duration>,
        luck: f64,
    ) -> Entry<V> {
        let (ttl, stale) = match &value {
            Some(_) => (own_ttl.unwrap_or(self.ttl), self.stale),
            None => (self.absent_ttl.unwrap_or(Duration::ZERO), Duration::ZERO),
        };
        let stale = if ttl.is_zero() { Duration::ZERO } else { stale };
        let fresh_until = as_of.after(self.shorten(ttl, luck));
        Entry::new(value, as_of, fresh_until, fresh_until.after(stale))
    }

    fn shorten(&self, ttl: Duration, luck: f64) -> Duration {
        let share = 1.0 - self.jitter * luck;
        if ttl == Duration::MAX || share == 1.0 {
            return ttl; // for ever is not a time to jitter around
        }
        Duration::try_from_secs_f64(ttl.as_secs_f64() * share).unwrap_or(ttl).min(ttl)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn lifetime(jitter: f64) -> Lifetime {
        Lifetime { ttl: Duration::from_secs(100), absent_ttl: None, stale: Duration::ZERO, jitter }
    }

    #[test]
    fn an_absence_is_not_kept_unless_asked_for() {
        let entry = lifetime(0.0).date::<u8>(None, Timestamp::ZERO, Some(Duration::MAX), 0.0);
        assert!(!entry.is_fresh(Timestamp::ZERO));
        let remembering = Lifetime { absent_ttl: Some(Duration::from_secs(1)), ..lifetime(0.0) };
        assert!(remembering.date::<u8>(None, Timestamp::ZERO, None, 0.0).is_fresh(Timestamp::ZERO));
    }

    #[test]
    fn only_a_value_may_be_used_stale() {
        let kind = Lifetime {
            stale: Duration::from_secs(50),
            absent_ttl: Some(Duration::from_secs(100)),
            ..lifetime(0.0)
        };
        let at = |secs| Timestamp::ZERO.after(Duration::from_secs(secs));
        let value = kind.date(Some(1), Timestamp::ZERO, None, 0.0);
        assert_eq!((value.fresh_until(), value.expires_at()), (at(100), at(150)));
        let absence = kind.date::<u8>(None, Timestamp::ZERO, None, 0.0);
        assert_eq!((absence.fresh_until(), absence.expires_at()), (at(100), at(100)));
        let not_kept = kind.date(Some(1), Timestamp::ZERO, Some(Duration::ZERO), 0.0);
        assert_eq!(not_kept.expires_at(), Timestamp::ZERO);
    }

    #[test]
    fn for_ever_is_for_ever() {
        let entry = lifetime(0.5).date(Some(1), Timestamp::ZERO, Some(Duration::MAX), 1.0);
        assert_eq!(entry.expires_at(), Timestamp::NEVER);
    }

    proptest! {
        #[test]
        fn jitter_only_ever_shortens(
            ttl in any::<u64>(), subsec in 0..1_000_000_000u32, jitter in 0.0..=1.0f64, luck in 0.0..=1.0f64,
        ) {
            let ttl = Duration::new(ttl, subsec);
            let shorter = lifetime(jitter).shorten(ttl, luck);
            prop_assert!(shorter <= ttl);
            prop_assert!(shorter.as_secs_f64() >= ttl.as_secs_f64() * (1.0 - jitter) * 0.999_999 - 1e-9);
        }
    }
}
