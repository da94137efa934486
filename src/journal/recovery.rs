//! What is left of a log after a stop of any kind. Pure: the bytes of its segments in, its records out.
//!
//! **A torn tail is no damage.** A power loss may leave part of the last write. Nobody was told that it is durable, so it
//! is cut off. Only the newest segment can have one: an older one was synced as a whole before the next was made.
//!
//! **Anything else is damage, and is refused.** An invalid record with a valid one behind it was synced, or at least
//! written, before that one: to cut there would drop records that somebody was promised. So would to go on behind it.
//!
//! In doubt it refuses. Two torn tails look like damage: one whose blocks reached the disk out of order, a hole before a
//! valid record; and one of a record whose payload itself holds a record of this log with a number that is due. (One of
//! another log is not taken for one: a record's checksum has the log's id in it.)

#![allow(clippy::exhaustive_structs, reason = "not part of the public interface")]

use super::fault::{Corruption, Wrong};
use super::record::{HEADER, NoHeader, OVERHEAD, Record, claimed_sequence, decode, decode_header};
use crate::change::JournalId;

/// The bytes of a segment.
#[derive(Clone, Debug)]
pub struct Segment {
    /// Its file.
    pub name: String,
    /// The number of its first record, after its name.
    pub first: u64,
    /// What is in the file.
    pub bytes: Vec<u8>,
}

/// What a log holds, and where it ends.
#[derive(Debug, PartialEq, Eq)]
pub struct Recovery {
    /// The log's id; none if nothing of the log has survived, or there never was one.
    pub log: Option<JournalId>,
    /// All records, in order.
    pub records: Vec<Record>,
    /// How many bytes of the newest segment are sound; none of them if its header is torn.
    pub sound: usize,
    /// How many bytes of it are not, and are cut off.
    pub cut: usize,
    /// The number of the record that is appended next.
    pub next: u64,
}

/// What the `segments` hold, the oldest first.
///
/// # Errors
///
/// The place of the first damage.
pub fn recover(segments: &[Segment]) -> Result<Recovery, Corruption> {
    let next = segments.first().map_or(1, |oldest| oldest.first);
    let mut recovery = Recovery { log: None, records: Vec::new(), sound: 0, cut: 0, next };
    for (at, segment) in segments.iter().enumerate() {
        let is_newest = at + 1 == segments.len();
        recovery.read(segment, is_newest).map_err(|(offset, wrong)| Corruption {
            segment: segment.name.clone(),
            offset: u64::try_from(offset).unwrap_or(u64::MAX),
            wrong,
        })?;
    }
    Ok(recovery)
}

impl Recovery {
    fn read(&mut self, segment: &Segment, is_newest: bool) -> Result<(), (usize, Wrong)> {
        let bytes = &segment.bytes[..];
        if segment.first != self.next {
            return Err((0, Wrong::Gap { due: self.next, found: segment.first }));
        }
        let log = match self.read_header(segment) {
            Ok(log) => log,
            Err(Wrong::Header) if is_newest && self.can_do_without(bytes) => {
                (self.sound, self.cut) = (0, bytes.len());
                return Ok(());
            }
            Err(wrong) => return Err((0, wrong)),
        };
        let end = self.read_records(log, bytes)?;
        if end < bytes.len() && !(is_newest && is_torn(log, bytes, end, self.next)) {
            return Err((end, Wrong::Record));
        }
        (self.sound, self.cut) = (end, bytes.len() - end);
        Ok(())
    }

    fn read_header(&mut self, segment: &Segment) -> Result<JournalId, Wrong> {
        let header = decode_header(&segment.bytes).map_err(|error| match error {
            NoHeader::Invalid => Wrong::Header,
            NoHeader::Format(format) => Wrong::Format(format),
        })?;
        if header.first != segment.first {
            return Err(Wrong::Misnamed);
        }
        if *self.log.get_or_insert(header.log) != header.log {
            return Err(Wrong::OtherLog);
        }
        Ok(header.log)
    }

    /// Whether a newest segment without a header may be dropped: it holds no record of the log, whose id is known from
    /// another segment; or it is the first there ever was, and so short that it holds no record of any log. A log that has
    /// been trimmed to this one segment had an id and records; under a new id they would be applied twice.
    fn can_do_without(&self, bytes: &[u8]) -> bool {
        match self.log {
            Some(log) => is_torn(log, bytes, 0, self.next),
            None => self.next == 1 && bytes.len() <= HEADER,
        }
    }

    /// Reads records up to the first that is not valid, and says where that is.
    fn read_records(&mut self, log: JournalId, bytes: &[u8]) -> Result<usize, (usize, Wrong)> {
        let mut at = HEADER;
        while let Some((sequence, payload)) = decode(log, &bytes[at..]) {
            if sequence != self.next {
                return Err((at, Wrong::Gap { due: self.next, found: sequence }));
            }
            self.records.push(Record { sequence, payload: payload.to_vec() });
            // The last number there is can only be forged; it must be no panic.
            self.next = sequence.saturating_add(1);
            at += OVERHEAD + payload.len();
        }
        Ok(at)
    }
}

/// Whether no valid record of `log` begins anywhere behind `end`, where record `due` was to begin. Its length cannot be
/// trusted, so the next may begin at any byte.
fn is_torn(log: JournalId, bytes: &[u8], end: usize, due: u64) -> bool {
    // What can be in so few bytes. It spares nearly every place the checksum, without which this would take quadratic time.
    let most = due.saturating_add((bytes.len() / OVERHEAD) as u64);
    let begins = |at: &usize| {
        let rest = &bytes[*at..];
        claimed_sequence(rest).is_some_and(|sequence| (due..=most).contains(&sequence))
            && decode(log, rest).is_some()
    };
    !(end..bytes.len()).any(|at| begins(&at))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::journal::record::{Header, encode, encode_header};

    const LOG: JournalId = JournalId::from_bytes([1; 16]);
    const OTHER: JournalId = JournalId::from_bytes([2; 16]);

    fn segment_of(log: JournalId, first: u64, payloads: &[&[u8]]) -> Segment {
        let mut bytes = encode_header(&Header { first, log });
        for (sequence, payload) in (first..).zip(payloads) {
            encode(log, sequence, payload, &mut bytes);
        }
        Segment { name: first.to_string(), first, bytes }
    }

    fn segment(first: u64, payloads: &[&[u8]]) -> Segment {
        segment_of(LOG, first, payloads)
    }

    /// Three segments with the records 1 to 5, each of 4 bytes; the newest has two.
    fn three() -> Vec<Segment> {
        vec![segment(1, &[b"1111", b"2222"]), segment(3, &[b"3333"]), segment(4, &[b"4444", b"5555"])]
    }

    const RECORD: usize = OVERHEAD + 4;

    fn refusal(segments: &[Segment]) -> (String, u64, Wrong) {
        let Corruption { segment, offset, wrong } = recover(segments).unwrap_err();
        (segment, offset, wrong)
    }

    fn refused_at(segment: u64, offset: usize, wrong: Wrong) -> (String, u64, Wrong) {
        (segment.to_string(), offset as u64, wrong)
    }

    #[test]
    fn a_log_that_was_never_there_is_empty() {
        let nothing = Recovery { log: None, records: Vec::new(), sound: 0, cut: 0, next: 1 };
        assert_eq!(recover(&[]), Ok(nothing));
    }

    #[test]
    fn a_whole_log_is_read() {
        let found = recover(&three()).unwrap();
        let payloads: Vec<&[u8]> = found.records.iter().map(|record| &record.payload[..]).collect();
        assert_eq!(payloads, [b"1111", b"2222", b"3333", b"4444", b"5555"]);
        assert_eq!((found.log, found.sound, found.cut, found.next), (Some(LOG), HEADER + 2 * RECORD, 0, 6));
    }

    #[test]
    fn a_trimmed_log_begins_later() {
        let found = recover(&three()[1..]).unwrap();
        assert_eq!((found.records[0].sequence, found.next), (3, 6));
    }

    #[test]
    fn a_torn_tail_is_cut_wherever_it_is_torn() {
        for torn in 0..RECORD {
            let mut segments = three();
            segments[2].bytes.truncate(HEADER + RECORD + torn);
            let found = recover(&segments).unwrap();
            assert_eq!((found.records.len(), found.sound, found.cut), (4, HEADER + RECORD, torn));
        }
    }

    #[test]
    fn zeros_behind_the_end_are_a_torn_tail() {
        let mut segments = three();
        segments[2].bytes.extend([0; 4096]);
        assert_eq!(recover(&segments).unwrap().cut, 4096);
    }

    /// Its length cannot be trusted either, so what comes after it is searched byte by byte.
    #[test]
    fn an_invalid_record_before_a_valid_one_is_refused() {
        for damaged in 0..RECORD {
            let mut segments = three();
            segments[2].bytes[HEADER + damaged] ^= 1;
            assert_eq!(refusal(&segments), refused_at(4, HEADER, Wrong::Record), "at byte {damaged}");
        }
    }

    /// A backup of another log as somebody's value, torn in the middle of being written.
    #[test]
    fn a_torn_tail_that_holds_a_record_of_another_log_is_cut() {
        let torn = |held: JournalId| {
            let mut payload = Vec::new();
            encode(held, 7, b"held", &mut payload);
            let mut segments = three();
            encode(LOG, 6, &[&payload[..], b"and more"].concat(), &mut segments[2].bytes);
            segments[2].bytes.pop();
            recover(&segments).map(|found| found.records.len())
        };
        assert_eq!(torn(OTHER), Ok(5));
        assert!(torn(LOG).is_err(), "of its own log it cannot be told from damage");
    }

    #[test]
    fn a_torn_tail_of_an_older_segment_is_refused() {
        for torn in 1..RECORD {
            let mut segments = three();
            segments[1].bytes.truncate(HEADER + torn);
            assert_eq!(refusal(&segments), refused_at(3, HEADER, Wrong::Record));
        }
    }

    #[test]
    fn missing_records_at_the_end_of_an_older_segment_are_refused() {
        let mut segments = three();
        segments[0].bytes.truncate(HEADER + RECORD);
        assert_eq!(refusal(&segments), refused_at(3, 0, Wrong::Gap { due: 2, found: 3 }));
    }

    #[test]
    fn a_missing_segment_is_refused() {
        let mut segments = three();
        segments.remove(1);
        assert_eq!(refusal(&segments), refused_at(4, 0, Wrong::Gap { due: 3, found: 4 }));
    }

    #[test]
    fn a_gap_within_a_segment_is_refused() {
        let mut segments = three();
        encode(LOG, 9, b"9999", &mut segments[2].bytes);
        let end = HEADER + 2 * RECORD;
        assert_eq!(refusal(&segments), refused_at(4, end, Wrong::Gap { due: 6, found: 9 }));
    }

    #[test]
    fn another_logs_segment_is_refused() {
        let mut segments = three();
        segments[1] = segment_of(OTHER, 3, &[b"3333"]);
        assert_eq!(refusal(&segments), refused_at(3, 0, Wrong::OtherLog));
    }

    #[test]
    fn a_segment_under_another_name_is_refused() {
        let mut segments = three();
        segments[0].first = 2;
        assert_eq!(refusal(&segments), refused_at(1, 0, Wrong::Misnamed));
    }

    #[test]
    fn a_torn_header_of_the_newest_segment_is_cut() {
        for torn in 0..HEADER {
            let mut segments = three();
            segments.push(segment(6, &[]));
            segments[3].bytes.truncate(torn);
            let found = recover(&segments).unwrap();
            assert_eq!((found.log, found.sound, found.cut, found.next), (Some(LOG), 0, torn, 6));
        }
    }

    #[test]
    fn a_torn_header_of_a_new_log_is_cut() {
        let mut new = segment(1, &[]);
        new.bytes.truncate(7);
        assert_eq!(recover(&[new]).unwrap().cut, 7);
    }

    /// Whose it is cannot be told any more, nor what is in it.
    #[test]
    fn a_damaged_header_of_the_only_segment_is_refused() {
        for damaged in 0..HEADER {
            let mut only = segment(1, &[b"1111"]);
            only.bytes[damaged] ^= 1;
            assert_eq!(refusal(&[only]), refused_at(1, 0, Wrong::Header));
        }
    }

    /// It had an id, under which the store knows what has been applied.
    #[test]
    fn a_torn_header_of_all_that_a_trim_left_is_refused() {
        let mut last = segment(7, &[]);
        last.bytes.truncate(7);
        assert_eq!(refusal(&[last]), refused_at(7, 0, Wrong::Header));
    }

    #[test]
    fn a_torn_header_before_a_record_or_a_segment_is_refused() {
        for damaged in [0, 2] {
            let mut segments = three();
            segments[damaged].bytes[3] ^= 1;
            let first = segments[damaged].first;
            assert_eq!(refusal(&segments), refused_at(first, 0, Wrong::Header));
        }
    }

    proptest! {
        /// Whatever is in the files: an answer, never a panic; and never a record out of turn.
        #[test]
        fn any_bytes_can_be_recovered(files in prop::collection::vec((0_u64..4, any::<Vec<u8>>()), 0..4)) {
            let segments: Vec<_> = files.into_iter()
                .map(|(first, bytes)| Segment { name: String::new(), first, bytes })
                .collect();
            let _ = recover(&segments);
        }

        #[test]
        fn a_cut_log_is_a_prefix(
            payloads in prop::collection::vec(any::<Vec<u8>>(), 0..8),
            garbage: Vec<u8>,
            cut: prop::sample::Index,
        ) {
            let payloads: Vec<&[u8]> = payloads.iter().map(|payload| &payload[..]).collect();
            let mut whole = segment(1, &payloads);
            whole.bytes.truncate(cut.index(whole.bytes.len() + 1));
            whole.bytes.extend(garbage);
            if let Ok(found) = recover(&[whole]) {
                for (record, payload) in found.records.iter().zip(&payloads) {
                    prop_assert_eq!(&record.payload[..], *payload);
                }
                prop_assert!(found.records.len() <= payloads.len());
            }
        }
    }
}
