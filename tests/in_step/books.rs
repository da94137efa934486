//! What all processes saw, held against what all of them did.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::time::Duration;

use crate::troubles::{SEED, Troubles};

/// What a replica has not heard of after so long it will, in microseconds: it is told at once.
const UNSENT: u64 = 1_000_000;

#[derive(Default)]
pub(crate) struct Books {
    /// Of each key and version, when a read of it began last.
    last_reads: HashMap<(u64, u64), u64>,
    /// Of each key, its versions, and when they were acknowledged with their copies dropped.
    writes: HashMap<u64, BTreeMap<u64, u64>>,
    pub(crate) reads: u64,
    pub(crate) hits: u64,
    pub(crate) doubts: u64,
    pub(crate) flushes: u64,
    pub(crate) missed: u64,
    pub(crate) woken: u64,
    pub(crate) revalidated: u64,
    loads: u64,
    pub(crate) troubles: Troubles,
}

/// A read that was behind by more than the bound, and by how much, in milliseconds.
#[derive(Debug)]
#[allow(dead_code, reason = "printed")]
pub(crate) struct Wrong {
    key: u64,
    version: u64,
    newer: u64,
    behind: u64,
    at: u64,
}

impl Books {
    pub(crate) fn enter(&mut self, report: &str) {
        for line in report.lines() {
            let mut words = line.split(' ');
            let what = words.next();
            let numbers: Vec<u64> = match what {
                Some("stats" | "read" | "write") => {
                    words.map(|word| word.parse().expect("a number")).collect()
                }
                _ => continue,
            };
            match (what, &numbers[..]) {
                (Some("read"), [key, version, at]) => {
                    let last = self.last_reads.entry((*key, *version)).or_default();
                    *last = *at.max(last);
                }
                (Some("write"), [key, version, at]) => {
                    self.writes.entry(*key).or_default().insert(*version, *at);
                }
                (_, numbers) => {
                    let all = [
                        &mut self.reads,
                        &mut self.hits,
                        &mut self.doubts,
                        &mut self.flushes,
                        &mut self.missed,
                        &mut self.woken,
                        &mut self.revalidated,
                        &mut self.loads,
                    ];
                    all.into_iter().zip(numbers).for_each(|(all, number)| *all += number);
                }
            }
        }
    }

    /// The reads that began later than the bound after a newer version was dropped everywhere.
    pub(crate) fn wrong(&self, bound: Duration) -> Vec<Wrong> {
        self.behind(bound, |at| !self.may_be_lost(at))
    }

    /// Those that would be wrong if the shared tier had lost nothing. What it has lost no memory is behind of.
    pub(crate) fn excused(&self, bound: Duration) -> usize {
        self.behind(bound, |_| true).len() - self.wrong(bound).len()
    }

    /// The reads that are behind a drop that `counts`, by when it was answered.
    fn behind(&self, bound: Duration, counts: impl Fn(u64) -> bool) -> Vec<Wrong> {
        let bound = bound.as_micros() as u64;
        let mut wrong = Vec::new();
        for ((key, version), read) in &self.last_reads {
            let newer = self.writes.get(key).into_iter().flat_map(|of_key| of_key.range(version + 1..));
            if let Some((newer, at)) = newer.filter(|(_, at)| counts(**at)).min_by_key(|(_, at)| **at)
                && at + bound <= *read
            {
                let behind = (read - at) / 1_000;
                wrong.push(Wrong { key: *key, version: *version, newer: *newer, behind, at: *read });
            }
        }
        wrong
    }

    /// Whether a drop was answered about when a primary was killed: its replica may not have heard of it.
    fn may_be_lost(&self, at: u64) -> bool {
        self.troubles.losses.iter().any(|loss| loss.abs_diff(at) < UNSENT)
    }
}

/// One line for each mark of what the run has been through.
impl fmt::Display for Books {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let writes: usize = self.writes.values().map(BTreeMap::len).sum();
        let drops = self.writes.values().flat_map(BTreeMap::values);
        let voided = drops.filter(|at| self.may_be_lost(**at)).count();
        let marks = [
            ("reads checked", self.reads),
            ("hits in memory", self.hits),
            ("versions seen", self.last_reads.len() as u64),
            ("writes", writes as u64),
            ("writes voided", voided as u64),
            ("loads", self.loads),
            ("copies in doubt", self.doubts),
            ("revalidated", self.revalidated),
            ("buckets flushed", self.flushes),
            ("messages missed", self.missed),
            ("waits woken", self.woken),
        ];
        let troubles = self.troubles.times.iter().map(|(trouble, times)| (*trouble, *times));
        for (mark, number) in marks.into_iter().chain(troubles) {
            writeln!(f, "{mark:>28} {number:>9}")?;
        }
        write!(f, "{:>28} {}", SEED, self.troubles.seed)
    }
}
