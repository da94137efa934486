//! An open journal without a cache above it: for tests.

#![allow(clippy::exhaustive_structs, reason = "not part of the public interface")]

use std::fmt;
use std::sync::Arc;

use super::seam::{Found, FoundWrite, Journal, Log, Progress};
use crate::change::{Change, DeadLetter, JournalId, Seq};
use crate::error::{Error, ErrorKind, Result};

/// Number, record, and what it says.
pub type RawWrite<K, V> = (Seq, Vec<u8>, Result<Change<K, V>, String>);

/// A journal that has a log.
pub struct RawJournal<K, V> {
    /// What it is known by.
    pub id: JournalId,
    /// The first write that is kept, the next one, and up to where all are settled.
    pub ends: (Seq, Seq, Seq),
    /// The writes that were found.
    pub found: Vec<RawWrite<K, V>>,
    log: Arc<dyn Log<K, V>>,
}

impl<K, V> RawJournal<K, V> {
    /// Opens it.
    pub fn open(journal: impl Journal<K, V>) -> Result<Self> {
        let opened = journal.open()?;
        let none = || Error::new(ErrorKind::Unsupported, "a journal without a log");
        let log = opened.log.ok_or_else(none)?;
        let Found { first, writes, next, settled } = opened.found;
        let found =
            writes.into_iter().map(|FoundWrite { seq, record, change }| (seq, record, change)).collect();
        Ok(Self { id: opened.id, ends: (first, next, settled), found, log })
    }

    /// Appends `change`, and answers with its number when it is durable.
    pub async fn write(&self, change: &Change<K, V>) -> Result<Seq> {
        self.append(self.log.encode(change)?).await
    }

    /// Appends any bytes.
    pub fn append(&self, record: Vec<u8>) -> impl Future<Output = Result<Seq>> + use<K, V> {
        self.log.append(record)
    }

    /// What a record says.
    pub fn read(&self, record: &[u8]) -> Result<Change<K, V>, String> {
        self.log.decode(record)
    }

    /// Hears what is durable, and what ends the log.
    pub fn watch(&self, hear: impl Fn(Result<Seq>) + Send + Sync + 'static) {
        self.log.watch(Box::new(move |progress| match progress {
            Progress::Durable(upto) => hear(Ok(upto)),
            Progress::Failed(error) => hear(Err(error)),
        }));
    }

    /// All up to `upto` are settled.
    pub fn settle(&self, upto: Seq) {
        self.log.settle(upto);
    }

    /// Keeps dead letters.
    pub async fn put_aside(&self, letters: &[DeadLetter]) -> Result<()> {
        self.log.put_aside(letters).await
    }

    /// The dead letters.
    pub async fn letters(&self, after: Option<Seq>, most: usize) -> Result<Vec<DeadLetter>> {
        self.log.letters(after, most).await
    }

    /// Removes one.
    pub async fn discard(&self, seq: Seq) -> Result<bool> {
        self.log.discard(seq).await
    }

    /// Closes it.
    pub async fn close(&self) {
        self.log.close().await;
    }
}

impl<K, V> fmt::Debug for RawJournal<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RawJournal").field("id", &self.id).finish_non_exhaustive()
    }
}
