//! An owner of the shard, or somebody who takes himself for it: `larder::store::write_behind::flusher` between the server
//! and the database.

use std::time::Duration;

use larder::Timestamp;
use larder::store::write_behind::flusher::{Batch, Failure, Flusher, Order, Rules};

use crate::row::{Lack, Row};
use crate::server::{Given, Operation};
use crate::world::{Steps, Who, World};

#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct Owner {
    epoch: u64,
    /// In which life the server was before it claimed the shard.
    life: Option<u32>,
    flusher: Flusher<Operation>,
    flight: Flight,
}

#[derive(Clone, PartialEq, Eq, Hash)]
enum Flight {
    Nothing,
    Sent(Batch<Operation>),
    /// The database has answered whether it took it, and the owner has not heard it yet.
    Answered(Batch<Operation>, bool),
    /// Without an owner: it is done, and the server does not know.
    Done(Batch<Operation>),
}

fn at_once() -> Rules {
    Rules {
        batch: 2,
        delay: Duration::ZERO,
        pauses: (Duration::ZERO, Duration::ZERO),
        tries: 3,
        pace: Duration::ZERO,
    }
}

/// What can happen to owner `number` next.
pub(crate) fn steps(row: &Row, world: &World, number: usize, steps: &mut Steps) {
    let mut act = |act: &dyn Fn(&mut World) -> &'static str| {
        let mut next = world.clone();
        let did = act(&mut next);
        steps.add(Who::Owner(number), did, next);
    };
    let Some(owner) = &world.owners[number] else {
        if world.left.claims > 0 {
            act(&|next| {
                next.left.claims -= 1;
                claim(row, next, number);
                "claims the shard"
            });
        }
        return;
    };
    if world.left.deaths > 0 {
        act(&|next| die(next, number));
    }
    let has_nothing = owner.flusher.depth() == 0;
    match &owner.flight {
        Flight::Nothing if row.lacks(Lack::Owner) && has_nothing => act(&|next| take(next, number)),
        Flight::Nothing
            if has_nothing
                && owner.life.is_some_and(|life| life != world.server.life)
                && !row.lacks(Lack::ClaimPerLife) =>
        {
            act(&|next| {
                claim(row, next, number);
                "claims the shard anew, on another server"
            });
        }
        Flight::Nothing if has_nothing => act(&|next| collect(row, next, number)),
        Flight::Nothing => act(&|next| send(next, number)),
        Flight::Sent(batch) => {
            act(&|next| commit(row, next, number, batch));
            if world.left.losses > 0 {
                act(&|next| {
                    lose(row, next, number, batch);
                    "never hears of a batch that came to nothing"
                });
            }
        }
        Flight::Answered(batch, taken) => {
            act(&|next| {
                hear(row, next, number, batch, *taken);
                "hears the answer"
            });
            if world.left.losses > 0 {
                act(&|next| {
                    lose(row, next, number, batch);
                    "never hears of a batch that came to an end"
                });
            }
        }
        Flight::Done(batch) => act(&|next| {
            next.server.acknowledge(batch.upto, number);
            alive(next, number).flight = Flight::Nothing;
            "acknowledges its batch"
        }),
    }
    if row.lacks(Lack::OneBatchAtATime) && matches!(owner.flight, Flight::Sent(_)) {
        act(&|next| collect(row, next, number));
    }
    if row.lacks(Lack::Owner) && world.left.claims > 0 {
        act(&|next| {
            next.left.claims -= 1;
            next.server.take_back(number);
            "has taken too long"
        });
    }
}

fn alive(world: &mut World, number: usize) -> &mut Owner {
    world.owners[number].as_mut().expect("alive")
}

fn claim(row: &Row, world: &mut World, number: usize) {
    world.database.epoch += 1;
    let flusher = Flusher::new(at_once(), world.database.offset);
    let (epoch, is_asked) = (world.database.epoch, !row.lacks(Lack::LifeBeforeTheClaim));
    let life = is_asked.then_some(world.server.life);
    world.owners[number] = Some(Owner { epoch, life, flusher, flight: Flight::Nothing });
}

fn die(world: &mut World, number: usize) -> &'static str {
    world.left.deaths -= 1;
    match world.owners[number].take() {
        Some(Owner { epoch, flight: Flight::Sent(batch), .. }) => {
            world.orphans.push((epoch, batch));
            "dies and leaves a transaction"
        }
        Some(Owner { flight: Flight::Answered(_, true) | Flight::Done(_), .. }) => "dies after its commit",
        _ => "dies",
    }
}

fn collect(row: &Row, world: &mut World, number: usize) -> &'static str {
    let owner = world.owners[number].as_mut().expect("alive");
    owner.life.get_or_insert(world.server.life);
    match world.server.collect(row, owner.epoch, owner.flusher.settled()) {
        Given::Superseded => {
            world.owners[number] = None;
            "hears that it is superseded"
        }
        Given::Behind => {
            world.owners[number] = None;
            world.is_alarmed = true;
            "hears that the store has lost something"
        }
        Given::Nothing(met) if met.lost_its_end => "finds nothing, on a server that has lost its end",
        Given::Nothing(_) => "finds nothing",
        Given::Due(met, batch) => {
            let is_doubtful = batch.iter().any(|(_, operation)| operation.is_doubtful);
            for (seq, write) in batch {
                if seq > owner.flusher.accepted() {
                    owner.flusher.accept_as(seq, write, Timestamp::ZERO);
                }
            }
            match met.moved {
                0 if met.lost_its_end => "collects from a server that has lost its end",
                _ if is_doubtful => "collects what is doubtful",
                0 => "collects",
                _ => "collects what had numbers too low",
            }
        }
    }
}

/// Without an owner.
fn take(world: &mut World, number: usize) -> &'static str {
    let batch = world.server.give(number);
    let owner = alive(world, number);
    owner.flusher = Flusher::new(at_once(), 0);
    batch.into_iter().for_each(|(seq, write)| owner.flusher.accept_as(seq, write, Timestamp::ZERO));
    "takes what nobody has"
}

fn send(world: &mut World, number: usize) -> &'static str {
    let owner = alive(world, number);
    let Order::Store(batch) = owner.flusher.next(Timestamp::ZERO) else { unreachable!("all is due at once") };
    owner.flight = Flight::Sent(batch);
    "sends a batch"
}

fn commit(row: &Row, world: &mut World, number: usize, batch: &Batch<Operation>) -> &'static str {
    let epoch = alive(world, number).epoch;
    let taken = world.database.commit(row, epoch, batch);
    alive(world, number).flight = Flight::Answered(batch.clone(), taken);
    if taken { "has its batch committed" } else { "has its batch refused" }
}

fn hear(row: &Row, world: &mut World, number: usize, batch: &Batch<Operation>, taken: bool) {
    if !taken {
        world.owners[number] = None; // somebody else has it now
        return;
    }
    let owner = alive(world, number);
    owner.flusher.stored();
    owner.flight = if row.lacks(Lack::Owner) { Flight::Done(batch.clone()) } else { Flight::Nothing };
}

/// An owner who never heard what became of its batch asks the row, where there is one to ask.
fn lose(row: &Row, world: &mut World, number: usize, batch: &Batch<Operation>) {
    world.left.losses -= 1;
    let is_guarded = !row.lacks(Lack::EpochInTheStore) && !row.lacks(Lack::Owner);
    if is_guarded && world.database.epoch != alive(world, number).epoch {
        world.owners[number] = None;
    } else if !row.lacks(Lack::Owner) && world.database.offset >= batch.upto {
        hear(row, world, number, batch, true);
    } else {
        let owner = alive(world, number);
        owner.flusher.failed(Failure::Transient, Timestamp::ZERO, 0.0);
        owner.flight = Flight::Nothing;
    }
}
