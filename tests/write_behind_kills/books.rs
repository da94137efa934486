//! The ledger: which operations were asked for and answered, kept outside larder, and what the table of effects says to it.

#![allow(dead_code, reason = "each of the tests that share it uses its own part")]

use std::collections::{BTreeSet, HashMap};

/// A row of the table of effects.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Effect {
    pub(crate) key: u64,
    pub(crate) operation: u64,
}

#[derive(Default)]
pub(crate) struct Books {
    operations: HashMap<u64, Operation>,
    last_asked: u64,
    /// Answered, and not among the effects yet.
    awaited: BTreeSet<u64>,
    /// The last effect on each key.
    last: HashMap<u64, u64>,
    pub(crate) findings: Findings,
}

#[derive(Clone, Copy)]
struct Operation {
    key: u64,
    is_answered: bool,
    effects: u64,
}

/// What must not be.
#[derive(Clone, Debug, Default)]
pub(crate) struct Findings {
    /// Answered, and without an effect.
    pub(crate) lost: u64,
    /// Effects beyond the first.
    pub(crate) double: u64,
    /// First effects that came after one that was asked for later, on the same key.
    pub(crate) out_of_order: u64,
    /// Effects of nothing that was asked for.
    pub(crate) unasked: u64,
    /// The first of them.
    pub(crate) first: Option<String>,
}

impl Findings {
    pub(crate) fn are_none(&self) -> bool {
        self.lost + self.double + self.out_of_order + self.unasked == 0
    }
}

impl Books {
    /// Operations are numbered in the order in which they are asked for, at least those on one key.
    pub(crate) fn asked(&mut self, key: u64, operation: u64) {
        self.last_asked = self.last_asked.max(operation);
        let new = Operation { key, is_answered: false, effects: 0 };
        let had = self.operations.insert(operation, new);
        assert!(had.is_none(), "operation {operation} was asked for twice: the harness is wrong");
    }

    pub(crate) fn answered(&mut self, operation: u64) {
        let known = self.operations.get_mut(&operation).expect("who is answered has asked");
        known.is_answered = true;
        if known.effects == 0 {
            self.awaited.insert(operation);
        }
    }

    pub(crate) fn effect(&mut self, Effect { key, operation }: Effect) {
        let Some(known) = self.operations.get_mut(&operation).filter(|known| known.key == key) else {
            self.findings.unasked += 1;
            return self.note(format!("nobody asked for operation {operation} on key {key}"));
        };
        known.effects += 1;
        if known.effects > 1 {
            let effects = known.effects;
            self.findings.double += 1;
            return self.note(format!("operation {operation} on key {key} has its effect {effects} times"));
        }
        self.awaited.remove(&operation);
        let last = self.last.entry(key).or_default();
        if operation < *last {
            let last = *last;
            self.findings.out_of_order += 1;
            return self.note(format!("operation {operation} on key {key} comes after operation {last}"));
        }
        *last = operation;
    }

    /// All that was answered should be among the effects by now.
    pub(crate) fn settle(&mut self) {
        let lost = std::mem::take(&mut self.awaited);
        self.findings.lost += lost.len() as u64;
        if let Some(first) = lost.first() {
            let key = self.operations[first].key;
            self.note(format!("operation {first} on key {key} was answered and has no effect"));
        }
    }

    /// The same ledger, before any effect was seen.
    pub(crate) fn afresh(&self) -> Self {
        let mut books = Self::default();
        for (operation, known) in &self.operations {
            books.asked(known.key, *operation);
            if known.is_answered {
                books.answered(*operation);
            }
        }
        books
    }

    /// How many have been answered and not been seen among the effects.
    pub(crate) fn awaited(&self) -> usize {
        self.awaited.len()
    }

    /// Whether something has been answered that is neither among the effects nor among these.
    pub(crate) fn awaits_beyond(&self, effects: &[Effect]) -> bool {
        let stored: BTreeSet<u64> = effects.iter().map(|effect| effect.operation).collect();
        self.awaited.difference(&stored).next().is_some()
    }

    pub(crate) fn asked_for(&self) -> usize {
        self.operations.len()
    }

    pub(crate) fn all_answered(&self) -> usize {
        self.operations.values().filter(|operation| operation.is_answered).count()
    }

    /// A number that no operation has, nor any before it.
    pub(crate) fn next(&self) -> u64 {
        self.last_asked + 1
    }

    fn note(&mut self, what: String) {
        self.findings.first.get_or_insert(what);
    }
}
