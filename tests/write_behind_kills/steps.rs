//! The steps that a process takes, and what happens at the one that is armed.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use larder::{Event, Observer};
use rustix::process::{Signal, getpid, kill_process};
use tokio::sync::Notify;

use crate::job::{Armed, Step, Then};
use crate::notes::Note;

pub(crate) struct Steps {
    armed: Option<Armed>,
    taken: AtomicU64,
    may_go_on: AtomicBool,
    /// Somebody wants the process to close.
    pub(crate) close: Notify,
    pub(crate) is_closing: AtomicBool,
}

impl Steps {
    pub(crate) fn new(armed: Option<Armed>) -> Self {
        Self {
            armed,
            taken: AtomicU64::new(0),
            may_go_on: AtomicBool::new(false),
            close: Notify::new(),
            is_closing: AtomicBool::new(false),
        }
    }

    /// Takes a step; whether it was the one to wait at.
    pub(crate) async fn take(&self, step: Step) -> bool {
        let waits = self.is_due(step);
        while waits && !self.may_go_on.load(Ordering::SeqCst) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        waits
    }

    pub(crate) fn go_on(&self) {
        self.may_go_on.store(true, Ordering::SeqCst);
    }

    /// Closing is a step of the process's own, since it has to be asked for: after so many answers.
    pub(crate) fn answered(&self) {
        if let Some(Armed { step: Step::Closing, time, .. }) = self.armed
            && self.taken.fetch_add(1, Ordering::SeqCst) + 1 == time
        {
            self.close.notify_one();
        }
    }

    /// Whether this step is the one that is armed.
    pub(crate) fn is_due(&self, step: Step) -> bool {
        let Some(armed) = self.armed.filter(|armed| armed.step == step) else { return false };
        let is_due = match step {
            Step::Closing => self.is_closing.load(Ordering::SeqCst) && !self.may_go_on.load(Ordering::SeqCst),
            _ => self.taken.fetch_add(1, Ordering::SeqCst) + 1 == armed.time,
        };
        if !is_due {
            return false;
        }
        Note::AtStep.say();
        match armed.then {
            Then::Wait => true,
            Then::Die => die(),
        }
    }
}

/// Hears what write-behind tells: that writes are settled, which is a step, and what must not be.
pub(crate) struct Watching(pub(crate) Arc<Steps>);

impl Observer for Watching {
    fn on(&self, _: &str, event: &Event<'_>) {
        match event {
            Event::Flushed { writes, .. } => {
                let waits = self.0.is_due(Step::Flushed);
                while waits && !self.0.may_go_on.load(Ordering::SeqCst) {
                    thread::sleep(Duration::from_millis(1));
                }
                Note::Flushed { writes: *writes as u64 }.say();
            }
            Event::JournalFailed { error } => Note::Failed { why: error.to_string() }.say(),
            Event::PutAside { seq } => Note::Failed { why: format!("{seq} is put aside") }.say(),
            _ => {}
        }
    }
}

/// As a crash would: nothing is flushed, closed or told to anybody.
fn die() -> ! {
    _ = kill_process(getpid(), Signal::KILL);
    loop {
        thread::park();
    }
}
