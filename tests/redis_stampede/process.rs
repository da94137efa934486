//! Processes of a fleet: this test program, run again with a job. They start at a common signal and count what they do
//! in a server of its own, where nobody can have counted twice.

use std::net::SocketAddr;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use larder::{LayeredCache, Loader, StoreError};
use redis::aio::MultiplexedConnection;
use rustix::process::{Pid, Signal, kill_process};

use crate::support::raw;
use crate::support::redis_process::{Recipe, RedisProcess};
use crate::support::redis_server::{RedisServer, builder};
use crate::support::resp::Reply;
use crate::support::rights;

/// The job of a process, in its environment. Without one, the test that does the jobs has nothing to do.
const JOB: &str = "LARDER_STAMPEDE_JOB";
/// The test that does the jobs.
const WORKER: &str = "does_its_job";
/// How long anything may take before a test fails instead of hanging.
const PATIENCE: Duration = Duration::from_secs(60);
/// The server is not what is tested here: it may be as late as the machine is busy.
const DEADLINE: Duration = Duration::from_secs(10);
pub(crate) const NAMESPACE: &str = "stampede";

/// What the processes share: the server with their copies, and another one in which they count.
pub(crate) struct Site {
    pub(crate) server: RedisServer,
    books: RedisProcess,
}

impl Site {
    pub(crate) async fn start_or_skip(test: &str) -> Option<Self> {
        let server = RedisServer::start_or_skip(test).await?;
        Some(Self { server, books: RedisProcess::start(Recipe::default()).await })
    }
}

/// What a process does.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Job {
    pub(crate) number: u64,
    pub(crate) lease: Duration,
    /// How long its loads take.
    pub(crate) load: Duration,
    /// How many loads fail, those of all processes counted together.
    pub(crate) failures: u64,
    /// How long after the signal it begins.
    pub(crate) after: Duration,
    pub(crate) tasks: u64,
    /// The keys that each task asks for, the first and the one after the last.
    pub(crate) keys: (u64, u64),
}

impl Job {
    /// One task that reads one key.
    pub(crate) const fn new(number: u64) -> Self {
        Self {
            number,
            lease: Duration::from_secs(5),
            load: Duration::from_millis(300),
            failures: 0,
            after: Duration::ZERO,
            tasks: 1,
            keys: (7, 8),
        }
    }

    fn write(self, site: &Site) -> String {
        let (server, books) = (site.server.address(), site.books.address());
        let Self { number, lease, load, failures, after, tasks, keys } = self;
        let millis = [lease, load, after].map(|time| time.as_millis());
        format!(
            "{server} {books} {number} {} {} {} {failures} {tasks} {} {}",
            millis[0], millis[1], millis[2], keys.0, keys.1
        )
    }

    /// With the addresses of the server and of the books.
    fn read(text: &str) -> ([SocketAddr; 2], Self) {
        let mut words = text.split(' ');
        let addresses = [(); 2].map(|()| words.next().expect("an address").parse().expect("an address"));
        let numbers: Vec<u64> = words.map(|word| word.parse().expect("a number")).collect();
        let [number, lease, load, after, failures, tasks, first, end] = numbers[..] else {
            panic!("eight numbers: {text}")
        };
        let millis = Duration::from_millis;
        let (lease, load, after) = (millis(lease), millis(load), millis(after));
        (addresses, Self { number, lease, load, failures, after, tasks, keys: (first, end) })
    }
}

/// Counts every load in the books before it begins, then takes its time. A key's value says who loaded it.
struct Rows {
    job: Job,
    books: MultiplexedConnection,
}

#[async_trait]
impl Loader<u64, u64> for Rows {
    async fn load(&self, key: &u64) -> Result<Option<u64>, StoreError> {
        self.load_many(&[*key]).await.remove(0)
    }

    async fn load_many(&self, keys: &[u64]) -> Vec<Result<Option<u64>, StoreError>> {
        let mut number = 0;
        for key in keys {
            add(&self.books, &format!("loads of {key}"), 1).await;
            number = add(&self.books, "loads", 1).await;
        }
        tokio::time::sleep(self.job.load).await;
        let answer = |key| match number <= self.job.failures {
            true => Err(StoreError::new("this load is to fail")),
            false => Ok(Some(value(self.job.number, key))),
        };
        keys.iter().map(|key| answer(*key)).collect()
    }
}

/// What a process loads for a key.
pub(crate) const fn value(process: u64, key: u64) -> u64 {
    process * 1_000 + key
}

async fn add(books: &MultiplexedConnection, what: &str, number: u64) -> u64 {
    let add = redis::cmd("INCRBY").arg(what).arg(number).to_owned();
    add.query_async(&mut books.clone()).await.expect("the server works")
}

/// Does the job in the environment, if there is one.
pub(crate) async fn work() {
    let Ok(job) = std::env::var(JOB) else { return };
    let ([server, books], job) = Job::read(&job);
    let books = raw::connect(&format!("redis://{books}")).await;
    let redis =
        builder(&rights::url(server)).deadline(DEADLINE).connect_deadline(DEADLINE).build().expect("a URL");
    redis.ping().await.expect("the server is up");
    let cache = larder::read_through(Rows { job, books: books.clone() })
        .tier(redis.namespace(NAMESPACE).lease(job.lease))
        .ttl(Duration::from_secs(3_600))
        .build()
        .expect("complete");
    wait_for_signal(&books).await;
    tokio::time::sleep(job.after).await;
    let (right, wrong) = read_all(&cache, job).await;
    let stats = cache.stats();
    let counts = [
        ("answers", right),
        ("errors", wrong),
        ("waits", stats.waited),
        ("taken over", stats.leases_taken_over),
        ("fills refused", stats.fills_refused),
        ("failures of the tier", stats.tier_failures),
    ];
    for (what, count) in counts {
        add(&books, what, count).await;
    }
}

async fn wait_for_signal(books: &MultiplexedConnection) {
    add(books, "ready", 1).await;
    let since = Instant::now();
    loop {
        let go = redis::cmd("EXISTS").arg("go").query_async(&mut books.clone()).await;
        if go.expect("the server works") {
            return;
        }
        assert!(since.elapsed() < PATIENCE, "nobody gives the signal");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// Every task asks for all keys. How many answers came, and how many errors.
async fn read_all(cache: &LayeredCache<u64, u64>, job: Job) -> (u64, u64) {
    let counts = Arc::new((AtomicU64::new(0), AtomicU64::new(0)));
    let tasks: Vec<_> = (0..job.tasks)
        .map(|_| {
            let (cache, counts) = (cache.clone(), Arc::clone(&counts));
            tokio::spawn(async move {
                let keys: Vec<u64> = (job.keys.0..job.keys.1).collect();
                let answers = match keys[..] {
                    [only] => vec![cache.get(&only).await],
                    _ => cache.get_many(&keys).await,
                };
                for (key, answer) in keys.iter().zip(answers) {
                    let is_right = answer.is_ok_and(|value| value.is_some_and(|value| value % 1_000 == *key));
                    let count = if is_right { &counts.0 } else { &counts.1 };
                    count.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.expect("no panic");
    }
    (counts.0.load(Ordering::Relaxed), counts.1.load(Ordering::Relaxed))
}

/// A process at its job; killed when dropped.
pub(crate) struct Process(Child);

impl Process {
    fn start(site: &Site, job: Job) -> Self {
        let program = std::env::current_exe().expect("this program has a path");
        let child = Command::new(program)
            .args([WORKER, "--exact", "--nocapture"])
            .env(JOB, job.write(site))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn();
        Self(child.expect("this program can be run again"))
    }

    /// Kills it as a crash would.
    pub(crate) fn kill(&mut self) {
        self.0.kill().expect("it runs");
        self.0.wait().expect("it is a child of this process");
    }

    /// Stops it in the middle of what it does, as a paused machine would.
    pub(crate) fn freeze(&self) {
        self.signal(Signal::STOP);
    }

    pub(crate) fn thaw(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.0), signal).expect("it runs");
    }

    /// Waits until its job is done.
    pub(crate) async fn finish(&mut self) {
        let since = Instant::now();
        let status: ExitStatus = loop {
            if let Some(status) = self.0.try_wait().expect("it is a child of this process") {
                break status;
            }
            assert!(since.elapsed() < PATIENCE, "a process hangs");
            tokio::time::sleep(Duration::from_millis(2)).await;
        };
        assert!(status.success(), "a process failed: {status}");
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Either fails only if it is dead already.
        _ = self.0.kill();
        _ = self.0.wait();
    }
}

/// Starts a process for each job. When they are all ready, they are given the signal.
pub(crate) async fn start(site: &Site, jobs: impl IntoIterator<Item = Job>) -> Vec<Process> {
    site.books.command(&["DEL", "go", "ready"]).await;
    let processes: Vec<_> = jobs.into_iter().map(|job| Process::start(site, job)).collect();
    wait_until(site, "ready", processes.len() as u64).await;
    site.books.command(&["SET", "go", "1"]).await;
    processes
}

/// Starts them and waits until all are done; how long they took from the signal on.
pub(crate) async fn run(site: &Site, jobs: impl IntoIterator<Item = Job>) -> Duration {
    let mut processes = start(site, jobs).await;
    let since = Instant::now();
    for process in &mut processes {
        process.finish().await;
    }
    since.elapsed()
}

/// Waits until so many have been counted.
pub(crate) async fn wait_until(site: &Site, what: &str, least: u64) {
    let since = Instant::now();
    while count(site, what).await < least {
        assert!(since.elapsed() < PATIENCE, "{what}: {}", count(site, what).await);
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// What the processes have counted.
pub(crate) async fn count(site: &Site, what: &str) -> u64 {
    match site.books.command(&["GET", what]).await {
        Reply::Bulk(None) => 0,
        reply => reply.text().expect("a number").parse().expect("a number"),
    }
}
