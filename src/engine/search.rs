//! Searching for a key: in the lead of a flight, or with another's answer.

use std::panic::AssertUnwindSafe;
use std::slice;
use std::sync::Arc;

use futures_util::FutureExt;

use super::background::{Duty, abandoned, no_runtime};
use super::flights::{Arrival, Boarding, Leader, Manner, Outcome, Passenger};
use super::nesting::{self, Under};
use super::options::ReadOptions;
use super::served::Served;
use super::{Engine, closed};
use crate::bounds::{Key, Value};
use crate::entry::Freshness;
use crate::error::{Error, ErrorKind, Result};
use crate::event::Event;
use crate::levels::{Found, Load, Question, Search, Since, unanswered};
use crate::store::EntryLoader;
use crate::time::{self, Unanswered};

impl<K: Key, V: Value> Engine<K, V> {
    /// A fresh copy, or else what the loader says, kept in every tier on the way. Readers of one key share one load.
    ///
    /// Dropping the future stops nothing: the load goes on, and its answer is kept.
    ///
    /// # Errors
    ///
    /// The loader's failure, the load deadline, or a cache without loader, closed, or outside a runtime.
    pub async fn find(&self, key: &K, options: &ReadOptions) -> Result<Served<V>> {
        let loader = self.loader()?;
        if options.receipt().is_some() {
            return Box::pin(self.find_covered(key, loader, options)).await;
        }
        match self.look_for(key, options).await {
            Some(found) => self.answer(Ok(found)),
            // On the heap, to leave the way of hits short.
            None => Box::pin(self.find_by_flight(key, loader, self.having_looked(options.clone()))).await,
        }
    }

    /// The same for who has a receipt.
    async fn find_covered(
        &self,
        key: &K,
        loader: Arc<dyn EntryLoader<K, V>>,
        options: &ReadOptions,
    ) -> Result<Served<V>> {
        let options = self.since_receipt(slice::from_ref(key), options).await?;
        match self.newer_here(key, &options) {
            Some(found) => self.answer(Ok(found)),
            None => self.find_by_flight(key, loader, options).await,
        }
    }

    async fn find_by_flight(
        &self,
        key: &K,
        loader: Arc<dyn EntryLoader<K, V>>,
        options: ReadOptions,
    ) -> Result<Served<V>> {
        let outcome = match self.seat(key, options).await? {
            Seat::Landed(outcome) => outcome,
            Seat::Lead(leader, options) => {
                let mut passenger = leader.passenger();
                self.send_off(vec![leader], loader, &options)?;
                self.own_answer(key, &mut passenger).await
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
        let placed = match options.receipt() {
            Some(_) => Some(Box::pin(self.since_receipt(slice::from_ref(key), options)).await?),
            None => None,
        };
        let options = placed.as_ref().unwrap_or(options);
        if let Some(found) = self.newer_here(key, options) {
            return self.answer(Ok(found));
        }
        let looks = !options.is_special() && !self.context().lifetime.stale.is_zero();
        let stale = if looks { self.copy(key).await } else { None };
        if let Some(stale) = &stale
            && (stale.freshness() == Freshness::Fresh // somebody has just renewed it,
                || self.0.flights.is_under_way(key) // or does so now,
                || self.is_backing_off(key))
        // or nobody should
        {
            return Ok(self.serve(stale.clone()));
        }
        let options = if looks { &self.having_looked(options.clone()) } else { options };
        let outcome = match self.seat(key, options.clone()).await? {
            Seat::Landed(outcome) => outcome,
            Seat::Lead(leader, options) => {
                let leaders = vec![leader];
                let outcome =
                    self.search(&leaders, load, &options).await.pop().unwrap_or_else(|| Err(unanswered()));
                land(leaders, vec![outcome.clone()]);
                outcome
            }
        };
        match (&outcome, stale) {
            (Err(_), Some(stale)) => {
                self.back_off(key);
                Ok(self.serve(stale))
            }
            _ => self.answer(outcome),
        }
    }

    /// Loads `key` anew, whatever copies there are, and replaces them.
    ///
    /// # Errors
    ///
    /// As [`find`](Self::find). The old copies then stay as they are.
    pub async fn refresh(&self, key: &K, options: &ReadOptions) -> Result<Served<V>> {
        self.find(key, &options.clone().reload()).await
    }

    /// Renews a copy behind the reader's back: at most one refresh of a key is under way, and none for a while after
    /// one has failed. What goes wrong becomes an event.
    pub fn refresh_behind(&self, key: &K, copy: &Served<V>) {
        let Ok(loader) = self.loader() else { return };
        if self.0.background.is_closed() || self.0.flights.is_under_way(key) || self.is_backing_off(key) {
            return;
        }
        // A stale copy may have been replaced below by somebody else, and so may a fresh one: what was asked for in the
        // later half of its life so far is no other's view of the same answer.
        let options = ReadOptions::new();
        let options = match copy.freshness() {
            Freshness::Fresh if self.context().shared => {
                let now = self.context().clock.now();
                options.reload_unless_newer(now.before(copy.age() / 2))
            }
            Freshness::Fresh => options.reload(),
            _ => options,
        };
        let deadline = time::from_now(self.0.setup.load_deadline);
        let Boarding::Leader(leader) = self.0.flights.board(key, manner(&options), deadline) else { return };
        let mut passenger = leader.passenger();
        let (engine, key) = (self.clone(), key.clone());
        let flight = self.clone().fly(vec![leader], loader, options);
        let refresh = async move {
            flight.await;
            match engine.own_answer(&key, &mut passenger).await {
                Ok(_) => engine.0.back_off.succeeded(&key),
                Err(_) => engine.back_off(&key),
            }
        };
        if self.0.background.spawn(Duty::Load, refresh).is_ok() {
            self.events().emit(&Event::Refresh);
        }
    }

    /// The answer of the flight of `key`, or the lead of a new one; or a copy that the shared tier has by now, where the
    /// options do not say that it has just been looked for.
    async fn seat(&self, key: &K, mut options: ReadOptions) -> Result<Seat<K, V>> {
        let mut waited_in_vain = false;
        loop {
            if let Some(found) = self.look_for(key, &options).await {
                return Ok(Seat::Landed(Ok(found)));
            }
            let mut passenger = match self.board(key, &options)? {
                Boarding::Leader(leader) => return Ok(Seat::Lead(leader, self.having_looked(options))),
                Boarding::Passenger(passenger) => passenger,
            };
            if let Some(outcome) = self.ride(key, &mut passenger, &mut waited_in_vain).await {
                return Ok(Seat::Landed(outcome));
            } // else the leader is gone, or its answer is too old: begin anew
            options = options.not_looked();
        }
    }

    /// A fresh copy of a key that nobody is searching for, if it is to be looked for before a flight is begun.
    async fn look_for(&self, key: &K, options: &ReadOptions) -> Option<Found<V>> {
        if !self.looks_first(options) || self.0.flights.is_under_way(key) {
            return None;
        }
        let found = self.0.setup.levels.copy(key, None).await?;
        found.entry.is_fresh(self.context().clock.recent()).then_some(found)
    }

    /// Where a tier is shared, a hit there needs no flight, and flights would only make readers wait for each other.
    fn looks_first(&self, options: &ReadOptions) -> bool {
        self.context().shared && !options.is_special() && !options.has_looked()
    }

    /// Fresh copies, one place for each key; none at all where they are not to be looked for first.
    pub(super) async fn look_first(&self, keys: &[K], options: &ReadOptions) -> Vec<Option<Found<V>>> {
        if !self.looks_first(options) {
            return Vec::new();
        }
        let copies = self.0.setup.levels.copies(keys, None).await;
        let now = self.context().clock.recent();
        copies.into_iter().map(|copy| copy.filter(|found| found.entry.is_fresh(now))).collect()
    }

    pub(super) fn having_looked(&self, options: ReadOptions) -> ReadOptions {
        if self.context().shared && !options.is_special() { options.looked() } else { options }
    }

    /// Boards the flight of `key`, unless that would be to wait for oneself.
    pub(super) fn board(&self, key: &K, options: &ReadOptions) -> Result<Boarding<K, V>> {
        if self.0.background.is_closed() {
            return Err(closed());
        }
        let deadline = time::from_now(self.0.setup.load_deadline);
        let boarding = self.0.flights.board(key, manner(options), deadline);
        let passenger = match boarding {
            Boarding::Leader(leader) => return Ok(Boarding::Leader(leader)),
            Boarding::Passenger(passenger) => passenger,
        };
        if nesting::is_in(Under::Flight(passenger.ticket().id())) {
            return Err(nested_load());
        }
        self.events().emit(&Event::Coalesced);
        let since = options.newest_known().filter(|since| since.of_write().is_some());
        Ok(Boarding::Passenger(passenger.asking(since.cloned())))
    }

    /// Waits for another's flight. `None`: its leader is gone, its answer is too old for this passenger, or its time was up
    /// for the first time.
    pub(super) async fn ride(
        &self,
        key: &K,
        passenger: &mut Passenger<V>,
        waited_in_vain: &mut bool,
    ) -> Option<Outcome<V>> {
        match passenger.arrive().await {
            Arrival::Landed(outcome) => Some(outcome),
            Arrival::LeaderGone => None,
            Arrival::TooOld => {
                self.0.flights.give_up(key, passenger.ticket());
                None
            }
            Arrival::NoTimer => Some(Err(no_runtime())),
            Arrival::Late => {
                self.0.flights.give_up(key, passenger.ticket());
                std::mem::replace(waited_in_vain, true).then(|| Err(late()))
            }
        }
    }

    /// The answer of a flight that a task leads for this caller.
    pub(super) async fn own_answer(&self, key: &K, passenger: &mut Passenger<V>) -> Outcome<V> {
        match passenger.arrive().await {
            Arrival::Landed(outcome) => outcome,
            Arrival::LeaderGone | Arrival::TooOld => Err(abandoned()), // the first seat is never too late
            Arrival::NoTimer => Err(no_runtime()),
            Arrival::Late => {
                self.0.flights.give_up(key, passenger.ticket());
                Err(late())
            }
        }
    }

    /// Flights with the registered loader, as a task that outlives the caller.
    pub(super) fn send_off(
        &self,
        leaders: Vec<Leader<K, V>>,
        loader: Arc<dyn EntryLoader<K, V>>,
        options: &ReadOptions,
    ) -> Result<()> {
        let flight = Self::fly(self.clone(), leaders, loader, options.clone());
        self.0.background.spawn(Duty::Load, flight).map(|_task| ())
    }

    async fn fly(self, leaders: Vec<Leader<K, V>>, loader: Arc<dyn EntryLoader<K, V>>, options: ReadOptions) {
        let outcomes = self.search(&leaders, &loader, &options).await;
        land(leaders, outcomes);
    }

    /// Searches the levels for every leader's key, within the load deadline, whatever the user's code does.
    pub(super) async fn search(
        &self,
        leaders: &[Leader<K, V>],
        load: &dyn Load<K, V>,
        options: &ReadOptions,
    ) -> Vec<Outcome<V>> {
        let Some(deadline) = leaders.iter().map(|leader| leader.ticket().place().deadline()).min() else {
            return Vec::new();
        };
        let search = Search {
            load,
            ttl: options.own_ttl(),
            reload: options.wants_reload(),
            unless_newer: options.newest_known().cloned(),
            looked: options.has_looked(),
            skipped: options.skipped(),
        };
        let questions = leaders.iter().map(|leader| Question {
            key: leader.key().clone(),
            previous: None,
            place: Arc::clone(leader.ticket().place()),
        });
        let chain = leaders.iter().fold(nesting::chain(), |chain, leader| {
            nesting::extend(chain, Under::Flight(leader.ticket().id()))
        });
        let find = nesting::scope(chain, self.0.setup.levels.find(questions.collect(), &search));
        let error = match time::within(deadline, AssertUnwindSafe(find).catch_unwind()).await {
            Ok(Ok(outcomes)) => return outcomes,
            Ok(Err(_panic)) => Error::panicked(),
            Err(Unanswered::Late) => late(),
            Err(Unanswered::NoTimer) => no_runtime(),
        };
        leaders.iter().map(|_| Err(error.clone())).collect()
    }

    pub(super) fn answer(&self, outcome: Outcome<V>) -> Result<Served<V>> {
        match outcome {
            Ok(found) => Ok(self.served(found)),
            Err(error) => {
                self.events().emit(&Event::Miss);
                Err(error)
            }
        }
    }

    fn served(&self, found: Found<V>) -> Served<V> {
        self.events().emit(&hit_or_miss(&found));
        Served::at(self.context().clock.recent(), found)
    }

    pub(super) fn loader(&self) -> Result<Arc<dyn EntryLoader<K, V>>> {
        self.0.setup.loader.clone().ok_or_else(no_loader)
    }

    fn is_backing_off(&self, key: &K) -> bool {
        self.0.back_off.is_waiting(key, self.context().clock.now())
    }

    fn back_off(&self, key: &K) {
        self.0.back_off.failed(key, self.context().clock.now(), fastrand::f64());
        self.events().emit(&Event::RefreshFailed);
    }
}

/// How a search begins: in the lead, or with another's answer.
enum Seat<K: Key, V: Value> {
    Lead(Leader<K, V>, ReadOptions),
    Landed(Outcome<V>),
}

fn manner(options: &ReadOptions) -> Manner {
    Manner {
        reload: options.wants_reload(),
        or_anothers: options.newest_known().is_some(),
        skipped: options.skipped(),
        after: options.newest_known().and_then(Since::of_write),
    }
}

/// Every flight lands with its outcome.
pub(super) fn land<K: Key, V: Value>(leaders: Vec<Leader<K, V>>, outcomes: Vec<Outcome<V>>) {
    let mut outcomes = outcomes.into_iter();
    for leader in leaders {
        leader.land(outcomes.next().unwrap_or_else(|| Err(unanswered())));
    }
}

pub(super) fn hit_or_miss<V>(found: &Found<V>) -> Event<'static> {
    found.tier.map_or(Event::Miss, |tier| Event::Hit { tier })
}

pub(super) fn no_loader() -> Error {
    Error::new(
        ErrorKind::NoStore,
        "this cache has no loader; build it on one, or bring the load with `get_or_load`",
    )
}

pub(super) fn late() -> Error {
    Error::new(ErrorKind::Timeout, "the load was given up at its deadline; the next caller begins another")
}

fn nested_load() -> Error {
    Error::new(
        ErrorKind::Nested,
        "the loader of a key asked the same cache for that key, and would wait for itself",
    )
}
