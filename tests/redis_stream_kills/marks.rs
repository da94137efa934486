//! How often the dangerous thing happened.

use std::fmt;

#[derive(Clone, Debug, Default)]
pub(crate) struct Marks {
    pub(crate) rounds: u64,
    /// Of processes, of Redis, and of PostgreSQL.
    pub(crate) kills: [u64; 3],
    /// Processes that were stopped for a while.
    pub(crate) stopped: u64,
    /// Rounds in which somebody waited for an answer when the blow fell.
    pub(crate) unanswered: u64,
    /// Rounds in which something that was answered was not in the store.
    pub(crate) not_stored: u64,
    /// Shards claimed by another process than the one that had them, and had not left them.
    pub(crate) taken_over: u64,
    /// Processes that went on when others had brought batches of their shards.
    pub(crate) zombies: u64,
    /// Batches of theirs that the store did not take.
    pub(crate) refused: u64,
    /// Servers that turned out not to have what was answered.
    pub(crate) regressed: u64,
}

impl fmt::Display for Marks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { rounds, kills, stopped, unanswered, not_stored, taken_over, zombies, refused, regressed } =
            self;
        let [processes, redis, postgres] = kills;
        write!(
            f,
            "{rounds} rounds: {processes} processes, {redis} times Redis and {postgres} times PostgreSQL killed, {stopped} stopped, {unanswered} \
             with writes unanswered, {not_stored} with answered ones not stored; {taken_over} shards taken over, {zombies} \
             zombies came back, {refused} batches refused, {regressed} regressions told"
        )
    }
}
