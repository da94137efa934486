//! What writes nothing twice and loses nothing, and what does not, in every order of events of a small scope: two owners of
//! one log who claim it from each other, die, pause for as long as they like and lose the answers of the database.
//!
//! The owners are `larder::store::write_behind::flusher`, the code that production runs; the database is a list of effects
//! and a row. The protocol of larder holds: the number of the last operation that the database has is in that row, and
//! moves in the transaction of the effects, if the row is still the owner's. Four that are in use elsewhere do not.

use std::fmt;
use std::time::Duration;

use larder::Timestamp;
use larder::store::write_behind::flusher::{Batch, Failure, Flusher, Order, Rules};
use larder::testing::{Exploration, Model, explore};

/// How the database is told what has been done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Protocol {
    /// What is to be done is taken out of the log, and then done.
    TakenOutFirst,
    /// It is acknowledged to the log when it has been done.
    Acknowledged,
    /// The same, and the database passes over what is not newer than what it has.
    Numbered,
    /// The number of the last operation is written with the effects, whoever comes.
    Offset,
    /// And only if it is where this owner left it, and nobody else has claimed the row.
    OffsetAndEpoch,
}

/// What the operations do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Effects {
    /// Each adds something: every one must be there, once.
    Add,
    /// Each replaces the one before it: the last one must be there in the end, and never an older one after a newer.
    Replace,
}

/// How much may happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Scope {
    operations: u8,
    claims: u8,
    deaths: u8,
    losses: u8,
}

struct Row {
    protocol: Protocol,
    effects: Effects,
    scope: Scope,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct World {
    left: Scope,
    /// How many operations the log has been given, and up to which it has been told that they are done or taken out.
    log: (u8, u8),
    /// What the database has been made to do, in its order.
    done: Vec<u8>,
    /// The row: who has it, and the last operation that is done.
    epoch: u8,
    last: u8,
    owners: [Option<Owner>; 2],
    /// Transactions of owners who died: they may still come to an end.
    orphans: Vec<(u8, Batch<u8>)>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Owner {
    epoch: u8,
    flusher: Flusher<u8>,
    read: u8,
    flight: Flight,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Flight {
    Nothing,
    Sent(Batch<u8>),
    /// The database has answered whether it took it, and the owner has not heard it yet.
    Answered(Batch<u8>, bool),
    /// It is done, and the log does not know.
    Done(Batch<u8>),
}

#[derive(Clone, PartialEq, Eq, Hash)]
struct Step(String);

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
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

impl Row {
    fn new(protocol: Protocol, effects: Effects) -> Self {
        let scope = Scope { operations: 3, claims: 3, deaths: 1, losses: 1 };
        Self { protocol, effects, scope }
    }

    /// Whether the row in the database says what is done.
    fn has_offset(&self) -> bool {
        matches!(self.protocol, Protocol::Offset | Protocol::OffsetAndEpoch)
    }

    fn claim(&self, world: &mut World, owner: usize) {
        world.epoch += 1;
        let from = if self.has_offset() { world.last } else { world.log.1 };
        let flusher = Flusher::new(at_once(), u64::from(from));
        world.owners[owner] =
            Some(Owner { epoch: world.epoch, flusher, read: from, flight: Flight::Nothing });
    }

    /// The next operation of the log, for this owner.
    fn read(&self, world: &World, owner: &Owner) -> Option<u8> {
        let before = if self.protocol == Protocol::TakenOutFirst { world.log.1 } else { owner.read };
        (before < world.log.0).then_some(before + 1)
    }

    /// The transaction of a batch: whether it was committed.
    fn commit(&self, world: &mut World, epoch: u8, batch: &Batch<u8>) -> bool {
        if self.protocol == Protocol::OffsetAndEpoch
            && (world.epoch != epoch || u64::from(world.last) != batch.after)
        {
            return false;
        }
        for waiting in &batch.operations {
            let is_newer = world.done.iter().all(|done| *done < waiting.operation);
            if self.protocol != Protocol::Numbered || is_newer {
                world.done.push(waiting.operation);
            }
        }
        if self.has_offset() {
            world.last = batch.upto as u8;
        }
        true
    }

    /// An owner who never heard what became of its batch asks, where there is somebody to ask: `None`, it has been
    /// replaced; else whether the batch was committed.
    fn decide(&self, world: &World, owner: &Owner, batch: &Batch<u8>) -> Option<bool> {
        match self.protocol {
            Protocol::OffsetAndEpoch if world.epoch != owner.epoch => None,
            Protocol::Offset | Protocol::OffsetAndEpoch => Some(u64::from(world.last) >= batch.upto),
            _ => Some(false),
        }
    }

    /// What can happen to one owner.
    fn steps_of(&self, world: &World, number: usize, add: &mut impl FnMut(String, World)) {
        let name = ["one", "the other"][number];
        let mut step = |words: String, change: &dyn Fn(&mut World)| {
            let mut next = world.clone();
            change(&mut next);
            add(format!("{name} {words}"), next);
        };
        if world.left.claims > 0 && world.owners[number].is_none() {
            step("claims the log".to_owned(), &|next| {
                next.left.claims -= 1;
                self.claim(next, number);
            });
        }
        let Some(owner) = &world.owners[number] else { return };
        if world.left.deaths > 0 {
            step("dies".to_owned(), &|next| {
                next.left.deaths -= 1;
                if let Some(Owner { epoch, flight: Flight::Sent(batch), .. }) = next.owners[number].take() {
                    next.orphans.push((epoch, batch));
                }
            });
        }
        if let Some(operation) = self.read(world, owner) {
            step(format!("reads {operation}"), &|next| {
                if self.protocol == Protocol::TakenOutFirst {
                    next.log.1 = operation;
                }
                let owner = next.owners[number].as_mut().expect("alive");
                owner.read = operation;
                owner.flusher.accept(operation, Timestamp::ZERO);
            });
        }
        match &owner.flight {
            Flight::Nothing => {
                let mut flusher = owner.flusher.clone();
                if let Order::Store(batch) = flusher.next(Timestamp::ZERO) {
                    step(format!("sends up to {}", batch.upto), &|next| {
                        let owner = next.owners[number].as_mut().expect("alive");
                        owner.flusher = flusher.clone();
                        owner.flight = Flight::Sent(batch.clone());
                    });
                }
            }
            Flight::Sent(batch) => {
                let mut after = world.clone();
                let taken = self.commit(&mut after, owner.epoch, batch);
                let words = if taken { "has its batch committed" } else { "has its batch refused" };
                step(words.to_owned(), &|next| {
                    *next = after.clone();
                    next.owners[number].as_mut().expect("alive").flight =
                        Flight::Answered(batch.clone(), taken);
                });
                if world.left.losses > 0 {
                    step("never hears of a batch that came to nothing".to_owned(), &|next| {
                        self.lose(next, number, batch);
                    });
                }
            }
            Flight::Answered(batch, taken) => {
                step("hears the answer".to_owned(), &|next| self.hear(next, number, batch, *taken));
                if world.left.losses > 0 {
                    step("never hears of a batch that came to an end".to_owned(), &|next| {
                        self.lose(next, number, batch);
                    });
                }
            }
            Flight::Done(batch) => step("tells the log".to_owned(), &|next| {
                next.log.1 = next.log.1.max(batch.upto as u8);
                next.owners[number].as_mut().expect("alive").flight = Flight::Nothing;
            }),
        }
    }

    fn hear(&self, world: &mut World, number: usize, batch: &Batch<u8>, taken: bool) {
        if !taken {
            world.owners[number] = None; // somebody else has it now
            return;
        }
        let tells_the_log = matches!(self.protocol, Protocol::Acknowledged | Protocol::Numbered);
        let owner = world.owners[number].as_mut().expect("alive");
        owner.flusher.stored();
        owner.flight = if tells_the_log { Flight::Done(batch.clone()) } else { Flight::Nothing };
    }

    fn lose(&self, world: &mut World, number: usize, batch: &Batch<u8>) {
        world.left.losses -= 1;
        let owner = world.owners[number].clone().expect("alive");
        match self.decide(world, &owner, batch) {
            None => world.owners[number] = None,
            Some(true) => self.hear(world, number, batch, true),
            Some(false) => {
                let owner = world.owners[number].as_mut().expect("alive");
                owner.flusher.failed(Failure::Transient, Timestamp::ZERO, 0.0);
                owner.flight = Flight::Nothing;
            }
        }
    }
}

impl Model for Row {
    type State = World;
    type Step = Step;

    fn start(&self) -> World {
        World {
            left: self.scope,
            log: (0, 0),
            done: Vec::new(),
            epoch: 0,
            last: 0,
            owners: [None, None],
            orphans: Vec::new(),
        }
    }

    fn steps(&self, world: &World) -> Vec<(Step, World)> {
        let mut steps = Vec::new();
        let mut add = |words: String, next: World| steps.push((Step(words), next));
        if world.left.operations > 0 {
            let mut next = world.clone();
            next.left.operations -= 1;
            next.log.0 += 1;
            add(format!("{} is accepted", next.log.0), next);
        }
        for number in 0..2 {
            self.steps_of(world, number, &mut add);
        }
        for orphan in 0..world.orphans.len() {
            let mut next = world.clone();
            let (epoch, batch) = next.orphans.remove(orphan);
            let taken = self.commit(&mut next, epoch, &batch);
            let words = if taken { "is committed" } else { "is refused" };
            add(format!("the batch of one who died {words}"), next);
        }
        steps
    }

    fn check(&self, world: &World) -> Result<(), String> {
        let done = &world.done;
        match self.effects {
            Effects::Add if done.iter().copied().eq(1..=done.len() as u8) => Ok(()),
            Effects::Replace if done.is_sorted_by(|one, next| one < next) => Ok(()),
            _ => Err(format!("the database has done {done:?}")),
        }?;
        let told = if self.has_offset() { world.last } else { world.log.1 };
        let is_taken_out = self.protocol == Protocol::TakenOutFirst;
        if !is_taken_out && told > done.last().copied().unwrap_or(0) {
            return Err(format!("up to {told} all is said to be done, and the database has done {done:?}"));
        }
        Ok(())
    }
}

fn explored(row: &Row) -> Exploration {
    let exploration = explore(row, 3_000_000).expect("the scope is small");
    println!("{:?}, {:?}: {} states", row.protocol, row.effects, exploration.states());
    exploration
}

fn breaks(protocol: Protocol, effects: Effects) {
    let exploration = explored(&Row::new(protocol, effects));
    println!("{}", exploration.violation().expect("it is broken"));
}

fn holds(protocol: Protocol, effects: Effects, marks: &[&str]) {
    let exploration = explored(&Row::new(protocol, effects));
    if let Some(violation) = exploration.violation() {
        panic!("{violation}");
    }
    assert!(exploration.states() > 10_000, "{} states", exploration.states());
    for mark in marks {
        assert!(exploration.times(mark) > 0, "never: {mark}; but: {:#?}", exploration.steps());
    }
}

/// `takes 1 out of the log · dies`.
#[test]
fn what_is_taken_out_before_it_is_done_is_lost() {
    breaks(Protocol::TakenOutFirst, Effects::Add);
}

/// `commits · dies before it has told the log`.
#[test]
fn what_is_acknowledged_afterwards_is_done_twice() {
    breaks(Protocol::Acknowledged, Effects::Add);
    breaks(Protocol::Acknowledged, Effects::Replace);
}

#[test]
fn numbers_will_do_for_what_replaces() {
    holds(Protocol::Numbered, Effects::Replace, &["never hears", "one who died is committed", "dies"]);
}

/// `one sends up to 2, and pauses · the other, who has it now, sends up to 2 and 4 · one's comes in the end`: with nobody
/// to refuse it, it is done again, and the row goes back.
#[test]
fn an_offset_that_anybody_moves_is_no_guard() {
    breaks(Protocol::Offset, Effects::Add);
}

#[test]
fn an_offset_in_the_transaction_of_its_owner_loses_nothing_and_does_nothing_twice() {
    let marks = [
        "has its batch refused",
        "one who died is committed",
        "one who died is refused",
        "never hears of a batch that came to an end",
        "never hears of a batch that came to nothing",
    ];
    holds(Protocol::OffsetAndEpoch, Effects::Add, &marks);
}
