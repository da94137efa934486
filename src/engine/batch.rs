//! Searching for many keys at once: one load for those that nobody is loading yet, and others' answers for the rest.
//!
//! A batch begins all its own loads before it waits for anybody: two batches that want each other's keys could
//! otherwise wait for each other.

use super::Engine;
use super::flights::{Boarding, Leader, Outcome, Passenger};
use super::options::ReadOptions;
use super::search::land;
use super::served::Served;
use crate::bounds::{Key, Value};
use crate::error::{Error, Result};
use crate::levels::{Found, Load, unanswered};

/// The keys of a batch that have no answer yet, by their positions.
struct Open<'a, K, V> {
    keys: &'a [K],
    answers: Vec<Option<Outcome<V>>>,
    /// Whether the flight that a key waited for has run out of time before.
    waited_in_vain: Vec<bool>,
}

/// Where the keys of a batch have found seats.
struct Seats<K: Key, V: Value> {
    leaders: Vec<(usize, Leader<K, V>)>,
    passengers: Vec<(usize, Passenger<V>)>,
}

impl<K: Key, V: Value> Engine<K, V> {
    /// For each key a fresh copy, or else what the loader says; keys that nobody is loading yet are loaded together.
    /// One answer for each, in their order. The keys are expected to differ.
    pub async fn find_many(&self, keys: &[K], options: &ReadOptions) -> Vec<Result<Served<V>>> {
        let loader = match self.loader() {
            Ok(loader) => loader,
            Err(error) => return all(keys, &error),
        };
        let options = match self.since_receipt(keys, options).await {
            Ok(options) => options,
            Err(error) => return all(keys, &error),
        };
        let mut open = Open::new(keys);
        open.take(self.look_first(keys, &options).await);
        self.take_newer(&mut open, &options);
        let options = &self.having_looked(options);
        while let Some(seats) = self.seats(&mut open, options) {
            let mut own = Vec::new();
            let mut leaders = seats.leaders.into_iter().peekable();
            while leaders.peek().is_some() {
                let (positions, batch): (Vec<_>, Vec<_>) =
                    leaders.by_ref().take(self.context().batch).unzip();
                let passengers: Vec<_> = batch.iter().map(Leader::passenger).collect();
                match self.send_off(batch, std::sync::Arc::clone(&loader), options) {
                    Ok(()) => own.extend(positions.into_iter().zip(passengers)),
                    Err(error) => {
                        positions.into_iter().for_each(|at| open.answers[at] = Some(Err(error.clone())))
                    }
                }
            }
            for (at, mut passenger) in own {
                open.answers[at] = Some(self.own_answer(&keys[at], &mut passenger).await);
            }
            self.ride_all(&mut open, seats.passengers).await;
        }
        self.answers(open)
    }

    /// The same with a load that the caller brings along; it runs here, once for every round of keys to load.
    pub(crate) async fn find_or_load_many(
        &self,
        keys: &[K],
        load: &dyn Load<K, V>,
        options: &ReadOptions,
    ) -> Vec<Result<Served<V>>> {
        let options = match self.since_receipt(keys, options).await {
            Ok(options) => options,
            Err(error) => return all(keys, &error),
        };
        let mut open = Open::new(keys);
        open.take(self.look_first(keys, &options).await);
        self.take_newer(&mut open, &options);
        let options = &self.having_looked(options);
        while let Some(seats) = self.seats(&mut open, options) {
            let (positions, leaders): (Vec<_>, Vec<_>) = seats.leaders.into_iter().unzip();
            let outcomes = self.search(&leaders, load, options).await;
            land(leaders, outcomes.clone());
            for (at, outcome) in positions.into_iter().zip(outcomes) {
                open.answers[at] = Some(outcome);
            }
            self.ride_all(&mut open, seats.passengers).await;
        }
        self.answers(open)
    }

    /// Answers what the topmost tier has that is new enough for who has a receipt.
    fn take_newer(&self, open: &mut Open<'_, K, V>, options: &ReadOptions) {
        for (key, answer) in open.keys.iter().zip(&mut open.answers).filter(|(_, answer)| answer.is_none()) {
            *answer = self.newer_here(key, options).map(Ok);
        }
    }

    /// Seats for all keys that are still open; `None` when none is.
    fn seats(&self, open: &mut Open<'_, K, V>, options: &ReadOptions) -> Option<Seats<K, V>> {
        let mut seats = Seats { leaders: Vec::new(), passengers: Vec::new() };
        for (at, key) in open.keys.iter().enumerate() {
            if open.answers[at].is_some() {
                continue;
            }
            match self.board(key, options) {
                Ok(Boarding::Leader(leader)) => seats.leaders.push((at, leader)),
                Ok(Boarding::Passenger(passenger)) => seats.passengers.push((at, passenger)),
                Err(error) => open.answers[at] = Some(Err(error)),
            }
        }
        (!seats.leaders.is_empty() || !seats.passengers.is_empty()).then_some(seats)
    }

    async fn ride_all(&self, open: &mut Open<'_, K, V>, passengers: Vec<(usize, Passenger<V>)>) {
        for (at, mut passenger) in passengers {
            let key = &open.keys[at];
            open.answers[at] = self.ride(key, &mut passenger, &mut open.waited_in_vain[at]).await;
        }
    }

    fn answers(&self, open: Open<'_, K, V>) -> Vec<Result<Served<V>>> {
        let answers = open.answers.into_iter();
        answers.map(|outcome| self.answer(outcome.unwrap_or_else(|| Err(unanswered())))).collect()
    }
}

impl<'a, K, V> Open<'a, K, V> {
    fn new(keys: &'a [K]) -> Self {
        Self { keys, answers: keys.iter().map(|_| None).collect(), waited_in_vain: vec![false; keys.len()] }
    }
}

impl<K, V> Open<'_, K, V> {
    /// Answers what there are copies of.
    fn take(&mut self, copies: Vec<Option<Found<V>>>) {
        for (answer, copy) in self.answers.iter_mut().zip(copies) {
            *answer = copy.map(Ok);
        }
    }
}

/// The same error for every key.
fn all<K, A>(keys: &[K], error: &Error) -> Vec<Result<A>> {
    keys.iter().map(|_| Err(error.clone())).collect()
}
