//! An async function, cached by its argument.

use std::fmt;
use std::sync::Arc;

use super::LayeredCache;
use crate::bounds::{Key, Value};
use crate::error::{Error, ErrorKind, Operation, Result, StoreError};

/// The key of a call: which function, and with what argument. Two functions never share keys.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct FunctionCall<A> {
    function: &'static str,
    argument: A,
}

impl<A> FunctionCall<A> {
    /// The call of the function wrapped under this name, with this argument: to invalidate it, for example.
    pub const fn new(function: &'static str, argument: A) -> Self {
        Self { function, argument }
    }
}

impl<A: Key, V: Value> LayeredCache<FunctionCall<A>, V> {
    /// Turns an async function into a cached one. `name` sets it apart from the other functions of this cache.
    ///
    /// ```
    /// # async fn demo() -> larder::Result<()> {
    /// use larder::{FunctionCall, Memory};
    /// use std::{io, time::Duration};
    ///
    /// async fn square(n: u64) -> Result<u64, io::Error> {
    ///     Ok(n * n)
    /// }
    ///
    /// let results = larder::cache().tier(Memory::with_capacity(100)).ttl(Duration::from_secs(60)).build()?;
    /// let squares = results.wrap("square", square)?;
    /// assert_eq!(squares.call(7).await?, 49);
    /// assert_eq!(squares.call(7).await?, 49); // a hit
    /// results.invalidate(&FunctionCall::new("square", 7)).await?;
    /// # Ok(())
    /// # }
    /// # tokio::runtime::Runtime::new().unwrap().block_on(demo()).unwrap();
    /// ```
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Settings`] when another function of this cache has the name.
    pub fn wrap<F, Fut, E>(&self, name: &'static str, function: F) -> Result<Wrapped<A, V, F>>
    where
        F: Fn(A) -> Fut + Send + Sync,
        Fut: Future<Output = Result<V, E>> + Send,
        E: Into<StoreError>,
    {
        if !self.names().lock().insert(name) {
            let twice = format!("two functions are wrapped as `{name}`: give each a name of its own");
            return Err(self.at(Error::new(ErrorKind::Settings, twice), Operation::Build));
        }
        Ok(Wrapped { cache: self.clone(), name, function: Arc::new(function) })
    }
}

/// What [`LayeredCache::wrap`] makes. Clones call the same function through the same cache.
pub struct Wrapped<A, V, F> {
    cache: LayeredCache<FunctionCall<A>, V>,
    name: &'static str,
    function: Arc<F>,
}

impl<A, V, F, Fut, E> Wrapped<A, V, F>
where
    A: Key,
    V: Value,
    F: Fn(A) -> Fut + Send + Sync,
    Fut: Future<Output = Result<V, E>> + Send,
    E: Into<StoreError>,
{
    /// The function's answer: a copy, or else by calling it, once for all who ask meanwhile.
    ///
    /// # Errors
    ///
    /// The function's own, or the load deadline.
    pub async fn call(&self, argument: A) -> Result<V> {
        let key = FunctionCall { function: self.name, argument };
        let load = || async { (self.function)(key.argument.clone()).await.map(Some) };
        let answer = self.cache.get_or_load(&key, load).await?;
        answer.ok_or_else(|| {
            Error::new(ErrorKind::Unsupported, "something put an absence where a function's answer belongs")
        })
    }
}

impl<A, V, F> Clone for Wrapped<A, V, F> {
    fn clone(&self) -> Self {
        Self { cache: self.cache.clone(), name: self.name, function: Arc::clone(&self.function) }
    }
}

impl<A, V, F> fmt::Debug for Wrapped<A, V, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wrapped").field("name", &self.name).finish_non_exhaustive()
    }
}
