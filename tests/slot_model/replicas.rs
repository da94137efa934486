//! Loads from a replica that is behind the store.

use crate::guard::Guard;
use crate::key::HOLD_OFF;
use crate::row::{ALL, Act, DROPPED, Fills, HELD, LEASED, PUBLISHED, Promise, Reads, Row, Script};
use crate::{breaks, holds, needs};

fn replicated(writers: &'static [Script]) -> Row {
    Row { writers, reads: Reads::Replica, promises: LEASED, ..Row::default() }
}

fn held_off(writers: &'static [Script]) -> Row {
    Row { hold_off: HOLD_OFF, ..replicated(writers) }
}

#[test]
fn a_lease_alone_lets_in_what_the_replica_still_has() {
    breaks(&replicated(&[DROPPED, DROPPED]), Promise::Repaired);
}

/// The slot has no least version; here one is kept beside it.
#[test]
fn a_least_version_keeps_old_answers_out_until_it_is_evicted() {
    const MARKED: Script = &[Act::Commit, Act::DropBelow];
    let row = Row { fills: Fills::LeasedAboveTheLeast, ..replicated(&[MARKED, MARKED, MARKED]) };
    holds(&row, 10_000, &["is refused", "is refused for its age", "the replica sees a write"]);
    breaks(&Row { evictions: 1, ..row }, Promise::Repaired);
}

#[test]
fn nobody_fills_until_the_replica_has_caught_up() {
    let row = held_off(&[DROPPED, DROPPED, DROPPED]);
    holds(&row, 10_000, &["the hold-off ends", "waits for a writer", "is refused"]);
    needs(Guard::HoldsKeepReadersOut, &row, Promise::Repaired);
}

#[test]
fn a_hold_off_shorter_than_the_delay_is_no_use() {
    let row = Row { reads: Reads::SlowReplica, ..held_off(&[DROPPED, DROPPED]) };
    breaks(&row, Promise::Repaired);
}

#[test]
fn an_evicted_hold_off_is_no_use() {
    breaks(&Row { evictions: 1, ..held_off(&[DROPPED, DROPPED]) }, Promise::Repaired);
}

/// Holds, too, need the hold-off after them; and to survive their writers' deaths they must be longer than the delay.
#[test]
fn a_held_write_holds_off_after_it() {
    let row = Row { deaths: 1, promises: ALL, ..held_off(&[HELD, HELD, HELD]) };
    holds(&row, 10_000, &["the hold-off ends", "waits for a writer", "dead writer ends"]);
    needs(Guard::HoldsKeepReadersOut, &row, Promise::Current);
    breaks(&Row { deaths: 0, hold_off: 0, ..row }, Promise::Repaired);
    breaks(&Row { deaths: 0, reads: Reads::SlowReplica, ..row }, Promise::Repaired);
    breaks(&Row { reads: Reads::ReplicaBehindHolds, ..row }, Promise::Repaired);
}

/// A published copy would be renewed one day, and the load could read the replica before it has caught up: with a
/// hold-off nothing is published.
#[test]
fn nothing_is_published_where_replicas_may_be_behind() {
    let row = Row { deaths: 1, renewing: 1, promises: ALL, ..held_off(&[PUBLISHED, PUBLISHED, PUBLISHED]) };
    holds(&row, 5_000, &["the hold-off ends", "may not publish"]);
    needs(Guard::HoldsKeepReadersOut, &row, Promise::Current);
}
