//! Turns any local map into a tier by putting the fence around it.

use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

use tokio::time::Instant;

use super::lookup::Lookup;
use super::stripes::{Fingerprint, Stripe, Stripes};
use super::{Acquired, Filled, Hold, Lease, Purpose, Scope, Tier};
use crate::bounds::{Key, Value};
use crate::entry::Entry;
use crate::error::Result;

/// A concurrent map in this process that may drop entries whenever it likes.
///
/// `get` after `put` or `remove` of the same key on another thread must see it: the map is linearizable per key.
pub trait LocalMap<K: Key, V: Value>: Send + Sync + 'static {
    /// The entry of `key`. On the hit path: no waiting, no allocation.
    fn get(&self, key: &K) -> Option<Stored<V>>;
    /// The same for a key in a borrowed form. A map that cannot look up by one says that it has nothing.
    fn get_by(&self, _key: &Lookup<'_, K>) -> Option<Stored<V>> {
        None
    }
    /// The same, to look again for what was just missed: a map that counts how often a key is asked for, to decide what
    /// it keeps, should not count this.
    fn peek(&self, key: &K) -> Option<Stored<V>> {
        self.get(key)
    }
    /// Keeps or replaces the entry of `key`.
    fn put(&self, key: K, stored: Stored<V>);
    /// Drops the entry of `key`.
    fn remove(&self, key: &K);
    /// Drops all entries, now or by and by.
    fn clear(&self);
    /// Drops the entries of the keys in `scope`, now and not by and by. False when it cannot tell which these are: then
    /// all go.
    fn clear_where(&self, _scope: &Scope<K>) -> bool {
        false
    }
    /// How many entries there are, those that have expired and not been replaced included.
    fn len(&self) -> u64;
    /// Whether there are none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// An entry as a [`LocalMap`] keeps it: with its stripe, and the epoch in which it was kept.
#[derive(Clone, Debug)]
pub struct Stored<V> {
    entry: Entry<V>,
    stripe: u32,
    epoch: u32,
}

impl<V: Value> Stored<V> {
    /// The entry.
    #[must_use]
    pub const fn entry(&self) -> &Entry<V> {
        &self.entry
    }
}

/// A [`LocalMap`] with the fence that makes it a [`Tier`].
pub struct Fenced<K, V, M> {
    name: &'static str,
    map: M,
    stripes: Stripes,
    guarded: bool,
    keys: PhantomData<fn(K) -> V>,
}

const STRIPES: usize = 1024;

impl<K: Key, V: Value, M: LocalMap<K, V>> Fenced<K, V, M> {
    /// Fences `map`; `name` is what statistics call the tier.
    #[must_use]
    pub fn new(name: &'static str, map: M) -> Self {
        Self { name, map, stripes: Stripes::new(STRIPES), guarded: true, keys: PhantomData }
    }

    /// The map inside.
    pub fn map(&self) -> &M {
        &self.map
    }

    /// How many entries there are, those that have expired and not been replaced included.
    pub fn len(&self) -> u64 {
        self.map.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.map.is_empty()
    }

    /// Takes the fence away, so that tests can show that it is what stops the races.
    #[cfg(feature = "testing")]
    #[doc(hidden)]
    #[must_use]
    pub fn without_fence(self) -> Self {
        Self { guarded: false, ..self }
    }

    #[inline]
    fn usable(&self, stored: Stored<V>) -> Option<Entry<V>> {
        (self.stripes.epoch(stored.stripe) == Some(stored.epoch)).then_some(stored.entry)
    }

    fn peek(&self, key: &K) -> Option<Entry<V>> {
        self.map.peek(key).and_then(|stored| self.usable(stored))
    }

    /// Keeps `entry`. The caller has the stripe locked, so no write can come between its check and this.
    fn keep(&self, _locked: &Stripe, key: &K, fingerprint: Fingerprint, entry: &Entry<V>) {
        let stripe = self.stripes.index(fingerprint);
        let epoch = self.stripes.epoch(stripe).unwrap_or_default();
        self.map.put(key.clone(), Stored { entry: entry.clone(), stripe, epoch });
    }

    /// Whether the map has an answer to a later question than `entry` is: a load that was given up, and came in
    /// after the one that replaced it, must not put its older answer in the place of the newer.
    fn has_newer(&self, key: &K, entry: &Entry<V>) -> bool {
        self.peek(key).is_some_and(|here| here.as_of() > entry.as_of())
    }

    fn hold_now(&self, keys: &[K], hold: Hold, lifetime: Duration) {
        let now = Instant::now();
        let ends = crate::time::from_now(lifetime);
        for key in keys {
            let fingerprint = self.stripes.fingerprint(key);
            let mut stripe = self.stripes.lock(fingerprint);
            stripe.hold(fingerprint, hold, ends, now);
            self.map.remove(key);
        }
    }

    fn end_hold(&self, key: &K, hold: Hold, publish: Option<&Entry<V>>) -> Filled {
        let fingerprint = self.stripes.fingerprint(key);
        let mut stripe = self.stripes.lock(fingerprint);
        let sole = stripe.end_hold(fingerprint, hold, Instant::now()) || !self.guarded;
        match publish {
            Some(entry) if sole => {
                self.keep(&stripe, key, fingerprint, entry);
                Filled::Stored
            }
            _ => {
                self.map.remove(key);
                Filled::Refused
            }
        }
    }
}

impl<K: Key, V: Value, M: LocalMap<K, V>> Tier<K, V> for Fenced<K, V, M> {
    fn name(&self) -> &'static str {
        self.name
    }

    #[inline]
    fn local(&self, key: &K) -> Option<Entry<V>> {
        self.map.get(key).and_then(|stored| self.usable(stored))
    }

    #[inline]
    fn local_by(&self, key: &Lookup<'_, K>) -> Option<Entry<V>> {
        self.map.get_by(key).and_then(|stored| self.usable(stored))
    }

    async fn get(&self, key: &K) -> Result<Option<Entry<V>>> {
        Ok(self.peek(key))
    }

    async fn get_many(&self, keys: &[K]) -> Result<Vec<Option<Entry<V>>>> {
        Ok(keys.iter().map(|key| self.peek(key)).collect())
    }

    async fn acquire(&self, key: &K, _purpose: Purpose) -> Result<Acquired<V>> {
        let fingerprint = self.stripes.fingerprint(key);
        let lease = self.stripes.lock(fingerprint).acquire(fingerprint, Instant::now());
        Ok(lease.map_or(Acquired::Held, |lease| Acquired::Granted(lease, None)))
    }

    async fn fill(&self, key: &K, lease: Lease, entry: &Entry<V>) -> Result<Filled> {
        let fingerprint = self.stripes.fingerprint(key);
        let stripe = self.stripes.lock(fingerprint);
        if self.guarded && (!stripe.may_fill(lease) || self.has_newer(key, entry)) {
            return Ok(Filled::Refused);
        }
        self.keep(&stripe, key, fingerprint, entry);
        Ok(Filled::Stored)
    }

    async fn invalidate_many(&self, keys: &[K]) -> Result<()> {
        self.invalidate_now(keys);
        Ok(())
    }

    fn invalidate_now(&self, keys: &[K]) {
        for key in keys {
            let fingerprint = self.stripes.fingerprint(key);
            let mut stripe = self.stripes.lock(fingerprint);
            stripe.invalidate(fingerprint);
            self.map.remove(key);
        }
    }

    async fn hold_many(&self, keys: &[K], hold: Hold, lifetime: Duration) -> Result<()> {
        self.hold_now(keys, hold, lifetime);
        Ok(())
    }

    async fn release_many(&self, keys: &[K], hold: Hold) -> Result<()> {
        keys.iter().for_each(|key| _ = self.end_hold(key, hold, None));
        Ok(())
    }

    async fn publish(&self, key: &K, hold: Hold, entry: &Entry<V>) -> Result<Filled> {
        Ok(self.end_hold(key, hold, Some(entry)))
    }

    async fn clear(&self) -> Result<()> {
        self.stripes.clear();
        self.map.clear();
        Ok(())
    }

    /// First the leases, then the copies: what is filled between the two was loaded after the call began.
    async fn clear_where(&self, scope: &Scope<K>) -> Result<()> {
        self.stripes.destroy_leases();
        match self.map.clear_where(scope) {
            true => Ok(()),
            false => self.clear().await,
        }
    }
}

impl<K, V, M> fmt::Debug for Fenced<K, V, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fenced").field("name", &self.name).finish_non_exhaustive()
    }
}
