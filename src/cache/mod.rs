//! What an application holds: the trait [`Cache`], and [`LayeredCache`], which the builder makes.

mod answer;
mod as_cache;
mod batch;
mod behind;
mod builder;
mod by_caller;
mod ext;
mod layered;
mod registry;
mod wrap;

use std::collections::HashMap;
use std::pin::Pin;
use std::time::Duration;

use futures_util::future;

use crate::bounds::{Key, Value};
use crate::engine::{Leftovers, Local, ReadOptions, Served, WriteOptions, Written};
use crate::error::{Error, ErrorKind, Outcome, Result, StoreError};
use crate::event::Stats;
use crate::receipt::Receipt;
use crate::tier::{Lookup, Scope};

pub use answer::Answer;
pub use builder::{
    Builder, cache, cache_aside, read_through, read_through_entries, write_around, write_through,
};
pub use ext::CacheExt;
pub use layered::LayeredCache;
pub use registry::Caches;
pub use wrap::{FunctionCall, Wrapped};

/// A future on the heap.
pub type BoxFuture<'a, A> = Pin<Box<dyn Future<Output = A> + Send + 'a>>;

/// A call under way.
pub type Reply<'a, T> = BoxFuture<'a, Result<T>>;

/// A load that a caller brings along.
pub type BoxLoad<'a, V> = Box<dyn FnOnce() -> BoxFuture<'a, Result<Option<V>, StoreError>> + Send + 'a>;

/// A load of many keys that a caller brings along: what the store has of them.
pub type BoxLoadMany<'a, K, V> =
    Box<dyn Fn(Vec<K>) -> BoxFuture<'a, Result<HashMap<K, V>, StoreError>> + Send + Sync + 'a>;

/// A write that a caller brings along.
pub type BoxWrite<'a> = Box<dyn FnOnce() -> BoxFuture<'a, Result<(), StoreError>> + Send + 'a>;

/// A change of a value that a caller brings along.
pub type BoxChange<'a, V> = Box<dyn FnOnce(Option<V>) -> Option<V> + Send + 'a>;

/// A cache, whatever it is made of.
///
/// An application holds an `Arc<dyn Cache<K, V>>`, a [`LayeredCache<K, V>`](LayeredCache), or something generic. The
/// generic calls, `get_or_load`, `update` and `write`, are in [`CacheExt`].
///
/// To implement it, write the four required methods; whatever else comes later has a body. A call without a body
/// that could be honest answers [`ErrorKind::Unsupported`].
pub trait Cache<K: Key, V: Value>: Send + Sync + 'static {
    /// The value of `key`; `None` when there is none.
    ///
    /// On a hit the answer is ready, and nothing is allocated. On a miss one load serves all who ask meanwhile; it
    /// goes on when the future is dropped.
    fn get_with<'a>(&'a self, key: &'a K, options: ReadOptions) -> Answer<'a, V>;

    /// Saves `value`. Goes on when the future is dropped.
    fn put_with<'a>(&'a self, key: &'a K, value: V, options: WriteOptions) -> Reply<'a, Written>;

    /// Deletes `key` in the store, then in the copies. Goes on when the future is dropped.
    fn delete<'a>(&'a self, key: &'a K) -> Reply<'a, Written>;

    /// Drops the copies of `key` and leaves the store. A read that starts after this has been answered sees nothing
    /// older.
    fn invalidate<'a>(&'a self, key: &'a K) -> Reply<'a, ()>;

    /// The name that errors and statistics call it by.
    fn name(&self) -> &str {
        "cache"
    }

    /// [`get_with`](Self::get_with) the cache's own settings.
    fn get<'a>(&'a self, key: &'a K) -> Answer<'a, V> {
        self.get_with(key, ReadOptions::new())
    }

    /// [`put_with`](Self::put_with) the cache's own settings.
    fn put<'a>(&'a self, key: &'a K, value: V) -> Reply<'a, Written> {
        self.put_with(key, value, WriteOptions::new())
    }

    /// What can be said of `key` without waiting.
    fn get_local(&self, _key: &K) -> Local<V> {
        Local::Unknown
    }

    /// The same for a key in a borrowed form; what [`CacheExt::get_by`] asks first.
    fn get_local_by(&self, _key: &Lookup<'_, K>) -> Local<V> {
        Local::Unknown
    }

    /// The value with its age, its freshness and the tier it came from. `None` where there is no copy and no store to
    /// ask.
    fn get_entry<'a>(&'a self, _key: &'a K) -> Reply<'a, Option<Served<V>>> {
        unsupported("get_entry")
    }

    /// The values of `keys`: a result for each, in their order.
    fn get_many<'a>(&'a self, keys: &'a [K]) -> BoxFuture<'a, Vec<Result<Option<V>>>> {
        Box::pin(async move {
            let mut answers = Vec::with_capacity(keys.len());
            for key in keys {
                answers.push(self.get(key).await);
            }
            answers
        })
    }

    /// Saves values: a result for each, in their order. Of a key that comes twice the last value is saved.
    fn put_many(&self, entries: Vec<(K, V)>) -> BoxFuture<'_, Vec<Result<Written>>> {
        Box::pin(async move {
            let mut answers = Vec::with_capacity(entries.len());
            for (key, value) in entries {
                answers.push(self.put(&key, value).await);
            }
            answers
        })
    }

    /// Deletes keys: a result for each, in their order.
    fn delete_many<'a>(&'a self, keys: &'a [K]) -> BoxFuture<'a, Vec<Result<Written>>> {
        Box::pin(async move {
            let mut answers = Vec::with_capacity(keys.len());
            for key in keys {
                answers.push(self.delete(key).await);
            }
            answers
        })
    }

    /// [`invalidate`](Self::invalidate) for each of `keys`. A failure does not spare the others.
    fn invalidate_many<'a>(&'a self, keys: &'a [K]) -> Reply<'a, ()> {
        Box::pin(async move {
            let mut all = Ok(());
            for key in keys {
                all = self.invalidate(key).await.and(all);
            }
            all
        })
    }

    /// Loads `key` anew, whatever copies there are, and replaces them.
    fn refresh<'a>(&'a self, key: &'a K) -> Reply<'a, Option<V>> {
        Box::pin(async move { self.get_with(key, ReadOptions::new().reload()).await })
    }

    /// Drops all copies.
    fn clear(&self) -> Reply<'_, ()> {
        unsupported("clear")
    }

    /// What [`CacheExt::clear_tenant`] calls: drops the copies of the keys in `scope`. Unless overridden, all.
    fn clear_where<'a>(&'a self, _scope: &'a Scope<K>) -> Reply<'a, ()> {
        self.clear()
    }

    /// A receipt for whatever was done to `keys` before now. Unless overridden, one that only a load covers.
    fn receipt(&self, _keys: &[K]) -> Receipt {
        Receipt::default()
    }

    /// What has happened so far.
    fn stats(&self) -> Stats {
        Stats::default()
    }

    /// Writes all that waits to be written now, and resolves when the store has it or has refused it for good. Where
    /// nothing waits, at once. As long as the store fails it does not resolve.
    fn flush(&self) -> Reply<'_, ()> {
        Box::pin(future::ready(Ok(())))
    }

    /// Refuses loads and writes from now on, waits for those under way, no longer than `deadline`, and says what is
    /// left.
    fn close(&self, _deadline: Duration) -> Reply<'_, Leftovers> {
        Box::pin(future::ready(Ok(Leftovers::default())))
    }

    /// What [`CacheExt::get_or_load`] calls: a copy, or else what `load` says, kept for later. Unless overridden,
    /// callers do not share their loads.
    fn get_or_load_boxed<'a>(
        &'a self,
        key: &'a K,
        load: BoxLoad<'a, V>,
        options: ReadOptions,
    ) -> Answer<'a, V> {
        Answer::later(async move {
            if let Some(value) = self.get_with(key, options).await? {
                return Ok(Some(value));
            }
            let Some(value) = load().await.map_err(Error::store)? else { return Ok(None) };
            _ = self.put(key, value.clone()).await?;
            Ok(Some(value))
        })
    }

    /// What [`CacheExt::get_or_load_many`] calls. Unless overridden, callers do not share their loads.
    fn get_or_load_many_boxed<'a>(
        &'a self,
        keys: &'a [K],
        load: BoxLoadMany<'a, K, V>,
    ) -> BoxFuture<'a, Vec<Result<Option<V>>>> {
        Box::pin(async move {
            let mut answers = self.get_many(keys).await;
            let is_missing = |answer: &Result<Option<V>>| matches!(answer, Ok(None));
            let missing: Vec<K> = keys
                .iter()
                .zip(&answers)
                .filter(|(_, answer)| is_missing(answer))
                .map(|(key, _)| key.clone())
                .collect();
            if missing.is_empty() {
                return answers;
            }
            let loaded = load(missing).await.map_err(Error::store);
            for (key, answer) in keys.iter().zip(&mut answers).filter(|(_, answer)| is_missing(answer)) {
                *answer = match &loaded {
                    Err(error) => Err(error.clone()),
                    Ok(found) => Ok(found.get(key).cloned()),
                };
                if let Ok(Some(value)) = answer {
                    _ = self.put(key, value.clone()).await;
                }
            }
            answers
        })
    }

    /// What [`CacheExt::update`] calls.
    fn update_boxed<'a>(&'a self, _key: &'a K, _change: BoxChange<'a, V>) -> Reply<'a, Written<Option<V>>> {
        unsupported("update")
    }

    /// Merges `operand` into what the store has for `key`; answers with what that comes to.
    fn merge<'a>(&'a self, _key: &'a K, _operand: V) -> Reply<'a, Written<V>> {
        unsupported("merge")
    }

    /// What [`CacheExt::write`] calls: runs `write`, then drops the copies of `keys`, unless the write surely did not
    /// happen.
    fn write_boxed<'a>(&'a self, keys: &'a [K], write: BoxWrite<'a>) -> Reply<'a, Written> {
        Box::pin(async move {
            match write().await {
                Ok(()) => {}
                Err(error) if error.outcome() == Outcome::NotApplied => return Err(Error::store(error)),
                Err(error) => {
                    self.invalidate_many(keys).await?;
                    return Err(Error::store(error));
                }
            }
            Ok(Written::after_write(self.invalidate_many(keys).await.is_ok()))
        })
    }
}

fn unsupported<'a, T: Send + 'a>(call: &'static str) -> Reply<'a, T> {
    let error =
        Error::new(ErrorKind::Unsupported, format!("this implementation of `Cache` does not offer `{call}`"));
    Box::pin(future::ready(Err(error)))
}
