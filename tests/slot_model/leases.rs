//! Leases alone: the writer drops the copy after its write. A copy may be old between the two, and not longer.

use crate::guard::Guard;
use crate::key::MORTAL;
use crate::row::{Act, DROPPED, LEASED, Promise, Row};
use crate::{breaks, holds, needs};

fn leased() -> Row {
    Row { writers: &[DROPPED, DROPPED, DROPPED], promises: LEASED, ..Row::default() }
}

#[test]
fn no_fill_is_older_than_an_acknowledged_write() {
    let row = Row { readers: 3, evictions: 2, ..leased() };
    holds(&row, 100_000, &["is refused", "waits for a load", "evicts"]);
    needs(Guard::TheLeaseIsMine, &row, Promise::ReadYourWrites);
    needs(Guard::AbsenceRefuses, &row, Promise::ReadYourWrites);
    needs(Guard::InvalidatedLeasesEnd, &row, Promise::ReadYourWrites);
}

/// Two loads of one client: the lease of the second lets the first fill what it read before the write.
#[test]
fn a_token_of_the_client_lets_an_old_fill_in() {
    breaks(&Row { shared_token: true, ..leased() }, Promise::ReadYourWrites);
}

/// The same with one load whose request is sent twice: each request needs a token of its own.
#[test]
fn a_request_sent_twice_lets_an_old_fill_in() {
    breaks(&Row { repeated_requests: true, ..leased() }, Promise::ReadYourWrites);
}

/// The lease is granted after the drop and before the write, so nothing ever destroys it.
#[test]
fn a_drop_before_the_write_is_no_use() {
    breaks(&Row { writers: &[&[Act::Drop, Act::Commit]], ..leased() }, Promise::ReadYourWrites);
}

/// Between the write and the drop: the price of asking nothing of the server before the write.
#[test]
fn a_copy_is_old_until_it_is_dropped() {
    breaks(&leased(), Promise::Current);
}

#[test]
fn a_writer_that_dies_before_the_drop_leaves_an_old_copy() {
    breaks(&Row { deaths: 1, ..leased() }, Promise::Repaired);
}

/// Of two loads, the one overtaken and the one that overtook, either may come first, and either may have asked the
/// store before the write.
#[test]
fn a_slow_load_that_is_overtaken_does_no_harm() {
    let row = Row { readers: 3, writers: &[DROPPED, DROPPED], slow_loads: true, ..leased() };
    let marks = ["takes the lease over", "is refused", "gets more time", "gets no more time", "forgets"];
    holds(&row, 50_000, &marks);
    needs(Guard::TheLeaseIsMine, &row, Promise::ReadYourWrites);
    needs(Guard::AbsenceRefuses, &row, Promise::ReadYourWrites);
}

/// A failed load leaves the old copy to those who take a stale one, and a write takes it from them.
#[test]
fn an_old_copy_kept_over_a_failed_load_is_dropped_by_a_write() {
    let row = Row { life: MORTAL, slow_loads: true, failing_loads: true, ..leased() };
    let marks = [
        "takes the lease and the copy",
        "fails and gives the lease back",
        "fails and has no lease",
        "the copy ages",
    ];
    holds(&row, 50_000, &marks);
    needs(Guard::InvalidatedCopiesGo, &row, Promise::ReadYourWrites);
    needs(Guard::TheLeaseIsMine, &row, Promise::ReadYourWrites);
}

/// A reader that loads though there is a copy needs the lease all the same.
#[test]
fn a_renewed_copy_is_not_older_than_an_acknowledged_write() {
    let row = Row { readers: 3, renewing: 2, writers: &[DROPPED, DROPPED], evictions: 1, ..leased() };
    holds(&row, 50_000, &["takes the lease and the copy", "is refused"]);
    needs(Guard::TheLeaseIsMine, &row, Promise::ReadYourWrites);
    needs(Guard::AbsenceRefuses, &row, Promise::ReadYourWrites);
    needs(Guard::InvalidatedLeasesEnd, &row, Promise::ReadYourWrites);
    needs(Guard::InvalidatedCopiesGo, &row, Promise::ReadYourWrites);
}
