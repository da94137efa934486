//! Counters: who reads puts together what the store has and what waits, and must get the sum of all up to some write.

use larder::store::{Change, Merge, Merging, Seq};

use crate::flushing::flushing;
use crate::row::{ADDED, APPENDED, Clock, Lack, Misfortunes, Row, TOLD};
use crate::world::World;
use crate::{breaks, holds};

/// A read under way.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct Counting {
    /// The writes that were acknowledged when it began.
    expects: u8,
    /// What waited, in its order.
    waiting: Option<Vec<(Seq, u8)>>,
    value: Option<u16>,
    offset: Option<Seq>,
}

impl Counting {
    pub(crate) fn begin(expects: u8) -> Self {
        Self { expects, waiting: None, value: None, offset: None }
    }

    /// What it asks next.
    pub(crate) fn go_on(&mut self, row: &Row, world: &World) -> &'static str {
        let is_first = !row.lacks(Lack::OverlayBeforeTheCount) || self.offset.is_some();
        if self.waiting.is_none() && is_first {
            self.waiting = world.server.read(row);
            return if self.waiting.is_some() {
                "asks what waits"
            } else {
                "waits for an owner to meet the server"
            };
        }
        let value = total(world, world.database.done.iter().copied());
        if row.lacks(Lack::OneSnapshot) && self.value.is_none() {
            self.value = Some(value);
            return "asks for the value";
        }
        self.offset = Some(world.database.offset);
        self.value.get_or_insert(value);
        "asks for the offset, with the value"
    }

    /// Whether what it got is a total, once it has got it.
    pub(crate) fn is_right(&self, row: &Row, world: &World) -> Option<bool> {
        let (Some(waiting), Some(value), Some(offset)) = (&self.waiting, self.value, self.offset) else {
            return None;
        };
        let offset = if row.lacks(Lack::CountAboveTheOffset) { 0 } else { offset };
        Some(world.is_total(fold(world, waiting, (value, offset)), self.expects))
    }
}

/// Of each write it can be seen in a total how often it is in there.
const fn operand(write: u8) -> u16 {
    1 << (3 * (write - 1))
}

/// What comes of these writes.
pub(crate) fn total(world: &World, writes: impl Iterator<Item = u8>) -> u16 {
    writes.fold(0, |value, write| match world.told.replaces(write) {
        true => operand(write),
        false => value + operand(write),
    })
}

struct Sum;

impl Merge<u16> for Sum {
    fn merge(&self, value: Option<&u16>, operand: &u16) -> u16 {
        value.map_or(*operand, |value| value + operand)
    }

    fn combine(&self, first: &u16, second: &u16) -> u16 {
        first + second
    }
}

/// What production makes of them.
pub(crate) fn fold(world: &World, waiting: &[(Seq, u8)], (value, offset): (u16, Seq)) -> u16 {
    let change = |write: u8| match world.told.replaces(write) {
        true => Change::Put((), operand(write)),
        false => Change::Merge((), operand(write)),
    };
    let changes: Vec<_> = waiting.iter().map(|(seq, write)| (*seq, change(*write))).collect();
    let changes = changes.iter().map(|(seq, change)| (*seq, change));
    Merging::new(Sum).fold(changes, (Some(value), offset)).unwrap_or(0)
}

fn counting() -> Row {
    let misfortunes = Misfortunes { claims: 2, deaths: 1, losses: 0, fail_overs: 0 };
    Row { writers: &[ADDED, ADDED, ADDED], reads: &[1], is_counted: true, misfortunes, ..flushing() }
}

/// The same with less in it.
fn small() -> Row {
    Row {
        writers: &[ADDED, ADDED],
        misfortunes: Misfortunes { claims: 1, ..Misfortunes::default() },
        ..counting()
    }
}

#[test]
fn every_count_is_that_of_all_writes_up_to_one_of_them() {
    let marks = [
        "asks what waits",
        "one who died is committed",
        "hears that it is superseded",
        "dies after its commit",
    ];
    holds(&counting(), 30_000, &marks);
}

#[test]
fn and_so_where_a_write_sets_the_counter() {
    let row = Row { writers: &[ADDED, APPENDED, ADDED], ..small() };
    holds(&row, 5_000, &["writer 2 appends", "asks what waits"]);
}

#[test]
fn and_so_with_another_server() {
    let misfortunes = Misfortunes { claims: 1, deaths: 0, losses: 0, fail_overs: 1 };
    let row = Row { misfortunes, clock: Clock::Behind, ..small() };
    holds(&row, 5_000, &["waits for an owner to meet the server", "collects what had numbers too low"]);
    breaks(&Row { lack: Some(Lack::ReadersWait), ..row }, "what is no total");
}

/// `R: value 0, offset 0 · O: commits 1, and the server forgets it · R: nothing waits`.
#[test]
fn what_waits_must_be_asked_first() {
    breaks(&Row { lack: Some(Lack::OverlayBeforeTheCount), ..small() }, "what is no total");
}

/// `R: 1 waits · R: value 0 · O: commits 1 · R: offset 1`.
#[test]
fn value_and_offset_must_be_of_one_moment() {
    breaks(&Row { lack: Some(Lack::OneSnapshot), ..small() }, "what is no total");
}

/// `R: 1 waits · O: commits 1 · R: value 1, offset 1`.
#[test]
fn what_is_in_the_value_must_not_be_added() {
    breaks(&Row { lack: Some(Lack::CountAboveTheOffset), ..small() }, "what is no total");
}

/// `W1: appends 1 · W2: appends 2 · O: commits both · W1: is told 2 · W2: is told 2`: a total has all up to the own write, and
/// may have more. It is no number that nobody else gets.
#[test]
fn two_writers_may_be_told_the_same_total() {
    breaks(&Row { writers: &[TOLD, TOLD], reads: &[], ..small() }, "two writers are told the same");
}
