//! Something that can only be read, where a store is wanted.
//~ ERROR: `Replica` cannot save: it is no `Store

use async_trait::async_trait;
use larder::{LayeredCache, Loader, Memory, Result, StoreError};

struct Replica;

#[async_trait]
impl Loader<u64, String> for Replica {
    async fn load(&self, key: &u64) -> Result<Option<String>, StoreError> {
        Ok(Some(key.to_string()))
    }
}

fn main() {
    let pages: Result<LayeredCache<u64, String>> =
        larder::cache_aside(Replica).tier(Memory::with_capacity(10)).build();
    drop(pages);
}
