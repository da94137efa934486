//! Keys whose copies could not be dropped: the tier below did not answer. Until they are, this process does not read
//! them there, so that whoever writes through a failing tier still reads what it wrote.

use std::collections::HashMap;
use std::hash::Hash;

use foldhash::quality::RandomState;
use parking_lot::Mutex;

use crate::sync::{AtomicU64, Ordering};
use crate::tier::Scope;

/// How many keys are remembered; with more, every copy of the cache is owed.
const MOST: usize = 10_000;
/// How many scopes; each is looked through on every read of what is not owed by key.
const MOST_SCOPES: usize = 100;

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
    scopes: Vec<(Scope<K>, u64)>,
    everything: Option<u64>,
}

/// What is to be dropped.
#[derive(Debug)]
pub(crate) enum Debt<K> {
    Keys(Vec<(K, u64)>),
    Scope(Scope<K>, u64),
    Everything(u64),
}

impl<K: Clone + Eq + Hash> Owed<K> {
    pub(crate) fn new() -> Self {
        let keys = HashMap::with_hasher(RandomState::default());
        let debts = Debts { last: 0, keys, scopes: Vec::new(), everything: None };
        Self { count: AtomicU64::new(0), debts: Mutex::new(debts) }
    }

    /// Adds `keys`; the newest word on a key counts.
    pub(crate) fn owe(&self, keys: &[K]) {
        let mut debts = self.debts.lock();
        let number = debts.next();
        if debts.everything.is_some() || debts.keys.len() + keys.len() > MOST {
            debts.all(number);
        } else {
            debts.keys.extend(keys.iter().map(|key| (key.clone(), number)));
        }
        self.recount(&debts);
    }

    /// Adds the copies of the keys in `scope`.
    pub(crate) fn owe_where(&self, scope: &Scope<K>) {
        let mut debts = self.debts.lock();
        let number = debts.next();
        debts.scopes.retain(|(owed, _)| !owed.is(scope));
        if debts.everything.is_some() || debts.scopes.len() == MOST_SCOPES {
            debts.all(number);
        } else {
            debts.scopes.push((scope.clone(), number));
        }
        self.recount(&debts);
    }

    /// Adds every copy there is.
    pub(crate) fn owe_everything(&self) {
        let mut debts = self.debts.lock();
        let number = debts.next();
        debts.all(number);
        self.recount(&debts);
    }

    /// Whether the copy of `key` is owed.
    pub(crate) fn has(&self, key: &K) -> bool {
        self.count.load(Ordering::Acquire) > 0 && {
            let debts = self.debts.lock();
            debts.everything.is_some()
                || debts.keys.contains_key(key)
                || debts.scopes.iter().any(|(scope, _)| scope.holds(key))
        }
    }

    /// How many keys are owed; a scope counts as one, and so does everything.
    pub(crate) fn len(&self) -> usize {
        usize::try_from(self.count.load(Ordering::Acquire)).unwrap_or(usize::MAX)
    }

    /// At the most `most` debts, but for the first `skipped`.
    pub(crate) fn next(&self, most: usize, skipped: usize) -> Option<Debt<K>> {
        let debts = self.debts.lock();
        if let Some(number) = debts.everything {
            return (skipped == 0).then_some(Debt::Everything(number));
        }
        if let Some((scope, number)) = debts.scopes.get(skipped) {
            return Some(Debt::Scope(scope.clone(), *number));
        }
        let keys = debts.keys.iter().skip(skipped.saturating_sub(debts.scopes.len())).take(most);
        let keys: Vec<_> = keys.map(|(key, number)| (key.clone(), *number)).collect();
        (!keys.is_empty()).then_some(Debt::Keys(keys))
    }

    /// What `debt` was is done, unless it has been owed anew since.
    pub(crate) fn paid(&self, debt: Debt<K>) {
        let mut debts = self.debts.lock();
        match debt {
            Debt::Everything(number) if debts.everything == Some(number) => debts.everything = None,
            Debt::Everything(_) => {}
            Debt::Scope(_, number) => debts.scopes.retain(|(_, owed)| *owed != number),
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
        let count = debts.keys.len() + debts.scopes.len() + usize::from(debts.everything.is_some());
        self.count.store(count as u64, Ordering::Release);
    }
}

impl<K> Debts<K> {
    /// The number of a new debt.
    fn next(&mut self) -> u64 {
        self.last += 1;
        self.last
    }

    fn all(&mut self, number: u64) {
        self.everything = Some(number);
        self.keys.clear();
        self.scopes.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tenant::{Tenant, TenantKey};

    #[test]
    fn what_is_owed_is_known_until_it_is_paid() {
        let owed = Owed::new();
        owed.owe(&[1, 2]);
        assert!(owed.has(&1) && !owed.has(&3));
        let debt = owed.next(10, 0).expect("two keys");
        owed.owe(&[2]);
        owed.paid(debt);
        assert!(!owed.has(&1) && owed.has(&2), "owed anew while it was being paid");
        assert_eq!(owed.len(), 1);
    }

    #[test]
    fn what_cannot_be_paid_is_passed_by() {
        let owed: Owed<TenantKey<&str, u64>> = Owed::new();
        let (one, other) = (Tenant::of("1"), Tenant::of("2"));
        owed.owe_where(&Scope::of(&one));
        owed.owe(&[other.key(7), other.key(8)]);
        assert!(matches!(owed.next(10, 0), Some(Debt::Scope(..))));
        assert!(matches!(owed.next(10, 1), Some(Debt::Keys(keys)) if keys.len() == 2));
        assert!(matches!(owed.next(10, 2), Some(Debt::Keys(keys)) if keys.len() == 1));
        assert!(owed.next(10, 3).is_none());
    }

    #[test]
    fn too_many_keys_become_everything() {
        let owed = Owed::new();
        (0..=MOST).for_each(|key| owed.owe(&[key]));
        assert!(owed.has(&usize::MAX));
        let debt = owed.next(10, 0).expect("everything");
        assert!(matches!(debt, Debt::Everything(_)));
        owed.paid(debt);
        assert!(owed.next(10, 0).is_none());
    }

    #[test]
    fn a_tenant_is_owed_without_the_others() {
        let (one, other) = (Tenant::of("1"), Tenant::of("11"));
        let owed: Owed<TenantKey<&str, u64>> = Owed::new();
        owed.owe_where(&Scope::of(&one));
        assert!(owed.has(&one.key(7)) && !owed.has(&other.key(7)));
        let debt = owed.next(10, 0).expect("a tenant");
        owed.owe_where(&Scope::of(&one));
        assert_eq!(owed.len(), 1, "the same tenant is owed once");
        owed.paid(debt);
        assert!(owed.has(&one.key(7)), "owed anew while it was being paid");
    }

    #[test]
    fn too_many_tenants_become_everything() {
        let owed: Owed<TenantKey<usize, u64>> = Owed::new();
        (0..=MOST_SCOPES).for_each(|tenant| owed.owe_where(&Scope::of(&Tenant::of(tenant))));
        assert!(owed.has(&Tenant::of(usize::MAX).key(7)));
    }
}
