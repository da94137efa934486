//! What the task at hand is in the middle of, so that a load or a write that would wait for itself is told so.
//!
//! `get(a)` · loader of `a` calls `get(b)` · loader of `b` calls `get(a)`: the third call would wait for the first,
//! which waits for it. Each flight's task carries the chain of flights and turns it was begun in; whoever is about
//! to wait for a link of its own chain gets an error instead. A loader that spawns a task of its own and asks from
//! there breaks the chain; the load deadline then ends the wait.

use std::sync::Arc;

use super::flights::FlightId;
use super::key_locks::LockId;

tokio::task_local!(static CHAIN: Option<Arc<Link>>);

/// One thing that is under way, and what it was begun in.
pub(crate) struct Link {
    what: Under,
    outer: Option<Arc<Self>>,
}

/// What can be under way.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Under {
    Flight(FlightId),
    /// A write of the keys with this lock, in the cache with this number.
    Turn(u64, LockId),
}

/// The chain of the task at hand.
pub(crate) fn chain() -> Option<Arc<Link>> {
    CHAIN.try_with(Clone::clone).ok().flatten()
}

/// Whether the task at hand is in the middle of `what`.
pub(crate) fn is_in(what: Under) -> bool {
    let chain = chain();
    let mut link = chain.as_deref();
    while let Some(here) = link {
        if here.what == what {
            return true;
        }
        link = here.outer.as_deref();
    }
    false
}

/// `outer` with one more link.
pub(crate) fn extend(outer: Option<Arc<Link>>, what: Under) -> Option<Arc<Link>> {
    Some(Arc::new(Link { what, outer }))
}

/// Runs `future` as a part of `chain`.
pub(crate) async fn scope<F: Future>(chain: Option<Arc<Link>>, future: F) -> F::Output {
    CHAIN.scope(chain, future).await
}
