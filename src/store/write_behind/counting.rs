//! Values that something is merged into: what waits, and what the store has without it.

use super::WriteBehind;
use super::accepting::Entered;
use super::destination::Merges;
use super::letters::refused;
use super::shard::dead;
use crate::bounds::{Key, Value};
use crate::error::{Error, ErrorKind, Outcome, Result, StoreError};
use crate::store::{Change, Seq, ShardId, cannot_merge};

/// Operations on one key, in their order, with their numbers.
pub(super) type Numbered<K, V> = Vec<(Seq, Change<K, V>)>;

impl<K: Key + Ord, V: Value> WriteBehind<K, V> {
    /// Has `operand` merged into the value of `key`; what that comes to.
    pub(crate) async fn merge(&self, key: &K, operand: V) -> Result<V, StoreError> {
        let Some(merges) = self.0.destination.merges() else { return Err(refused(unmerged())) };
        let change = Change::Merge(key.clone(), operand);
        let (seq, waiting) = self.append_to_merge(change).await?;
        // What came after it is not part of the answer: no two merges of one key are answered the same.
        let before = waiting.into_iter().filter(|(other, _)| *other <= seq).collect();
        // It is accepted, whatever becomes of the answer.
        let total = self.total(merges, key, before).await.map_err(StoreError::applied)?;
        total.ok_or_else(|| StoreError::new("what has been merged into is gone again"))
    }

    /// Has a merge wait: its number, and what waits for the key then.
    async fn append_to_merge(&self, change: Change<K, V>) -> Result<(Seq, Numbered<K, V>), StoreError> {
        let key = change.key().clone();
        if let Some(shared) = &self.0.shared {
            let seq = self.append(shared, &change).await?;
            let waiting = self.waiting_for(shared, &key).await.map_err(refused)?;
            return Ok((seq, waiting));
        }
        let shard = self.shard(&key);
        let seq = match self.enter(change).await? {
            Entered::Arriving(appending) => appending.await.map_err(refused)?,
            Entered::Waits(seq) => seq,
            Entered::Stored => return Err(cannot_merge()),
        };
        if shard.is_dead(seq) {
            return Err(refused(dead()));
        }
        Ok((seq, shard.waiting(&key)))
    }

    /// The value of a key with all that waits for it.
    ///
    /// What waits has been looked up before: see [`Merging::fold`](crate::store::Merging::fold).
    pub(super) async fn total(
        &self,
        merges: &Merges<K, V>,
        key: &K,
        waiting: Numbered<K, V>,
    ) -> Result<Option<V>, StoreError> {
        let changes = || waiting.iter().map(|(seq, change)| (*seq, change));
        if waiting.first().is_some_and(|(_, first)| first.replaces()) {
            // Whatever the store has, it is replaced.
            return Ok(merges.merging.fold(changes(), (None, 0)));
        }
        let (mut values, offset) =
            merges.store.snapshot(self.shard_id(key), std::slice::from_ref(key)).await?;
        Ok(merges.merging.fold(changes(), (values.pop().flatten(), offset)))
    }

    fn shard_id(&self, key: &K) -> ShardId {
        self.shard(key).id
    }
}

/// Write-behind was not told how to merge.
pub(crate) fn unmerged() -> Error {
    Error::new(
        ErrorKind::Unsupported,
        "this cache does not merge: build it with `write_behind(store).merge(Sum)`, or a `Merge` of your own",
    )
    .with_outcome(Outcome::NotApplied)
}
