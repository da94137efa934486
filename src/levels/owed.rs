//! Keys whose copies could not be dropped: the tier below did not answer. Until they are, this process does not read
//! them there, so that whoever writes through a failing tier still reads what it wrote.

use std::collections::HashMap;
use std::hash::Hash;

use foldhash::quality::RandomState;
use parking_lot::Mutex;

use crate::sync::{AtomicU64, Ordering};

/// How many keys are remembered; with more, every copy of the cache is owed.
const MOST: usize = 10_000;

/// What a cache owes its shared tier.
#[derive(Debug)]
pub(crate) struct Owed<K> {
    /// How many debts there are; read on every read.
    count: AtomicU64,
    debts: Mutex<Debts<K>>,
}

#[derive(Debug)]
struct Debts<K> {
    /// The number of the last debt. A key that is owed anew while it is being paid stays owed.
    last: u64,
    keys: HashMap<K, u64, RandomState>,
    everything: Option<u64>,
}

/// What is to be dropped.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Debt<K> {
    Keys(Vec<(K, u64)>),
    Everything(u64),
}

impl<K: Clone + Eq + Hash> Owed<K> {
    pub(crate) fn new() -> Self {
        let keys = HashMap::with_hasher(RandomState::default());
        Self { count: AtomicU64::new(0), debts: Mutex::new(Debts { last: 0, keys, everything: None }) }
    }

    /// Adds `keys`; the newest word on a key counts.
    pub(crate) fn owe(&self, keys: &[K]) {
        let mut debts = self.debts.lock();
        debts.last += 1;
        let number = debts.last;
        if debts.everything.is_some() || debts.keys.len() + keys.len() > MOST {
            debts.everything = Some(number);
            debts.keys.clear();
        } else {
            debts.keys.extend(keys.iter().map(|key| (key.clone(), number)));
        }
        self.recount(&debts);
    }

    /// Adds every copy there is.
    pub(crate) fn owe_everything(&self) {
        let mut debts = self.debts.lock();
        debts.last += 1;
        debts.everything = Some(debts.last);
        debts.keys.clear();
        self.recount(&debts);
    }

    /// Whether the copy of `key` is owed.
    pub(crate) fn has(&self, key: &K) -> bool {
        self.count.load(Ordering::Acquire) > 0 && {
            let debts = self.debts.lock();
            debts.everything.is_some() || debts.keys.contains_key(key)
        }
    }

    /// How many keys are owed; everything counts as one.
    pub(crate) fn len(&self) -> usize {
        usize::try_from(self.count.load(Ordering::Acquire)).unwrap_or(usize::MAX)
    }

    /// The next `most` debts.
    pub(crate) fn next(&self, most: usize) -> Option<Debt<K>> {
        let debts = self.debts.lock();
        match debts.everything {
            Some(number) => Some(Debt::Everything(number)),
            None if debts.keys.is_empty() => None,
            None => Some(Debt::Keys(
                debts.keys.iter().take(most).map(|(key, number)| (key.clone(), *number)).collect(),
            )),
        }
    }

    /// What `debt` was is done, unless it has been owed anew since.
    pub(crate) fn paid(&self, debt: Debt<K>) {
        let mut debts = self.debts.lock();
        match debt {
            Debt::Everything(number) if debts.everything == Some(number) => debts.everything = None,
            Debt::Everything(_) => {}
            Debt::Keys(keys) => {
                for (key, number) in keys {
                    if debts.keys.get(&key) == Some(&number) {
                        debts.keys.remove(&key);
                    }
                }
            }
        }
        self.recount(&debts);
    }

    fn recount(&self, debts: &Debts<K>) {
        let count = debts.keys.len() + usize::from(debts.everything.is_some());
        self.count.store(count as u64, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_owed_is_known_until_it_is_paid() {
        let owed = Owed::new();
        owed.owe(&[1, 2]);
        assert!(owed.has(&1) && !owed.has(&3));
        let debt = owed.next(10).expect("two keys");
        owed.owe(&[2]);
        owed.paid(debt);
        assert!(!owed.has(&1) && owed.has(&2), "owed anew while it was being paid");
        assert_eq!(owed.len(), 1);
    }

    #[test]
    fn too_many_keys_become_everything() {
        let owed = Owed::new();
        (0..=MOST).for_each(|key| owed.owe(&[key]));
        assert!(owed.has(&usize::MAX));
        let debt = owed.next(10).expect("everything");
        assert!(matches!(debt, Debt::Everything(_)));
        owed.paid(debt);
        assert_eq!(owed.next(10), None);
    }
}
