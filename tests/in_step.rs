//! Four processes with memories above one Redis, all of which write, while the network, the server and they themselves are
//! in trouble: no copy in a memory is served that is behind Redis by more than the bound. Every read is checked.
//!
//! A read is wrong if a newer version of its key had been dropped in Redis for longer than the bound when the read began. What
//! counts as dropped is what its writer was told is dropped. All clocks are the machine's one.
//!
//! With a guard taken out the same run finds wrong reads. `scripts/in_step.sh` runs it for longer.

#![cfg(unix)]

#[path = "in_step/books.rs"]
mod books;
#[path = "in_step/child.rs"]
mod child;
#[path = "in_step/job.rs"]
mod job;
mod support;
#[path = "in_step/troubles.rs"]
mod troubles;

use std::time::{Duration, Instant};

use books::Books;
use job::{BOUND, JOB, Job, Mode, Process};
use larder::tier::redis::Flaw;
use support::proxy::Proxy;
use support::redis_cluster::RedisCluster;
use support::redis_server::RedisServer;
use tokio::sync::Mutex;
use troubles::{Place, SLOW_RECONNECT, troubles};

const PROCESSES: usize = 4;
/// So many reads make a run that means something, and are waited for so long.
const LEAST_READS: u64 = 250_000;
const LONGEST: Duration = Duration::from_secs(180);
/// So many reads may be behind what a primary had not told its replica when it was killed: it tells it all at once.
const EXCUSED: usize = 5;

/// For how long each run goes on.
fn duration() -> Duration {
    let wanted = std::env::var("LARDER_TEST_SECONDS").ok();
    Duration::from_secs(
        wanted.map_or(20, |seconds| seconds.parse().expect("LARDER_TEST_SECONDS is a number")),
    )
}

/// Not a test: what a process does that is started by one.
#[test]
fn does_its_job() {
    if let Ok(job) = std::env::var(JOB) {
        child::work(&Job::read(&job));
    }
}

/// One server, and a line of its own for each process.
async fn one_server(test: &'static str, mode: Mode, flaw: Option<Flaw>) -> Option<Books> {
    let _turn = TURN.lock().await;
    let server = RedisServer::start_one_or_skip(test).await?;
    let store = RedisServer::start_one_or_skip(test).await?;
    let mut proxies = Vec::new();
    let mut processes = Vec::new();
    for _ in 0..PROCESSES {
        let proxy = Proxy::to(server.address()).await;
        let redis = vec![support::rights::url(proxy.address())];
        processes.push(Process::start(&Job { redis, store: store.url_of_default_user(), mode, flaw }));
        proxies.push(proxy);
    }
    let favourite = (flaw == Some(Flaw::EarlyFlush)).then_some(SLOW_RECONNECT);
    let place = Place::Server { server: &server, proxies: &proxies };
    let least = Least { reads: least_reads(mode, flaw), store: &store };
    Some(run(&mut processes, &place, least, favourite).await)
}

/// A cluster in which replicas take over.
async fn a_cluster(test: &'static str, mode: Mode) -> Option<Books> {
    let _turn = TURN.lock().await;
    let cluster = RedisCluster::start_or_skip(test).await?;
    let store = RedisServer::start_one_or_skip(test).await?;
    let job = Job { redis: cluster.urls(), store: store.url_of_default_user(), mode, flaw: None };
    let mut processes: Vec<Process> = (0..PROCESSES).map(|_| Process::start(&job)).collect();
    let least = Least { reads: least_reads(mode, None), store: &store };
    Some(run(&mut processes, &Place::Cluster(&cluster), least, None).await)
}

/// One after the other: each wants the whole machine.
static TURN: Mutex<()> = Mutex::const_new(());

/// How many reads a run has to have, and where they are counted.
struct Least<'a> {
    reads: u64,
    store: &'a RedisServer,
}

impl Least<'_> {
    async fn is_reached(&self) -> bool {
        let reads = self.store.command(&["GET", child::READS]).await.text();
        reads.map_or(0, |reads| reads.parse().expect("a number")) >= self.reads
    }
}

/// None where each read asks the server, or where the first wrong one is all that is wanted.
fn least_reads(mode: Mode, flaw: Option<Flaw>) -> u64 {
    if means_something() && flaw.is_none() && mode != Mode::Validated { LEAST_READS } else { 0 }
}

/// For as long as was wanted, and on a slow machine for longer.
async fn run(
    processes: &mut [Process],
    place: &Place<'_>,
    least: Least<'_>,
    favourite: Option<&'static str>,
) -> Books {
    let longest = Instant::now() + LONGEST;
    let have_read_enough = async || least.is_reached().await || Instant::now() > longest;
    let mut books = Books::default();
    books.troubles = troubles(processes, place, duration(), favourite, have_read_enough).await;
    processes.iter_mut().for_each(Process::end);
    for process in processes {
        books.enter(&process.report().await);
    }
    books
}

/// Whether a run went on for so long that something can be said of it.
fn means_something() -> bool {
    duration() >= Duration::from_secs(20)
}

/// No read was wrong, and everything that can happen did.
fn judge(books: &Books, mode: Mode) {
    println!("{books}");
    let wrong = books.wrong(mode.coherence().bound());
    assert!(wrong.is_empty(), "{wrong:#?}\n{:#?}\n{books}", books.troubles.history);
    let excused = books.excused(mode.coherence().bound());
    println!("{excused} reads excused by what was lost with a primary");
    assert!(excused <= EXCUSED * books.troubles.losses.len(), "{excused} excused\n{books}");
    if means_something() {
        assert!(books.troubles.times.values().all(|times| *times > 0), "{books}");
    }
}

/// The same where somebody tells of changes, and memory answers most reads.
fn judge_told(books: &Books, mode: Mode) {
    judge(books, mode);
    if means_something() {
        assert!(books.reads >= LEAST_READS, "{books}");
        assert!(books.hits > LEAST_READS / 2, "{books}");
        assert!(books.doubts > 10 && books.flushes > 500 && books.revalidated > 0, "{books}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn by_messages() {
    if let Some(books) = one_server("by_messages", Mode::Bus, None).await {
        judge_told(&books, Mode::Bus);
        assert!(books.missed > 0 && books.woken > 0, "{books}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn by_tracking() {
    if let Some(books) = one_server("by_tracking", Mode::Tracked, None).await {
        judge_told(&books, Mode::Tracked);
        assert!(books.woken > 0, "{books}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn by_messages_on_a_cluster() {
    if let Some(books) = a_cluster("by_messages_on_a_cluster", Mode::Bus).await {
        judge_told(&books, Mode::Bus);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn by_tracking_on_a_cluster() {
    if let Some(books) = a_cluster("by_tracking_on_a_cluster", Mode::Tracked).await {
        judge_told(&books, Mode::Tracked);
    }
}

/// Nobody tells of anything: copies end after the bound. That they are behind before that shows that a check can fail.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn by_time_alone() {
    if let Some(books) = one_server("by_time_alone", Mode::TtlOnly, None).await {
        judge(&books, Mode::TtlOnly);
        assert!(!books.wrong(BOUND / 4).is_empty(), "{books}");
    }
}

/// Nothing is behind at all, as each hit asks.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn by_asking() {
    if let Some(books) = one_server("by_asking", Mode::Validated, None).await {
        judge(&books, Mode::Validated);
        assert!(books.revalidated > 0, "{books}");
    }
}

/// What each guard is for.
async fn is_found(test: &'static str, mode: Mode, flaw: Flaw) {
    let Some(books) = one_server(test, mode, Some(flaw)).await else { return };
    let wrong = books.wrong(mode.coherence().bound()).len();
    println!("{flaw:?}: {wrong} wrong\n{books}");
    if means_something() {
        assert!(wrong > 0, "{flaw:?} goes unnoticed\n{books}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_the_barrier_wrong_reads_are_found() {
    is_found("without_the_barrier_wrong_reads_are_found", Mode::Bus, Flaw::NoBarrier).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_a_flush_before_the_subscription_wrong_reads_are_found() {
    let test = "with_a_flush_before_the_subscription_wrong_reads_are_found";
    is_found(test, Mode::Bus, Flaw::EarlyFlush).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_marks_taken_too_late_wrong_reads_are_found() {
    is_found("with_marks_taken_too_late_wrong_reads_are_found", Mode::Tracked, Flaw::LateMark).await;
}
