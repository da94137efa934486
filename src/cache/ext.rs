//! The generic calls, for every [`Cache`], `dyn` ones included.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::Hash;

use super::{Answer, BoxLoad, BoxLoadMany, BoxWrite, Cache, Reply};
use crate::bounds::{Key, Value};
use crate::engine::{Local, ReadOptions, Written};
use crate::error::{Error, ErrorKind, Result, StoreError};
use crate::store::Counter;
use crate::tenant::{OfTenant, Tenant};
use crate::tier::{Lookup, Scope};

/// `get_or_load`, `update`, `write` and others for every [`Cache`]. [`LayeredCache`](super::LayeredCache) has them as methods
/// of its own; for an `Arc<dyn Cache<K, V>>` bring this trait into scope.
pub trait CacheExt<K: Key, V: Value>: Cache<K, V> {
    /// A copy, or else what `load` says, which is kept. Of many who ask for one key, one loads.
    ///
    /// Dropping the future drops the load; whoever waits for it then loads by itself.
    fn get_or_load<'a, F, Fut, E>(
        &'a self,
        key: &'a K,
        load: F,
    ) -> impl Future<Output = Result<Option<V>>> + Send + 'a
    where
        F: FnOnce() -> Fut + Send + 'a,
        Fut: Future<Output = Result<Option<V>, E>> + Send + 'a,
        E: Into<StoreError> + 'a,
    {
        self.get_or_load_with(key, load, ReadOptions::new())
    }

    /// [`get_or_load`](Self::get_or_load) with options for this call.
    fn get_or_load_with<'a, F, Fut, E>(
        &'a self,
        key: &'a K,
        load: F,
        options: ReadOptions,
    ) -> impl Future<Output = Result<Option<V>>> + Send + 'a
    where
        F: FnOnce() -> Fut + Send + 'a,
        Fut: Future<Output = Result<Option<V>, E>> + Send + 'a,
        E: Into<StoreError> + 'a,
    {
        async move {
            match self.get_local(key) {
                Local::Value(value) if !options.is_special() => return Ok(Some(value)),
                Local::Absent if !options.is_special() => return Ok(None),
                _ => {}
            }
            let load: BoxLoad<'a, V> =
                Box::new(move || Box::pin(async move { load().await.map_err(Into::into) }));
            self.get_or_load_boxed(key, load, options).await
        }
    }

    /// Copies, or else what `load` says of the keys it is given, which is kept; a key it says nothing of is absent.
    fn get_or_load_many<'a, F, Fut, E>(
        &'a self,
        keys: &'a [K],
        load: F,
    ) -> impl Future<Output = Vec<Result<Option<V>>>> + Send + 'a
    where
        F: Fn(Vec<K>) -> Fut + Send + Sync + 'a,
        Fut: Future<Output = Result<HashMap<K, V>, E>> + Send + 'a,
        E: Into<StoreError> + 'a,
    {
        let load: BoxLoadMany<'a, K, V> = Box::new(move |keys| {
            let answer = load(keys);
            Box::pin(async move { answer.await.map_err(Into::into) })
        });
        self.get_or_load_many_boxed(keys, load)
    }

    /// [`get`](Cache::get) by a borrowed form of the key: a hit for `&str` in a cache of `String`s makes no `String`.
    fn get_by<'a, Q>(&'a self, query: &'a Q) -> Answer<'a, V>
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

    /// Reads the store's value, changes it, and saves what `change` returns; `None` deletes. Atomic within this
    /// process, and within this process only.
    fn update<'a, F>(
        &'a self,
        key: &'a K,
        change: F,
    ) -> impl Future<Output = Result<Written<Option<V>>>> + Send + 'a
    where
        F: FnOnce(Option<V>) -> Option<V> + Send + 'a,
    {
        self.update_boxed(key, Box::new(change))
    }

    /// [`LayeredCache::increment`](crate::LayeredCache::increment).
    ///
    /// # Errors
    ///
    /// As there.
    fn increment<'a>(&'a self, key: &'a K, delta: V) -> Reply<'a, Written<V>>
    where
        V: Counter,
    {
        self.merge(key, delta)
    }

    /// Drops all copies of one tenant. For caches whose keys are [`TenantKey`](crate::TenantKey)s.
    fn clear_tenant(&self, tenant: &Tenant<K::Id>) -> impl Future<Output = Result<()>> + Send
    where
        K: OfTenant,
    {
        let scope = Scope::of(tenant);
        async move { self.clear_where(&scope).await }
    }

    /// Runs a write of your own, and drops the copies of `keys` after it.
    fn write<'a, T, F, Fut, E>(
        &'a self,
        keys: &'a [K],
        write: F,
    ) -> impl Future<Output = Result<Written<T>>> + Send + 'a
    where
        T: Send + 'a,
        F: FnOnce() -> Fut + Send + 'a,
        Fut: Future<Output = Result<T, E>> + Send + 'a,
        E: Into<StoreError> + 'a,
    {
        async move {
            let output = std::sync::Arc::new(parking_lot::Mutex::new(None));
            let slot = std::sync::Arc::clone(&output);
            let write: BoxWrite<'a> = Box::new(move || {
                Box::pin(async move {
                    let answer = write().await.map_err(Into::into)?;
                    *slot.lock() = Some(answer);
                    Ok(())
                })
            });
            let written = self.write_boxed(keys, write).await?;
            let output = output.lock().take().ok_or_else(not_run)?;
            Ok(written.with_output(output))
        }
    }
}

fn not_run() -> Error {
    Error::new(ErrorKind::Unsupported, "this implementation of `Cache` did not run the write it was given")
}

impl<K: Key, V: Value, C: Cache<K, V> + ?Sized> CacheExt<K, V> for C {}
