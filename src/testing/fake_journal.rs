//! A journal in memory that outlives the write-behind over it, as one on a disk outlives its process.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::bounds::{Key, Value};
use crate::error::{Error, ErrorKind, Outcome, Result};
use crate::journal::{Appending, Found, FoundWrite, Log, Opened, Opens, Progress};
use crate::store::{Change, DeadLetter, JournalId, Seq};

/// A durable journal without files. Clones are handles of the same one: open it again to play the next process. What was
/// not durable then is gone, and whoever had it open before has lost it.
pub struct FakeJournal<K, V>(Arc<Shared<K, V>>);

struct Shared<K, V> {
    disk: Mutex<Disk<K, V>>,
    /// How far it is durable, and in which life.
    durable: watch::Sender<Reached>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Reached {
    life: u64,
    upto: Seq,
    has_failed: bool,
}

struct Disk<K, V> {
    id: JournalId,
    /// What records say: a record is the index of a change in here.
    changes: Vec<Change<K, V>>,
    records: BTreeMap<Seq, Vec<u8>>,
    unreadable: BTreeSet<Vec<u8>>,
    next: Seq,
    settled: Seq,
    letters: BTreeMap<Seq, DeadLetter>,
    /// How often it has been opened.
    life: u64,
    holds: bool,
    hear: Option<Hear>,
}

type Hear = Arc<dyn Fn(Progress) + Send + Sync>;

impl<K: Key, V: Value> FakeJournal<K, V> {
    /// A new journal.
    #[must_use]
    pub fn new() -> Self {
        Self::of(Disk {
            id: JournalId::fresh(),
            changes: Vec::new(),
            records: BTreeMap::new(),
            unreadable: BTreeSet::new(),
            next: 1,
            settled: 0,
            letters: BTreeMap::new(),
            life: 0,
            holds: false,
            hear: None,
        })
    }

    /// Another journal with what is in this one now: a backup.
    #[must_use]
    pub fn backup(&self) -> Self {
        let disk = self.0.disk.lock();
        Self::of(Disk {
            id: disk.id,
            changes: disk.changes.clone(),
            records: disk.records.clone(),
            unreadable: disk.unreadable.clone(),
            next: disk.next,
            settled: disk.settled,
            letters: disk.letters.clone(),
            life: 0,
            holds: false,
            hear: None,
        })
    }

    /// From now on nothing becomes durable, or all does again.
    pub fn hold_back(&self, holds: bool) {
        self.0.disk.lock().holds = holds;
        self.sync();
    }

    /// The disk fails: nothing is taken any more, in this life.
    pub fn fail(&self) {
        self.0.durable.send_modify(|reached| reached.has_failed = true);
        let hear = self.0.disk.lock().hear.clone();
        if let Some(hear) = hear {
            hear(Progress::Failed(failed()));
        }
    }

    /// The record of write `seq` cannot be read from now on. What it consists of.
    ///
    /// # Panics
    ///
    /// There is none.
    #[must_use]
    pub fn spoil(&self, seq: Seq) -> Vec<u8> {
        let mut disk = self.0.disk.lock();
        let record = disk.records.get(&seq).expect("there is such a record").clone();
        disk.unreadable.insert(record.clone());
        record
    }

    /// Up to which write it has been told that all are settled.
    #[must_use]
    pub fn settled(&self) -> Seq {
        self.0.disk.lock().settled
    }

    /// Forgets records that are settled, as a journal does now and then.
    pub fn compact(&self) {
        let mut disk = self.0.disk.lock();
        let settled = disk.settled;
        disk.records.retain(|seq, _| *seq > settled);
    }

    fn of(disk: Disk<K, V>) -> Self {
        let upto = disk.next - 1;
        let durable = watch::Sender::new(Reached { upto, ..Reached::default() });
        Self(Arc::new(Shared { disk: Mutex::new(disk), durable }))
    }

    /// Makes all durable that was appended, unless it is held back.
    fn sync(&self) {
        let (upto, hear) = {
            let disk = self.0.disk.lock();
            if disk.holds || self.0.durable.borrow().has_failed {
                return;
            }
            (disk.next - 1, disk.hear.clone())
        };
        // Before whoever appended is answered.
        if let Some(hear) = hear {
            hear(Progress::Durable(upto));
        }
        self.0.durable.send_modify(|reached| reached.upto = reached.upto.max(upto));
    }
}

impl<K: Key, V: Value> Opens<K, V> for FakeJournal<K, V> {
    fn open(self) -> Result<Opened<K, V>> {
        let mut disk = self.0.disk.lock();
        disk.life += 1;
        disk.hear = None;
        let life = disk.life;
        let upto = self.0.durable.borrow().upto;
        disk.records.retain(|seq, _| *seq <= upto);
        disk.next = upto + 1;
        disk.holds = false;
        self.0.durable.send_replace(Reached { life, upto, has_failed: false });
        let first = disk.records.first_key_value().map_or(disk.next, |(seq, _)| *seq);
        let writes = disk.records.iter().map(|(seq, record)| FoundWrite {
            seq: *seq,
            record: record.clone(),
            change: disk.read(record),
        });
        let found = Found { first, writes: writes.collect(), next: disk.next, settled: disk.settled };
        let id = disk.id;
        drop(disk);
        Ok(Opened { id, shards: 1, log: Some(Arc::new(Open { journal: self, life })), found, stream: None })
    }
}

impl<K: Key, V: Value> Disk<K, V> {
    fn read(&self, record: &[u8]) -> Result<Change<K, V>, String> {
        let index = record.try_into().map(usize::from_le_bytes).ok();
        let change = index.filter(|_| !self.unreadable.contains(record)).and_then(|at| self.changes.get(at));
        change.cloned().ok_or_else(|| "the record was spoilt".to_owned())
    }
}

/// The journal as one process has it open.
struct Open<K, V> {
    journal: FakeJournal<K, V>,
    life: u64,
}

#[async_trait]
impl<K: Key, V: Value> Log<K, V> for Open<K, V> {
    fn encode(&self, change: &Change<K, V>) -> Result<Vec<u8>> {
        let mut disk = self.journal.0.disk.lock();
        disk.changes.push(change.clone());
        Ok((disk.changes.len() - 1).to_le_bytes().to_vec())
    }

    fn decode(&self, record: &[u8]) -> Result<Change<K, V>, String> {
        self.journal.0.disk.lock().read(record)
    }

    fn append(&self, record: Vec<u8>) -> Appending {
        let mut disk = self.journal.0.disk.lock();
        let mut durable = self.journal.0.durable.subscribe();
        if disk.life != self.life || durable.borrow().has_failed {
            return Box::pin(async { Err(failed()) });
        }
        let seq = disk.next;
        disk.next += 1;
        disk.records.insert(seq, record);
        drop(disk);
        // Whoever appends holds a lock that the one who hears of it takes.
        let (journal, life) = (self.journal.clone(), self.life);
        tokio::spawn(async move { journal.sync() });
        Box::pin(async move {
            let is_over = |reached: &Reached| reached.life != life || reached.has_failed;
            let reached = durable.wait_for(|reached| reached.upto >= seq || is_over(reached)).await;
            match reached {
                Ok(reached) if reached.upto >= seq && reached.life == life => Ok(seq),
                _ => Err(failed()),
            }
        })
    }

    fn watch(&self, hear: Box<dyn Fn(Progress) + Send + Sync>) {
        self.journal.0.disk.lock().hear = Some(Arc::from(hear));
    }

    fn settle(&self, upto: Seq) {
        let mut disk = self.journal.0.disk.lock();
        if disk.life == self.life {
            disk.settled = disk.settled.max(upto);
        }
    }

    async fn put_aside(&self, letters: &[DeadLetter]) -> Result<()> {
        let mut disk = self.journal.0.disk.lock();
        disk.letters.extend(letters.iter().map(|letter| (letter.seq(), letter.clone())));
        Ok(())
    }

    async fn letters(&self, after: Option<Seq>, most: usize) -> Result<Vec<DeadLetter>> {
        let disk = self.journal.0.disk.lock();
        let letters = disk.letters.range(after.map_or(0, |after| after + 1)..);
        Ok(letters.take(most).map(|(_, letter)| letter.clone()).collect())
    }

    async fn discard(&self, seq: Seq) -> Result<bool> {
        Ok(self.journal.0.disk.lock().letters.remove(&seq).is_some())
    }

    async fn close(&self) {
        self.journal.sync();
    }
}

impl<K: Key, V: Value> Default for FakeJournal<K, V> {
    fn default() -> Self {
        Self::new()
    }
}

impl<K, V> Clone for FakeJournal<K, V> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<K, V> fmt::Debug for FakeJournal<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let disk = self.0.disk.lock();
        f.debug_struct("FakeJournal").field("id", &disk.id).field("next", &disk.next).finish_non_exhaustive()
    }
}

fn failed() -> Error {
    Error::new(ErrorKind::Journal, "the fake journal was told to fail").with_outcome(Outcome::Unknown)
}
