//! Writes to one key take turns.
//!
//! Without turns, two writers can reach the store in one order and the copies in the other: `W1: store←1 · W2:
//! store←2 · W2: copy←2 · W1: copy←1` leaves the store at 2 and the cache at 1, and two `update`s both read 7 and both
//! write 8.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hash};
use std::sync::Arc;

use foldhash::quality::RandomState;
use tokio::sync::OwnedMutexGuard;

use crate::sync::Mutex;

/// One lock for each key that is being written, made when it is wanted and gone after its last user.
///
/// Locks are known by the key's hash: keys have no order in which several could be locked without deadlock, hashes
/// do. Two keys with one hash share a lock, which costs them time and nothing else.
pub(crate) struct KeyLocks {
    shards: Box<[Shard]>,
    hasher: RandomState,
}

type Shard = Mutex<HashMap<LockId, Arc<tokio::sync::Mutex<()>>, RandomState>>;

/// What a key's lock is known by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct LockId(u64);

const SHARDS: usize = 64;

impl KeyLocks {
    pub(crate) fn new() -> Self {
        let hasher = RandomState::default();
        let shard = || Mutex::new(HashMap::with_hasher(hasher.clone()));
        Self { shards: (0..SHARDS).map(|_| shard()).collect(), hasher }
    }

    /// The locks of `keys`, each once, in the one order in which everybody takes them.
    pub(crate) fn ids<K: Hash>(&self, keys: &[K]) -> Vec<LockId> {
        let mut ids: Vec<_> = keys.iter().map(|key| LockId(self.hasher.hash_one(key))).collect();
        ids.sort_unstable();
        ids.dedup();
        ids
    }

    /// Takes the locks, waiting for each in turn. Writers of one key get theirs in the order of their coming.
    pub(crate) async fn lock(self: &Arc<Self>, ids: &[LockId]) -> Vec<KeyLock> {
        let mut locks = Vec::with_capacity(ids.len());
        for id in ids {
            locks.push(self.lock_one(*id).await);
        }
        locks
    }

    async fn lock_one(self: &Arc<Self>, id: LockId) -> KeyLock {
        let mutex = Arc::clone(self.shard(id).lock().entry(id).or_default());
        // Made before the wait, so that a writer who stops waiting cleans up as well.
        let mut lock = KeyLock { locks: Arc::clone(self), id, mutex: Some(Arc::clone(&mutex)), guard: None };
        lock.guard = Some(mutex.lock_owned().await);
        lock
    }

    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        self.shards.iter().all(|shard| shard.lock().is_empty())
    }

    fn shard(&self, id: LockId) -> &Shard {
        &self.shards[(id.0 >> 32) as usize % SHARDS]
    }
}

/// A key's lock, held or waited for.
pub(crate) struct KeyLock {
    locks: Arc<KeyLocks>,
    id: LockId,
    mutex: Option<Arc<tokio::sync::Mutex<()>>>,
    guard: Option<OwnedMutexGuard<()>>,
}

impl Drop for KeyLock {
    fn drop(&mut self) {
        self.guard = None;
        let mut shard = self.locks.shard(self.id).lock();
        self.mutex = None;
        if shard.get(&self.id).is_some_and(|mutex| Arc::strong_count(mutex) == 1) {
            shard.remove(&self.id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_last_user_of_a_lock_takes_it_away() {
        let locks = Arc::new(KeyLocks::new());
        let ids = locks.ids(&[1, 2, 1]);
        assert_eq!(ids.len(), 2);
        let held = locks.lock(&ids).await;
        {
            let waiting = locks.lock(&ids);
            tokio::pin!(waiting);
            assert!(futures_util::poll!(waiting.as_mut()).is_pending());
        }
        drop(held);
        assert!(locks.is_empty());
    }
}
