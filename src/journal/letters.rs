//! Dead letters of stores that keep none themselves, in a log of their own: each record puts a letter aside, or takes one
//! out. Format 1; all numbers are little-endian.
//!
//! | what | bytes |
//! |---|---|
//! | format | 1: the number 1 |
//! | kind | 1: 1 for a letter, 2 for the end of one |
//! | journal id | 16 |
//! | shard | 2 |
//! | number of the write | 8 |
//! | when it was put aside | 8: in nanoseconds since 1970; only a letter has this and what follows |
//! | length of the reason | 4 |
//! | reason | as many, UTF-8 |
//! | the write | the rest: its record in the journal |
//!
//! Whatever journal a letter is of, it is kept until somebody takes it out. All of them are in memory: they are exceptions,
//! and somebody looks at them.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::time::Duration;

use super::disk::Disk;
use super::fault::Fault;
use super::record::{LONGEST, Record};
use super::segments::Segments;
use crate::change::{DeadLetter, JournalId, Seq, ShardId};

const FORMAT: u8 = 1;
const LETTER: u8 = 1;
const DISCARDED: u8 = 2;
/// How many bytes come before the reason.
const HEAD: usize = 40;
/// What an ellipsis takes, and the middle of a character.
const CUT: usize = 8;

/// The longest record of a write that can be put aside, whatever the reason.
pub(super) const LONGEST_WRITE: usize = LONGEST - HEAD - CUT;

/// What a letter is known by.
type Name = (ShardId, Seq);

/// The letters, by their names.
pub(super) type Kept = BTreeMap<Name, DeadLetter>;

/// An open log of dead letters.
#[derive(Debug)]
pub struct Letters<D> {
    log: Segments<D>,
    kept: Kept,
}

impl<D: Disk> Letters<D> {
    /// Opens the letters on `disk`. What was taken out is no longer there afterwards.
    ///
    /// # Errors
    ///
    /// Those of a log, and [`Fault::Letter`]; nothing is lost then.
    pub fn open(disk: D, segment_bytes: u64) -> Result<Self, Fault> {
        let (log, records, _) = Segments::open(disk, segment_bytes)?;
        let kept = read(&records)?;
        let mut letters = Self { log, kept };
        if letters.kept.len() < records.len() {
            letters.compact()?;
        }
        Ok(letters)
    }

    /// Keeps `letters`, durably. One that is kept already is not kept twice.
    ///
    /// # Errors
    ///
    /// The fault that has ended the log of letters; [`Fault::TooLong`], and none of them is kept.
    pub fn put_aside(&mut self, letters: &[DeadLetter]) -> Result<(), Fault> {
        let new: Vec<&DeadLetter> =
            letters.iter().filter(|letter| !self.kept.contains_key(&name(letter))).collect();
        self.append(&new.iter().map(|letter| encode(letter)).collect::<Vec<_>>())?;
        self.kept.extend(new.into_iter().map(|letter| (name(letter), letter.clone())));
        Ok(())
    }

    /// At most `most` letters of `journal`, the oldest first, those after `after` only.
    pub fn list(&self, journal: JournalId, after: Option<Seq>, most: usize) -> Vec<DeadLetter> {
        let shard = ShardId::new(journal, 0);
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let from = from.map(|seq| (shard, seq));
        let from = if from == Bound::Unbounded { Bound::Included((shard, 0)) } else { from };
        let letters = self.kept.range((from, Bound::Included((shard, Seq::MAX))));
        letters.take(most).map(|(_, letter)| letter.clone()).collect()
    }

    /// Takes the letter of write `seq` of `journal` out, durably; whether there was one.
    ///
    /// # Errors
    ///
    /// The fault that has ended the log of letters.
    pub fn discard(&mut self, journal: JournalId, seq: Seq) -> Result<bool, Fault> {
        let name = (ShardId::new(journal, 0), seq);
        if !self.kept.contains_key(&name) {
            return Ok(false);
        }
        self.append(&[encode_discarded(&name)])?;
        self.kept.remove(&name);
        Ok(true)
    }

    fn append(&mut self, records: &[Vec<u8>]) -> Result<(), Fault> {
        self.log.append(records)?;
        self.log.sync()
    }

    /// Writes all letters anew, and removes what was there before. A letter that is there twice after an interruption is
    /// one.
    fn compact(&mut self) -> Result<(), Fault> {
        self.log.begin_segment()?;
        let before = self.log.next() - 1;
        self.append(&self.kept.values().map(encode).collect::<Vec<_>>())?;
        self.log.trim(before)
    }
}

/// What all `records` leave.
pub(super) fn read(records: &[Record]) -> Result<Kept, Fault> {
    let mut kept = Kept::new();
    for Record { sequence, payload } in records {
        match decode(payload) {
            Some((name, Some(letter))) => drop(kept.insert(name, letter)),
            Some((name, None)) => drop(kept.remove(&name)),
            None => {
                let format = payload.first().copied().unwrap_or(0);
                return Err(Fault::Letter { sequence: *sequence, format });
            }
        }
    }
    Ok(kept)
}

fn name(letter: &DeadLetter) -> Name {
    (letter.shard(), letter.seq())
}

/// A letter whose write is nearly as long as a record can be has only the beginning of a long reason.
fn encode(letter: &DeadLetter) -> Vec<u8> {
    let room = LONGEST_WRITE.saturating_sub(letter.record().len());
    let why = shortened(letter.why(), room);
    let at = u64::try_from(letter.at.as_nanos()).unwrap_or(u64::MAX);
    let mut bytes = head(LETTER, &name(letter));
    bytes.extend(at.to_le_bytes());
    bytes.extend(u32::try_from(why.len()).unwrap_or(u32::MAX).to_le_bytes());
    bytes.extend(why.as_bytes());
    bytes.extend(letter.record());
    bytes
}

fn encode_discarded(name: &Name) -> Vec<u8> {
    head(DISCARDED, name)
}

fn head(kind: u8, (shard, seq): &Name) -> Vec<u8> {
    let mut bytes = vec![FORMAT, kind];
    bytes.extend(shard.journal().to_bytes());
    bytes.extend(shard.number().to_le_bytes());
    bytes.extend(seq.to_le_bytes());
    bytes
}

fn shortened(text: &str, room: usize) -> String {
    if text.len() <= room {
        return text.to_owned();
    }
    let end = (0..=room).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
    format!("{}…", &text[..end])
}

/// Which letter `bytes` are of, and the letter, if they do not take it out.
#[doc(hidden)]
pub fn decode(bytes: &[u8]) -> Option<(Name, Option<DeadLetter>)> {
    let ([FORMAT, kind], rest) = bytes.split_first_chunk()? else { return None };
    let (journal, rest) = rest.split_first_chunk()?;
    let (number, rest) = rest.split_first_chunk()?;
    let (seq, rest) = rest.split_first_chunk()?;
    let shard = ShardId::new(JournalId::from_bytes(*journal), u16::from_le_bytes(*number));
    let name = (shard, u64::from_le_bytes(*seq));
    match (*kind, rest) {
        (LETTER, rest) => Some((name, Some(decode_letter(name, rest)?))),
        (DISCARDED, []) => Some((name, None)),
        _ => None,
    }
}

fn decode_letter((shard, seq): Name, bytes: &[u8]) -> Option<DeadLetter> {
    let (at, rest) = bytes.split_first_chunk()?;
    let (length, rest) = rest.split_first_chunk()?;
    let (why, record) = rest.split_at_checked(usize::try_from(u32::from_le_bytes(*length)).ok()?)?;
    let at = Duration::from_nanos(u64::from_le_bytes(*at));
    let why = std::str::from_utf8(why).ok()?.to_owned();
    Some(DeadLetter { shard, seq, at, why, record: record.to_vec() })
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use proptest::prelude::*;

    use super::*;
    use crate::journal::simulated::{SimulatedDisk, Trouble};

    const SEGMENT: u64 = 300;
    const JOURNAL: JournalId = JournalId::from_bytes(*b"0123456789abcdef");
    const OTHER: JournalId = JournalId::from_bytes([9; 16]);

    fn letter_of(journal: JournalId, seq: Seq) -> DeadLetter {
        let at = SystemTime::UNIX_EPOCH + Duration::from_nanos(seq);
        DeadLetter::new(ShardId::new(journal, 0), seq, at, "too long", vec![7; 20])
    }

    fn letter(seq: Seq) -> DeadLetter {
        letter_of(JOURNAL, seq)
    }

    fn open(disk: &SimulatedDisk) -> Letters<SimulatedDisk> {
        Letters::open(disk.clone(), SEGMENT).unwrap()
    }

    fn seqs(letters: &Letters<SimulatedDisk>) -> Vec<Seq> {
        letters.list(JOURNAL, None, 1000).iter().map(DeadLetter::seq).collect()
    }

    /// Golden: these bytes are on people's disks. A change of them is a new format with a new number.
    #[test]
    fn the_bytes_of_letters_do_not_change() {
        let golden = b"\x01\x010123456789abcdef\0\0\x05\0\0\0\0\0\0\0\x05\0\0\0\0\0\0\0\x08\0\0\0too long\x07\x07\x07\x07\x07\x07\x07\x07\x07\x07\x07\x07\x07\x07\x07\x07\x07\x07\x07\x07";
        assert_eq!(encode(&letter(5)), golden);
        assert_eq!(decode(golden), Some((name(&letter(5)), Some(letter(5)))));
        let golden = b"\x01\x020123456789abcdef\0\0\x05\0\0\0\0\0\0\0";
        assert_eq!(encode_discarded(&name(&letter(5))), golden);
        assert_eq!(decode(golden), Some((name(&letter(5)), None)));
    }

    #[test]
    fn letters_are_found_again_each_once_and_in_order() {
        let disk = SimulatedDisk::new(1);
        let mut letters = open(&disk);
        letters.put_aside(&[letter(3), letter(1)]).unwrap();
        letters.put_aside(&[letter(3), letter(2)]).unwrap();
        assert_eq!(letters.list(JOURNAL, None, 9), [letter(1), letter(2), letter(3)]);
        assert_eq!(open(&disk).list(JOURNAL, Some(1), 1), [letter(2)]);
    }

    #[test]
    fn what_was_taken_out_is_gone_for_good() {
        let disk = SimulatedDisk::new(1);
        let mut letters = open(&disk);
        letters.put_aside(&[letter(1), letter(2)]).unwrap();
        assert_eq!((letters.discard(JOURNAL, 1), letters.discard(JOURNAL, 1)), (Ok(true), Ok(false)));
        assert_eq!((seqs(&letters), seqs(&open(&disk))), (vec![2], vec![2]));
    }

    #[test]
    fn letters_of_another_journal_are_kept_and_not_mixed_up() {
        let disk = SimulatedDisk::new(1);
        let mut letters = open(&disk);
        letters.put_aside(&[letter_of(OTHER, 1), letter(1)]).unwrap();
        assert_eq!(letters.discard(JOURNAL, 1), Ok(true));
        assert_eq!(open(&disk).list(OTHER, None, 9), [letter_of(OTHER, 1)]);
    }

    #[test]
    fn opening_makes_room() {
        let disk = SimulatedDisk::new(1);
        let mut letters = open(&disk);
        for seq in 1..100 {
            letters.put_aside(&[letter(seq)]).unwrap();
            letters.discard(JOURNAL, seq).unwrap();
        }
        letters.put_aside(&[letter(100)]).unwrap();
        let before = disk.list().unwrap().len();
        assert_eq!(seqs(&open(&disk)), [100]);
        assert!(before > 10 && disk.list().unwrap().len() == 1, "{before}");
        assert_eq!(seqs(&open(&disk)), [100]);
    }

    #[test]
    fn a_letter_of_a_later_version_is_not_dropped() {
        let disk = SimulatedDisk::new(1);
        let (mut log, ..) = Segments::open(disk.clone(), SEGMENT).unwrap();
        log.append(&[b"\x02of tomorrow"]).unwrap();
        let fault = Letters::open(disk, SEGMENT).unwrap_err();
        assert_eq!(fault, Fault::Letter { sequence: 1, format: 2 });
    }

    #[test]
    fn a_failed_sync_is_told_and_nothing_is_taken_for_kept() {
        let disk = SimulatedDisk::new(1);
        let mut letters = open(&disk);
        disk.expect(Trouble::FailedSync, 0);
        assert!(letters.put_aside(&[letter(1)]).is_err());
        assert!(letters.put_aside(&[letter(2)]).is_err(), "it has ended");
        assert!(seqs(&letters).is_empty());
    }

    #[test]
    fn the_longest_write_finds_room() {
        let mut long = letter(1);
        long.why = "ä".repeat(1000);
        long.record = vec![7; LONGEST_WRITE - 100];
        let bytes = encode(&long);
        assert!(bytes.len() <= LONGEST);
        let (_, read) = decode(&bytes).unwrap();
        let read = read.unwrap();
        assert_eq!(read.record(), long.record());
        assert!(read.why().ends_with("ä…"));
    }

    proptest! {
        #[test]
        fn any_bytes_can_be_asked(bytes: Vec<u8>, kind in 0..4_u8) {
            let bytes = [&[FORMAT, kind][..], &bytes].concat();
            if let Some((_, Some(letter))) = decode(&bytes) {
                prop_assert_eq!(encode(&letter), bytes);
            }
        }
    }
}
