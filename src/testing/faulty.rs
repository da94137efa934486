//! Any tier or store, failing or slow on command.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;

use crate::bounds::{Key, Value};
use crate::entry::Entry;
use crate::error::{Error, Result, StoreError};
use crate::receipt::Reading;
use crate::store::{Change, Loader, Saved, Store};
use crate::tier::{Acquired, Filled, Hold, Host, Lease, Purpose, Scope, Tier};
use crate::time::Timestamp;

/// A tier or a store with faults: it does what the one inside does, unless told to fail or to take its time.
#[derive(Clone, Debug)]
pub struct Faulty<T> {
    inner: T,
    faults: Faults,
}

/// The switch of a [`Faulty`]. Clones switch the same one.
#[derive(Clone, Default)]
pub struct Faults(Arc<State>);

#[derive(Default)]
struct State {
    failing: AtomicBool,
    fail_next: AtomicU64,
    delay_nanos: AtomicU64,
    calls: AtomicU64,
}

impl Faults {
    /// Every call fails from now on, or none does.
    pub fn fail(&self, failing: bool) {
        self.0.failing.store(failing, Ordering::Release);
    }

    /// The next `calls` calls fail.
    pub fn fail_next(&self, calls: u64) {
        self.0.fail_next.store(calls, Ordering::Release);
    }

    /// Every call takes this much longer.
    pub fn delay(&self, delay: Duration) {
        self.0.delay_nanos.store(u64::try_from(delay.as_nanos()).unwrap_or(u64::MAX), Ordering::Release);
    }

    /// How many calls were made, failed ones included.
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.0.calls.load(Ordering::Acquire)
    }

    fn fails(&self) -> bool {
        let take_one = |left: u64| left.checked_sub(1);
        let one_of_the_next =
            self.0.fail_next.fetch_update(Ordering::AcqRel, Ordering::Acquire, take_one).is_ok();
        one_of_the_next || self.0.failing.load(Ordering::Acquire)
    }

    async fn strike(&self) -> io::Result<()> {
        self.0.calls.fetch_add(1, Ordering::AcqRel);
        let delay = Duration::from_nanos(self.0.delay_nanos.load(Ordering::Acquire));
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        if self.fails() { Err(io::Error::other("told to fail")) } else { Ok(()) }
    }

    async fn strike_tier(&self) -> Result<()> {
        self.strike().await.map_err(Error::tier)
    }
}

impl fmt::Debug for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Faults").field("calls", &self.calls()).finish_non_exhaustive()
    }
}

impl<T> Faulty<T> {
    /// `inner`, without a fault so far.
    #[must_use]
    pub fn new(inner: T) -> Self {
        Self { inner, faults: Faults::default() }
    }

    /// The switch, to be kept when the tier or store goes into a cache.
    #[must_use]
    pub fn faults(&self) -> Faults {
        self.faults.clone()
    }
}

/// Nothing of a faulty tier is local: a call that can fail cannot be answered on the spot.
impl<K: Key, V: Value, T: Tier<K, V>> Tier<K, V> for Faulty<T> {
    fn name(&self) -> &'static str {
        self.inner.name()
    }

    fn is_shared(&self) -> bool {
        self.inner.is_shared()
    }

    fn attach(&self, host: &Host) -> Result<()> {
        self.inner.attach(host)
    }

    fn readings(&self, keys: &[K]) -> Vec<Reading> {
        self.inner.readings(keys)
    }

    async fn moment_of(&self, keys: &[K], readings: &[Reading]) -> Option<Timestamp> {
        self.faults.strike_tier().await.ok()?;
        self.inner.moment_of(keys, readings).await
    }

    fn lease(&self) -> Option<Duration> {
        self.inner.lease()
    }

    async fn get(&self, key: &K) -> Result<Option<Entry<V>>> {
        self.faults.strike_tier().await?;
        self.inner.get(key).await
    }

    async fn get_many(&self, keys: &[K]) -> Result<Vec<Option<Entry<V>>>> {
        self.faults.strike_tier().await?;
        self.inner.get_many(keys).await
    }

    async fn acquire(&self, key: &K, purpose: Purpose) -> Result<Acquired<V>> {
        self.faults.strike_tier().await?;
        self.inner.acquire(key, purpose).await
    }

    async fn fill(&self, key: &K, lease: Lease, entry: &Entry<V>) -> Result<Filled> {
        self.faults.strike_tier().await?;
        self.inner.fill(key, lease, entry).await
    }

    async fn acquire_many(&self, keys: &[K], purpose: Purpose) -> Result<Vec<Acquired<V>>> {
        self.faults.strike_tier().await?;
        self.inner.acquire_many(keys, purpose).await
    }

    async fn fill_many(&self, fills: &[(&K, Lease, &Entry<V>)]) -> Result<Vec<Filled>> {
        self.faults.strike_tier().await?;
        self.inner.fill_many(fills).await
    }

    async fn renew(&self, key: &K, lease: Lease) -> Result<()> {
        self.faults.strike_tier().await?;
        self.inner.renew(key, lease).await
    }

    async fn abandon(&self, key: &K, lease: Lease, back_off: Duration) -> Result<()> {
        self.faults.strike_tier().await?;
        self.inner.abandon(key, lease, back_off).await
    }

    async fn invalidate_many(&self, keys: &[K]) -> Result<()> {
        self.faults.strike_tier().await?;
        self.inner.invalidate_many(keys).await
    }

    fn abandon_now(&self, key: &K, lease: Lease) {
        if !self.faults.fails() {
            self.inner.abandon_now(key, lease);
        }
    }

    fn invalidate_now(&self, keys: &[K]) {
        if !self.faults.fails() {
            self.inner.invalidate_now(keys);
        }
    }

    async fn hold_many(&self, keys: &[K], hold: Hold, lifetime: Duration) -> Result<()> {
        self.faults.strike_tier().await?;
        self.inner.hold_many(keys, hold, lifetime).await
    }

    async fn release_many(&self, keys: &[K], hold: Hold) -> Result<()> {
        self.faults.strike_tier().await?;
        self.inner.release_many(keys, hold).await
    }

    async fn publish(&self, key: &K, hold: Hold, entry: &Entry<V>) -> Result<Filled> {
        self.faults.strike_tier().await?;
        self.inner.publish(key, hold, entry).await
    }

    async fn clear(&self) -> Result<()> {
        self.faults.strike_tier().await?;
        self.inner.clear().await
    }

    async fn clear_where(&self, scope: &Scope<K>) -> Result<()> {
        self.faults.strike_tier().await?;
        self.inner.clear_where(scope).await
    }

    async fn close(&self) -> Result<()> {
        self.faults.strike_tier().await?;
        self.inner.close().await
    }
}

#[async_trait]
impl<K: Key, V: Value, S: Loader<K, V>> Loader<K, V> for Faulty<S> {
    async fn load(&self, key: &K) -> Result<Option<V>, StoreError> {
        self.faults.strike().await?;
        self.inner.load(key).await
    }

    async fn load_many(&self, keys: &[K]) -> Vec<Result<Option<V>, StoreError>> {
        match self.faults.strike().await {
            Ok(()) => self.inner.load_many(keys).await,
            Err(_) => keys.iter().map(|_| Err(StoreError::new("told to fail"))).collect(),
        }
    }
}

#[async_trait]
impl<K: Key, V: Value, S: Store<K, V>> Store<K, V> for Faulty<S> {
    async fn save(&self, key: &K, value: &V) -> Result<Saved<V>, StoreError> {
        self.faults.strike().await.map_err(|error| StoreError::from(error).not_applied())?;
        self.inner.save(key, value).await
    }

    async fn delete(&self, key: &K) -> Result<(), StoreError> {
        self.faults.strike().await.map_err(|error| StoreError::from(error).not_applied())?;
        self.inner.delete(key).await
    }

    async fn apply(&self, changes: &[Change<K, V>]) -> Result<(), StoreError> {
        self.faults.strike().await.map_err(|error| StoreError::from(error).not_applied())?;
        self.inner.apply(changes).await
    }
}
