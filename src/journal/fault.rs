//! Why a log did not do what it was asked, in words that hold no payload.

#![allow(clippy::exhaustive_enums, clippy::exhaustive_structs, reason = "not part of the public interface")]

use std::{fmt, io};

/// Why a call of a log failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Somebody else has the log open.
    InUse,
    /// The disk did not do what it was asked. Of an open log this is final: nobody knows what is on the disk.
    Disk {
        /// What it was asked to do.
        doing: Doing,
        /// What the operating system said.
        kind: io::ErrorKind,
        /// Its number for that, if it gave one.
        code: Option<i32>,
    },
    /// The log is damaged, and not at its end.
    Corrupt(Corruption),
    /// A payload is longer than a record can be; nothing was appended.
    TooLong {
        /// How long it is.
        bytes: usize,
        /// How long one may be.
        most: usize,
    },
    /// A dead letter is none that this version of larder reads. It is not passed over: the next opening would drop it.
    Letter {
        /// The number of its record.
        sequence: u64,
        /// The number of the format that it is of.
        format: u8,
    },
    /// The log was closed before the record was durable. It may have been written.
    Closed,
}

/// What was asked of a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doing {
    /// To make the directory and to lock it.
    Open,
    /// To say which files there are.
    List,
    /// To read a file.
    Read,
    /// To make a new file.
    Create,
    /// To write to the end of a file.
    Append,
    /// To put what a file holds on stable storage.
    Sync,
    /// To put the names of the files on stable storage.
    SyncDirectory,
    /// To give a file another name.
    Rename,
    /// To remove a file.
    Remove,
    /// To note how far all is settled.
    Mark,
    /// To start the thread that writes.
    Start,
}

impl Doing {
    /// The fault of having failed in it.
    pub(super) fn failed(self, error: &io::Error) -> Fault {
        Fault::Disk { doing: self, kind: error.kind(), code: error.raw_os_error() }
    }
}

/// Where a log is damaged, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Corruption {
    /// The file.
    pub segment: String,
    /// The place in it.
    pub offset: u64,
    /// What is wrong there.
    pub wrong: Wrong,
}

/// What can be wrong with a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wrong {
    /// A segment begins with no valid header, and is not the newest, or holds records, or is all there is of a log that
    /// had others before.
    Header,
    /// A segment is of a format that this version does not know.
    Format(u32),
    /// A segment belongs to another log.
    OtherLog,
    /// A segment's name and its header do not agree.
    Misnamed,
    /// Records are missing or come twice: the one at this place is not the one that is due.
    Gap {
        /// The number that is due.
        due: u64,
        /// The number that is there.
        found: u64,
    },
    /// An invalid record is followed by valid ones, or by another segment.
    Record,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InUse => f.write_str("the log is open elsewhere, and only one may have it"),
            Self::Disk { doing, kind, code: Some(code) } => {
                write!(f, "{doing} failed: {kind} (os error {code})")
            }
            Self::Disk { doing, kind, code: None } => write!(f, "{doing} failed: {kind}"),
            Self::Corrupt(corruption) => corruption.fmt(f),
            Self::TooLong { bytes, most } => {
                write!(f, "a record of {bytes} bytes is longer than {most} bytes")
            }
            Self::Letter { sequence, format } => write!(
                f,
                "record {sequence} of the dead letters, of format {format}, is none that this version of larder reads"
            ),
            Self::Closed => f.write_str("the log was closed before the record was durable"),
        }
    }
}

impl fmt::Display for Doing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Open => "opening the log's directory",
            Self::List => "listing the log's segments",
            Self::Read => "reading a segment",
            Self::Create => "making a segment",
            Self::Append => "writing to a segment",
            Self::Sync => "syncing a segment",
            Self::SyncDirectory => "syncing the log's directory",
            Self::Rename => "renaming a segment",
            Self::Remove => "removing a segment",
            Self::Mark => "noting how far all is settled",
            Self::Start => "starting the log's thread",
        })
    }
}

impl fmt::Display for Corruption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the log is damaged in {} at byte {}: {}", self.segment, self.offset, self.wrong)
    }
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Header => f.write_str("there is no valid header"),
            Self::Format(format) => write!(f, "format {format} is not known to this version of larder"),
            Self::OtherLog => f.write_str("the segment is another log's"),
            Self::Misnamed => f.write_str("the header does not agree with the name"),
            Self::Gap { due, found } => write!(f, "record {due} is due, and record {found} is there"),
            Self::Record => f.write_str("the record is invalid, and others come after it"),
        }
    }
}

impl std::error::Error for Fault {}
