//! The system of record behind the cache: [`Loader`] to read it, [`Store`] to write it as well.

mod function;
mod merge;
#[cfg(any(feature = "sqlite", feature = "postgres"))]
pub mod sqlx;
mod transactional;
#[doc(hidden)]
pub mod write_behind;

#[cfg(any(feature = "sqlite", feature = "postgres"))]
use std::collections::{HashMap, hash_map};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::stream::{self, StreamExt};

use crate::bounds::{Key, Value};
use crate::entry::Entry;
use crate::error::StoreError;

pub use crate::change::{Change, DeadLetter, JournalId, PendingWrite, Seq, ShardId};
pub use function::{LoadFn, StoreFn, load_fn, store_fn};
#[doc(hidden)]
pub use merge::Merging;
pub use merge::{Counter, Merge, Sum};
pub use transactional::{Batch, Claim, Committed, IdempotentStore, MergeStore, TransactionalStore};
pub use write_behind::{AtLimit, Backlog, Unwritten, WriteBehind, WriteBehindBuilder, write_behind};
pub(crate) use write_behind::{Backing, Ticket, unmerged};

/// How many keys the default [`Loader::load_many`] asks for at a time.
const LOADS_AT_A_TIME: usize = 16;

/// Reads the system of record.
///
/// Start reading when you are called, on the primary: an answer from a snapshot or a replica that is older than the
/// call can put a value back that has been written since.
///
/// A load runs as a task of the cache: it goes on when the reader that began it goes away, and is dropped at the
/// load deadline.
#[async_trait]
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot load: it is no `Loader<{K}, {V}>`",
    label = "not a loader for these keys and values",
    note = "implement `Loader<{K}, {V}>` with `#[async_trait]`, or wrap an async closure in `larder::load_fn`"
)]
pub trait Loader<K: Key, V: Value>: Send + Sync + 'static {
    /// The value of `key`; `None` when the store has none, which is an answer and not an error.
    async fn load(&self, key: &K) -> Result<Option<V>, StoreError>;

    /// The values of `keys`, one result for each, in their order. Unless overridden, [`load`](Self::load) is asked
    /// for them, sixteen at a time.
    async fn load_many(&self, keys: &[K]) -> Vec<Result<Option<V>, StoreError>> {
        let loads: Vec<_> = keys.iter().map(|key| self.load(key)).collect();
        stream::iter(loads).buffered(LOADS_AT_A_TIME).collect().await
    }
}

/// Writes the system of record.
///
/// `Ok` means that the store has the write. An error leaves the outcome open until the store says otherwise: see
/// [`StoreError`]. A write runs as a task of the cache; it goes on when the caller goes away, and is dropped at the
/// write deadline.
#[async_trait]
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot save: it is no `Store<{K}, {V}>`",
    label = "not a store for these keys and values",
    note = "implement `Store<{K}, {V}>` with `#[async_trait]`; for something that can only be read use `larder::read_through`"
)]
pub trait Store<K: Key, V: Value>: Loader<K, V> {
    /// Saves `value` as the value of `key`. Answer `Ok(().into())`, or what the store made of the value.
    async fn save(&self, key: &K, value: &V) -> Result<Saved<V>, StoreError>;

    /// Deletes `key`; deleting what is not there is no error.
    async fn delete(&self, key: &K) -> Result<(), StoreError>;

    /// Applies `changes` in their order; the first that fails ends it. Override it to write a batch at once.
    ///
    /// An error that says [`not_applied`](StoreError::not_applied) says so of all of them: the copies of all keys stay.
    /// [`Change::Merge`] is an error here: it comes in a [`Batch`] only, which says how to merge.
    async fn apply(&self, changes: &[Change<K, V>]) -> Result<(), StoreError> {
        for (done, change) in changes.iter().enumerate() {
            let applied = match change {
                Change::Put(key, value) => self.save(key, value).await.map(|_saved| ()),
                Change::Delete(key) => self.delete(key).await,
                Change::Merge(..) => Err(cannot_merge()),
            };
            applied.map_err(|error| error.after(done))?;
        }
        Ok(())
    }
}

/// The error of a store that is given an operand, and has nobody who says what to make of it.
pub(crate) fn cannot_merge() -> StoreError {
    StoreError::new(
        "this store does not know how operands are merged: write-behind that was built with `merge` does",
    )
    .not_applied()
    .permanent()
}

/// What a store made of a value it was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Saved<V> {
    value: Option<V>,
    version: Option<u64>,
}

impl<V> Saved<V> {
    /// The store keeps something else than it was given, such as a row with a new timestamp: copies take this.
    #[must_use]
    pub fn value(value: V) -> Self {
        Self { value: Some(value), version: None }
    }

    /// The version that the store gave the value: larger is newer.
    #[must_use]
    pub fn version(self, version: u64) -> Self {
        Self { version: Some(version), ..self }
    }

    /// What the store keeps, when it differs from what it was given, and the version.
    #[must_use]
    pub fn into_parts(self) -> (Option<V>, Option<u64>) {
        (self.value, self.version)
    }
}

impl<V> From<()> for Saved<V> {
    fn from((): ()) -> Self {
        Self { value: None, version: None }
    }
}

/// The last change of each key among `changes`, in the order of the first ones.
#[cfg(any(feature = "sqlite", feature = "postgres"))]
pub(crate) fn last_changes<K: Key, V: Value>(changes: &[Change<K, V>]) -> Vec<Change<K, V>> {
    let mut places = HashMap::with_capacity(changes.len());
    let mut last: Vec<Change<K, V>> = Vec::with_capacity(changes.len());
    for change in changes {
        match places.entry(change.key()) {
            hash_map::Entry::Occupied(place) => last[*place.get()] = change.clone(),
            hash_map::Entry::Vacant(place) => {
                place.insert(last.len());
                last.push(change.clone());
            }
        }
    }
    last
}

/// Reads the system of record, and decides for each answer how long it may be used.
///
/// Every [`Loader`] can stand in for one; implement this instead when the ttl depends on the answer, when an answer
/// should not be kept, or when the store can say "not modified".
#[async_trait]
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot load entries: it is no `EntryLoader<{K}, {V}>`",
    label = "not an entry loader for these keys and values",
    note = "implement `EntryLoader<{K}, {V}>` with `#[async_trait]`"
)]
pub trait EntryLoader<K: Key, V: Value>: Send + Sync + 'static {
    /// Answers to `requests`, one for each, in their order.
    async fn load_entries(&self, requests: &[LoadRequest<'_, K, V>]) -> Vec<Result<Loaded<V>, StoreError>>;
}

/// One key to load.
#[derive(Clone, Copy, Debug)]
pub struct LoadRequest<'a, K, V> {
    key: &'a K,
    previous: Option<&'a Entry<V>>,
}

impl<'a, K: Key, V: Value> LoadRequest<'a, K, V> {
    pub(crate) const fn new(key: &'a K, previous: Option<&'a Entry<V>>) -> Self {
        Self { key, previous }
    }

    /// The key.
    #[must_use]
    pub const fn key(&self) -> &'a K {
        self.key
    }

    /// The copy that is too old to be served, when there is one: what [`Loaded::not_modified`] refers to.
    #[must_use]
    pub const fn previous(&self) -> Option<&'a Entry<V>> {
        self.previous
    }
}

/// A loader's answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loaded<V> {
    pub(crate) found: Finding<V>,
    pub(crate) ttl: Option<Duration>,
}

/// What a loader found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Finding<V> {
    Value(V),
    Absent,
    NotModified,
}

impl<V> Loaded<V> {
    /// The store has this value.
    #[must_use]
    pub const fn value(value: V) -> Self {
        Self { found: Finding::Value(value), ttl: None }
    }

    /// The store has no value.
    #[must_use]
    pub const fn absent() -> Self {
        Self { found: Finding::Absent, ttl: None }
    }

    /// The previous copy is still right. An error when there was none.
    #[must_use]
    pub const fn not_modified() -> Self {
        Self { found: Finding::NotModified, ttl: None }
    }

    /// Use the answer for `ttl`, whatever the cache is set to; zero keeps it nowhere. An absence keeps to the
    /// cache's absent ttl.
    #[must_use]
    pub fn ttl(self, ttl: Duration) -> Self {
        Self { ttl: Some(ttl), ..self }
    }
}

impl<V> From<Option<V>> for Loaded<V> {
    fn from(value: Option<V>) -> Self {
        value.map_or_else(Self::absent, Self::value)
    }
}

/// Every loader is an entry loader that leaves the times to the cache.
pub(crate) struct Entries<L: ?Sized>(pub(crate) Arc<L>);

#[async_trait]
impl<K: Key, V: Value, L: Loader<K, V> + ?Sized> EntryLoader<K, V> for Entries<L> {
    async fn load_entries(&self, requests: &[LoadRequest<'_, K, V>]) -> Vec<Result<Loaded<V>, StoreError>> {
        if let [only] = requests {
            return vec![self.0.load(only.key).await.map(Loaded::from)];
        }
        let keys: Vec<K> = requests.iter().map(|request| request.key.clone()).collect();
        self.0.load_many(&keys).await.into_iter().map(|answer| answer.map(Loaded::from)).collect()
    }
}

#[async_trait]
impl<K: Key, V: Value, L: Loader<K, V> + ?Sized> Loader<K, V> for Arc<L> {
    async fn load(&self, key: &K) -> Result<Option<V>, StoreError> {
        (**self).load(key).await
    }

    async fn load_many(&self, keys: &[K]) -> Vec<Result<Option<V>, StoreError>> {
        (**self).load_many(keys).await
    }
}

#[async_trait]
impl<K: Key, V: Value, S: Store<K, V> + ?Sized> Store<K, V> for Arc<S> {
    async fn save(&self, key: &K, value: &V) -> Result<Saved<V>, StoreError> {
        (**self).save(key, value).await
    }

    async fn delete(&self, key: &K) -> Result<(), StoreError> {
        (**self).delete(key).await
    }

    async fn apply(&self, changes: &[Change<K, V>]) -> Result<(), StoreError> {
        (**self).apply(changes).await
    }
}
