//! The guards of the slot, and how a slot behaves that lacks one of them. What a guard prevents must then happen.

use larder::tier::slot::{self, Command, Effect, LAST, Millis, Reply, Slot, Token};

use crate::key::Version;

/// What a slot may lack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Guard {
    /// A fill is refused when the lease is another's.
    TheLeaseIsMine,
    /// A fill is refused when there is nothing.
    AbsenceRefuses,
    /// An invalidation destroys the lease.
    InvalidatedLeasesEnd,
    /// An invalidation drops the copy that is there for readers who take a stale one.
    InvalidatedCopiesGo,
    /// An invalidation leaves holds in place.
    InvalidatedHoldsStay,
    /// No lease is granted while the key is held.
    HoldsKeepReadersOut,
    /// Who was not alone does not publish, even if he is now.
    ContendedWritersDoNotPublish,
    /// A writer that has lost its hold drops what it finds.
    LostHoldsDrop,
    /// A writer that has lost its hold spoils those that it finds.
    LostHoldsSpoil,
    /// A prolonged hold is as contended as it was.
    ProlongedHoldsStayContended,
    /// A writer ends its own hold, and nobody else's.
    HoldsHaveOwners,
}

/// What `command` makes of `slot`, without the guard that is `off`.
pub(crate) fn step(
    off: Option<Guard>,
    slot: Option<&Slot<Version>>,
    now: Millis,
    command: Command<Version>,
) -> (Effect<Version>, Reply<Version>) {
    off.and_then(|off| without(off, slot, now, &command))
        .unwrap_or_else(|| slot::step(slot.cloned(), now, command))
}

/// What comes of it if the guard that is off would have mattered. As much as possible is left to production.
fn without(
    off: Guard,
    slot: Option<&Slot<Version>>,
    now: Millis,
    command: &Command<Version>,
) -> Option<(Effect<Version>, Reply<Version>)> {
    use Command::{Acquire, Fill, Hold, Invalidate, Publish, Release};

    let on = |slot: Option<Slot<Version>>| Some(slot::step(slot, now, command.clone()));
    match (off, slot, command) {
        (Guard::TheLeaseIsMine, Some(Slot::Leased { granted, ends, kept, .. }), Fill { token, .. }) => {
            on(Some(Slot::Leased { token: *token, granted: *granted, ends: *ends, kept: kept.clone() }))
        }
        (Guard::AbsenceRefuses, None, Fill { token, .. }) => {
            on(Some(Slot::Leased { token: *token, granted: now, ends: now, kept: None }))
        }
        (Guard::InvalidatedLeasesEnd, Some(Slot::Leased { token, granted, ends, .. }), Invalidate { .. }) => {
            let leased = Slot::Leased { token: *token, granted: *granted, ends: *ends, kept: None };
            Some((Effect::Written(leased, LAST), Reply::Done))
        }
        (Guard::InvalidatedCopiesGo, Some(Slot::Leased { kept: Some(kept), .. }), Invalidate { .. }) => {
            Some((Effect::Written(Slot::Kept(kept.clone()), kept.expires_at), Reply::Done))
        }
        (Guard::InvalidatedHoldsStay, Some(Slot::Held { .. }), Invalidate { .. }) => {
            Some((Effect::Emptied, Reply::Done))
        }
        (Guard::HoldsKeepReadersOut, Some(Slot::Held { .. }), Acquire { .. }) => on(None),
        (Guard::ContendedWritersDoNotPublish, Some(Slot::Held { holds, .. }), Publish { .. })
            if holds.len() == 1 =>
        {
            on(Some(Slot::Held { contended: false, holds: holds.clone() }))
        }
        (Guard::LostHoldsDrop, slot, Release { token, .. } | Publish { token, .. })
            if !owns(slot, now, *token) =>
        {
            Some((Effect::Left, Reply::Lost))
        }
        (Guard::LostHoldsSpoil, Some(Slot::Held { .. }), Release { token, .. } | Publish { token, .. })
            if !owns(slot, now, *token) =>
        {
            Some((Effect::Left, Reply::Lost))
        }
        (Guard::ProlongedHoldsStayContended, Some(Slot::Held { holds, .. }), Hold { token, .. })
            if owns(slot, now, *token) =>
        {
            on(Some(Slot::Held { contended: false, holds: holds.clone() }))
        }
        (Guard::HoldsHaveOwners, Some(Slot::Held { holds, .. }), Release { token, hold_off })
            if !owns(slot, now, *token) =>
        {
            let token = holds.first().map_or(*token, |(first, _)| *first);
            Some(slot::step(slot.cloned(), now, Release { token, hold_off: *hold_off }))
        }
        _ => None,
    }
}

fn owns(slot: Option<&Slot<Version>>, now: Millis, mine: Token) -> bool {
    matches!(slot, Some(Slot::Held { holds, .. }) if holds.iter().any(|(token, ends)| *token == mine && *ends > now))
}
