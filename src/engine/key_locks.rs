//! Writes to one key take turns.
//!
//! Without turns, two writers can reach the store in one order and the copies in the other: `W1: store←1 · W2:
//! store←2 · W2: copy←2 · W1: copy←1` leaves the store at 2 and the cache at 1, and two `update`s both read 7 and both
//! write 8. Merges share their turns with one another: it does not matter which of them comes first.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hash};
use std::sync::Arc;

use foldhash::quality::RandomState;
use tokio::sync::{OwnedRwLockReadGuard, OwnedRwLockWriteGuard, RwLock};

use crate::sync::Mutex;

/// One lock for each key that is being written, made when it is wanted and gone after its last user.
///
/// Locks are known by the key's hash: keys have no order in which several could be locked without deadlock, hashes
/// do. Two keys with one hash share a lock, which costs them time and nothing else.
pub(crate) struct KeyLocks {
    shards: Box<[Shard]>,
    hasher: RandomState,
}

type Shard = Mutex<HashMap<LockId, Arc<RwLock<()>>, RandomState>>;

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
    pub(crate) async fn lock(self: &Arc<Self>, ids: &[LockId], right: Right) -> Vec<KeyLock> {
        let mut locks = Vec::with_capacity(ids.len());
        for id in ids {
            locks.push(self.lock_one(*id, right).await);
        }
        locks
    }

    async fn lock_one(self: &Arc<Self>, id: LockId, right: Right) -> KeyLock {
        let known = Arc::clone(self.shard(id).lock().entry(id).or_default());
        // Made before the wait, so that a writer who stops waiting cleans up as well.
        let mut lock = KeyLock { locks: Arc::clone(self), id, known: Some(Arc::clone(&known)), guard: None };
        lock.guard = Some(match right {
            Right::Sole => Guard::Sole(known.write_owned().await),
            Right::Shared => Guard::Shared(known.read_owned().await),
        });
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

/// Who else may write meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Right {
    /// Nobody.
    Sole,
    /// Others who share.
    Shared,
}

/// A key's lock, held or waited for.
pub(crate) struct KeyLock {
    locks: Arc<KeyLocks>,
    id: LockId,
    known: Option<Arc<RwLock<()>>>,
    guard: Option<Guard>,
}

/// Held for as long as it exists.
#[allow(dead_code, reason = "nobody looks into it")]
enum Guard {
    Sole(OwnedRwLockWriteGuard<()>),
    Shared(OwnedRwLockReadGuard<()>),
}

impl Drop for KeyLock {
    fn drop(&mut self) {
        self.guard = None;
        let mut shard = self.locks.shard(self.id).lock();
        self.known = None;
        if shard.get(&self.id).is_some_and(|known| Arc::strong_count(known) == 1) {
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
        let held = locks.lock(&ids, Right::Sole).await;
        {
            let waiting = locks.lock(&ids, Right::Sole);
            tokio::pin!(waiting);
            assert!(futures_util::poll!(waiting.as_mut()).is_pending());
        }
        drop(held);
        assert!(locks.is_empty());
    }

    #[tokio::test]
    async fn those_who_share_wait_for_nobody_but_a_sole_writer() {
        let locks = Arc::new(KeyLocks::new());
        let ids = locks.ids(&[1]);
        let (one, other) = (locks.lock(&ids, Right::Shared).await, locks.lock(&ids, Right::Shared).await);
        {
            let sole = locks.lock(&ids, Right::Sole);
            tokio::pin!(sole);
            assert!(futures_util::poll!(sole.as_mut()).is_pending());
            drop((one, other));
            assert!(futures_util::poll!(sole.as_mut()).is_ready());
        }
        assert!(locks.is_empty());
    }
}
