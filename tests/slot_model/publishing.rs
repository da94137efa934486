//! Publishing: a writer that held the key alone, from before its write until now, leaves behind what it wrote.

use crate::guard::Guard;
use crate::row::{ALL, Act, DROPPED, LEASED, PUBLISHED, Promise, Row, Script};
use crate::{breaks, holds, needs};

fn publishing() -> Row {
    Row { writers: &[PUBLISHED, PUBLISHED, PUBLISHED], promises: ALL, ..Row::default() }
}

#[test]
fn a_published_copy_is_never_old_though_a_writer_dies() {
    let row = Row { deaths: 1, rollbacks: true, ..publishing() };
    let marks =
        ["publishes", "may not publish", "finds a copy", "is refused", "dead writer ends", "rolls back"];
    holds(&row, 10_000, &marks);
    needs(Guard::HoldsKeepReadersOut, &row, Promise::Current);
    needs(Guard::ContendedWritersDoNotPublish, &row, Promise::Current);
}

/// Two writers are at work; the one that commits last comes first and may not publish, and the other, alone by now,
/// publishes what is older.
#[test]
fn who_was_not_alone_does_not_publish() {
    holds(&publishing(), 4_000, &["may not publish"]);
    needs(Guard::ContendedWritersDoNotPublish, &publishing(), Promise::Repaired);
}

/// A writer whose hold was evicted does not know whom it has not kept from publishing, so it spoils what it finds.
#[test]
fn with_evicted_holds_nothing_published_is_older_than_an_acknowledged_write() {
    let row = Row { evictions: 2, promises: LEASED, ..publishing() };
    holds(&row, 100_000, &["finds its hold lost", "publishes", "may not publish"]);
    needs(Guard::LostHoldsDrop, &row, Promise::ReadYourWrites);
    needs(Guard::LostHoldsSpoil, &row, Promise::Repaired);
    needs(Guard::ContendedWritersDoNotPublish, &row, Promise::ReadYourWrites);
    breaks(&row, Promise::Current);
}

#[test]
fn with_holds_that_end_too_early_nothing_published_is_older_than_an_acknowledged_write() {
    let row = Row { early_ends: 2, promises: LEASED, ..publishing() };
    holds(&row, 50_000, &["a hold ends too early", "finds its hold lost", "publishes"]);
    needs(Guard::LostHoldsDrop, &row, Promise::ReadYourWrites);
    needs(Guard::LostHoldsSpoil, &row, Promise::Repaired);
}

/// The answer to the first may have been lost.
#[test]
fn a_publication_sent_twice_does_no_harm() {
    const TWICE: Script = &[Act::Hold, Act::Commit, Act::Publish, Act::Publish];
    let row = Row { writers: &[TWICE, TWICE, TWICE], deaths: 1, ..publishing() };
    holds(&row, 10_000, &["publishes", "finds its hold lost"]);
    needs(Guard::ContendedWritersDoNotPublish, &row, Promise::Current);
}

/// A reader that loads though there is a copy does not replace what was published by what is older.
#[test]
fn a_renewed_copy_is_not_older_than_a_published_one() {
    let row = Row { renewing: 2, deaths: 1, ..publishing() };
    holds(&row, 10_000, &["takes the lease and the copy", "publishes", "is refused"]);
    needs(Guard::AbsenceRefuses, &row, Promise::Current);
}

#[test]
fn an_invalidation_spoils_what_would_be_published() {
    let row = Row { writers: &[PUBLISHED, PUBLISHED, &[Act::Drop, Act::Drop]], deaths: 1, ..publishing() };
    holds(&row, 10_000, &["publishes", "may not publish", "drops the copy"]);
    needs(Guard::InvalidatedHoldsStay, &row, Promise::Current);
}

#[test]
fn beside_writers_without_holds_nothing_published_is_older_than_an_acknowledged_write() {
    let writers: &[Script] = &[PUBLISHED, DROPPED, PUBLISHED];
    let row = Row { writers, evictions: 1, promises: LEASED, ..publishing() };
    holds(&row, 10_000, &["publishes", "may not publish", "drops the copy"]);
    needs(Guard::LostHoldsSpoil, &row, Promise::Repaired);
}

const PROLONGED_BEFORE: Script = &[Act::Hold, Act::Hold, Act::Commit, Act::Publish];
const PROLONGED_AFTER: Script = &[Act::Hold, Act::Commit, Act::Hold, Act::Publish];

#[test]
fn a_prolonged_hold_is_as_contended_as_it_was() {
    let row = Row { writers: &[PROLONGED_BEFORE, PROLONGED_AFTER, PUBLISHED], deaths: 1, ..publishing() };
    holds(&row, 10_000, &["prolongs its hold", "publishes", "may not publish"]);
    needs(Guard::ProlongedHoldsStayContended, &row, Promise::Current);
}

#[test]
fn a_hold_lost_and_prolonged_before_the_write_is_a_hold() {
    let writers: &[Script] = &[PROLONGED_BEFORE, PROLONGED_BEFORE, PUBLISHED];
    let row = Row { writers, promises: LEASED, ..publishing() };
    holds(&Row { evictions: 1, ..row }, 10_000, &["prolongs its hold", "finds its hold lost"]);
    holds(&Row { early_ends: 1, ..row }, 10_000, &["prolongs its hold", "a hold ends too early"]);
    needs(Guard::LostHoldsSpoil, &Row { evictions: 1, ..row }, Promise::Repaired);
}

/// To the slot, a hold that is prolonged and not there is a new one, which nobody has touched. So a writer that prolongs
/// its hold after its write must not publish unless it knows that the server has not lost the hold meanwhile.
#[test]
fn a_hold_lost_and_prolonged_after_the_write_publishes_what_is_older() {
    let row = Row { writers: &[PROLONGED_AFTER, PUBLISHED], ..publishing() };
    breaks(&Row { evictions: 1, ..row }, Promise::Repaired);
    breaks(&Row { evictions: 1, ..row }, Promise::ReadYourWrites);
    breaks(&Row { early_ends: 1, ..row }, Promise::Repaired);
}
