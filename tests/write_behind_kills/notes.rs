//! What a process says while it works, in whole lines.

#![allow(dead_code, reason = "each of the tests that share it uses its own part")]

use std::fmt;
use std::io::{self, Write};

/// One line. Operations are numbers that no two writes have in common.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Note {
    /// A write is about to be asked for.
    Asked {
        key: u64,
        operation: u64,
    },
    /// It has been answered.
    Answered {
        operation: u64,
    },
    /// It has failed: whether it is done, only the store can tell.
    Unanswered {
        operation: u64,
    },
    /// The counters are about to be incremented for it, and have been.
    Counting {
        operation: u64,
    },
    Counted {
        operation: u64,
    },
    /// A shard is its own, for the how-many-th time in the life of that.
    Claimed {
        shard: u64,
        epoch: u64,
    },
    /// It leaves a shard to others.
    Released {
        shard: u64,
    },
    /// The store has a batch of that shard.
    Brought {
        shard: u64,
        epoch: u64,
    },
    /// The store has refused one, as the shard is another's.
    Refused {
        shard: u64,
        epoch: u64,
    },
    /// A server does not have what was answered.
    Regressed,
    /// The step that was armed is reached.
    AtStep,
    /// The store is being given all up to this offset.
    Committing {
        upto: u64,
    },
    /// What the store has said of it.
    Committed(Heard),
    /// What the store has said of its offset.
    Standing {
        offset: u64,
    },
    /// So many writes are settled.
    Flushed {
        writes: u64,
    },
    /// Closed, with nothing left.
    Closed,
    /// What must not be.
    Failed {
        why: String,
    },
}

/// What is known of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    Done,
    /// Surely not done.
    Undone,
    /// Nothing is known.
    Nothing,
}

impl Note {
    /// Past the test harness, which would keep what is printed with the macros. Nobody listens when the other end is gone.
    pub(crate) fn say(&self) {
        // In one piece, which a pipe does not tear.
        let line = format!("{self}.\n");
        let mut out = io::stdout().lock();
        _ = out.write_all(line.as_bytes()).and_then(|()| out.flush());
    }

    /// None of a line that is not one of these, or was cut off: the full stop shows that it is whole.
    pub(crate) fn read(line: &str) -> Option<Self> {
        let (what, rest) = line.strip_suffix('.')?.split_once(' ')?;
        let numbers: Vec<u64> = rest.split(' ').map_while(|word| word.parse().ok()).collect();
        Some(match (what, &numbers[..]) {
            ("asked", &[key, operation]) => Self::Asked { key, operation },
            ("answered", &[operation]) => Self::Answered { operation },
            ("unanswered", &[operation]) => Self::Unanswered { operation },
            ("counting", &[operation]) => Self::Counting { operation },
            ("counted", &[operation]) => Self::Counted { operation },
            ("claimed", &[shard, epoch]) => Self::Claimed { shard, epoch },
            ("released", &[shard]) => Self::Released { shard },
            ("brought", &[shard, epoch]) => Self::Brought { shard, epoch },
            ("refused", &[shard, epoch]) => Self::Refused { shard, epoch },
            ("regressed", _) => Self::Regressed,
            ("reached", _) => Self::AtStep,
            ("committing", &[upto]) => Self::Committing { upto },
            ("committed", _) => Self::Committed(match rest {
                "Done" => Heard::Done,
                "Undone" => Heard::Undone,
                _ => Heard::Nothing,
            }),
            ("standing", &[offset]) => Self::Standing { offset },
            ("flushed", &[writes]) => Self::Flushed { writes },
            ("closed", _) => Self::Closed,
            ("failed", _) => Self::Failed { why: rest.to_owned() },
            _ => return None,
        })
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Asked { key, operation } => write!(f, "asked {key} {operation}"),
            Self::Answered { operation } => write!(f, "answered {operation}"),
            Self::Unanswered { operation } => write!(f, "unanswered {operation}"),
            Self::Counting { operation } => write!(f, "counting {operation}"),
            Self::Counted { operation } => write!(f, "counted {operation}"),
            Self::Claimed { shard, epoch } => write!(f, "claimed {shard} {epoch}"),
            Self::Released { shard } => write!(f, "released {shard}"),
            Self::Brought { shard, epoch } => write!(f, "brought {shard} {epoch}"),
            Self::Refused { shard, epoch } => write!(f, "refused {shard} {epoch}"),
            Self::Regressed => write!(f, "regressed somewhere"),
            Self::AtStep => write!(f, "reached it"),
            Self::Committing { upto } => write!(f, "committing {upto}"),
            Self::Committed(heard) => write!(f, "committed {heard:?}"),
            Self::Standing { offset } => write!(f, "standing {offset}"),
            Self::Flushed { writes } => write!(f, "flushed {writes}"),
            Self::Closed => write!(f, "closed whole"),
            Self::Failed { why } => write!(f, "failed {}", why.replace('\n', " ")),
        }
    }
}
