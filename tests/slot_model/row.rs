//! A row: who does what to the key, what may go wrong meanwhile, and what must be true all the same.

use larder::tier::slot::{Life, Millis};

use crate::guard::Guard;
use crate::key::FOREVER;

/// What is promised of the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Promise {
    /// No copy that is older than the store is left behind with nobody under way who will drop it.
    Repaired,
    /// Every copy that a reader can get equals the store at that instant.
    Current,
    /// No reader gets what is older than a write that was acknowledged before the read began.
    ReadYourWrites,
}

impl Promise {
    /// Nothing but this one.
    pub(crate) const fn alone(self) -> &'static [Self] {
        match self {
            Self::Repaired => &[Self::Repaired],
            Self::Current => &[Self::Current],
            Self::ReadYourWrites => &[Self::ReadYourWrites],
        }
    }

    /// What is the matter when it is broken.
    pub(crate) const fn broken(self) -> &'static str {
        match self {
            Self::Repaired => "a copy is older than the store and nobody will drop it",
            Self::Current => "a reader would get what is older than the store",
            Self::ReadYourWrites => "a reader gets what is older than an acknowledged write",
        }
    }
}

/// What holds keep with a server that loses nothing.
pub(crate) const ALL: &[Promise] = &[Promise::Current, Promise::Repaired, Promise::ReadYourWrites];

/// What leases keep, and holds with a server that may lose them.
pub(crate) const LEASED: &[Promise] = &[Promise::Repaired, Promise::ReadYourWrites];

/// How loads keep what they bring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fills {
    /// Through the slot: with a lease.
    Leased,
    /// Through the slot, and only what is not below the least version beside it.
    LeasedAboveTheLeast,
    /// Past the slot: without asking.
    Blind,
    /// Past the slot: unless there is something newer.
    IfNewer,
}

/// One step of a writer. Its last step is followed by the acknowledgement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Act {
    /// The store takes the write.
    Commit,
    /// The copy is dropped.
    Drop,
    /// The copy is dropped, and a mark left that nothing older may come.
    DropBelow,
    /// The key is claimed, or the claim prolonged.
    Hold,
    /// The claim ends.
    Release,
    /// The claim ends, and what was written is kept.
    Publish,
    /// What was written is kept, past the slot and without asking.
    Set,
    /// What was written is kept, past the slot, unless there is something newer.
    SetIfNewer,
}

/// The steps of one writer.
pub(crate) type Script = &'static [Act];

pub(crate) const DROPPED: Script = &[Act::Commit, Act::Drop];
pub(crate) const HELD: Script = &[Act::Hold, Act::Commit, Act::Release];
pub(crate) const PUBLISHED: Script = &[Act::Hold, Act::Commit, Act::Publish];

/// What loads read from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reads {
    /// The store itself.
    Store,
    /// A replica. A hold that nobody ends, and a hold-off, end when it has caught up with what was written before.
    Replica,
    /// A replica that may be behind when the hold of a dead writer ends, and is not when a hold-off ends.
    ReplicaBehindHolds,
    /// A replica that may be behind for longer than everything.
    SlowReplica,
}

/// One row.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    /// At most three.
    pub(crate) readers: u8,
    /// For each reader.
    pub(crate) loads: u8,
    /// So many readers load though there is a fresh copy.
    pub(crate) renewing: u8,
    /// Whether loads may fail.
    pub(crate) failing_loads: bool,
    /// Whether leases may run out, loads ask for more time, and the server forget what has run out.
    pub(crate) slow_loads: bool,
    /// Whether the server may get the request for a lease a second time, later.
    pub(crate) repeated_requests: bool,
    /// Whether all loads use one token, as if it named the client.
    pub(crate) shared_token: bool,
    pub(crate) fills: Fills,
    pub(crate) reads: Reads,
    pub(crate) life: Life,
    /// At most three.
    pub(crate) writers: &'static [Script],
    pub(crate) hold_off: Millis,
    /// Whether writers may give up instead of committing.
    pub(crate) rollbacks: bool,
    /// How often the server may lose the key.
    pub(crate) evictions: u8,
    /// How many writers may die.
    pub(crate) deaths: u8,
    /// How many holds may run out under a living writer.
    pub(crate) early_ends: u8,
    pub(crate) off: Option<Guard>,
    pub(crate) promises: &'static [Promise],
}

impl Default for Row {
    /// Two readers with two loads each, through the slot, and no trouble.
    fn default() -> Self {
        Self {
            readers: 2,
            loads: 2,
            renewing: 0,
            failing_loads: false,
            slow_loads: false,
            repeated_requests: false,
            shared_token: false,
            fills: Fills::Leased,
            reads: Reads::Store,
            life: FOREVER,
            writers: &[],
            hold_off: 0,
            rollbacks: false,
            evictions: 0,
            deaths: 0,
            early_ends: 0,
            off: None,
            promises: &[],
        }
    }
}
