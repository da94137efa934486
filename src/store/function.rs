//! Loaders and stores made of async closures, so that a database needs no `impl` at all.

use std::fmt;

use async_trait::async_trait;

use super::{Loader, Saved, Store};
use crate::bounds::{Key, Value};
use crate::error::StoreError;

/// A loader from an async closure or function: `|key| async move { … }`, answering `Result<Option<V>, E>` with any
/// error `E`.
///
/// ```
/// # async fn demo() -> larder::Result<()> {
/// use larder::{Memory, load_fn};
/// use std::{io, time::Duration};
///
/// async fn fetch_rate(currency: String) -> Result<Option<f64>, io::Error> {
///     Ok((currency == "EUR").then_some(1.0))
/// }
///
/// let rates = larder::read_through(load_fn(fetch_rate))
///     .tier(Memory::with_capacity(100))
///     .ttl(Duration::from_secs(60))
///     .build()?;
/// assert_eq!(rates.get(&"EUR".to_owned()).await?, Some(1.0));
/// # Ok(())
/// # }
/// # tokio::runtime::Runtime::new().unwrap().block_on(demo()).unwrap();
/// ```
pub const fn load_fn<F>(load: F) -> LoadFn<F> {
    LoadFn { load }
}

/// A store from three async closures: load `|key|`, save `|key, value|` and delete `|key|`.
pub const fn store_fn<L, S, D>(load: L, save: S, delete: D) -> StoreFn<L, S, D> {
    StoreFn { load, save, delete }
}

/// What [`load_fn`] makes.
#[derive(Clone, Copy)]
pub struct LoadFn<F> {
    load: F,
}

/// What [`store_fn`] makes.
#[derive(Clone, Copy)]
pub struct StoreFn<L, S, D> {
    load: L,
    save: S,
    delete: D,
}

#[async_trait]
impl<K, V, F, Fut, E> Loader<K, V> for LoadFn<F>
where
    K: Key,
    V: Value,
    F: Fn(K) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<Option<V>, E>> + Send,
    E: Into<StoreError>,
{
    async fn load(&self, key: &K) -> Result<Option<V>, StoreError> {
        (self.load)(key.clone()).await.map_err(Into::into)
    }
}

#[async_trait]
impl<K, V, L, LoadFut, LoadErr, S, D> Loader<K, V> for StoreFn<L, S, D>
where
    K: Key,
    V: Value,
    L: Fn(K) -> LoadFut + Send + Sync + 'static,
    LoadFut: Future<Output = Result<Option<V>, LoadErr>> + Send,
    LoadErr: Into<StoreError>,
    S: Send + Sync + 'static,
    D: Send + Sync + 'static,
{
    async fn load(&self, key: &K) -> Result<Option<V>, StoreError> {
        (self.load)(key.clone()).await.map_err(Into::into)
    }
}

#[async_trait]
impl<K, V, L, LoadFut, LoadErr, S, SaveFut, SaveErr, D, DeleteFut, DeleteErr> Store<K, V> for StoreFn<L, S, D>
where
    K: Key,
    V: Value,
    L: Fn(K) -> LoadFut + Send + Sync + 'static,
    LoadFut: Future<Output = Result<Option<V>, LoadErr>> + Send,
    LoadErr: Into<StoreError>,
    S: Fn(K, V) -> SaveFut + Send + Sync + 'static,
    SaveFut: Future<Output = Result<(), SaveErr>> + Send,
    SaveErr: Into<StoreError>,
    D: Fn(K) -> DeleteFut + Send + Sync + 'static,
    DeleteFut: Future<Output = Result<(), DeleteErr>> + Send,
    DeleteErr: Into<StoreError>,
{
    async fn save(&self, key: &K, value: &V) -> Result<Saved<V>, StoreError> {
        (self.save)(key.clone(), value.clone()).await.map(Saved::from).map_err(Into::into)
    }

    async fn delete(&self, key: &K) -> Result<(), StoreError> {
        (self.delete)(key.clone()).await.map_err(Into::into)
    }
}

impl<F> fmt::Debug for LoadFn<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LoadFn").finish_non_exhaustive()
    }
}

impl<L, S, D> fmt::Debug for StoreFn<L, S, D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoreFn").finish_non_exhaustive()
    }
}
