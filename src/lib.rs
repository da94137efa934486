//! Caches between a service and its database.
pub mod bounds;
mod cache;
mod engine;
pub mod entry;
pub mod error;
pub mod event;
mod levels;
mod lifetime;
pub mod store;
pub mod strategy;
#[cfg(feature = "testing")]
pub mod testing;
pub mod tier;
pub mod time;

pub use bounds::{Key, Value};
pub use cache::{
    Answer, BoxChange, BoxLoad, BoxWrite, Builder, Cache, CacheExt, Caches, LayeredCache, Reply, cache, cache_aside,
    read_through, read_through_entries, write_around, write_through,
};
pub use engine::{
    Copies, Engine, Leftovers, Local, ReadOptions, Reached, Served, Turn, WriteOptions, Written,
};
pub use entry::{Entry, Freshness};
pub use error::{BoxError, Error, ErrorKind, Fault, Operation, Outcome, Result, StoreError};
pub use event::{Event, Observer, Stats};
pub use store::{
    Change, EntryLoader, LoadRequest, Loaded, Loader, Saved, Store, load_fn, store_fn,
};
#[cfg(feature = "memory")]
pub use tier::Memory;
pub use tier::Tier;
