//! A reader: it takes the copy if there is one, else asks the overlay, then the store, and leaves a copy behind.

use larder::tier::slot::{Command, Reply, Token};

use crate::counting::Counting;
use crate::row::{Lack, Row};
use crate::slot::{self, FOREVER, LEASE};
use crate::world::{Steps, Who, World};

#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub(crate) struct Reader {
    /// How many reads it may still begin.
    pub(crate) left: u8,
    at: At,
    /// Whether it has got an answer that it must not have got.
    pub(crate) is_misled: bool,
}

/// How far its read is; `expects` are the writes that were acknowledged when it began.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
enum At {
    #[default]
    Rest,
    Overlay {
        expects: u8,
        has_lease: bool,
        /// What the store has said, to those who ask it first.
        stored: Option<u8>,
    },
    Store {
        expects: u8,
        has_lease: bool,
    },
    Fill(u8),
    Count(Counting),
}

fn token(number: usize) -> Token {
    // Of a load, not of a reader: but a reader has one at a time, and knows its end before the next begins.
    Token(1 + number as u128)
}

/// What can happen to reader `number` next.
pub(crate) fn steps(row: &Row, world: &World, number: usize, steps: &mut Steps) {
    let act: fn(&Row, &mut World, usize) -> &'static str = match &world.readers[number].at {
        At::Rest if world.readers[number].left == 0 => return,
        At::Rest if row.is_counted => begin_to_count,
        At::Rest => begin,
        At::Overlay { .. } => ask_the_overlay,
        At::Store { .. } => ask_the_store,
        At::Fill(_) => fill,
        At::Count(_) => count,
    };
    let mut next = world.clone();
    let did = act(row, &mut next, number);
    steps.add(Who::Reader(number), did, next);
}

fn begin_to_count(_: &Row, world: &mut World, number: usize) -> &'static str {
    let counting = Counting::begin(world.told.acknowledged);
    let reader = &mut world.readers[number];
    reader.left -= 1;
    reader.at = At::Count(counting);
    "begins to count"
}

fn count(row: &Row, world: &mut World, number: usize) -> &'static str {
    let At::Count(mut counting) = world.readers[number].at.clone() else { unreachable!("it counts") };
    let did = counting.go_on(row, world);
    let is_right = counting.is_right(row, world);
    let reader = &mut world.readers[number];
    reader.is_misled |= is_right == Some(false);
    reader.at = if is_right.is_some() { At::Rest } else { At::Count(counting) };
    did
}

fn begin(row: &Row, world: &mut World, number: usize) -> &'static str {
    let expects = world.told.acknowledged;
    let (has_lease, did) = if row.lacks(Lack::Lease) {
        match slot::copy(&world.slot) {
            Some(copy) => return take(world, number, copy, expects),
            None => (true, "finds nothing"),
        }
    } else {
        match slot::ask(
            &mut world.slot,
            Command::Acquire { token: token(number), lease: LEASE, renew: false },
        ) {
            Reply::Fresh(kept) => return take(world, number, kept.body, expects),
            Reply::Granted { .. } => (true, "takes the lease"),
            Reply::Held => (false, "passes by a writer"),
            _ => return "waits for a load",
        }
    };
    let reader = &mut world.readers[number];
    reader.left -= 1;
    reader.at = if row.lacks(Lack::OverlayFirst) {
        At::Store { expects, has_lease }
    } else {
        At::Overlay { expects, has_lease, stored: None }
    };
    did
}

fn take(world: &mut World, number: usize, copy: u8, expects: u8) -> &'static str {
    world.readers[number].left -= 1;
    world.readers[number].is_misled |= world.is_older(copy, expects);
    "takes the copy"
}

fn ask_the_overlay(row: &Row, world: &mut World, number: usize) -> &'static str {
    let At::Overlay { expects, has_lease, stored } = world.readers[number].at else {
        unreachable!("it is there")
    };
    let Some(waiting) = world.server.read(row) else { return "waits for an owner to meet the server" };
    match (waiting.last(), stored) {
        (Some((_, write)), _) => {
            answer(world, number, *write, expects, has_lease);
            "finds a write that waits"
        }
        (None, Some(stored)) => {
            answer(world, number, stored, expects, has_lease);
            "finds nothing that waits"
        }
        (None, None) => {
            world.readers[number].at = At::Store { expects, has_lease };
            "finds nothing that waits"
        }
    }
}

fn ask_the_store(row: &Row, world: &mut World, number: usize) -> &'static str {
    let At::Store { expects, has_lease } = world.readers[number].at else { unreachable!("it is there") };
    let value = world.database.value();
    if row.lacks(Lack::OverlayFirst) {
        world.readers[number].at = At::Overlay { expects, has_lease, stored: Some(value) };
    } else {
        answer(world, number, value, expects, has_lease);
    }
    "asks the store"
}

fn answer(world: &mut World, number: usize, value: u8, expects: u8, has_lease: bool) {
    world.readers[number].is_misled |= world.is_older(value, expects);
    world.readers[number].at = if has_lease { At::Fill(value) } else { At::Rest };
}

fn fill(row: &Row, world: &mut World, number: usize) -> &'static str {
    let At::Fill(value) = world.readers[number].at else { unreachable!("it has an answer") };
    world.readers[number].at = At::Rest;
    if row.lacks(Lack::Lease) {
        slot::set(&mut world.slot, value);
        return "fills";
    }
    let fill = Command::Fill { token: token(number), life: FOREVER, body: value };
    match slot::ask(&mut world.slot, fill) {
        Reply::Refused => "is refused",
        _ => "fills",
    }
}
