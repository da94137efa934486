//! What is written, and what it is known by while it waits to be.

use std::fmt;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::{Duration, SystemTime};

/// One change of one key.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Change<K, V> {
    /// Save this value.
    Put(K, V),
    /// Delete the key.
    Delete(K),
    /// Merge this operand into the value that the key has, as the [`Merge`](crate::store::Merge) says that write-behind was
    /// built with: of a counter, add it.
    Merge(K, V),
}

impl<K, V> Change<K, V> {
    /// The key that it changes.
    pub const fn key(&self) -> &K {
        match self {
            Self::Put(key, _) | Self::Delete(key) | Self::Merge(key, _) => key,
        }
    }
}

impl<K, V> Change<K, V> {
    /// Whether what the key had before does not matter any more.
    pub(crate) const fn replaces(&self) -> bool {
        !matches!(self, Self::Merge(..))
    }
}

/// The number of a pending write in its shard. A later one has a larger number; in a journal of one process the first is 1.
pub type Seq = u64;

/// What a journal is known by, all its life: 128 random bits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct JournalId(pub(crate) [u8; 16]);

impl JournalId {
    /// The id with these bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// One that no other journal has, from the keys that the operating system draws.
    pub(crate) fn fresh() -> Self {
        let draw = || RandomState::new().build_hasher().finish();
        Self(((u128::from(draw()) << 64) | u128::from(draw())).to_le_bytes())
    }

    /// Its bytes.
    #[must_use]
    pub const fn to_bytes(self) -> [u8; 16] {
        self.0
    }
}

impl fmt::Display for JournalId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

impl fmt::Debug for JournalId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "JournalId({self})")
    }
}

/// One sequence of pending writes: a part of a journal whose writes reach the store one batch after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ShardId {
    journal: JournalId,
    number: u16,
}

impl ShardId {
    /// Shard `number` of `journal`, counted from 0.
    #[must_use]
    pub const fn new(journal: JournalId, number: u16) -> Self {
        Self { journal, number }
    }

    /// The journal that it is a part of.
    #[must_use]
    pub const fn journal(self) -> JournalId {
        self.journal
    }

    /// Which of its shards it is.
    #[must_use]
    pub const fn number(self) -> u16 {
        self.number
    }
}

/// One pending write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PendingWrite<K, V> {
    shard: ShardId,
    seq: Seq,
    change: Change<K, V>,
}

impl<K, V> PendingWrite<K, V> {
    /// Number `seq` of `shard`.
    pub const fn new(shard: ShardId, seq: Seq, change: Change<K, V>) -> Self {
        Self { shard, seq, change }
    }

    /// The shard that it is in. With its [number](Self::seq) this is an id that no other write has.
    pub const fn shard(&self) -> ShardId {
        self.shard
    }

    /// Its number in the shard.
    pub const fn seq(&self) -> Seq {
        self.seq
    }

    /// What it changes.
    pub const fn change(&self) -> &Change<K, V> {
        &self.change
    }
}

/// A pending write that the store will never take, put aside so that others can pass.
#[derive(Clone, PartialEq, Eq)]
pub struct DeadLetter {
    pub(crate) shard: ShardId,
    pub(crate) seq: Seq,
    pub(crate) at: Duration,
    pub(crate) why: String,
    pub(crate) record: Vec<u8>,
}

impl DeadLetter {
    /// The letter of write `seq` of `shard`, put aside at `at`, for the reason `why`; `record` is the write as the journal
    /// has it.
    #[must_use]
    pub fn new(shard: ShardId, seq: Seq, at: SystemTime, why: impl Into<String>, record: Vec<u8>) -> Self {
        let at = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Self { shard, seq, at, why: why.into(), record }
    }

    /// The shard of the write.
    #[must_use]
    pub const fn shard(&self) -> ShardId {
        self.shard
    }

    /// The number of the write.
    #[must_use]
    pub const fn seq(&self) -> Seq {
        self.seq
    }

    /// When it was put aside.
    #[must_use]
    pub fn at(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + self.at
    }

    /// Why: what the store said, or what is wrong with the record. A store's own words may hold values.
    #[must_use]
    pub fn why(&self) -> &str {
        &self.why
    }

    /// The write as the journal has it; empty where the journal keeps no records, such as
    /// [`Volatile`](crate::journal::Volatile).
    #[must_use]
    pub fn record(&self) -> &[u8] {
        &self.record
    }
}

/// What was to be written, and why it was not, is the user's data.
impl fmt::Debug for DeadLetter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DeadLetter({:?}, {}, {} bytes)", self.shard, self.seq, self.record.len())
    }
}
