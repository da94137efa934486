//! The slot of the shared tier, as `larder::tier::slot::step` leaves it. Time stands still, as no lease runs out here and
//! no hold but a dead writer's: `tests/slot_model` is about those.

use larder::tier::slot::{self, Command, Effect, Kept, LAST, Life, Millis, Reply, Slot, Token};

const NOW: Millis = 1_000_000;

pub(crate) const LEASE: Millis = 1_000;

pub(crate) const HOLD: Millis = 100_000;

/// A copy that stays until it is dropped.
pub(crate) const FOREVER: Life = Life { as_of: NOW, fresh: LAST, total: LAST };

/// A write is known by its number, and so is a copy of it.
pub(crate) type Key = Option<Slot<u8>>;

pub(crate) fn ask(key: &mut Key, command: Command<u8>) -> Reply<u8> {
    let (effect, reply) = slot::step(key.clone(), NOW, command);
    match effect {
        Effect::Left => {}
        Effect::Emptied => *key = None,
        Effect::Written(slot, _) => *key = Some(slot),
    }
    // Whose copy it is matters to nobody here.
    if let Some(Slot::Kept(kept)) = key {
        kept.id = Token::NOBODY;
    }
    reply
}

/// What a cache without a fence does.
pub(crate) fn set(key: &mut Key, write: u8) {
    let copy = Kept { id: Token::NOBODY, as_of: NOW, fresh_until: LAST, expires_at: LAST, body: write };
    *key = Some(Slot::Kept(copy));
}

pub(crate) fn copy(key: &Key) -> Option<u8> {
    match key {
        Some(Slot::Kept(kept) | Slot::Leased { kept: Some(kept), .. }) => Some(kept.body),
        _ => None,
    }
}

/// The time of a hold has come.
pub(crate) fn forget_hold(key: &mut Key, whose: Token) {
    if let Some(Slot::Held { holds, .. }) = key {
        holds.retain(|(token, _)| *token != whose);
        if holds.is_empty() {
            *key = None;
        }
    }
}
