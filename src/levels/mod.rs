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
mod owed;
mod quota;
mod since;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::Instant;

use crate::bounds::{Key, Value};
use crate::coherence::{Mark, Trust};
use crate::consistency::Consistency;
use crate::entry::Entry;
use crate::error::{Error, ErrorKind, Result, StoreError};
use crate::event::Events;
use crate::lifetime::Lifetime;
use crate::receipt::Reading;
use crate::store::{EntryLoader, LoadRequest, Loaded};
use crate::sync::{AtomicBool, AtomicU64, Ordering};
use crate::tier::{Hold, Lookup, Scope};
use crate::time::{Clock, Timestamp};

pub(crate) use bottom::Bottom;
pub(crate) use level::Level;
pub(crate) use owed::{Debt, Owed};
pub(crate) use quota::Quota;
pub(crate) use since::Since;

/// One key to search for.
pub(crate) struct Question<K, V> {
    pub(crate) key: K,
    /// A copy that is too old to serve; a loader may say that it is still right.
    pub(crate) previous: Option<Entry<V>>,
    pub(crate) place: Arc<Place>,
}

/// A search's place among others: until when, and whether, its answer is wanted, and who waits for it.
#[derive(Debug)]
pub(crate) struct Place {
    deadline: Instant,
    lost: AtomicBool,
    /// How many seats have been taken.
    boarded: AtomicU64,
    /// When the store was asked, in nanoseconds of the cache's clock; zero before that.
    asked: AtomicU64,
}

/// A seat in a search, counted in the order of boarding; the one who began it has the first.
pub(crate) type Seat = u64;

impl Place {
    pub(crate) fn until(deadline: Instant) -> Self {
        Self { deadline, lost: AtomicBool::new(false), boarded: AtomicU64::new(1), asked: AtomicU64::new(0) }
    }

    /// The next seat.
    pub(crate) fn board(&self) -> Seat {
        self.boarded.fetch_add(1, Ordering::AcqRel)
    }

    /// How many have boarded so far.
    pub(crate) fn boarded(&self) -> Seat {
        self.boarded.load(Ordering::Acquire)
    }

    /// The store is being asked, at this moment.
    pub(crate) fn ask(&self, at: Timestamp) {
        self.asked.store(at.as_nanos(), Ordering::Release);
    }

    /// Whether the store, if it is asked at all, is asked after this moment; who boards sees by the answer whether it was.
    pub(crate) fn asks_after(&self, moment: Timestamp) -> bool {
        let asked = self.asked.load(Ordering::Acquire);
        asked == 0 || asked > moment.as_nanos()
    }

    pub(crate) fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Somebody else has taken it: an answer that comes now is late, and must not be kept.
    pub(crate) fn lose(&self) {
        self.lost.store(true, Ordering::Release);
    }

    pub(crate) fn is_wanted(&self) -> bool {
        !self.lost.load(Ordering::Acquire) && Instant::now() <= self.deadline
    }
}

/// An answer to a search.
#[derive(Clone, Debug)]
pub(crate) struct Found<V> {
    pub(crate) entry: Entry<V>,
    /// The tier that had it; `None` when the store was asked.
    pub(crate) tier: Option<&'static str>,
    /// Whether the levels above may keep it. What was refused below may be old by now: it goes to the caller only.
    pub(crate) keep: bool,
    /// For whom the answer is new enough: those who had boarded before the moment at which it was surely right.
    ///
    /// The race: `R1: begins a search, store→v1 · W, in another process: store←v2, invalidate, acknowledged · R2: joins
    /// R1's search · R1: fill refused`. R1 may have v1, since it began before the write was acknowledged; R2 may not.
    pub(crate) covers: Seat,
}

impl<V> Found<V> {
    /// What the tier of this name had, and nobody searched for.
    pub(crate) const fn here(entry: Entry<V>, tier: &'static str) -> Self {
        Self { entry, tier: Some(tier), keep: false, covers: ALL }
    }
}

/// Everybody.
pub(crate) const ALL: Seat = Seat::MAX;

/// The stack of copies, or what is left of it from some level down.
#[async_trait]
pub(crate) trait Levels<K: Key, V: Value>: Send + Sync + 'static {
    /// The copy in the topmost tier, if it can be had without waiting.
    fn local(&self, key: &K) -> Option<Entry<V>>;

    /// The same for a key in a borrowed form.
    fn local_by(&self, key: &Lookup<'_, K>) -> Option<Entry<V>>;

    /// For each key the best copy that any tier has: a fresh one from as far up as possible, or else a stale one. Tiers of
    /// this process keep what those below had. Never asks the store, and passes the tier named `skipped` over.
    async fn copies(&self, keys: &[K], skipped: Option<&'static str>) -> Vec<Option<Found<V>>>;

    /// [`copies`](Self::copies) for one key: the way of every hit in a shared tier, with nothing allocated for a batch.
    async fn copy(&self, key: &K, skipped: Option<&'static str>) -> Option<Found<V>>;

    /// What the shared tier, from here down, marks copies of `key` with from now on.
    fn mark(&self, key: &K) -> Mark;

    /// Whether the shared tier, from here down, still has these copies: a new mark for each of which it does.
    async fn revalidate(&self, copies: &[(K, Mark)]) -> Result<Vec<Option<Mark>>>;

    /// This moment on the clocks of the shared tier's servers.
    fn readings(&self, keys: &[K]) -> Vec<Reading>;

    /// The moment of such readings on the clock of the cache, where it can be told.
    async fn moment_of(&self, keys: &[K], readings: &[Reading]) -> Option<Timestamp>;

    /// Whether there is a tier from here down.
    fn has_copies(&self) -> bool;

    /// Fresh copies, or else the store's answers, kept on the way up. One answer for each question, in their order.
    async fn find(&self, questions: Vec<Question<K, V>>, search: &Search<'_, K, V>) -> Vec<Result<Found<V>>>;

    /// Drops copies and destroys leases, lowest tier first.
    async fn invalidate(&self, keys: &[K]) -> Result<()>;

    /// The same, with an answer for each key: of tiers on several servers one may be away.
    async fn invalidate_each(&self, keys: &[K]) -> Vec<Result<()>>;

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

    /// Drops every copy of the keys in `scope`, lowest tier first.
    async fn clear_where(&self, scope: &Scope<K>) -> Result<()>;

    /// Lets go of what the tiers hold open.
    async fn close(&self) -> Result<()>;
}

/// What every level of one cache works with.
#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) lifetime: Lifetime,
    pub(crate) events: Arc<Events>,
    /// How many keys a loader is asked for at once.
    pub(crate) batch: usize,
    pub(crate) consistency: Consistency,
    /// Whether one of the tiers is shared with other processes.
    pub(crate) shared: bool,
    /// For how long a tier of this process serves a copy without asking the shared one, if no message can take it back.
    pub(crate) local_ttl: Duration,
    /// What is believed of copies that messages can take back.
    pub(crate) trust: Option<Arc<Trust>>,
}

impl Context {
    /// Whether a copy of this process may be served without asking the shared tier. One that no message reaches has been
    /// given a short life instead.
    #[inline]
    pub(crate) fn counts<V: Value>(&self, copy: &Entry<V>, now: Timestamp) -> bool {
        let mark = copy.mark();
        !mark.is_some() || self.trust.as_ref().is_none_or(|trust| trust.holds(mark, now))
    }

    /// Whether tiers of this process may keep a copy that the shared tier has: nobody would tell them of the end of one without
    /// a mark, and the next read brings one with a mark.
    pub(crate) fn may_lift<V: Value>(&self, copy: &Entry<V>) -> bool {
        self.trust.is_none() || copy.mark().is_reached()
    }

    /// Whom an answer will be new enough for that is asked for now. Where no tier is shared, all writes go through this
    /// process, which ends the searches that they overtake.
    pub(crate) fn covered(&self, place: &Place) -> Seat {
        if self.shared { place.boarded() } else { ALL }
    }

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

/// What to ask if no tier has an answer, and how.
pub(crate) struct Search<'a, K, V> {
    pub(crate) load: &'a dyn Load<K, V>,
    /// The ttl that the caller wants instead of the cache's.
    pub(crate) ttl: Option<Duration>,
    /// Ask the store whatever copies there are,
    pub(crate) reload: bool,
    /// but for a fresh one that is newer than this: somebody else has just renewed it.
    pub(crate) unless_newer: Option<Since>,
    /// Whether the shared tier has just been found without a fresh copy. It is asked for a lease at once, and says so then
    /// if there is one after all.
    pub(crate) looked: bool,
    /// A tier to be passed over.
    pub(crate) skipped: Option<&'static str>,
}

/// Loads keys: the registered loader, or what a caller brought along.
#[async_trait]
pub(crate) trait Load<K: Key, V: Value>: Send + Sync {
    /// One answer for each request, in their order; an error when there is none at all.
    async fn load(&self, requests: &[LoadRequest<'_, K, V>]) -> Result<Answers<V>>;
}

/// A loader's answers, one for each request.
pub(crate) type Answers<V> = Vec<Result<Loaded<V>, StoreError>>;

#[async_trait]
impl<K: Key, V: Value> Load<K, V> for Arc<dyn EntryLoader<K, V>> {
    async fn load(&self, requests: &[LoadRequest<'_, K, V>]) -> Result<Answers<V>> {
        Ok(self.load_entries(requests).await)
    }
}

/// A question that got no answer: a level or a loader has lost count. Nobody has seen this.
pub(crate) fn unanswered() -> Error {
    Error::new(ErrorKind::WrongLength, "a search ended without an answer for one of its keys")
}
