//! A tier whose keys are of another type than the cache's.
//~ ERROR: cannot keep copies: it is no `Tier<u64, String>`

use larder::Memory;

fn main() {
    drop(larder::cache::<u64, String>().tier(Memory::<u32, String>::with_capacity(10)));
}
