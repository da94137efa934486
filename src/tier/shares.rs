//! Values and absences in a share of room each, so that questions for keys that do not exist cannot crowd out values.

use std::sync::atomic::{AtomicBool, Ordering};

use super::fenced::{LocalMap, Stored};
use super::lookup::Lookup;
use super::scope::Scope;
use crate::bounds::{Key, Value};

/// Two maps: one for values, one for absences.
///
/// A key is in one of them at a time, but for the moment of a write: the new entry is put in its place before the old
/// one is taken out of the other, and a reader who finds both sees the value.
#[derive(Debug)]
pub struct Shares<M> {
    values: M,
    absences: M,
    /// Whether there has ever been an absence: most caches keep none, and need not look.
    any_absence: AtomicBool,
}

impl<M> Shares<M> {
    pub(super) const fn new(values: M, absences: M) -> Self {
        Self { values, absences, any_absence: AtomicBool::new(false) }
    }

    /// Out of line, so that the hit of a value stays small.
    #[cold]
    #[inline(never)]
    fn absence<K: Key, V: Value>(&self, key: &K) -> Option<Stored<V>>
    where
        M: LocalMap<K, V>,
    {
        self.absences()?.get(key)
    }

    #[cold]
    #[inline(never)]
    fn absence_by<K: Key, V: Value>(&self, key: &Lookup<'_, K>) -> Option<Stored<V>>
    where
        M: LocalMap<K, V>,
    {
        self.absences()?.get_by(key)
    }

    fn absences(&self) -> Option<&M> {
        self.any_absence.load(Ordering::Acquire).then_some(&self.absences)
    }
}

impl<K: Key, V: Value, M: LocalMap<K, V>> LocalMap<K, V> for Shares<M> {
    #[inline]
    fn get(&self, key: &K) -> Option<Stored<V>> {
        match self.values.get(key) {
            Some(stored) => Some(stored),
            None => self.absence(key),
        }
    }

    #[inline]
    fn get_by(&self, key: &Lookup<'_, K>) -> Option<Stored<V>> {
        match self.values.get_by(key) {
            Some(stored) => Some(stored),
            None => self.absence_by(key),
        }
    }

    fn peek(&self, key: &K) -> Option<Stored<V>> {
        self.values.peek(key).or_else(|| self.absences()?.peek(key))
    }

    fn put(&self, key: K, stored: Stored<V>) {
        if stored.entry().is_absent() {
            self.any_absence.store(true, Ordering::Release);
            self.absences.put(key.clone(), stored);
            self.values.remove(&key);
        } else {
            self.values.put(key.clone(), stored);
            if let Some(absences) = self.absences() {
                absences.remove(&key);
            }
        }
    }

    fn remove(&self, key: &K) {
        self.values.remove(key);
        if let Some(absences) = self.absences() {
            absences.remove(key);
        }
    }

    fn clear(&self) {
        self.values.clear();
        self.absences.clear();
    }

    fn clear_where(&self, scope: &Scope<K>) -> bool {
        self.values.clear_where(scope) && self.absences().is_none_or(|absences| absences.clear_where(scope))
    }

    fn len(&self) -> u64 {
        self.values.len() + self.absences.len()
    }
}
