//! How reads and writes behave. A cache has two seats, one strategy in each.
//!
//! | strategy | a read | a put | a delete |
//! |---|---|---|---|
//! | [`CopiesOnly`] | a copy or nothing | keeps a copy | drops the copies |
//! | [`ReadThrough`] | a copy, or else a load that is kept | – | – |
//! | [`WriteAround`] | – | store, then drops the copies | store, then drops the copies |
//! | [`WriteThrough`] | – | store, then replaces the copies | store, then keeps the absence |
//! | [`ReadOnly`] | – | refuses | refuses |
//!
//! Cache-aside is read-through with write-around: `larder::cache_aside` plays the part that the application plays in
//! the textbook. Several tiers are no strategy at all: any pair of strategies works on any stack of tiers.
//!
//! Strategies are written in the verbs of the [`Engine`] and of a [`Turn`], which keep every order of them safe: one of
//! your own is a few lines, given to the builder with `.read(…)` or `.write(…)`.

mod copies_only;
mod read_only;
mod read_through;
mod write_around;
mod write_through;

use async_trait::async_trait;

use crate::bounds::{Key, Value};
use crate::engine::{Engine, Local, ReadOptions, Served, Turn, Written};
use crate::error::Result;

pub use copies_only::CopiesOnly;
pub use read_only::ReadOnly;
pub use read_through::ReadThrough;
pub use write_around::WriteAround;
pub use write_through::WriteThrough;

/// How a read behaves.
#[async_trait]
pub trait ReadStrategy<K: Key, V: Value>: Send + Sync + 'static {
    /// What can be answered at once. Called for every read, first; do not wait, and allocate nothing.
    #[inline]
    fn local(&self, engine: &Engine<K, V>, key: &K) -> Local<V> {
        engine.local(key)
    }

    /// Finds an answer when [`local`](Self::local) had none. `None`: there is no copy, and nobody was asked.
    async fn find(&self, engine: &Engine<K, V>, key: &K, options: &ReadOptions) -> Result<Option<Served<V>>>;
}

/// How a write behaves. The [`Turn`] is for one key, and nobody else in this process writes it meanwhile.
#[async_trait]
pub trait WriteStrategy<K: Key, V: Value>: Send + Sync + 'static {
    /// Saves `value`.
    async fn put(&self, turn: Turn<K, V>, value: V) -> Result<Written>;

    /// Deletes the key.
    async fn delete(&self, turn: Turn<K, V>) -> Result<Written>;
}
