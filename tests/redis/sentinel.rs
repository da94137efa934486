//! A primary that fails over, and sentinels that know who took over.

use std::time::Instant;

use crate::support::process::{DEADLINE, Process};
use crate::support::sentinel::{Plan, SERVICE, Sentinels};
use crate::support::watching::{everything_in, soon, until};
use crate::support::{numbers, rights};
use larder::testing::FakeStore;
use larder::tier::redis::{Credentials, RedisBuilder};
use larder::{Redis, cache_aside};

const ROWS: u64 = 100;

fn on(sentinels: &Sentinels, store: &FakeStore<u64, u64>) -> Process {
    Process::with(asking(sentinels).deadline(DEADLINE), cache_aside(store.clone()))
}

/// Whether all is found without a load.
async fn finds_all(process: &Process) -> bool {
    let loads = process.cache.stats().loads;
    for key in 0..ROWS {
        process.get(key).await;
    }
    process.cache.stats().loads == loads
}

/// Asks the sentinels of a deployment.
fn asking(sentinels: &Sentinels) -> RedisBuilder {
    asking_for(SERVICE, sentinels)
}

fn asking_for(service: &str, sentinels: &Sentinels) -> RedisBuilder {
    let url = format!("redis://{}:{}@{service}{}", rights::USER, rights::PASSWORD, rights::protocol());
    let addresses: Vec<String> = sentinels.addresses().iter().map(ToString::to_string).collect();
    Redis::builder(url).sentinels(addresses.iter().map(String::as_str))
}

/// Whoever had read from the one that is gone reads from the one that took over, and what that one has is passed over.
async fn is_followed(sentinels: &Sentinels, fail_over: impl AsyncFnOnce()) {
    let store = numbers(ROWS);
    let (one, other) = (on(sentinels, &store), on(sentinels, &store));
    until("all is kept", async || finds_all(&one).await && finds_all(&other).await).await;
    let size = async |server: usize| sentinels.server(server).command(&["DBSIZE"]).await;
    until("the replica has it", async || size(1).await == size(0).await).await;
    fail_over().await;
    let begin = Instant::now();
    soon(one.cache.put(&7, 700)).await.expect("written");
    assert_eq!(one.get(7).await, Some(700));
    // One that was told to give way serves its clients until it does.
    let outlived = || one.cache.stats().outlived + other.cache.stats().outlived;
    until("the new one is found", async || {
        finds_all(&one).await && finds_all(&other).await && outlived() > 0
    })
    .await;
    println!("it was found after {:?}", begin.elapsed());
    assert_eq!((one.get(7).await, other.get(7).await), (Some(700), Some(700)));
}

#[tokio::test]
async fn a_primary_that_dies_is_replaced() {
    let Some(sentinels) = Sentinels::start_or_skip("a_primary_that_dies_is_replaced").await else { return };
    is_followed(&sentinels, async || {
        let lost = sentinels.kill_primary().await;
        sentinels.switched(lost).await;
    })
    .await;
}

#[tokio::test]
async fn a_primary_that_hangs_is_replaced() {
    let Some(sentinels) = Sentinels::start_or_skip("a_primary_that_hangs_is_replaced").await else { return };
    is_followed(&sentinels, async || {
        let lost = sentinels.freeze_primary().await;
        sentinels.switched(lost).await;
    })
    .await;
}

#[tokio::test]
async fn a_fail_over_by_command_is_followed() {
    let Some(sentinels) = Sentinels::start_or_skip("a_fail_over_by_command_is_followed").await else {
        return;
    };
    is_followed(&sentinels, async || _ = sentinels.fail_over().await).await;
}

#[tokio::test]
async fn reads_go_on_while_nobody_is_the_primary() {
    let name = "reads_go_on_while_nobody_is_the_primary";
    let Some(sentinels) = Sentinels::start_or_skip(name).await else { return };
    let process = on(&sentinels, &numbers(ROWS));
    until("all is kept", async || finds_all(&process).await).await;
    sentinels.kill_primary().await;
    let begin = Instant::now();
    for key in 0..ROWS {
        assert_eq!(process.get(key).await, Some(key));
    }
    assert!(begin.elapsed() < 10 * DEADLINE, "one waits, and the others do not: {:?}", begin.elapsed());
    assert_eq!(process.heard.count("TierAway"), 1);
}

#[tokio::test]
async fn a_sentinel_that_hangs_is_outvoted() {
    let Some(sentinels) = Sentinels::start_or_skip("a_sentinel_that_hangs_is_outvoted").await else { return };
    sentinels.sentinel(0).freeze();
    let redis = asking(&sentinels).build().expect("addresses");
    until("it answers", async || redis.ping().await.is_ok()).await;
    sentinels.sentinel(0).resume();
}

#[tokio::test]
async fn a_service_that_nobody_knows_is_said_to_be_unknown() {
    let name = "a_service_that_nobody_knows_is_said_to_be_unknown";
    let Some(sentinels) = Sentinels::start_or_skip(name).await else { return };
    let redis = asking_for("nobody", &sentinels).build().expect("addresses");
    let error = soon(redis.ping()).await.expect_err("there is none");
    assert!(everything_in(&error).contains("no service of that name"), "{}", everything_in(&error));
}

#[tokio::test]
async fn sentinels_with_a_password_want_it() {
    let plan = Plan { sentinel_password: Some("guarded".to_owned()), ..Plan::default() };
    let Some(sentinels) = Sentinels::start_or_skip_with("sentinels_with_a_password_want_it", plan).await
    else {
        return;
    };
    let without = asking(&sentinels).build().expect("addresses");
    let error = soon(without.ping()).await.expect_err("refused");
    assert!(everything_in(&error).contains("credentials"), "{}", everything_in(&error));
    let with = asking(&sentinels).sentinel_credentials(Credentials::password("guarded"));
    let redis = with.build().expect("addresses");
    until("it answers", async || redis.ping().await.is_ok()).await;
}

#[test]
fn somebody_must_know_the_service() {
    let error = Redis::builder("redis://mymaster").sentinels([]).build().expect_err("nobody does");
    assert!(error.to_string().contains("`sentinels`"), "{error}");
    for address in ["", "host", ":26379", "host:port"] {
        let error = Redis::builder("redis://mymaster").sentinels([address]).build().expect_err("no address");
        assert!(error.to_string().contains("host:port"), "{error}");
    }
}
