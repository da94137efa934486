//! Below all tiers: asks the loader, and dates its answer once for every level above.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::FutureExt;

use super::{Context, Found, Levels, LoadFailure, Search};
use crate::bounds::{Key, Value};
use crate::entry::Entry;
use crate::error::{Error, ErrorKind, Result, StoreError};
use crate::event::Event;
use crate::store::{Finding, LoadRequest, Loaded};
use crate::tier::Hold;

/// Where a search ends.
pub(crate) struct Bottom(pub(crate) Arc<Context>);

impl Bottom {
    async fn ask<K: Key, V: Value>(
        &self,
        key: &K,
        previous: Option<&Entry<V>>,
        search: &Search<'_, K, V>,
    ) -> Result<Found<V>> {
        // Taken before the load: an answer is as old as its question.
        let as_of = self.0.clock.now();
        // A panic is caught here, so that the levels above give their leases back.
        let load = AssertUnwindSafe(search.load.load(LoadRequest::new(key, previous))).catch_unwind();
        let Loaded { found, ttl } = load.await.map_err(|_panic| Error::panicked())?.map_err(failure)?;
        let value = match (found, previous) {
            (Finding::Value(value), _) => Some(value),
            (Finding::Absent, _) => None,
            (Finding::NotModified, Some(previous)) => previous.value().cloned(),
            (Finding::NotModified, None) => return Err(nothing_to_keep()),
        };
        let entry = self.0.date(value, as_of, ttl.or(search.ttl));
        let keep = entry.expires_at() > as_of;
        Ok(Found { entry, tier: None, keep })
    }
}

fn failure(failure: LoadFailure) -> Error {
    match failure {
        LoadFailure::Store(error) => Error::store(error),
        LoadFailure::WrongLength { asked, answered } => Error::new(
            ErrorKind::WrongLength,
            format!(
                "the loader was asked for {asked} keys and gave {answered} answers; give one for each, in order"
            ),
        ),
        LoadFailure::Spent => {
            Error::new(ErrorKind::Unsupported, "a load that can run once was asked to run again")
        }
    }
}

fn nothing_to_keep() -> Error {
    Error::store(StoreError::new("the loader said `not modified`, and there is no previous copy").permanent())
}

#[async_trait]
impl<K: Key, V: Value> Levels<K, V> for Bottom {
    fn local(&self, _key: &K) -> Option<(Entry<V>, &'static str)> {
        None
    }

    async fn copy(&self, _key: &K) -> Option<Found<V>> {
        None
    }

    async fn find(&self, key: &K, previous: Option<Entry<V>>, search: &Search<'_, K, V>) -> Result<Found<V>> {
        let answer = self.ask(key, previous.as_ref(), search).await;
        self.0.events.emit(&match &answer {
            Ok(_) => Event::Loaded,
            Err(error) => Event::LoadFailed { error },
        });
        answer
    }

    async fn invalidate(&self, _keys: &[K]) -> Result<()> {
        Ok(())
    }

    fn invalidate_now(&self, _keys: &[K]) {}

    async fn hold(&self, _keys: &[K], _hold: Hold, _lifetime: Duration) -> Result<()> {
        Ok(())
    }

    async fn release(&self, _keys: &[K], _hold: Hold) -> Result<()> {
        Ok(())
    }

    async fn publish(&self, _key: &K, _hold: Hold, _entry: &Entry<V>) -> Result<bool> {
        Ok(true)
    }

    async fn clear(&self) -> Result<()> {
        Ok(())
    }

    async fn close(&self) -> Result<()> {
        Ok(())
    }
}
