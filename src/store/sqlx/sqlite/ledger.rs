//! The rows that say how far a store has come, in SQLite.

use std::time::Duration;

use ::sqlx::{SqliteConnection, query, query_as, query_scalar, raw_sql};

use crate::error::StoreError;
use crate::store::sqlx::error::{store_error, undone};
use crate::store::sqlx::ledger::{
    SQLITE_TABLES, Text, Texts, beginning, check_version, key, milliseconds, nanoseconds, owner_number,
    read_claim, read_letter, read_renewed, signed,
};
use crate::store::{Batch, Claim, DeadLetter, JournalId, Seq, ShardId};

const KEEP: &str = "\
INSERT INTO larder_dead_letter (journal, shard, seq, at, why, record) VALUES ($1, $2, $3, $4, $5, $6)
ON CONFLICT DO NOTHING";

/// The time in milliseconds since 1970, within a transaction as well.
const NOW: &str = "CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER)";

#[derive(Clone, Debug)]
pub(super) struct Ledger {
    texts: Texts,
    keep: Text,
}

impl Ledger {
    pub(super) fn new() -> Self {
        Self { texts: Texts::new("", "", NOW), keep: Text::new(KEEP) }
    }

    pub(super) async fn migrate(&self, connection: &mut SqliteConnection) -> Result<(), StoreError> {
        raw_sql(SQLITE_TABLES).execute(&mut *connection).await.map_err(store_error)?;
        let found: Option<i64> =
            query_scalar(self.texts.version.sql()).fetch_one(connection).await.map_err(store_error)?;
        check_version(found.unwrap_or_default())
    }

    pub(super) async fn claim(
        &self,
        connection: &mut SqliteConnection,
        shard: ShardId,
    ) -> Result<Claim, StoreError> {
        let (journal, number) = key(shard);
        let statement = query_as(self.texts.claim.sql()).bind(journal).bind(number);
        read_claim(statement.fetch_one(connection).await.map_err(store_error)?)
    }

    pub(super) async fn claim_for(
        &self,
        connection: &mut SqliteConnection,
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
        connection: &mut SqliteConnection,
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
        connection: &mut SqliteConnection,
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
        connection: &mut SqliteConnection,
        shard: ShardId,
    ) -> Result<Seq, StoreError> {
        let (journal, number) = key(shard);
        let statement = query_as(self.texts.standing.sql()).bind(journal).bind(number);
        let row = statement.fetch_optional(connection).await.map_err(store_error)?;
        Ok(row.map(read_claim).transpose()?.map_or(0, Claim::offset))
    }

    pub(super) async fn offset(
        &self,
        connection: &mut SqliteConnection,
        shard: ShardId,
    ) -> Result<Option<Claim>, StoreError> {
        let (journal, number) = key(shard);
        let statement = query_as(self.texts.offset.sql()).bind(journal).bind(number);
        statement.fetch_optional(connection).await.map_err(store_error)?.map(read_claim).transpose()
    }

    /// Whether the row is as the batch wants it; then it is moved on.
    pub(super) async fn advance<K, V>(
        &self,
        connection: &mut SqliteConnection,
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
        connection: &mut SqliteConnection,
        letters: &[DeadLetter],
    ) -> Result<(), StoreError> {
        for letter in letters {
            let (journal, number) = key(letter.shard);
            let statement = query(self.keep.sql()).bind(journal).bind(number).bind(signed(letter.seq)?);
            let statement = statement.bind(nanoseconds(letter.at)).bind(letter.why.as_str());
            statement.bind(letter.record.as_slice()).execute(&mut *connection).await.map_err(undone)?;
        }
        Ok(())
    }

    pub(super) async fn letters(
        &self,
        connection: &mut SqliteConnection,
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
        connection: &mut SqliteConnection,
        shard: ShardId,
        seq: Seq,
    ) -> Result<bool, StoreError> {
        let (journal, number) = key(shard);
        let statement = query(self.texts.discard.sql()).bind(journal).bind(number).bind(signed(seq)?);
        Ok(statement.execute(connection).await.map_err(store_error)?.rows_affected() > 0)
    }

    pub(super) async fn forget(
        &self,
        connection: &mut SqliteConnection,
        shard: ShardId,
    ) -> Result<(), StoreError> {
        let (journal, number) = key(shard);
        let statement = query(self.texts.forget.sql()).bind(journal).bind(number);
        statement.execute(connection).await.map(drop).map_err(store_error)
    }
}
