//! A process that writes, seen from outside: what it says, and what it is told.

#![allow(dead_code, reason = "each of the tests that share it uses its own part")]

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::job::{JOB, Job};
use crate::notes::Note;

/// The test that does jobs.
const WORKER: &str = "does_its_job";

/// Killed when dropped.
pub(crate) struct Process {
    child: Child,
    notes: Receiver<Note>,
}

impl Process {
    pub(crate) fn start(job: &Job) -> Self {
        let mut command = Command::new(std::env::current_exe().expect("this program"));
        command.args(["--exact", WORKER]).env(JOB, job.write()).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("this program starts");
        let (told, notes) = channel();
        let said = child.stdout.take().expect("it is a pipe");
        thread::spawn(move || listen(said, &told));
        Self { child, notes }
    }

    /// The next thing that it says, unless it is gone and has said all, or says nothing for too long.
    pub(crate) fn next(&self, patience: Duration) -> Result<Note, RecvTimeoutError> {
        self.notes.recv_timeout(patience)
    }

    /// Gives it an order.
    pub(crate) fn tell(&mut self, order: &str) {
        let ear = self.child.stdin.as_mut().expect("it is a pipe");
        // It may be dead already.
        _ = writeln!(ear, "{order}");
    }

    /// Stops it wherever it is. It does not notice.
    pub(crate) fn freeze(&self) {
        // It may be dead already.
        _ = kill_process(Pid::from_child(&self.child), Signal::STOP);
    }

    /// Has it go on as if nothing had been.
    pub(crate) fn thaw(&self) {
        _ = kill_process(Pid::from_child(&self.child), Signal::CONT);
    }

    pub(crate) fn kill(&mut self) {
        // It may be dead already.
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

fn listen(said: ChildStdout, told: &Sender<Note>) {
    let lines = BufReader::new(said).split(b'\n').map_while(Result::ok);
    for note in lines.filter_map(|line| Note::read(std::str::from_utf8(&line).ok()?)) {
        if told.send(note).is_err() {
            return;
        }
    }
}
