//! What keeps the copies of one process in step with a shared tier: which of them still count, and until when. Pure
//! state, no I/O, time handed in.
//!
//! Keys share *stripes*, and stripes are in *buckets*. A copy carries the [`Mark`] of its key's stripe, taken before the shared tier
//! was asked; whatever drops the key there moves the stripe on, and a copy with an older mark counts no more. So
//! neither a message nor a push needs to know the key, and one that comes between a question and its answer is not
//! lost: `R: mark · R: asks · S: answers v1 · W: drops · S: tells · R: moves on · R: keeps v1`, and R's copy has the mark of before.
//!
//! A message can also be lost, or the process can have slept. So a bucket is [trusted](Trust) for a while only: until the
//! bound after the moment at which the last answered question was *sent* on the connection that messages come on. All
//! messages of before that moment had come when the answer came. Nobody needs to notice anything for trust to end.

mod follower;
mod trust;

use std::time::Duration;

pub use follower::{Act, Follower, Said};
pub use trust::{BUCKETS, Mark, STRIPES, Trust};

/// How tiers of this process, above a shared one, learn what other processes drop. A copy here is so far behind the shared
/// tier at the most as the variant says, whatever is lost, cut off or asleep. The [guide](crate::guide) says what comes on top
/// where a primary does not know that it was replaced.
///
/// ```
/// use larder::Coherence;
/// use std::time::Duration;
/// # fn build<K: larder::Key, V: larder::Value>(builder: larder::Builder<K, V>) -> larder::Builder<K, V> {
/// builder.coherence(Coherence::Bus(Duration::from_secs(1)))
/// # }
/// ```
///
/// All processes of a namespace should choose the same; those that have no tier of their own too, since they write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Coherence {
    /// It does not: a copy is served for this long without asking the shared tier. Needs nothing of the server.
    TtlOnly(Duration),
    /// It asks: every read of a copy checks with the shared tier that it is still the one there, in one round trip that carries
    /// no value. Nothing is behind.
    Validated,
    /// The server remembers what this process has read, and tells when that changes (RESP3 client tracking). Needs nothing
    /// of those who write.
    Tracked(Duration),
    /// Whoever drops copies says so to all, in numbered messages (pub/sub, on a cluster sharded pub/sub). Needs writers that do:
    /// all caches of the namespace with this or [`Auto`](Self::Auto).
    Bus(Duration),
    /// The best of these that the server offers: `Tracked`, else `Bus`, else `Validated`. An event says which. Whoever writes tells
    /// all, as nobody knows who listens.
    Auto(Duration),
}

impl Coherence {
    /// How far a copy of this process is behind the shared tier at the most.
    #[must_use]
    pub const fn bound(self) -> Duration {
        match self {
            Self::TtlOnly(bound) | Self::Tracked(bound) | Self::Bus(bound) | Self::Auto(bound) => bound,
            Self::Validated => Duration::ZERO,
        }
    }

    /// Whether this process is to tell others what it drops.
    #[cfg(feature = "redis")]
    #[must_use]
    pub(crate) const fn announces(self) -> bool {
        matches!(self, Self::Bus(_) | Self::Auto(_))
    }

    /// Whether copies carry marks.
    #[must_use]
    pub(crate) const fn marks(self) -> bool {
        !matches!(self, Self::TtlOnly(_))
    }

    /// Whether somebody has to listen.
    #[must_use]
    pub(crate) const fn listens(self) -> bool {
        matches!(self, Self::Tracked(_) | Self::Bus(_) | Self::Auto(_))
    }
}
