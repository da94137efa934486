//! What readers see: what waits, or else what the store has.

use async_trait::async_trait;

use super::WriteBehind;
use crate::bounds::{Key, Value};
use crate::error::{Error, StoreError};
use crate::store::Loader;

#[async_trait]
impl<K: Key + Ord, V: Value> Loader<K, V> for WriteBehind<K, V> {
    /// What waits for `key`, or else what the store has.
    async fn load(&self, key: &K) -> Result<Option<V>, StoreError> {
        if let Some(shared) = &self.0.shared {
            let mut answers = self.load_shared(shared, std::slice::from_ref(key)).await;
            return answers.pop().unwrap_or_else(|| Err(StoreError::new("the store did not answer")));
        }
        self.is_ready().await?;
        if let Some(merges) = self.0.destination.merges() {
            let mut answers = self.load_here(merges, std::slice::from_ref(key)).await;
            return answers.pop().unwrap_or_else(|| Err(StoreError::new("the store did not answer")));
        }
        let shard = self.shard(key);
        if let Some(waiting) = shard.read(key)? {
            return Ok(waiting);
        }
        let stored = self.0.destination.load(key).await?;
        // A write that was accepted meanwhile is newer than what the store has said.
        Ok(shard.read(key)?.unwrap_or(stored))
    }

    async fn load_many(&self, keys: &[K]) -> Vec<Result<Option<V>, StoreError>> {
        if let Some(shared) = &self.0.shared {
            return self.load_shared(shared, keys).await;
        }
        if let Err(error) = self.is_ready().await {
            let error = Error::store(error);
            return keys.iter().map(|_| Err(StoreError::from(error.clone()))).collect();
        }
        if let Some(merges) = self.0.destination.merges() {
            return self.load_here(merges, keys).await;
        }
        let waiting = |key: &K| self.shard(key).read(key).map_err(StoreError::from).transpose();
        let mut answers: Vec<Option<_>> = keys.iter().map(waiting).collect();
        let missing: Vec<usize> = (0..keys.len()).filter(|at| answers[*at].is_none()).collect();
        if !missing.is_empty() {
            let wanted: Vec<K> = missing.iter().map(|at| keys[*at].clone()).collect();
            let stored = self.0.destination.load_many(&wanted).await;
            if stored.len() != wanted.len() {
                // Whoever asked sees that it is wrong.
                return stored;
            }
            for (at, stored) in missing.into_iter().zip(stored) {
                answers[at] = Some(waiting(&keys[at]).unwrap_or(stored));
            }
        }
        answers.into_iter().flatten().collect()
    }
}

impl<K: Key + Ord, V: Value> WriteBehind<K, V> {
    /// What is found in a log may be in the store already, and have been changed there since: it is not read before that
    /// is known.
    pub(super) async fn is_ready(&self) -> Result<(), StoreError> {
        if self.0.log.is_none() || self.0.shards[0].is_claimed() {
            return Ok(());
        }
        let shard = &self.0.shards[0];
        loop {
            let mut changed = std::pin::pin!(shard.room.notified());
            changed.as_mut().enable();
            if shard.is_claimed() {
                return Ok(());
            }
            shard.start()?;
            changed.await;
        }
    }
}
