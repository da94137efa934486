//! Searching for a key: in the lead of a flight, or with another's answer.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures_util::FutureExt;

use super::background::{Duty, abandoned, no_runtime};
use super::flights::{Arrival, Boarding, Leader, Outcome};
use super::nesting::{self, Under};
use super::options::ReadOptions;
use super::served::Served;
use super::{Engine, closed};
use crate::bounds::{Key, Value};
use crate::error::{Error, ErrorKind, Result};
use crate::event::Event;
use crate::levels::{Found, Load, Search};
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
    async fn search(
        &self,
        leader: &Leader<K, V>,
        load: &dyn Load<K, V>,
        options: &ReadOptions,
    ) -> Outcome<V> {
        let ticket = leader.ticket();
        let wanted = || ticket.wanted();
        let search = Search { load, ttl: options.own_ttl(), reload: options.is_reload(), wanted: &wanted };
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
        outcome.map(|found| Served::at(self.context().clock.now(), found))
    }
}

/// How a search begins: in the lead, or with another's answer.
enum Seat<K: Key, V: Value> {
    Lead(Leader<K, V>),
    Landed(Outcome<V>),
}

pub(super) fn hit_or_miss<V>(found: &Found<V>) -> Event<'static> {
    found.tier.map_or(Event::Miss, |tier| Event::Hit { tier })
}

fn no_loader() -> Error {
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
