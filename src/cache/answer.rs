//! The future of a read: ready, or on the heap.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use crate::error::Result;

/// The answer to a read. Await it.
///
/// A hit is ready when `get` returns, so that it allocates nothing, even through `dyn`; a miss is a future on the
/// heap. Dropping the answer of a miss does not stop the load of a registered loader.
#[must_use = "a read does nothing unless awaited"]
pub struct Answer<'a, V>(State<'a, V>);

enum State<'a, V> {
    Ready(Result<Option<V>>),
    Later(Pin<Box<dyn Future<Output = Result<Option<V>>> + Send + 'a>>),
    Taken,
}

impl<'a, V> Answer<'a, V> {
    /// An answer that is there.
    #[inline]
    pub const fn ready(answer: Result<Option<V>>) -> Self {
        Self(State::Ready(answer))
    }

    /// An answer that takes time.
    pub fn later(answer: impl Future<Output = Result<Option<V>>> + Send + 'a) -> Self {
        Self(State::Later(Box::pin(answer)))
    }

    /// Whether it is there without waiting.
    #[must_use]
    pub const fn is_ready(&self) -> bool {
        matches!(self.0, State::Ready(_))
    }
}

// Nothing inside is pinned in place: the value is only ever moved out, the future is behind a pointer.
impl<V> Unpin for Answer<'_, V> {}

impl<V> Future for Answer<'_, V> {
    type Output = Result<Option<V>>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match std::mem::replace(&mut self.0, State::Taken) {
            State::Ready(answer) => Poll::Ready(answer),
            State::Later(mut future) => {
                let answer = future.as_mut().poll(context);
                if answer.is_pending() {
                    self.0 = State::Later(future);
                }
                answer
            }
            State::Taken => Poll::Pending,
        }
    }
}

impl<V> fmt::Debug for Answer<'_, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answer").field("ready", &self.is_ready()).finish_non_exhaustive()
    }
}
