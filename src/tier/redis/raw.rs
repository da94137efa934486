//! The bytes of slots, without a server: for benchmarks and for fuzzing.

use std::borrow::Cow;

use redis::Value as Answer;

use super::layout;
use super::moment::{Moment, Stamp};
use super::namespace::Namespace;
use crate::bounds::Value;
use crate::codec::{CacheKey, Codec};
use crate::coherence::Mark;
use crate::entry::Entry;
use crate::tier::slot::{Kept, Slot, Token};

/// The only copy, in the only life of no server.
const STAMP: Stamp = Stamp { id: 7, as_of: 1_000, fresh_until: 61_000, expires_at: 61_000 };

impl<V: Value, C: Codec<V>> Namespace<V, C> {
    /// The slot that keeps `value` under `key`, or that there is none; `None` when it cannot be kept.
    #[doc(hidden)]
    pub fn slot_of<K: CacheKey>(&self, key: &K, value: Option<&V>) -> Option<Vec<u8>> {
        let body = self.copies.write(&self.name(key), &STAMP, value)?;
        let Stamp { id, as_of, fresh_until, expires_at } = STAMP;
        let body = Cow::Borrowed(&body[..]);
        Some(layout::encode(&Slot::Kept(Kept { id: Token(id), as_of, fresh_until, expires_at, body })))
    }

    /// What `key` is called in the server.
    #[doc(hidden)]
    pub fn redis_name<K: CacheKey>(&self, key: &K) -> String {
        self.name(key).redis
    }

    /// How many bytes the envelope of `value` has: all the work of writing it, and nothing else.
    #[doc(hidden)]
    pub fn body_length<K: CacheKey>(&self, key: &K, value: Option<&V>) -> Option<usize> {
        Some(self.copies.write(&self.name(key), &STAMP, value)?.len())
    }

    /// The copy under `key` in a slot of these bytes, if there is one that may be used.
    #[doc(hidden)]
    pub fn copy_in<K: CacheKey>(&self, key: &K, slot: Vec<u8>) -> Option<Entry<V>> {
        let moment = Moment::of(self.now(), STAMP.as_of);
        self.copies.open(&moment, &self.name(key), Answer::BulkString(slot), Mark::NONE).ok().flatten()
    }
}
