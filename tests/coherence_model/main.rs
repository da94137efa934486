//! What copies of one process promise that are kept in step with a shared tier, and what they would not if they lacked any of
//! the parts: in every order of events of small scopes. Writers elsewhere drop a key, and so does this process; messages are
//! lost, doubled, forged and overtaken; the connection breaks, and nobody notices for a while; the server loses its count;
//! time passes anywhere, which is how a process looks that was stopped.
//!
//! Marks, trust and the following of messages are those that production runs: `larder::coherence`. Rows that fail by design are
//! the reasons for the rules, or their limits; their traces are printed with `--nocapture`.

mod listener;
mod reader;
mod server;
mod world;

use std::thread;
use std::time::Instant;

use larder::testing::{Exploration, explore};
use world::{Flaw, Left, Row, Way};

/// More states than any row has.
const LIMIT: usize = 1_000_000;

/// Asserts that no copy is served that is too far behind, in at least `states` states, and that each of `marks` happens: a
/// row in which the dangerous step is missing proves nothing.
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

/// Asserts that one is.
fn breaks(row: &Row) {
    println!("{}", explored(row).violation().expect("the promise is broken"));
}

/// The same where nothing else is missing than `flaw`.
fn needs(flaw: Flaw, row: &Row) {
    println!("with {flaw:?}:");
    breaks(&Row { flaw: Some(flaw), ..row.clone() });
}

fn explored(row: &Row) -> Exploration {
    let begun = Instant::now();
    let exploration = explore(row, LIMIT).expect("the scope is small");
    let test = thread::current().name().unwrap_or_default().to_owned();
    println!("{test}: {} states in {:.1?}", exploration.states(), begun.elapsed());
    exploration
}

const NOTHING: Left = Left {
    writes: 2,
    own_writes: 0,
    neighbours: 0,
    losses: 0,
    doubles: 0,
    overtakings: 0,
    forgeries: 0,
    breaks: 0,
    lost_counts: 0,
};

const BUS: Row = Row { way: Way::Bus, flaw: None, reads: 1, left: NOTHING };
const TRACKING: Row = Row { way: Way::Tracking, ..BUS };
const BROKEN: Left = Left { breaks: 2, ..NOTHING };
const LOSSY: Left = Left { losses: 1, breaks: 1, ..NOTHING };

#[test]
fn b1_a_mark_that_is_taken_with_the_answer_leaves_an_old_copy() {
    needs(Flaw::LateMark, &BUS);
    needs(Flaw::LateMark, &TRACKING);
}

#[test]
fn b2_without_numbers_a_lost_message_goes_unnoticed() {
    needs(Flaw::NoNumbers, &Row { left: LOSSY, ..BUS });
}

#[test]
fn b3_without_a_flush_what_was_missed_stays() {
    needs(Flaw::NoFlush, &Row { left: BROKEN, ..BUS });
    needs(Flaw::NoFlush, &Row { left: BROKEN, ..TRACKING });
}

/// `R: flushes · R: marks, S: answers v1 · W: drops, tells nobody · subscription confirmed · R: keeps v1`.
#[test]
fn b4_a_flush_before_the_subscription_is_in_force_leaves_a_hole() {
    needs(Flaw::EarlyFlush, &Row { left: BROKEN, ..BUS });
}

#[test]
fn b5_with_a_flush_after_the_subscription_nothing_is_served_that_is_too_old() {
    let marks = ["the connection breaks", "a write that nobody is told of", "the reader keeps", ": drop"];
    holds(&Row { left: BROKEN, reads: 2, ..BUS }, 10_000, &marks);
}

#[test]
fn b6_neither_is_it_where_messages_are_lost() {
    let marks = ["its message is lost", "an answer comes: flush for a gap"];
    holds(&Row { left: LOSSY, reads: 2, ..BUS }, 10_000, &marks);
}

/// Whoever has heard nothing yet does not know whether the first number that it hears is the first.
#[test]
fn b6a_nor_where_only_a_message_about_another_key_can_show_it() {
    let left = Left { neighbours: 2, losses: 1, ..NOTHING };
    let marks = ["its message is lost", "a message comes: flush", "a message comes: flush for a gap"];
    holds(&Row { left, ..BUS }, 10_000, &marks);
}

#[test]
fn b6b_nor_where_they_come_twice_or_overtake_each_other() {
    let left = Left { writes: 3, doubles: 1, overtakings: 1, ..NOTHING };
    let marks = ["a message comes twice", "a message is overtaken", "a message comes: flush for a gap"];
    holds(&Row { left, ..BUS }, 10_000, &marks);
}

/// Nor does it need a message that was lost: an answer that is overtaken by what it counts looks the same.
#[test]
fn a_forged_message_costs_a_flush() {
    let left = Left { forgeries: 1, ..NOTHING };
    holds(&Row { left, ..BUS }, 10_000, &["somebody forges a message", "an answer comes: flush for a gap"]);
}

#[test]
fn a_server_that_loses_its_count_costs_a_flush() {
    let left = Left { writes: 3, lost_counts: 2, ..NOTHING };
    holds(&Row { left, ..BUS }, 10_000, &["the count is lost", "an answer comes: flush for a gap"]);
}

/// `heard up to 0 · W: drops, counts, and the message is lost · the count is lost · R: asks · S: 0`, and nobody would notice:
/// who finds that the server does not count has it begin.
#[test]
fn a_message_that_is_lost_and_its_count_as_well_cost_a_flush() {
    let left = Left { lost_counts: 1, losses: 1, ..NOTHING };
    holds(&Row { left, ..BUS }, 10_000, &["the count is lost", "its message is lost"]);
}

#[test]
fn without_the_barrier_a_dead_line_goes_unnoticed() {
    needs(Flaw::NoBarrier, &BUS);
    needs(Flaw::NoBarrier, &TRACKING);
}

#[test]
fn trust_that_counts_from_the_answer_lasts_too_long() {
    needs(Flaw::TrustFromAnswer, &BUS);
}

#[test]
fn what_the_server_remembers_of_reads_will_do_as_well() {
    let marks = ["the server answers, and remembers", "a push comes: drop", "a copy that no message reaches"];
    holds(&Row { left: BROKEN, ..TRACKING }, 10_000, &marks);
    holds(&Row { left: Left { writes: 1, ..NOTHING }, reads: 2, ..TRACKING }, 10_000, &marks);
}

#[test]
fn a_read_that_the_server_does_not_remember_must_not_be_marked_as_one_that_it_does() {
    needs(Flaw::Untracked, &TRACKING);
}

#[test]
fn the_life_of_what_no_message_reaches_counts_from_the_question() {
    needs(Flaw::LifeFromAnswer, &TRACKING);
}

#[test]
fn changes_may_be_told_of_in_another_way_behind_another_connection() {
    let row = Row { way: Way::Either, left: BROKEN, ..BUS };
    holds(
        &row,
        10_000,
        &["the reader connects to a server that remembers", "the server takes the subscription"],
    );
    needs(Flaw::NoFlush, &row);
}

/// `flush · R: marks, and is told of all changes · it is said that only remembered reads are told of · R: keeps v1`.
#[test]
fn how_changes_are_told_of_is_said_before_the_flush() {
    needs(Flaw::ModeAfterFlush, &Row { way: Way::Either, left: BROKEN, ..BUS });
}

/// `R: is told of all changes · only of remembered reads from now on · flush · R: marks, asks past the connection`.
#[test]
fn a_mark_is_taken_before_it_is_looked_how_changes_are_told_of() {
    needs(Flaw::ModeBeforeMark, &Row { way: Way::Either, left: BROKEN, ..BUS });
}

#[test]
fn what_was_written_here_is_not_read_any_more() {
    let left = Left { writes: 1, own_writes: 1, breaks: 1, ..NOTHING };
    for way in [Way::Bus, Way::Tracking] {
        let row = Row { way, left, ..BUS };
        holds(&row, 10_000, &["the own write is done"]);
        needs(Flaw::NoOwnDrop, &row);
    }
}
