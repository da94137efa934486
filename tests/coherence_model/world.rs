//! The row that is explored: one key, its server, and one reader in another process than its writers.

use std::fmt;

use larder::testing::Model;

use crate::reader::Reader;
use crate::server::Server;

/// How far a copy may be behind.
pub(crate) const BOUND: u8 = 2;

/// How the reader hears.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Way {
    Bus,
    Tracking,
}

/// What is left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flaw {
    LateMark,
    NoNumbers,
    NoFlush,
    EarlyFlush,
    NoBarrier,
    TrustFromAnswer,
    /// Reads go where the server does not remember them.
    Untracked,
}

/// How much may happen.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) way: Way,
    pub(crate) flaw: Option<Flaw>,
    pub(crate) ticks: u8,
    pub(crate) writes: u8,
    pub(crate) reads: u8,
    pub(crate) losses: u8,
    pub(crate) doubles: u8,
    pub(crate) overtakings: u8,
    pub(crate) breaks: u8,
    pub(crate) count_lost: u8,
}

impl Row {
    pub(crate) fn has(&self, flaw: Flaw) -> bool {
        self.flaw == Some(flaw)
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct State {
    pub(crate) now: u8,
    pub(crate) server: Server,
    pub(crate) reader: Reader,
    /// What has been used up of what may happen.
    pub(crate) reads: u8,
    pub(crate) losses: u8,
    pub(crate) doubles: u8,
    pub(crate) overtakings: u8,
    pub(crate) breaks: u8,
    pub(crate) count_lost: u8,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Step(pub(crate) String);

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What can happen next.
pub(crate) struct Steps(Vec<(Step, State)>);

impl Steps {
    /// Of the state only what can still matter.
    pub(crate) fn add(&mut self, words: impl Into<String>, mut state: State) {
        state.reader.forget(state.now);
        let oldest = state.reader.oldest().unwrap_or(state.server.version);
        state.server.forget_before(oldest);
        self.0.push((Step(words.into()), state));
    }
}

impl Model for Row {
    type State = State;
    type Step = Step;

    fn start(&self) -> State {
        State {
            now: 0,
            server: Server::default(),
            reader: Reader::default(),
            reads: 0,
            losses: 0,
            doubles: 0,
            overtakings: 0,
            breaks: 0,
            count_lost: 0,
        }
    }

    fn steps(&self, state: &State) -> Vec<(Step, State)> {
        let mut steps = Steps(Vec::new());
        if state.now < self.ticks {
            steps.add("time passes", State { now: state.now + 1, ..state.clone() });
        }
        self.of_the_server(state, &mut steps);
        self.of_the_reader(state, &mut steps);
        steps.0
    }

    fn check(&self, state: &State) -> Result<(), String> {
        let Some(copy) = state.reader.served(state.now) else { return Ok(()) };
        match state.server.dropped(copy) {
            Some(at) if state.now - at > BOUND => {
                Err(format!("at {} copy {copy} is served, which was dropped at {at}", state.now))
            }
            _ => Ok(()),
        }
    }
}
