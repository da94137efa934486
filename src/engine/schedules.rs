//! Random schedules of flights, fence and turns, each with what must hold in every one of them.
//!
//! ```text
//! RUSTFLAGS="--cfg shuttle" cargo test --release --lib schedules
//! ```

use std::sync::Arc;
use std::time::Duration;

use shuttle::future::block_on;
use shuttle::sync::atomic::{AtomicU64, Ordering};
use shuttle::thread;
use tokio::time::Instant;

use super::flights::{Arrival, Boarding, Flights, Leader, Manner};
use super::key_locks::{KeyLocks, Right};
use crate::entry::Entry;
use crate::error::Result;
use crate::levels::Found;
use crate::sync::Mutex;
use crate::tenant::{Tenant, TenantKey};
use crate::tier::{Acquired, Fenced, Filled, Hold, LocalMap, Purpose, Scope, Stored, Tier};
use crate::time::{Timestamp, from_now};

/// How many schedules each test tries.
const SCHEDULES: usize = 50_000;

fn soon() -> Instant {
    from_now(Duration::from_secs(60))
}

fn entry(value: u64) -> Entry<u64> {
    Entry::new(Some(value), Timestamp::ZERO, Timestamp::NEVER, Timestamp::NEVER)
}

fn found(value: u64) -> Found<u64> {
    Found { entry: entry(value), tier: None, keep: true, covers: crate::levels::ALL }
}

fn spawn_all(tasks: Vec<Box<dyn FnOnce() + Send>>) {
    let threads: Vec<_> = tasks.into_iter().map(thread::spawn).collect();
    threads.into_iter().for_each(|thread| thread.join().expect("no panic"));
}

/// Boards until somebody has an answer; a leader is given to `lead`.
fn ride(flights: &Arc<Flights<u64, u64>>, mut lead: impl FnMut(Leader<u64, u64>) -> Option<u64>) -> u64 {
    loop {
        match flights.board(&1, Manner::default(), soon()) {
            Boarding::Leader(leader) => {
                if let Some(answer) = lead(leader) {
                    return answer;
                }
            }
            Boarding::Passenger(mut passenger) => {
                if let Arrival::Landed(Ok(found)) = block_on(passenger.arrive()) {
                    return *found.entry.value().expect("a value");
                }
            }
        }
    }
}

/// A flight lands before it leaves the table, and a new leader looks for a copy first: there is one load.
#[test]
fn of_many_readers_one_loads() {
    explore_readers(true);
}

#[test]
#[should_panic(expected = "loaded more than once")]
fn without_a_second_look_a_schedule_is_found_that_loads_twice() {
    explore_readers(false);
}

fn explore_readers(looks_again: bool) {
    shuttle::check_random(
        move || {
            let flights = Arc::new(Flights::new());
            let copy = Arc::new(Mutex::new(None));
            let loads = Arc::new(AtomicU64::new(0));
            let reader = || {
                let (flights, copy, loads) = (Arc::clone(&flights), Arc::clone(&copy), Arc::clone(&loads));
                Box::new(move || {
                    let answer = ride(&flights, |leader| {
                        let kept = copy.lock().filter(|_| looks_again);
                        let value = kept.unwrap_or_else(|| {
                            loads.fetch_add(1, Ordering::SeqCst);
                            7
                        });
                        *copy.lock() = Some(value);
                        leader.land(Ok(found(value)));
                        Some(value)
                    });
                    assert_eq!(answer, 7);
                }) as Box<dyn FnOnce() + Send>
            };
            spawn_all((0..4).map(|_| reader()).collect());
            assert_eq!(loads.load(Ordering::SeqCst), 1, "loaded more than once");
        },
        SCHEDULES,
    );
}

/// Leaders go away without an answer; everybody still gets one.
#[test]
fn a_leader_that_goes_away_leaves_the_lead() {
    shuttle::check_random(
        || {
            let flights = Arc::new(Flights::new());
            let tries = Arc::new(AtomicU64::new(0));
            let reader = || {
                let (flights, tries) = (Arc::clone(&flights), Arc::clone(&tries));
                Box::new(move || {
                    let answer = ride(&flights, |leader| match tries.fetch_add(1, Ordering::SeqCst) {
                        0 | 1 => {
                            drop(leader);
                            None
                        }
                        _ => {
                            leader.land(Ok(found(7)));
                            Some(7)
                        }
                    });
                    assert_eq!(answer, 7);
                }) as Box<dyn FnOnce() + Send>
            };
            spawn_all((0..4).map(|_| reader()).collect());
        },
        SCHEDULES,
    );
}

/// A plain map, for the fence to be put around.
#[derive(Default)]
struct Plain(Mutex<Option<Stored<u64>>>);

impl LocalMap<Key, u64> for Plain {
    fn get(&self, _key: &Key) -> Option<Stored<u64>> {
        self.0.lock().clone()
    }
    fn put(&self, _key: Key, stored: Stored<u64>) {
        *self.0.lock() = Some(stored);
    }
    fn remove(&self, _key: &Key) {
        *self.0.lock() = None;
    }
    fn clear(&self) {
        *self.0.lock() = None;
    }
    fn clear_where(&self, scope: &Scope<Key>) -> bool {
        if scope.holds(&key()) {
            self.clear();
        }
        true
    }
    fn len(&self) -> u64 {
        u64::from(self.0.lock().is_some())
    }
}

type Key = TenantKey<u64, u64>;

/// The only one.
fn key() -> Key {
    Tenant::of(1).key(1)
}

type Tier1 = Fenced<Key, u64, Plain>;

/// Reads as a level does: a lease, then the store, then the fill.
fn read(tier: &Tier1, store: &AtomicU64) {
    block_on(async {
        if let Ok(Acquired::Granted(lease, _)) = tier.acquire(&key(), Purpose::Fill).await {
            let value = store.load(Ordering::SeqCst);
            _ = tier.fill(&key(), lease, &entry(value)).await;
        }
    });
}

/// When all is quiet, a copy says what the store says.
fn assert_quiet(tier: &Tier1, store: &AtomicU64) {
    if let Some(copy) = tier.local(&key()) {
        assert_eq!(copy.value(), Some(&store.load(Ordering::SeqCst)), "a stale copy was left behind");
    }
}

fn explore_fence(make: fn() -> Tier1, drop: fn(&Tier1) -> Result<()>) {
    shuttle::check_random(
        move || {
            let (tier, store) = (Arc::new(make()), Arc::new(AtomicU64::new(0)));
            let reader = || {
                let (tier, store) = (Arc::clone(&tier), Arc::clone(&store));
                Box::new(move || read(&tier, &store)) as Box<dyn FnOnce() + Send>
            };
            let writer = |value| {
                let (tier, store) = (Arc::clone(&tier), Arc::clone(&store));
                Box::new(move || {
                    store.store(value, Ordering::SeqCst);
                    drop(&tier).expect("memory works");
                }) as Box<dyn FnOnce() + Send>
            };
            spawn_all(vec![reader(), writer(1), reader(), writer(2)]);
            assert_quiet(&tier, &store);
        },
        SCHEDULES,
    );
}

fn invalidate(tier: &Tier1) -> Result<()> {
    block_on(tier.invalidate_many(&[key()]))
}

fn clear_tenant(tier: &Tier1) -> Result<()> {
    block_on(tier.clear_where(&Scope::of(key().tenant())))
}

#[test]
fn a_fill_that_a_write_overtook_is_refused() {
    explore_fence(|| Fenced::new("plain", Plain::default()), invalidate);
}

#[test]
fn a_fill_that_the_clear_of_its_tenant_overtook_is_refused() {
    explore_fence(|| Fenced::new("plain", Plain::default()), clear_tenant);
}

#[cfg(feature = "testing")]
#[test]
#[should_panic(expected = "a stale copy was left behind")]
fn without_the_fence_a_schedule_is_found_that_leaves_a_stale_copy() {
    explore_fence(|| Fenced::new("plain", Plain::default()).without_fence(), invalidate);
}

/// Writers that publish under holds, one that only invalidates, a reader: nobody leaves a stale copy.
#[test]
fn only_a_sole_writer_publishes() {
    let published = Arc::new(std::sync::atomic::AtomicU64::new(0));
    let count = Arc::clone(&published);
    shuttle::check_random(
        move || {
            let tier = Arc::new(Fenced::new("plain", Plain::default()));
            let store = Arc::new(AtomicU64::new(0));
            let publisher = |value| {
                let (tier, store, count) = (Arc::clone(&tier), Arc::clone(&store), Arc::clone(&count));
                Box::new(move || {
                    block_on(async {
                        let hold = Hold::unique();
                        tier.hold_many(&[key()], hold, Duration::from_secs(60)).await.expect("memory works");
                        store.store(value, Ordering::SeqCst);
                        if let Ok(Filled::Stored) = tier.publish(&key(), hold, &entry(value)).await {
                            count.fetch_add(1, Ordering::SeqCst);
                        }
                    });
                }) as Box<dyn FnOnce() + Send>
            };
            let (reader_tier, reader_store) = (Arc::clone(&tier), Arc::clone(&store));
            let reader = Box::new(move || read(&reader_tier, &reader_store));
            let (other_tier, other_store) = (Arc::clone(&tier), Arc::clone(&store));
            let other = Box::new(move || {
                other_store.store(3, Ordering::SeqCst);
                block_on(other_tier.invalidate_many(&[key()])).expect("memory works");
            });
            spawn_all(vec![publisher(1), reader, publisher(2), other]);
            assert_quiet(&tier, &store);
        },
        SCHEDULES,
    );
    let published = published.load(Ordering::SeqCst);
    assert!(published > SCHEDULES as u64 / 10, "hardly anything was ever published: {published}");
}

/// Writers of crossing keys: never two at one key, never a deadlock, and nothing left behind.
#[test]
fn writers_take_turns() {
    shuttle::check_random(
        || {
            let locks = Arc::new(KeyLocks::new());
            let writing = Arc::new([const { AtomicU64::new(0) }; 3]);
            let writer = |keys: [usize; 2]| {
                let (locks, writing) = (Arc::clone(&locks), Arc::clone(&writing));
                Box::new(move || {
                    let held = block_on(locks.lock(&locks.ids(&keys), Right::Sole));
                    keys.iter().for_each(|key| assert_eq!(writing[*key].fetch_add(1, Ordering::SeqCst), 0));
                    keys.iter().for_each(|key| _ = writing[*key].fetch_sub(1, Ordering::SeqCst));
                    drop(held);
                }) as Box<dyn FnOnce() + Send>
            };
            spawn_all(vec![writer([0, 1]), writer([1, 0]), writer([1, 2]), writer([2, 0])]);
            assert!(locks.is_empty());
        },
        SCHEDULES,
    );
}
