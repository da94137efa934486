//! What all processes saw, held against what all of them did.

use std::collections::{BTreeMap, HashMap};
use std::fmt;

use crate::job::BOUND;

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
    pub(crate) troubles: BTreeMap<&'static str, u64>,
    /// Each of them with its time.
    pub(crate) history: Vec<String>,
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
    pub(crate) fn enter(&mut self, report: String) {
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
    pub(crate) fn wrong(&self) -> Vec<Wrong> {
        let bound = BOUND.as_micros() as u64;
        let mut wrong = Vec::new();
        for ((key, version), read) in &self.last_reads {
            let newer = self.writes.get(key).into_iter().flat_map(|of_key| of_key.range(version + 1..));
            if let Some((newer, at)) = newer.min_by_key(|(_, at)| **at)
                && at + bound <= *read
            {
                let behind = (read - at) / 1_000;
                wrong.push(Wrong { key: *key, version: *version, newer: *newer, behind, at: *read });
            }
        }
        wrong
    }
}

impl fmt::Display for Books {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let writes: usize = self.writes.values().map(BTreeMap::len).sum();
        let Self { reads, hits, doubts, flushes, missed, woken, revalidated, loads, troubles, .. } = self;
        write!(
            f,
            "{reads} reads checked, {hits} of them hits in memory, against {writes} writes, {} versions seen, {loads} loads; \
             {doubts} doubts, {flushes} buckets flushed, {missed} times messages missed, {woken} woken, {revalidated} \
             revalidated; {troubles:?}",
            self.last_reads.len()
        )
    }
}
