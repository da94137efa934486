//! Time: the one clock that judges freshness, and timers that fail with a value instead of a panic.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tokio::time::Sleep;

/// A moment on a cache's [`Clock`]: nanoseconds since that clock began.
///
/// Arithmetic saturates: a time that does not fit is [`Timestamp::NEVER`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(u64);

impl Timestamp {
    /// When the clock began.
    pub const ZERO: Self = Self(0);
    /// A moment that does not come (in 584 years).
    pub const NEVER: Self = Self(u64::MAX);

    /// The moment `nanos` nanoseconds after the clock began.
    #[must_use]
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// Nanoseconds since the clock began.
    #[must_use]
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// The moment `duration` later, at the latest [`NEVER`](Self::NEVER).
    #[must_use]
    pub fn after(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(saturating_nanos(duration)))
    }

    /// The moment `duration` earlier, at the earliest [`ZERO`](Self::ZERO).
    #[must_use]
    pub fn before(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(saturating_nanos(duration)))
    }

    /// How long after `earlier` this is; zero when it is not.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

fn saturating_nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// The clock that decides what is fresh. It never runs backwards.
///
/// The engines below a tier may use clocks of their own to reclaim space; none of them decides what is served.
pub trait Clock: fmt::Debug + Send + Sync + 'static {
    /// The time now.
    fn now(&self) -> Timestamp;

    /// The time as cheaply as it can be had, for the hit path: never behind [`now`](Self::now), ahead of it by a
    /// few milliseconds at most. A copy may so be called stale a moment early, never a moment late.
    fn recent(&self) -> Timestamp {
        self.now()
    }
}

/// The machine's monotonic clock; the default of every cache.
///
/// On Linux, hits read the kernel's coarse clock, which costs a few nanoseconds.
#[derive(Debug)]
pub struct SystemClock {
    origin: Instant,
    #[cfg(any(target_os = "linux", target_os = "android"))]
    coarse_origin: coarsetime::Instant,
}

/// The coarse clock moves with the kernel's tick, every 10 ms at the slowest setting in use. Adding one, in nanoseconds, makes
/// it an upper bound of the time now.
#[cfg(any(target_os = "linux", target_os = "android"))]
const TICK: u64 = 10_000_000;

impl SystemClock {
    /// A clock that is made now. It begins with a year, for what is older than itself.
    #[must_use]
    pub fn new() -> Self {
        Self {
            #[cfg(any(target_os = "linux", target_os = "android"))]
            coarse_origin: coarsetime::Instant::now_without_cache_update(),
            origin: Instant::now(),
        }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

/// What the clock shows when it is made, so that moments before that can be named: a shared tier has copies that are
/// older than the process.
const BEGIN: Timestamp = Timestamp(365 * 24 * 3_600 * 1_000_000_000);

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        BEGIN.after(self.origin.elapsed())
    }

    #[cfg(any(target_os = "linux", target_os = "android"))]
    fn recent(&self) -> Timestamp {
        let elapsed = coarsetime::Instant::now_without_cache_update() - self.coarse_origin;
        Timestamp(elapsed.as_nanos().saturating_add(BEGIN.0 + TICK))
    }
}

/// Microseconds of the machine's monotonic clock, for comparing with the clocks of servers.
#[cfg(feature = "redis")]
pub(crate) fn micros() -> i64 {
    static ORIGIN: std::sync::LazyLock<Instant> = std::sync::LazyLock::new(Instant::now);
    i64::try_from(ORIGIN.elapsed().as_micros()).unwrap_or(i64::MAX)
}

/// How long ago 1970 began, by the clock on the wall: for records that somebody reads later, and never to decide anything.
pub(crate) fn since_1970() -> Duration {
    std::time::SystemTime::now().duration_since(std::time::SystemTime::UNIX_EPOCH).unwrap_or_default()
}

/// Why a timer could not be set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NoTimer;

/// How a bounded wait ended without an answer.
#[cfg_attr(shuttle, allow(dead_code, reason = "explored schedules have no time"))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unanswered {
    /// The time ran out.
    Late,
    /// There is no tokio runtime here, or it has no timers.
    NoTimer,
}

/// A timer, or a value that says there can be none here. Tokio panics instead, and offers no other way to ask.
pub(crate) fn timer(until: tokio::time::Instant) -> Result<Sleep, NoTimer> {
    Handle::try_current().map_err(|_| NoTimer)?;
    catch_unwind(AssertUnwindSafe(|| tokio::time::sleep_until(until))).map_err(|_| NoTimer)
}

/// Awaits `future`, but no longer than `until`. An answer that is ready in the last moment counts.
#[cfg(not(shuttle))]
pub(crate) async fn within<F: Future>(
    until: tokio::time::Instant,
    future: F,
) -> Result<F::Output, Unanswered> {
    let timer = timer(until).map_err(|NoTimer| Unanswered::NoTimer)?;
    tokio::select! {
        biased;
        answer = future => Ok(answer),
        () = timer => Err(Unanswered::Late),
    }
}

/// Explored schedules have no time, and a wait has no end but its answer.
#[cfg(shuttle)]
pub(crate) async fn within<F: Future>(
    _until: tokio::time::Instant,
    future: F,
) -> Result<F::Output, Unanswered> {
    Ok(future.await)
}

/// The moment `duration` from now on tokio's clock, for timers; a duration too long for it means "for ever".
pub(crate) fn from_now(duration: Duration) -> tokio::time::Instant {
    const FOR_EVER: Duration = Duration::from_secs(30 * 365 * 24 * 3600);
    tokio::time::Instant::now() + duration.min(FOR_EVER)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_saturates() {
        assert_eq!(Timestamp::ZERO.after(Duration::MAX), Timestamp::NEVER);
        assert_eq!(Timestamp::NEVER.after(Duration::from_secs(1)), Timestamp::NEVER);
        assert_eq!(Timestamp::ZERO.since(Timestamp::NEVER), Duration::ZERO);
    }

    #[test]
    fn the_cheap_clock_is_never_behind_the_precise_one() {
        let clock = SystemClock::new();
        for _ in 0..100_000 {
            let before = clock.now();
            let recent = clock.recent();
            assert!(recent >= before, "{recent:?} is behind {before:?}");
        }
    }

    #[test]
    fn a_timer_outside_a_runtime_is_an_error_not_a_panic() {
        assert!(timer(from_now(Duration::MAX)).is_err());
    }
}
