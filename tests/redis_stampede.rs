//! Many processes, one cold key, one load. And what happens when the one that loads dies, is frozen, is slow or fails.

#[path = "redis_stampede/process.rs"]
mod process;
mod support;

use std::time::{Duration, Instant};

use larder::tier::redis::Namespace;
use larder::tier::{Filled, Lease};
use larder::{Entry, Tier, Timestamp};
use process::{Job, NAMESPACE, Site, count, run, start, value, wait_until};
use support::resp::Reply;

const KEY: u64 = 7;

/// Not a test by itself: what the processes run that the tests start.
#[tokio::test]
async fn does_its_job() {
    process::work().await;
}

#[tokio::test]
async fn ten_thousand_readers_in_eight_processes_make_one_load() {
    let Some(site) = Site::start_or_skip("ten_thousand_readers").await else { return };
    let took = run(&site, (0..8).map(|number| Job { tasks: 1_250, ..Job::new(number) })).await;
    let (answers, loads, waits) =
        (count(&site, "answers").await, count(&site, "loads").await, count(&site, "waits").await);
    println!("{answers} answers from {loads} load in {took:?}; {waits} processes waited for another");
    assert_eq!((loads, answers, count(&site, "errors").await), (1, 10_000, 0));
    assert_eq!(count(&site, "failures of the tier").await, 0);
    assert!(waits >= 4, "they hardly met: {waits} waited");
}

#[tokio::test]
async fn when_the_loader_is_killed_another_takes_over_within_the_lease() {
    let Some(site) = Site::start_or_skip("the_loader_is_killed").await else { return };
    let lease = Duration::from_millis(1_000);
    let job = |number| Job { lease, ..Job::new(number) };
    let mut dying = start(&site, [Job { load: Duration::from_secs(30), ..job(1) }]).await.remove(0);
    wait_until(&site, "loads", 1).await;
    tokio::time::sleep(lease * 2).await; // it renews
    assert_eq!(count(&site, "loads").await, 1);
    dying.kill();
    let right = right_to_fill(&site).await;
    let took = run(&site, [job(2)]).await;
    println!("taken over and loaded in {took:?}");
    assert!(took < lease + job(2).load + Duration::from_millis(700), "{took:?}");
    assert_eq!((count(&site, "loads").await, count(&site, "taken over").await), (2, 1));

    let late = fill(&site, KEY, right).await;
    assert_eq!(late, Filled::Refused, "what the dead one had on its way");
    assert_eq!(copy(&site, KEY).await, Some(value(2, KEY)));
}

/// The control of the test above: what it sends by hand would have been kept in time.
#[tokio::test]
async fn the_right_to_fill_is_good_until_it_is_taken_over() {
    let Some(site) = Site::start_or_skip("the_right_to_fill_is_good").await else { return };
    let mut dying = start(&site, [Job { load: Duration::from_secs(30), ..Job::new(1) }]).await.remove(0);
    wait_until(&site, "loads", 1).await;
    dying.kill();
    let right = right_to_fill(&site).await;
    assert_eq!(fill(&site, KEY, right).await, Filled::Stored);
    assert_eq!(copy(&site, KEY).await, Some(BY_HAND));
}

#[tokio::test]
async fn one_that_was_frozen_in_its_load_comes_too_late() {
    let Some(site) = Site::start_or_skip("frozen_in_its_load").await else { return };
    let job = |number| Job { lease: Duration::from_millis(1_000), ..Job::new(number) };
    let mut frozen = start(&site, [job(1)]).await.remove(0);
    wait_until(&site, "loads", 1).await;
    frozen.freeze();
    run(&site, [job(2)]).await;
    assert_eq!((count(&site, "loads").await, count(&site, "taken over").await), (2, 1));
    assert_eq!(copy(&site, KEY).await, Some(value(2, KEY)));

    frozen.thaw();
    frozen.finish().await;
    assert_eq!(count(&site, "fills refused").await, 1, "it asked");
    assert_eq!(copy(&site, KEY).await, Some(value(2, KEY)), "and was not heard");
    assert_eq!(count(&site, "answers").await, 2, "its own reader has an answer all the same");
}

/// Whoever comes during the last lease of a long load finds it renewed, and shares it.
#[tokio::test]
async fn a_load_that_outlives_its_lease_is_renewed() {
    let Some(site) = Site::start_or_skip("outlives_its_lease").await else { return };
    let (lease, load) = (Duration::from_millis(1_000), Duration::from_millis(3_000));
    let first = Job { lease, load, tasks: 50, ..Job::new(1) };
    let late = Job { after: Duration::from_millis(2_500), ..first };
    run(&site, [first, Job { number: 2, ..late }, Job { number: 3, ..late }]).await;
    assert_eq!((count(&site, "loads").await, count(&site, "answers").await), (1, 150));
    assert_eq!((count(&site, "waits").await, count(&site, "taken over").await), (2, 0));
    assert_eq!(copy(&site, KEY).await, Some(value(1, KEY)));
}

/// Nobody waits for another process longer than for one lease. Who has waited that long loads past it, once in each
/// process, and keeps nothing.
#[tokio::test]
async fn who_has_waited_for_a_lease_loads_past_a_long_load() {
    let Some(site) = Site::start_or_skip("loads_past_a_long_load").await else { return };
    let lease = Duration::from_millis(400);
    let first = Job { lease, load: Duration::from_millis(3_000), tasks: 50, ..Job::new(1) };
    let second =
        Job { number: 2, load: Duration::from_millis(50), after: Duration::from_millis(200), ..first };
    let mut processes = start(&site, [first, second]).await;
    let since = Instant::now();
    processes[1].finish().await;
    let took = since.elapsed();
    assert!(took < Duration::from_millis(2_500), "it waited for the load: {took:?}");
    assert_eq!(copy(&site, KEY).await, None, "its answer was not kept");
    processes[0].finish().await;
    assert_eq!((count(&site, "loads").await, count(&site, "taken over").await), (2, 0));
    assert_eq!((count(&site, "answers").await, count(&site, "fills refused").await), (100, 0));
    assert_eq!(copy(&site, KEY).await, Some(value(1, KEY)));
}

#[tokio::test]
async fn after_a_load_that_fails_the_next_process_loads() {
    let Some(site) = Site::start_or_skip("after_a_load_that_fails").await else { return };
    let job = |number| Job { failures: 1, tasks: 50, load: Duration::from_millis(200), ..Job::new(number) };
    let took = run(&site, (0..4).map(job)).await;
    println!("the second load was done after {took:?}");
    assert!(took < Duration::from_secs(4), "they waited for the lease of a load that had failed: {took:?}");
    assert_eq!(count(&site, "loads").await, 2);
    assert_eq!((count(&site, "answers").await, count(&site, "errors").await), (150, 50));
}

#[tokio::test]
async fn when_every_load_fails_each_process_tries_once() {
    let Some(site) = Site::start_or_skip("every_load_fails").await else { return };
    let job =
        |number| Job { failures: 1_000, tasks: 50, load: Duration::from_millis(100), ..Job::new(number) };
    let took = run(&site, (0..4).map(job)).await;
    println!("all had failed after {took:?}");
    assert_eq!((count(&site, "loads").await, count(&site, "errors").await), (4, 200));
    assert!(took < Duration::from_secs(4), "{took:?}");
}

#[tokio::test]
async fn overlapping_batches_load_every_key_once() {
    let Some(site) = Site::start_or_skip("overlapping_batches").await else { return };
    let job = |number, keys| Job { keys, tasks: 20, ..Job::new(number) };
    run(&site, [job(1, (0, 60)), job(2, (40, 100)), job(3, (20, 80))]).await;
    assert_eq!((count(&site, "answers").await, count(&site, "errors").await), (3 * 60 * 20, 0));
    for key in 0..100 {
        assert_eq!(count(&site, &format!("loads of {key}")).await, 1, "key {key}");
    }
    let waits = count(&site, "waits").await;
    println!("{waits} keys were waited for");
    assert!(waits >= 20, "they hardly met: {waits}");
}

const BY_HAND: u64 = 9_999;

async fn tier(site: &Site) -> Namespace<u64> {
    site.server.redis().namespace(NAMESPACE)
}

/// The lease that stands in the key's slot, as its holder knows it.
async fn right_to_fill(site: &Site) -> Lease {
    let Reply::Array(names) = site.server.command(&["KEYS", &format!("{NAMESPACE}:*")]).await else {
        panic!("names")
    };
    let [Reply::Bulk(Some(name))] = &names[..] else { panic!("one key: {names:?}") };
    let Reply::Bulk(Some(slot)) = site.server.command(&[b"GET".as_slice(), name]).await else {
        panic!("a slot")
    };
    assert_eq!(&slot[..4], b"ld1L", "leased");
    Lease::new(u128::from_be_bytes(slot[4..20].try_into().expect("sixteen bytes")))
}

/// Sends what the holder of a lease would send after its load.
async fn fill(site: &Site, key: u64, right: Lease) -> Filled {
    let entry = Entry::new(Some(BY_HAND), Timestamp::ZERO, Timestamp::NEVER, Timestamp::NEVER);
    tier(site).await.fill(&key, right, &entry).await.expect("the server works")
}

async fn copy(site: &Site, key: u64) -> Option<u64> {
    let copies = tier(site).await.get_many(&[key]).await.expect("the server works");
    copies.into_iter().next().flatten().and_then(Entry::into_value)
}
