//! What an error of sqlx says of a write.

use std::sync::Arc;
use std::{fmt, io};

use ::sqlx::Error;
use ::sqlx::error::DatabaseError;

use crate::error::{Fault, Outcome, StoreError};

/// What is known of a write that ended in `error`, and whether trying again can help.
///
/// | what happened | outcome | fault |
/// |---|---|---|
/// | no connection was had: the pool timed out or is closed, refused, TLS | not applied | transient |
/// | the connection broke | unknown | transient |
/// | the server is shutting down | unknown; not applied if it says so of a new connection | transient |
/// | deadlock, serialization failure, lock or statement time-out, resources exhausted, read-only server; busy or locked, disk full | not applied | transient |
/// | a constraint, or a value that does not fit: classes 22, 23, 44, 54; `CONSTRAINT`, `MISMATCH`, `TOOBIG` | not applied | permanent |
/// | an unknown table or column, missing rights, wrong SQL: classes 28, 3D, 3F, 42; `ERROR`, `READONLY`, `CANTOPEN` | not applied | transient |
/// | a value that cannot be encoded or decoded | not applied | permanent |
/// | anything else the database says, such as an exception that a trigger raises | not applied | unclassified |
///
/// A missing table is a mistake of a deployment, not of a write: it is repaired, and then the write can be done. Were it
/// permanent, all pending writes of a write-behind cache would be put aside as dead letters meanwhile.
///
/// It is right for one statement that is a transaction of its own, and for statements before a `COMMIT`. Of a failed
/// `COMMIT` nobody knows the outcome: leave it [`Outcome::Unknown`].
#[must_use]
pub fn store_error(error: Error) -> StoreError {
    let (outcome, fault) = judge(&error);
    with(StoreError::new(error), outcome, fault)
}

fn judge(error: &Error) -> (Outcome, Fault) {
    match error {
        Error::Database(said) => judge_database(&**said),
        Error::PoolTimedOut | Error::PoolClosed | Error::Tls(_) | Error::Configuration(_) => {
            (Outcome::NotApplied, Fault::Transient)
        }
        Error::Io(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            (Outcome::NotApplied, Fault::Transient)
        }
        Error::Io(_) | Error::WorkerCrashed => (Outcome::Unknown, Fault::Transient),
        Error::BeginFailed | Error::InvalidSavePointStatement => (Outcome::NotApplied, Fault::Unclassified),
        Error::Encode(_)
        | Error::Decode(_)
        | Error::ColumnDecode { .. }
        | Error::ColumnIndexOutOfBounds { .. }
        | Error::ColumnNotFound(_)
        | Error::TypeNotFound { .. }
        | Error::InvalidArgument(_) => (Outcome::NotApplied, Fault::Permanent),
        _ => (Outcome::Unknown, Fault::Unclassified),
    }
}

fn judge_database(said: &dyn DatabaseError) -> (Outcome, Fault) {
    #[cfg(feature = "postgres")]
    if let Some(error) = said.try_downcast_ref::<::sqlx::postgres::PgDatabaseError>() {
        return judge_postgres(error.code());
    }
    #[cfg(feature = "sqlite")]
    if said.try_downcast_ref::<::sqlx::sqlite::SqliteError>().is_some() {
        let code = said.code().and_then(|code| code.parse().ok());
        return judge_sqlite(code.unwrap_or_default());
    }
    let is_constraint = !matches!(said.kind(), ::sqlx::error::ErrorKind::Other);
    (Outcome::NotApplied, if is_constraint { Fault::Permanent } else { Fault::Unclassified })
}

/// By SQLSTATE, whose first two characters are its class.
#[cfg(feature = "postgres")]
fn judge_postgres(code: &str) -> (Outcome, Fault) {
    let class = code.get(..2).unwrap_or_default();
    let fault = match (class, code) {
        // A session that the server ends may have ended in the middle of a commit.
        ("08", _) | (_, "57P01" | "57P02" | "40003") => return (Outcome::Unknown, Fault::Transient),
        ("28" | "3D" | "3F" | "40" | "42" | "53" | "57" | "58", _) => Fault::Transient,
        // A lock that was not to be had; a server that only reads, as a primary that was until now.
        (_, "55P03" | "55006" | "25006" | "25P03" | "25P04") => Fault::Transient,
        ("22" | "23" | "44" | "54", _) => Fault::Permanent,
        _ => Fault::Unclassified,
    };
    (Outcome::NotApplied, fault)
}

/// By result code, whose lowest byte is the primary one.
#[cfg(feature = "sqlite")]
fn judge_sqlite(code: i32) -> (Outcome, Fault) {
    const IOERR: i32 = 10;
    match code & 0xff {
        // It may have been the last sync of a commit that failed.
        IOERR => (Outcome::Unknown, Fault::Transient),
        // CONSTRAINT, MISMATCH, TOOBIG, RANGE
        19 | 20 | 18 | 25 => (Outcome::NotApplied, Fault::Permanent),
        // ERROR, PERM, BUSY, LOCKED, NOMEM, READONLY, INTERRUPT, CORRUPT, FULL, CANTOPEN, PROTOCOL, SCHEMA, AUTH, NOTADB
        1 | 3 | 5..=9 | 11 | 13..=15 | 17 | 23 | 26 => (Outcome::NotApplied, Fault::Transient),
        _ => (Outcome::NotApplied, Fault::Unclassified),
    }
}

/// Of an error that somebody else's statements ended with: what it says for itself, or else what sqlx says.
pub(super) fn classified(error: StoreError) -> StoreError {
    let is_silent = error.outcome() == Outcome::Unknown && error.fault() == Fault::Unclassified;
    match error.downcast_ref::<Error>().map(judge) {
        Some((outcome, fault)) if is_silent => with(error, outcome, fault),
        _ => error,
    }
}

/// What ended before its `COMMIT` was sent has not happened and never will: the database rolls it back.
pub(super) fn undone(error: Error) -> StoreError {
    store_error(error).not_applied()
}

/// What came of a failed attempt to get a connection.
pub(super) fn unconnected(error: Error) -> StoreError {
    StoreError::new(error).not_applied().transient()
}

/// What a failed `COMMIT` says: nothing, unless the database tells that it has undone what was to be committed.
pub(super) fn uncommitted(error: Error) -> StoreError {
    let is_undone = match &error {
        Error::Database(said) => is_undone(&**said),
        _ => false,
    };
    let (_, fault) = judge(&error);
    with(StoreError::new(error), if is_undone { Outcome::NotApplied } else { Outcome::Unknown }, fault)
}

/// Constraints that are checked late, and transactions that could not be put into an order.
#[cfg(feature = "postgres")]
fn is_undone(said: &dyn DatabaseError) -> bool {
    let code = said.try_downcast_ref::<::sqlx::postgres::PgDatabaseError>().map(|error| error.code());
    code.is_some_and(|code| code.starts_with("23") || matches!(code, "40001" | "40P01" | "40002"))
}

/// SQLite keeps what it cannot commit, to be tried again: its commit is not over.
#[cfg(not(feature = "postgres"))]
fn is_undone(_said: &dyn DatabaseError) -> bool {
    false
}

fn with(error: StoreError, outcome: Outcome, fault: Fault) -> StoreError {
    let error = match outcome {
        Outcome::NotApplied => error.not_applied(),
        Outcome::Applied => error.applied(),
        Outcome::Unknown => error,
    };
    match fault {
        Fault::Transient => error.transient(),
        Fault::Permanent => error.permanent(),
        Fault::Unclassified => error,
    }
}

/// One error for each of `count` keys that were asked for at once.
pub(super) fn for_each<T>(error: StoreError, count: usize) -> Vec<Result<T, StoreError>> {
    if count == 1 {
        return vec![Err(error)];
    }
    let shared = Arc::new(error);
    (0..count)
        .map(|_| {
            let (outcome, fault) = (shared.outcome(), shared.fault());
            Err(with(StoreError::new(Shared(Arc::clone(&shared))), outcome, fault))
        })
        .collect()
}

/// An error that several have.
#[derive(Debug)]
struct Shared(Arc<StoreError>);

impl fmt::Display for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl std::error::Error for Shared {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.downcast_ref::<Error>().map(|error| error as &(dyn std::error::Error + 'static))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_never_had_a_connection_has_written_nothing() {
        for error in
            [Error::PoolTimedOut, Error::PoolClosed, Error::Io(io::ErrorKind::ConnectionRefused.into())]
        {
            let error = store_error(error);
            assert_eq!((error.outcome(), error.fault()), (Outcome::NotApplied, Fault::Transient), "{error}");
        }
    }

    #[test]
    fn nobody_knows_what_a_broken_connection_has_done() {
        let broken = || Error::Io(io::ErrorKind::ConnectionReset.into());
        let unknown = (Outcome::Unknown, Fault::Transient);
        assert_eq!((store_error(broken()).outcome(), store_error(broken()).fault()), unknown);
        assert_eq!((uncommitted(broken()).outcome(), uncommitted(broken()).fault()), unknown);
        assert_eq!(undone(broken()).outcome(), Outcome::NotApplied);
    }

    #[test]
    fn what_somebody_says_for_himself_stands() {
        let silent = StoreError::new(Error::PoolTimedOut);
        assert_eq!(classified(silent).fault(), Fault::Transient);
        let said = StoreError::new(Error::PoolTimedOut).permanent();
        assert_eq!(classified(said).fault(), Fault::Permanent);
    }

    #[cfg(feature = "postgres")]
    #[test]
    fn sqlstates_have_their_faults() {
        for permanent in ["23505", "22001", "22P02", "44000", "54000"] {
            assert_eq!(judge_postgres(permanent), (Outcome::NotApplied, Fault::Permanent), "{permanent}");
        }
        for transient in ["40001", "40P01", "53300", "57014", "57P03", "55P03", "25006", "42P01", "42501"] {
            assert_eq!(judge_postgres(transient), (Outcome::NotApplied, Fault::Transient), "{transient}");
        }
        for unknown in ["57P01", "08006", "40003"] {
            assert_eq!(judge_postgres(unknown), (Outcome::Unknown, Fault::Transient), "{unknown}");
        }
        assert_eq!(judge_postgres("P0001"), (Outcome::NotApplied, Fault::Unclassified));
        assert_eq!(judge_postgres(""), (Outcome::NotApplied, Fault::Unclassified));
    }

    #[cfg(feature = "sqlite")]
    #[test]
    fn result_codes_have_their_faults() {
        for permanent in [19, 2067, 1555, 20, 18] {
            assert_eq!(judge_sqlite(permanent), (Outcome::NotApplied, Fault::Permanent), "{permanent}");
        }
        for transient in [5, 261, 517, 6, 13, 1, 8, 14] {
            assert_eq!(judge_sqlite(transient), (Outcome::NotApplied, Fault::Transient), "{transient}");
        }
        assert_eq!(judge_sqlite(1034), (Outcome::Unknown, Fault::Transient), "IOERR_FSYNC");
    }
}
