//! Numbers that are given once, whatever happens.

use std::ops::Range;

use anyhow::{Context, Result};
use sqlx::SqlitePool;
use tokio::sync::Mutex;

/// Counts in the database, and gives from blocks that it has reserved there: one commit for a block, and not for each
/// number. A process that dies leaves a gap of what it has not given; no number is given twice.
pub(crate) struct Counter {
    name: &'static str,
    block: u64,
    pool: SqlitePool,
    reserved: Mutex<Range<u64>>,
}

impl Counter {
    pub(crate) fn new(name: &'static str, block: u64, pool: SqlitePool) -> Self {
        Self { name, block, pool, reserved: Mutex::new(0..0) }
    }

    pub(crate) async fn next(&self) -> Result<u64> {
        let mut reserved = self.reserved.lock().await;
        if reserved.is_empty() {
            *reserved = self.reserve(self.block).await?;
        }
        reserved.next().context("a block of no numbers was reserved")
    }

    /// `count` numbers that nobody else is given.
    pub(crate) async fn reserve(&self, count: u64) -> Result<Range<u64>> {
        let end = self.advance(count).await.with_context(|| format!("cannot number {}", self.name))?;
        let end = u64::try_from(end).context("a counter is below zero")?;
        Ok(end - count..end)
    }

    async fn advance(&self, count: u64) -> sqlx::Result<i64> {
        let mut counting = self.pool.begin_with("BEGIN IMMEDIATE").await?;
        let end = sqlx::query_scalar("UPDATE counters SET next = next + ? WHERE name = ? RETURNING next")
            .bind(i64::try_from(count).unwrap_or(i64::MAX))
            .bind(self.name)
            .fetch_one(&mut *counting)
            .await?;
        counting.commit().await?;
        Ok(end)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::schema;

    #[tokio::test]
    async fn no_number_is_given_twice_not_even_by_the_next_process() {
        let folder = tempfile::tempdir().unwrap();
        let pool = schema::open(folder.path()).await.unwrap();
        let mut given = HashSet::new();
        for _process in 0..3 {
            let counter = Counter::new("links", 10, pool.clone());
            for _ in 0..25 {
                assert!(given.insert(counter.next().await.unwrap()));
            }
        }
        assert_eq!(given.iter().min(), Some(&crate::link_id::FIRST.0));
    }
}
