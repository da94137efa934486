//! Values that something is merged into: what waits, and what the store has without it.

use futures_util::future::join_all;

use super::WriteBehind;
use super::accepting::Entered;
use super::destination::Merges;
use super::letters::refused;
use super::shard::{Counting, Shard, Taken, dead};
use super::shared::Shared;
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
        let total = match &self.0.shared {
            Some(shared) => self.merge_shared(shared, merges, &change).await?,
            None => self.merge_here(merges, change).await?,
        };
        total.ok_or_else(|| StoreError::new("what was merged into is gone again").applied())
    }

    /// First the snapshot, then the merge's own place, and then what lies between the two, whatever has become of it
    /// meanwhile: so no two merges of one key are answered the same, and the answer of none waits for the store.
    async fn merge_here(&self, merges: &Merges<K, V>, change: Change<K, V>) -> Result<Option<V>, StoreError> {
        self.is_ready().await?;
        let key = change.key().clone();
        let shard = self.shard(&key);
        let counting = shard.count(&key);
        let (value, offset) = self.snapshot(merges, &key).await.map_err(StoreError::not_applied)?;
        let seq = match self.enter(change).await? {
            Entered::Arriving(appending) => appending.await.map_err(refused)?,
            Entered::Waits(Taken { so_far: Some(so_far), .. }) => {
                return Ok(merges.merging.fold(by_reference(&so_far), (value, offset)));
            }
            Entered::Waits(Taken { seq, so_far: None }) => seq,
            Entered::Stored => return Err(cannot_merge()),
        };
        if shard.is_dead(seq) {
            return Err(refused(dead()));
        }
        Ok(merges.after(value, counting.between(offset, seq)))
    }

    /// The values of `keys` with all that waits for them, where the journal is this process's own.
    ///
    /// The same way: whoever looks at what waits after the snapshot misses nothing that has been stored between the two.
    pub(super) async fn load_here(
        &self,
        merges: &Merges<K, V>,
        keys: &[K],
    ) -> Vec<Result<Option<V>, StoreError>> {
        let waiting = |key: &K| self.shard(key).read(key).map_err(StoreError::from).transpose();
        let mut answers: Vec<Option<_>> = keys.iter().map(waiting).collect();
        let by_shard = self.0.shards.iter().map(|shard| {
            let is_missing = |at: &usize| answers[*at].is_none() && self.shard(&keys[*at]).id == shard.id;
            (shard, (0..keys.len()).filter(is_missing).collect::<Vec<_>>())
        });
        let asked = by_shard.filter(|(_, places)| !places.is_empty()).map(|(shard, places)| async move {
            let wanted = places.iter().map(|at| &keys[*at]).collect();
            (Self::load_of(shard, merges, wanted).await, places)
        });
        for (loaded, places) in join_all(asked.collect::<Vec<_>>()).await {
            for (at, loaded) in places.into_iter().zip(loaded) {
                answers[at] = Some(loaded);
            }
        }
        answers.into_iter().flatten().collect()
    }

    /// The values of some keys of one shard.
    async fn load_of(
        shard: &Shard<K, V>,
        merges: &Merges<K, V>,
        keys: Vec<&K>,
    ) -> Vec<Result<Option<V>, StoreError>> {
        let counting: Vec<_> = keys.iter().map(|key| shard.count(key)).collect();
        let asked: Vec<K> = keys.into_iter().cloned().collect();
        let (values, offset) = match merges.store.snapshot(shard.id, &asked).await {
            Ok(snapshot) => snapshot,
            Err(error) => {
                let error = Error::store(error);
                return asked.iter().map(|_| Err(StoreError::from(error.clone()))).collect();
            }
        };
        if values.len() != asked.len() {
            // Whoever asked sees that it is wrong.
            return values.into_iter().map(Ok).collect();
        }
        let total = |(counting, value): (Counting<'_, K, V>, _)| {
            Ok(merges.after(value, counting.between(offset, Seq::MAX)))
        };
        counting.into_iter().zip(values).map(total).collect()
    }

    /// The merge's own place first, what waits then, and the snapshot last: nobody here remembers what an owner has stored. If
    /// that was this very merge, what came right after it is in the answer as well, and another may be answered the same.
    async fn merge_shared(
        &self,
        shared: &Shared<K, V>,
        merges: &Merges<K, V>,
        change: &Change<K, V>,
    ) -> Result<Option<V>, StoreError> {
        let seq = self.append(shared, change).await?;
        // It is accepted, whatever becomes of the answer.
        let waiting = self.waiting_for(shared, change.key()).await;
        let waiting =
            waiting.map_err(|error| StoreError::from(error.with_outcome(Outcome::Applied)).applied())?;
        // What came after it is not part of the answer.
        let before = waiting.into_iter().filter(|(other, _)| *other <= seq).collect();
        self.total(merges, change.key(), before).await.map_err(StoreError::applied)
    }

    /// The value of a key with all that waits for it in a stream.
    ///
    /// What waits has been looked up before: see [`Merging::fold`](crate::store::Merging::fold).
    pub(super) async fn total(
        &self,
        merges: &Merges<K, V>,
        key: &K,
        waiting: Numbered<K, V>,
    ) -> Result<Option<V>, StoreError> {
        if waiting.first().is_some_and(|(_, first)| first.replaces()) {
            // Whatever the store has, it is replaced.
            return Ok(merges.merging.fold(by_reference(&waiting), (None, 0)));
        }
        Ok(merges.merging.fold(by_reference(&waiting), self.snapshot(merges, key).await?))
    }

    /// What the store has for a key, and up to which number.
    async fn snapshot(&self, merges: &Merges<K, V>, key: &K) -> Result<(Option<V>, Seq), StoreError> {
        let (mut values, offset) =
            merges.store.snapshot(self.shard_id(key), std::slice::from_ref(key)).await?;
        Ok((values.pop().flatten(), offset))
    }

    fn shard_id(&self, key: &K) -> ShardId {
        self.shard(key).id
    }
}

impl<K, V: Value> Merges<K, V> {
    /// What `value` becomes by what has come since.
    fn after(&self, value: Option<V>, since: Option<Change<K, V>>) -> Option<V> {
        match since {
            Some(since) => self.merging.after(value.as_ref(), &since),
            None => value,
        }
    }
}

fn by_reference<K, V>(changes: &Numbered<K, V>) -> impl Iterator<Item = (Seq, &Change<K, V>)> {
    changes.iter().map(|(seq, change)| (*seq, change))
}

/// Write-behind was not told how to merge.
pub(crate) fn unmerged() -> Error {
    Error::new(
        ErrorKind::Unsupported,
        "this cache does not merge: build it with `write_behind(store).merge(Sum)`, or a `Merge` of your own",
    )
    .with_outcome(Outcome::NotApplied)
}
