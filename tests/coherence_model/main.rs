//! What copies of one process promise that are kept in step with a shared tier, and what they would not if they lacked any of
//! the parts: in every order of events of small scopes. Writers elsewhere drop a key; messages are lost, doubled and overtake
//! each other; the connection breaks, and nobody notices for a while; the server loses its count; time passes anywhere.
//!
//! Marks, trust and the following of messages are those that production runs: `larder::coherence`. Rows that fail by design are
//! the reasons for the rules; their traces are printed with `--nocapture`. The names are those of the design's models.

mod reader;
mod server;
mod world;

use std::thread;
use std::time::Instant;

use larder::testing::{Exploration, explore};
use world::{Flaw, Row, Way};

/// More states than any row has.
const LIMIT: usize = 2_000_000;

/// Asserts that no copy is served that is too far behind, in at least `states` states, and that each of `marks` happens.
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

/// Asserts that a copy is served that is too far behind.
fn breaks(row: &Row) {
    println!("{}", explored(row).violation().expect("the promise is broken"));
}

fn explored(row: &Row) -> Exploration {
    let begun = Instant::now();
    let exploration = explore(row, LIMIT).expect("the scope is small");
    let test = thread::current().name().unwrap_or_default().to_owned();
    println!("{test}: {} states in {:.1?}", exploration.states(), begun.elapsed());
    exploration
}

const BUS: Row = Row {
    way: Way::Bus,
    flaw: None,
    ticks: 4,
    writes: 2,
    reads: 1,
    losses: 0,
    doubles: 0,
    overtakings: 0,
    breaks: 0,
    count_lost: 0,
};

const TRACKING: Row = Row { way: Way::Tracking, ..BUS };

const LOSSY: Row = Row { losses: 1, breaks: 1, ..BUS };

#[test]
fn b1_a_mark_that_is_taken_with_the_answer_leaves_an_old_copy() {
    breaks(&Row { flaw: Some(Flaw::LateMark), ..BUS });
    breaks(&Row { flaw: Some(Flaw::LateMark), ..TRACKING });
}

#[test]
fn b2_without_numbers_a_lost_message_goes_unnoticed() {
    breaks(&Row { flaw: Some(Flaw::NoNumbers), losses: 1, ..BUS });
}

#[test]
fn b3_without_a_flush_what_was_missed_stays() {
    breaks(&Row { flaw: Some(Flaw::NoFlush), breaks: 1, ..BUS });
    breaks(&Row { flaw: Some(Flaw::NoFlush), breaks: 1, ..TRACKING });
}

#[test]
fn b4_a_flush_before_the_subscription_is_in_force_leaves_a_hole() {
    breaks(&Row { flaw: Some(Flaw::EarlyFlush), breaks: 1, ..BUS });
}

#[test]
fn b5_with_a_flush_after_the_subscription_nothing_is_served_that_is_too_old() {
    holds(&Row { breaks: 1, reads: 2, ..BUS }, 50_000, &["the connection breaks", "flush", "drop"]);
}

#[test]
fn b6_neither_is_it_where_messages_are_lost() {
    holds(&LOSSY, 20_000, &["a message is lost", "flush for a gap"]);
}

#[test]
fn b6b_nor_where_they_come_twice_or_overtake_each_other() {
    holds(
        &Row { doubles: 1, overtakings: 1, losses: 1, ..BUS },
        20_000,
        &["a message comes twice", "a message is overtaken", "flush for a gap"],
    );
}

#[test]
fn a_server_that_loses_its_count_costs_a_flush() {
    holds(&Row { count_lost: 1, losses: 1, ..BUS }, 10_000, &["the count is lost", "flush for a gap"]);
}

#[test]
fn without_the_barrier_a_dead_line_goes_unnoticed() {
    breaks(&Row { flaw: Some(Flaw::NoBarrier), breaks: 1, ..BUS });
    breaks(&Row { flaw: Some(Flaw::NoBarrier), breaks: 1, ..TRACKING });
}

#[test]
fn trust_that_counts_from_the_answer_lasts_too_long() {
    breaks(&Row { flaw: Some(Flaw::TrustFromAnswer), breaks: 1, ..BUS });
}

#[test]
fn what_the_server_remembers_of_reads_will_do_as_well() {
    holds(
        &Row { breaks: 1, reads: 2, ..TRACKING },
        50_000,
        &["the connection breaks", "flush", "a push", "drop"],
    );
}

#[test]
fn a_read_that_the_server_does_not_remember_must_not_be_marked_as_one_that_it_does() {
    breaks(&Row { flaw: Some(Flaw::Untracked), ..TRACKING });
}
