//! A read that is given the receipt of a write answers with nothing older, in whichever process, whatever copies there
//! are and whoever could not be reached.

use std::io;
use std::time::Duration;

use crate::support::proxy::Proxy;
use crate::support::redis_server::RedisServer;
use crate::support::watching::{soon, until};
use crate::support::{MINUTE, numbers};
use futures_util::future::join_all;
use larder::journal::Volatile;
use larder::strategy::RefreshAhead;
use larder::testing::{Call, FakeStore, Trouble};
use larder::tier::redis::RedisBuilder;
use larder::{
    Builder, Cache, Consistency, Copies, ErrorKind, LayeredCache, Memory, ReadOptions, Receipt, Served,
    cache_aside, write_behind, write_through,
};

/// A machine with other things to do is no outage.
const DEADLINE: Duration = Duration::from_millis(250);
/// Longer than what is unknown of a server's clock in two processes: each has been told its time within the deadline.
const A_MOMENT: Duration = Duration::from_millis(600);

type Process = LayeredCache<u64, u64>;

/// One process of a service, whose memory may keep for a minute what others have changed long ago.
fn process(redis: RedisBuilder, builder: Builder<u64, u64>) -> Process {
    let redis = redis.deadline(DEADLINE).build().expect("a URL");
    settings(builder.tier(Memory::with_capacity(1_000)).tier(redis.namespace("n")))
}

/// One that has no memory of its own.
fn forgetful(redis: RedisBuilder, builder: Builder<u64, u64>) -> Process {
    let redis = redis.deadline(DEADLINE).build().expect("a URL");
    settings(builder.tier(redis.namespace("n")))
}

fn settings(builder: Builder<u64, u64>) -> Process {
    builder.ttl(MINUTE).jitter(0.0).local_ttl(MINUTE).build().expect("complete")
}

/// As it comes to another process: as a string.
fn sent(receipt: &Receipt) -> ReadOptions {
    let receipt: Receipt = receipt.to_string().parse().expect("it was written just now");
    ReadOptions::new().covering(&receipt)
}

async fn get(cache: &Process, key: u64) -> Option<u64> {
    soon(cache.get(&key)).await.expect("answered")
}

async fn get_with(cache: &Process, key: u64, receipt: &Receipt) -> Option<u64> {
    soon(cache.get_with(&key, sent(receipt))).await.expect("answered")
}

/// What is answered, and which tier had it.
async fn served(cache: &Process, key: u64, receipt: &Receipt) -> (Option<u64>, Option<&'static str>) {
    let served = soon(cache.get_entry_with(&key, sent(receipt))).await.expect("answered").expect("a store");
    (served.value().copied(), served.tier())
}

#[tokio::test]
async fn a_warm_memory_of_another_process_is_passed_over() {
    let name = "a_warm_memory_of_another_process_is_passed_over";
    let Some(server) = RedisServer::start_or_skip(name).await else { return };
    for pattern in [cache_aside::<u64, u64>, write_through] {
        let store = numbers(10);
        let (one, other) =
            (process(server.builder(), pattern(store.clone())), process(server.builder(), pattern(store)));
        assert_eq!(get(&other, 7).await, Some(7));
        // Of two copies the one that looks newer is kept, and their times come from two clocks.
        tokio::time::sleep(A_MOMENT).await;
        let written = soon(one.put(&7, 70)).await.expect("written");
        assert_eq!(
            get(&other, 7).await,
            Some(7),
            "without it memory answers: the receipt makes the difference"
        );
        assert_eq!(get_with(&other, 7, written.receipt()).await, Some(70));
        assert_eq!(get(&other, 7).await, Some(70), "and what was found is kept");
        soon(one.clear()).await.expect("cleared");
    }
}

#[tokio::test]
async fn a_copy_that_was_loaded_after_the_write_will_do() {
    let name = "a_copy_that_was_loaded_after_the_write_will_do";
    let Some(server) = RedisServer::start_or_skip(name).await else { return };
    let store = numbers(10);
    let process = || process(server.builder(), cache_aside(store.clone()));
    let (one, other, third) = (process(), process(), process());
    assert_eq!(get(&other, 7).await, Some(7));
    let written = soon(one.put(&7, 70)).await.expect("written");
    tokio::time::sleep(A_MOMENT).await;
    assert_eq!(get(&third, 7).await, Some(70));
    let loads = store.loads();
    assert_eq!(served(&other, 7, written.receipt()).await, (Some(70), Some("redis")));
    assert_eq!(
        served(&other, 7, written.receipt()).await,
        (Some(70), Some("memory")),
        "from now on it is here"
    );
    assert_eq!(store.loads(), loads);
}

#[tokio::test]
async fn the_copy_that_the_write_left_will_do_at_once() {
    let name = "the_copy_that_the_write_left_will_do_at_once";
    let Some(server) = RedisServer::start_or_skip(name).await else { return };
    let store = numbers(10);
    let process = || process(server.builder(), write_through(store.clone()));
    let (one, other) = (process(), process());
    assert_eq!(get(&other, 7).await, Some(7));
    for value in 70..90 {
        let written = soon(one.put(&7, value)).await.expect("written");
        assert_eq!(written.copies(), Copies::Kept);
        assert_eq!(served(&other, 7, written.receipt()).await, (Some(value), Some("redis")));
        assert_eq!(
            served(&one, 7, written.receipt()).await,
            (Some(value), Some("memory")),
            "where it was written"
        );
    }
    assert_eq!(store.loads(), 1);
}

/// Where the server was met before, the writer knows its time, whether it can be reached or not.
#[tokio::test]
async fn copies_that_the_writer_could_not_drop_are_passed_over() {
    let name = "copies_that_the_writer_could_not_drop_are_passed_over";
    let Some(server) = RedisServer::start_alone_or_skip(name).await else { return };
    let proxy = Proxy::to(server.address()).await;
    let store = numbers(10);
    let one = process(server.builder_through(&proxy), cache_aside(store.clone()));
    let reader = || process(server.builder(), cache_aside(store.clone()));
    let (other, third) = (reader(), reader());
    assert_eq!((get(&one, 1).await, get(&other, 7).await), (Some(1), Some(7)));
    proxy.refuse(true);
    let write = async {
        store.set_row(7, 70);
        Ok::<_, io::Error>(())
    };
    let written = soon(one.write(&[7], || write)).await.expect("written");
    assert_eq!(written.copies(), Copies::Pending);
    assert_eq!(get(&third, 7).await, Some(7), "without it the copy that nobody could drop");
    tokio::time::sleep(A_MOMENT).await;
    assert_eq!(served(&other, 7, written.receipt()).await, (Some(70), None), "loaded");
    let loads = store.loads();
    assert_eq!(served(&third, 7, written.receipt()).await, (Some(70), Some("redis")), "and kept for all");
    assert_eq!(get_with(&one, 7, written.receipt()).await, Some(70), "where it was written, too");
    assert!(store.loads() <= loads + 1, "the writer alone cannot see that copy");
}

#[tokio::test]
async fn a_receipt_that_no_server_can_place_is_covered_by_a_load() {
    let name = "a_receipt_that_no_server_can_place_is_covered_by_a_load";
    let Some(server) = RedisServer::start_alone_or_skip(name).await else { return };
    let proxy = Proxy::to(server.address()).await;
    proxy.refuse(true);
    let store = numbers(10);
    let one = process(server.builder_through(&proxy), cache_aside(store.clone()));
    let other = process(server.builder(), cache_aside(store.clone()));
    assert_eq!(get(&other, 7).await, Some(7));
    let written = soon(one.put(&7, 70)).await.expect("written");
    assert_eq!(written.copies(), Copies::Pending);
    assert_eq!(get(&other, 7).await, Some(7));
    assert_eq!(served(&other, 7, written.receipt()).await, (Some(70), None));
    assert_eq!(
        served(&other, 7, written.receipt()).await,
        (Some(70), Some("memory")),
        "loaded after it was first seen here"
    );
    let third = process(server.builder(), cache_aside(store.clone()));
    let before = store.loads();
    let readers = (0..50).map(|_| get_with(&third, 7, written.receipt()));
    assert_eq!(join_all(readers).await, [Some(70); 50]);
    assert_eq!(store.loads(), before + 1, "once for all who read at the same time");
}

#[tokio::test]
async fn a_load_that_began_before_the_write_answers_only_those_without_a_receipt() {
    let name = "a_load_that_began_before_the_write_answers_only_those_without_a_receipt";
    let Some(server) = RedisServer::start_alone_or_skip(name).await else { return };
    let proxy = Proxy::to(server.address()).await;
    let store = numbers(10);
    let one = process(server.builder_through(&proxy), cache_aside(store.clone()));
    let other = process(server.builder(), cache_aside(store.clone()));
    assert_eq!((get(&one, 1).await, get(&other, 1).await), (Some(1), Some(1)));
    // Redis does not hear of the writes, and keeps what the loads will bring.
    proxy.refuse(true);
    proxy.cut();
    for (key, options) in [(7, ReadOptions::new()), (8, ReadOptions::new().reload())] {
        let gate = store.gate_after(Call::Load);
        let (loads, waits) = (store.loads(), other.stats().waited);
        let read = |options| {
            let other = other.clone();
            tokio::spawn(async move { other.get_with(&key, options).await })
        };
        let early = read(options);
        gate.arrived(1).await;
        let written = soon(one.put(&key, 70)).await.expect("written");
        assert_eq!(written.copies(), Copies::Pending);
        let late = read(sent(written.receipt()));
        until("the late one waits for the lease of the early one", async || other.stats().waited > waits)
            .await;
        gate.open();
        assert_eq!(soon(early).await.expect("no panic").expect("answered"), Some(key));
        assert_eq!(soon(late).await.expect("no panic").expect("answered"), Some(70));
        assert_eq!(store.loads(), loads + 2);
        assert_eq!(get(&other, key).await, Some(70), "the newer answer is kept");
    }
}

#[tokio::test]
async fn after_a_restart_of_the_server_only_a_load_will_do() {
    let name = "after_a_restart_of_the_server_only_a_load_will_do";
    let Some(server) = RedisServer::start_one_or_skip(name).await else { return };
    let store = numbers(10);
    let process = || process(server.builder(), cache_aside(store.clone()));
    let (one, other) = (process(), process());
    assert_eq!(get(&other, 7).await, Some(7));
    let written = soon(one.put(&7, 70)).await.expect("written");
    tokio::time::sleep(A_MOMENT).await;
    assert_eq!(get(&one, 7).await, Some(70));
    server.restart().await;
    let loads = store.loads();
    assert_eq!(served(&other, 7, written.receipt()).await, (Some(70), None));
    assert_eq!(store.loads(), loads + 1);
    let again = soon(one.put(&7, 71)).await.expect("written");
    assert_eq!(get_with(&other, 7, again.receipt()).await, Some(71), "a receipt of the new life");
}

#[tokio::test]
async fn each_key_of_a_batch_is_covered() {
    let Some(server) = RedisServer::start_or_skip("each_key_of_a_batch_is_covered").await else { return };
    let store = numbers(100);
    let process = || process(server.builder(), cache_aside(store.clone()));
    let (one, other) = (process(), process());
    let keys: Vec<u64> = (0..40).collect();
    soon(other.get_many(&keys)).await;
    let entries = keys.iter().map(|key| (*key, key + 100)).collect();
    let written = soon(one.put_many(entries)).await;
    let receipt = written[0].as_ref().expect("written").receipt();
    tokio::time::sleep(A_MOMENT).await;
    assert_eq!(get(&one, 3).await, Some(103));
    let loads = store.loads();
    let plain = soon(other.get_many(&keys)).await;
    assert!(plain.into_iter().zip(&keys).all(|(value, key)| value.expect("answered") == Some(*key)));
    let answers = soon(other.get_many_with(&keys, sent(receipt))).await;
    assert!(answers.into_iter().zip(&keys).all(|(value, key)| value.expect("answered") == Some(key + 100)));
    assert_eq!(store.loads(), loads + 39, "one of them was loaded after the write");
    let again = soon(other.get_many_with(&keys, sent(receipt))).await;
    assert!(again.into_iter().all(|value| value.is_ok()));
    if server.cluster().is_none() {
        assert_eq!(store.loads(), loads + 39, "and now they are here");
    }
}

#[tokio::test]
async fn what_was_deleted_is_absent() {
    let Some(server) = RedisServer::start_or_skip("what_was_deleted_is_absent").await else { return };
    for pattern in [cache_aside::<u64, u64>, write_through] {
        let store = numbers(10);
        let process = || process(server.builder(), pattern(store.clone()));
        let (one, other) = (process(), process());
        assert_eq!(get(&other, 7).await, Some(7));
        let deleted = soon(one.delete(&7)).await.expect("deleted");
        assert_eq!(get(&other, 7).await, Some(7));
        assert_eq!(get_with(&other, 7, deleted.receipt()).await, None);
        soon(one.clear()).await.expect("cleared");
    }
}

#[tokio::test]
async fn a_load_of_the_callers_own_is_covered() {
    let Some(server) = RedisServer::start_or_skip("a_load_of_the_callers_own_is_covered").await else {
        return;
    };
    let (one, other) =
        (process(server.builder(), larder::cache()), process(server.builder(), larder::cache()));
    let load = |value: u64| async move { Ok::<_, io::Error>(Some(value)) };
    assert_eq!(soon(other.get_or_load(&7, || load(7))).await.expect("loaded"), Some(7));
    let written = soon(one.write(&[7], || async { Ok::<_, io::Error>(()) })).await.expect("written");
    assert_eq!(soon(other.get_or_load(&7, || load(8))).await.expect("a copy"), Some(7));
    let options = sent(written.receipt());
    assert_eq!(soon(other.get_or_load_with(&7, || load(70), options)).await.expect("loaded"), Some(70));
}

#[tokio::test]
async fn when_the_store_fails_nothing_older_is_served() {
    let name = "when_the_store_fails_nothing_older_is_served";
    let Some(server) = RedisServer::start_or_skip(name).await else { return };
    let store = numbers(10);
    let process = |builder: Builder<u64, u64>| {
        process(server.builder(), builder.stale_while_revalidate(MINUTE).read(RefreshAhead::after(0.0)))
    };
    let (one, other) = (process(cache_aside(store.clone())), process(cache_aside(store.clone())));
    assert_eq!(get(&other, 7).await, Some(7));
    let written = soon(one.put(&7, 70)).await.expect("written");
    store.always(Call::Load, Some(Trouble::Unknown));
    let error = soon(other.get_with(&7, sent(written.receipt()))).await.expect_err("the store fails");
    assert_eq!(error.kind(), ErrorKind::Store);
    let fails = || async { Err::<Option<u64>, _>(io::Error::other("no")) };
    let error = soon(other.get_or_load_with(&7, fails, sent(written.receipt()))).await.expect_err("it fails");
    assert_eq!(error.kind(), ErrorKind::Store);
    assert_eq!(get(&other, 7).await, Some(7), "who does not ask for more is still served");
    store.always(Call::Load, None);
    assert_eq!(get_with(&other, 7, written.receipt()).await, Some(70));
}

#[tokio::test]
async fn copies_alone_are_covered_or_missing() {
    let Some(server) = RedisServer::start_or_skip("copies_alone_are_covered_or_missing").await else {
        return;
    };
    let process = || process(server.builder(), larder::cache());
    let (one, other) = (process(), process());
    soon(one.put(&7, 7)).await.expect("kept");
    assert_eq!(get(&other, 7).await, Some(7));
    let written = soon(one.put(&7, 70)).await.expect("kept");
    assert_eq!(get(&other, 7).await, Some(7));
    assert_eq!(get_with(&other, 7, written.receipt()).await, Some(70));
    assert_eq!(get_with(&one, 7, written.receipt()).await, Some(70));
    let many = soon(other.get_many_with(&[7, 8], sent(written.receipt()))).await;
    assert_eq!(many.into_iter().map(|value| value.expect("answered")).collect::<Vec<_>>(), [Some(70), None]);
    let dropped = soon(one.delete(&7)).await.expect("dropped");
    assert_eq!(get_with(&other, 7, dropped.receipt()).await, None);
}

#[tokio::test]
async fn an_invalidation_has_a_receipt_too() {
    let Some(server) = RedisServer::start_or_skip("an_invalidation_has_a_receipt_too").await else { return };
    let store = numbers(10);
    let process = || process(server.builder(), cache_aside(store.clone()));
    let (one, other) = (process(), process());
    assert_eq!((get(&one, 1).await, get(&other, 7).await), (Some(1), Some(7)));
    store.set_row(7, 70);
    soon(one.invalidate(&7)).await.expect("dropped");
    let one: &dyn Cache<u64, u64> = &one;
    let receipt = one.receipt(&[7]);
    assert_eq!(get(&other, 7).await, Some(7));
    assert_eq!(get_with(&other, 7, &receipt).await, Some(70));
}

#[tokio::test]
async fn a_linearizable_cache_takes_receipts() {
    let Some(server) = RedisServer::start_or_skip("a_linearizable_cache_takes_receipts").await else {
        return;
    };
    let store = numbers(10);
    let process = |builder: Builder<u64, u64>| {
        forgetful(server.builder(), builder.consistency(Consistency::Linearizable))
    };
    let (one, other) = (process(write_through(store.clone())), process(cache_aside(store.clone())));
    assert_eq!(get(&other, 7).await, Some(7));
    let written = soon(one.put(&7, 70)).await.expect("written");
    assert_eq!(served(&other, 7, written.receipt()).await, (Some(70), Some("redis")));
    assert_eq!(store.loads(), 1);
    let written = soon(other.put(&7, 71)).await.expect("written");
    assert_eq!(get_with(&one, 7, written.receipt()).await, Some(71));
}

#[tokio::test]
async fn what_waits_in_this_process_is_covered_here_and_refused_elsewhere() {
    let name = "what_waits_in_this_process_is_covered_here_and_refused_elsewhere";
    let Some(server) = RedisServer::start_or_skip(name).await else { return };
    let store = numbers(10);
    let behind = write_behind(store.clone()).journal(Volatile::new()).flush_every(MINUTE);
    let redis = server.redis();
    let behind = behind.tier(Memory::with_capacity(100)).tier(redis.namespace("n")).ttl(MINUTE);
    let one = behind.sole_writer().build().expect("complete");
    let other = process(server.builder(), cache_aside(store.clone()));
    assert_eq!(get(&other, 7).await, Some(7));
    let written = soon(one.put(&7, 70)).await.expect("accepted");
    soon(one.clear()).await.expect("cleared");
    assert_eq!(get_with(&one, 7, written.receipt()).await, Some(70), "what waits is read");
    let error = soon(other.get_with(&7, sent(written.receipt()))).await.expect_err("it waits elsewhere");
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    let errors = soon(other.get_many_with(&[7], sent(written.receipt()))).await;
    assert!(errors.iter().all(Result::is_err));
    soon(one.flush()).await.expect("flushed");
    soon(written.stored()).await.expect("stored");
    assert_eq!(get_with(&other, 7, &one.receipt(&[7])).await, Some(70), "one of after it was stored");
}

#[tokio::test]
async fn without_a_shared_tier_a_receipt_costs_nothing_where_it_was_made() {
    let store = numbers(10);
    let cache = |store: FakeStore<u64, u64>| settings(write_through(store).tier(Memory::with_capacity(100)));
    let (one, other) = (cache(store.clone()), cache(store.clone()));
    let written = soon(one.put(&7, 70)).await.expect("written");
    let served = soon(one.get_entry_with(&7, sent(written.receipt()))).await.expect("answered");
    assert_eq!(served.as_ref().and_then(Served::tier), Some("memory"));
    assert_eq!(store.loads(), 0);
    assert_eq!(get(&other, 7).await, Some(70));
    let written = soon(one.put(&7, 71)).await.expect("written");
    assert_eq!(get(&other, 7).await, Some(70), "it does not hear of it");
    assert_eq!(get_with(&other, 7, written.receipt()).await, Some(71));
}

#[tokio::test]
async fn a_receipt_says_nothing_of_what_was_written() {
    let Some(server) = RedisServer::start_or_skip("a_receipt_says_nothing_of_what_was_written").await else {
        return;
    };
    let one = process(server.builder(), write_through(numbers(0)));
    let (key, value) = (4_815_162_342, 1_234_567_890);
    let receipt = soon(one.put(&key, value)).await.expect("written").receipt().to_string();
    assert!(receipt.len() < 100, "{receipt}");
    for number in [key, value] {
        assert!(
            !receipt.contains(&number.to_string()) && !receipt.contains(&format!("{number:x}")),
            "{receipt}"
        );
    }
}

#[tokio::test]
async fn a_receipt_of_the_future_is_covered_by_a_load() {
    let Some(server) = RedisServer::start_or_skip("a_receipt_of_the_future_is_covered_by_a_load").await
    else {
        return;
    };
    let store = numbers(10);
    let one = forgetful(server.builder(), cache_aside(store.clone()));
    let receipt = soon(one.put(&7, 70)).await.expect("written").receipt().to_string();
    let (before, life) = receipt.split_once('@').expect("a server's time");
    let forged: Receipt = format!("{before}@{}", "f".repeat(16)).parse().expect("well made");
    assert!(!life.is_empty());
    let other = forgetful(server.builder(), cache_aside(store.clone()));
    assert_eq!(get_with(&other, 7, &forged).await, Some(70));
}

/// As of a string that nobody could read: each may stand for another write.
#[tokio::test]
async fn a_receipt_of_nothing_is_covered_by_a_load_each_time() {
    let store = numbers(10);
    let cache = settings(cache_aside(store.clone()).tier(Memory::with_capacity(100)));
    for value in 70..75 {
        store.set_row(7, value);
        assert_eq!(get_with(&cache, 7, &Receipt::default()).await, Some(value));
    }
}
