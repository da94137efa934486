//! A value that cannot be shared between threads.
//~ ERROR: `Cell<u64>` cannot be a cached value: a value is `Clone + Send + Sync + 'static`

use std::cell::Cell;

use larder::Memory;

fn main() {
    drop(larder::cache::<u64, Cell<u64>>().tier(Memory::with_capacity(10)));
}
