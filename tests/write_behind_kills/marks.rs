//! How often the dangerous thing happened.

use std::collections::BTreeMap;
use std::fmt;

use crate::job::Step;

#[derive(Clone, Debug, Default)]
pub(crate) struct Marks {
    pub(crate) rounds: u64,
    /// Kills while somebody waited for an answer.
    pub(crate) unanswered: u64,
    /// Kills while something that was answered was not in the store, as far as was looked.
    pub(crate) not_stored: u64,
    /// Transactions that were begun, and nobody heard what became of them.
    pub(crate) in_doubt: u64,
    /// Of these, the ones that turned out to be done, and not to be.
    pub(crate) landed: u64,
    pub(crate) not_landed: u64,
    /// Logs with a record at their end that is not whole.
    pub(crate) torn: u64,
    /// How often it happened at this step.
    pub(crate) steps: BTreeMap<&'static str, u64>,
}

impl Marks {
    pub(crate) fn at(&mut self, step: Step) {
        *self.steps.entry(step.name()).or_default() += 1;
    }
}

impl fmt::Display for Marks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { rounds, unanswered, not_stored, in_doubt, landed, not_landed, torn, steps } = self;
        write!(
            f,
            "{rounds} kills, {unanswered} with writes unanswered, {not_stored} with answered ones not stored, {in_doubt} \
             commits in doubt ({landed} landed, {not_landed} not), {torn} torn tails"
        )?;
        for (step, times) in steps {
            write!(f, ", {times} at {step}")?;
        }
        Ok(())
    }
}
