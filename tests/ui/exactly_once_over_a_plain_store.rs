//! A store that keeps no offsets, where each write is to have its effect exactly once.
//~ ERROR: cannot write exactly once: it is no `TransactionalStore<u64, String>`

use std::io;

use larder::store_fn;

async fn load(_: u64) -> io::Result<Option<String>> {
    Ok(None)
}

async fn save(_: u64, _: String) -> io::Result<()> {
    Ok(())
}

async fn delete(_: u64) -> io::Result<()> {
    Ok(())
}

fn main() {
    drop(larder::write_behind(store_fn(load, save, delete)).exactly_once());
}
