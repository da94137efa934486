//! What the slot of a shared tier promises, and what it cannot, in every order of events of small scopes: readers,
//! writers, evictions, deaths and the passing of time on one key.
//!
//! Every command goes to `larder::tier::slot::step`, the code that production runs. A row that holds also fails when
//! a guard is taken from the slot, so none of them holds by accident. Rows that fail by design are the reasons for
//! the rules, or their limits; their traces are printed with `--nocapture`.

mod guard;
mod holds;
mod key;
mod leases;
mod publishing;
mod reader;
mod replicas;
mod row;
mod unfenced;
mod world;
mod writer;

use std::thread;
use std::time::Instant;

use guard::Guard;
use larder::testing::{Exploration, explore};
use row::{Promise, Row};

/// More states than any row has.
const LIMIT: usize = 2_000_000;

/// Asserts that every promise of `row` is kept, in at least `states` states, and that each of `marks` happens: a row in
/// which the dangerous step is missing proves nothing.
fn holds(row: &Row, states: usize, marks: &[&str]) {
    let exploration = explored(row);
    if let Some(violation) = exploration.violation() {
        panic!("{violation}");
    }
    assert!(exploration.states() >= states, "{} states, expected {states}", exploration.states());
    for mark in marks {
        assert!(exploration.times(mark) > 0, "never: {mark}; but: {:#?}", exploration.steps());
    }
}

/// Asserts that `promise` is broken.
fn breaks(row: &Row, promise: Promise) {
    let exploration = explored(&Row { promises: promise.alone(), ..row.clone() });
    println!("{}", exploration.violation().expect("the promise is broken"));
}

/// Asserts that `promise` is broken once the slot lacks `guard`.
fn needs(guard: Guard, row: &Row, promise: Promise) {
    println!("without {guard:?}:");
    breaks(&Row { off: Some(guard), ..row.clone() }, promise);
}

fn explored(row: &Row) -> Exploration {
    let begun = Instant::now();
    let exploration = explore(row, LIMIT).expect("the scope is small");
    let test = thread::current().name().unwrap_or_default().to_owned();
    println!("{test}: {} states in {:.1?}", exploration.states(), begun.elapsed());
    exploration
}
