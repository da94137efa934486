//! Loads that a caller brings along.

use std::collections::HashMap;

use async_trait::async_trait;
use parking_lot::Mutex;

use crate::bounds::{Key, Value};
use crate::error::{Error, ErrorKind, Result, StoreError};
use crate::levels::{Answers, Load};
use crate::store::{LoadRequest, Loaded};

/// A load of one key, which can run once.
pub(super) struct Once<F>(Mutex<Option<F>>);

impl<F> Once<F> {
    pub(super) const fn new(load: F) -> Self {
        Self(Mutex::new(Some(load)))
    }
}

#[async_trait]
impl<K, V, F, Fut, E> Load<K, V> for Once<F>
where
    K: Key,
    V: Value,
    F: FnOnce() -> Fut + Send,
    Fut: Future<Output = Result<Option<V>, E>> + Send,
    E: Into<StoreError>,
{
    async fn load(&self, _requests: &[LoadRequest<'_, K, V>]) -> Result<Answers<V>> {
        let load = self.0.lock().take().ok_or_else(spent)?;
        let answer = load().await.map(Loaded::from).map_err(Into::into);
        Ok(vec![answer])
    }
}

/// A load of many keys, which answers with those that the store has.
pub(super) struct Each<F>(pub(super) F);

#[async_trait]
impl<K, V, F, Fut, E> Load<K, V> for Each<F>
where
    K: Key,
    V: Value,
    F: Fn(Vec<K>) -> Fut + Send + Sync,
    Fut: Future<Output = Result<HashMap<K, V>, E>> + Send,
    E: Into<StoreError>,
{
    async fn load(&self, requests: &[LoadRequest<'_, K, V>]) -> Result<Answers<V>> {
        let keys = requests.iter().map(|request| request.key().clone()).collect();
        let mut found = (self.0)(keys).await.map_err(|error| Error::store(error.into()))?;
        Ok(requests.iter().map(|request| Ok(Loaded::from(found.remove(request.key())))).collect())
    }
}

fn spent() -> Error {
    Error::new(ErrorKind::Unsupported, "a load that can run once was asked to run again")
}
