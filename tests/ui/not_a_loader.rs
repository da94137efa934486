//! Something that cannot load, where a loader is wanted.
//~ ERROR: `Database` cannot load: it is no `Loader

use larder::{LayeredCache, Memory, Result};

struct Database;

fn main() {
    let pages: Result<LayeredCache<u64, String>> =
        larder::read_through(Database).tier(Memory::with_capacity(10)).build();
    drop(pages);
}
