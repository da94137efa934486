//! Readers wait for the load of another process, no longer than a lease, and never for one that is not coming.

use std::time::Duration;

use crate::support::{MINUTE, numbers};
use larder::testing::{Call, FakeStore, Gate, SharedServer, TestClock, Trouble};
use larder::tier::{Acquired, Purpose};
use larder::{Builder, LayeredCache, Result, StoreError, Tier};
use tokio::time::Instant;

type Server = SharedServer<u64, u64>;

fn process(server: &Server, store: &FakeStore<u64, u64>) -> LayeredCache<u64, u64> {
    settings(server, store).build().expect("complete")
}

fn settings(server: &Server, store: &FakeStore<u64, u64>) -> Builder<u64, u64> {
    larder::cache_aside(store.clone()).tier(server.tier()).ttl(MINUTE).jitter(0.0).clock(TestClock::new())
}

fn read(cache: &LayeredCache<u64, u64>, key: u64) -> tokio::task::JoinHandle<Result<Option<u64>>> {
    let cache = cache.clone();
    tokio::spawn(async move { cache.get(&key).await })
}

async fn a_while(millis: u64) {
    tokio::time::sleep(Duration::from_millis(millis)).await;
}

#[tokio::test(start_paused = true)]
async fn of_all_processes_one_loads() {
    let (server, store) = (Server::new(), numbers(10));
    let gate = store.gate_before(Call::Load);
    let fleet: Vec<_> = (0..8).map(|_| process(&server, &store)).collect();
    let reads: Vec<_> = (0..8_000).map(|n| read(&fleet[n % 8], 7)).collect();
    a_while(1_000).await;
    gate.open();
    for answer in reads {
        assert_eq!(answer.await.expect("no panic").expect("found"), Some(7));
    }
    assert_eq!(store.loads(), 1);
}

/// A load that takes longer than a lease is renewed; who has waited for one whole lease loads alone, and keeps nothing.
#[tokio::test(start_paused = true)]
async fn a_slow_load_is_not_overtaken_and_nobody_waits_for_ever() {
    let (server, store) = (Server::new(), numbers(10));
    let (one, other) = (process(&server, &store), process(&server, &store));
    let gate = store.gate_before(Call::Load);
    let slow = read(&one, 7);
    a_while(100).await;
    let start = Instant::now();
    let waiting = read(&other, 7);
    a_while(20_000).await;
    assert_eq!(store.loads(), 2, "the second began when it had waited for a lease");
    gate.open();
    assert_eq!(slow.await.expect("no panic").expect("found"), Some(7));
    assert_eq!(waiting.await.expect("no panic").expect("found"), Some(7));
    assert!(start.elapsed() >= Duration::from_secs(5));
    assert_eq!(
        (one.stats().fills_refused, other.stats().leases_taken_over),
        (0, 0),
        "the slow one has filled"
    );
}

/// The peer's bug: everybody waits for a process that has died.
#[tokio::test(start_paused = true)]
async fn a_load_that_died_is_replaced_within_its_lease() {
    let (server, store) = (Server::new(), numbers(10));
    let dead = server.tier();
    assert!(matches!(dead.acquire(&7, Purpose::Fill).await, Ok(Acquired::Granted(..))));
    let cache = process(&server, &store);
    let start = Instant::now();
    assert_eq!(cache.get(&7).await.expect("found"), Some(7));
    let waited = start.elapsed();
    assert!((4_900..5_100).contains(&waited.as_millis()), "one lease, not {waited:?}");
    assert_eq!((cache.stats().leases_taken_over, cache.stats().waited), (1, 1));
}

/// A caller who goes away takes his load along; its lease must not keep the others waiting.
#[tokio::test(start_paused = true)]
async fn a_load_that_was_given_up_keeps_nobody_waiting() {
    let (server, store) = (Server::new(), numbers(10));
    let (one, other) = (process(&server, &store), process(&server, &store));
    let never = || std::future::pending::<Result<Option<u64>, StoreError>>();
    let given_up = tokio::time::timeout(Duration::from_millis(50), one.get_or_load(&7, never)).await;
    assert!(given_up.is_err());
    let start = Instant::now();
    assert_eq!(other.get(&7).await.expect("found"), Some(7));
    assert!(start.elapsed() < Duration::from_millis(50));
}

#[tokio::test(start_paused = true)]
async fn a_load_that_hangs_gives_its_lease_back_at_its_deadline() {
    let (server, store) = (Server::new(), numbers(10));
    let hasty = settings(&server, &store).load_deadline(Duration::from_secs(1)).build().expect("complete");
    let gate = store.gate_before(Call::Load);
    assert!(hasty.get(&7).await.is_err());
    gate.open();
    let start = Instant::now();
    assert_eq!(process(&server, &store).get(&7).await.expect("found"), Some(7));
    assert!(start.elapsed() < Duration::from_millis(50));
}

/// Many processes refresh a copy at about the same time: the first one's answer does for all.
#[tokio::test(start_paused = true)]
async fn a_copy_is_refreshed_by_one_process_for_all() {
    let (server, store) = (Server::new(), numbers(10));
    let fleet: Vec<_> =
        (0..8).map(|_| settings(&server, &store).refresh_ahead(0.5).build().expect("complete")).collect();
    assert_eq!(fleet[0].get(&7).await.expect("found"), Some(7));
    tokio::time::advance(MINUTE * 3 / 4).await;
    for cache in &fleet {
        assert_eq!(cache.get(&7).await.expect("served at once"), Some(7));
    }
    a_while(1_000).await;
    assert_eq!(store.loads(), 2);
}

/// A failed load leaves the stale copy, and nobody tries for a while.
#[tokio::test(start_paused = true)]
async fn a_failed_refresh_leaves_the_copy_to_all_processes() {
    let (server, store) = (Server::new(), numbers(10));
    let stale = |cache: Builder<u64, u64>| cache.stale_while_revalidate(MINUTE).build().expect("complete");
    let (one, other) = (stale(settings(&server, &store)), stale(settings(&server, &store)));
    one.get(&7).await.expect("found");
    tokio::time::advance(MINUTE + Duration::from_secs(1)).await;
    store.always(Call::Load, Some(Trouble::NotApplied));
    assert_eq!(one.get(&7).await.expect("stale"), Some(7));
    a_while(100).await;
    assert_eq!(other.get(&7).await.expect("stale"), Some(7));
    a_while(100).await;
    assert_eq!(store.loads(), 2, "the other process has left the key alone");
}

#[tokio::test(start_paused = true)]
async fn a_batch_waits_only_for_the_keys_that_others_load() {
    let (server, store) = (Server::new(), numbers(10));
    let (one, other) = (process(&server, &store), process(&server, &store));
    let gate: Gate = store.gate_before(Call::Load);
    let first = read(&one, 7);
    a_while(10).await;
    let batch = tokio::spawn(async move { other.get_many(&[6, 7, 8]).await });
    a_while(10).await;
    assert_eq!(store.loads(), 3, "its own keys are under way");
    gate.open();
    let answers: Vec<_> =
        batch.await.expect("no panic").into_iter().map(|answer| answer.expect("found")).collect();
    assert_eq!(answers, [Some(6), Some(7), Some(8)]);
    assert_eq!(first.await.expect("no panic").expect("found"), Some(7));
    assert_eq!(store.loads(), 3, "each key was loaded once");
}

/// What the store says it has not is served no more, also where absences are not remembered.
#[tokio::test(start_paused = true)]
async fn a_reload_that_finds_nothing_drops_the_copy_for_all() {
    let (server, store) = (Server::new(), numbers(10));
    let (one, other) = (process(&server, &store), process(&server, &store));
    assert_eq!(one.get(&7).await.expect("found"), Some(7));
    store.remove_row(&7);
    assert_eq!(one.refresh(&7).await.expect("asked"), None);
    assert_eq!(one.get(&7).await.expect("asked"), None);
    assert_eq!(other.get(&7).await.expect("asked"), None);
}
