//! How far all is settled, in a small file beside the segments: all numbers are little-endian.
//!
//! | what | bytes |
//! |---|---|
//! | mark | log id 16 · number of the last settled record 8 · CRC-32C of all before it 4 |
//!
//! It spares a store that keeps no offset a replay, and nobody relies on it: it is not synced. It is written under another
//! name and renamed, so that whoever opens the log after a crash of the process finds one that is whole. A power loss may
//! leave an older one, half of one, or none. One that is torn, missing or of another log counts as nothing; so does one
//! beyond the last record, which was made for a log that had more of them.

use std::io;

use super::checksum::crc32c;
use super::disk::Disk;
use crate::change::JournalId;

/// The file.
pub(super) const MARK: &str = "settled";
/// What it is called until it is whole.
const UNNAMED: &str = "settled.new";

/// The bytes of a mark.
pub fn encode(log: JournalId, settled: u64) -> Vec<u8> {
    let mut bytes = log.to_bytes().to_vec();
    bytes.extend(settled.to_le_bytes());
    bytes.extend(crc32c(&[&bytes]).to_le_bytes());
    bytes
}

/// Up to where all is settled in `log`, whose last record is `last`, if `bytes` are its mark; else 0.
pub fn decode(log: JournalId, last: u64, bytes: &[u8]) -> u64 {
    let settled = || {
        let number = bytes.strip_prefix(&log.to_bytes())?.first_chunk()?;
        let settled = u64::from_le_bytes(*number);
        (settled <= last && bytes == encode(log, settled)).then_some(settled)
    };
    settled().unwrap_or(0)
}

/// What the mark on `disk` says. One that cannot be read says nothing.
pub(super) fn read<D: Disk>(disk: &D, log: JournalId, last: u64) -> u64 {
    disk.read(MARK).map_or(0, |bytes| decode(log, last, &bytes))
}

/// Puts a mark in the place of the one before.
pub(super) fn write<D: Disk>(disk: &mut D, log: JournalId, settled: u64) -> io::Result<()> {
    create(disk)?;
    disk.append(UNNAMED, &encode(log, settled))?;
    disk.rename(UNNAMED, MARK)
}

/// One that is there already was left by an interruption.
fn create<D: Disk>(disk: &mut D) -> io::Result<()> {
    match disk.create(UNNAMED) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            disk.remove(UNNAMED)?;
            disk.create(UNNAMED)
        }
        created => created,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LOG: JournalId = JournalId::from_bytes(*b"0123456789abcdef");

    /// Golden: these bytes are on people's disks.
    #[test]
    fn the_bytes_of_a_mark_do_not_change() {
        let golden = b"0123456789abcdef\x07\0\0\0\0\0\0\0\xe6\x20\xcf\x62";
        assert_eq!(encode(LOG, 7), golden);
        assert_eq!(decode(LOG, 7, golden), 7);
    }

    #[test]
    fn one_of_another_log_or_of_more_records_counts_as_nothing() {
        assert_eq!(decode(JournalId::from_bytes([1; 16]), 9, &encode(LOG, 7)), 0);
        assert_eq!(decode(LOG, 6, &encode(LOG, 7)), 0);
    }

    proptest! {
        #[test]
        fn a_torn_one_counts_as_nothing(settled: u64, cut in 0..28_usize, garbage: Vec<u8>) {
            let whole = encode(LOG, settled);
            let torn = [&whole[..cut], &garbage].concat();
            prop_assume!(torn != whole);
            prop_assert_eq!(decode(LOG, u64::MAX, &torn), 0);
        }
    }
}
