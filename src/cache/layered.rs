//! The cache that the builder makes: a read strategy and a write strategy on one engine.

use std::borrow::Borrow;
use std::collections::HashSet;
use std::fmt;
use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use super::Answer;
use super::by_caller::Once;
use crate::bounds::{Key, Value};
use crate::engine::{Engine, Leftovers, Local, ReadOptions, Served, WriteOptions, Written};
use crate::error::{Error, Operation, Result, StoreError};
use crate::event::Stats;
use crate::levels::Load;
use crate::receipt::Receipt;
use crate::store::{Counter, WriteBehind};
use crate::strategy::{ReadStrategy, WriteStrategy};
use crate::tenant::{OfTenant, Tenant};
use crate::tier::{Lookup, Scope};

/// A cache of tiers above a store, made by a [`Builder`](super::Builder). Clones are handles of the same cache.
///
/// Every read and write of the trait [`Cache`](super::Cache) is here as a method of its own, with the generic ones.
pub struct LayeredCache<K, V>(Arc<Seats<K, V>>);

struct Seats<K, V> {
    engine: Engine<K, V>,
    read: Box<dyn ReadStrategy<K, V>>,
    write: Box<dyn WriteStrategy<K, V>>,
    behind: Option<WriteBehind<K, V>>,
    /// The names of wrapped functions.
    names: Mutex<HashSet<&'static str>>,
}

impl<K: Key, V: Value> LayeredCache<K, V> {
    pub(super) fn new(
        engine: Engine<K, V>,
        read: Box<dyn ReadStrategy<K, V>>,
        write: Box<dyn WriteStrategy<K, V>>,
        behind: Option<WriteBehind<K, V>>,
    ) -> Self {
        Self(Arc::new(Seats { engine, read, write, behind, names: Mutex::default() }))
    }

    /// The name that errors and statistics call it by.
    #[must_use]
    pub fn name(&self) -> &str {
        self.engine().name()
    }

    /// The value of `key`; `None` when there is none.
    ///
    /// On a hit the answer is ready, and nothing is allocated. On a miss one load serves all who ask meanwhile; it
    /// goes on when the future is dropped.
    ///
    /// # Errors
    ///
    /// The loader's failure, or the load deadline.
    #[inline]
    pub fn get<'a>(&'a self, key: &'a K) -> Answer<'a, V> {
        self.get_with(key, ReadOptions::new())
    }

    /// [`get`](Self::get) with options for this call.
    #[inline]
    pub fn get_with<'a>(&'a self, key: &'a K, options: ReadOptions) -> Answer<'a, V> {
        match self.local_unless(options.is_special(), key) {
            Local::Value(value) => Answer::ready(Ok(Some(value))),
            Local::Absent => Answer::ready(Ok(None)),
            Local::Unknown => self.get_later(key, options),
        }
    }

    #[inline]
    pub(super) fn local_unless(&self, special: bool, key: &K) -> Local<V> {
        if special { Local::Unknown } else { self.get_local(key) }
    }

    /// Out of line, so that a hit stays small.
    #[cold]
    #[inline(never)]
    fn get_later<'a>(&'a self, key: &'a K, options: ReadOptions) -> Answer<'a, V> {
        Answer::later(async move {
            let served = self.find(key, &options).await?;
            Ok(served.and_then(Served::into_value))
        })
    }

    async fn find(&self, key: &K, options: &ReadOptions) -> Result<Option<Served<V>>> {
        let operation = if options.is_reload() { Operation::Refresh } else { Operation::Get };
        self.0.read.find(self.engine(), key, options).await.map_err(|error| self.at(error, operation))
    }

    /// What can be said of `key` without waiting: a fresh copy in the topmost tier, and nothing to be done about it.
    #[inline]
    pub fn get_local(&self, key: &K) -> Local<V> {
        let Seats { engine, read, .. } = &*self.0;
        engine.local(key, |copy, now| read.serves_at_once(copy, now))
    }

    /// [`get`](Self::get) by a borrowed form of the key: a hit for `&str` in a cache of `String`s makes no `String`.
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get).
    #[inline]
    pub fn get_by<'a, Q>(&'a self, query: &'a Q) -> Answer<'a, V>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ToOwned<Owned = K> + Sync + ?Sized,
    {
        match Lookup::with(query, |lookup| self.get_local_by(lookup)) {
            Local::Value(value) => Answer::ready(Ok(Some(value))),
            Local::Absent => Answer::ready(Ok(None)),
            Local::Unknown => Answer::later(async move { self.get(&query.to_owned()).await }),
        }
    }

    #[inline]
    pub(super) fn get_local_by(&self, lookup: &Lookup<'_, K>) -> Local<V> {
        let Seats { engine, read, .. } = &*self.0;
        engine.local_by(lookup, |copy, now| read.serves_at_once(copy, now))
    }

    /// The value with its age, its freshness and the tier it came from. `None` where there is no copy and no store to
    /// ask.
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get).
    pub async fn get_entry(&self, key: &K) -> Result<Option<Served<V>>> {
        self.get_entry_with(key, ReadOptions::new()).await
    }

    /// [`get_entry`](Self::get_entry) with options for this call.
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get).
    pub async fn get_entry_with(&self, key: &K, options: ReadOptions) -> Result<Option<Served<V>>> {
        self.find(key, &options).await
    }

    /// A copy, or else what `load` says, which is kept. Of many who ask for one key, one loads.
    ///
    /// The load may borrow what the caller has, and therefore runs in the caller: dropping the future drops it, and
    /// whoever waits for it loads by itself. Like a registered loader it has until the load deadline.
    ///
    /// ```
    /// # async fn demo() -> larder::Result<()> {
    /// use larder::Memory;
    /// use std::{io, time::Duration};
    ///
    /// let pages = larder::cache().tier(Memory::with_capacity(100)).ttl(Duration::from_secs(60)).build()?;
    /// let title = String::from("hello");
    /// let load = || async { Ok::<_, io::Error>(Some(format!("<h1>{title}</h1>"))) };
    /// assert_eq!(pages.get_or_load(&"/", load).await?.as_deref(), Some("<h1>hello</h1>"));
    /// # Ok(())
    /// # }
    /// # tokio::runtime::Runtime::new().unwrap().block_on(demo()).unwrap();
    /// ```
    ///
    /// # Errors
    ///
    /// The load's failure, or its deadline.
    pub async fn get_or_load<F, Fut, E>(&self, key: &K, load: F) -> Result<Option<V>>
    where
        F: FnOnce() -> Fut + Send,
        Fut: Future<Output = Result<Option<V>, E>> + Send,
        E: Into<StoreError>,
    {
        self.get_or_load_with(key, load, ReadOptions::new()).await
    }

    /// [`get_or_load`](Self::get_or_load) with options for this call.
    ///
    /// # Errors
    ///
    /// As [`get_or_load`](Self::get_or_load).
    pub async fn get_or_load_with<F, Fut, E>(
        &self,
        key: &K,
        load: F,
        options: ReadOptions,
    ) -> Result<Option<V>>
    where
        F: FnOnce() -> Fut + Send,
        Fut: Future<Output = Result<Option<V>, E>> + Send,
        E: Into<StoreError>,
    {
        match self.local_unless(options.is_special(), key) {
            Local::Value(value) => return Ok(Some(value)),
            Local::Absent => return Ok(None),
            Local::Unknown => {}
        }
        // On the heap and out of the way: a hit's future holds the closure and little else.
        Box::pin(async move { self.load_by_caller(key, &Once::new(load), &options).await }).await
    }

    pub(super) async fn load_by_caller(
        &self,
        key: &K,
        load: &dyn Load<K, V>,
        options: &ReadOptions,
    ) -> Result<Option<V>> {
        let served = self.engine().find_or_load(key, load, options).await;
        Ok(served.map_err(|error| self.at(error, Operation::Get))?.into_value())
    }

    /// Saves `value`, as the write strategy says. Goes on when the future is dropped.
    ///
    /// # Errors
    ///
    /// The store's failure, or the write deadline. The copies are then as they must be: untouched when the store
    /// surely does not have the write, dropped in every other case. A linearizable cache also fails where a tier refuses
    /// the claim on the key, and has then written nothing.
    pub async fn put(&self, key: &K, value: V) -> Result<Written> {
        self.put_with(key, value, WriteOptions::new()).await
    }

    /// [`put`](Self::put) with options for this call.
    ///
    /// # Errors
    ///
    /// As [`put`](Self::put).
    pub async fn put_with(&self, key: &K, value: V, options: WriteOptions) -> Result<Written> {
        let (cache, keys) = (self.clone(), vec![key.clone()]);
        let put = async move {
            let turn = cache.engine().turn(keys, &options).await?;
            cache.0.write.put(turn, value).await
        };
        self.engine().run_write(put).await.map_err(|error| self.at(error, Operation::Put))
    }

    /// Deletes `key` in the store, then in the copies. Goes on when the future is dropped.
    ///
    /// # Errors
    ///
    /// As [`put`](Self::put).
    pub async fn delete(&self, key: &K) -> Result<Written> {
        let (cache, keys) = (self.clone(), vec![key.clone()]);
        let delete = async move {
            let turn = cache.engine().turn(keys, &WriteOptions::new()).await?;
            cache.0.write.delete(turn).await
        };
        self.engine().run_write(delete).await.map_err(|error| self.at(error, Operation::Delete))
    }

    /// Merges `operand` into what the store has for `key`, as the [`Merge`](crate::store::Merge) says that write-behind was
    /// built with; answers with what that comes to, [`output`](Written::output). Goes on when the future is dropped.
    ///
    /// What the store comes to is exact, across processes and crashes, as far as the journal loses nothing: each merge is logged
    /// as it is and made in the store once. The answer is what this one and all before it come to. Over a journal that
    /// processes share it may have some in it that came after it, and two merges may be answered the same, if the store has
    /// this one before its value is read.
    ///
    /// Merges of one key do not wait for each other; other writes of it wait for them, and they for those.
    ///
    /// # Errors
    ///
    /// As [`put`](Self::put); [`ErrorKind::Unsupported`](crate::ErrorKind): write-behind was not told how to merge, or there is
    /// none. If the value cannot be read afterwards the merge is accepted all the same, and its
    /// [outcome](crate::Error::outcome) says so.
    pub async fn merge(&self, key: &K, operand: V) -> Result<Written<V>> {
        let (cache, key) = (self.clone(), key.clone());
        let merge = async move {
            let mut turn = cache.engine().shared_turn(key).await?;
            let total = turn.merge(operand).await?;
            Ok(turn.invalidate().await.with_output(total))
        };
        self.engine().run_write(merge).await.map_err(|error| self.at(error, Operation::Merge))
    }

    /// Adds `delta` to the number that the store has for `key`; answers with the new total, [`output`](Written::output). It
    /// is [`merge`](Self::merge) for numbers, over write-behind that was built with
    /// [`merge(Sum)`](crate::store::WriteBehindBuilder::merge).
    ///
    /// # Errors
    ///
    /// As [`merge`](Self::merge).
    pub async fn increment(&self, key: &K, delta: V) -> Result<Written<V>>
    where
        V: Counter,
    {
        self.merge(key, delta).await
    }

    /// Drops the copies of `key` and leaves the store. A read that starts after this has been answered sees nothing
    /// older: a load under way answers those who wait for it, and is not kept.
    ///
    /// # Errors
    ///
    /// A tier failed: it may still serve an older value to other processes, at most for its ttl. Dropping it is tried
    /// again until it is done or the cache is closed, and until then this process does not read it.
    pub async fn invalidate(&self, key: &K) -> Result<()> {
        self.invalidate_many(std::slice::from_ref(key)).await
    }

    /// [`invalidate`](Self::invalidate) for all of `keys`.
    ///
    /// # Errors
    ///
    /// As [`invalidate`](Self::invalidate). A failure does not spare the other keys.
    pub async fn invalidate_many(&self, keys: &[K]) -> Result<()> {
        self.engine().invalidate(keys.to_vec()).await.map_err(|error| self.at(error, Operation::Invalidate))
    }

    /// A receipt for whatever was done to `keys` before now, through this cache or past it: a read that is given it
    /// answers with nothing older, in any process. For after an [`invalidate`](Self::invalidate), or a write that only now
    /// is [`stored`](Written::stored); what a write answers has a [receipt](Written::receipt) of its own.
    #[must_use]
    pub fn receipt(&self, keys: &[K]) -> Receipt {
        self.engine().receipt(keys)
    }

    /// Runs a write of your own, and drops the copies of `keys` after it.
    ///
    /// Most real writes are partial SQL, or touch another table: name the keys whose value depends on it. Other
    /// writes of these keys wait meanwhile. The write runs in the caller and may borrow what the caller has; when the
    /// future is dropped in the middle, nobody knows what the store has, and the copies are dropped, now and once
    /// more after the write deadline.
    ///
    /// A write that touches what two caches keep is nested: `posts.write(&[id], || async { … lists.write(&[page], …) … })`,
    /// the caches always in the same order. Two calls one after the other would lose the second when the caller goes
    /// away between them.
    ///
    /// An error says what it knows with [`StoreError::not_applied`]: the copies then stay.
    ///
    /// # Errors
    ///
    /// The write's own failure; or the wait for another write of one of the keys, or a claim that a tier refuses to a
    /// linearizable cache: nothing has then been run.
    pub async fn write<T, F, Fut, E>(&self, keys: &[K], write: F) -> Result<Written<T>>
    where
        F: FnOnce() -> Fut,
        Fut: Future<Output = Result<T, E>>,
        E: Into<StoreError>,
    {
        let at = |error| self.at(error, Operation::Write);
        let mut turn = self.engine().turn(keys.to_vec(), &WriteOptions::new()).await.map_err(at)?;
        let output = turn.run(async { write().await.map_err(Into::into) }).await.map_err(at)?;
        Ok(turn.invalidate().await.with_output(output))
    }

    /// Reads the store's value, changes it, and saves what `change` returns; `None` deletes. Atomic within this
    /// process, and within this process only: another process can write between the read and the save.
    ///
    /// The value is the store's, never a copy. Answers with the new value.
    ///
    /// # Errors
    ///
    /// The store's failure to load or save, or a cache without a store. [`ErrorKind::Unsupported`](crate::ErrorKind) where
    /// a tier is shared and the cache is not the [`sole_writer`](super::Builder::sole_writer). As for [`put`](Self::put)
    /// in a linearizable cache.
    pub async fn update<F>(&self, key: &K, change: F) -> Result<Written<Option<V>>>
    where
        F: FnOnce(Option<V>) -> Option<V> + Send,
    {
        let at = |error| self.at(error, Operation::Update);
        self.engine().may_update().map_err(at)?;
        let turn = self.engine().turn(vec![key.clone()], &WriteOptions::new()).await.map_err(at)?;
        let old = turn.load().await.map_err(at)?;
        let new = change(old);
        let (cache, value) = (self.clone(), new.clone());
        let write = async move {
            match value {
                Some(value) => cache.0.write.put(turn, value).await,
                None => cache.0.write.delete(turn).await,
            }
        };
        Ok(self.engine().run_write(write).await.map_err(at)?.with_output(new))
    }

    /// Loads `key` anew, whatever copies there are, and replaces them. A refresh under way is shared.
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get); the old copies then stay.
    pub async fn refresh(&self, key: &K) -> Result<Option<V>> {
        let served = self.engine().refresh(key, &ReadOptions::new()).await;
        Ok(served.map_err(|error| self.at(error, Operation::Refresh))?.into_value())
    }

    /// Drops all copies of this cache.
    ///
    /// # Errors
    ///
    /// A tier failed: it may still serve older values, at most for their ttl.
    pub async fn clear(&self) -> Result<()> {
        self.engine().clear().await.map_err(|error| self.at(error, Operation::Clear))
    }

    /// Drops all copies of one tenant, and of no other. For caches whose keys are
    /// [`TenantKey`](crate::TenantKey)s.
    ///
    /// A read of the tenant's that starts after this has been answered sees nothing older. Loads of other tenants that
    /// are under way may have to go without being kept.
    ///
    /// # Errors
    ///
    /// As [`invalidate`](Self::invalidate): the tenant's copies are dropped later, and not read by this process before.
    pub async fn clear_tenant(&self, tenant: &Tenant<K::Id>) -> Result<()>
    where
        K: OfTenant,
    {
        self.clear_where(&Scope::of(tenant)).await
    }

    pub(super) async fn clear_where(&self, scope: &Scope<K>) -> Result<()> {
        self.engine().clear_where(scope).await.map_err(|error| self.at(error, Operation::Clear))
    }

    /// What has happened so far.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.engine().stats()
    }

    /// Writes all that waits to be written now, and resolves when the store has it or has refused it for good. Where
    /// nothing waits, at once. As long as the store fails it does not resolve; dropping it is harmless.
    ///
    /// # Errors
    ///
    /// This process cannot write any more: the cache is closed, or another process has taken its journal over.
    pub async fn flush(&self) -> Result<()> {
        self.engine().flush().await.map_err(|error| self.at(error, Operation::Flush))
    }

    /// The write-behind below a cache made by [`write_behind`](crate::write_behind): its backlog and its dead letters.
    #[must_use]
    pub fn write_behind(&self) -> Option<&WriteBehind<K, V>> {
        self.0.behind.as_ref()
    }

    /// Refuses loads and writes from now on, waits for those under way, no longer than `deadline`, and says what is
    /// left. Copies can still be read.
    ///
    /// # Errors
    ///
    /// A tier could not be closed, or there is no runtime to wait in.
    pub async fn close(&self, deadline: Duration) -> Result<Leftovers> {
        self.engine().close(deadline).await.map_err(|error| self.at(error, Operation::Close))
    }

    pub(super) fn engine(&self) -> &Engine<K, V> {
        &self.0.engine
    }

    pub(super) fn names(&self) -> &Mutex<HashSet<&'static str>> {
        &self.0.names
    }

    pub(super) fn read_seat(&self) -> &dyn ReadStrategy<K, V> {
        &*self.0.read
    }

    pub(super) fn write_seat(&self) -> &dyn WriteStrategy<K, V> {
        &*self.0.write
    }

    pub(super) fn at(&self, error: Error, operation: Operation) -> Error {
        error.at(self.engine().name(), operation)
    }
}

impl<K, V> Clone for LayeredCache<K, V> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<K, V> fmt::Debug for LayeredCache<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LayeredCache").field("engine", &self.0.engine).finish_non_exhaustive()
    }
}
