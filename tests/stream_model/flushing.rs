//! Nobody reads: what is appended is done once and in its order, whoever claims the shard, dies, pauses or hears nothing.

use crate::row::{APPENDED, Clock, Lack, Misfortunes, Row};
use crate::{breaks, holds};

pub(crate) fn flushing() -> Row {
    Row {
        writers: &[APPENDED, APPENDED, APPENDED],
        reads: &[],
        is_counted: false,
        misfortunes: Misfortunes { claims: 3, deaths: 1, losses: 1, fail_overs: 0 },
        clock: Clock::Right,
        lack: None,
    }
}

#[test]
fn all_is_done_once_and_in_its_order() {
    let marks = [
        "has its batch refused",
        "one who died is committed",
        "one who died is refused",
        "never hears of a batch that came to an end",
        "never hears of a batch that came to nothing",
        "hears that it is superseded",
        "dies after its commit",
    ];
    holds(&flushing(), 30_000, &marks);
}

/// `one takes 1 · the other takes 2, and is faster`; and what is acknowledged after its commit is done twice.
#[test]
fn without_an_owner_the_order_is_lost() {
    breaks(&Row { lack: Some(Lack::Owner), ..flushing() }, "1 was not lost");
}

/// `one has it · one dies after its commit, or takes too long · the other is given it too`.
#[test]
fn without_an_owner_what_is_acknowledged_afterwards_is_done_twice() {
    breaks(&Row { lack: Some(Lack::Owner), writers: &[APPENDED], ..flushing() }, "has done [1, 1]");
}

/// The batch of one who was superseded is committed, and the row goes on from there.
#[test]
fn an_offset_that_anybody_moves_is_no_guard() {
    breaks(&Row { lack: Some(Lack::EpochInTheStore), ..flushing() }, "the database has done [1, 1]");
}

/// Somebody who was an owner once cannot tell its own lateness from a store that has gone back, and stops what must go on.
#[test]
fn a_server_that_knows_no_epoch_accuses_the_store() {
    breaks(&Row { lack: Some(Lack::EpochAtTheServer), ..flushing() }, "has lost something");
}
