//! A log as segments: numbered records, appended in order and durable once synced.
//!
//! Segments are files named after their first record. Only the newest is written to.
//!
//! - **A failed write or sync is final.** After it nobody knows what is on the disk, and the next sync may report success
//!   without having written what the failed one could not (PostgreSQL, 2018). The log answers every later call with the
//!   same fault; opening it anew finds out what is there.
//! - **A new segment is made only when the one before is durable**, so a power loss tears none but the newest.
//! - **A segment gets its name only when its bytes are durable**, so a segment with its name has a header.
//! - **Opening writes the newest segment anew.** What a log reads back may so far be in the system's memory only, left there
//!   by a process that was killed, or forgotten by a sync that failed. It would be handed out now, applied, and gone after
//!   a power loss; its numbers would be given to other records, which would then be taken for applied.
//! - **Segments are trimmed one by one**, each removal durable before the next, so that none comes back without its
//!   successor.

#![allow(clippy::exhaustive_structs, reason = "not part of the public interface")]

use std::collections::VecDeque;
use std::io;

use super::disk::Disk;
use super::fault::{Doing, Fault};
use super::mark;
use super::record::{Header, LONGEST, OVERHEAD, Record, encode, encode_header};
use super::recovery::{self, Recovery, recover};
use crate::change::JournalId;

/// The file in which a segment is written before it gets its name.
const UNNAMED: &str = "segment.new";
const SUFFIX: &str = ".segment";
/// As many as the largest number has, so that names sort as numbers do.
const DIGITS: usize = 20;

/// An open log.
#[derive(Debug)]
pub struct Segments<D> {
    disk: D,
    id: JournalId,
    segment_bytes: u64,
    /// All but the newest, the oldest first.
    older: VecDeque<Segment>,
    newest: Segment,
    /// Records that are encoded and not yet written. Empty between calls.
    unwritten: Vec<u8>,
    /// The number of the record that is appended next.
    next: u64,
    /// Up to which record all are durable.
    durable: u64,
    poison: Option<Fault>,
}

#[derive(Debug)]
struct Segment {
    first: u64,
    bytes: u64,
}

/// What was found when a log was opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recovered {
    /// The log's id.
    pub log: JournalId,
    /// Whether the log was made by this opening.
    pub is_new: bool,
    /// The number of the oldest record that is kept, or of the next one if none is. Whoever has applied fewer records than
    /// come before it has lost the others.
    pub first: u64,
    /// At least up to here all were settled: what the mark says, if it says anything.
    pub settled: u64,
    /// How many bytes were cut off the end: records whose writing was interrupted.
    pub cut: u64,
}

impl<D: Disk> Segments<D> {
    /// Opens the log on `disk`, or begins one there. All records that it answers with are durable. A segment is closed
    /// when the next record would make it longer than `segment_bytes`.
    ///
    /// # Errors
    ///
    /// [`Fault::Corrupt`] where records are damaged or missing; nothing is changed then. [`Fault::Disk`] if the disk fails,
    /// or has no room for the newest segment a second time.
    pub fn open(mut disk: D, segment_bytes: u64) -> Result<(Self, Vec<Record>, Recovered), Fault> {
        let segments = read_segments(&names(&disk)?, |name| disk.read(name))?;
        let Recovery { log, records, sound, cut, next } = recover(&segments).map_err(Fault::Corrupt)?;
        let id = log.unwrap_or_else(JournalId::fresh);
        let mut older: VecDeque<Segment> = segments.iter().map(Segment::of).collect();
        let newest = older.pop_back().map_or(next, |newest| newest.first);
        let bytes = match segments.last() {
            Some(newest) if sound > 0 => newest.bytes[..sound].to_vec(),
            _ => encode_header(&Header { first: newest, log: id }),
        };
        remove_unnamed(&mut disk)?;
        let newest = install(&mut disk, newest, &bytes)?;
        let first = older.front().unwrap_or(&newest).first;
        let settled = mark::read(&disk, id, next - 1).max(first - 1);
        let recovered = Recovered { log: id, is_new: log.is_none(), first, settled, cut: count(cut) };
        let log = Self {
            disk,
            id,
            segment_bytes,
            older,
            newest,
            unwritten: Vec::new(),
            next,
            durable: next - 1,
            poison: None,
        };
        Ok((log, records, recovered))
    }

    /// Appends a record for each of `payloads`, and answers with the number of the first. They are durable after the
    /// next [`sync`](Self::sync), and may be before.
    ///
    /// # Errors
    ///
    /// [`Fault::TooLong`], and nothing is appended; or the fault that has ended this log.
    pub fn append<P: AsRef<[u8]>>(&mut self, payloads: &[P]) -> Result<u64, Fault> {
        if let Some(payload) = payloads.iter().find(|payload| payload.as_ref().len() > LONGEST) {
            return Err(Fault::TooLong { bytes: payload.as_ref().len(), most: LONGEST });
        }
        self.attempt(|log| {
            let first = log.next;
            payloads.iter().try_for_each(|payload| log.add(payload.as_ref()))?;
            log.write()?;
            Ok(first)
        })
    }

    /// Makes all that was appended durable.
    ///
    /// # Errors
    ///
    /// The fault that has ended this log. What was not durable before may then be so or not.
    pub fn sync(&mut self) -> Result<(), Fault> {
        self.attempt(Self::make_durable)
    }

    /// Removes the segments that hold no record above `upto`; never the newest, which knows the log's id.
    ///
    /// # Errors
    ///
    /// The fault that has ended this log.
    pub fn trim(&mut self, upto: u64) -> Result<(), Fault> {
        self.attempt(|log| {
            while log.last_of_oldest().is_some_and(|last| last <= upto) {
                log.remove_oldest()?;
            }
            Ok(())
        })
    }

    /// Begins a new segment, so that a [`trim`](Self::trim) can remove all that was appended before; durably.
    ///
    /// # Errors
    ///
    /// The fault that has ended this log.
    pub fn begin_segment(&mut self) -> Result<(), Fault> {
        self.attempt(|log| if log.next == log.newest.first { Ok(()) } else { log.roll() })
    }

    /// Notes that all up to `upto` are settled, as far as they are durable. Not durably: after a power loss less may be
    /// noted, or nothing. To be called when nothing is unsynced: a disk may close the segment to write the mark, and a
    /// segment that is opened again may not be told that an earlier write has failed.
    ///
    /// # Errors
    ///
    /// [`Fault::Disk`]; it ends nothing, for nobody relies on it.
    pub fn mark(&mut self, upto: u64) -> Result<(), Fault> {
        mark::write(&mut self.disk, self.id, upto.min(self.durable))
            .map_err(|error| Doing::Mark.failed(&error))
    }

    /// The fault that has ended the log.
    pub fn fault(&self) -> Option<&Fault> {
        self.poison.as_ref()
    }

    /// The number of the record that is appended next.
    pub fn next(&self) -> u64 {
        self.next
    }

    /// The log's id.
    pub fn id(&self) -> JournalId {
        self.id
    }

    /// Up to which record all are durable; 0 before the first.
    pub fn durable(&self) -> u64 {
        self.durable
    }

    /// How many records the log has.
    pub fn len(&self) -> u64 {
        self.next - self.older.front().unwrap_or(&self.newest).first
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many bytes its segments have.
    pub fn bytes(&self) -> u64 {
        self.older.iter().map(|segment| segment.bytes).sum::<u64>() + self.newest.bytes
    }

    /// Does `work`, unless a fault has ended this log; a fault of `work` ends it.
    fn attempt<T>(&mut self, work: impl FnOnce(&mut Self) -> Result<T, Fault>) -> Result<T, Fault> {
        if let Some(fault) = &self.poison {
            return Err(fault.clone());
        }
        work(self).inspect_err(|fault| self.poison = Some(fault.clone()))
    }

    fn add(&mut self, payload: &[u8]) -> Result<(), Fault> {
        if !self.has_room_for(payload) {
            self.write()?;
            self.roll()?;
        }
        encode(self.id, self.next, payload, &mut self.unwritten);
        self.next = self.next.saturating_add(1);
        Ok(())
    }

    /// A segment takes its first record whatever its length.
    fn has_room_for(&self, payload: &[u8]) -> bool {
        let bytes = self.newest.bytes + count(self.unwritten.len());
        self.next == self.newest.first || bytes + count(OVERHEAD + payload.len()) <= self.segment_bytes
    }

    fn write(&mut self) -> Result<(), Fault> {
        if self.unwritten.is_empty() {
            return Ok(());
        }
        let written = self.disk.append(&self.newest.name(), &self.unwritten);
        written.map_err(|error| Doing::Append.failed(&error))?;
        self.newest.bytes += count(self.unwritten.len());
        self.unwritten.clear();
        Ok(())
    }

    fn make_durable(&mut self) -> Result<(), Fault> {
        if self.durable + 1 == self.next {
            return Ok(());
        }
        self.disk.sync(&self.newest.name()).map_err(|error| Doing::Sync.failed(&error))?;
        self.durable = self.next - 1;
        Ok(())
    }

    /// Without the sync a power loss could keep the new segment and tear the one before.
    fn roll(&mut self) -> Result<(), Fault> {
        self.make_durable()?;
        let header = encode_header(&Header { first: self.next, log: self.id });
        let newest = install(&mut self.disk, self.next, &header)?;
        self.older.push_back(std::mem::replace(&mut self.newest, newest));
        Ok(())
    }

    fn last_of_oldest(&self) -> Option<u64> {
        self.older.front()?;
        let second = self.older.get(1).unwrap_or(&self.newest);
        Some(second.first - 1)
    }

    fn remove_oldest(&mut self) -> Result<(), Fault> {
        let Some(oldest) = self.older.front() else { return Ok(()) };
        self.disk.remove(&oldest.name()).map_err(|error| Doing::Remove.failed(&error))?;
        self.disk.sync_directory().map_err(|error| Doing::SyncDirectory.failed(&error))?;
        self.older.pop_front();
        Ok(())
    }
}

impl Segment {
    fn of(segment: &recovery::Segment) -> Self {
        Self { first: segment.first, bytes: count(segment.bytes.len()) }
    }

    fn name(&self) -> String {
        name(self.first)
    }
}

/// Puts a segment with these `bytes` in its place, durably and as a whole or not at all.
fn install<D: Disk>(disk: &mut D, first: u64, bytes: &[u8]) -> Result<Segment, Fault> {
    disk.create(UNNAMED).map_err(|error| Doing::Create.failed(&error))?;
    disk.append(UNNAMED, bytes).map_err(|error| Doing::Append.failed(&error))?;
    disk.sync(UNNAMED).map_err(|error| Doing::Sync.failed(&error))?;
    disk.rename(UNNAMED, &name(first)).map_err(|error| Doing::Rename.failed(&error))?;
    disk.sync_directory().map_err(|error| Doing::SyncDirectory.failed(&error))?;
    Ok(Segment { first, bytes: count(bytes.len()) })
}

/// What an installation left that was interrupted.
fn remove_unnamed<D: Disk>(disk: &mut D) -> Result<(), Fault> {
    if names(disk)?.iter().any(|name| name == UNNAMED) {
        disk.remove(UNNAMED).map_err(|error| Doing::Remove.failed(&error))?;
    }
    Ok(())
}

/// The segments among the files with these `names`, the oldest first.
pub(super) fn read_segments(
    names: &[String],
    read: impl Fn(&str) -> io::Result<Vec<u8>>,
) -> Result<Vec<recovery::Segment>, Fault> {
    let mut found: Vec<(u64, &String)> =
        names.iter().filter_map(|name| Some((first_of(name)?, name))).collect();
    found.sort_unstable();
    let read = |(first, name): (u64, &String)| {
        let bytes = read(name).map_err(|error| Doing::Read.failed(&error))?;
        Ok(recovery::Segment { name: name.clone(), first, bytes })
    };
    found.into_iter().map(read).collect()
}

fn names<D: Disk>(disk: &D) -> Result<Vec<String>, Fault> {
    disk.list().map_err(|error| Doing::List.failed(&error))
}

fn name(first: u64) -> String {
    format!("{first:0DIGITS$}{SUFFIX}")
}

/// The first record of the segment with this name; none if it is no segment's. There is no record 0.
fn first_of(segment: &str) -> Option<u64> {
    let digits = segment.strip_suffix(SUFFIX)?;
    let first = digits.parse().ok().filter(|first| *first > 0)?;
    (name(first) == segment).then_some(first)
}

fn count(bytes: usize) -> u64 {
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::fault::{Corruption, Wrong};
    use crate::journal::simulated::{SimulatedDisk, Trouble};

    /// Takes three records of [`RECORD`].
    const SEGMENT: u64 = 140;
    const RECORD: [u8; 16] = [7; 16];

    fn open(disk: &SimulatedDisk) -> (Segments<SimulatedDisk>, Vec<Record>, Recovered) {
        Segments::open(disk.clone(), SEGMENT).unwrap()
    }

    fn segments(disk: &SimulatedDisk) -> Vec<u64> {
        disk.list().unwrap().iter().filter_map(|name| first_of(name)).collect()
    }

    #[test]
    fn a_new_log_is_empty() {
        let (log, records, recovered) = open(&SimulatedDisk::new(1));
        assert!(records.is_empty() && log.is_empty() && recovered.is_new);
        assert_eq!((recovered.first, recovered.cut, log.durable()), (1, 0, 0));
    }

    #[test]
    fn it_keeps_its_id_and_its_numbers() {
        let disk = SimulatedDisk::new(1);
        let (mut log, _, before) = open(&disk);
        assert_eq!(
            (log.append(&[b"a", b"b"]), log.append::<&[u8]>(&[]), log.append(&[b"c"])),
            (Ok(1), Ok(3), Ok(3))
        );
        let (log, records, after) = open(&disk);
        assert_eq!((after.log, after.is_new), (before.log, false));
        assert_eq!(
            (records.len(), log.len(), log.durable()),
            (3, 3, 3),
            "what opening answers with is durable"
        );
    }

    #[test]
    fn a_full_segment_is_followed_by_another() {
        let disk = SimulatedDisk::new(1);
        let (mut log, ..) = open(&disk);
        log.append(&[RECORD; 7]).unwrap();
        assert_eq!(segments(&disk), [1, 4, 7]);
        assert_eq!(log.durable(), 6, "the ones before the newest are durable");
        assert_eq!(log.bytes(), 3 * 40 + 7 * 32);
    }

    #[test]
    fn a_record_longer_than_a_segment_has_one_of_its_own() {
        let disk = SimulatedDisk::new(1);
        let (mut log, ..) = open(&disk);
        log.append(&[vec![1; 500], vec![2; 500], vec![3; 5]]).unwrap();
        assert_eq!(segments(&disk), [1, 2, 3]);
    }

    #[test]
    fn a_trim_takes_whole_segments_and_never_the_newest() {
        let disk = SimulatedDisk::new(1);
        let (mut log, ..) = open(&disk);
        log.append(&[RECORD; 7]).unwrap();
        for (upto, left) in [(2, &[1, 4, 7][..]), (3, &[4, 7]), (5, &[4, 7]), (9, &[7])] {
            log.trim(upto).unwrap();
            assert_eq!(segments(&disk), left, "trimmed up to {upto}");
        }
        assert_eq!((log.len(), open(&disk).2.first), (1, 7));
    }

    #[test]
    fn what_is_marked_as_settled_is_found_and_never_more_than_is_durable() {
        let disk = SimulatedDisk::new(1);
        let (mut log, ..) = open(&disk);
        log.append(&[RECORD; 2]).unwrap();
        log.sync().unwrap();
        log.append(&[RECORD; 1]).unwrap();
        log.mark(1).unwrap();
        assert_eq!(open(&disk).2.settled, 1);
        log.mark(9).unwrap();
        assert_eq!(open(&disk).2.settled, 2);
    }

    #[test]
    fn what_was_trimmed_was_settled_whatever_the_mark_says() {
        let disk = SimulatedDisk::new(1);
        let (mut log, ..) = open(&disk);
        log.append(&[RECORD; 7]).unwrap();
        log.mark(1).unwrap();
        log.trim(5).unwrap();
        assert_eq!((open(&disk).2.first, open(&disk).2.settled), (4, 3));
    }

    #[test]
    fn a_mark_that_fails_ends_nothing() {
        let disk = SimulatedDisk::new(1);
        let (mut log, ..) = open(&disk);
        log.append(&[RECORD]).unwrap();
        log.sync().unwrap();
        for _ in 0..4 {
            disk.expect(Trouble::NoSpace, 0);
            assert!(log.mark(1).is_err());
        }
        assert_eq!((log.append(&[RECORD]), log.mark(1)), (Ok(2), Ok(())));
        assert_eq!(open(&disk).2.settled, 1);
    }

    #[test]
    fn a_segment_that_is_begun_lets_all_before_it_be_trimmed() {
        let disk = SimulatedDisk::new(1);
        let (mut log, ..) = open(&disk);
        log.begin_segment().unwrap();
        log.append(&[RECORD]).unwrap();
        log.begin_segment().unwrap();
        log.trim(1).unwrap();
        assert_eq!(segments(&disk), [2]);
    }

    #[test]
    fn a_record_that_is_too_long_ends_nothing() {
        let (mut log, ..) = open(&SimulatedDisk::new(1));
        let long = vec![0; LONGEST + 1];
        let fault = Fault::TooLong { bytes: long.len(), most: LONGEST };
        assert_eq!(log.append(&[&b"short"[..], &long]), Err(fault));
        assert_eq!(log.append(&[b"short"]), Ok(1));
    }

    /// The next sync of the disk would report success.
    #[test]
    fn a_failed_sync_is_final() {
        let disk = SimulatedDisk::new(1);
        let (mut log, ..) = open(&disk);
        log.append(&[RECORD]).unwrap();
        disk.expect(Trouble::FailedSync, 0);
        let fault = log.sync().unwrap_err();
        assert!(matches!(fault, Fault::Disk { doing: Doing::Sync, code: Some(5), .. }), "{fault:?}");
        assert_eq!((log.sync(), log.durable()), (Err(fault.clone()), 0));
        assert_eq!((log.append(&[RECORD]), log.trim(0)), (Err(fault.clone()), Err(fault)));
    }

    #[test]
    fn a_full_disk_ends_the_log_and_spoils_nothing() {
        let disk = SimulatedDisk::new(1);
        let (mut log, ..) = open(&disk);
        log.append(&[RECORD; 2]).unwrap();
        log.sync().unwrap();
        disk.expect(Trouble::NoSpace, 0);
        let fault = log.append(&[RECORD]).unwrap_err();
        assert!(matches!(fault, Fault::Disk { kind: io::ErrorKind::StorageFull, .. }), "{fault:?}");
        assert!(open(&disk).1.len() >= 2);
    }

    #[test]
    fn damage_is_named_and_nothing_is_touched() {
        let disk = SimulatedDisk::new(1);
        let (mut log, ..) = open(&disk);
        log.append(&[RECORD; 7]).unwrap();
        let mut damaged = disk.clone();
        damaged.remove(&name(4)).unwrap();
        let before = disk.list().unwrap();
        let fault = Segments::open(disk.clone(), SEGMENT).unwrap_err();
        let place = Corruption { segment: name(7), offset: 0, wrong: Wrong::Gap { due: 4, found: 7 } };
        assert_eq!(fault, Fault::Corrupt(place));
        assert_eq!(
            fault.to_string(),
            "the log is damaged in 00000000000000000007.segment at byte 0: record 4 is due, and record 7 is there"
        );
        assert_eq!(disk.list().unwrap(), before);
    }

    #[test]
    fn names_sort_as_numbers_do_and_others_are_no_segments() {
        assert!(name(9) < name(10) && name(10) < name(u64::MAX));
        assert_eq!(first_of(&name(u64::MAX)), Some(u64::MAX));
        for other in
            ["lock", UNNAMED, "7.segment", "00000000000000000000.segment", "+0000000000000000007.segment"]
        {
            assert_eq!(first_of(other), None, "{other}");
        }
    }
}
