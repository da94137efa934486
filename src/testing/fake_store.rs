//! A store in memory that counts, waits and fails on command.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::hash::Hash;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;

use super::Gate;
use crate::bounds::{Key, Value};
use crate::error::StoreError;
use crate::store::{Loader, Saved, Store};

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
}

/// How a call goes wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Trouble {
    /// It fails, and says that nothing was written.
    NotApplied,
    /// It fails after the write, and says so.
    Applied,
    /// It fails without a word on the outcome; nothing was written.
    Unknown,
    /// It fails without a word on the outcome, and the write comes true after this time all the same.
    LandsLater(Duration),
    /// It never answers.
    Hang,
    /// It panics.
    Panic,
}

/// A store in memory: what a test knows it contains, how often it was asked, and when it fails. Clones are handles of
/// the same store.
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
pub struct FakeStore<K, V>(Arc<Mutex<State<K, V>>>);

struct State<K, V> {
    rows: HashMap<K, V>,
    calls: HashMap<Call, Plan>,
}

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
        Self(Arc::new(Mutex::new(State { rows: rows.into_iter().collect(), calls: HashMap::new() })))
    }

    /// The row of `key` as it is, uncounted.
    #[must_use]
    pub fn row(&self, key: &K) -> Option<V> {
        self.0.lock().rows.get(key).cloned()
    }

    /// Writes a row behind the cache's back.
    pub fn set_row(&self, key: K, value: V) {
        self.0.lock().rows.insert(key, value);
    }

    /// Removes a row behind the cache's back.
    pub fn remove_row(&self, key: &K) {
        self.0.lock().rows.remove(key);
    }

    /// How often `call` was made.
    #[must_use]
    pub fn count(&self, call: Call) -> u64 {
        self.0.lock().calls.get(&call).map_or(0, |plan| plan.count)
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

    fn plan<A>(&self, call: Call, change: impl FnOnce(&mut Plan) -> A) -> A {
        change(self.0.lock().calls.entry(call).or_default())
    }

    /// One call: counts it, waits as told, does it unless told otherwise, waits again, answers.
    async fn call<A>(
        &self,
        call: Call,
        act: impl FnOnce(&mut HashMap<K, V>) -> A + Send + 'static,
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
            None => Ok(act(&mut self.0.lock().rows)),
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
        act: impl FnOnce(&mut HashMap<K, V>) -> A + Send + 'static,
    ) -> StoreError {
        let error = StoreError::from(io::Error::other("the fake store was told to fail"));
        match trouble {
            Trouble::NotApplied => error.not_applied(),
            Trouble::Applied => {
                act(&mut self.0.lock().rows);
                error.applied()
            }
            Trouble::Unknown => error,
            Trouble::LandsLater(after) => {
                let store = Arc::clone(&self.0);
                tokio::spawn(async move {
                    tokio::time::sleep(after).await;
                    act(&mut store.lock().rows);
                });
                error
            }
            Trouble::Hang => std::future::pending().await,
            Trouble::Panic => panic!("the fake store was told to panic"),
        }
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
        f.debug_struct("FakeStore").field("rows", &self.0.lock().rows.len()).finish_non_exhaustive()
    }
}

#[async_trait]
impl<K: Key, V: Value> Loader<K, V> for FakeStore<K, V> {
    async fn load(&self, key: &K) -> Result<Option<V>, StoreError> {
        let key = key.clone();
        self.call(Call::Load, move |rows| rows.get(&key).cloned()).await
    }
}

#[async_trait]
impl<K: Key, V: Value> Store<K, V> for FakeStore<K, V> {
    async fn save(&self, key: &K, value: &V) -> Result<Saved<V>, StoreError> {
        let (key, value) = (key.clone(), value.clone());
        self.call(Call::Save, move |rows| _ = rows.insert(key, value)).await.map(Saved::from)
    }

    async fn delete(&self, key: &K) -> Result<(), StoreError> {
        let key = key.clone();
        self.call(Call::Delete, move |rows| _ = rows.remove(&key)).await
    }
}
