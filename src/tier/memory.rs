//! Copies in this process' memory, on moka.

use std::fmt;
use std::hash::BuildHasher;
use std::sync::Arc;
use std::time::Duration;

use moka::notification::RemovalCause;

use super::fenced::{Fenced, LocalMap, Stored};
use super::lookup::Lookup;
use super::room::{self, Listener, Removal, Room};
use super::scope::Scope;
use super::shares::Shares;
use crate::bounds::{Key, Value};

/// Copies in this process' memory, bounded by a number of entries or by their weight; what is read often stays
/// (W-TinyLFU, Einziger et al. 2017).
///
/// moka alone decides which entry leaves when room is wanted. It never decides what is served: the entry's own times
/// do, and the fence of [`Fenced`]. moka's loading calls are not used, since they let a slow load put an old value
/// back after an invalidation.
///
/// Absences have room of their own: questions for keys that do not exist cannot crowd out values.
///
/// ```
/// use larder::Memory;
/// use std::time::Duration;
///
/// let by_count: Memory<u64, String> = Memory::with_capacity(10_000);
///
/// let by_bytes = Memory::<u64, String>::builder()
///     .weight(64 * 1024 * 1024, |_key, value| value.len() as u32)
///     .time_to_idle(Duration::from_secs(3600))
///     .build();
/// # let _ = (by_count, by_bytes);
/// ```
pub type Memory<K, V, S = foldhash::fast::RandomState> = Fenced<K, V, Shares<MokaMap<K, V, S>>>;

impl<K: Key, V: Value> Memory<K, V> {
    /// Room for `entries` values, and a tenth as many absences; with 0 nothing is ever kept.
    #[must_use]
    pub fn with_capacity(entries: u64) -> Self {
        Self::builder().capacity(entries).build()
    }

    /// More settings than a capacity.
    pub fn builder() -> MemoryBuilder<K, V> {
        MemoryBuilder {
            room: Room::Entries(10_000),
            absences: None,
            time_to_idle: None,
            listener: None,
            hasher: foldhash::fast::RandomState::default(),
        }
    }
}

/// Settings of a [`Memory`].
#[must_use = "a builder does nothing until `build`"]
pub struct MemoryBuilder<K, V, S = foldhash::fast::RandomState> {
    room: Room<K, V>,
    absences: Option<u64>,
    time_to_idle: Option<Duration>,
    listener: Option<Listener<K, V>>,
    hasher: S,
}

impl<K: Key, V: Value, S: BuildHasher + Clone + Send + Sync + 'static> MemoryBuilder<K, V, S> {
    /// Room for this many values. Default: 10,000.
    pub fn capacity(self, entries: u64) -> Self {
        Self { room: Room::Entries(entries), ..self }
    }

    /// Room for values that weigh this much together, as `weigher` says. Each weighs at least 1; the map's own cost,
    /// some 150 bytes an entry, is not in it. The total can be above the limit for a moment while values come in fast.
    pub fn weight(self, units: u64, weigher: impl Fn(&K, &V) -> u32 + Send + Sync + 'static) -> Self {
        Self { room: Room::Weight(units, Arc::new(weigher)), ..self }
    }

    /// Room for this many absences. Default: a tenth of the capacity, or 1,000 when values are weighed.
    pub fn absent_capacity(self, entries: u64) -> Self {
        Self { absences: Some(entries), ..self }
    }

    /// An entry that nobody asked for during this time leaves, by the machine's clock. Default: it stays.
    ///
    /// More than a thousand years count as "stays".
    pub fn time_to_idle(self, idle: Duration) -> Self {
        Self { time_to_idle: Some(idle), ..self }
    }

    /// Who is told when an entry leaves. Called now and then, some time after, on a thread that uses the tier: be
    /// quick, and do not use the cache.
    pub fn on_removal(self, listener: impl Fn(&K, Option<&V>, Removal) + Send + Sync + 'static) -> Self {
        Self { listener: Some(Arc::new(listener)), ..self }
    }

    /// How keys are hashed. Default: foldhash, seeded at random for each tier. It is fast and keeps careless floods
    /// of colliding keys away; for keys that an attacker chooses and can time, give
    /// [`RandomState`](std::collections::hash_map::RandomState), which is SipHash.
    pub fn hasher<H>(self, hasher: H) -> MemoryBuilder<K, V, H> {
        let Self { room, absences, time_to_idle, listener, .. } = self;
        MemoryBuilder { room, absences, time_to_idle, listener, hasher }
    }

    /// The tier.
    pub fn build(self) -> Memory<K, V, S> {
        let absences = Room::Entries(self.absences.unwrap_or_else(|| self.room.absences()));
        let shares = Shares::new(self.map(&self.room), self.map(&absences));
        Fenced::new("memory", shares)
    }

    fn map(&self, room: &Room<K, V>) -> MokaMap<K, V, S> {
        const LONGEST: Duration = Duration::from_secs(1_000 * 365 * 24 * 3600);
        let mut builder = moka::sync::Cache::builder().max_capacity(room.units());
        if let Some(weigher) = room.weigher() {
            builder = builder.weigher(move |key, stored| room::weight(&weigher, key, stored));
        }
        if let Some(idle) = self.time_to_idle.filter(|idle| *idle < LONGEST) {
            builder = builder.time_to_idle(idle);
        }
        if let Some(listener) = self.listener.clone() {
            builder = builder.eviction_listener(move |key, stored: Stored<V>, cause| {
                listener(&key, stored.entry().value(), removal(cause));
            });
        }
        MokaMap(builder.build_with_hasher(self.hasher.clone()))
    }
}

fn removal(cause: RemovalCause) -> Removal {
    match cause {
        RemovalCause::Size => Removal::Capacity,
        RemovalCause::Expired => Removal::Idle,
        RemovalCause::Replaced => Removal::Replaced,
        RemovalCause::Explicit => Removal::Dropped,
    }
}

impl<K, V, S> fmt::Debug for MemoryBuilder<K, V, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryBuilder")
            .field("room", &self.room)
            .field("time_to_idle", &self.time_to_idle)
            .finish_non_exhaustive()
    }
}

/// A moka cache as a [`LocalMap`].
pub struct MokaMap<K, V, S>(moka::sync::Cache<K, Stored<V>, S>);

impl<K: Key, V: Value, S: BuildHasher + Clone + Send + Sync + 'static> LocalMap<K, V> for MokaMap<K, V, S> {
    #[inline]
    fn get(&self, key: &K) -> Option<Stored<V>> {
        self.0.get(key)
    }

    #[inline]
    fn get_by(&self, key: &Lookup<'_, K>) -> Option<Stored<V>> {
        self.0.get(key)
    }

    /// A miss by `get` would raise the key's popularity, and let it in where the engine would have kept it out.
    fn peek(&self, key: &K) -> Option<Stored<V>> {
        if self.0.contains_key(key) { self.0.get(key) } else { None }
    }

    fn put(&self, key: K, stored: Stored<V>) {
        self.0.insert(key, stored);
    }

    fn remove(&self, key: &K) {
        self.0.invalidate(key);
    }

    fn clear(&self) {
        self.0.invalidate_all();
    }

    /// Looks at every key: moka's own way to drop by a condition would be asked on every hit from then on.
    fn clear_where(&self, scope: &Scope<K>) -> bool {
        let meant = self.0.iter().filter(|(key, _)| scope.holds(key));
        meant.for_each(|(key, _)| self.0.invalidate(&*key));
        true
    }

    fn len(&self) -> u64 {
        self.0.run_pending_tasks();
        self.0.entry_count()
    }
}

impl<K, V, S> fmt::Debug for MokaMap<K, V, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MokaMap").finish_non_exhaustive()
    }
}
