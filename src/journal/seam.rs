//! What write-behind asks of a journal.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::change::{Change, DeadLetter, JournalId, Seq};
use crate::error::{Error, Result};
use crate::stream::{Collect, Collected, Limits, Number, Standing};

/// Where pending writes wait until they are in the store: [`Volatile`](super::Volatile), `LocalLog` with the feature
/// `local-log`, or `RedisStream` with the feature `redis`.
///
/// Sealed: what a journal must do is not settled yet.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no journal for keys of type `{K}` and values of type `{V}`",
    label = "not a journal for these keys and values",
    note = "take `larder::journal::Volatile`, or `larder::journal::LocalLog`, which asks keys and values to be \
            `serde::Serialize` and `serde::Deserialize`"
)]
pub trait Journal<K, V>: Opens<K, V> {}

impl<K, V, J: Opens<K, V>> Journal<K, V> for J {}

/// The sealed part of [`Journal`].
pub trait Opens<K, V>: Send + 'static {
    /// Opens the journal, and finds what waits in it.
    ///
    /// # Errors
    ///
    /// The journal is damaged, open elsewhere, or cannot be read.
    fn open(self) -> Result<Opened<K, V>>;

    /// Whether other processes write to it as well.
    fn is_shared(&self) -> bool {
        false
    }
}

/// An open journal.
pub struct Opened<K, V> {
    /// What it is known by.
    pub(crate) id: JournalId,
    /// How many sequences of writes it has.
    pub(crate) shards: u16,
    /// Where writes are kept beside the memory of this process; it has one shard. `None`: nowhere.
    pub(crate) log: Option<Arc<dyn Log<K, V>>>,
    /// What was found in it.
    pub(crate) found: Found<K, V>,
    /// Where the writes of many processes are kept; then there is no log, and nothing is found.
    pub(crate) stream: Option<Arc<dyn Stream<K, V>>>,
}

/// What an opened journal holds.
pub(crate) struct Found<K, V> {
    /// All writes before this one have been settled and forgotten: 1 in a new journal.
    pub(crate) first: Seq,
    /// The writes, in their order, without a gap.
    pub(crate) writes: Vec<FoundWrite<K, V>>,
    /// The number of the next write.
    pub(crate) next: Seq,
    /// At least up to here all are settled: a store that keeps no offsets goes on from here.
    pub(crate) settled: Seq,
}

impl<K, V> Found<K, V> {
    /// A new journal.
    pub(crate) const fn nothing() -> Self {
        Self { first: 1, writes: Vec::new(), next: 1, settled: 0 }
    }
}

/// One write that was found.
pub(crate) struct FoundWrite<K, V> {
    pub(crate) seq: Seq,
    /// The record as it stands in the log.
    pub(crate) record: Vec<u8>,
    /// What it says; or why it cannot be read, in words that hold no data.
    pub(crate) change: Result<Change<K, V>, String>,
}

/// How far a log has come, or that it has come to its end.
#[cfg_attr(
    not(any(all(feature = "local-log", unix), feature = "testing")),
    allow(dead_code, reason = "there is no log without one of these")
)]
#[derive(Clone, Debug)]
pub(crate) enum Progress {
    /// All up to this one survive the process, and the machine.
    Durable(Seq),
    /// It takes nothing more. What was appended and not told of may be in it or not.
    Failed(Error),
}

pub(crate) type Appending = Pin<Box<dyn Future<Output = Result<Seq>> + Send>>;

/// Writes in order, on something that outlives the process.
#[async_trait]
pub(crate) trait Log<K, V>: Send + Sync {
    /// The record of `change`.
    ///
    /// # Errors
    ///
    /// Its codec failed, or it is too long: nothing has been appended.
    fn encode(&self, change: &Change<K, V>) -> Result<Vec<u8>>;

    /// What a record says.
    ///
    /// # Errors
    ///
    /// Why it cannot be read, in words that hold no data.
    fn decode(&self, record: &[u8]) -> Result<Change<K, V>, String>;

    /// Appends a record. Its place is taken when this is called: records have the numbers 1, 2, 3 … in the order of the
    /// calls. It resolves when the record is durable; dropping it changes nothing.
    fn append(&self, record: Vec<u8>) -> Appending;

    /// Has `hear` told of all progress, on the log's own thread, before whoever appended is answered. Called once, before
    /// the first append.
    fn watch(&self, hear: Box<dyn Fn(Progress) + Send + Sync>);

    /// All up to this one are settled: they need not be kept, and need not be found again. Does not wait.
    fn settle(&self, upto: Seq);

    /// Keeps dead letters of a store that keeps none itself; they are durable when it resolves. One that is there is not
    /// kept twice.
    async fn put_aside(&self, letters: &[DeadLetter]) -> Result<()>;

    /// Dead letters that were put aside here, the oldest first.
    async fn letters(&self, after: Option<Seq>, most: usize) -> Result<Vec<DeadLetter>>;

    /// Removes one; whether there was one.
    async fn discard(&self, seq: Seq) -> Result<bool>;

    /// Ends it: what was appended is written, and another may open it.
    async fn close(&self);
}

/// The writes of many processes, in sequences that each have one owner among them.
#[async_trait]
pub(crate) trait Stream<K, V>: Send + Sync {
    /// The record of `change`.
    ///
    /// # Errors
    ///
    /// Its codec failed, or it is too long: nothing has been appended.
    fn encode(&self, change: &Change<K, V>) -> Result<Vec<u8>>;

    /// What a record says.
    ///
    /// # Errors
    ///
    /// Why it cannot be read, in words that hold no data.
    fn decode(&self, record: &[u8]) -> Result<Change<K, V>, String>;

    /// In which sequence the writes of a key are.
    fn shard_of(&self, key: &K) -> u16;

    /// For how long an owner counts that says nothing.
    fn lease(&self) -> Duration;

    /// Appends a change, with its record: its number, once it outlives this process; `None` if there is no room.
    ///
    /// # Errors
    ///
    /// The journal failed; the error knows the outcome.
    async fn append(&self, change: &Change<K, V>, record: &[u8], limits: Limits) -> Result<Option<Number>>;

    /// What waits for each of `keys`, as far as it counts for a reader; `None` where the server may know less than the store,
    /// until an owner has met it.
    async fn waiting(&self, keys: &[K]) -> Vec<Result<Option<Vec<Waiting<K, V>>>>>;

    /// In which of its lives the server of a sequence is: to be asked before it is claimed.
    async fn life(&self, shard: u16) -> Result<u32>;

    /// Forgets what the store has, and gives out what is due. `None` where the server is in another life by now: it is to be
    /// claimed anew first.
    async fn collect(&self, shard: u16, collect: Collect) -> Result<Option<Collected>>;

    /// How a sequence stands, and whether it has kept the write of a `number`. What is there up to `want` is wanted without
    /// delay.
    async fn look(&self, shard: u16, want: Seq, number: Number) -> Result<Standing>;

    /// Says that `process` is there for `lease` from now on, or not any more if that is zero. To be asked before anything
    /// else: it finds out whether all processes know the same sequences.
    async fn beat(&self, process: u64, lease: Duration) -> Result<Members>;

    /// How often it has turned out that writes were lost which had been answered, since this was last asked.
    fn take_regressed(&self) -> u64;
}

/// A change that waits, with its number.
pub(crate) struct Waiting<K, V> {
    pub(crate) seq: Seq,
    pub(crate) change: Change<K, V>,
}

/// How many processes write to a stream, and the place of this one among them, from 1; 0 if it has none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Members {
    pub(crate) all: usize,
    pub(crate) place: usize,
}

impl<K, V> fmt::Debug for Opened<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Opened").field("id", &self.id).finish_non_exhaustive()
    }
}
