//! A value that cannot be cloned.
//~ ERROR: `Page` cannot be a cached value: a value is `Clone + Send + Sync + 'static`

use larder::Memory;

struct Page(String);

fn main() {
    drop(larder::cache::<u64, Page>().tier(Memory::with_capacity(10)));
}
