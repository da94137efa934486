//! The two tables in which a store keeps how far it has come: their SQL, as far as both databases read it alike, and
//! what stands in their rows.

use std::sync::Arc;
use std::time::Duration;

use ::sqlx::{AssertSqlSafe, SqlSafeStr, SqlStr};

use super::row::refused;
use crate::error::StoreError;
use crate::store::{Claim, DeadLetter, JournalId, Seq, ShardId};

/// The version of the tables that this code reads and writes.
pub(super) const VERSION: i64 = 1;

/// What `SqliteStore::migrate` does, for those who have migrations of their own: larder's tables, in SQLite.
pub const SQLITE_TABLES: &str = "\
CREATE TABLE IF NOT EXISTS larder_shard (
    journal    BLOB    NOT NULL,
    shard      INTEGER NOT NULL,
    epoch      INTEGER NOT NULL,
    last       INTEGER NOT NULL,
    updated_at TEXT    NOT NULL,
    owner      INTEGER,
    until      INTEGER,
    PRIMARY KEY (journal, shard)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS larder_dead_letter (
    journal BLOB    NOT NULL,
    shard   INTEGER NOT NULL,
    seq     INTEGER NOT NULL,
    at      INTEGER NOT NULL,
    why     TEXT    NOT NULL,
    record  BLOB    NOT NULL,
    PRIMARY KEY (journal, shard, seq)
);
CREATE TABLE IF NOT EXISTS larder_version (version INTEGER NOT NULL);
INSERT INTO larder_version (version) SELECT 1 WHERE NOT EXISTS (SELECT 1 FROM larder_version);
";

/// What `PostgresStore::migrate` does, for those who have migrations of their own: larder's tables, in PostgreSQL. With
/// [`schema`](super::PostgresStore::schema) they are in another schema than the first of the `search_path`.
pub const POSTGRES_TABLES: &str = "\
CREATE TABLE IF NOT EXISTS larder_shard (
    journal    BYTEA       NOT NULL,
    shard      INTEGER     NOT NULL,
    epoch      BIGINT      NOT NULL,
    last       BIGINT      NOT NULL,
    updated_at TIMESTAMPTZ NOT NULL,
    owner      BIGINT,
    until      BIGINT,
    PRIMARY KEY (journal, shard)
);
CREATE TABLE IF NOT EXISTS larder_dead_letter (
    journal BYTEA   NOT NULL,
    shard   INTEGER NOT NULL,
    seq     BIGINT  NOT NULL,
    at      BIGINT  NOT NULL,
    why     TEXT    NOT NULL,
    record  BYTEA   NOT NULL,
    PRIMARY KEY (journal, shard, seq)
);
CREATE TABLE IF NOT EXISTS larder_version (version BIGINT NOT NULL);
INSERT INTO larder_version (version) SELECT 1 WHERE NOT EXISTS (SELECT 1 FROM larder_version);
";

const CLAIM: &str = "\
INSERT INTO larder_shard AS known (journal, shard, epoch, last, updated_at) VALUES ($1, $2, 1, 0, CURRENT_TIMESTAMP)
ON CONFLICT (journal, shard) DO UPDATE SET epoch = known.epoch + 1, updated_at = CURRENT_TIMESTAMP
RETURNING epoch, last";

/// `NOW` is the database's time in milliseconds, however it says that.
const CLAIM_FOR: &str = "\
INSERT INTO larder_shard AS known (journal, shard, epoch, last, updated_at, owner, until)
VALUES ($1, $2, 1, 0, CURRENT_TIMESTAMP, $3, NOW + $4)
ON CONFLICT (journal, shard) DO UPDATE
SET epoch = known.epoch + 1, updated_at = CURRENT_TIMESTAMP, owner = excluded.owner, until = excluded.until
WHERE known.owner IS NULL OR known.owner = excluded.owner OR known.until IS NULL OR known.until < NOW
RETURNING epoch, last";

const RENEW: &str = "\
UPDATE larder_shard SET until = NOW + $1 WHERE journal = $2 AND owner = $3 RETURNING shard, epoch";

const RELEASE: &str = "\
UPDATE larder_shard SET owner = NULL, until = NULL WHERE journal = $1 AND shard = $2 AND epoch = $3";

const OFFSET: &str = "SELECT epoch, last FROM larder_shard WHERE journal = $1 AND shard = $2";

const ADVANCE: &str = "\
UPDATE larder_shard SET last = $1, updated_at = CURRENT_TIMESTAMP
WHERE journal = $2 AND shard = $3 AND epoch = $4 AND last = $5";

const FORGET: &str = "DELETE FROM larder_shard WHERE journal = $1 AND shard = $2";

const LETTERS: &str = "\
SELECT shard, seq, at, why, record FROM larder_dead_letter
WHERE journal = $1 AND (shard, seq) > ($2, $3) ORDER BY shard, seq LIMIT $4";

const DISCARD: &str = "DELETE FROM larder_dead_letter WHERE journal = $1 AND shard = $2 AND seq = $3";

const VERSION_FOUND: &str = "SELECT max(version) FROM larder_version";

/// A statement that is made once and used for ever.
#[derive(Clone, Debug)]
pub(super) struct Text(Arc<str>);

impl Text {
    /// `sql` has names that were checked, and no values.
    pub(super) fn new(sql: impl Into<Arc<str>>) -> Self {
        Self(sql.into())
    }

    pub(super) fn sql(&self) -> SqlStr {
        AssertSqlSafe(Arc::clone(&self.0)).into_sql_str()
    }
}

/// The statements that both databases have in common.
#[derive(Clone, Debug)]
pub(super) struct Texts {
    pub(super) claim: Text,
    pub(super) claim_for: Text,
    pub(super) renew: Text,
    pub(super) release: Text,
    pub(super) offset: Text,
    pub(super) standing: Text,
    pub(super) advance: Text,
    pub(super) forget: Text,
    pub(super) letters: Text,
    pub(super) discard: Text,
    pub(super) version: Text,
}

impl Texts {
    /// `prefix` is the schema with its dot, or nothing. What locks a row is appended to the question for it; `now` is the
    /// time in milliseconds.
    pub(super) fn new(prefix: &str, lock: &str, now: &str) -> Self {
        let text = |sql: &str| Text::new(placed(sql, prefix));
        let timed = |sql: &str| Text::new(placed(&sql.replace("NOW", now), prefix));
        Self {
            claim: text(CLAIM),
            claim_for: timed(CLAIM_FOR),
            renew: timed(RENEW),
            release: text(RELEASE),
            offset: Text::new(placed(OFFSET, prefix) + lock),
            standing: text(OFFSET),
            advance: text(ADVANCE),
            forget: text(FORGET),
            letters: text(LETTERS),
            discard: text(DISCARD),
            version: text(VERSION_FOUND),
        }
    }
}

/// `sql` with larder's tables where `prefix` says.
pub(super) fn placed(sql: &str, prefix: &str) -> String {
    sql.replace("larder_", &format!("{prefix}larder_"))
}

/// Databases have no unsigned numbers.
pub(super) fn signed(number: u64) -> Result<i64, StoreError> {
    i64::try_from(number).map_err(refused)
}

/// What [`signed`] has written.
fn unsigned(number: i64) -> Result<u64, StoreError> {
    u64::try_from(number).map_err(refused)
}

/// What names the row of a shard, or of its letters.
pub(super) fn key(shard: ShardId) -> (Vec<u8>, i32) {
    (shard.journal().to_bytes().to_vec(), shard.number().into())
}

/// Behind which shard and number the letters begin that come `after` another, or all of them.
pub(super) fn beginning(after: Option<(u16, Seq)>) -> Result<(i32, i64), StoreError> {
    after.map_or(Ok((-1, 0)), |(shard, seq)| Ok((shard.into(), signed(seq)?)))
}

/// Until the year 2262.
pub(super) fn nanoseconds(at: Duration) -> i64 {
    i64::try_from(at.as_nanos()).unwrap_or(i64::MAX)
}

/// What [`CLAIM`] and [`OFFSET`] answer.
pub(super) fn read_claim((epoch, last): (i64, i64)) -> Result<Claim, StoreError> {
    Ok(Claim::new(unsigned(epoch)?, unsigned(last)?))
}

/// What [`RENEW`] answers.
pub(super) fn read_renewed(rows: Vec<(i32, i64)>) -> Result<Vec<(u16, u64)>, StoreError> {
    let row = |(shard, epoch)| Ok((u16::try_from(shard).map_err(refused)?, unsigned(epoch)?));
    rows.into_iter().map(row).collect()
}

/// A process in the databases' terms, which know no unsigned numbers: they are told apart by all bits.
pub(super) const fn owner_number(owner: u64) -> i64 {
    owner.cast_signed()
}

/// Milliseconds, as far as a database counts.
pub(super) fn milliseconds(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX / 2).min(i64::MAX / 2)
}

/// A row of what [`LETTERS`] answers.
pub(super) fn read_letter(
    journal: JournalId,
    (shard, seq, at, why, record): (i32, i64, i64, String, Vec<u8>),
) -> Result<DeadLetter, StoreError> {
    Ok(DeadLetter {
        shard: ShardId::new(journal, u16::try_from(shard).map_err(refused)?),
        seq: unsigned(seq)?,
        at: Duration::from_nanos(unsigned(at)?),
        why,
        record,
    })
}

/// The tables were made by a later version of larder, which may mean something else by them.
pub(super) fn check_version(found: i64) -> Result<(), StoreError> {
    if found <= VERSION {
        return Ok(());
    }
    let what =
        format!("the tables of larder are of version {found}; this one knows versions up to {VERSION}");
    Err(StoreError::new(what).not_applied())
}
