//! Holds with leases: the writer claims the key before its write. While it writes there is no copy, so whoever reads
//! gets what the store has, even if the writer dies.

use crate::guard::Guard;
use crate::row::{ALL, Act, DROPPED, HELD, LEASED, Promise, Row, Script};
use crate::{breaks, holds, needs};

fn held() -> Row {
    Row { writers: &[HELD, HELD, HELD], rollbacks: true, promises: ALL, ..Row::default() }
}

#[test]
fn a_copy_is_never_old_though_writers_die() {
    let row = Row { deaths: 2, ..held() };
    let marks =
        ["holds the key with another", "waits for a writer", "is refused", "dead writer ends", "rolls back"];
    holds(&row, 100_000, &marks);
    needs(Guard::HoldsKeepReadersOut, &row, Promise::Current);
}

#[test]
fn a_copy_is_never_old_with_more_readers() {
    let row = Row { readers: 3, deaths: 1, rollbacks: false, ..held() };
    holds(
        &row,
        100_000,
        &["holds the key with another", "waits for a writer", "is refused", "dead writer ends"],
    );
    needs(Guard::HoldsKeepReadersOut, &row, Promise::Current);
}

#[test]
fn with_evicted_holds_no_fill_is_older_than_an_acknowledged_write() {
    let row = Row { evictions: 2, promises: LEASED, ..held() };
    holds(&row, 100_000, &["finds its hold lost", "evicts", "is refused"]);
    needs(Guard::LostHoldsDrop, &row, Promise::ReadYourWrites);
    breaks(&row, Promise::Current);
}

/// The one hole: nobody is left who knows of the write, neither the server nor the writer.
#[test]
fn an_evicted_hold_of_a_dead_writer_leaves_an_old_copy() {
    breaks(&Row { evictions: 1, deaths: 1, ..held() }, Promise::Repaired);
}

/// Holds that are only counted have the hole too.
#[test]
fn an_evicted_count_of_holds_and_a_dead_writer_leave_an_old_copy() {
    let row = Row { evictions: 1, deaths: 1, ..held() };
    needs(Guard::HoldsHaveOwners, &row, Promise::Repaired);
}

/// And another: a writer whose release was sent twice ends the hold of somebody who is still at work.
#[test]
fn a_release_sent_twice_ends_nobody_elses_hold() {
    const TWICE: Script = &[Act::Hold, Act::Commit, Act::Release, Act::Release];
    let row = Row { writers: &[TWICE, TWICE, HELD], deaths: 1, rollbacks: false, ..held() };
    holds(&row, 10_000, &["finds its hold lost", "dead writer ends"]);
    needs(Guard::HoldsHaveOwners, &row, Promise::Current);
}

#[test]
fn with_holds_that_end_too_early_no_fill_is_older_than_an_acknowledged_write() {
    let row = Row { early_ends: 2, promises: LEASED, ..held() };
    holds(&row, 100_000, &["a hold ends too early", "finds its hold lost"]);
    needs(Guard::LostHoldsDrop, &row, Promise::ReadYourWrites);
    breaks(&row, Promise::Current);
}

#[test]
fn a_writer_that_dies_after_its_hold_leaves_an_old_copy() {
    breaks(&Row { early_ends: 1, deaths: 1, ..held() }, Promise::Repaired);
}

/// Leases that run out, the server that forgets, and loads that come late change nothing.
#[test]
fn a_copy_is_never_old_though_loads_are_slow() {
    let row = Row { writers: &[HELD, HELD], slow_loads: true, deaths: 1, ..held() };
    holds(&row, 10_000, &["takes the lease over", "forgets", "waits for a writer", "dead writer ends"]);
    needs(Guard::HoldsKeepReadersOut, &row, Promise::Current);
}

/// Somebody who invalidates does not let readers in on a writer at work.
#[test]
fn an_invalidation_leaves_the_hold_in_place() {
    let row = Row { writers: &[HELD, HELD, &[Act::Drop, Act::Drop]], deaths: 1, ..held() };
    holds(&row, 10_000, &["drops the copy", "waits for a writer"]);
    needs(Guard::InvalidatedHoldsStay, &row, Promise::Current);
}

/// Writers that hold and writers that only drop: all that is open is the latter's window.
#[test]
fn beside_writers_without_holds_no_fill_is_older_than_an_acknowledged_write() {
    let row = Row { writers: &[HELD, DROPPED, DROPPED], evictions: 1, promises: LEASED, ..held() };
    holds(&row, 10_000, &["finds its hold lost", "drops the copy"]);
    needs(Guard::LostHoldsDrop, &row, Promise::ReadYourWrites);
}

#[test]
fn a_prolonged_hold_is_a_hold() {
    const PROLONGED: Script = &[Act::Hold, Act::Hold, Act::Commit, Act::Hold, Act::Release];
    let row = Row { writers: &[PROLONGED, PROLONGED, HELD], deaths: 1, ..held() };
    holds(&row, 50_000, &["prolongs its hold", "dead writer ends"]);
    needs(Guard::HoldsKeepReadersOut, &row, Promise::Current);
    holds(&Row { deaths: 0, evictions: 1, promises: LEASED, ..row }, 50_000, &["evicts"]);
}
