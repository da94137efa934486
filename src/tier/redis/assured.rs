//! A connection on which the server is asked to wait until it has what was written there on enough disks or replicas.
//!
//! `WAIT` and `WAITAOF` hold up whatever comes after them on their connection. So it is one that nobody else uses, with no
//! breaker but its own; and what is to be appended while somebody waits goes there afterwards, all of it behind one wait.

use std::time::Duration;

use parking_lot::Mutex;
use redis::Value as Answer;
use tokio::sync::{RwLock, RwLockReadGuard};
use tokio::time::Instant;

use super::fault::Fault;
use super::nodes::{Call, Nodes};
use crate::time::{self, Unanswered};

/// That there are not enough is said so long before the deadline, for there must be somebody who hears it. A server that has
/// nothing else to do is a tenth of a second late with it.
const A_MOMENT: Duration = Duration::from_millis(250);

/// What is asked of a server beyond having a write in its memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Wish {
    pub(super) must_sync: bool,
    pub(super) replicas: u8,
}

/// The connection of one shard, and those who append over it.
pub(super) struct Assured {
    nodes: Nodes,
    /// Shared by all who append. Who waits has it alone.
    road: RwLock<()>,
    state: Mutex<State>,
}

/// Whose turn it is to append.
pub(super) type Turn<'a> = RwLockReadGuard<'a, ()>;

#[derive(Default)]
struct State {
    /// How many have been appended.
    appended: u64,
    last: Option<Waited>,
}

/// A wait that is over.
struct Waited {
    on: Call,
    /// For all that had been appended by then.
    upto: u64,
    answer: Result<bool, Fault>,
}

impl Assured {
    pub(super) fn new(nodes: Nodes) -> Self {
        Self { nodes, road: RwLock::new(()), state: Mutex::default() }
    }

    pub(super) fn nodes(&self) -> &Nodes {
        &self.nodes
    }

    /// Leave to append, as soon as nobody waits; with hardly any time left a write would only come to be in doubt.
    pub(super) async fn turn(&self, until: Instant) -> Result<Turn<'_>, Fault> {
        let whole = until.saturating_duration_since(Instant::now());
        let turn = time::within(until, self.road.read()).await.map_err(unanswered)?;
        let left = until.saturating_duration_since(Instant::now());
        if left < A_MOMENT.min(whole / 2) { Err(Fault::Late) } else { Ok(turn) }
    }

    /// Something has been appended: its number among all that have.
    pub(super) fn appended(&self, turn: Turn<'_>) -> u64 {
        let mut state = self.state.lock();
        state.appended += 1;
        drop(turn);
        state.appended
    }

    /// Whether the wish has come true of what was appended as `number` by `call`, within its deadline.
    pub(super) async fn wait(&self, call: &mut Call, number: u64, wish: Wish) -> Result<bool, Fault> {
        let _alone = time::within(call.until(), self.road.write()).await.map_err(unanswered)?;
        let upto = {
            let state = self.state.lock();
            // The server goes by what was written on the connection: a wait on another one says nothing.
            let is_over = |waited: &&Waited| waited.upto >= number && waited.on.is_on_the_link_of(call);
            let waited = state.last.as_ref().filter(is_over);
            // Who has much more time than the other one had may still be told something else.
            let latest = |waited: &Waited| waited.on.until() + A_MOMENT;
            let is_final = |waited: &&Waited| waited.answer != Ok(false) || call.until() <= latest(waited);
            if let Some(waited) = waited.filter(is_final) {
                return waited.answer.clone();
            }
            state.appended
        };
        let answer = wish.ask(call).await;
        self.state.lock().last = Some(Waited { on: call.clone(), upto, answer: answer.clone() });
        answer
    }
}

impl Wish {
    pub(super) fn is_none(self) -> bool {
        self == Self { must_sync: false, replicas: 0 }
    }

    async fn ask(self, call: &mut Call) -> Result<bool, Fault> {
        let left = call.left();
        let patience =
            u64::try_from((left - (left / 2).min(A_MOMENT)).as_millis()).unwrap_or(u64::MAX).max(1);
        let wanted = u64::from(self.replicas);
        if self.must_sync {
            let mut wait = redis::cmd("WAITAOF");
            wait.arg(1).arg(wanted).arg(patience);
            let (here, there) = call.ask::<(u64, u64)>(&wait).await?;
            return Ok(here >= 1 && there >= wanted);
        }
        let mut wait = redis::cmd("WAIT");
        wait.arg(wanted).arg(patience);
        Ok(call.ask::<u64>(&wait).await? >= wanted)
    }

    /// The command that it needs and the user may not run. To be asked before anything is appended: else that would be found
    /// out of a write that is there already.
    pub(super) async fn is_forbidden(self, call: &mut Call) -> Result<Option<&'static str>, Fault> {
        if self.is_none() {
            return Ok(None);
        }
        let name = if self.must_sync { "WAITAOF" } else { "WAIT" };
        let mut wait = redis::cmd(name);
        wait.arg(0).arg(0);
        if self.must_sync {
            wait.arg(1);
        }
        match call.ask::<Answer>(&wait).await {
            Ok(_) => Ok(None),
            Err(Fault::Refused(code)) if code == "NOPERM" => Ok(Some(name)),
            Err(fault) => Err(fault),
        }
    }
}

fn unanswered(why: Unanswered) -> Fault {
    match why {
        Unanswered::Late => Fault::Late,
        Unanswered::NoTimer => Fault::NoRuntime,
    }
}
