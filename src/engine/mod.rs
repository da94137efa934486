//! The verbs that strategies are written in: `copies`, `servable`, `find`, `refresh_behind`, and a [`Turn`] for
//! everything that writes.
//!
//! The engine alone knows flights, turns and tasks; a strategy only says in which order things happen.

mod back_off;
mod background;
mod batch;
mod flights;
mod key_locks;
mod nesting;
mod obligations;
mod options;
mod receipts;
#[cfg(all(test, shuttle))]
mod schedules;
mod search;
mod served;
mod turn;
mod written;

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use futures_util::FutureExt;

use crate::bounds::{Key, Value};
use crate::entry::{Entry, Freshness};
use crate::error::{Error, ErrorKind, Result};
use crate::event::{Event, Events, Stats};
use crate::levels::{Context, Levels, Owed};
use crate::store::{Backing, EntryLoader, Store};
use crate::tier::{Lookup, Scope};
use crate::time::{self, Timestamp};

use back_off::BackOff;
use background::{Background, Duty};
use flights::Flights;
use key_locks::{KeyLocks, Right};

pub use background::Leftovers;
pub use options::{ReadOptions, WriteOptions};
pub use served::{Local, Served};
pub use turn::Turn;
pub use written::{Copies, Reached, Written};

/// The machine room of one cache. Strategies receive it; it cannot be built by hand.
pub struct Engine<K, V>(Arc<Parts<K, V>>);

impl<K, V> Clone for Engine<K, V> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

/// What an engine is built of.
pub(crate) struct Setup<K, V> {
    pub(crate) name: Arc<str>,
    pub(crate) levels: Box<dyn Levels<K, V>>,
    pub(crate) owed: Arc<Owed<K>>,
    /// The name of the topmost tier.
    pub(crate) top: &'static str,
    pub(crate) loader: Option<Arc<dyn EntryLoader<K, V>>>,
    pub(crate) store: Option<Arc<dyn Store<K, V>>>,
    pub(crate) context: Arc<Context>,
    pub(crate) load_deadline: Duration,
    pub(crate) write_deadline: Duration,
    pub(crate) refresh_back_off: Duration,
    /// Whether reading, changing and saving a key in this process is safe from other processes.
    pub(crate) updates: bool,
    /// Whether writers of one key wait for each other. Only tests say no, to show what turns are for.
    pub(crate) turns: bool,
    /// Where writes wait, if the store is written behind its callers' backs.
    pub(crate) backing: Option<Arc<dyn Backing<K, V>>>,
}

struct Parts<K, V> {
    setup: Setup<K, V>,
    /// Tells this cache's turns from another's in the nesting chain.
    number: u64,
    /// Tells its receipts from those of any other cache in any process.
    origin: u64,
    /// How many receipts it has made.
    receipts: AtomicU64,
    seen: receipts::Seen,
    flights: Arc<Flights<K, V>>,
    key_locks: Arc<KeyLocks>,
    background: Arc<Background>,
    back_off: BackOff,
    /// Whether a task is paying what is owed.
    paying: AtomicBool,
}

impl<K: Key, V: Value> Engine<K, V> {
    pub(crate) fn new(setup: Setup<K, V>) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let engine = Self(Arc::new(Parts {
            back_off: BackOff::new(setup.refresh_back_off),
            setup,
            number: NEXT.fetch_add(1, Ordering::Relaxed),
            origin: receipts::origin(),
            receipts: AtomicU64::new(0),
            seen: receipts::Seen::default(),
            flights: Arc::new(Flights::new()),
            key_locks: Arc::new(KeyLocks::new()),
            background: Arc::new(Background::default()),
            paying: AtomicBool::new(false),
        }));
        engine.hear_of_flushed();
        engine
    }

    /// Has copies dropped once what they were made of is in the store, which may have made something else of it. The store
    /// does not keep the engine alive.
    fn hear_of_flushed(&self) {
        let Some(backing) = &self.0.setup.backing else { return };
        let parts = Arc::downgrade(&self.0);
        let hear = move |keys: Vec<K>| {
            let parts = Weak::clone(&parts);
            async move {
                let Some(engine) = parts.upgrade().map(Self) else { return };
                if engine.drop_copies(&keys).await.is_err() {
                    engine.owe(&keys);
                }
            }
            .boxed()
        };
        backing.attach(Arc::clone(&self.context().events), Box::new(hear));
    }

    /// What the copy in the topmost tier says, if `serves` it as it is.
    #[inline]
    pub(crate) fn local(&self, key: &K, serves: impl FnOnce(&Entry<V>, Timestamp) -> bool) -> Local<V> {
        self.say(self.0.setup.levels.local(key), serves)
    }

    /// The same for a key in a borrowed form.
    #[inline]
    pub(crate) fn local_by(
        &self,
        key: &Lookup<'_, K>,
        serves: impl FnOnce(&Entry<V>, Timestamp) -> bool,
    ) -> Local<V> {
        self.say(self.0.setup.levels.local_by(key), serves)
    }

    #[inline]
    fn say(&self, copy: Option<Entry<V>>, serves: impl FnOnce(&Entry<V>, Timestamp) -> bool) -> Local<V> {
        let Setup { context, top, .. } = &self.0.setup;
        let Some(entry) = copy else { return Local::Unknown };
        let now = context.clock.recent();
        if now < entry.expires_at() && context.counts(&entry, now) && serves(&entry, now) {
            context.events.hit(top);
            entry.into_value().map_or(Local::Absent, Local::Value)
        } else {
            Local::Unknown
        }
    }

    /// Fresh copies from whichever tiers have them, one place for each key. Never asks the store.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NoStore`] when the options want a reload: copies are all there is here.
    pub async fn copies(&self, keys: &[K], options: &ReadOptions) -> Result<Vec<Option<Served<V>>>> {
        if options.receipt().is_some() {
            return self.copies_covered(keys, options).await;
        }
        if options.wants_reload() {
            return Err(search::no_loader());
        }
        let is_fresh = |copy: &Served<V>| copy.freshness() == Freshness::Fresh;
        let copies = self.best_copies(keys, options.skipped()).await;
        Ok(copies.into_iter().map(|copy| self.counted(copy.filter(is_fresh), true)).collect())
    }

    /// Copies that may be served, one place for each key: fresh ones, or else stale ones within the window of stale
    /// use. Whoever serves a stale one sees to it that it is renewed. Never asks the store.
    pub async fn servable_many(&self, keys: &[K]) -> Vec<Option<Served<V>>> {
        let copies = self.best_copies(keys, None).await;
        copies.into_iter().map(|copy| self.counted(copy, false)).collect()
    }

    /// [`servable_many`](Self::servable_many) for one key.
    pub async fn servable(&self, key: &K) -> Option<Served<V>> {
        let copy = self.copy(key).await;
        self.counted(copy, false)
    }

    fn serve(&self, copy: Served<V>) -> Served<V> {
        self.count(&copy);
        copy
    }

    /// The best copy there is, fresh or stale. Not counted before it is [served](Self::serve).
    async fn copy(&self, key: &K) -> Option<Served<V>> {
        let now = self.context().clock.now();
        self.0.setup.levels.copy(key, None).await.map(|found| Served::at(now, found))
    }

    async fn best_copies(&self, keys: &[K], skipped: Option<&'static str>) -> Vec<Option<Served<V>>> {
        let now = self.context().clock.now();
        let copies = self.0.setup.levels.copies(keys, skipped).await;
        copies.into_iter().map(|found| found.map(|found| Served::at(now, found))).collect()
    }

    /// Counts a read of copies. A miss counts only when nobody will be asked after it.
    fn counted(&self, copy: Option<Served<V>>, ends_here: bool) -> Option<Served<V>> {
        match &copy {
            Some(copy) => self.count(copy),
            None if ends_here => self.events().emit(&Event::Miss),
            None => {}
        }
        copy
    }

    fn count(&self, copy: &Served<V>) {
        let tier = copy.tier().unwrap_or_default();
        match copy.freshness() {
            Freshness::Fresh => self.events().hit(tier),
            _ => self.events().emit(&Event::StaleHit { tier }),
        }
    }

    /// Waits for the turn to write `keys`, each key's writers in the order of their coming.
    ///
    /// # Errors
    ///
    /// The write deadline ran out first, the call is nested in a write of one of the keys, or the cache is closed.
    pub async fn turn(&self, keys: Vec<K>, options: &WriteOptions) -> Result<Turn<K, V>> {
        Turn::take(self.clone(), keys, options.clone(), Right::Sole).await
    }

    /// Waits for the turn to merge into a key, which others who merge have at the same time.
    pub(crate) async fn shared_turn(&self, key: K) -> Result<Turn<K, V>> {
        Turn::take(self.clone(), vec![key], WriteOptions::new(), Right::Shared).await
    }

    /// Drops the copies of `keys`; loads under way answer who waits for them, and are not kept.
    ///
    /// What can be done without waiting is done when the future is first polled; dropping it stops nothing.
    ///
    /// # Errors
    ///
    /// A tier failed: it may still serve an older value to other processes. Dropping it is tried again until it is
    /// done, and until then this process does not read it.
    pub async fn invalidate(&self, keys: Vec<K>) -> Result<()> {
        let engine = self.clone();
        self.run_now_or_as_task(
            async move { engine.drop_copies(&keys).await.inspect_err(|_| engine.owe(&keys)) },
        )
        .await
    }

    /// Drops all copies of this cache.
    ///
    /// # Errors
    ///
    /// A tier failed: it may still serve older values.
    pub async fn clear(&self) -> Result<()> {
        let engine = self.clone();
        self.run_now_or_as_task(async move {
            let cleared = engine.0.setup.levels.clear().await;
            engine.0.flights.overtake_all();
            cleared.inspect_err(|_| engine.owe_everything())
        })
        .await
    }

    /// Drops the copies of the keys in `scope`; loads of them under way answer who waits for them, and are not kept.
    ///
    /// # Errors
    ///
    /// As [`invalidate`](Self::invalidate).
    pub async fn clear_where(&self, scope: &Scope<K>) -> Result<()> {
        let (engine, scope) = (self.clone(), scope.clone());
        self.run_now_or_as_task(async move {
            engine.drop_copies_where(&scope).await.inspect_err(|_| engine.owe_where(&scope))
        })
        .await
    }

    /// # Errors
    ///
    /// Other processes may write between this one's reading of a key and its saving.
    pub(crate) fn may_update(&self) -> Result<()> {
        match self.0.setup.updates {
            true => Ok(()),
            false => Err(Error::new(
                ErrorKind::Unsupported,
                "`update` is atomic within this process, and the cache has a tier that others share: build it with \
                 `sole_writer()` if no other process writes these keys, or change them with a statement of your own in \
                 `write`",
            )),
        }
    }

    /// The counts so far.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let stats = self.events().stats();
        let Some(backing) = &self.0.setup.backing else { return stats };
        let backlog = backing.backlog();
        Stats {
            pending: backlog.writes as u64,
            pending_bytes: backlog.bytes as u64,
            pending_age: backlog.oldest.unwrap_or_default(),
            ..stats
        }
    }

    pub(crate) async fn flush(&self) -> Result<()> {
        match &self.0.setup.backing {
            Some(backing) => backing.flush().await,
            None => Ok(()),
        }
    }

    pub(crate) fn max_batch(&self) -> usize {
        self.context().batch
    }

    pub(crate) fn name(&self) -> &Arc<str> {
        &self.0.setup.name
    }

    /// Refuses loads and writes from now on, and waits for those under way, no longer than `deadline`.
    ///
    /// Writes under way come to the journal first; then the journal is emptied in the time that is left.
    pub(crate) async fn close(&self, deadline: Duration) -> Result<Leftovers> {
        let until = time::from_now(deadline);
        let mut leftovers = self.0.background.close(deadline).await?;
        if let Some(backing) = &self.0.setup.backing {
            let left = until.saturating_duration_since(tokio::time::Instant::now());
            leftovers.pending = backing.close(left).await?;
        }
        if leftovers.is_empty() {
            self.0.setup.levels.close().await?;
        }
        Ok(leftovers)
    }

    /// Runs a write as a task of this cache and awaits its answer; dropping the caller does not stop it.
    pub(crate) async fn run_write<F, A>(&self, write: F) -> Result<A>
    where
        F: Future<Output = Result<A>> + Send + 'static,
        A: Send + 'static,
    {
        self.0.background.run(Duty::Write, write).await
    }

    /// Drops copies, then lets the flights of the keys be overtaken: a read that starts after this loads anew.
    ///
    /// Flights leave the table *after* the copies have gone. Overtaken first, a flight begun in the gap could be
    /// answered by the old copy and still be joined when the invalidation has been acknowledged.
    async fn drop_copies(&self, keys: &[K]) -> Result<()> {
        let dropped = self.0.setup.levels.invalidate(keys).await;
        self.dropped(keys, dropped)
    }

    /// The same, with an answer for each key.
    async fn drop_each(&self, keys: &[K]) -> Vec<Result<()>> {
        let answers = self.0.setup.levels.invalidate_each(keys).await;
        self.0.flights.overtake(keys);
        let dropped = answers.iter().filter(|answer| answer.is_ok()).count();
        if dropped > 0 {
            self.events().emit(&Event::Invalidated { keys: dropped });
        }
        answers
    }

    /// The same for the keys in `scope`.
    async fn drop_copies_where(&self, scope: &Scope<K>) -> Result<()> {
        let dropped = self.0.setup.levels.clear_where(scope).await;
        self.0.flights.overtake_where(|key| scope.holds(key));
        dropped
    }

    fn dropped(&self, keys: &[K], dropped: Result<()>) -> Result<()> {
        self.0.flights.overtake(keys);
        if dropped.is_ok() {
            self.events().emit(&Event::Invalidated { keys: keys.len() });
        }
        dropped
    }

    /// Does at once what needs no waiting, and makes a task of the rest, so that a caller who goes away stops nothing.
    async fn run_now_or_as_task<F>(&self, work: F) -> Result<()>
    where
        F: Future<Output = Result<()>> + Send + 'static,
    {
        let mut work = Box::pin(work);
        match work.as_mut().now_or_never() {
            Some(done) => done,
            None => self.run_write(work).await,
        }
    }

    fn context(&self) -> &Context {
        &self.0.setup.context
    }

    fn events(&self) -> &Events {
        &self.context().events
    }
}

impl<K, V> fmt::Debug for Engine<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine").field("name", &self.0.setup.name).finish_non_exhaustive()
    }
}

fn closed() -> Error {
    Error::new(ErrorKind::Closed, "the cache is closed")
}
