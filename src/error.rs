//! What can go wrong, and what a store says when a write fails.

use std::borrow::Cow;
use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;

/// What every fallible call of this crate returns.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Any error that can cross threads.
pub type BoxError = Box<dyn StdError + Send + Sync + 'static>;

/// Why a call failed. New kinds may be added in any release.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The store failed to load or to write; the store's own error is the [source](StdError::source).
    Store,
    /// A tier could not drop its copy, so an older value might be served from it; or it refused the claim without which a
    /// linearizable cache does not write.
    Tier,
    /// A deadline of the cache ran out: a load, a store write, or the wait for another writer of the same key.
    Timeout,
    /// The loader or the store panicked; only this key's callers are told, nothing is kept.
    Panicked,
    /// A load or a write waits for itself: the loader of a key asked the same cache for that key, or a write was
    /// begun inside a write of the same key.
    Nested,
    /// A write was asked of a cache that stands on a loader only.
    ReadOnly,
    /// The call needs a store, and this cache has none.
    NoStore,
    /// The cache has been closed.
    Closed,
    /// A load or a write was asked for outside a tokio runtime, or in one without timers.
    NoRuntime,
    /// The task that did the work was dropped with its runtime before it had an answer.
    Abandoned,
    /// A batch load answered with another number of results than it was asked for.
    WrongLength,
    /// The settings of a cache are missing or contradict each other.
    Settings,
    /// The journal of pending writes failed: its disk, or somebody else has it, or it is damaged. Without a journal nothing
    /// is accepted.
    Journal,
    /// As many writes wait for the store as may, and this one has not been accepted.
    Full,
    /// The store will never take this write; it has been put aside as a dead letter.
    DeadLetter,
    /// This cache does not offer the call: an implementation of [`Cache`](crate::Cache) that leaves it out, or `update`
    /// where other processes may write in between.
    Unsupported,
}

/// What a caller wanted when it failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Operation {
    /// Setting up a cache.
    Build,
    /// Reading a key.
    Get,
    /// Saving a value.
    Put,
    /// Deleting a key.
    Delete,
    /// Dropping copies.
    Invalidate,
    /// A write of the caller's own.
    Write,
    /// Reading, changing and saving a key.
    Update,
    /// Merging into what a key has.
    Merge,
    /// Loading a key anew.
    Refresh,
    /// Dropping all copies.
    Clear,
    /// Bringing what waits to the store.
    Flush,
    /// Closing the cache.
    Close,
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Build => "build",
            Self::Get => "get",
            Self::Put => "put",
            Self::Delete => "delete",
            Self::Invalidate => "invalidate",
            Self::Write => "write",
            Self::Update => "update",
            Self::Merge => "merge",
            Self::Refresh => "refresh",
            Self::Clear => "clear",
            Self::Flush => "flush",
            Self::Close => "close",
        })
    }
}

/// The error of every call: what kind, which operation, which cache, and the cause.
///
/// It is one pointer, so that one failed load can be told to ten thousand waiting callers. Its text never holds a
/// key, a value or a credential; the store's own error is reachable through [`source`](StdError::source) and
/// [`downcast_ref`](Self::downcast_ref), and what *that* prints is the store's affair.
#[derive(Clone)]
pub struct Error(Arc<Inner>);

#[derive(Clone)]
struct Inner {
    kind: ErrorKind,
    operation: Option<Operation>,
    cache: Option<Arc<str>>,
    detail: Cow<'static, str>,
    source: Option<Arc<Source>>,
    /// What is known of a write that this error ended, where the store did not say.
    outcome: Option<Outcome>,
    /// Whether it may pass by itself, though its kind does not say so.
    passes: bool,
}

/// Where an error came from: the store, with what it knows of the outcome, or anything else.
enum Source {
    Store(StoreError),
    Other(BoxError),
}

impl Error {
    /// An error of `kind`; `detail` is a sentence that says what happened and what to do. Write no key into it.
    pub fn new(kind: ErrorKind, detail: impl Into<Cow<'static, str>>) -> Self {
        Self(Arc::new(Inner {
            kind,
            operation: None,
            cache: None,
            detail: detail.into(),
            source: None,
            outcome: None,
            passes: false,
        }))
    }

    /// The error of a tier's own client, for those who write a [`Tier`](crate::tier::Tier).
    pub fn tier(source: impl Into<BoxError>) -> Self {
        let mut error = Self::new(ErrorKind::Tier, "the tier failed");
        error.inner().source = Some(Arc::new(Source::Other(source.into())));
        error
    }

    /// What kind of failure this is.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// What the caller wanted, when the error has reached a cache.
    #[must_use]
    pub fn operation(&self) -> Option<Operation> {
        self.0.operation
    }

    /// The name of the cache, when the error has reached one.
    #[must_use]
    pub fn cache(&self) -> Option<&str> {
        self.0.cache.as_deref()
    }

    /// What the store said of a failed call, for errors of kind [`ErrorKind::Store`].
    #[must_use]
    pub fn store_error(&self) -> Option<&StoreError> {
        match self.0.source.as_deref() {
            Some(Source::Store(error)) => Some(error),
            _ => None,
        }
    }

    /// What is known of the write that failed: whether the store has it. `None` when nothing was written because
    /// nothing was tried, as for an error of a read or of the settings.
    #[must_use]
    pub fn outcome(&self) -> Option<Outcome> {
        self.0.outcome.or_else(|| self.store_error().map(StoreError::outcome))
    }

    /// The error with the cause that it has.
    #[cfg(any(all(feature = "local-log", unix), feature = "redis"))]
    pub(crate) fn with_source(mut self, source: impl Into<BoxError>) -> Self {
        self.inner().source = Some(Arc::new(Source::Other(source.into())));
        self
    }

    /// The same call may succeed later, though errors of its kind mostly stay.
    #[cfg(feature = "redis")]
    pub(crate) fn that_passes(mut self) -> Self {
        self.inner().passes = true;
        self
    }

    pub(crate) fn with_outcome(mut self, outcome: Outcome) -> Self {
        self.inner().outcome = Some(outcome);
        self
    }

    /// The cause as the type that the store or the tier reported, if it is an `E`.
    #[must_use]
    pub fn downcast_ref<E: StdError + 'static>(&self) -> Option<&E> {
        match self.0.source.as_deref() {
            Some(Source::Store(error)) => error.downcast_ref(),
            Some(Source::Other(error)) => error.downcast_ref(),
            None => None,
        }
    }

    /// Whether the same call may succeed a little later without anything being changed.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self.0.kind {
            ErrorKind::Store => self.store_error().is_none_or(|error| error.fault() != Fault::Permanent),
            ErrorKind::Tier | ErrorKind::Timeout | ErrorKind::Abandoned | ErrorKind::Full => true,
            _ => self.0.passes,
        }
    }

    /// Turns a store's failure into ours. Our own error, handed up by a loader that asked another cache, passes
    /// through as it is: `Closed` must not come out as `Store`.
    pub(crate) fn store(error: StoreError) -> Self {
        if let Some(own) = error.downcast_ref::<Self>() {
            // What failed may have been a later step than the write.
            return match error.outcome() {
                Outcome::Applied => own.clone().with_outcome(Outcome::Applied),
                _ => own.clone(),
            };
        }
        let mut ours = Self::new(ErrorKind::Store, "the store failed");
        ours.inner().source = Some(Arc::new(Source::Store(error)));
        ours
    }

    /// What a panic of the user's code becomes. The panic's own text is not repeated: it may hold a key or a value.
    pub(crate) fn panicked() -> Self {
        Self::new(
            ErrorKind::Panicked,
            "the loader or the store panicked; the process' panic output has its message",
        )
    }

    /// Says which cache and which call failed, unless a cache further down has said so already.
    pub(crate) fn at(mut self, cache: &Arc<str>, operation: Operation) -> Self {
        if self.0.operation.is_none() {
            let inner = self.inner();
            inner.operation = Some(operation);
            inner.cache = Some(Arc::clone(cache));
        }
        self
    }

    /// The parts, to be changed: in place while nobody else holds the error, else in a copy.
    fn inner(&mut self) -> &mut Inner {
        Arc::make_mut(&mut self.0)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(cache) = &self.0.cache {
            write!(f, "cache `{cache}`: ")?;
        }
        if let Some(operation) = self.0.operation {
            write!(f, "{operation}: ")?;
        }
        f.write_str(&self.0.detail)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error")
            .field("kind", &self.0.kind)
            .field("operation", &self.0.operation)
            .field("cache", &self.0.cache)
            .field("detail", &self.0.detail)
            .field("source", &self.source().map(ToString::to_string))
            .finish()
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self.0.source.as_deref() {
            Some(Source::Store(error)) => Some(&*error.source),
            Some(Source::Other(error)) => Some(&**error),
            None => None,
        }
    }
}

/// What is known about a write that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Outcome {
    /// Nobody can say whether the store has the write, or may yet get it: a lost connection, a time-out.
    #[default]
    Unknown,
    /// The store surely does not have the write: a violated constraint, a connection that was never made.
    NotApplied,
    /// The store has the write, and something failed after it.
    Applied,
}

/// Whether the same call can succeed later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Fault {
    /// The store has not said.
    #[default]
    Unclassified,
    /// It may pass: a deadlock, a restart, a time-out.
    Transient,
    /// It never will: a violated constraint, a wrong type.
    Permanent,
}

/// What a store answers when it cannot do what it was asked.
///
/// Any error becomes one with `?`; its outcome is then [`Outcome::Unknown`] and its fault [`Fault::Unclassified`].
/// A boxed error, an `anyhow::Error` for example, becomes one with `.map_err(StoreError::new)`.
///
/// A store that knows more says so, and spares its callers the caution:
///
/// ```
/// use larder::StoreError;
///
/// fn refuse(duplicate: std::io::Error) -> StoreError {
///     StoreError::new(duplicate).not_applied().permanent()
/// }
/// # let _ = refuse(std::io::Error::other("taken"));
/// ```
pub struct StoreError {
    source: BoxError,
    outcome: Outcome,
    fault: Fault,
}

impl StoreError {
    /// A failure with an unknown outcome and an unclassified fault. Also takes a plain message.
    pub fn new(source: impl Into<BoxError>) -> Self {
        Self { source: source.into(), outcome: Outcome::default(), fault: Fault::default() }
    }

    /// The write surely did not happen: the copies are still right.
    #[must_use]
    pub fn not_applied(self) -> Self {
        Self { outcome: Outcome::NotApplied, ..self }
    }

    /// The write did happen, and something failed after it: the copies are dropped.
    #[must_use]
    pub fn applied(self) -> Self {
        Self { outcome: Outcome::Applied, ..self }
    }

    /// The failure may pass: trying again can help.
    #[must_use]
    pub fn transient(self) -> Self {
        Self { fault: Fault::Transient, ..self }
    }

    /// The failure will not pass: trying again cannot help.
    #[must_use]
    pub fn permanent(self) -> Self {
        Self { fault: Fault::Permanent, ..self }
    }

    /// The failure of a batch of which `done` changes had been applied before: "not applied" is then true of one of
    /// them only.
    pub(crate) fn after(self, done: usize) -> Self {
        match self.outcome {
            Outcome::NotApplied if done > 0 => self.applied(),
            _ => self,
        }
    }

    /// What is known about the write.
    #[must_use]
    pub fn outcome(&self) -> Outcome {
        self.outcome
    }

    /// Whether trying again can help.
    #[must_use]
    pub fn fault(&self) -> Fault {
        self.fault
    }

    /// The store's own error, if it is an `E`.
    #[must_use]
    pub fn downcast_ref<E: StdError + 'static>(&self) -> Option<&E> {
        self.source.downcast_ref()
    }

    /// The store's own error.
    #[must_use]
    pub fn into_source(self) -> BoxError {
        self.source
    }
}

// Deliberately no `std::error::Error` for `StoreError`: that is what lets `?` turn every other error into one.
impl<E: StdError + Send + Sync + 'static> From<E> for StoreError {
    fn from(source: E) -> Self {
        Self::new(source)
    }
}

impl fmt::Debug for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoreError")
            .field("outcome", &self.outcome)
            .field("fault", &self.fault)
            .field("source", &self.source)
            .finish()
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.source, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_error_has_an_unknown_outcome() {
        let error: StoreError = std::io::Error::other("connection reset").into();
        assert_eq!((error.outcome(), error.fault()), (Outcome::Unknown, Fault::Unclassified));
    }

    #[test]
    fn our_own_error_passes_through_a_store_unchanged() {
        let inner = Error::new(ErrorKind::Closed, "the cache is closed");
        assert_eq!(Error::store(StoreError::from(inner)).kind(), ErrorKind::Closed);
    }

    #[test]
    fn the_first_cache_to_report_is_the_one_named() {
        let error = Error::new(ErrorKind::Timeout, "too late")
            .at(&Arc::from("inner"), Operation::Get)
            .at(&Arc::from("outer"), Operation::Put);
        assert_eq!(error.to_string(), "cache `inner`: get: too late");
    }

    #[test]
    fn the_stores_own_error_can_be_asked_for() {
        let error = Error::store(std::io::Error::other("full").into());
        assert!(error.downcast_ref::<std::io::Error>().is_some());
        assert!(error.source().is_some());
    }

    #[test]
    fn a_permanent_fault_is_not_worth_a_retry() {
        assert!(Error::store(StoreError::new("lost")).is_retryable());
        assert!(!Error::store(StoreError::new("taken").permanent()).is_retryable());
        assert!(!Error::new(ErrorKind::ReadOnly, "no").is_retryable());
    }
}
