//! Reads through slot, overlay and store, beside writers who hold the key or drop the copy, and an owner.

use crate::flushing::flushing;
use crate::row::{DROPPED, Lack, Misfortunes, PUBLISHED, RELEASED, Row};
use crate::{breaks, holds};

fn reading() -> Row {
    Row {
        writers: &[RELEASED, PUBLISHED],
        reads: &[1, 1],
        misfortunes: Misfortunes { claims: 1, deaths: 1, losses: 0, fail_overs: 0 },
        ..flushing()
    }
}

/// The same with less in it.
fn small() -> Row {
    let misfortunes = Misfortunes { claims: 1, ..Misfortunes::default() };
    Row { writers: &[DROPPED, DROPPED], reads: &[1], misfortunes, ..flushing() }
}

#[test]
fn no_read_is_older_than_what_was_acknowledged_before_it() {
    let marks = [
        "finds a write that waits",
        "asks the store",
        "takes the copy",
        "passes by a writer",
        "is refused",
        "publishes",
        "may not publish",
        "is dead, and its hold ends",
    ];
    holds(&reading(), 100_000, &marks);
}

/// Writers that only drop, one after another's batch, and an owner that is replaced.
#[test]
fn nor_beside_writers_that_only_drop() {
    let misfortunes = Misfortunes { claims: 2, deaths: 1, losses: 0, fail_overs: 0 };
    let marks = ["finds a write that waits", "asks the store", "is refused", "hears that it is superseded"];
    holds(&Row { misfortunes, ..small() }, 10_000, &marks);
}

/// `R: store→0 · O: commits 1, and the server forgets it · R: nothing waits`.
#[test]
fn the_store_must_not_be_asked_before_the_overlay() {
    breaks(&Row { lack: Some(Lack::OverlayFirst), ..small() }, "a reader gets what is older");
}

/// `O: takes 1, which waits no more · R: nothing waits · R: store→0`.
#[test]
fn the_overlay_must_stay_until_the_commit() {
    breaks(&Row { lack: Some(Lack::OverlayUntilTheCommit), ..small() }, "a reader gets what is older");
}

/// `W: appends 1 · O: takes 1 · W: appends 2 · O: commits 1, and what waits for the key is forgotten`.
#[test]
fn what_is_newer_than_the_commit_must_stay_in_the_overlay() {
    breaks(&Row { lack: Some(Lack::OverlayByNumber), ..small() }, "a reader gets what is older");
}

/// `R: nothing waits · W: appends 1, drops the copy · R: store→0, fills 0`.
#[test]
fn a_fill_needs_a_lease() {
    breaks(&Row { lack: Some(Lack::Lease), ..small() }, "a copy is older");
}
