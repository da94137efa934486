//! A writer: it writes once, and keeps the key in order by its script.

use larder::tier::slot::{Command, Reply, Token};

use crate::key::{HOLD, SHORT_HOLD, Version};
use crate::row::{Act, Fills, Row};
use crate::world::{Step, Steps, World};

/// One writer.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub(crate) struct Writer {
    /// How many of its acts are done.
    done: usize,
    dead: bool,
    /// What the store has from it; 0 before it commits.
    pub(crate) version: Version,
}

impl Writer {
    pub(crate) fn is_dead(&self) -> bool {
        self.dead
    }
}

/// The first writer's token; the others follow.
const FIRST: u128 = 100;

fn token(number: usize) -> Token {
    Token(FIRST + number as u128)
}

/// Whose token it is, if a writer's.
pub(crate) fn of(token: Token) -> Option<usize> {
    token.0.checked_sub(FIRST).and_then(|number| usize::try_from(number).ok())
}

/// Whether writer `number` has committed and will come back to the key.
pub(crate) fn is_to_finish(row: &Row, world: &World, number: usize) -> bool {
    let writer = &world.writers[number];
    !writer.dead && writer.version > 0 && writer.done < row.writers[number].len()
}

/// What writer `number` can do next.
pub(crate) fn steps(row: &Row, world: &World, number: usize, steps: &mut Steps) {
    let writer = &world.writers[number];
    let Some(act) = row.writers[number].get(writer.done).filter(|_| !writer.dead) else { return };
    steps.push(done(row, world, number, *act));
    if row.rollbacks && *act == Act::Commit && row.writers[number].first() == Some(&Act::Hold) {
        steps.push(rolled_back(row, world, number));
    }
    if writer.done > 0 && world.deaths > 0 {
        let mut next = world.clone();
        next.deaths -= 1;
        next.writers[number].dead = true;
        steps.push((Step::writer(number, "dies"), next));
    }
}

fn done(row: &Row, world: &World, number: usize, act: Act) -> (Step, World) {
    let mut next = world.clone();
    let did = perform(row, &mut next, number, act);
    next.writers[number].done += 1;
    if next.writers[number].done == row.writers[number].len() {
        next.acknowledged = next.acknowledged.max(next.writers[number].version);
    }
    (Step::writer(number, did), next)
}

/// The rest of the script is left out, and the claim given back.
fn rolled_back(row: &Row, world: &World, number: usize) -> (Step, World) {
    let mut next = world.clone();
    _ = release(row, &mut next, number);
    next.writers[number].done = row.writers[number].len();
    (Step::writer(number, "rolls back and releases its hold"), next)
}

fn perform(row: &Row, world: &mut World, number: usize, act: Act) -> &'static str {
    match act {
        Act::Commit => commit(world, number),
        Act::Drop => drop_copy(row, world),
        Act::DropBelow
            if row.fills == Fills::IfNewer && world.key.copy() >= Some(world.writers[number].version) =>
        {
            "finds a copy that is not older"
        }
        Act::DropBelow => {
            _ = drop_copy(row, world);
            world.key.least = world.key.least.max(Some(world.writers[number].version));
            "drops the copy and leaves a mark"
        }
        Act::Hold => hold(row, world, number),
        Act::Release => release(row, world, number),
        Act::Publish => publish(row, world, number),
        Act::Set => {
            world.key.set(world.writers[number].version);
            "sets the copy"
        }
        Act::SetIfNewer if world.key.set_if_newer(world.writers[number].version) => "sets the copy",
        Act::SetIfNewer => "is refused for its age",
    }
}

fn commit(world: &mut World, number: usize) -> &'static str {
    world.store += 1;
    world.writers[number].version = world.store;
    "commits"
}

fn drop_copy(row: &Row, world: &mut World) -> &'static str {
    _ = world.key.ask(row.off, Command::Invalidate { hold_off: row.hold_off });
    settle(row, world);
    "drops the copy"
}

/// The first writer asks for less time than the others, so holds do not end in the order in which they began.
fn hold(row: &Row, world: &mut World, number: usize) -> &'static str {
    let life = if number == 0 { SHORT_HOLD } else { HOLD };
    let first = world.writers[number].done == 0;
    match world.key.ask(row.off, Command::Hold { token: token(number), life }) {
        Reply::Lost => "cannot prolong its hold",
        Reply::Contended if first => "holds the key with another",
        _ if first => "holds the key",
        _ => "prolongs its hold",
    }
}

fn release(row: &Row, world: &mut World, number: usize) -> &'static str {
    settle(row, world);
    match world.key.ask(row.off, Command::Release { token: token(number), hold_off: row.hold_off }) {
        Reply::Lost => "finds its hold lost",
        _ => "releases its hold",
    }
}

fn publish(row: &Row, world: &mut World, number: usize) -> &'static str {
    let (token, body) = (token(number), world.writers[number].version);
    let publish = Command::Publish { token, life: row.life, body, hold_off: row.hold_off };
    settle(row, world);
    match world.key.ask(row.off, publish) {
        Reply::Stored => "publishes",
        Reply::Lost => "finds its hold lost",
        _ => "may not publish",
    }
}

/// A hold-off begins: when it ends, the replica has what the store has now.
fn settle(row: &Row, world: &mut World) {
    if row.hold_off > 0 {
        world.settled = world.store;
    }
}
