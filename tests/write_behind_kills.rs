//! `kill -9`, of the process that writes behind and of PostgreSQL, at random moments and at every step of the flusher: no
//! write that was answered is lost, none has its effect twice, and those of one key keep their order.
//!
//! The truth is a ledger of operations that this test keeps from what the process says as it goes, and a table of effects in
//! which nothing keeps a second row of one operation out. With a journal in memory the same harness says what is lost; with a
//! guard taken out it finds what the guard was for.
//!
//! The kernel outlives what is killed here, and has all that was written to files: none of this says anything of a loss of
//! power, and so the server may run without `fsync`. `tests/local_log_crashes.rs` is about that.
//!
//! `scripts/kills.sh` does the same with 5,000 kills of each kind.

#![cfg(unix)]

#[path = "write_behind_kills/books.rs"]
mod books;
#[path = "write_behind_kills/child.rs"]
mod child;
#[path = "write_behind_kills/database.rs"]
mod database;
#[path = "write_behind_kills/job.rs"]
mod job;
#[path = "write_behind_kills/marks.rs"]
mod marks;
#[path = "write_behind_kills/notes.rs"]
mod notes;
#[path = "write_behind_kills/place.rs"]
mod place;
#[path = "write_behind_kills/process.rs"]
mod process;
#[path = "write_behind_kills/steps.rs"]
mod steps;
#[path = "write_behind_kills/stores.rs"]
mod stores;
mod support;
#[path = "write_behind_kills/unguarded.rs"]
mod unguarded;
#[path = "write_behind_kills/world.rs"]
mod world;

use database::Database;
use job::{Guards, JOB, Job, Step};
use marks::Marks;
use world::{Kill, World};

/// How many kills of each kind.
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

/// What must have happened in so many of a hundred rounds, at least, for a run to mean anything.
struct Least {
    unanswered: u64,
    not_stored: u64,
    in_doubt: u64,
    landed: u64,
    not_landed: u64,
    /// Each of them in half of the rounds that are meant for it.
    steps: &'static [Step],
}

const OF_A_PROCESS: Least =
    Least { unanswered: 40, not_stored: 20, in_doubt: 30, landed: 5, not_landed: 10, steps: &[] };

const AT_STEPS_OF_A_PROCESS: Least = Least { in_doubt: 15, steps: Step::OF_A_PROCESS, ..OF_A_PROCESS };

/// That a commit has landed and its answer has not, is seen at its own step only: else the time in between is too short.
const OF_A_SERVER: Least = Least { in_doubt: 15, landed: 0, ..OF_A_PROCESS };

const AT_STEPS_OF_A_SERVER: Least = Least { in_doubt: 10, not_landed: 5, steps: &Step::ALL, ..OF_A_PROCESS };

async fn all_is_kept(name: &'static str, database: Database, kill: Kill, least: Least) {
    let mut world = World::new(name, database, Guards::All);
    world.run(rounds(), kill, |_| false).await;
    let findings = &world.books.findings;
    assert!(findings.are_none(), "{name}: {findings:?}");
    // Of a few rounds not much can be said.
    if rounds() >= 100 {
        judge(name, &world.marks, &least);
    }
}

fn judge(name: &str, marks: &Marks, least: &Least) {
    let judge = |what: &str, times: u64, of: u64, percent: u64| {
        assert!(times * 100 >= of * percent, "{name}: hardly ever {what}: {times} times in {of} rounds");
    };
    judge("was a write unanswered at a kill", marks.unanswered, marks.rounds, least.unanswered);
    judge("was an answered write not stored at a kill", marks.not_stored, marks.rounds, least.not_stored);
    judge("was a commit in doubt", marks.in_doubt, marks.rounds, least.in_doubt);
    judge("had one in doubt landed", marks.landed, marks.rounds, least.landed);
    judge("had one in doubt not landed", marks.not_landed, marks.rounds, least.not_landed);
    for step in least.steps {
        let times = marks.steps.get(step.name()).copied().unwrap_or_default();
        // Closing may find nothing left to write.
        judge(step.name(), times, marks.rounds / least.steps.len() as u64, 50);
    }
}

#[tokio::test]
async fn a_process_on_sqlite_is_killed_at_any_moment() {
    all_is_kept("process, SQLite", Database::sqlite().await, Kill::Process, OF_A_PROCESS).await;
}

#[tokio::test]
async fn a_process_on_postgres_is_killed_at_any_moment() {
    let test = "a_process_on_postgres_is_killed_at_any_moment";
    let Some(database) = Database::postgres_or_skip(test).await else { return };
    all_is_kept("process, PostgreSQL", database, Kill::Process, OF_A_PROCESS).await;
}

#[tokio::test]
async fn a_process_on_sqlite_is_killed_at_every_step() {
    let database = Database::sqlite().await;
    all_is_kept("steps of a process, SQLite", database, Kill::ProcessAtStep, AT_STEPS_OF_A_PROCESS).await;
}

#[tokio::test]
async fn a_process_on_postgres_is_killed_at_every_step() {
    let test = "a_process_on_postgres_is_killed_at_every_step";
    let Some(database) = Database::postgres_or_skip(test).await else { return };
    all_is_kept("steps of a process, PostgreSQL", database, Kill::ProcessAtStep, AT_STEPS_OF_A_PROCESS).await;
}

#[tokio::test]
async fn postgres_is_killed_at_any_moment() {
    let Some(database) = Database::postgres_or_skip("postgres_is_killed_at_any_moment").await else { return };
    all_is_kept("PostgreSQL killed", database, Kill::Server, OF_A_SERVER).await;
}

#[tokio::test]
async fn postgres_is_killed_at_every_step() {
    let Some(database) = Database::postgres_or_skip("postgres_is_killed_at_every_step").await else { return };
    let kill = Kill::ServerAtStep(&Step::ALL);
    all_is_kept("PostgreSQL killed at steps", database, kill, AT_STEPS_OF_A_SERVER).await;
}

/// What a journal in memory loses is told, and nothing else is wrong.
#[tokio::test]
async fn what_waits_in_memory_is_lost_with_the_process() {
    let name = "process, SQLite, journal in memory";
    let mut world = World::new(name, Database::sqlite().await, Guards::Volatile);
    world.run(rounds(), Kill::Process, |_| false).await;
    let findings = &world.books.findings;
    assert!(findings.lost > 0, "{name}: nothing was lost");
    assert_eq!(findings.double + findings.out_of_order + findings.unasked, 0, "{name}: {findings:?}");
}

/// The harness can tell: with a guard taken out it finds what the guard was for, in as many rounds at the most.
#[tokio::test]
async fn without_its_guard_each_goes_wrong() {
    type Count = fn(&books::Findings) -> u64;
    let unguarded: [(&str, Guards, Count); 4] = [
        ("no offset", Guards::NoOffset, |findings| findings.double),
        ("offset after the effects", Guards::OffsetAfter, |findings| findings.double),
        ("offset before the effects", Guards::OffsetBefore, |findings| findings.lost),
        ("batches overtaken", Guards::Overtaken, |findings| findings.out_of_order),
    ];
    for (name, guards, count) in unguarded {
        let mut world = World::new(name, Database::sqlite().await, guards);
        world.run(rounds(), Kill::Process, |findings| count(findings) > 0).await;
        assert!(count(&world.books.findings) > 0, "{name}: nothing was found");
    }
}

/// The same for the kills of the server, whose answers are lost: who does it again without asking does it twice.
#[tokio::test]
async fn without_an_offset_a_lost_answer_is_a_double_effect() {
    let test = "without_an_offset_a_lost_answer_is_a_double_effect";
    let Some(database) = Database::postgres_or_skip(test).await else { return };
    let mut world = World::new("no offset, PostgreSQL killed", database, Guards::NoOffset);
    let kill = Kill::ServerAtStep(&[Step::Committing]);
    world.run(rounds(), kill, |findings| findings.double > 0).await;
    assert!(world.books.findings.double > 0, "nothing was found");
}
