//! A process with a memory of its own, seen from outside: what it is to do, and what it says in the end.

use std::io::Write as _;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use larder::Coherence;
use larder::tier::redis::Flaw;
use rustix::process::{Pid, Signal, kill_process};
use tokio::task::spawn_blocking;

/// The environment variable that says what to do.
pub(crate) const JOB: &str = "LARDER_TEST_IN_STEP";
/// The test that does jobs.
const WORKER: &str = "does_its_job";

/// How far a memory may be behind Redis, where it may be at all.
pub(crate) const BOUND: Duration = Duration::from_millis(250);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    Bus,
    Tracked,
    TtlOnly,
    Validated,
}

impl Mode {
    pub(crate) fn coherence(self) -> Coherence {
        match self {
            Self::Bus => Coherence::Bus(BOUND),
            Self::Tracked => Coherence::Tracked(BOUND),
            Self::TtlOnly => Coherence::TtlOnly(BOUND),
            Self::Validated => Coherence::Validated,
        }
    }
}

/// What a process is to do.
pub(crate) struct Job {
    /// Of one server its URL, of a cluster those of all nodes.
    pub(crate) redis: Vec<String>,
    pub(crate) store: String,
    pub(crate) mode: Mode,
    pub(crate) flaw: Option<Flaw>,
}

const MODES: [Mode; 4] = [Mode::Bus, Mode::Tracked, Mode::TtlOnly, Mode::Validated];
const FLAWS: [Option<Flaw>; 4] = [None, Some(Flaw::NoBarrier), Some(Flaw::EarlyFlush), Some(Flaw::LateMark)];

impl Job {
    fn write(&self) -> String {
        let mode = MODES.iter().position(|mode| *mode == self.mode).expect("one of them");
        let flaw = FLAWS.iter().position(|flaw| *flaw == self.flaw).expect("one of them");
        format!("{mode} {flaw} {} {}", self.store, self.redis.join(" "))
    }

    pub(crate) fn read(job: &str) -> Self {
        let mut words = job.split(' ');
        let mut word = || words.next().expect("a word");
        let (mode, flaw) = (word().parse::<usize>(), word().parse::<usize>());
        Self {
            mode: MODES[mode.expect("a number")],
            flaw: FLAWS[flaw.expect("a number")],
            store: word().to_owned(),
            redis: words.map(str::to_owned).collect(),
        }
    }
}

/// Killed when dropped.
pub(crate) struct Process(Option<Child>);

impl Process {
    pub(crate) fn start(job: &Job) -> Self {
        let mut command = Command::new(std::env::current_exe().expect("this program"));
        command.args(["--exact", WORKER, "--nocapture"]).env(JOB, job.write());
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        Self(Some(command.spawn().expect("this program starts")))
    }

    /// Stops it wherever it is. It does not notice.
    pub(crate) fn freeze(&self) {
        self.signal(Signal::STOP);
    }

    /// Has it go on as if nothing had been.
    pub(crate) fn thaw(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        let child = self.0.as_ref().expect("it runs");
        kill_process(Pid::from_child(child), signal).expect("it lives");
    }

    /// Tells it to come to an end.
    pub(crate) fn end(&mut self) {
        let ear = self.0.as_mut().and_then(|child| child.stdin.as_mut()).expect("it is a pipe");
        writeln!(ear, "end").expect("it lives");
    }

    /// All that it has to say in the end.
    pub(crate) async fn report(&mut self) -> String {
        let child = self.0.take().expect("it runs");
        let output = spawn_blocking(move || child.wait_with_output()).await.expect("no panic");
        let output = output.expect("it ends");
        assert!(output.status.success(), "a process failed");
        String::from_utf8(output.stdout).expect("a text")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            _ = child.kill();
            _ = child.wait();
        }
    }
}
