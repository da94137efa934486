//! The tasks of one cache: counted, refused after `close`, waited for by it.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::nesting;
use crate::error::{Error, ErrorKind, Result};
use crate::time;

/// What a task is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Duty {
    Load,
    Write,
}

/// The tasks of one cache.
#[derive(Debug, Default)]
pub(crate) struct Background {
    tasks: TaskTracker,
    closing: CancellationToken,
    loads: AtomicUsize,
    writes: AtomicUsize,
    /// Keys whose copies were still there when their repair was stopped by `close`.
    undropped: AtomicUsize,
}

/// What was still under way when [`close`](crate::Cache::close) stopped waiting.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Leftovers {
    /// Loads; their answers are of no more use.
    pub loads: usize,
    /// Writes, and invalidations that belong to writes. They go on while the runtime lives.
    pub writes: usize,
    /// Keys whose copies a failing tier has not dropped: it may serve an older value until their ttl ends.
    pub copies: usize,
    /// Writes that were answered and are not known to be in the store: the journal has them, or they are lost with it. Of a
    /// stream that processes share: those of all of them.
    pub pending: usize,
}

impl Leftovers {
    /// Whether everything was done.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.loads == 0 && self.writes == 0 && self.copies == 0 && self.pending == 0
    }
}

impl fmt::Display for Leftovers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return f.write_str("nothing is left");
        }
        let Self { loads, writes, copies, pending } = self;
        write!(f, "left: {loads} loads, {writes} writes, {copies} keys with copies to be dropped")?;
        match pending {
            0 => Ok(()),
            pending => write!(f, ", {pending} answered writes that are not in the store"),
        }
    }
}

impl Background {
    /// Starts a task that outlives its caller. Its chain of nesting is the caller's.
    pub(crate) fn spawn<F>(
        self: &Arc<Self>,
        duty: Duty,
        task: F,
    ) -> Result<tokio::task::JoinHandle<F::Output>>
    where
        F: Future<Output: Send + 'static> + Send + 'static,
    {
        let runtime = Handle::try_current().map_err(|_| no_runtime())?;
        let counted = Counted::new(Arc::clone(self), duty);
        let chain = nesting::chain();
        let task = async move {
            let _counted = counted;
            nesting::scope(chain, task).await
        };
        Ok(self.tasks.spawn_on(task, &runtime))
    }

    /// Starts a task and awaits its answer. Dropping the caller does not stop the task.
    pub(crate) async fn run<F, A>(self: &Arc<Self>, duty: Duty, task: F) -> Result<A>
    where
        F: Future<Output = Result<A>> + Send + 'static,
        A: Send + 'static,
    {
        match self.spawn(duty, task)?.await {
            Ok(answer) => answer,
            Err(failed) if failed.is_panic() => Err(Error::panicked()),
            Err(_cancelled) => Err(abandoned()),
        }
    }

    /// Whether `close` has been called.
    pub(crate) fn is_closed(&self) -> bool {
        self.closing.is_cancelled()
    }

    /// Resolves when `close` is called.
    pub(crate) async fn closing(&self) {
        self.closing.cancelled().await;
    }

    /// Refuses new work and waits for what is under way, no longer than `deadline`.
    pub(crate) async fn close(&self, deadline: Duration) -> Result<Leftovers> {
        self.closing.cancel();
        self.tasks.close();
        match time::within(time::from_now(deadline), self.tasks.wait()).await {
            Err(time::Unanswered::NoTimer) if !self.tasks.is_empty() => Err(no_runtime()),
            _ => Ok(Leftovers {
                loads: self.loads.load(Ordering::Acquire),
                writes: self.writes.load(Ordering::Acquire),
                copies: self.undropped.load(Ordering::Acquire),
                pending: 0,
            }),
        }
    }

    /// A repair has been stopped by `close` before a tier had dropped its copies.
    pub(crate) fn leave_copies(&self, keys: usize) {
        self.undropped.fetch_add(keys, Ordering::AcqRel);
    }

    fn counter(&self, duty: Duty) -> &AtomicUsize {
        match duty {
            Duty::Load => &self.loads,
            Duty::Write => &self.writes,
        }
    }
}

/// Counts a task for as long as it exists, also when it is dropped unfinished.
struct Counted {
    background: Arc<Background>,
    duty: Duty,
}

impl Counted {
    fn new(background: Arc<Background>, duty: Duty) -> Self {
        background.counter(duty).fetch_add(1, Ordering::AcqRel);
        Self { background, duty }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.background.counter(self.duty).fetch_sub(1, Ordering::AcqRel);
    }
}

pub(crate) fn no_runtime() -> Error {
    Error::new(
        ErrorKind::NoRuntime,
        "loads and writes need a tokio runtime with timers; call from inside one, built with `enable_time`",
    )
}

pub(crate) fn abandoned() -> Error {
    Error::new(ErrorKind::Abandoned, "the task was dropped with its runtime before it had an answer")
}
