//! One log and one database, processes that use them one after the other, and the books of what was asked for.

use std::path::PathBuf;
use std::sync::mpsc::RecvTimeoutError;
use std::time::{Duration, Instant};

use crate::books::{Books, Findings};
use crate::database::Database;
use crate::job::{Armed, Guards, Job, Step, Then, Work};
use crate::marks::Marks;
use crate::notes::{Heard, Note};
use crate::process::Process;
use crate::support::redis_process::Folder;

/// How long anything may take before a test fails instead of hanging.
const PATIENCE: Duration = Duration::from_secs(60);
/// After so many rounds all is brought to the store, and compared.
const ROUNDS_BETWEEN: u64 = 20;
/// How often a long run says that it goes on.
const ROUNDS_BETWEEN_WORDS: u64 = 250;

pub(crate) struct World {
    name: &'static str,
    database: Database,
    logs: Folder,
    guards: Guards,
    pub(crate) books: Books,
    pub(crate) marks: Marks,
    /// What of the process that runs is known from its notes.
    now: Now,
    /// A commit of an earlier process or of a server before this one, whose outcome the offset will say.
    doubt: Option<u64>,
    /// How far the table of effects has been read.
    position: i64,
    began: Instant,
}

#[derive(Default)]
struct Now {
    asked: u64,
    answered: u64,
    flushed: u64,
    committing: Option<u64>,
    is_at_step: bool,
}

/// Who is killed, and when.
#[derive(Clone, Copy)]
pub(crate) enum Kill {
    /// The process, at any moment.
    Process,
    /// The process, by itself, at each of the steps in turn.
    ProcessAtStep,
    /// The server, at any moment; the process lives on.
    Server,
    /// The server, at each of these steps in turn, while the process waits.
    ServerAtStep(&'static [Step]),
}

impl World {
    pub(crate) fn new(name: &'static str, database: Database, guards: Guards) -> Self {
        Self {
            name,
            database,
            logs: Folder::make("kills-log"),
            guards,
            books: Books::default(),
            marks: Marks::default(),
            now: Now::default(),
            doubt: None,
            position: 0,
            began: Instant::now(),
        }
    }

    /// Kills until there have been so many rounds, or `until` says that it is enough; it is asked when all is compared.
    pub(crate) async fn run(&mut self, rounds: u64, kill: Kill, until: impl Fn(&Findings) -> bool) {
        while self.marks.rounds < rounds {
            match kill {
                Kill::Process => self.kill_process().await,
                Kill::ProcessAtStep => self.kill_process_at_step().await,
                Kill::Server => self.kill_server().await,
                Kill::ServerAtStep(steps) => self.kill_server_at_step(steps).await,
            }
            self.marks.torn += u64::from(self.is_torn());
            if self.marks.rounds.is_multiple_of(ROUNDS_BETWEEN_WORDS) {
                self.report("so far");
            }
            if self.marks.rounds.is_multiple_of(ROUNDS_BETWEEN) {
                self.compare().await;
                if until(&self.books.findings) {
                    break;
                }
            }
        }
        self.compare().await;
        // Once more as a whole: what was read bit by bit may have been read wrongly.
        let mut books = self.books.afresh();
        self.database.effects(0).await.0.into_iter().for_each(|effect| books.effect(effect));
        books.settle();
        self.books = books;
        self.report("at the end");
    }

    /// Every second process is killed wherever it is, which may be before its log is open.
    async fn kill_process(&mut self) {
        let mut process = self.start(Work::Write, None);
        if self.marks.rounds.is_multiple_of(2) {
            self.hear_until(&process, |note| matches!(note, Note::Answered { .. }));
            pause(60_000);
        } else {
            pause(90_000);
        }
        self.note_process_kill(&mut process).await;
    }

    async fn kill_process_at_step(&mut self) {
        let step = Step::OF_A_PROCESS[self.marks.rounds as usize % Step::OF_A_PROCESS.len()];
        let mut process = self.start(Work::Write, Some(armed(step, Then::Die)));
        self.hear_until(&process, |_| false);
        if self.now.is_at_step {
            self.marks.at(step);
        }
        self.note_process_kill(&mut process).await;
    }

    /// A process that lives through many deaths of the server, and comes to its own end in one way or another.
    async fn kill_server(&mut self) {
        let mut process = self.start(Work::Write, None);
        loop {
            self.hear_until(&process, |note| *note == Note::Committed(Heard::Done));
            self.hear_for(&process, Duration::from_micros(fastrand::u64(..20_000)));
            self.database.server().kill().await;
            self.note_server_kill(&process);
            let is_last = self.marks.rounds.is_multiple_of(ROUNDS_BETWEEN / 2);
            let both = is_last && fastrand::bool();
            if both {
                self.bury(&mut process);
            }
            self.database.server().start_again().await;
            if both {
                return;
            }
            if is_last {
                self.hear_until(&process, |note| *note == Note::Committed(Heard::Done));
                return self.end(&mut process);
            }
        }
    }

    async fn kill_server_at_step(&mut self, steps: &[Step]) {
        let step = steps[self.marks.rounds as usize % steps.len()];
        let mut process = self.start(Work::Write, Some(armed(step, Then::Wait)));
        if !self.hear_until(&process, |note| *note == Note::AtStep) {
            // It had nothing left to write when it was to be closed.
            self.marks.rounds += 1;
            return self.bury(&mut process);
        }
        let is_there = step != Step::Committing || self.database.commits_for_ever().await;
        if is_there {
            self.marks.at(step);
        }
        self.database.server().kill().await;
        self.note_server_kill(&process);
        process.tell("go on");
        pause(10_000);
        self.database.server().start_again().await;
        if step == Step::Closing {
            return self.close(&mut process);
        }
        self.hear_until(&process, |note| *note == Note::Committed(Heard::Done));
        self.end(&mut process);
    }

    async fn note_process_kill(&mut self, process: &mut Process) {
        self.bury(process);
        self.marks.rounds += 1;
        self.marks.unanswered += u64::from(self.now.asked > self.now.answered);
        // The other half of them leave a database that is as it was when the next process opens it.
        if fastrand::bool() {
            self.look().await;
            self.marks.not_stored += u64::from(self.books.awaited() > 0);
        }
    }

    fn note_server_kill(&mut self, process: &Process) {
        self.hear_for(process, Duration::ZERO);
        self.marks.rounds += 1;
        self.marks.unanswered += u64::from(self.now.asked > self.now.answered);
        self.marks.not_stored += u64::from(self.now.answered > self.now.flushed);
    }

    fn start(&mut self, work: Work, armed: Option<Armed>) -> Process {
        self.now = Now::default();
        let (place, log) = (self.database.place(), self.log());
        Process::start(&Job { place, log, guards: self.guards, work, first: self.books.next(), armed })
    }

    /// Ends it in one of two ways.
    fn end(&mut self, process: &mut Process) {
        if fastrand::bool() { self.bury(process) } else { self.close(process) }
    }

    /// Kills a process, if it lives, and hears the last of it.
    fn bury(&mut self, process: &mut Process) {
        process.kill();
        self.hear_until(process, |_| false);
        self.is_in_doubt();
    }

    /// Has it write what waits and end by itself.
    fn close(&mut self, process: &mut Process) {
        process.tell("close");
        assert!(self.hear_until(process, |note| *note == Note::Closed), "{}: it does not close", self.name);
        process.kill();
        self.hear_until(process, |_| false);
    }

    /// Has all that waits brought to the store, and compares.
    async fn compare(&mut self) {
        let mut process = self.start(Work::Drain, None);
        self.close(&mut process);
        self.look().await;
        self.books.settle();
    }

    async fn look(&mut self) {
        let (effects, position) = self.database.effects(self.position).await;
        self.position = position;
        effects.into_iter().for_each(|effect| self.books.effect(effect));
    }

    /// Whether it has said this. If not, it has ended.
    fn hear_until(&mut self, process: &Process, is_it: impl Fn(&Note) -> bool) -> bool {
        let until = Instant::now() + PATIENCE;
        loop {
            match process.next(until.saturating_duration_since(Instant::now())) {
                Ok(note) if self.hear(note.clone(), &is_it) => return true,
                Ok(_) => {}
                Err(RecvTimeoutError::Disconnected) => return false,
                Err(RecvTimeoutError::Timeout) => panic!("{}: the process has hung", self.name),
            }
        }
    }

    fn hear_for(&mut self, process: &Process, time: Duration) {
        let until = Instant::now() + time;
        while let Ok(note) = process.next(until.saturating_duration_since(Instant::now())) {
            self.hear(note, |_| false);
        }
    }

    fn hear(&mut self, note: Note, is_it: impl Fn(&Note) -> bool) -> bool {
        let is_it = is_it(&note);
        match note {
            Note::Asked { key, operation } => {
                self.now.asked += 1;
                self.books.asked(key, operation);
            }
            Note::Answered { operation } => {
                self.now.answered += 1;
                self.books.answered(operation);
            }
            Note::AtStep => self.now.is_at_step = true,
            Note::Committing { upto } => self.now.committing = Some(upto),
            Note::Committed(Heard::Nothing) => self.is_in_doubt(),
            Note::Committed(_) => self.now.committing = None,
            Note::Standing { offset } => self.decide(offset),
            Note::Flushed { writes } => self.now.flushed += writes,
            Note::Failed { why } => panic!("{}: {why}", self.name),
            // It closes; the others are said where a journal is shared.
            _ => {}
        }
        is_it
    }

    /// Nobody will hear what became of a commit that is under way.
    fn is_in_doubt(&mut self) {
        if let Some(upto) = self.now.committing.take() {
            self.marks.in_doubt += 1;
            self.doubt = Some(upto);
        }
    }

    fn decide(&mut self, offset: u64) {
        // Of a volatile journal the next one knows nothing.
        if let Some(upto) = self.doubt.take().filter(|_| self.guards != Guards::Volatile) {
            match offset >= upto {
                true => self.marks.landed += 1,
                false => self.marks.not_landed += 1,
            }
        }
    }

    fn is_torn(&self) -> bool {
        larder::journal::inspect(self.log()).is_ok_and(|found| found.torn_bytes > 0)
    }

    fn log(&self) -> PathBuf {
        self.logs.path().join("log")
    }

    fn report(&self, when: &str) {
        let Findings { lost, double, out_of_order, unasked, first } = &self.books.findings;
        println!(
            "{} {when}: {} in {:.1} s\n    {} operations asked for, {} answered, {lost} lost, {double} double, {out_of_order} \
             out of order, {unasked} not asked for. {}",
            self.name,
            self.marks,
            self.began.elapsed().as_secs_f64(),
            self.books.asked_for(),
            self.books.all_answered(),
            first.as_deref().unwrap_or_default(),
        );
    }
}

/// The first few times a step is taken, or a later one; of closing, the number of answers before it.
fn armed(step: Step, then: Then) -> Armed {
    let time = if step.is_repeated() { fastrand::u64(1..=12) } else { 1 };
    Armed { step, time, then }
}

fn pause(micros: u64) {
    std::thread::sleep(Duration::from_micros(fastrand::u64(..micros)));
}
