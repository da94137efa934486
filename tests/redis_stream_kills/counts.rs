//! Counters, and what must stand in them: each increment counted once, if it was answered, and at the most once, if it was not.

use std::collections::{BTreeMap, HashMap};

use crate::books::Findings;

/// So many counters have everybody's increments.
const SHARED: u64 = 4;
/// Where the others begin.
const OWN: u64 = 1_000;
/// So many operations have one of the others in common: each has a digit of its own in it, of base four, which shows how
/// often it was counted.
const DIGITS: u64 = 31;

/// Counters, and by how much to increment each.
pub(crate) fn increments(operation: u64) -> [(u64, u64); 2] {
    [(operation % SHARED, 1), (OWN + operation / DIGITS, 1 << (2 * (operation % DIGITS)))]
}

/// Which increments were asked for, and whether they were answered.
#[derive(Default)]
pub(crate) struct Counts(BTreeMap<u64, bool>);

impl Counts {
    pub(crate) fn asked(&mut self, operation: u64) {
        assert!(
            self.0.insert(operation, false).is_none(),
            "operation {operation} was counted twice by the harness"
        );
    }

    pub(crate) fn answered(&mut self, operation: u64) {
        *self.0.get_mut(&operation).expect("who is answered has asked") = true;
    }

    pub(crate) fn asked_for(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn all_answered(&self) -> usize {
        self.0.values().filter(|is_answered| **is_answered).count()
    }

    /// What is wrong with the counters when all that waited is in them.
    pub(crate) fn compare(&self, counters: Vec<(u64, u64)>) -> Findings {
        let mut findings = Findings::default();
        let mut counters: HashMap<u64, u64> = counters.into_iter().collect();
        self.compare_shared(&counters, &mut findings);
        counters.retain(|counter, _| *counter >= OWN);
        for (operation, is_answered) in &self.0 {
            let [_, (counter, delta)] = increments(*operation);
            let counted = counters.get(&counter).copied().unwrap_or_default() / delta % 4;
            if counted > 1 {
                findings.double += 1;
                findings
                    .first
                    .get_or_insert_with(|| format!("operation {operation} was counted {counted} times"));
            } else if counted == 0 && *is_answered {
                findings.lost += 1;
                findings
                    .first
                    .get_or_insert_with(|| format!("operation {operation} was answered and not counted"));
            }
            // What is left over, nobody has asked for.
            counters.entry(counter).and_modify(|digits| *digits -= counted * delta);
        }
        findings.unasked += counters.values().filter(|digits| **digits != 0).count() as u64;
        findings
    }

    /// What all have incremented is between what was answered and what was asked for.
    fn compare_shared(&self, counters: &HashMap<u64, u64>, findings: &mut Findings) {
        for shared in 0..SHARED {
            let number = counters.get(&shared).copied().unwrap_or_default();
            let of_it = || self.0.iter().filter(|(operation, _)| **operation % SHARED == shared);
            let (asked, answered) =
                (of_it().count() as u64, of_it().filter(|(_, answered)| **answered).count() as u64);
            if (answered..=asked).contains(&number) {
                continue;
            }
            findings.lost += answered.saturating_sub(number);
            findings.double += number.saturating_sub(asked);
            let what = || {
                format!("counter {shared} says {number}, of {asked} increments and {answered} answered ones")
            };
            findings.first.get_or_insert_with(what);
        }
    }
}
