//! A journal in memory: fast, and gone with the process.

use super::seam::{Found, Opened, Opens};
use crate::change::JournalId;
use crate::error::Result;

/// Pending writes wait in the memory of this process, and nowhere else.
///
/// **Whatever ends the process takes with it all writes that have been answered and are not in the store.** For what may be
/// lost: counts of views, positions, presence. Of several writes of one key that wait, only the last is kept, in the place of
/// the first: it may reach the store before older writes of other keys.
#[derive(Clone, Copy, Debug)]
pub struct Volatile {
    shards: u16,
}

impl Volatile {
    /// The journal, with one shard.
    #[must_use]
    pub const fn new() -> Self {
        Self { shards: 1 }
    }

    /// Spreads keys over so many sequences of writes, from 1 to 1,024, which reach the store beside each other: the order of
    /// writes is then kept for each key, and not between keys. Default: 1.
    #[must_use]
    pub const fn shards(self, shards: u16) -> Self {
        Self { shards }
    }
}

impl Default for Volatile {
    fn default() -> Self {
        Self::new()
    }
}

impl<K, V> Opens<K, V> for Volatile {
    fn open(self) -> Result<Opened<K, V>> {
        Ok(Opened {
            id: JournalId::fresh(),
            shards: self.shards,
            log: None,
            found: Found::nothing(),
            stream: None,
        })
    }
}
