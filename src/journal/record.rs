//! Records and the headers of segments as bytes. Format 1; all numbers are little-endian.
//!
//! | what | bytes |
//! |---|---|
//! | header | `larderlg` · format 4 · first sequence number 8 · log id 16 · CRC-32C of all before it 4 |
//! | record | length of the payload 4 · CRC-32C of the log id and of all after it 4 · sequence number 8 · payload |
//!
//! The log id is in the checksum of every record and not in the record: payloads are bytes of anybody's choice, and one that
//! holds a record of another log must not be taken for one of this log's where a torn tail is searched.

#![allow(clippy::exhaustive_structs, reason = "not part of the public interface")]

use std::fmt;

use super::checksum::crc32c;
use crate::change::JournalId;

/// How many bytes a record has beside its payload.
pub const OVERHEAD: usize = 16;
/// How many bytes a header has.
pub const HEADER: usize = 40;
/// The longest payload. A length above it is nobody's, so damage to a length is not taken for a huge record.
pub const LONGEST: usize = 64 << 20;

const MAGIC: &[u8; 8] = b"larderlg";
const FORMAT: u32 = 1;

/// A record: its place in the log, and bytes that the log does not look into.
#[derive(Clone, PartialEq, Eq)]
pub struct Record {
    /// Its number; the first of a log is 1, and none is left out.
    pub sequence: u64,
    /// What was appended.
    pub payload: Vec<u8>,
}

/// Payloads are users' data, and data is not for logs.
impl fmt::Debug for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Record({}, {} bytes)", self.sequence, self.payload.len())
    }
}

/// What a segment begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// The number of the segment's first record.
    pub first: u64,
    /// The log that it is of.
    pub log: JournalId,
}

/// Why bytes are no header that this version reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoHeader {
    /// They are cut short or damaged.
    Invalid,
    /// They are whole, and of a format with another number.
    Format(u32),
}

/// Appends the record of `log` with this number and payload to `bytes`. The payload is at most [`LONGEST`].
pub fn encode(log: JournalId, sequence: u64, payload: &[u8], bytes: &mut Vec<u8>) {
    let length = u32::try_from(payload.len()).unwrap_or(u32::MAX);
    let sequence = sequence.to_le_bytes();
    bytes.extend(length.to_le_bytes());
    bytes.extend(crc32c(&[&log.to_bytes(), &sequence, payload]).to_le_bytes());
    bytes.extend(sequence);
    bytes.extend(payload);
}

/// The record that `bytes` begin with, if they begin with a valid one of `log`: its number and its payload.
pub fn decode(log: JournalId, bytes: &[u8]) -> Option<(u64, &[u8])> {
    let (length, rest) = take_u32(bytes)?;
    let (checksum, rest) = take_u32(rest)?;
    let (sequence, rest) = take_u64(rest)?;
    let length = usize::try_from(length).ok().filter(|length| *length <= LONGEST)?;
    let payload = rest.get(..length)?;
    (crc32c(&[&log.to_bytes(), &sequence.to_le_bytes(), payload]) == checksum).then_some((sequence, payload))
}

/// The number in the record that `bytes` may begin with; nothing is checked.
pub(super) fn claimed_sequence(bytes: &[u8]) -> Option<u64> {
    take_u64(bytes.get(8..)?).map(|(sequence, _)| sequence)
}

/// The bytes of `header`.
pub fn encode_header(header: &Header) -> Vec<u8> {
    let mut bytes = MAGIC.to_vec();
    bytes.extend(FORMAT.to_le_bytes());
    bytes.extend(header.first.to_le_bytes());
    bytes.extend(header.log.to_bytes());
    bytes.extend(crc32c(&[&bytes]).to_le_bytes());
    bytes
}

/// The header that `bytes` begin with.
pub(super) fn decode_header(bytes: &[u8]) -> Result<Header, NoHeader> {
    let (format, header) = take_header(bytes).ok_or(NoHeader::Invalid)?;
    if format == FORMAT { Ok(header) } else { Err(NoHeader::Format(format)) }
}

/// All formats have the same header, so that a version that does not know a format can name it.
fn take_header(bytes: &[u8]) -> Option<(u32, Header)> {
    let (summed, rest) = bytes.split_at_checked(HEADER - 4)?;
    let (checksum, _) = take_u32(rest)?;
    if crc32c(&[summed]) != checksum {
        return None;
    }
    let (format, rest) = take_u32(summed.strip_prefix(MAGIC)?)?;
    let (first, rest) = take_u64(rest)?;
    Some((format, Header { first, log: JournalId::from_bytes(rest.try_into().ok()?) }))
}

fn take_u32(bytes: &[u8]) -> Option<(u32, &[u8])> {
    let (number, rest) = bytes.split_first_chunk()?;
    Some((u32::from_le_bytes(*number), rest))
}

fn take_u64(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let (number, rest) = bytes.split_first_chunk()?;
    Some((u64::from_le_bytes(*number), rest))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LOG: JournalId = JournalId::from_bytes(*b"0123456789abcdef");

    fn record(sequence: u64, payload: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        encode(LOG, sequence, payload, &mut bytes);
        bytes
    }

    /// Golden: these bytes are on people's disks. A change of them is a new format with a new number.
    #[test]
    fn the_bytes_of_a_record_do_not_change() {
        let golden = b"\x05\0\0\0\x4f\x1b\x2d\x39\x07\0\0\0\0\0\0\0views";
        assert_eq!(record(7, b"views"), golden);
        assert_eq!(decode(LOG, golden), Some((7, &b"views"[..])));
    }

    /// Golden, too.
    #[test]
    fn the_bytes_of_a_header_do_not_change() {
        let golden = b"larderlg\x01\0\0\0\x09\0\0\0\0\0\0\x000123456789abcdef\x8a\x90\x9a\x0d";
        let header = Header { first: 9, log: LOG };
        assert_eq!(encode_header(&header), golden);
        assert_eq!(decode_header(golden), Ok(header));
        assert_eq!(golden.len(), HEADER);
    }

    #[test]
    fn a_later_format_is_named() {
        let mut bytes = encode_header(&Header { first: 1, log: LOG });
        bytes[8] = 2;
        assert_eq!(decode_header(&bytes), Err(NoHeader::Invalid), "with a checksum that is not its own");
        let checksum = crc32c(&[&bytes[..HEADER - 4]]);
        bytes[HEADER - 4..].copy_from_slice(&checksum.to_le_bytes());
        assert_eq!(decode_header(&bytes), Err(NoHeader::Format(2)));
    }

    #[test]
    fn zeros_are_no_record_and_no_header() {
        assert_eq!(decode(LOG, &[0; 64]), None);
        assert_eq!(decode_header(&[0; 64]), Err(NoHeader::Invalid));
    }

    #[test]
    fn a_record_of_another_log_is_none() {
        assert_eq!(decode(JournalId::from_bytes([7; 16]), &record(7, b"views")), None);
    }

    #[test]
    fn a_payload_is_not_printed() {
        let record = Record { sequence: 3, payload: b"secret".to_vec() };
        assert_eq!(format!("{record:?}"), "Record(3, 6 bytes)");
    }

    proptest! {
        #[test]
        fn what_was_encoded_is_decoded(sequence: u64, payload: Vec<u8>, after: Vec<u8>) {
            let bytes = [record(sequence, &payload), after].concat();
            prop_assert_eq!(decode(LOG, &bytes), Some((sequence, &payload[..])));
        }

        #[test]
        fn a_record_cut_short_is_none(sequence: u64, payload: Vec<u8>, cut: prop::sample::Index) {
            let bytes = record(sequence, &payload);
            prop_assert_eq!(decode(LOG, &bytes[..cut.index(bytes.len())]), None);
        }

        #[test]
        fn a_flipped_bit_is_seen(sequence: u64, payload: Vec<u8>, at: prop::sample::Index, bit in 0..8_u8) {
            let mut bytes = record(sequence, &payload);
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
            prop_assert_eq!(decode(LOG, &bytes), None);
        }

        #[test]
        fn a_flipped_bit_in_a_header_is_seen(first: u64, at in 0..HEADER, bit in 0..8_u8) {
            let mut bytes = encode_header(&Header { first, log: LOG });
            bytes[at] ^= 1 << bit;
            prop_assert_eq!(decode_header(&bytes), Err(NoHeader::Invalid));
        }

        #[test]
        fn any_bytes_can_be_asked(bytes: Vec<u8>) {
            let _ = (decode(LOG, &bytes), decode_header(&bytes), claimed_sequence(&bytes));
        }
    }
}
