//! The rows that say how far a store has come, in PostgreSQL.

use std::time::Duration;

use ::sqlx::{AssertSqlSafe, PgConnection, query, query_as, query_scalar, raw_sql};

use crate::error::StoreError;
use crate::store::sqlx::error::{store_error, undone};
use crate::store::sqlx::ledger::{
    POSTGRES_TABLES, Text, Texts, beginning, check_version, key, milliseconds, nanoseconds, owner_number,
    placed, read_claim, read_letter, read_renewed, signed,
};
use crate::store::{Batch, Claim, DeadLetter, JournalId, Seq, ShardId};

const KEEP: &str = "\
INSERT INTO larder_dead_letter (journal, shard, seq, at, why, record)
SELECT * FROM UNNEST($1::bytea[], $2::integer[], $3::bigint[], $4::bigint[], $5::text[], $6::bytea[])
ON CONFLICT DO NOTHING";

/// `CREATE TABLE IF NOT EXISTS` fails when two do it at the same time, so they take turns: the number is larder's own.
const TURN: &str = "SELECT pg_advisory_xact_lock(7809632233517966962);";

/// The time in milliseconds since 1970, within a transaction as well.
const NOW: &str = "(EXTRACT(EPOCH FROM clock_timestamp()) * 1000)::bigint";

#[derive(Clone, Debug)]
pub(super) struct Ledger {
    texts: Texts,
    keep: Text,
    tables: Text,
}

impl Ledger {
    /// `prefix` is the schema with its dot, or nothing.
    pub(super) fn new(prefix: &str) -> Self {
        Self {
            texts: Texts::new(prefix, " FOR UPDATE", NOW),
            keep: Text::new(placed(KEEP, prefix)),
            tables: Text::new(format!("{TURN}{}", placed(POSTGRES_TABLES, prefix))),
        }
    }

    pub(super) async fn migrate(&self, connection: &mut PgConnection) -> Result<(), StoreError> {
        // Statements that are sent together are one transaction.
        raw_sql(self.tables.sql()).execute(&mut *connection).await.map_err(store_error)?;
        let found: Option<i64> =
            query_scalar(self.texts.version.sql()).fetch_one(connection).await.map_err(store_error)?;
        check_version(found.unwrap_or_default())
    }

    pub(super) async fn claim(
        &self,
        connection: &mut PgConnection,
        shard: ShardId,
    ) -> Result<Claim, StoreError> {
        let (journal, number) = key(shard);
        let statement = query_as(self.texts.claim.sql()).bind(journal).bind(number);
        read_claim(statement.fetch_one(connection).await.map_err(store_error)?)
    }

    pub(super) async fn claim_for(
        &self,
        connection: &mut PgConnection,
        shard: ShardId,
        owner: u64,
        lease: Duration,
    ) -> Result<Option<Claim>, StoreError> {
        let (journal, number) = key(shard);
        let statement = query_as(self.texts.claim_for.sql()).bind(journal).bind(number);
        let statement = statement.bind(owner_number(owner)).bind(milliseconds(lease));
        statement.fetch_optional(connection).await.map_err(store_error)?.map(read_claim).transpose()
    }

    pub(super) async fn renew(
        &self,
        connection: &mut PgConnection,
        journal: JournalId,
        owner: u64,
        lease: Duration,
    ) -> Result<Vec<(u16, u64)>, StoreError> {
        let statement = query_as(self.texts.renew.sql()).bind(milliseconds(lease));
        let statement = statement.bind(journal.to_bytes().to_vec()).bind(owner_number(owner));
        read_renewed(statement.fetch_all(connection).await.map_err(store_error)?)
    }

    pub(super) async fn release(
        &self,
        connection: &mut PgConnection,
        shard: ShardId,
        epoch: u64,
    ) -> Result<(), StoreError> {
        let (journal, number) = key(shard);
        let statement = query(self.texts.release.sql()).bind(journal).bind(number).bind(signed(epoch)?);
        statement.execute(connection).await.map(drop).map_err(store_error)
    }

    /// How far a shard is, as the transaction sees it; nothing is locked.
    pub(super) async fn standing(
        &self,
        connection: &mut PgConnection,
        shard: ShardId,
    ) -> Result<Seq, StoreError> {
        let (journal, number) = key(shard);
        let statement = query_as(self.texts.standing.sql()).bind(journal).bind(number);
        let row = statement.fetch_optional(connection).await.map_err(store_error)?;
        Ok(row.map(read_claim).transpose()?.map_or(0, Claim::offset))
    }

    pub(super) async fn offset(
        &self,
        connection: &mut PgConnection,
        shard: ShardId,
    ) -> Result<Option<Claim>, StoreError> {
        let (journal, number) = key(shard);
        let statement = query_as(self.texts.offset.sql()).bind(journal).bind(number);
        statement.fetch_optional(connection).await.map_err(store_error)?.map(read_claim).transpose()
    }

    /// Whether the row is as the batch wants it; then it is moved on, and locked until the transaction ends.
    pub(super) async fn advance<K, V>(
        &self,
        connection: &mut PgConnection,
        batch: &Batch<K, V>,
    ) -> Result<bool, StoreError> {
        let (journal, number) = key(batch.shard());
        let statement = query(self.texts.advance.sql()).bind(signed(batch.upto())?);
        let statement = statement.bind(journal).bind(number);
        let statement = statement.bind(signed(batch.epoch())?).bind(signed(batch.after())?);
        Ok(statement.execute(connection).await.map_err(undone)?.rows_affected() == 1)
    }

    pub(super) async fn keep(
        &self,
        connection: &mut PgConnection,
        letters: &[DeadLetter],
    ) -> Result<(), StoreError> {
        if letters.is_empty() {
            return Ok(());
        }
        let journals: Vec<_> = letters.iter().map(|letter| key(letter.shard).0).collect();
        let shards: Vec<_> = letters.iter().map(|letter| key(letter.shard).1).collect();
        let seqs = letters.iter().map(|letter| signed(letter.seq)).collect::<Result<Vec<_>, _>>()?;
        let times: Vec<_> = letters.iter().map(|letter| nanoseconds(letter.at)).collect();
        // PostgreSQL has no text with a zero byte in it, and a letter that cannot be kept would hold up all others.
        let reasons: Vec<_> = letters.iter().map(|letter| letter.why.replace('\0', "\u{fffd}")).collect();
        let records: Vec<_> = letters.iter().map(|letter| letter.record.as_slice()).collect();
        let statement = query(self.keep.sql()).bind(journals).bind(shards).bind(seqs);
        let statement = statement.bind(times).bind(reasons).bind(records);
        statement.execute(connection).await.map(drop).map_err(undone)
    }

    /// Fails in a transaction in which a statement has failed: its `COMMIT` would undo it and say that all is well.
    pub(super) async fn check_transaction(&self, connection: &mut PgConnection) -> Result<(), StoreError> {
        raw_sql(AssertSqlSafe("SELECT 1")).execute(connection).await.map(drop).map_err(undone)
    }

    pub(super) async fn letters(
        &self,
        connection: &mut PgConnection,
        journal: JournalId,
        after: Option<(u16, Seq)>,
        most: usize,
    ) -> Result<Vec<DeadLetter>, StoreError> {
        let (shard, seq) = beginning(after)?;
        let statement = query_as(self.texts.letters.sql()).bind(journal.to_bytes().to_vec()).bind(shard);
        let statement = statement.bind(seq).bind(i64::try_from(most).unwrap_or(i64::MAX));
        let rows = statement.fetch_all(connection).await.map_err(store_error)?;
        rows.into_iter().map(|row| read_letter(journal, row)).collect()
    }

    pub(super) async fn discard(
        &self,
        connection: &mut PgConnection,
        shard: ShardId,
        seq: Seq,
    ) -> Result<bool, StoreError> {
        let (journal, number) = key(shard);
        let statement = query(self.texts.discard.sql()).bind(journal).bind(number).bind(signed(seq)?);
        Ok(statement.execute(connection).await.map_err(store_error)?.rows_affected() > 0)
    }

    pub(super) async fn forget(
        &self,
        connection: &mut PgConnection,
        shard: ShardId,
    ) -> Result<(), StoreError> {
        let (journal, number) = key(shard);
        let statement = query(self.texts.forget.sql()).bind(journal).bind(number);
        statement.execute(connection).await.map(drop).map_err(store_error)
    }
}
