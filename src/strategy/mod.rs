//! How reads and writes behave. A cache has two seats, one strategy in each.
//!
//! | strategy | a read | a put | a delete |
//! |---|---|---|---|
//! | [`CopiesOnly`] | a copy or nothing | keeps a copy | drops the copies |
//! | [`ReadThrough`] | a copy, or else a load that is kept | – | – |
//! | [`RefreshAhead`] | the same; a copy near its end is served and renewed | – | – |
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
mod refresh_ahead;
mod write_around;
mod write_through;

use async_trait::async_trait;

use crate::bounds::{Key, Value};
use crate::engine::{Engine, ReadOptions, Served, Turn, Written};
use crate::entry::Entry;
use crate::error::Result;
use crate::store::Change;
use crate::time::Timestamp;

pub use copies_only::CopiesOnly;
pub use read_only::ReadOnly;
pub use read_through::ReadThrough;
pub use refresh_ahead::RefreshAhead;
pub use write_around::WriteAround;
pub use write_through::WriteThrough;

/// How a read behaves.
#[async_trait]
pub trait ReadStrategy<K: Key, V: Value>: Send + Sync + 'static {
    /// Whether a copy at hand is served as it is, with nothing else to be done. Called for every read, first: do not
    /// wait, and allocate nothing. One that has expired is not asked about. Unless overridden, a fresh copy is.
    #[inline]
    fn serves_at_once(&self, copy: &Entry<V>, now: Timestamp) -> bool {
        now < copy.fresh_until()
    }

    /// Finds an answer when there was no copy to serve at once. `None`: there is no copy, and nobody was asked.
    async fn find(&self, engine: &Engine<K, V>, key: &K, options: &ReadOptions) -> Result<Option<Served<V>>>;

    /// The same for many keys: an answer for each, in their order. Unless overridden, they are found one by one.
    async fn find_many(
        &self,
        engine: &Engine<K, V>,
        keys: &[K],
        options: &ReadOptions,
    ) -> Vec<Result<Option<Served<V>>>> {
        let mut answers = Vec::with_capacity(keys.len());
        for key in keys {
            answers.push(self.find(engine, key, options).await);
        }
        answers
    }
}

/// How a write behaves. Nobody else in this process writes the keys of a [`Turn`] meanwhile.
#[async_trait]
pub trait WriteStrategy<K: Key, V: Value>: Send + Sync + 'static {
    /// Saves `value`.
    async fn put(&self, turn: Turn<K, V>, value: V) -> Result<Written>;

    /// Deletes the key.
    async fn delete(&self, turn: Turn<K, V>) -> Result<Written>;

    /// Applies changes of the turn's keys, each key's only one, at once. Unless overridden, the store applies them and
    /// the copies are dropped, which is right for every strategy over a store.
    async fn apply(&self, mut turn: Turn<K, V>, changes: Vec<Change<K, V>>) -> Result<Written> {
        turn.apply(&changes).await?;
        Ok(turn.invalidate().await)
    }
}

/// What the engine found of each key, as a strategy says it.
fn some_of_each<V>(found: Vec<Result<Served<V>>>) -> Vec<Result<Option<Served<V>>>> {
    found.into_iter().map(|found| found.map(Some)).collect()
}
