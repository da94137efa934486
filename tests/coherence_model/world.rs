//! The row that is explored: one key, its server, and one reader in another process than its writers.
//!
//! Time is told by what is left of it and by how long ago something was, and a copy by how long ago it was dropped: what is
//! out of date for good is wiped out, so that few states differ and nobody needs to say when time ends.

use std::fmt;

use larder::testing::Model;

use crate::reader::Reader;
use crate::server::Server;

/// How far a copy may be behind.
pub(crate) const BOUND: u8 = 2;

/// How long ago something was; what is longer ago than the bound is all the same.
pub(crate) type Age = u8;

/// The age a tick later.
pub(crate) fn older(age: Age) -> Age {
    (age + 1).min(BOUND + 1)
}

/// How the reader hears.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Way {
    Bus,
    Tracking,
    /// One or the other, as the server has it that is found behind a connection.
    Either,
}

/// What is left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flaw {
    /// Marks are taken with the answer.
    LateMark,
    NoNumbers,
    /// What comes with the first answer of a connection is believed, and what was there before it as well.
    NoFlush,
    /// The flush comes when the connection is made, before anything on it is in force.
    EarlyFlush,
    /// Trust has no end.
    NoBarrier,
    TrustFromAnswer,
    /// Reads that the server does not remember are marked as if it did.
    Untracked,
    /// What no message reaches lives for a bound from when it is kept.
    LifeFromAnswer,
    /// It is said how changes are told of when all that was there has been flushed.
    ModeAfterFlush,
    /// It is looked how changes are told of, and then the mark is taken.
    ModeBeforeMark,
    /// Own writes wait for their message as those of others do.
    NoOwnDrop,
}

/// How much may happen.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) way: Way,
    pub(crate) flaw: Option<Flaw>,
    /// How many reads may be under way at once, at most two.
    pub(crate) reads: usize,
    pub(crate) left: Left,
}

impl Row {
    pub(crate) fn has(&self, flaw: Flaw) -> bool {
        self.flaw == Some(flaw)
    }
}

/// What may happen yet, and how often.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Left {
    pub(crate) writes: u8,
    pub(crate) own_writes: u8,
    /// Writes of another key of the bucket, in another stripe: their messages drop nothing here, and may show a gap.
    pub(crate) neighbours: u8,
    pub(crate) losses: u8,
    pub(crate) doubles: u8,
    pub(crate) overtakings: u8,
    pub(crate) forgeries: u8,
    pub(crate) breaks: u8,
    pub(crate) lost_counts: u8,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct State {
    pub(crate) server: Server,
    pub(crate) reader: Reader,
    pub(crate) left: Left,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Step(String);

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What can happen next.
pub(crate) struct Steps(Vec<(Step, State)>);

impl Steps {
    pub(crate) fn add(&mut self, words: impl Into<String>, state: State) {
        self.0.push((Step(words.into()), state));
    }
}

impl Model for Row {
    type State = State;
    type Step = Step;

    fn start(&self) -> State {
        State { server: Server::default(), reader: Reader::default(), left: self.left }
    }

    fn steps(&self, state: &State) -> Vec<(Step, State)> {
        let mut steps = Steps(Vec::new());
        let mut later = state.clone();
        later.reader.grow_older();
        // Whoever is not asked for a while is stopped, or its line is dead.
        steps.add("time passes", later);
        self.of_the_server(state, &mut steps);
        self.of_the_reader(state, &mut steps);
        steps.0
    }

    fn check(&self, state: &State) -> Result<(), String> {
        let Some(copy) = state.reader.served() else { return Ok(()) };
        if copy.dropped.is_some_and(|age| age > BOUND) {
            return Err("a copy is served that was dropped more than a bound ago".to_owned());
        }
        if copy.is_overruled {
            return Err("a copy is served that an own write has dropped".to_owned());
        }
        Ok(())
    }
}
