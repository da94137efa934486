//! Writes that wait until the server has them on its disk or on replicas: nobody else is held up by that.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::{Duration, Instant};

use crate::support::redis_server::{self, RedisServer};
use crate::support::stream::{KEEPS, LEASE, NAME, settings};
use crate::support::watching::everything_in;
use futures_util::future::{Either, join_all, select};
use larder::journal::RedisStream;
use larder::testing::FakeStore;
use larder::{Loader, Outcome, Redis, Store, StoreError, WriteBehind};

const A_SECOND: Duration = Duration::from_secs(1);
const WRITERS: u64 = 32;
/// What a server says that is to be asked to sync.
const NOW_AND_THEN: [&str; 4] = ["--appendonly", "yes", "--appendfsync", "everysec"];

/// A handle for all, which does not wait for long.
fn handle(server: &RedisServer) -> Redis {
    redis_server::builder(&server.url_of_default_user()).deadline(A_SECOND / 2).build().unwrap()
}

/// All at once; what was said, and how often readers were answered meanwhile.
async fn write_and_read(
    behind: &WriteBehind<u64, u64>,
    redis: &Redis,
) -> (Vec<Result<(), StoreError>>, usize) {
    let mut writing =
        Box::pin(join_all((0..WRITERS).map(async |key| behind.save(&key, &key).await.map(drop))));
    let mut answered = 0;
    loop {
        let reading = Box::pin(async {
            redis.ping().await.unwrap();
            assert_eq!(behind.load(&1_000).await.unwrap(), None);
        });
        match select(writing, reading).await {
            Either::Left((written, _)) => return (written, answered),
            Either::Right(((), still)) => writing = still,
        }
        answered += 1;
    }
}

fn said(error: StoreError) -> larder::Error {
    *error.into_source().downcast::<larder::Error>().unwrap()
}

fn is_at_least_7_2(info: &str) -> bool {
    let version = info.lines().find_map(|line| line.strip_prefix("redis_version:")).unwrap();
    let mut numbers = version.trim().split('.').map(|number| number.parse::<u32>().unwrap());
    (numbers.next().unwrap(), numbers.next().unwrap()) >= (7, 2)
}

/// A server that can be asked to sync, and has to be.
async fn server_that_syncs_when_asked(test: &str) -> Option<RedisServer> {
    let server = RedisServer::start_or_skip_with(test, &NOW_AND_THEN).await?;
    if is_at_least_7_2(&server.info_for("k").await) {
        return Some(server);
    }
    println!("{test}: skipped, as `WAITAOF` came with Redis 7.2; LARDER_REDIS_SERVER names another program");
    None
}

#[tokio::test]
async fn many_who_wait_for_a_replica_that_is_not_there_hold_up_nobody_else() {
    let test = "many_who_wait_for_a_replica_that_is_not_there_hold_up_nobody_else";
    let Some(server) = RedisServer::start_one_or_skip_with(test, &KEEPS).await else { return };
    let redis = handle(&server);
    let journal = RedisStream::new(&redis, NAME).shards(4).lease(LEASE).deadline(2 * A_SECOND).replicas(1);
    let behind = settings(&FakeStore::new(), journal).store().unwrap();
    let log = server.monitor().await;
    let (written, answered) = write_and_read(&behind, &redis).await;
    let sent = log.take_sent().await;
    // Whether one may wait at all is asked by waiting for none.
    let is_wait = |command: &&Vec<String>| command[0].eq_ignore_ascii_case("wait") && command[1] != "0";
    let waits = sent.iter().filter(is_wait).count();
    println!("{answered} times read meanwhile, {waits} waits");
    assert!(waits < WRITERS as usize / 2, "{waits}: those who write at once wait together");
    assert!(answered > 20, "{answered}");
    for refused in written.into_iter().map(Result::unwrap_err).map(said) {
        assert!(!everything_in(&refused).contains("has not been answering"), "{}", everything_in(&refused));
    }
}

#[tokio::test]
async fn many_who_write_at_once_wait_for_one_sync_together_and_hold_up_nobody_else() {
    let test = "many_who_write_at_once_wait_for_one_sync_together_and_hold_up_nobody_else";
    let Some(server) = server_that_syncs_when_asked(test).await else { return };
    let redis = handle(&server);
    let journal = RedisStream::new(&redis, NAME).shards(4).lease(LEASE).deadline(5 * A_SECOND);
    let behind = settings(&FakeStore::new(), journal).store().unwrap();
    for round in 0..3 {
        let began = Instant::now();
        let (written, answered) = write_and_read(&behind, &redis).await;
        println!("round {round}: written in {:?}, {answered} times read meanwhile", began.elapsed());
        written.into_iter().for_each(|written| written.unwrap());
        assert!(began.elapsed() < 4 * A_SECOND, "{:?}", began.elapsed());
    }
    behind.flush().await.unwrap();
}

#[tokio::test]
async fn a_deadline_that_is_over_before_the_server_syncs_is_refused_before_anything_is_written() {
    let test = "a_deadline_that_is_over_before_the_server_syncs_is_refused_before_anything_is_written";
    let Some(server) = server_that_syncs_when_asked(test).await else { return };
    let journal = || RedisStream::new(&handle(&server), NAME).shards(4).lease(LEASE);
    let refused = journal().check().await.unwrap_err();
    assert!(refused.to_string().contains("`deadline(...)`"), "{refused}");
    let store = FakeStore::new();
    let behind = settings(&store, journal()).store().unwrap();
    let refused = said(behind.save(&1, &1).await.unwrap_err());
    assert_eq!(refused.outcome(), Some(Outcome::NotApplied), "{refused}");
    behind.flush().await.unwrap();
    assert_eq!(store.row(&1), None);
}
