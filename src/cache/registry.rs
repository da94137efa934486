//! All caches of a service in one place.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{BoxFuture, join_all};
use parking_lot::Mutex;

use super::Cache;
use crate::bounds::{Key, Value};
use crate::engine::Leftovers;
use crate::error::{Error, ErrorKind, Result};
use crate::event::Stats;

/// The caches of a service, by name: to gather their statistics, and to close them all.
///
/// ```
/// # fn main() -> larder::Result<()> {
/// use larder::{Caches, Memory};
/// use std::time::Duration;
///
/// let caches = Caches::new();
/// let pages = larder::cache::<String, String>()
///     .name("pages")
///     .tier(Memory::with_capacity(100))
///     .ttl(Duration::from_secs(60))
///     .build()?;
/// caches.add(pages.clone())?;
/// assert_eq!(caches.stats()["pages"].hits, 0);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Default)]
pub struct Caches(Arc<Mutex<BTreeMap<String, Arc<dyn Member>>>>);

impl Caches {
    /// None so far.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a cache under its name.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Settings`] when another cache has the name.
    pub fn add<K: Key, V: Value>(&self, cache: impl Cache<K, V>) -> Result<()> {
        let name = cache.name().to_owned();
        let mut members = self.0.lock();
        if members.contains_key(&name) {
            let twice = format!("two caches are named `{name}`: give each its own with `.name(…)`");
            return Err(Error::new(ErrorKind::Settings, twice));
        }
        members.insert(name, Arc::new(Of { cache, types: std::marker::PhantomData::<fn(K) -> V> }));
        Ok(())
    }

    /// What has happened so far in each cache.
    #[must_use]
    pub fn stats(&self) -> BTreeMap<String, Stats> {
        self.0.lock().iter().map(|(name, member)| (name.clone(), member.stats())).collect()
    }

    /// Closes all caches at once, waits no longer than `deadline`, and says what is left of each.
    pub async fn close_all(&self, deadline: Duration) -> BTreeMap<String, Result<Leftovers>> {
        let members: Vec<_> =
            self.0.lock().iter().map(|(name, member)| (name.clone(), Arc::clone(member))).collect();
        let closing =
            members.iter().map(|(name, member)| async move { (name.clone(), member.close(deadline).await) });
        join_all(closing).await.into_iter().collect()
    }
}

impl fmt::Debug for Caches {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.lock().keys()).finish()
    }
}

/// A cache of any keys and values.
trait Member: Send + Sync {
    fn stats(&self) -> Stats;
    fn close(&self, deadline: Duration) -> BoxFuture<'_, Result<Leftovers>>;
}

struct Of<K, V, C> {
    cache: C,
    types: std::marker::PhantomData<fn(K) -> V>,
}

impl<K: Key, V: Value, C: Cache<K, V>> Member for Of<K, V, C> {
    fn stats(&self) -> Stats {
        self.cache.stats()
    }

    fn close(&self, deadline: Duration) -> BoxFuture<'_, Result<Leftovers>> {
        self.cache.close(deadline)
    }
}
