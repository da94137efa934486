//! One moment on two clocks: the cache's, by which entries are judged, and the server's, by which they are written.

use std::time::Duration;

use super::lanes::Server;
use super::server_clock::DRIFT;
use crate::bounds::Value;
use crate::entry::Entry;
use crate::tier::slot::{Kept, LAST, Millis};
use crate::time::Timestamp;

/// A moment on the cache's clock, and on the server's as early and as late as it can be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment {
    here: Timestamp,
    earliest: Millis,
    latest: Millis,
    /// Which life of the server it is in.
    pub(super) incarnation: u32,
}

/// What stands around a copy in its slot: its number, and its times on the server's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    pub(super) id: u128,
    pub(super) as_of: Millis,
    pub(super) fresh_until: Millis,
    pub(super) expires_at: Millis,
}

impl Moment {
    pub(super) fn new(server: &Server, here: impl FnOnce() -> Timestamp) -> Self {
        // In this order: what passes in between makes copies look older, never younger.
        let (earliest, _) = server.now();
        let here = here();
        let (_, latest) = server.now();
        Self { here, earliest, latest, incarnation: server.incarnation }
    }

    /// A moment on the clock of a server that tells it exactly, in its only life.
    #[cfg(feature = "testing")]
    pub(super) fn of(here: Timestamp, there: Millis) -> Self {
        Self { here, earliest: there, latest: there, incarnation: 0 }
    }

    /// A time of the server's on the cache's clock: rather too early than too late.
    pub(super) fn here(&self, there: Millis) -> Timestamp {
        match there {
            LAST => Timestamp::NEVER,
            _ if there >= self.latest => self.here.after(Duration::from_millis(there - self.latest)),
            _ => self.here.before(Duration::from_millis(self.latest - there)),
        }
    }

    /// The stamp of an entry that is to be written as number `id`: rather a moment too old than too young.
    pub(super) fn stamp<V: Value>(&self, id: u128, entry: &Entry<V>) -> Stamp {
        let age = self.here.since(entry.as_of()).saturating_add(Duration::from_nanos(999_999));
        let as_of = self.earliest.saturating_sub(millis(age));
        let span = |until: Timestamp| match until {
            Timestamp::NEVER => LAST,
            _ => millis(until.since(entry.as_of())),
        };
        let until = |moment| as_of.saturating_add(span(moment)).min(LAST);
        Stamp { id, as_of, fresh_until: until(entry.fresh_until()), expires_at: until(entry.expires_at()) }
    }
}

/// A time of the server's on the cache's clock: rather too late than too early, and never later than now.
pub(super) fn not_before(server: &Server, there: Millis, here: impl FnOnce() -> Timestamp) -> Timestamp {
    // In this order: what passes between the two makes it later.
    let (earliest, _) = server.now();
    let here = here();
    let ago = earliest.saturating_sub(there);
    here.before(Duration::from_millis(ago.saturating_sub(drifted(ago))))
}

/// By how much two clocks can have come apart in some time.
fn drifted(time: Millis) -> Millis {
    time / (1_000_000 / DRIFT) + 1
}

impl Stamp {
    /// The stamp that a copy stands under.
    pub(super) fn of<Body>(kept: &Kept<Body>) -> Self {
        let Kept { id, as_of, fresh_until, expires_at, .. } = kept;
        Self { id: id.0, as_of: *as_of, fresh_until: *fresh_until, expires_at: *expires_at }
    }

    /// The times as a script takes them: as of when, for how long fresh, for how long at all.
    pub(super) fn arguments(&self) -> [String; 3] {
        let span = |until: Millis| if until == LAST { LAST } else { until - self.as_of };
        [self.as_of, span(self.fresh_until), span(self.expires_at)].map(|number| number.to_string())
    }
}

/// Whole milliseconds, at the most as many as a slot can tell.
pub(super) fn millis(duration: Duration) -> Millis {
    u64::try_from(duration.as_millis()).unwrap_or(LAST).min(LAST)
}
