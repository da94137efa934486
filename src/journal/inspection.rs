//! What is in the files of a log, read without opening it.

use std::fmt;
use std::io;
use std::path::Path;
use std::time::{Duration, SystemTime};

use super::fault::{Doing, Fault};
use super::files;
use super::letters;
use super::local_log::{LETTERS, failed};
use super::mark;
use super::payload::{self, NoPayload};
use super::record::Record;
use super::recovery::{Recovery, recover};
use super::segments::read_segments;
use crate::change::{DeadLetter, JournalId, Seq};
use crate::error::Result;

/// How often a log is read anew that changes meanwhile.
const TRIES: usize = 10;

/// Reads the log in the directory at `path`, of a process that runs or is dead, without changing anything: what waits in it,
/// and which dead letters it has.
///
/// Blocks, for as long as it takes to read the files. While somebody has the log open this is what was there at some moment.
///
/// ```
/// # fn demo() -> larder::Result<()> {
/// let inspection = larder::journal::inspect("/var/lib/profiles/journal")?;
/// println!("{} writes, {} dead letters", inspection.writes.len(), inspection.letters.len());
/// # Ok(())
/// # }
/// ```
///
/// # Errors
///
/// [`ErrorKind::Journal`](crate::ErrorKind::Journal): there is no log, its files cannot be read, or they are damaged; the
/// text names the file and the place.
pub fn inspect(path: impl AsRef<Path>) -> Result<Inspection> {
    let path = path.as_ref();
    let is_open = files::is_open(path).map_err(|fault| failed(path, fault))?;
    let Recovery { log, records, cut, next, .. } = read(path).map_err(|fault| failed(path, fault))?;
    let aside = path.join(LETTERS);
    let letters = match aside.is_dir() {
        true => read(&aside)
            .and_then(|aside| letters::read(&aside.records))
            .map_err(|fault| failed(&aside, fault))?,
        false => letters::Kept::new(),
    };
    let first = next - records.len() as u64;
    Ok(Inspection {
        id: log,
        is_open,
        first,
        next,
        settled: settled(path, log, next).max(first - 1),
        torn_bytes: cut as u64,
        writes: records
            .into_iter()
            .map(|Record { sequence, payload }| InspectedWrite { seq: sequence, record: payload })
            .collect(),
        letters: letters.into_values().collect(),
    })
}

/// What is in a log.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Inspection {
    /// What the log is known by; none if nothing was ever written to it.
    pub id: Option<JournalId>,
    /// Whether somebody has it open, in this process or another.
    pub is_open: bool,
    /// All writes before this one are settled and forgotten.
    pub first: Seq,
    /// The number of the next write.
    pub next: Seq,
    /// At least up to here all are settled: in the store, or among the dead letters. More may be, for this is noted only now
    /// and then, and a store that keeps the number itself knows better.
    pub settled: Seq,
    /// How many bytes at the end are of records whose writing was interrupted, or is going on.
    pub torn_bytes: u64,
    /// The writes, in their order, without a gap.
    pub writes: Vec<InspectedWrite>,
    /// The dead letters, also those of another log that was in this directory before; the oldest of a log first.
    pub letters: Vec<DeadLetter>,
}

/// One write as it stands in a log.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct InspectedWrite {
    /// Its number.
    pub seq: Seq,
    /// Its record.
    pub record: Vec<u8>,
}

impl InspectedWrite {
    /// What the record says.
    ///
    /// # Errors
    ///
    /// Why this version of larder cannot take it apart.
    pub fn parts(&self) -> Result<WriteParts<'_>, String> {
        WriteParts::of(&self.record)
    }
}

/// A record of a write, taken apart; key and value as bytes.
#[derive(Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct WriteParts<'a> {
    /// When it was accepted, by the clock on the wall.
    pub accepted: SystemTime,
    /// The [id](crate::codec::Codec::id) of the codec that values were written with.
    pub codec: u8,
    /// The schema that values had.
    pub schema: u32,
    /// The key, as JSON.
    pub key: &'a [u8],
    /// The value that is put, or the operand that is merged; none if the key is deleted.
    pub value: Option<&'a [u8]>,
    /// Whether it is [merged](crate::Change::Merge).
    pub is_merge: bool,
}

impl<'a> WriteParts<'a> {
    /// What is done to the key: `put`, `delete` or `merge`.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match (self.is_merge, self.value) {
            (true, _) => "merge",
            (false, Some(_)) => "put",
            (false, None) => "delete",
        }
    }

    /// The parts of a record, as it stands in a log or in [a dead letter](DeadLetter::record).
    ///
    /// # Errors
    ///
    /// Why this version of larder cannot take it apart.
    pub fn of(record: &'a [u8]) -> Result<Self, String> {
        let payload = payload::decode(record).map_err(|wrong: NoPayload| wrong.to_string())?;
        let accepted = SystemTime::UNIX_EPOCH.checked_add(Duration::from_millis(payload.accepted));
        Ok(Self {
            accepted: accepted.unwrap_or(SystemTime::UNIX_EPOCH),
            codec: payload.codec,
            schema: payload.schema,
            key: payload.key,
            value: payload.value,
            is_merge: payload.is_merge,
        })
    }
}

/// What is in the segments. Whoever has the log open may remove one that has just been listed.
fn read(path: &Path) -> Result<Recovery, Fault> {
    let segments = || {
        let names = files::names(path).map_err(|error| Doing::List.failed(&error))?;
        read_segments(&names, |name| std::fs::read(path.join(name)))
    };
    let is_gone = |fault: &Fault| {
        matches!(fault, Fault::Disk { doing: Doing::Read, kind: io::ErrorKind::NotFound, .. })
    };
    let mut found = segments();
    for _ in 1..TRIES {
        if !found.as_ref().is_err_and(is_gone) {
            break;
        }
        found = segments();
    }
    recover(&found?).map_err(Fault::Corrupt)
}

fn settled(path: &Path, log: Option<JournalId>, next: Seq) -> Seq {
    let mark = std::fs::read(path.join(mark::MARK)).ok();
    log.zip(mark).map_or(0, |(log, bytes)| mark::decode(log, next - 1, &bytes))
}

impl fmt::Debug for Inspection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { id, first, next, settled, .. } = self;
        write!(f, "Inspection({id:?}, {first}..{next}, settled {settled})")
    }
}

/// Keys and values are users' data, and data is not for logs.
impl fmt::Debug for InspectedWrite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "InspectedWrite({}, {} bytes)", self.seq, self.record.len())
    }
}

impl fmt::Debug for WriteParts<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WriteParts({}, codec {}, schema {})", self.kind(), self.codec, self.schema)
    }
}
