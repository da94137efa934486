//! The server is replaced by an earlier copy of itself, whose clock is right or behind.

use crate::flushing::flushing;
use crate::row::{APPENDED, Clock, DROPPED, Lack, Misfortunes, Row};
use crate::{breaks, holds};

fn failing_over() -> Row {
    let misfortunes = Misfortunes { claims: 2, deaths: 0, losses: 0, fail_overs: 1 };
    Row { misfortunes, clock: Clock::Behind, ..flushing() }
}

/// The same with less in it.
fn small() -> Row {
    Row { writers: &[APPENDED, APPENDED], ..failing_over() }
}

/// What is not lost with the server is done once and in its order, whatever numbers the next one has given.
#[test]
fn what_the_next_server_has_is_done_once_and_in_its_order() {
    let marks = [
        "collects what had numbers too low",
        "on a server that has lost its end",
        "claims the shard anew",
        "hears that it is superseded",
        "has its batch refused",
    ];
    holds(&failing_over(), 100_000, &marks);
}

#[test]
fn an_owner_may_die_meanwhile() {
    let misfortunes = Misfortunes { claims: 2, deaths: 1, losses: 0, fail_overs: 1 };
    let marks = ["one who died is committed", "one who died is refused", "claims the shard anew"];
    holds(&Row { misfortunes, ..small() }, 30_000, &marks);
}

/// What no owner is known to have met in between is put aside rather than done twice or passed over.
#[test]
fn what_two_replaced_servers_leave_open_is_put_aside() {
    let misfortunes = Misfortunes { claims: 1, deaths: 0, losses: 0, fail_overs: 2 };
    let marks = ["claims the shard anew", "collects what is doubtful"];
    holds(&Row { misfortunes, ..failing_over() }, 30_000, &marks);
    holds(&Row { misfortunes, clock: Clock::Right, ..small() }, 5_000, &marks);
}

#[test]
fn no_read_is_older_than_what_was_acknowledged_and_not_lost() {
    let misfortunes = Misfortunes { claims: 1, deaths: 0, losses: 0, fail_overs: 1 };
    let row = Row { writers: &[DROPPED, DROPPED], reads: &[2], misfortunes, ..failing_over() };
    let marks =
        ["waits for an owner to meet the server", "finds a write that waits", "takes the copy", "is refused"];
    holds(&row, 30_000, &marks);
    breaks(&Row { lack: Some(Lack::ReadersWait), ..row }, "a reader gets what is older");
}

/// The first entry of the next server has the number of one that is done.
#[test]
fn counted_numbers_pass_over_what_the_next_server_is_given() {
    breaks(&Row { lack: Some(Lack::HandOver), clock: Clock::None, ..small() }, "will never be done");
}

/// And so has that of a clock which is behind by more than the fail-over took.
#[test]
fn numbers_of_a_slow_clock_pass_over_what_the_next_server_is_given() {
    breaks(&Row { lack: Some(Lack::HandOver), ..small() }, "will never be done");
}

#[test]
fn numbers_of_a_clock_that_is_right_pass_over_nothing() {
    let row = Row { lack: Some(Lack::HandOver), clock: Clock::Right, ..small() };
    holds(&row, 5_000, &["the copy takes over", "hears that it is superseded"]);
}

/// `one takes 1 · the copy takes over · W: appends · one, with 1 under way, asks for more: the server is met, at 0 · 1 is
/// committed · one collects from 1`: the server takes what it has itself for done.
#[test]
fn an_owner_with_a_batch_under_way_must_not_collect() {
    breaks(&Row { lack: Some(Lack::OneBatchAtATime), ..small() }, "will never be done");
}

/// Whoever was an owner once, and does not know that it is not, must not be the first to meet a server: it would be met at
/// an offset that is not the store's.
#[test]
fn an_owner_must_make_sure_that_it_is_one_before_it_meets_another_server() {
    breaks(&Row { lack: Some(Lack::ClaimPerLife), ..small() }, "will never be done");
    let right = Row { lack: Some(Lack::ClaimPerLife), clock: Clock::Right, ..failing_over() };
    breaks(&right, "in the end the database will have done [1, 2, 3, 3]");
}

/// Nor is it enough to look at the server after the claim: `one claims · the other claims, commits · the copy takes over · one
/// looks at it, and takes its claim for one of this life`.
#[test]
fn the_life_of_the_server_must_be_known_before_the_claim() {
    breaks(&Row { lack: Some(Lack::LifeBeforeTheClaim), ..small() }, "will never be done");
}

/// What it appends might be what the server before had, for all that the next one knows.
#[test]
fn a_writer_must_append_in_the_life_of_the_server() {
    breaks(&Row { lack: Some(Lack::LifeOfTheServer), ..small() }, "is put aside and is not done");
}
