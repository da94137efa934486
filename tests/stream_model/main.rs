//! What a journal that many processes write to promises, and what it would not if it lacked any of its parts: in every
//! order of events of small scopes. Processes append, read, and own the journal or take themselves for its owner; the server
//! is replaced by an earlier copy of itself.
//!
//! What is explored is what production runs: `larder::stream` is the server, `larder::store::write_behind::flusher` the owner,
//! `larder::tier::slot` the copies; the database is a list of effects and a row. Rows that fail by design are the reasons for
//! the rules; their traces are printed with `--nocapture`.

mod counting;
mod database;
mod failing_over;
mod flushing;
mod owner;
mod reader;
mod reading;
mod row;
mod server;
mod slot;
mod world;
mod writer;

use std::thread;
use std::time::Instant;

use larder::testing::{Exploration, Model, explore};

/// More states than any row has.
const LIMIT: usize = 1_000_000;

/// Asserts that what must be true is, in at least `states` states, and that each of `marks` happens: a row in which the
/// dangerous step is missing proves nothing.
fn holds<M: Model>(row: &M, states: usize, marks: &[&str]) {
    let exploration = explored(row);
    if let Some(violation) = exploration.violation() {
        panic!("{violation}");
    }
    assert!(exploration.states() >= states, "{} states, expected {states}", exploration.states());
    for mark in marks {
        assert!(exploration.times(mark) > 0, "never: {mark}; but: {:#?}", exploration.steps());
    }
}

/// Asserts that it is not, in these words.
fn breaks<M: Model>(row: &M, words: &str) {
    let exploration = explored(row);
    let violation = exploration.violation().expect("it is broken");
    println!("{violation}");
    assert!(violation.broken().contains(words), "{violation}");
}

fn explored<M: Model>(row: &M) -> Exploration {
    let begun = Instant::now();
    let exploration = explore(row, LIMIT).expect("the scope is small");
    let test = thread::current().name().unwrap_or_default().to_owned();
    println!("{test}: {} states in {:.1?}", exploration.states(), begun.elapsed());
    exploration
}
