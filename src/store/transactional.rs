//! Stores that can say what they have: the effects of pending writes and the number of the last of them in one
//! transaction.

use std::time::Duration;

use async_trait::async_trait;

use super::{Merging, Store};
use crate::bounds::{Key, Value};
use crate::change::{Change, DeadLetter, JournalId, PendingWrite, Seq, ShardId};
use crate::error::StoreError;

/// Who owns a shard, and how far its writes have come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Claim {
    epoch: u64,
    offset: Seq,
}

impl Claim {
    /// The `epoch`-th owner, whose store has all up to `offset`.
    #[must_use]
    pub const fn new(epoch: u64, offset: Seq) -> Self {
        Self { epoch, offset }
    }

    /// How often the shard has been claimed: its owner is who claimed it last.
    #[must_use]
    pub const fn epoch(self) -> u64 {
        self.epoch
    }

    /// The number of the last write that is settled: in the store, or put aside. 0 before the first.
    #[must_use]
    pub const fn offset(self) -> Seq {
        self.offset
    }
}

/// What a store is to do in one transaction: move a shard on from one offset to another, with all that this implies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch<K, V> {
    pub(crate) shard: ShardId,
    pub(crate) epoch: u64,
    pub(crate) after: Seq,
    pub(crate) upto: Seq,
    pub(crate) writes: Vec<PendingWrite<K, V>>,
    pub(crate) changes: Vec<Change<K, V>>,
    pub(crate) letters: Vec<DeadLetter>,
    pub(crate) merging: Option<Merging<V>>,
}

impl<K, V> Batch<K, V> {
    /// The shard.
    pub const fn shard(&self) -> ShardId {
        self.shard
    }

    /// The epoch that the shard must have: if it has another one, somebody else owns it.
    pub const fn epoch(&self) -> u64 {
        self.epoch
    }

    /// The offset that the shard must have.
    pub const fn after(&self) -> Seq {
        self.after
    }

    /// The offset that it is to have afterwards.
    pub const fn upto(&self) -> Seq {
        self.upto
    }

    /// What all the writes come to: one change for each key, sorted by key. For stores whose rows replace one another.
    pub fn changes(&self) -> &[Change<K, V>] {
        &self.changes
    }

    /// The writes one by one, in the order of their acceptance. For stores in which each leaves a trace, such as a
    /// history; [`keeps_every_write`](TransactionalStore::keeps_every_write) must say so.
    pub fn writes(&self) -> &[PendingWrite<K, V>] {
        &self.writes
    }

    /// The value of a key once `change`, one of this batch, has been made of it; `value` is what it had before.
    ///
    /// For those that [merge](Change::Merge): they are made of the value that the key has in the transaction.
    ///
    /// # Errors
    ///
    /// Write-behind was built without [`merge`](super::WriteBehindBuilder::merge), and this is a merge: of another process, or
    /// of a version of this one that knew how. It waits until one of those comes.
    pub fn value_after(&self, value: Option<&V>, change: &Change<K, V>) -> Result<Option<V>, StoreError>
    where
        V: Value,
    {
        match (&self.merging, change) {
            (Some(merging), change) => Ok(merging.after(value, change)),
            (None, Change::Put(_, value)) => Ok(Some(value.clone())),
            (None, Change::Delete(_)) => Ok(None),
            (None, Change::Merge(..)) => Err(super::cannot_merge().transient()),
        }
    }

    /// Writes that are put aside, because the store will never take them. They are in neither of the others.
    pub fn letters(&self) -> &[DeadLetter] {
        &self.letters
    }
}

/// What became of a [`Batch`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Committed {
    /// All of it is done.
    Done,
    /// The shard has not the epoch or not the offset that it must have: nothing is done.
    Refused,
}

/// A store that can move an offset in the transaction of a batch's effects: every pending write has its effect exactly
/// once, whatever dies when. Used by [`exactly_once`](super::WriteBehindBuilder::exactly_once).
///
/// It keeps a row for each shard: its epoch and its offset.
///
/// - A claim raises the epoch, so that a batch of an earlier owner, which may still be under way, is refused.
/// - A batch is done only if the row has the epoch *and* the offset that it expects; the transaction that has its effects
///   moves the offset.
/// - Whoever has not heard what became of a batch reads the row: the offset says it.
///
/// With Redis-like `INCR`s, a message queue or two databases there is no such transaction: see [`IdempotentStore`].
#[async_trait]
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot write exactly once: it is no `TransactionalStore<{K}, {V}>`",
    label = "not a transactional store for these keys and values",
    note = "implement `TransactionalStore<{K}, {V}>`, use a ready-made one of `larder::sqlx`, or leave `exactly_once` out: \
            puts and deletes are then written at least once"
)]
pub trait TransactionalStore<K: Key, V: Value>: Store<K, V> {
    /// Whether every single write leaves a trace in the store, so that of several writes of one key not only the last
    /// one counts. Unless overridden: no.
    fn keeps_every_write(&self) -> bool {
        false
    }

    /// Makes the caller the owner of `shard`: raises its epoch by one and answers with that and the offset. A shard that
    /// is not known begins with epoch 1 and offset 0.
    async fn claim(&self, shard: ShardId) -> Result<Claim, StoreError>;

    /// The same for `owner`, one of several processes, and for so long: `None` where the lease of another one has not run out.
    /// By the store's clock, which decides nothing but how soon a shard of a dead process is taken over: whoever comes too
    /// late is refused by the epoch.
    ///
    /// Asked for by a journal that processes share. Unless overridden: an error.
    async fn claim_for(
        &self,
        _shard: ShardId,
        _owner: u64,
        _lease: Duration,
    ) -> Result<Option<Claim>, StoreError> {
        Err(lends_no_shards())
    }

    /// Prolongs all leases of `owner` on shards of `journal`, to so long from now on: the numbers of these shards, with their
    /// epochs.
    async fn renew(
        &self,
        _journal: JournalId,
        _owner: u64,
        _lease: Duration,
    ) -> Result<Vec<(u16, u64)>, StoreError> {
        Err(lends_no_shards())
    }

    /// Ends the lease on `shard`, if it is still in this epoch: another may claim it at once.
    async fn release(&self, _shard: ShardId, _epoch: u64) -> Result<(), StoreError> {
        Err(lends_no_shards())
    }

    /// The row of `shard`, once no commit that was asked for before this call can change it any more: in SQL, with the row
    /// locked. A commit whose future was dropped must not begin later. `None` if there is no row.
    async fn offset(&self, shard: ShardId) -> Result<Option<Claim>, StoreError>;

    /// In one transaction: checks that the row of the batch's shard has its epoch and the offset that it comes
    /// [after](Batch::after), moves the offset [up to](Batch::upto) its last write, applies its
    /// [changes](Batch::changes), or its [writes](Batch::writes) one by one, and keeps its [letters](Batch::letters).
    ///
    /// An error that says [`not_applied`](StoreError::not_applied) says so of the whole transaction. One that says
    /// neither that nor the opposite is looked into with [`offset`](Self::offset).
    async fn commit(&self, batch: &Batch<K, V>) -> Result<Committed, StoreError>;

    /// The dead letters of `journal`, the oldest first, at most `most` of them, those after `after` only.
    async fn letters(
        &self,
        journal: JournalId,
        after: Option<(u16, Seq)>,
        most: usize,
    ) -> Result<Vec<DeadLetter>, StoreError>;

    /// Removes a dead letter; whether there was one.
    async fn discard(&self, shard: ShardId, seq: Seq) -> Result<bool, StoreError>;

    /// Forgets the row of `shard`: its journal is gone for good.
    async fn forget(&self, shard: ShardId) -> Result<(), StoreError>;
}

/// A store that can merge: it makes [`Change::Merge`] of a batch's changes in the transaction, and says in one breath what a
/// key has and how far the shard has come. Used by [`merge`](super::WriteBehindBuilder::merge).
///
/// Of the operands that wait those are added to a value that is read which the store does not have yet: value and offset must
/// be of one moment, or one would be counted twice, or not at all.
#[async_trait]
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot merge: it is no `MergeStore<{K}, {V}>`",
    label = "not a store that merges these keys and values",
    note = "implement `MergeStore<{K}, {V}>`, or use a ready-made store of `larder::sqlx`; an exact counter needs a store that \
            has value and offset in one transaction"
)]
pub trait MergeStore<K: Key, V: Value>: TransactionalStore<K, V> {
    /// What `keys` have, one place for each, and the offset of `shard`, all in one snapshot; 0 where there is no row of it.
    async fn snapshot(&self, shard: ShardId, keys: &[K]) -> Result<(Vec<Option<V>>, Seq), StoreError>;
}

/// An `Arc` of a store that merges is one.
#[async_trait]
impl<K: Key, V: Value, S: MergeStore<K, V> + ?Sized> MergeStore<K, V> for std::sync::Arc<S> {
    async fn snapshot(&self, shard: ShardId, keys: &[K]) -> Result<(Vec<Option<V>>, Seq), StoreError> {
        (**self).snapshot(shard, keys).await
    }
}

fn lends_no_shards() -> StoreError {
    StoreError::new(
        "this store lends no shards, and a journal that processes share asks for it: override `claim_for`, `renew` and \
         `release` of `TransactionalStore`",
    )
    .not_applied()
    .permanent()
}

/// A store that passes over a write that it has seen: each has its effect once, however often it is sent. Used by
/// [`once_by_id`](super::WriteBehindBuilder::once_by_id).
#[async_trait]
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot tell a write that it has seen: it is no `IdempotentStore<{K}, {V}>`",
    label = "not an idempotent store for these keys and values",
    note = "implement `IdempotentStore<{K}, {V}>`, or leave `once_by_id` out: puts and deletes are then written at least once"
)]
pub trait IdempotentStore<K: Key, V: Value>: Store<K, V> {
    /// Applies `writes` in their order, and none of those that it has applied before: shard and number of a write are
    /// its id, and larder sends the same id with the same change only.
    ///
    /// It may apply some and fail: all of them are then sent again, or smaller parts of them.
    async fn apply_once(&self, writes: &[PendingWrite<K, V>]) -> Result<(), StoreError>;
}

/// An `Arc` of a transactional store is one.
#[async_trait]
impl<K: Key, V: Value, S: TransactionalStore<K, V> + ?Sized> TransactionalStore<K, V> for std::sync::Arc<S> {
    fn keeps_every_write(&self) -> bool {
        (**self).keeps_every_write()
    }

    async fn claim(&self, shard: ShardId) -> Result<Claim, StoreError> {
        (**self).claim(shard).await
    }

    async fn claim_for(
        &self,
        shard: ShardId,
        owner: u64,
        lease: Duration,
    ) -> Result<Option<Claim>, StoreError> {
        (**self).claim_for(shard, owner, lease).await
    }

    async fn renew(
        &self,
        journal: JournalId,
        owner: u64,
        lease: Duration,
    ) -> Result<Vec<(u16, u64)>, StoreError> {
        (**self).renew(journal, owner, lease).await
    }

    async fn release(&self, shard: ShardId, epoch: u64) -> Result<(), StoreError> {
        (**self).release(shard, epoch).await
    }

    async fn offset(&self, shard: ShardId) -> Result<Option<Claim>, StoreError> {
        (**self).offset(shard).await
    }

    async fn commit(&self, batch: &Batch<K, V>) -> Result<Committed, StoreError> {
        (**self).commit(batch).await
    }

    async fn letters(
        &self,
        journal: JournalId,
        after: Option<(u16, Seq)>,
        most: usize,
    ) -> Result<Vec<DeadLetter>, StoreError> {
        (**self).letters(journal, after, most).await
    }

    async fn discard(&self, shard: ShardId, seq: Seq) -> Result<bool, StoreError> {
        (**self).discard(shard, seq).await
    }

    async fn forget(&self, shard: ShardId) -> Result<(), StoreError> {
        (**self).forget(shard).await
    }
}

#[async_trait]
impl<K: Key, V: Value, S: IdempotentStore<K, V> + ?Sized> IdempotentStore<K, V> for std::sync::Arc<S> {
    async fn apply_once(&self, writes: &[PendingWrite<K, V>]) -> Result<(), StoreError> {
        (**self).apply_once(writes).await
    }
}
