//! Stores that look right and are not.

use std::mem::take;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use larder::store::{Batch, Claim, Committed, DeadLetter, JournalId, Seq, ShardId, TransactionalStore};
use larder::{Change, Loader, Saved, Store, StoreError};
use tokio::sync::Mutex;

use crate::job::Guards;
use crate::stores::{AnyStore, changes};

/// How often a batch is overtaken: every so many.
const OVERTAKEN: u64 = 5;

/// Moves the offset and does the effects in two transactions.
pub(crate) struct Unguarded {
    pub(crate) guards: Guards,
    pub(crate) effects: AnyStore,
    pub(crate) offsets: AnyStore,
    pub(crate) batches: AtomicU64,
    /// The effects of a batch that the next one overtakes.
    pub(crate) late: Mutex<Vec<Change<u64, u64>>>,
}

#[async_trait]
impl Loader<u64, u64> for Unguarded {
    async fn load(&self, key: &u64) -> Result<Option<u64>, StoreError> {
        self.effects.load(key).await
    }
}

#[async_trait]
impl Store<u64, u64> for Unguarded {
    async fn save(&self, key: &u64, value: &u64) -> Result<Saved<u64>, StoreError> {
        self.effects.save(key, value).await
    }

    async fn delete(&self, key: &u64) -> Result<(), StoreError> {
        self.effects.delete(key).await
    }
}

#[async_trait]
impl TransactionalStore<u64, u64> for Unguarded {
    fn keeps_every_write(&self) -> bool {
        true
    }

    async fn claim(&self, shard: ShardId) -> Result<Claim, StoreError> {
        self.offsets.claim(shard).await
    }

    async fn offset(&self, shard: ShardId) -> Result<Option<Claim>, StoreError> {
        self.offsets.offset(shard).await
    }

    async fn commit(&self, batch: &Batch<u64, u64>) -> Result<Committed, StoreError> {
        let changes = changes(batch.writes());
        if self.guards == Guards::OffsetAfter {
            self.effects.apply(&changes).await?;
            return self.offsets.commit(batch).await;
        }
        let committed = self.offsets.commit(batch).await?;
        if committed != Committed::Done {
            return Ok(committed);
        }
        let mut late = self.late.lock().await;
        if self.guards == Guards::Overtaken
            && self.batches.fetch_add(1, Ordering::Relaxed).is_multiple_of(OVERTAKEN)
        {
            late.extend(changes);
            return Ok(committed);
        }
        self.effects.apply(&changes).await?;
        self.effects.apply(&take(&mut *late)).await?;
        Ok(committed)
    }

    async fn letters(
        &self,
        journal: JournalId,
        after: Option<(u16, Seq)>,
        most: usize,
    ) -> Result<Vec<DeadLetter>, StoreError> {
        self.offsets.letters(journal, after, most).await
    }

    async fn discard(&self, shard: ShardId, seq: Seq) -> Result<bool, StoreError> {
        self.offsets.discard(shard, seq).await
    }

    async fn forget(&self, shard: ShardId) -> Result<(), StoreError> {
        self.offsets.forget(shard).await
    }
}
