//! The key under test: the slot that the server has, as `larder::tier::slot::step` leaves it.

use larder::tier::slot::{Command, Kept, LAST, Life, Millis, Reply, Slot, Token};

use crate::guard::{self, Guard};

/// What is stored: how many writes the store has seen.
pub(crate) type Version = u8;

/// It is always now: what passes is taken from the times in the slot. So two states that differ in nothing but the
/// hour are the same.
pub(crate) const NOW: Millis = 1_000_000;

/// Only the order of moments decides what can happen, so they are kept this far apart.
const APART: Millis = 1_000;

/// What a load asks for: it ends before any other moment in the slot.
pub(crate) const LEASE: Millis = APART / 10;

/// What a writer asks for: it ends after any other moment in the slot.
pub(crate) const HOLD: Millis = 100 * APART;

/// What a writer asks for that is in a hurry: it ends before any other moment in the slot.
pub(crate) const SHORT_HOLD: Millis = APART / 2;

/// For how long nobody may fill after a write, where loads read from a replica.
pub(crate) const HOLD_OFF: Millis = APART / 3;

/// A copy that stays until it is dropped.
pub(crate) const FOREVER: Life = Life { as_of: NOW, fresh: LAST, total: LAST };

/// A copy that first goes stale and then goes away.
pub(crate) const MORTAL: Life = Life { as_of: NOW, fresh: 10 * APART, total: 20 * APART };

/// One key of the server.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    slot: Option<Slot<Version>>,
    /// From when on the server may forget the slot.
    until: Millis,
    /// For the protocols that compare versions, the least that they take. The slot of larder has no such thing, so
    /// it is kept beside it.
    pub(crate) least: Option<Version>,
}

impl Key {
    pub(crate) fn slot(&self) -> Option<&Slot<Version>> {
        self.slot.as_ref()
    }

    /// What production makes of it; `off` is the guard that it goes without.
    pub(crate) fn ask(&mut self, off: Option<Guard>, command: Command<Version>) -> Reply<Version> {
        use larder::tier::slot::Effect::{Emptied, Left, Written};

        let (effect, reply) = guard::step(off, self.slot.as_ref(), NOW, command);
        match effect {
            Left => return reply,
            Emptied => (self.slot, self.until) = (None, 0),
            Written(slot, until) => (self.slot, self.until) = (Some(slot), until),
        }
        self.settle(NOW);
        reply
    }

    /// What a cache without fence does: the copy is there whatever was there before.
    pub(crate) fn set(&mut self, version: Version) {
        let copy = Kept { id: Token::NOBODY, as_of: NOW, fresh_until: LAST, expires_at: LAST, body: version };
        (self.slot, self.until) = (Some(Slot::Kept(copy)), LAST);
    }

    /// What a cache does that compares versions: only an older one is refused, by a copy or by `least`.
    pub(crate) fn set_if_newer(&mut self, version: Version) -> bool {
        let accepted = self.copy().max(self.least).is_none_or(|there| version >= there);
        if accepted {
            self.set(version);
            self.least = None;
        }
        accepted
    }

    pub(crate) fn forget(&mut self) {
        *self = Self::default();
    }

    /// The copy that a reader is given, fresh or stale.
    pub(crate) fn copy(&self) -> Option<Version> {
        let (Slot::Kept(kept) | Slot::Leased { kept: Some(kept), .. }) = self.slot.as_ref()? else {
            return None;
        };
        (kept.expires_at > NOW).then_some(kept.body)
    }

    pub(crate) fn may_be_forgotten(&self) -> bool {
        self.slot.is_some() && self.until <= NOW
    }

    /// The moment that comes next.
    pub(crate) fn next_moment(&self) -> Option<Millis> {
        self.moments().into_iter().filter(|moment| NOW < *moment && *moment < LAST).min()
    }

    /// Whose holds run out at `moment`.
    pub(crate) fn holds_until(&self, moment: Millis) -> impl Iterator<Item = Token> {
        let holds = match &self.slot {
            Some(Slot::Held { holds, .. }) => holds.as_slice(),
            _ => &[],
        };
        holds.iter().filter(move |(_, ends)| *ends == moment).map(|(token, _)| *token)
    }

    /// Time passes until `moment`.
    pub(crate) fn pass(&mut self, moment: Millis) {
        self.settle(moment);
    }

    fn moments(&self) -> Vec<Millis> {
        let mut moments = vec![self.until];
        match &self.slot {
            Some(Slot::Kept(kept)) => moments.push(kept.fresh_until),
            Some(Slot::Leased { ends, kept, .. }) => {
                moments.push(*ends);
                moments.extend(kept.iter().flat_map(|kept| [kept.fresh_until, kept.expires_at]));
            }
            Some(Slot::Held { holds, .. }) => moments.extend(holds.iter().map(|(_, ends)| *ends)),
            None => {}
        }
        moments
    }

    /// Makes `now` the present: what is past is past, the rest keeps its order, and what nobody asks again is wiped
    /// out.
    fn settle(&mut self, now: Millis) {
        let mut ahead = self.moments();
        ahead.retain(|moment| now < *moment && *moment < LAST);
        ahead.sort_unstable();
        ahead.dedup();
        let place = |moment: &mut Millis| match ahead.binary_search(moment) {
            Ok(rank) => *moment = NOW + APART * (rank as Millis + 1),
            Err(_) if *moment <= now => *moment = NOW.min(*moment),
            Err(_) => {}
        };
        let place_copy = |kept: &mut Kept<Version>| {
            place(&mut kept.fresh_until);
            place(&mut kept.expires_at);
            (kept.id, kept.as_of) = (Token::NOBODY, NOW);
        };
        place(&mut self.until);
        match &mut self.slot {
            Some(Slot::Kept(kept)) => place_copy(kept),
            Some(Slot::Leased { granted, ends, kept, .. }) => {
                place(ends);
                kept.iter_mut().for_each(place_copy);
                *granted = NOW;
            }
            Some(Slot::Held { holds, .. }) => holds.iter_mut().for_each(|(_, ends)| place(ends)),
            None => {}
        }
    }
}
