//! Where pending writes go, and what can be said of a store afterwards.

use std::sync::Arc;
use std::time::Duration;

use super::coalesce::coalesce;
use super::pending::{What, Work};
use crate::bounds::{Key, Value};
use crate::error::StoreError;
use crate::store::{
    Batch, Change, Claim, Committed, DeadLetter, IdempotentStore, JournalId, MergeStore, Merging,
    PendingWrite, Seq, ShardId, Store, TransactionalStore,
};

/// A store, and how it is told of writes so that none has its effect more often than it may.
pub(super) enum Destination<K, V> {
    /// A write whose outcome is not known is sent again.
    AtLeastOnce(Arc<dyn Store<K, V>>),
    /// The same, and the store knows it again.
    OnceById(Arc<dyn IdempotentStore<K, V>>),
    /// The store has the offset, and may be able to merge.
    ExactlyOnce(Arc<dyn TransactionalStore<K, V>>, Option<Merges<K, V>>),
}

/// A store that can merge, and how.
pub(super) struct Merges<K, V> {
    pub(super) store: Arc<dyn MergeStore<K, V>>,
    pub(super) merging: Merging<V>,
}

/// What became of work that a store was given.
pub(super) enum Given {
    /// It has it.
    Taken,
    /// The shard is not where it should be, or somebody else's.
    Refused,
    /// It failed.
    Failed(StoreError),
}

impl<K: Key + Ord, V: Value> Destination<K, V> {
    /// Whether the store keeps an offset, which says what has become of a batch.
    pub(super) const fn keeps_offsets(&self) -> bool {
        matches!(self, Self::ExactlyOnce(..))
    }

    /// Whether a write may have its effect once more, after newer ones.
    pub(super) const fn may_write_again(&self) -> bool {
        matches!(self, Self::AtLeastOnce(_))
    }

    /// Whether of several writes of one key every one counts.
    pub(super) fn keeps_every_write(&self) -> bool {
        match self {
            Self::AtLeastOnce(_) => false,
            Self::OnceById(_) => true,
            Self::ExactlyOnce(store, _) => store.keeps_every_write(),
        }
    }

    /// The store that can merge, and how.
    pub(super) const fn merges(&self) -> Option<&Merges<K, V>> {
        match self {
            Self::ExactlyOnce(_, merges) => merges.as_ref(),
            _ => None,
        }
    }

    /// Gives the store all operations of `work` that can be read; `letters` are those that it is not to have.
    pub(super) async fn give(
        &self,
        shard: ShardId,
        epoch: u64,
        work: Work<K, V>,
        letters: Vec<DeadLetter>,
    ) -> Given {
        let Work { after, upto, operations, following, .. } = work;
        let readable = operations.into_iter().filter_map(|(seq, what)| match what {
            What::Change(change) if !following.contains(&seq) => Some((seq, change)),
            _ => None,
        });
        let answer = match self {
            Self::AtLeastOnce(store) => {
                let changes = coalesce(readable.map(|(_, change)| change).collect(), None);
                if changes.is_empty() { Ok(()) } else { store.apply(&changes).await }
            }
            Self::OnceById(store) => {
                let writes: Vec<_> =
                    readable.map(|(seq, change)| PendingWrite::new(shard, seq, change)).collect();
                if writes.is_empty() { Ok(()) } else { store.apply_once(&writes).await }
            }
            Self::ExactlyOnce(store, _) => {
                let writes: Vec<_> =
                    readable.map(|(seq, change)| PendingWrite::new(shard, seq, change)).collect();
                let merging = self.merges().map(|merges| merges.merging.clone());
                let all = writes.iter().map(|write| write.change().clone()).collect();
                let changes = coalesce(all, merging.as_ref());
                let batch = Batch { shard, epoch, after, upto, writes, changes, letters, merging };
                match store.commit(&batch).await {
                    Ok(Committed::Done) => Ok(()),
                    Ok(Committed::Refused) => return Given::Refused,
                    Err(error) => Err(error),
                }
            }
        };
        answer.map_or_else(Given::Failed, |()| Given::Taken)
    }

    /// Becomes the owner of `shard`; `None` of a store that has no owners.
    pub(super) async fn claim(&self, shard: ShardId) -> Result<Option<Claim>, StoreError> {
        match self {
            Self::ExactlyOnce(store, _) => store.claim(shard).await.map(Some),
            _ => Ok(None),
        }
    }

    /// Becomes the owner of `shard` for so long, unless another process is.
    pub(super) async fn claim_for(
        &self,
        shard: ShardId,
        owner: u64,
        lease: Duration,
    ) -> Result<Option<Claim>, StoreError> {
        match self {
            Self::ExactlyOnce(store, _) => store.claim_for(shard, owner, lease).await,
            _ => Ok(None),
        }
    }

    /// Goes on owning shards of `journal`: which ones, and in which epochs.
    pub(super) async fn renew(
        &self,
        journal: JournalId,
        owner: u64,
        lease: Duration,
    ) -> Result<Vec<(u16, u64)>, StoreError> {
        match self {
            Self::ExactlyOnce(store, _) => store.renew(journal, owner, lease).await,
            _ => Ok(Vec::new()),
        }
    }

    /// Leaves `shard` to whoever comes next.
    pub(super) async fn release(&self, shard: ShardId, epoch: u64) -> Result<(), StoreError> {
        match self {
            Self::ExactlyOnce(store, _) => store.release(shard, epoch).await,
            _ => Ok(()),
        }
    }

    /// Who owns `shard` and how far it is, when nothing that was begun before can change it any more.
    pub(super) async fn offset(&self, shard: ShardId) -> Result<Option<Claim>, StoreError> {
        match self {
            Self::ExactlyOnce(store, _) => store.offset(shard).await,
            _ => Ok(None),
        }
    }

    pub(super) async fn forget(&self, shard: ShardId) -> Result<(), StoreError> {
        match self {
            Self::ExactlyOnce(store, _) => store.forget(shard).await,
            _ => Ok(()),
        }
    }

    /// Dead letters that the store keeps; `None` if it keeps none.
    pub(super) async fn letters(
        &self,
        journal: JournalId,
        after: Option<(u16, Seq)>,
        most: usize,
    ) -> Option<Result<Vec<DeadLetter>, StoreError>> {
        match self {
            Self::ExactlyOnce(store, _) => Some(store.letters(journal, after, most).await),
            _ => None,
        }
    }

    /// Removes one of them.
    pub(super) async fn discard(&self, shard: ShardId, seq: Seq) -> Option<Result<bool, StoreError>> {
        match self {
            Self::ExactlyOnce(store, _) => Some(store.discard(shard, seq).await),
            _ => None,
        }
    }

    /// Writes a change past the journal.
    pub(super) async fn write_now(&self, change: &Change<K, V>) -> Result<(), StoreError> {
        let apply = std::slice::from_ref(change);
        match self {
            Self::AtLeastOnce(store) => store.apply(apply).await,
            Self::OnceById(store) => store.apply(apply).await,
            Self::ExactlyOnce(store, _) => store.apply(apply).await,
        }
    }

    pub(super) async fn load(&self, key: &K) -> Result<Option<V>, StoreError> {
        match self {
            Self::AtLeastOnce(store) => store.load(key).await,
            Self::OnceById(store) => store.load(key).await,
            Self::ExactlyOnce(store, _) => store.load(key).await,
        }
    }

    pub(super) async fn load_many(&self, keys: &[K]) -> Vec<Result<Option<V>, StoreError>> {
        match self {
            Self::AtLeastOnce(store) => store.load_many(keys).await,
            Self::OnceById(store) => store.load_many(keys).await,
            Self::ExactlyOnce(store, _) => store.load_many(keys).await,
        }
    }
}
