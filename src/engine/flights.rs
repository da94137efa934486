//! One search for a key at a time: the first to ask leads, the others wait for its answer.
//!
//! A flight ends in one of three ways. It *lands*: its answer reaches every waiting caller, and only then does the
//! flight leave the table, so that nobody can find neither flight nor copy and load a second time. Its leader is
//! *gone*, dropped with its caller or its runtime: the waiting callers are woken and board anew, and one of them
//! leads. Or its *time is up*: the waiting callers, who keep timers of their own, take its place in the table; a
//! leader that is not polled any more cannot hold them, and what it may bring later is kept by nobody.
//!
//! Where other processes write too, an answer is [new enough](Found::covers) for those only who had boarded before it
//! was surely right; who came later boards anew.

use std::collections::HashMap;
use std::hash::BuildHasher;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use foldhash::quality::RandomState;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::bounds::{Key, Value};
use crate::error::Result;
use crate::levels::{Found, Place, Seat, Since};
use crate::sync::Mutex;
use crate::time::{self, Timestamp, Unanswered};

/// What a flight brings back.
pub(crate) type Outcome<V> = Result<Found<V>>;

/// A flight's number, unlike that of any other flight in this process.
pub(crate) type FlightId = u64;

/// The flights of one cache.
pub(crate) struct Flights<K, V> {
    shards: Box<[Shard<K, V>]>,
    hasher: RandomState,
}

type Shard<K, V> = Mutex<HashMap<K, Flight<V>, RandomState>>;

const SHARDS: usize = 64;

/// How much longer than a flight's deadline its passengers wait: a leader that is alive lands a time-out at the
/// deadline and so tells them all the same; only one that is not polled any more is given up.
const GRACE: Duration = Duration::from_millis(50);

/// What is known of a flight to those who may join it.
struct Flight<V> {
    ticket: Arc<Ticket>,
    answer: watch::Receiver<Option<Outcome<V>>>,
}

impl<V> Clone for Flight<V> {
    fn clone(&self) -> Self {
        Self { ticket: Arc::clone(&self.ticket), answer: self.answer.clone() }
    }
}

/// The constant part of a flight, and its place among others.
pub(crate) struct Ticket {
    id: FlightId,
    manner: Manner,
    place: Arc<Place>,
}

impl Ticket {
    pub(crate) fn id(&self) -> FlightId {
        self.id
    }

    pub(crate) fn place(&self) -> &Arc<Place> {
        &self.place
    }
}

/// What sets a search apart: who wants anything at all can take the answer of any search, who wants something special
/// only that of a search alike.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Manner {
    pub(crate) reload: bool,
    /// Whether another process' reload would do as well.
    pub(crate) or_anothers: bool,
    pub(crate) skipped: Option<&'static str>,
    /// The moment of a write that the answer must not be older than.
    pub(crate) after: Option<Timestamp>,
}

impl Ticket {
    /// Whether the answer of this flight may do for a search in some manner. Who has a receipt joins only those that ask
    /// the store, if at all, after the write: `R1: begins a search, store→v1 · W, where no tier could be reached: store←v2 ·
    /// R2, with W's receipt: joins R1` would wait in vain.
    fn may_do_for(&self, manner: Manner) -> bool {
        match manner.after {
            Some(moment) => {
                self.manner.reload && self.manner.skipped == manner.skipped && self.place.asks_after(moment)
            }
            None => manner == Manner::default() || manner == self.manner,
        }
    }
}

/// Boarding makes the caller one of two.
pub(crate) enum Boarding<K: Key, V: Value> {
    Leader(Leader<K, V>),
    Passenger(Passenger<V>),
}

impl<K: Key, V: Value> Flights<K, V> {
    pub(crate) fn new() -> Self {
        let hasher = RandomState::default();
        let shard = || Mutex::new(HashMap::with_hasher(hasher.clone()));
        Self { shards: (0..SHARDS).map(|_| shard()).collect(), hasher }
    }

    fn shard(&self, key: &K) -> &Shard<K, V> {
        &self.shards[(self.hasher.hash_one(key) >> 32) as usize % SHARDS]
    }

    /// Joins the flight of `key`, or begins one that must land before `deadline`.
    pub(crate) fn board(self: &Arc<Self>, key: &K, manner: Manner, deadline: Instant) -> Boarding<K, V> {
        let mut shard = self.shard(key).lock();
        if let Some(flight) = shard.get(key).filter(|flight| flight.ticket.may_do_for(manner)) {
            let seat = flight.ticket.place.board();
            return Boarding::Passenger(Passenger { flight: flight.clone(), seat, since: None });
        }
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let id = NEXT.fetch_add(1, Ordering::Relaxed);
        let ticket = Arc::new(Ticket { id, manner, place: Arc::new(Place::until(deadline)) });
        let (sender, answer) = watch::channel(None);
        shard.insert(key.clone(), Flight { ticket: Arc::clone(&ticket), answer });
        Boarding::Leader(Leader { flights: Arc::clone(self), key: key.clone(), ticket, sender })
    }

    /// Whether a flight of `key` is under way.
    pub(crate) fn is_under_way(&self, key: &K) -> bool {
        self.shard(key).lock().contains_key(key)
    }

    /// Takes the place of a flight whose time is up.
    pub(crate) fn give_up(&self, key: &K, ticket: &Ticket) {
        ticket.place.lose();
        self.remove(key, ticket.id);
    }

    /// A write has overtaken the flights of `keys`: who waits gets its answer, who comes now begins another.
    pub(crate) fn overtake(&self, keys: &[K]) {
        for key in keys {
            self.shard(key).lock().remove(key);
        }
    }

    /// The same for all keys.
    pub(crate) fn overtake_all(&self) {
        self.shards.iter().for_each(|shard| shard.lock().clear());
    }

    /// The same for the keys of which `is_meant` is true.
    pub(crate) fn overtake_where(&self, is_meant: impl Fn(&K) -> bool) {
        self.shards.iter().for_each(|shard| shard.lock().retain(|key, _| !is_meant(key)));
    }

    fn remove(&self, key: &K, id: FlightId) {
        let mut shard = self.shard(key).lock();
        if shard.get(key).is_some_and(|flight| flight.ticket.id == id) {
            shard.remove(key);
        }
    }
}

/// The one who searches. Dropped before it has landed, it leaves the table and wakes those who wait.
pub(crate) struct Leader<K: Key, V: Value> {
    flights: Arc<Flights<K, V>>,
    key: K,
    ticket: Arc<Ticket>,
    sender: watch::Sender<Option<Outcome<V>>>,
}

impl<K: Key, V: Value> Leader<K, V> {
    pub(crate) fn ticket(&self) -> &Arc<Ticket> {
        &self.ticket
    }

    pub(crate) fn key(&self) -> &K {
        &self.key
    }

    /// A seat for the caller who began the flight and lets a task lead it.
    pub(crate) fn passenger(&self) -> Passenger<V> {
        let flight = Flight { ticket: Arc::clone(&self.ticket), answer: self.sender.subscribe() };
        Passenger { flight, seat: 0, since: None }
    }

    /// Gives the answer to all who wait; dropping the leader then clears the table.
    pub(crate) fn land(self, outcome: Outcome<V>) {
        self.sender.send_replace(Some(outcome));
    }
}

impl<K: Key, V: Value> Drop for Leader<K, V> {
    fn drop(&mut self) {
        self.flights.remove(&self.key, self.ticket.id);
    }
}

/// One who waits for a flight.
pub(crate) struct Passenger<V> {
    flight: Flight<V>,
    seat: Seat,
    /// What the answer must not be older than, for who did not begin the flight.
    since: Option<Since>,
}

/// How waiting ended.
pub(crate) enum Arrival<V> {
    Landed(Outcome<V>),
    /// The flight has landed, with an answer from before this passenger came.
    TooOld,
    LeaderGone,
    Late,
    NoTimer,
}

impl<V: Value> Passenger<V> {
    pub(crate) fn ticket(&self) -> &Ticket {
        &self.flight.ticket
    }

    /// The same passenger, who takes no answer that is older.
    pub(crate) fn asking(self, since: Option<Since>) -> Self {
        Self { since, ..self }
    }

    pub(crate) async fn arrive(&mut self) -> Arrival<V> {
        let patience = self.flight.ticket.place.deadline() + GRACE;
        let landed = self.flight.answer.wait_for(Option::is_some);
        match time::within(patience, landed).await {
            Ok(Ok(outcome)) => match &*outcome {
                Some(Ok(found)) if found.covers <= self.seat => Arrival::TooOld,
                Some(Ok(found)) if self.since.as_ref().is_some_and(|since| !since.covers(&found.entry)) => {
                    Arrival::TooOld
                }
                Some(outcome) => Arrival::Landed(outcome.clone()),
                None => Arrival::LeaderGone,
            },
            Ok(Err(_gone)) => Arrival::LeaderGone,
            Err(Unanswered::Late) => Arrival::Late,
            Err(Unanswered::NoTimer) => Arrival::NoTimer,
        }
    }
}
