//! A store in memory that counts, waits and fails on command.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::fmt;
use std::hash::Hash;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::Instant;

use super::Gate;
use crate::bounds::{Key, Value};
use crate::error::StoreError;
use crate::store::{
    Batch, Change, Claim, Committed, DeadLetter, IdempotentStore, JournalId, Loader, MergeStore,
    PendingWrite, Saved, Seq, ShardId, Store, TransactionalStore, cannot_merge,
};

/// A call of a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Call {
    /// [`Loader::load`].
    Load,
    /// [`Store::save`].
    Save,
    /// [`Store::delete`].
    Delete,
    /// [`IdempotentStore::apply_once`].
    Apply,
    /// [`TransactionalStore::claim`].
    Claim,
    /// [`TransactionalStore::offset`].
    Offset,
    /// [`TransactionalStore::commit`].
    Commit,
}

/// How a call goes wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Trouble {
    /// It fails, and says that nothing was written.
    NotApplied,
    /// The same, and it says that it may pass.
    Transient,
    /// The same, and it says that it will not pass.
    Permanent,
    /// It fails after the write, and says so.
    Applied,
    /// It fails without a word on the outcome; nothing was written.
    Unknown,
    /// It fails without a word on the outcome, and the write comes true after this time all the same: what is then still
    /// allowed of it. A commit of which the offset or the epoch has been moved meanwhile does nothing.
    LandsLater(Duration),
    /// It never answers.
    Hang,
    /// It panics.
    Panic,
}

/// A store in memory: what a test knows it contains, how often it was asked, and when it fails. Clones are handles of
/// the same store.
///
/// It is a [`TransactionalStore`] and an [`IdempotentStore`] as well, for tests of write-behind.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> larder::Result<()> {
/// use larder::{Memory, testing::{Call, FakeStore, Trouble}};
/// use std::time::Duration;
///
/// let store = FakeStore::with([(1, "one")]);
/// let cache = larder::cache_aside(store.clone())
///     .tier(Memory::with_capacity(10))
///     .ttl(Duration::from_secs(60))
///     .build()?;
///
/// store.next(Call::Load, Trouble::Unknown);
/// assert!(cache.get(&1).await.is_err());
/// assert_eq!(cache.get(&1).await?, Some("one"));
/// assert_eq!(store.loads(), 2);
/// # Ok(())
/// # }
/// ```
pub struct FakeStore<K, V>(Arc<Shared<K, V>>);

struct Shared<K, V> {
    state: Mutex<State<K, V>>,
    /// How many writes have failed and are still to come true.
    to_land: watch::Sender<usize>,
}

struct State<K, V> {
    rows: HashMap<K, V>,
    calls: HashMap<Call, Plan>,
    shards: HashMap<ShardId, Claim>,
    /// Who has a lease on a shard, and until when.
    leases: HashMap<ShardId, (u64, Instant)>,
    letters: BTreeMap<(ShardId, Seq), DeadLetter>,
    seen: HashSet<(ShardId, Seq)>,
    history: Vec<Change<K, V>>,
    keeps_every_write: bool,
    poison: Option<Poison<K, V>>,
}

type Poison<K, V> = Arc<dyn Fn(&Change<K, V>) -> bool + Send + Sync>;

/// What is in store for one kind of call.
#[derive(Default)]
struct Plan {
    count: u64,
    delay: Duration,
    next: VecDeque<Trouble>,
    always: Option<Trouble>,
    before: Option<Gate>,
    after: Option<Gate>,
}

impl<K: Key, V: Value> FakeStore<K, V> {
    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::with([])
    }

    /// A store with these rows.
    #[must_use]
    pub fn with(rows: impl IntoIterator<Item = (K, V)>) -> Self {
        Self::of(State {
            rows: rows.into_iter().collect(),
            calls: HashMap::new(),
            shards: HashMap::new(),
            leases: HashMap::new(),
            letters: BTreeMap::new(),
            seen: HashSet::new(),
            history: Vec::new(),
            keeps_every_write: false,
            poison: None,
        })
    }

    /// The same store, which wants every single write of write-behind: see
    /// [`keeps_every_write`](TransactionalStore::keeps_every_write).
    #[must_use]
    pub fn keeping_every_write(self) -> Self {
        self.0.state.lock().keeps_every_write = true;
        self
    }

    /// Another store with what this one contains now: a backup. It has no orders of what goes wrong.
    #[must_use]
    pub fn backup(&self) -> Self {
        let state = self.0.state.lock();
        Self::of(State {
            rows: state.rows.clone(),
            calls: HashMap::new(),
            shards: state.shards.clone(),
            leases: state.leases.clone(),
            letters: state.letters.clone(),
            seen: state.seen.clone(),
            history: state.history.clone(),
            keeps_every_write: state.keeps_every_write,
            poison: None,
        })
    }

    /// The row of `key` as it is, uncounted.
    #[must_use]
    pub fn row(&self, key: &K) -> Option<V> {
        self.0.state.lock().rows.get(key).cloned()
    }

    /// Writes a row behind the cache's back.
    pub fn set_row(&self, key: K, value: V) {
        self.0.state.lock().rows.insert(key, value);
    }

    /// Removes a row behind the cache's back.
    pub fn remove_row(&self, key: &K) {
        self.0.state.lock().rows.remove(key);
    }

    /// How often `call` was made.
    #[must_use]
    pub fn count(&self, call: Call) -> u64 {
        self.0.state.lock().calls.get(&call).map_or(0, |plan| plan.count)
    }

    /// How many keys were asked for.
    #[must_use]
    pub fn loads(&self) -> u64 {
        self.count(Call::Load)
    }

    /// How many values were saved, failures included.
    #[must_use]
    pub fn saves(&self) -> u64 {
        self.count(Call::Save)
    }

    /// All changes that have had an effect, in their order; not those behind the cache's back.
    #[must_use]
    pub fn history(&self) -> Vec<Change<K, V>> {
        self.0.state.lock().history.clone()
    }

    /// Who owns `shard`, and how far it is, uncounted.
    #[must_use]
    pub fn shard(&self, shard: ShardId) -> Option<Claim> {
        self.0.state.lock().shards.get(&shard).copied()
    }

    /// From now on the store will never take a change of which this is true, nor anything that comes in one call with it.
    pub fn poison(&self, is_poison: impl Fn(&Change<K, V>) -> bool + Send + Sync + 'static) {
        self.0.state.lock().poison = Some(Arc::new(is_poison));
    }

    /// Every `call` takes this long.
    pub fn delay(&self, call: Call, delay: Duration) {
        self.plan(call, |plan| plan.delay = delay);
    }

    /// The next `call` goes wrong; called again, the one after it too.
    pub fn next(&self, call: Call, trouble: Trouble) {
        self.plan(call, |plan| plan.next.push_back(trouble));
    }

    /// Every `call` goes wrong, or none any more.
    pub fn always(&self, call: Call, trouble: Option<Trouble>) {
        self.plan(call, |plan| plan.always = trouble);
    }

    /// Stops every `call` before it reads or writes.
    #[must_use]
    pub fn gate_before(&self, call: Call) -> Gate {
        let gate = Gate::closed();
        self.plan(call, |plan| plan.before = Some(gate.clone()));
        gate
    }

    /// Stops every `call` after it has read or written, before it answers.
    #[must_use]
    pub fn gate_after(&self, call: Call) -> Gate {
        let gate = Gate::closed();
        self.plan(call, |plan| plan.after = Some(gate.clone()));
        gate
    }

    fn of(state: State<K, V>) -> Self {
        Self(Arc::new(Shared { state: Mutex::new(state), to_land: watch::Sender::new(0) }))
    }

    fn plan<A>(&self, call: Call, change: impl FnOnce(&mut Plan) -> A) -> A {
        change(self.0.state.lock().calls.entry(call).or_default())
    }

    /// One call: counts it, waits as told, does it unless told otherwise, waits again, answers.
    async fn call<A>(
        &self,
        call: Call,
        act: impl FnOnce(&mut State<K, V>) -> Result<A, StoreError> + Send + 'static,
    ) -> Result<A, StoreError>
    where
        A: Send,
    {
        let (delay, trouble, before, after) = self.plan(call, |plan| {
            plan.count += 1;
            let trouble = plan.next.pop_front().or_else(|| plan.always.clone());
            (plan.delay, trouble, plan.before.clone(), plan.after.clone())
        });
        if let Some(gate) = before {
            gate.pass().await;
        }
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        let answer = match trouble {
            None => act(&mut self.0.state.lock()),
            Some(trouble) => Err(self.go_wrong(trouble, act).await),
        };
        if let Some(gate) = after {
            gate.pass().await;
        }
        answer
    }

    async fn go_wrong<A>(
        &self,
        trouble: Trouble,
        act: impl FnOnce(&mut State<K, V>) -> Result<A, StoreError> + Send + 'static,
    ) -> StoreError {
        let error = StoreError::from(io::Error::other("the fake store was told to fail"));
        match trouble {
            Trouble::NotApplied => error.not_applied(),
            Trouble::Transient => error.not_applied().transient(),
            Trouble::Permanent => error.not_applied().permanent(),
            Trouble::Applied => match act(&mut self.0.state.lock()) {
                Ok(_) => error.applied(),
                Err(refused) => refused,
            },
            Trouble::Unknown => error,
            Trouble::LandsLater(after) => {
                let store = Arc::clone(&self.0);
                store.to_land.send_modify(|writes| *writes += 1);
                tokio::spawn(async move {
                    tokio::time::sleep(after).await;
                    // Whoever made the call has been told that it failed.
                    _ = act(&mut store.state.lock());
                    store.to_land.send_modify(|writes| *writes -= 1);
                });
                error
            }
            Trouble::Hang => std::future::pending().await,
            Trouble::Panic => panic!("the fake store was told to panic"),
        }
    }
}

impl<K: Key, V: Value> State<K, V> {
    fn check(&self, change: &Change<K, V>) -> Result<(), StoreError> {
        match &self.poison {
            Some(is_poison) if is_poison(change) => Err(StoreError::new("poison").not_applied().permanent()),
            _ => Ok(()),
        }
    }

    fn apply(&mut self, change: &Change<K, V>) {
        match change {
            Change::Put(key, value) => _ = self.rows.insert(key.clone(), value.clone()),
            Change::Delete(key) => _ = self.rows.remove(key),
            // It has been made of what the key has, or refused, before it comes here.
            Change::Merge(..) => {}
        }
        self.history.push(change.clone());
    }

    fn try_apply(&mut self, change: &Change<K, V>) -> Result<(), StoreError> {
        self.check(change)?;
        if !change.replaces() {
            return Err(cannot_merge());
        }
        self.apply(change);
        Ok(())
    }

    fn commit(&mut self, batch: &Batch<K, V>) -> Result<Committed, StoreError> {
        if self.shards.get(&batch.shard()) != Some(&Claim::new(batch.epoch(), batch.after())) {
            return Ok(Committed::Refused);
        }
        let changes: Vec<Change<K, V>> = match self.keeps_every_write {
            true => batch.writes().iter().map(|write| write.change().clone()).collect(),
            false => batch.changes().to_vec(),
        };
        changes.iter().try_for_each(|change| self.check(change))?;
        let mut values: HashMap<&K, Option<V>> = HashMap::new();
        let mut made = Vec::with_capacity(changes.len());
        // All of them, each of what those before it have left, before any is done.
        for change in &changes {
            let had = values.remove(change.key()).unwrap_or_else(|| self.rows.get(change.key()).cloned());
            let value = batch.value_after(had.as_ref(), change)?;
            values.insert(change.key(), value.clone());
            made.push(match (change, value) {
                (Change::Merge(key, _), Some(value)) => Change::Put(key.clone(), value),
                (Change::Merge(key, _), None) => Change::Delete(key.clone()),
                _ => change.clone(),
            });
        }
        made.iter().for_each(|change| self.apply(change));
        let letters = batch.letters().iter().map(|letter| ((letter.shard(), letter.seq()), letter.clone()));
        self.letters.extend(letters);
        self.shards.insert(batch.shard(), Claim::new(batch.epoch(), batch.upto()));
        Ok(Committed::Done)
    }
}

impl<K: Key, V: Value> Default for FakeStore<K, V> {
    fn default() -> Self {
        Self::new()
    }
}

impl<K, V> Clone for FakeStore<K, V> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<K: Eq + Hash, V> fmt::Debug for FakeStore<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FakeStore").field("rows", &self.0.state.lock().rows.len()).finish_non_exhaustive()
    }
}

#[async_trait]
impl<K: Key, V: Value> Loader<K, V> for FakeStore<K, V> {
    async fn load(&self, key: &K) -> Result<Option<V>, StoreError> {
        let key = key.clone();
        self.call(Call::Load, move |state| Ok(state.rows.get(&key).cloned())).await
    }
}

#[async_trait]
impl<K: Key, V: Value> Store<K, V> for FakeStore<K, V> {
    async fn save(&self, key: &K, value: &V) -> Result<Saved<V>, StoreError> {
        let change = Change::Put(key.clone(), value.clone());
        self.call(Call::Save, move |state| state.try_apply(&change)).await.map(Saved::from)
    }

    async fn delete(&self, key: &K) -> Result<(), StoreError> {
        let change = Change::Delete(key.clone());
        self.call(Call::Delete, move |state| state.try_apply(&change)).await
    }
}

#[async_trait]
impl<K: Key, V: Value> TransactionalStore<K, V> for FakeStore<K, V> {
    fn keeps_every_write(&self) -> bool {
        self.0.state.lock().keeps_every_write
    }

    async fn claim(&self, shard: ShardId) -> Result<Claim, StoreError> {
        let claim = move |state: &mut State<K, V>| {
            let row = state.shards.entry(shard).or_insert_with(|| Claim::new(0, 0));
            *row = Claim::new(row.epoch() + 1, row.offset());
            Ok(*row)
        };
        self.call(Call::Claim, claim).await
    }

    async fn claim_for(
        &self,
        shard: ShardId,
        owner: u64,
        lease: Duration,
    ) -> Result<Option<Claim>, StoreError> {
        let claim = move |state: &mut State<K, V>| {
            let now = Instant::now();
            let is_taken = |(other, until): &(u64, Instant)| *other != owner && *until > now;
            if state.leases.get(&shard).is_some_and(is_taken) {
                return Ok(None);
            }
            state.leases.insert(shard, (owner, now + lease));
            let row = state.shards.entry(shard).or_insert_with(|| Claim::new(0, 0));
            *row = Claim::new(row.epoch() + 1, row.offset());
            Ok(Some(*row))
        };
        self.call(Call::Claim, claim).await
    }

    async fn renew(
        &self,
        journal: JournalId,
        owner: u64,
        lease: Duration,
    ) -> Result<Vec<(u16, u64)>, StoreError> {
        let mut state = self.0.state.lock();
        let State { leases, shards, .. } = &mut *state;
        let own =
            leases.iter_mut().filter(|(shard, (other, _))| shard.journal() == journal && *other == owner);
        let renewed = own.map(|(shard, (_, until))| {
            *until = Instant::now() + lease;
            (shard.number(), shards.get(shard).map_or(0, |claim| claim.epoch()))
        });
        Ok(renewed.collect())
    }

    async fn release(&self, shard: ShardId, epoch: u64) -> Result<(), StoreError> {
        let mut state = self.0.state.lock();
        if state.shards.get(&shard).is_some_and(|claim| claim.epoch() == epoch) {
            state.leases.remove(&shard);
        }
        Ok(())
    }

    async fn offset(&self, shard: ShardId) -> Result<Option<Claim>, StoreError> {
        // As if each of them had the row locked.
        _ = self.0.to_land.subscribe().wait_for(|writes| *writes == 0).await;
        self.call(Call::Offset, move |state| Ok(state.shards.get(&shard).copied())).await
    }

    async fn commit(&self, batch: &Batch<K, V>) -> Result<Committed, StoreError> {
        let batch = batch.clone();
        self.call(Call::Commit, move |state| state.commit(&batch)).await
    }

    async fn letters(
        &self,
        journal: JournalId,
        after: Option<(u16, Seq)>,
        most: usize,
    ) -> Result<Vec<DeadLetter>, StoreError> {
        let state = self.0.state.lock();
        let is_wanted = |(shard, seq): (ShardId, Seq)| {
            shard.journal() == journal && after.is_none_or(|after| (shard.number(), seq) > after)
        };
        let letters = state.letters.iter().filter(|(place, _)| is_wanted(**place));
        Ok(letters.take(most).map(|(_, letter)| letter.clone()).collect())
    }

    async fn discard(&self, shard: ShardId, seq: Seq) -> Result<bool, StoreError> {
        Ok(self.0.state.lock().letters.remove(&(shard, seq)).is_some())
    }

    async fn forget(&self, shard: ShardId) -> Result<(), StoreError> {
        self.0.state.lock().shards.remove(&shard);
        Ok(())
    }
}

#[async_trait]
impl<K: Key, V: Value> MergeStore<K, V> for FakeStore<K, V> {
    async fn snapshot(&self, shard: ShardId, keys: &[K]) -> Result<(Vec<Option<V>>, Seq), StoreError> {
        let keys = keys.to_vec();
        let snapshot = move |state: &mut State<K, V>| {
            let values = keys.iter().map(|key| state.rows.get(key).cloned()).collect();
            Ok((values, state.shards.get(&shard).map_or(0, |claim| claim.offset())))
        };
        self.call(Call::Load, snapshot).await
    }
}

/// All of them or, if one is [poison](FakeStore::poison), none.
#[async_trait]
impl<K: Key, V: Value> IdempotentStore<K, V> for FakeStore<K, V> {
    async fn apply_once(&self, writes: &[PendingWrite<K, V>]) -> Result<(), StoreError> {
        let writes = writes.to_vec();
        let apply = move |state: &mut State<K, V>| {
            writes.iter().try_for_each(|write| state.check(write.change()))?;
            for write in &writes {
                if state.seen.insert((write.shard(), write.seq())) {
                    state.apply(write.change());
                }
            }
            Ok(())
        };
        self.call(Call::Apply, apply).await
    }
}
