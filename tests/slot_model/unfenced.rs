//! Caches without a fence, or with half of one: why the slot is what it is. Only what is dropped goes through it.

use crate::row::{Act, DROPPED, Fills, LEASED, Promise, Row, Script};
use crate::{breaks, holds};

const SET: Script = &[Act::Commit, Act::Set];
const SET_IF_NEWER: Script = &[Act::Commit, Act::SetIfNewer];
const MARKED: Script = &[Act::Commit, Act::DropBelow];

/// A reader that was slow puts back what the write has dropped.
#[test]
fn a_blind_fill_undoes_a_drop_after_the_write() {
    breaks(&blind(&[DROPPED]), Promise::Repaired);
}

/// Between the drop and the write everybody still reads the old value.
#[test]
fn a_blind_fill_undoes_a_drop_before_the_write() {
    breaks(&blind(&[&[Act::Drop, Act::Commit]]), Promise::Repaired);
}

/// The second drop narrows the window, and a reader may be slower than that.
#[test]
fn a_blind_fill_undoes_a_double_drop() {
    breaks(&blind(&[&[Act::Drop, Act::Commit, Act::Drop]]), Promise::Repaired);
}

/// The write that came first may be the one that is set last.
#[test]
fn blind_writers_leave_the_older_value() {
    breaks(&Row { readers: 0, ..blind(&[SET, SET]) }, Promise::Repaired);
}

#[test]
fn writers_that_compare_versions_keep_the_newer_value_until_it_is_evicted() {
    let row = compared(&[SET_IF_NEWER, SET_IF_NEWER, SET_IF_NEWER]);
    holds(&row, 1_000, &["writer 1 is refused for its age", "reader 1 is refused for its age"]);
    breaks(&Row { evictions: 1, ..row }, Promise::Repaired);
}

/// A drop that leaves a mark with its version keeps older fills out, until the mark is evicted: nothing there must
/// not mean that anything may come.
#[test]
fn a_mark_keeps_old_fills_out_until_it_is_evicted() {
    let row = compared(&[MARKED, MARKED, MARKED]);
    holds(&row, 1_000, &["is refused for its age", "leaves a mark"]);
    breaks(&Row { evictions: 1, ..row }, Promise::Repaired);
}

fn blind(writers: &'static [Script]) -> Row {
    Row { fills: Fills::Blind, writers, ..Row::default() }
}

fn compared(writers: &'static [Script]) -> Row {
    Row { fills: Fills::IfNewer, writers, promises: LEASED, ..Row::default() }
}
