//! Places where copies are kept.
//!
//! A [`Tier`] may lose a copy at any time; it may not invent one, and it may not take one back that a write has
//! overtaken. That last promise is the *fence*:
//!
//! - Whoever wants to fill a key first takes a [`Lease`] with [`acquire`](Tier::acquire), and only then goes to ask
//!   the store. Any invalidation of the key destroys its leases. [`fill`](Tier::fill) with a destroyed lease is
//!   refused.
//! - Whoever writes the store and wants to leave the new value behind first [holds](Tier::hold_many) the key: the
//!   copy goes, leases are destroyed, nobody may fill while the hold lives. [`publish`](Tier::publish) is accepted
//!   only from a hold that was alone and untouched for its whole life.
//!
//! To keep copies in a map of your own in this process, implement [`LocalMap`] and wrap it in
//! [`Fenced`], which supplies the fence. To write a tier from nothing, implement [`Tier`] and run
//! `larder::testing::tier_contract` against it.

mod arc;
mod fenced;
mod host;
mod lookup;
#[cfg(feature = "memory")]
mod memory;
#[cfg(feature = "quick-cache")]
mod quick;
#[cfg(feature = "redis")]
pub mod redis;
#[cfg(any(feature = "memory", feature = "quick-cache"))]
mod room;
mod scope;
#[cfg(any(feature = "memory", feature = "quick-cache"))]
mod shares;
#[cfg(any(feature = "redis", feature = "testing"))]
#[doc(hidden)]
pub mod slot;
mod stripes;
mod token;

use std::time::Duration;

use futures_util::future::BoxFuture;

use crate::bounds::{Key, Value};
use crate::coherence::Mark;
use crate::entry::Entry;
use crate::error::Result;
use crate::receipt::Reading;
use crate::time::Timestamp;

pub use fenced::{Fenced, LocalMap, Stored};
#[doc(hidden)]
pub use host::Agreement;
pub use host::Host;
pub use lookup::Lookup;
#[cfg(feature = "memory")]
pub use memory::{Memory, MemoryBuilder, MokaMap};
#[cfg(feature = "quick-cache")]
pub use quick::{Quick, QuickBuilder, QuickMap};
#[cfg(any(feature = "memory", feature = "quick-cache"))]
pub use room::Removal;
pub use scope::Scope;
#[cfg(any(feature = "memory", feature = "quick-cache"))]
pub use shares::Shares;

/// The right to fill one key of one tier, taken before the store is asked and destroyed by any write of the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Lease(u128);

impl Lease {
    /// A lease that a tier knows by this number. The number must never be given to two loads of which a write of
    /// the key could come between.
    #[must_use]
    pub const fn new(number: u128) -> Self {
        Self(number)
    }

    /// The number by which the tier knows it.
    #[must_use]
    pub const fn number(self) -> u128 {
        self.0
    }
}

/// A writer's claim on keys across its store write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Hold(u128);

impl Hold {
    /// A claim like no other, of this process or any. Its number has 96 bits at the most.
    #[must_use]
    pub fn unique() -> Self {
        Self(token::unique())
    }

    /// The number by which tiers know it.
    #[must_use]
    pub const fn number(self) -> u128 {
        self.0
    }
}

/// What a lease is wanted for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Purpose {
    /// There is no usable copy: a fresh one found now makes the lease unnecessary.
    Fill,
    /// A newer answer is wanted whatever copy there is; the copy stays until it is replaced.
    Renew,
}

/// The answer to [`Tier::acquire`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Acquired<V> {
    /// Somebody has filled the key meanwhile.
    Fresh(Entry<V>),
    /// Load and fill; the old copy, if the tier still has one, comes along.
    Granted(Lease, Option<Entry<V>>),
    /// Somebody else is loading the key, and has the right to for this much longer at the most.
    Busy(Duration),
    /// Somebody is writing the key: load, but keep nothing.
    Held,
}

/// The answer to [`Tier::fill`] and [`Tier::publish`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[must_use]
#[non_exhaustive]
pub enum Filled {
    /// The tier has the entry, or has evicted it again for want of room.
    Stored,
    /// A write came between; the tier has nothing for the key, or something newer.
    Refused,
    /// Nothing came between, but the tier cannot keep this: it is too big, or cannot be written.
    Unfit,
}

/// A place where copies are kept. See the [module page](self) for its contract.
///
/// Methods may be cancelled by dropping their futures; the tier must then behave as if the call had either happened
/// or not. Errors are made with [`Error::tier`](crate::Error::tier). On reads a failing tier is a miss.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot keep copies: it is no `Tier<{K}, {V}>`",
    label = "not a tier for these keys and values",
    note = "use `Memory::with_capacity(n)`, wrap a map in `Fenced`, or implement `Tier<{K}, {V}>`"
)]
pub trait Tier<K: Key, V: Value>: Send + Sync + 'static {
    /// A short name for statistics and answers: `memory`, `redis`.
    fn name(&self) -> &'static str;

    /// Whether other processes see the same copies.
    fn is_shared(&self) -> bool {
        false
    }

    /// Called once, when a cache is built on the tier.
    ///
    /// # Errors
    ///
    /// The tier cannot serve this cache, of kind [`Settings`](crate::ErrorKind::Settings): the cache does not build.
    fn attach(&self, _host: &Host) -> Result<()> {
        Ok(())
    }

    /// What a shared tier marks copies of `key` with from now on, so that tiers of this process hear when they count no
    /// more. Asked for before the key is. [`Mark::NONE`]: it cannot tell.
    #[doc(hidden)]
    fn mark(&self, _key: &K) -> Mark {
        Mark::NONE
    }

    /// Whether a shared tier still has the copies that tiers of this process have: a new mark for each of which it does.
    #[doc(hidden)]
    fn revalidate_many(
        &self,
        copies: &[(K, Mark)],
    ) -> impl Future<Output = Result<Vec<Option<Mark>>>> + Send {
        std::future::ready(Ok(vec![None; copies.len()]))
    }

    /// Word of the end of a load of another process, where a shared tier hears of it: from now on, so that whoever waits asks
    /// once more before it does.
    #[doc(hidden)]
    fn word_of_end(&self, _key: &K) -> impl Future<Output = Option<BoxFuture<'static, ()>>> + Send {
        std::future::ready(None)
    }

    /// This moment on the clocks of a shared tier's servers that have `keys`, as late as it can be; of those that are known
    /// without asking.
    #[doc(hidden)]
    fn readings(&self, _keys: &[K]) -> Vec<Reading> {
        Vec::new()
    }

    /// The moment of `readings` on the clock of the cache, rather too late than too early; nothing where none of them is of a
    /// server that has `keys`, in its present life.
    #[doc(hidden)]
    fn moment_of(
        &self,
        _keys: &[K],
        _readings: &[Reading],
    ) -> impl Future<Output = Option<Timestamp>> + Send {
        std::future::ready(None)
    }

    /// How long a lease lives unless it is [renewed](Self::renew). `None`: as long as nothing destroys it.
    fn lease(&self) -> Option<Duration> {
        None
    }

    /// The copy of `key`, if it can be had without waiting.
    fn local(&self, _key: &K) -> Option<Entry<V>> {
        None
    }

    /// The same for a key in a borrowed form. A tier that cannot answer says that it has nothing at hand.
    fn local_by(&self, _key: &Lookup<'_, K>) -> Option<Entry<V>> {
        None
    }

    /// The copies of `keys`, in their order.
    fn get_many(&self, keys: &[K]) -> impl Future<Output = Result<Vec<Option<Entry<V>>>>> + Send;

    /// [`get_many`](Self::get_many) for one key. Override it where that can be had for less.
    fn get(&self, key: &K) -> impl Future<Output = Result<Option<Entry<V>>>> + Send {
        async move { Ok(self.get_many(std::slice::from_ref(key)).await?.pop().flatten()) }
    }

    /// Takes the right to fill `key`. Ask before the store is asked.
    fn acquire(&self, key: &K, purpose: Purpose) -> impl Future<Output = Result<Acquired<V>>> + Send;

    /// Keeps `entry`, unless its lease is gone or the tier has a newer answer.
    fn fill(&self, key: &K, lease: Lease, entry: &Entry<V>) -> impl Future<Output = Result<Filled>> + Send;

    /// [`acquire`](Self::acquire) for each of `keys`, in their order. Override it where one message can carry them all.
    fn acquire_many(
        &self,
        keys: &[K],
        purpose: Purpose,
    ) -> impl Future<Output = Result<Vec<Acquired<V>>>> + Send {
        async move {
            let mut answers = Vec::with_capacity(keys.len());
            for key in keys {
                answers.push(self.acquire(key, purpose).await?);
            }
            Ok(answers)
        }
    }

    /// [`fill`](Self::fill) for each of `fills`, in their order. One that is refused does not stop the others.
    fn fill_many(
        &self,
        fills: &[(&K, Lease, &Entry<V>)],
    ) -> impl Future<Output = Result<Vec<Filled>>> + Send {
        async move {
            let mut answers = Vec::with_capacity(fills.len());
            for (key, lease, entry) in fills {
                answers.push(self.fill(key, *lease, entry).await?);
            }
            Ok(answers)
        }
    }

    /// Says that the load behind `lease` is still under way. For tiers whose leases end by themselves.
    fn renew(&self, _key: &K, _lease: Lease) -> impl Future<Output = Result<()>> + Send {
        async { Ok(()) }
    }

    /// Gives a lease back after a failed load; the copy stays, and nobody need try again for `back_off`.
    fn abandon(
        &self,
        _key: &K,
        _lease: Lease,
        _back_off: Duration,
    ) -> impl Future<Output = Result<()>> + Send {
        async { Ok(()) }
    }

    /// Gives a lease back as far as it can be done without waiting; called when a load is cancelled. Where a lease keeps
    /// others waiting, see to it that it does not until it runs out.
    fn abandon_now(&self, _key: &K, _lease: Lease) {}

    /// Drops the copies of `keys` and destroys their leases. When it answers, no older copy can come back.
    fn invalidate_many(&self, keys: &[K]) -> impl Future<Output = Result<()>> + Send;

    /// The same, with an answer for each key: of a tier on several servers one may be away. Unless overridden, all keys have
    /// the answer of [`invalidate_many`](Self::invalidate_many).
    fn invalidate_each(&self, keys: &[K]) -> impl Future<Output = Vec<Result<()>>> + Send {
        async {
            let dropped = self.invalidate_many(keys).await;
            keys.iter().map(|_| dropped.clone()).collect()
        }
    }

    /// Does what [`invalidate_many`](Self::invalidate_many) does as far as it can be done without waiting; called
    /// when a write is cancelled.
    fn invalidate_now(&self, _keys: &[K]) {}

    /// Claims `keys` for a writer: drops their copies, destroys their leases, and lets nobody fill them until the
    /// hold is released or published, at the longest for `lifetime`. Asked again with the same hold, it gives the
    /// writer that much time anew.
    fn hold_many(
        &self,
        keys: &[K],
        hold: Hold,
        lifetime: Duration,
    ) -> impl Future<Output = Result<()>> + Send;

    /// Ends a hold and leaves no copy behind.
    fn release_many(&self, keys: &[K], hold: Hold) -> impl Future<Output = Result<()>> + Send;

    /// Ends a hold and keeps `entry`, if no other writer touched the key while it lived; else leaves no copy.
    fn publish(&self, key: &K, hold: Hold, entry: &Entry<V>) -> impl Future<Output = Result<Filled>> + Send;

    /// Drops all copies of this cache and destroys all leases.
    fn clear(&self) -> impl Future<Output = Result<()>> + Send;

    /// Drops the copies of the keys in `scope` and destroys their leases; those of other keys may go as well. Unless
    /// overridden, all copies of this cache go.
    fn clear_where(&self, _scope: &Scope<K>) -> impl Future<Output = Result<()>> + Send {
        self.clear()
    }

    /// Lets go of what the tier holds open.
    fn close(&self) -> impl Future<Output = Result<()>> + Send {
        async { Ok(()) }
    }
}
