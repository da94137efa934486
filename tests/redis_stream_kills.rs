//! `kill -9` of processes that share a stream in Redis, of that Redis and of PostgreSQL, at random moments, and owners that
//! are stopped until others have taken over, and go on: no write that was answered is lost, none has its effect twice, those
//! of one key keep their order, and counters are exact.
//!
//! The truth is the ledger of `tests/write_behind_kills.rs`, kept from what three processes say as they go. With a server that
//! does not sync every write the same harness says what is lost; with a guard taken out it finds what the guard was for.
//!
//! The kernel outlives what is killed here, and has all that was written to files: none of this says anything of a loss of
//! power.
//!
//! `scripts/kills.sh` does the same with thousands of kills of each kind.

#![cfg(unix)]

#[path = "write_behind_kills/books.rs"]
mod books;
#[path = "redis_stream_kills/child.rs"]
mod child;
#[path = "redis_stream_kills/counts.rs"]
mod counts;
#[path = "write_behind_kills/database.rs"]
mod database;
#[path = "redis_stream_kills/job.rs"]
mod job;
#[path = "redis_stream_kills/marks.rs"]
mod marks;
#[path = "write_behind_kills/notes.rs"]
mod notes;
#[path = "write_behind_kills/place.rs"]
mod place;
#[path = "write_behind_kills/process.rs"]
mod process;
#[path = "redis_stream_kills/stores.rs"]
mod stores;
mod support;
#[path = "redis_stream_kills/world.rs"]
mod world;

use std::time::Duration;

use books::Findings;
use database::Database;
use job::{Guards, JOB, Job};
use marks::Marks;
use support::redis_server::RedisServer;
use world::{Blow, World};

/// A server that has synced what it answers.
const SYNCS: [&str; 4] = ["--appendonly", "yes", "--appendfsync", "always"];
const SYNCS_EVERY_SECOND: [&str; 4] = ["--appendonly", "yes", "--appendfsync", "everysec"];
/// Of owners that are stopped until it is over, hundreds of times.
const SHORT_LEASE: Duration = Duration::from_millis(90);

/// How many rounds of each kind.
fn rounds() -> u64 {
    let wanted = std::env::var("LARDER_TEST_ROUNDS").ok();
    wanted.map_or(200, |rounds| rounds.parse().expect("LARDER_TEST_ROUNDS is a number"))
}

/// Not a test: what a process does that is started by one.
#[test]
fn does_its_job() {
    if let Ok(job) = std::env::var(JOB) {
        child::work(&Job::read(&job));
    }
}

async fn sqlite(test: &'static str, guards: Guards) -> Option<World> {
    let redis = redis(test, guards).await?;
    Some(World::new(test, Database::sqlite().await, redis, guards).await)
}

async fn postgres(test: &'static str) -> Option<World> {
    let redis = redis(test, Guards::All).await?;
    Some(World::new(test, Database::postgres_or_skip(test).await?, redis, Guards::All).await)
}

async fn redis(test: &str, guards: Guards) -> Option<RedisServer> {
    let options: &[&str] = match guards {
        Guards::All | Guards::NoEpoch => &SYNCS,
        Guards::EverySecond => &SYNCS_EVERY_SECOND,
        Guards::Memory => &[],
    };
    RedisServer::start_one_or_skip_with(test, options).await
}

/// What must have happened in so many of a hundred rounds, at least, for a run to mean anything.
#[derive(Default)]
struct Least {
    unanswered: u64,
    not_stored: u64,
    taken_over: u64,
    zombies: u64,
    refused: u64,
}

async fn all_is_kept(mut world: World, blows: &[Blow], least: &Least) {
    world.run(rounds(), blows, |_| false).await;
    let (findings, miscounted) = (&world.books.findings, &world.miscounted);
    assert!(findings.are_none(), "{findings:?}");
    assert!(miscounted.are_none(), "{miscounted:?}");
    assert_eq!(world.marks.regressed, 0, "a server that keeps all was said not to");
    judge(&world.marks, least);
}

fn judge(marks: &Marks, least: &Least) {
    assert!(
        marks.rounds == rounds() && marks.kills.iter().sum::<u64>() + marks.stopped == marks.rounds,
        "{marks}"
    );
    // Of a few rounds not much can be said.
    if marks.rounds < 100 {
        return;
    }
    let judge = |what: &str, times: u64, percent: u64| {
        assert!(times * 100 >= marks.rounds * percent, "hardly ever {what}: {marks}");
    };
    judge("was a write unanswered", marks.unanswered, least.unanswered);
    judge("was an answered write not stored", marks.not_stored, least.not_stored);
    judge("was a shard taken over", marks.taken_over, least.taken_over);
    judge("came a zombie back", marks.zombies, least.zombies);
    judge("was a batch of a zombie refused", marks.refused, least.refused);
}

const OF_A_PROCESS: Least = Least { unanswered: 40, not_stored: 30, taken_over: 20, zombies: 0, refused: 0 };
const OF_A_SERVER: Least = Least { taken_over: 0, ..OF_A_PROCESS };

#[tokio::test]
async fn processes_on_sqlite_are_killed() {
    let Some(world) = sqlite("processes_on_sqlite_are_killed", Guards::All).await else { return };
    all_is_kept(world, &[Blow::Process], &OF_A_PROCESS).await;
}

#[tokio::test]
async fn processes_on_postgres_are_killed() {
    let Some(world) = postgres("processes_on_postgres_are_killed").await else { return };
    all_is_kept(world, &[Blow::Process], &OF_A_PROCESS).await;
}

#[tokio::test]
async fn redis_is_killed_under_processes() {
    let Some(world) = sqlite("redis_is_killed_under_processes", Guards::All).await else { return };
    all_is_kept(world, &[Blow::Redis], &OF_A_SERVER).await;
}

#[tokio::test]
async fn postgres_is_killed_under_processes() {
    let Some(world) = postgres("postgres_is_killed_under_processes").await else { return };
    all_is_kept(world, &[Blow::Postgres], &OF_A_SERVER).await;
}

#[tokio::test]
async fn owners_that_were_stopped_come_back() {
    let Some(world) = sqlite("owners_that_were_stopped_come_back", Guards::All).await else { return };
    let least = Least { unanswered: 30, not_stored: 30, taken_over: 40, zombies: 30, refused: 3 };
    all_is_kept(world.lease(SHORT_LEASE), &[Blow::Zombie], &least).await;
}

#[tokio::test]
async fn counters_are_exact_whoever_is_killed() {
    let Some(world) = sqlite("counters_are_exact_whoever_is_killed", Guards::All).await else { return };
    let world = world.counting().lease(SHORT_LEASE);
    let least = Least { unanswered: 30, not_stored: 30, taken_over: 20, zombies: 8, refused: 0 };
    all_is_kept(world, &[Blow::Process, Blow::Redis, Blow::Zombie], &least).await;
}

/// What a server has not synced may be lost, which is told; nothing else is wrong.
#[tokio::test]
async fn a_server_that_syncs_every_second_loses_nothing_but_the_last() {
    let test = "a_server_that_syncs_every_second_loses_nothing_but_the_last";
    let Some(mut world) = sqlite(test, Guards::EverySecond).await else { return };
    world.run(rounds(), &[Blow::Redis], |_| false).await;
    let Findings { lost, double, out_of_order, unasked, .. } = world.books.findings;
    println!(
        "everysec: of {} answered {lost} lost in {} kills",
        world.books.all_answered(),
        world.marks.rounds
    );
    assert_eq!(double + out_of_order + unasked, 0, "{:?}", world.books.findings);
    judge(&world.marks, &OF_A_SERVER);
}

/// The harness can tell: of a server that keeps nothing it finds what is lost.
#[tokio::test]
async fn a_server_that_keeps_nothing_loses_what_waits() {
    let test = "a_server_that_keeps_nothing_loses_what_waits";
    let Some(mut world) = sqlite(test, Guards::Memory).await else { return };
    world.run(rounds(), &[Blow::Redis], |world| world.books.findings.lost > 0).await;
    let Findings { lost, double, out_of_order, unasked, .. } = world.books.findings;
    assert!(lost > 0, "nothing was lost");
    assert_eq!(double + out_of_order + unasked, 0, "{:?}", world.books.findings);
}

/// And of a store that takes batches of whoever was an owner once, what is done twice.
#[tokio::test]
async fn without_epochs_a_zombie_writes_what_others_have_written() {
    let test = "without_epochs_a_zombie_writes_what_others_have_written";
    let Some(world) = sqlite(test, Guards::NoEpoch).await else { return };
    let mut world = world.lease(SHORT_LEASE);
    let wrong = |world: &World| world.books.findings.double + world.books.findings.out_of_order;
    world.run(rounds(), &[Blow::Zombie], |world| wrong(world) > 0).await;
    assert!(wrong(&world) > 0, "nothing was found");
}
