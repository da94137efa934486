//! All that takes part: the server with its copy, the database, owners, the slot, readers, writers and misfortune.

use std::fmt;

use larder::store::write_behind::flusher::Batch;
use larder::testing::Model;

use crate::counting;
use crate::database::Database;
use crate::owner::{self, Owner};
use crate::reader::{self, Reader};
use crate::row::{Lack, Misfortunes, Row};
use crate::server::{Given, Operation, Server};
use crate::slot;
use crate::writer::{self, Writer};

/// How many readers there are at most, and how many writers.
const ACTORS: usize = 4;

#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct World {
    pub(crate) server: Server,
    pub(crate) database: Database,
    pub(crate) owners: [Option<Owner>; 2],
    /// Transactions of owners who died: they may still come to an end.
    pub(crate) orphans: Vec<(u64, Batch<Operation>)>,
    pub(crate) slot: slot::Key,
    pub(crate) readers: [Reader; 2],
    pub(crate) writers: [Writer; ACTORS],
    pub(crate) told: Told,
    pub(crate) left: Misfortunes,
    /// Somebody was told that the store has lost what it has not lost.
    pub(crate) is_alarmed: bool,
}

/// What nobody in this world knows all of. Writes are numbered as they are appended; a set of them has a bit for each.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub(crate) struct Told {
    /// How many writes were appended.
    pub(crate) appended: u8,
    /// Which of them replace what was before them.
    pub(crate) replacing: u8,
    /// Which of them their writers were told of.
    pub(crate) acknowledged: u8,
    /// Which of them a server had that was replaced, while neither the one after it nor the database had them.
    pub(crate) lost: u8,
}

impl Told {
    pub(crate) fn replaces(&self, write: u8) -> bool {
        self.replacing & 1 << write != 0
    }
}

/// Who did what.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Step {
    who: Who,
    did: &'static str,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Who {
    Owner(usize),
    Reader(usize),
    Writer(usize),
    Other,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.who {
            Who::Owner(number) => write!(f, "{} {}", ["one", "the other"][number], self.did),
            Who::Reader(number) => write!(f, "reader {} {}", number + 1, self.did),
            Who::Writer(number) => write!(f, "writer {} {}", number + 1, self.did),
            Who::Other => f.write_str(self.did),
        }
    }
}

/// What can happen next.
#[derive(Default)]
pub(crate) struct Steps(Vec<(Step, World)>);

impl Steps {
    pub(crate) fn add(&mut self, who: Who, did: &'static str, next: World) {
        self.0.push((Step { who, did }, next));
    }
}

impl Model for Row {
    type State = World;
    type Step = Step;

    fn start(&self) -> World {
        let mut readers: [Reader; 2] = Default::default();
        self.reads.iter().zip(&mut readers).for_each(|(reads, reader)| reader.left = *reads);
        World {
            server: Server::new(self),
            database: Database::default(),
            owners: [None, None],
            orphans: Vec::new(),
            slot: None,
            readers,
            writers: Default::default(),
            told: Told::default(),
            left: self.misfortunes,
            is_alarmed: false,
        }
    }

    fn steps(&self, world: &World) -> Vec<(Step, World)> {
        let mut steps = Steps::default();
        (0..self.writers.len()).for_each(|number| writer::steps(self, world, number, &mut steps));
        (0..self.reads.len()).for_each(|number| reader::steps(self, world, number, &mut steps));
        (0..2).for_each(|number| owner::steps(self, world, number, &mut steps));
        for orphan in 0..world.orphans.len() {
            let mut next = world.clone();
            let (epoch, batch) = next.orphans.remove(orphan);
            let is_taken = next.database.commit(self, epoch, &batch);
            let did = if is_taken {
                "the batch of one who died is committed"
            } else {
                "the batch of one who died is refused"
            };
            steps.add(Who::Other, did, next);
        }
        if world.left.fail_overs > 0 {
            let mut next = world.clone();
            next.server.replicate();
            steps.add(Who::Other, "the copy of the server sees all", next);
            steps.add(Who::Other, "the copy takes over from the server", world.failed_over());
        }
        steps.0
    }

    fn check(&self, world: &World) -> Result<(), String> {
        let done = &world.database.done;
        if !done.is_sorted_by(|one, next| one < next) {
            return Err(format!("the database has done {done:?}"));
        }
        let is_passed_over =
            |write: &u8| !done.contains(write) && !world.is_lost(*write) && !world.is_put_aside(*write);
        if let Some(write) = (1..world.database.value()).find(is_passed_over) {
            return Err(format!("the database has done {done:?}, and {write} was not lost"));
        }
        let is_put_aside = |write: &u8| !done.contains(write) && world.is_put_aside(*write);
        if let Some(write) =
            (1..=world.told.appended).find(is_put_aside).filter(|_| self.misfortunes.fail_overs < 2)
        {
            return Err(format!("{write} is put aside and is not done"));
        }
        if world.is_alarmed && !self.lacks(Lack::EpochInTheStore) {
            return Err("an owner hears that the store has lost something".to_owned());
        }
        if world.readers.iter().any(|reader| reader.is_misled) {
            let what =
                if self.is_counted { "what is no total" } else { "what is older than an acknowledged write" };
            return Err(format!("a reader gets {what}"));
        }
        if slot::copy(&world.slot).is_some_and(|copy| world.is_older(copy, world.told.acknowledged)) {
            return Err("a copy is older than an acknowledged write".to_owned());
        }
        let told: Vec<_> = world.writers.iter().filter_map(|writer| writer.total).collect();
        if (1..told.len()).any(|at| told[..at].contains(&told[at])) {
            return Err("two writers are told the same".to_owned());
        }
        if self.lack.is_none() {
            world.check_overlay()?;
        }
        if self.lacks(Lack::Owner) { Ok(()) } else { world.check_the_end(self) }
    }
}

impl World {
    /// Whether `value` is older than one of the writes `expects`. What was lost with a server or is put aside is not missed.
    pub(crate) fn is_older(&self, value: u8, expects: u8) -> bool {
        let is_missed = |write: u8| {
            !self.is_lost(write) && (!self.is_put_aside(write) || self.database.done.contains(&write))
        };
        (value + 1..=self.told.appended).any(|write| expects & 1 << write != 0 && is_missed(write))
    }

    /// Whether `total` is that of all writes up to one of them, among which are those of `expects`. What was lost with a
    /// server may be among them or not: it was there when it was asked for, or is done all the same.
    pub(crate) fn is_total(&self, total: u16, expects: u8) -> bool {
        let least =
            (1..=self.told.appended).rev().find(|write| expects & 1 << write != 0 && !self.is_lost(*write));
        let lost = (0..=u8::MAX).filter(|some| some & !self.told.lost == 0);
        let totals = lost.flat_map(|some| {
            let is_there = move |write: &u8| !self.is_lost(*write) || some & 1 << write != 0;
            let upto = least.unwrap_or(0)..=self.told.appended;
            upto.map(move |last| counting::total(self, (1..=last).filter(is_there)))
        });
        totals.into_iter().any(|possible| possible == total)
    }

    fn is_lost(&self, write: u8) -> bool {
        self.told.lost & 1 << write != 0
    }

    fn is_put_aside(&self, write: u8) -> bool {
        self.database.letters & 1 << write != 0 || self.server.doubts(write)
    }

    fn failed_over(&self) -> Self {
        let mut next = self.clone();
        next.left.fail_overs -= 1;
        next.server.fail_over();
        let (rest, done) = (Server::writes(&next.server.shard), &self.database.done);
        let is_lost = |write: &u8| !rest.contains(write) && !done.contains(write);
        for write in Server::writes(&self.server.shard).into_iter().filter(is_lost) {
            next.told.lost |= 1 << write;
        }
        next
    }

    /// The overlay has of the entries what counts for readers, and nothing else.
    fn check_overlay(&self) -> Result<(), String> {
        let shard = &self.server.shard;
        let overlay: Vec<_> = shard.pending.values().flatten().copied().collect();
        let waiting: Vec<_> = shard.entries.iter().map(|(seq, entry)| (*seq, entry)).collect();
        let from = waiting.iter().rposition(|(_, entry)| self.told.replaces(entry.record[0])).unwrap_or(0);
        let counts = waiting[from..].iter().filter(|(_, entry)| !entry.is_doubtful);
        let counts: Vec<_> = counts.map(|(seq, _)| *seq).collect();
        if overlay == counts {
            Ok(())
        } else {
            Err(format!("the overlay has {overlay:?}, and not {counts:?}"))
        }
    }

    /// If there is one owner from now on, and nothing else happens, all that was not lost gets done, and nothing is left of it.
    fn check_the_end(&self, row: &Row) -> Result<(), String> {
        let (mut server, mut database) = (self.server.clone(), self.database.clone());
        database.epoch += 1;
        loop {
            match server.collect(row, database.epoch, database.offset) {
                Given::Due(_, batch) => {
                    database.offset = batch.last().map_or(database.offset, |(seq, _)| *seq);
                    batch.into_iter().for_each(|(_, operation)| database.take(operation));
                }
                Given::Nothing(_) => break,
                Given::Superseded | Given::Behind => {
                    return Err("nobody can own the shard any more".to_owned());
                }
            }
        }
        let Database { done, letters, .. } = database;
        let is_missing =
            |write: &u8| !self.is_lost(*write) && !done.contains(write) && letters & 1 << write == 0;
        if let Some(write) = (1..=self.told.appended).find(is_missing) {
            return Err(format!("{write} will never be done: in the end it is {done:?}"));
        }
        if !done.is_sorted_by(|one, next| one < next) {
            return Err(format!("in the end the database will have done {done:?}"));
        }
        let shard = &server.shard;
        let is_empty = shard.entries.is_empty() && shard.pending.is_empty() && shard.bytes == 0;
        if is_empty { Ok(()) } else { Err("something is left of what is done".to_owned()) }
    }
}
