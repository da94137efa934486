//! All that takes part: the key, the store, readers, writers, time and misfortune.

use std::fmt;

use larder::testing::Model;
use larder::tier::slot::{Millis, Slot, Token};

use crate::key::{Key, Version};
use crate::reader::{self, Reader};
use crate::row::{Promise, Reads, Row};
use crate::writer::{self, Writer};

/// How many readers there are at most, and how many writers.
const ACTORS: usize = 3;

#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct World {
    pub(crate) key: Key,
    /// How many writes the store has seen.
    pub(crate) store: Version,
    /// How many of them the replica has seen.
    pub(crate) replica: Version,
    /// The last write that a writer was told of: whoever reads from now on wants it or a newer one.
    pub(crate) acknowledged: Version,
    /// What the replica will have seen when the hold-off ends.
    pub(crate) settled: Version,
    pub(crate) readers: [Reader; ACTORS],
    pub(crate) writers: [Writer; ACTORS],
    evictions: u8,
    pub(crate) deaths: u8,
    early_ends: u8,
}

/// Who did what.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Step {
    who: Who,
    did: &'static str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Who {
    Reader(usize),
    Writer(usize),
    Other,
}

impl Step {
    pub(crate) fn reader(number: usize, did: &'static str) -> Self {
        Self { who: Who::Reader(number), did }
    }

    pub(crate) fn writer(number: usize, did: &'static str) -> Self {
        Self { who: Who::Writer(number), did }
    }

    fn other(did: &'static str) -> Self {
        Self { who: Who::Other, did }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.who {
            Who::Reader(number) => write!(f, "reader {} {}", number + 1, self.did),
            Who::Writer(number) => write!(f, "writer {} {}", number + 1, self.did),
            Who::Other => f.write_str(self.did),
        }
    }
}

/// What can happen next.
pub(crate) type Steps = Vec<(Step, World)>;

impl Model for Row {
    type State = World;
    type Step = Step;

    fn start(&self) -> World {
        World {
            key: Key::default(),
            store: 0,
            replica: 0,
            acknowledged: 0,
            settled: 0,
            readers: std::array::from_fn(|number| reader::at_start(self, number)),
            writers: Default::default(),
            evictions: self.evictions,
            deaths: self.deaths,
            early_ends: self.early_ends,
        }
    }

    fn steps(&self, world: &World) -> Steps {
        let mut steps = Steps::new();
        (0..usize::from(self.readers)).for_each(|number| reader::steps(self, world, number, &mut steps));
        (0..self.writers.len()).for_each(|number| writer::steps(self, world, number, &mut steps));
        steps.extend(world.evicted());
        steps.extend(world.forgotten(self));
        steps.extend(world.replicated(self));
        steps.extend(world.passed(self));
        steps
    }

    fn check(&self, world: &World) -> Result<(), String> {
        let broken = self.promises.iter().find(|promise| !world.keeps(self, **promise));
        broken.map_or(Ok(()), |promise| Err(promise.broken().to_owned()))
    }
}

impl World {
    fn keeps(&self, row: &Row, promise: Promise) -> bool {
        let copy = self.key.copy();
        match promise {
            Promise::Current => copy.is_none_or(|copy| copy == self.store),
            Promise::ReadYourWrites => {
                copy.is_none_or(|copy| copy >= self.acknowledged)
                    && self.readers.iter().all(|reader| !reader.was_misled())
            }
            Promise::Repaired => {
                let under_way =
                    || (0..row.writers.len()).any(|number| writer::is_to_finish(row, self, number));
                copy.is_none_or(|copy| copy == self.store) || under_way()
            }
        }
    }

    /// What a load gets.
    pub(crate) fn answer(&self, row: &Row) -> Version {
        if row.reads == Reads::Store { self.store } else { self.replica }
    }

    fn evicted(&self) -> Option<(Step, Self)> {
        let mut next = self.clone();
        next.evictions = self.evictions.checked_sub(1)?;
        next.key.forget();
        (next.key != self.key).then_some((Step::other("the server evicts the key"), next))
    }

    fn forgotten(&self, row: &Row) -> Option<(Step, Self)> {
        let mut next = self.clone();
        next.key.forget();
        (row.slow_loads && self.key.may_be_forgotten())
            .then_some((Step::other("the server forgets the key in time"), next))
    }

    fn replicated(&self, row: &Row) -> Option<(Step, Self)> {
        let mut next = self.clone();
        next.replica += 1;
        (row.reads != Reads::Store && self.replica < self.store)
            .then_some((Step::other("the replica sees a write"), next))
    }

    /// Time passes until the next moment that makes a difference, if that is possible by what is promised of time.
    fn passed(&self, row: &Row) -> Option<(Step, Self)> {
        let moment = self.key.next_moment()?;
        let mut next = self.clone();
        next.key.pass(moment);
        let event = match self.key.slot()? {
            Slot::Kept(_) => "the copy ages",
            Slot::Leased { .. } if row.slow_loads => "the lease ages",
            Slot::Leased { .. } => return None,
            Slot::Held { .. } => return self.hold_ended(row, moment, next),
        };
        Some((Step::other(event), next))
    }

    /// A hold outlives its writer's work, and a hold-off the delay of the replica: other ends come early.
    fn hold_ended(&self, row: &Row, moment: Millis, mut next: Self) -> Option<(Step, Self)> {
        let mut event = "the hold of a dead writer ends";
        for token in self.key.holds_until(moment) {
            let seen = match writer::of(token) {
                _ if token == Token::NOBODY => {
                    event = "the hold-off ends";
                    next.settled = 0;
                    if row.reads == Reads::SlowReplica { 0 } else { self.settled }
                }
                Some(number) if self.writers[number].is_dead() => {
                    if row.reads == Reads::Replica {
                        self.writers[number].version
                    } else {
                        0
                    }
                }
                _ => {
                    event = "a hold ends too early";
                    next.early_ends = next.early_ends.checked_sub(1)?;
                    0
                }
            };
            if row.reads != Reads::Store && self.replica < seen {
                return None;
            }
        }
        Some((Step::other(event), next))
    }
}
