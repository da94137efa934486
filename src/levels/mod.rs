//! Tiers stacked above the store: one [`Level`] for each tier, the [`Bottom`] below them all.
//!
//! ```text
//!   find ──► Level(memory) ──► Level(redis) ──► Bottom ──► the loader
//!        ◄── keep unless ◄──── keep unless ◄─── date ◄────
//!            overtaken         overtaken        the answer
//! ```
//!
//! A search goes down until somebody has an answer; on its way up, every level keeps it. Dropping goes the other
//! way, lowest first: a reader could otherwise lift an old copy from below over the gap that was just made above.

mod bottom;
mod level;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::bounds::{Key, Value};
use crate::entry::Entry;
use crate::error::{Result, StoreError};
use crate::event::Events;
use crate::lifetime::Lifetime;
use crate::store::{EntryLoader, LoadRequest, Loaded};
use crate::tier::Hold;
use crate::time::{Clock, Timestamp};

pub(crate) use bottom::Bottom;
pub(crate) use level::Level;

/// An answer to a search.
#[derive(Clone, Debug)]
pub(crate) struct Found<V> {
    pub(crate) entry: Entry<V>,
    /// The tier that had it; `None` when the store was asked.
    pub(crate) tier: Option<&'static str>,
    /// Whether the levels above may keep it. What was refused below may be old by now: it goes to the caller only.
    pub(crate) keep: bool,
}

/// The stack of copies, or what is left of it from some level down.
#[async_trait]
pub(crate) trait Levels<K: Key, V: Value>: Send + Sync + 'static {
    /// The copy in the topmost tier, if it can be had without waiting, and that tier's name.
    fn local(&self, key: &K) -> Option<(Entry<V>, &'static str)>;

    /// A fresh copy, from whichever tier has one. Never asks the store.
    async fn copy(&self, key: &K) -> Option<Found<V>>;

    /// A copy, or else the store's answer, kept on the way up. `previous` is a copy too old to serve.
    async fn find(&self, key: &K, previous: Option<Entry<V>>, search: &Search<'_, K, V>) -> Result<Found<V>>;

    /// Drops copies and destroys leases, lowest tier first.
    async fn invalidate(&self, keys: &[K]) -> Result<()>;

    /// The same, as far as it can be done without waiting.
    fn invalidate_now(&self, keys: &[K]);

    /// Claims keys for a writer in every tier.
    async fn hold(&self, keys: &[K], hold: Hold, lifetime: Duration) -> Result<()>;

    /// Ends a hold and leaves no copy.
    async fn release(&self, keys: &[K], hold: Hold) -> Result<()>;

    /// Ends a hold and keeps `entry` in every tier that no other writer touched. Whether all did.
    async fn publish(&self, key: &K, hold: Hold, entry: &Entry<V>) -> Result<bool>;

    /// Drops every copy.
    async fn clear(&self) -> Result<()>;

    /// Lets go of what the tiers hold open.
    async fn close(&self) -> Result<()>;
}

/// What every level of one cache works with.
#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) lifetime: Lifetime,
    pub(crate) events: Events,
}

impl Context {
    /// Dates an answer to a question asked at `as_of`.
    pub(crate) fn date<V: Value>(
        &self,
        value: Option<V>,
        as_of: Timestamp,
        ttl: Option<Duration>,
    ) -> Entry<V> {
        self.lifetime.date(value, as_of, ttl, fastrand::f64())
    }
}

/// One search for one key: what to ask if no tier has an answer, and on whose behalf.
pub(crate) struct Search<'a, K, V> {
    pub(crate) load: &'a dyn Load<K, V>,
    /// The ttl that the caller wants instead of the cache's.
    pub(crate) ttl: Option<Duration>,
    /// Ask the store whatever copies there are.
    pub(crate) reload: bool,
    /// Whether the flight still has its place: a late answer must not be kept.
    pub(crate) wanted: &'a (dyn Fn() -> bool + Send + Sync),
}

/// Loads one key: the registered loader, or what a caller brought along.
#[async_trait]
pub(crate) trait Load<K: Key, V: Value>: Send + Sync {
    async fn load(&self, request: LoadRequest<'_, K, V>) -> Result<Loaded<V>, LoadFailure>;
}

/// How asking a loader can fail.
pub(crate) enum LoadFailure {
    Store(StoreError),
    WrongLength {
        asked: usize,
        answered: usize,
    },
    /// A loader that can be asked once was asked again.
    Spent,
}

#[async_trait]
impl<K: Key, V: Value> Load<K, V> for Arc<dyn EntryLoader<K, V>> {
    async fn load(&self, request: LoadRequest<'_, K, V>) -> Result<Loaded<V>, LoadFailure> {
        let mut answers = self.load_entries(&[request]).await;
        let answered = answers.len();
        match (answers.pop(), answered) {
            (Some(answer), 1) => answer.map_err(LoadFailure::Store),
            _ => Err(LoadFailure::WrongLength { asked: 1, answered }),
        }
    }
}
