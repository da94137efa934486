//! A counter over a store that keeps no offsets: after a crash it would count twice, or not at all.
//~ ERROR: cannot merge: it is no `MergeStore<u64, u64>`

use std::io;

use larder::store::Sum;
use larder::store_fn;

async fn load(_: u64) -> io::Result<Option<u64>> {
    Ok(None)
}

async fn save(_: u64, _: u64) -> io::Result<()> {
    Ok(())
}

async fn delete(_: u64) -> io::Result<()> {
    Ok(())
}

fn main() {
    drop(larder::write_behind(store_fn(load, save, delete)).merge(Sum));
}
