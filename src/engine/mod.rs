//! The verbs that strategies are written in: `local`, `copy`, `find`, `refresh`, and a [`Turn`] for everything that
//! writes.
//!
//! The engine alone knows flights, turns and tasks; a strategy only says in which order things happen.

mod background;
mod flights;
mod key_locks;
mod nesting;
mod options;
mod turn;
mod written;

use std::fmt;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::FutureExt;

use crate::bounds::{Key, Value};
use crate::entry::{Entry, Freshness};
use crate::error::{Error, ErrorKind, Result};
use crate::event::{Event, Events, Stats};
use crate::levels::{Context, Found, Levels, Load, Search};
use crate::store::{EntryLoader, Store};
use crate::time::{self, Unanswered};

use background::{Background, Duty, abandoned, no_runtime};
use flights::{Arrival, Boarding, Flights, Leader, Outcome};
use key_locks::KeyLocks;
use nesting::Under;

pub use background::Leftovers;
pub use options::{ReadOptions, WriteOptions};
pub use turn::Turn;
pub use written::{Copies, Reached, Written};

/// What can be said of a key at once, without waiting for anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Local<V> {
    /// A fresh copy is here.
    Value(V),
    /// It is known, freshly, that the store has none.
    Absent,
    /// Ask properly: there is no copy, or something needs to be done about it.
    Unknown,
}

/// An answer with where it came from and how old it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Served<V> {
    entry: Entry<V>,
    tier: Option<&'static str>,
    age: Duration,
    freshness: Freshness,
}

impl<V: Value> Served<V> {
    /// The value; `None` when the store has none.
    #[must_use]
    pub const fn value(&self) -> Option<&V> {
        self.entry.value()
    }

    /// The value; `None` when the store has none.
    #[must_use]
    pub fn into_value(self) -> Option<V> {
        self.entry.into_value()
    }

    /// How long ago the store was asked.
    #[must_use]
    pub const fn age(&self) -> Duration {
        self.age
    }

    /// Whether it is fresh, by its own times. An answer that is kept nowhere counts as expired.
    #[must_use]
    pub const fn freshness(&self) -> Freshness {
        self.freshness
    }

    /// The tier that had it; `None` when the store was asked.
    #[must_use]
    pub const fn tier(&self) -> Option<&'static str> {
        self.tier
    }
}

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
    pub(crate) loader: Option<Arc<dyn EntryLoader<K, V>>>,
    pub(crate) store: Option<Arc<dyn Store<K, V>>>,
    pub(crate) context: Arc<Context>,
    pub(crate) load_deadline: Duration,
    pub(crate) write_deadline: Duration,
    /// Whether writers of one key wait for each other. Only tests say no, to show what turns are for.
    pub(crate) turns: bool,
}

struct Parts<K, V> {
    setup: Setup<K, V>,
    /// Tells this cache's turns from another's in the nesting chain.
    number: u64,
    flights: Arc<Flights<K, V>>,
    key_locks: Arc<KeyLocks>,
    background: Arc<Background>,
}

impl<K: Key, V: Value> Engine<K, V> {
    pub(crate) fn new(setup: Setup<K, V>) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self(Arc::new(Parts {
            setup,
            number: NEXT.fetch_add(1, Ordering::Relaxed),
            flights: Arc::new(Flights::new()),
            key_locks: Arc::new(KeyLocks::new()),
            background: Arc::new(Background::default()),
        }))
    }

    /// What the copy in the topmost tier says, if that needs no waiting and nothing else done.
    #[inline]
    pub fn local(&self, key: &K) -> Local<V> {
        let Setup { levels, context, .. } = &self.0.setup;
        match levels.local(key) {
            Some((entry, tier)) if entry.is_fresh(context.clock.recent()) => {
                context.events.hit(tier);
                entry.into_value().map_or(Local::Absent, Local::Value)
            }
            _ => Local::Unknown,
        }
    }

    /// A fresh copy from whichever tier has one. Never asks the store.
    ///
    /// # Errors
    ///
    /// None in this version: a failing tier is a miss.
    pub async fn copy(&self, key: &K) -> Result<Option<Served<V>>> {
        let found = self.0.setup.levels.copy(key).await;
        self.events().emit(&found.as_ref().map_or(Event::Miss, hit_or_miss));
        Ok(found.map(|found| self.served(found)))
    }

    /// A fresh copy, or else what the loader says, kept in every tier on the way. Readers of one key share one load.
    ///
    /// Dropping the future stops nothing: the load goes on, and its answer is kept.
    ///
    /// # Errors
    ///
    /// The loader's failure, the load deadline, or a cache without loader, closed, or outside a runtime.
    pub async fn find(&self, key: &K, options: &ReadOptions) -> Result<Served<V>> {
        let loader = self.0.setup.loader.as_ref().ok_or_else(no_loader)?;
        let outcome = match self.seat(key, options).await? {
            Seat::Landed(outcome) => outcome,
            Seat::Lead(leader) => {
                let mut passenger = leader.passenger();
                let flight = Self::fly(self.clone(), leader, Arc::clone(loader), options.clone());
                self.0.background.spawn(Duty::Load, flight)?;
                match passenger.arrive().await {
                    Arrival::Landed(outcome) => outcome,
                    Arrival::LeaderGone => Err(abandoned()),
                    Arrival::NoTimer => Err(no_runtime()),
                    Arrival::Late => {
                        self.0.flights.give_up(key, passenger.ticket());
                        Err(late())
                    }
                }
            }
        };
        self.answer(outcome)
    }

    /// A fresh copy, or else what `load` says. The load is the caller's: it runs here, and dropping the future drops
    /// it; whoever waits for it then loads by itself.
    pub(crate) async fn find_or_load(
        &self,
        key: &K,
        load: &dyn Load<K, V>,
        options: &ReadOptions,
    ) -> Result<Served<V>> {
        let outcome = match self.seat(key, options).await? {
            Seat::Landed(outcome) => outcome,
            Seat::Lead(leader) => {
                let outcome = self.search(&leader, load, options).await;
                leader.land(outcome.clone());
                outcome
            }
        };
        self.answer(outcome)
    }

    /// Loads `key` anew, whatever copies there are, and replaces them.
    ///
    /// # Errors
    ///
    /// As [`find`](Self::find). The old copies then stay as they are.
    pub async fn refresh(&self, key: &K, options: &ReadOptions) -> Result<Served<V>> {
        self.find(key, &options.clone().reload()).await
    }

    /// Waits for the turn to write `keys`, each key's writers in the order of their coming.
    ///
    /// # Errors
    ///
    /// The write deadline ran out first, the call is nested in a write of one of the keys, or the cache is closed.
    pub async fn turn(&self, keys: Vec<K>, options: &WriteOptions) -> Result<Turn<K, V>> {
        Turn::take(self.clone(), keys, options.clone()).await
    }

    /// Drops the copies of `keys`; loads under way answer who waits for them, and are not kept.
    ///
    /// What can be done without waiting is done when the future is first polled; dropping it stops nothing.
    ///
    /// # Errors
    ///
    /// A tier failed: it may still serve an older value.
    pub async fn invalidate(&self, keys: Vec<K>) -> Result<()> {
        let engine = self.clone();
        self.run_now_or_as_task(async move { engine.drop_copies(&keys).await }).await
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
            cleared
        })
        .await
    }

    /// The counts so far.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.events().stats()
    }

    pub(crate) fn name(&self) -> &Arc<str> {
        &self.0.setup.name
    }

    /// Refuses loads and writes from now on, and waits for those under way, no longer than `deadline`.
    pub(crate) async fn close(&self, deadline: Duration) -> Result<Leftovers> {
        let leftovers = self.0.background.close(deadline).await?;
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

    /// Joins the flight of `key` until it lands, or gets the lead of a new one.
    async fn seat(&self, key: &K, options: &ReadOptions) -> Result<Seat<K, V>> {
        if self.0.background.is_closed() {
            return Err(closed());
        }
        let mut waited_in_vain = false;
        loop {
            let deadline = time::from_now(self.0.setup.load_deadline);
            let mut passenger = match self.0.flights.board(key, options.is_reload(), deadline) {
                Boarding::Leader(leader) => return Ok(Seat::Lead(leader)),
                Boarding::Passenger(passenger) => passenger,
            };
            if nesting::is_in(Under::Flight(passenger.ticket().id())) {
                return Err(nested_load());
            }
            self.events().emit(&Event::Coalesced);
            match passenger.arrive().await {
                Arrival::Landed(outcome) => return Ok(Seat::Landed(outcome)),
                Arrival::LeaderGone => {}
                Arrival::NoTimer => return Err(no_runtime()),
                Arrival::Late => {
                    self.0.flights.give_up(key, passenger.ticket());
                    if std::mem::replace(&mut waited_in_vain, true) {
                        return Err(late());
                    }
                }
            }
        }
    }

    /// A flight with the registered loader, as a task.
    async fn fly(self, leader: Leader<K, V>, loader: Arc<dyn EntryLoader<K, V>>, options: ReadOptions) {
        let outcome = self.search(&leader, &loader, &options).await;
        leader.land(outcome);
    }

    /// Searches the levels, within the load deadline, whatever the user's code does.
    async fn search(&self, leader: &Leader<K, V>, load: &dyn Load<K, V>, options: &ReadOptions) -> Outcome<V> {
        let ticket = leader.ticket();
        let wanted = || ticket.wanted();
        let search = Search {
            load,
            ttl: options.own_ttl(),
            reload: options.is_reload(),
            wanted: &wanted,
        };
        let chain = nesting::extend(nesting::chain(), Under::Flight(ticket.id()));
        let find = nesting::scope(chain, self.0.setup.levels.find(leader.key(), None, &search));
        match time::within(ticket.deadline(), AssertUnwindSafe(find).catch_unwind()).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(_panic)) => Err(Error::panicked()),
            Err(Unanswered::Late) => Err(late()),
            Err(Unanswered::NoTimer) => Err(no_runtime()),
        }
    }

    fn answer(&self, outcome: Outcome<V>) -> Result<Served<V>> {
        self.events().emit(&outcome.as_ref().map_or(Event::Miss, hit_or_miss));
        outcome.map(|found| self.served(found))
    }

    fn served(&self, found: Found<V>) -> Served<V> {
        let now = self.context().clock.now();
        let Found { entry, tier, .. } = found;
        Served { tier, age: now.since(entry.as_of()), freshness: entry.freshness(now), entry }
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

/// How a search begins: in the lead, or with another's answer.
enum Seat<K: Key, V: Value> {
    Lead(Leader<K, V>),
    Landed(Outcome<V>),
}

fn hit_or_miss<V>(found: &Found<V>) -> Event<'static> {
    found.tier.map_or(Event::Miss, |tier| Event::Hit { tier })
}

fn no_loader() -> Error {
    Error::new(ErrorKind::NoStore, "this cache has no loader; build it on one, or bring the load with `get_or_load`")
}

fn closed() -> Error {
    Error::new(ErrorKind::Closed, "the cache is closed")
}

fn late() -> Error {
    Error::new(ErrorKind::Timeout, "the load was given up at its deadline; the next caller begins another")
}

fn nested_load() -> Error {
    Error::new(ErrorKind::Nested, "the loader of a key asked the same cache for that key, and would wait for itself")
}
