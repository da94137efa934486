//! Caches between a service and its database that say how stale they can be, and keep their word.
//!
//! ```
//! # async fn demo() -> larder::Result<()> {
//! use larder::{Memory, load_fn};
//! use std::{io, time::Duration};
//!
//! async fn find_title(id: u64) -> Result<Option<String>, io::Error> {
//!     Ok((id == 1).then(|| "Hello".to_owned())) // a query
//! }
//!
//! let titles = larder::read_through(load_fn(find_title))
//!     .name("titles")
//!     .tier(Memory::with_capacity(10_000))
//!     .ttl(Duration::from_secs(3600))
//!     .build()?;
//!
//! assert_eq!(titles.get(&1).await?.as_deref(), Some("Hello")); // asks the database
//! assert_eq!(titles.get(&1).await?.as_deref(), Some("Hello")); // does not
//! titles.invalidate(&1).await?; // the next read asks again
//! # Ok(())
//! # }
//! # tokio::runtime::Runtime::new().unwrap().block_on(demo()).unwrap();
//! ```
//!
//! # Which entry function?
//!
//! | the data | begin with | a read | a write |
//! |---|---|---|---|
//! | rows that are read far more than written | [`cache_aside`] (or [`write_around`]) | a copy, or else loads | store, then drops the copies |
//! | rows that are read right after they are written | [`write_through`] | a copy, or else loads | store, then replaces the copies |
//! | rows that are written more often than the store likes | [`write_behind`] | what waits, a copy, or else loads | the journal, then replaces the copies; the store later, in batches |
//! | something that can only be read | [`read_through`] | a copy, or else loads | refused |
//! | results of work, with no store behind them | [`cache`] | [`get_or_load`](LayeredCache::get_or_load) brings the load | keeps or drops copies |
//!
//! For writes that are partial SQL, or that touch another table, there is [`write`](LayeredCache::write); for counters
//! [`increment`](LayeredCache::increment), over write-behind.
//!
//! Copies are kept in tiers: `Memory` in this process, and with the feature `redis` a server that all processes of a
//! service share. Both are given to the builder with [`tier`](Builder::tier), the fastest first.
//!
//! # What it promises, in one process
//!
//! - A value is served no longer than its ttl after the store was asked for it, and the window of
//!   [`stale_while_revalidate`](Builder::stale_while_revalidate) where one is set.
//! - A read that begins after a write or an [`invalidate`](LayeredCache::invalidate) has been answered returns nothing
//!   older, whatever loads were under way.
//! - Those who read a key at the same time share one load, unless a write comes between or one of them wants it
//!   reloaded; a reader that goes away, a loader that fails,
//!   panics or hangs harms nobody else's key.
//! - Writes of one key take turns; [`update`](LayeredCache::update) loses nothing.
//! - After a write whose outcome nobody knows the copies are dropped, now and once more when it can no longer come
//!   true.
//!
//! # And across processes
//!
//! With a shared tier, and all writes going through larder:
//!
//! - A read that begins after a write has been answered, in whichever process, returns nothing older; through a tier of
//!   its own process above the shared one at most [`local_ttl`](Builder::local_ttl) later, or the bound of its
//!   [`coherence`](Builder::coherence), which messages make a rare one.
//! - A read that is given the [receipt](Written::receipt) of a write returns nothing older, in whichever process, whatever that
//!   one has in memory.
//! - With [`Consistency::Linearizable`] it returns what the store had at some moment while it read, and a writer that dies
//!   leaves no old copy.
//! - Of all processes one loads a key, and the others wait for it, for a while.
//! - A shared tier that fails is a miss. Copies that it could not drop are dropped when it answers again.
//! - Writes that wait in a `journal::RedisStream` are read by all processes, and brought to the store once, in the order of each
//!   key, whichever process dies.
//!
//! What is left of this under which failure, the guide on Redis says in a table.
//!
//! # The parts
//!
//! [`Cache`] is the trait an application holds, [`LayeredCache`] what the [`Builder`] makes. [`store`] is the database
//! behind it, [`tier`] where copies are kept, [`strategy`] how reads and writes behave, `codec` (with `redis` or `local-log`)
//! how keys and values become bytes, [`journal`] where writes wait, `sqlx` (with `sqlite` or `postgres`) ready-made stores,
//! `testing` (a feature) what your tests need. [`error`] says what can go wrong, [`event`] what happened, [`time`] what is
//! fresh, [`tenant`] whose a key is. Longer texts are in [`guide`]: Redis, write-behind, errors, testing, stability, patterns.

pub mod bounds;
mod cache;
mod change;
#[cfg(any(feature = "redis", feature = "local-log"))]
pub mod codec;
#[doc(hidden)]
pub mod coherence;
mod consistency;
mod engine;
pub mod entry;
pub mod error;
pub mod event;
pub mod guide;
pub mod journal;
mod levels;
mod lifetime;
mod receipt;
pub mod store;
pub mod strategy;
#[doc(hidden)]
pub mod stream;
mod sync;
pub mod tenant;
#[cfg(feature = "testing")]
pub mod testing;
pub mod tier;
pub mod time;

pub use bounds::{Key, Value};
pub use cache::{
    Answer, BoxChange, BoxFuture, BoxLoad, BoxLoadMany, BoxWrite, Builder, Cache, CacheExt, Caches,
    FunctionCall, LayeredCache, Reply, Wrapped, cache, cache_aside, read_through, read_through_entries,
    write_around, write_through,
};
pub use coherence::Coherence;
pub use consistency::Consistency;
pub use engine::{
    Copies, Engine, Leftovers, Local, Reached, ReadOptions, Served, Turn, WriteOptions, Written,
};
pub use entry::{Entry, Freshness};
pub use error::{BoxError, Error, ErrorKind, Fault, Operation, Outcome, Result, StoreError};
pub use event::{Event, Observer, Stats};
pub use receipt::{ParseReceiptError, Receipt};
#[cfg(any(feature = "sqlite", feature = "postgres"))]
pub use store::sqlx;
pub use store::{
    AtLimit, Change, EntryLoader, LoadRequest, Loaded, Loader, Saved, Store, WriteBehind, load_fn, store_fn,
    write_behind,
};
pub use tenant::{Tenant, TenantKey};
#[cfg(feature = "memory")]
pub use tier::Memory;
#[cfg(feature = "quick-cache")]
pub use tier::Quick;
#[cfg(feature = "redis")]
pub use tier::redis::Redis;
pub use tier::{Fenced, Tier};
pub use time::{Clock, SystemClock, Timestamp};

/// The README's examples, compiled and run with the doc tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
