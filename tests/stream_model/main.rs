//! A journal that many processes write to, with its overlay, the slot of the shared tier and the flusher: in every order of
//! events of small scopes.

mod database;
mod owner;
mod reader;
mod row;
mod server;
mod slot;
mod world;
mod writer;

use std::thread;
use std::time::Instant;

use larder::testing::{Exploration, explore};
use row::{APPENDED, Clock, DROPPED, Lack, Misfortunes, PUBLISHED, RELEASED, Row};

/// More states than any row has.
const LIMIT: usize = 2_000_000;

fn holds(row: &Row, states: usize, marks: &[&str]) {
    let exploration = explored(row);
    if let Some(violation) = exploration.violation() {
        panic!("{violation}");
    }
    for mark in marks {
        assert!(exploration.times(mark) > 0, "never: {mark}; but: {:#?}", exploration.steps());
    }
    assert!(exploration.states() >= states, "{} states, expected {states}", exploration.states());
}

fn breaks(row: &Row) {
    let exploration = explored(row);
    println!("{}", exploration.violation().expect("it is broken"));
}

fn explored(row: &Row) -> Exploration {
    let begun = Instant::now();
    let exploration = explore(row, LIMIT).expect("the scope is small");
    let test = thread::current().name().unwrap_or_default().to_owned();
    println!("{test}: {} states in {:.1?}", exploration.states(), begun.elapsed());
    exploration
}

fn flushing() -> Row {
    Row {
        writers: &[APPENDED, APPENDED, APPENDED],
        reads: &[],
        misfortunes: Misfortunes { claims: 3, deaths: 1, losses: 1, fail_overs: 0 },
        clock: Clock::Right,
        lack: None,
    }
}

fn reading() -> Row {
    Row {
        writers: &[RELEASED, PUBLISHED],
        reads: &[1, 1],
        misfortunes: Misfortunes { claims: 1, deaths: 1, losses: 0, fail_overs: 0 },
        ..flushing()
    }
}

fn failing_over() -> Row {
    Row {
        misfortunes: Misfortunes { claims: 2, deaths: 0, losses: 0, fail_overs: 1 },
        clock: Clock::Behind,
        ..flushing()
    }
}

#[test]
fn flushing_holds() {
    holds(&flushing(), 1_000, &[]);
}

#[test]
fn reading_holds() {
    holds(&reading(), 1_000, &[]);
}

#[test]
fn failing_over_holds() {
    holds(&failing_over(), 1_000, &[]);
}

#[test]
#[ignore]
fn failing_over_read_holds() {
    let row = Row { writers: &[DROPPED, DROPPED], reads: &[1], ..failing_over() };
    holds(&row, 1_000, &[]);
}

#[test]
fn failing_over_read_unmet() {
    let row = Row { writers: &[DROPPED, DROPPED], reads: &[1], ..failing_over() };
    breaks(&Row { lack: Some(Lack::ReadersWait), ..row });
}

#[test]
fn two_fail_overs() {
    let misfortunes = Misfortunes { claims: 1, deaths: 0, losses: 0, fail_overs: 2 };
    let row = Row { writers: &[APPENDED, APPENDED], misfortunes, ..failing_over() };
    holds(&row, 1_000, &[]);
}

#[test]
fn two_fail_overs_right() {
    let misfortunes = Misfortunes { claims: 1, deaths: 0, losses: 0, fail_overs: 2 };
    let row =
        Row { writers: &[APPENDED, APPENDED, APPENDED], misfortunes, clock: Clock::Right, ..failing_over() };
    holds(&row, 1_000, &[]);
}

#[test]
fn group() {
    breaks(&Row { lack: Some(Lack::Owner), ..flushing() });
}
#[test]
fn offset_alone() {
    breaks(&Row { lack: Some(Lack::EpochInTheStore), ..flushing() });
}
#[test]
fn no_epoch_in_collect() {
    breaks(&Row { lack: Some(Lack::EpochAtTheServer), ..flushing() });
}
#[test]
fn ahead() {
    breaks(&Row { lack: Some(Lack::OneBatchAtATime), ..failing_over() });
}
#[test]
fn no_claim_per_life() {
    breaks(&Row { lack: Some(Lack::ClaimPerLife), ..failing_over() });
}
#[test]
fn no_claim_per_life_right() {
    breaks(&Row { lack: Some(Lack::ClaimPerLife), clock: Clock::Right, ..failing_over() });
}
#[test]
fn counted() {
    breaks(&Row { lack: Some(Lack::HandOver), clock: Clock::None, ..failing_over() });
}
#[test]
fn counted_behind() {
    breaks(&Row { lack: Some(Lack::HandOver), clock: Clock::Behind, ..failing_over() });
}
#[test]
fn timed() {
    holds(&Row { lack: Some(Lack::HandOver), clock: Clock::Right, ..failing_over() }, 1000, &[]);
}
#[test]
fn counted_handed_over() {
    holds(&Row { clock: Clock::None, ..failing_over() }, 1000, &[]);
}
#[test]
fn store_first() {
    breaks(&Row { lack: Some(Lack::OverlayFirst), ..reading() });
}
#[test]
fn no_lease() {
    breaks(&Row { lack: Some(Lack::Lease), ..reading() });
}
#[test]
fn early() {
    breaks(&Row { lack: Some(Lack::OverlayUntilTheCommit), ..reading() });
}
#[test]
fn by_key() {
    breaks(&Row { lack: Some(Lack::OverlayByNumber), ..reading() });
}
