//! A key that cannot be hashed.
//~ ERROR: `Id` cannot be a cache key: a key is `Clone + Eq + Hash + Send + Sync + 'static`

use larder::Memory;

#[derive(Clone, PartialEq, Eq)]
struct Id(u64);

fn main() {
    drop(larder::cache::<Id, String>().tier(Memory::with_capacity(10)));
}
