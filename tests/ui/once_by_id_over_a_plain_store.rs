//! A store that does not know writes again, where each has an id that it is to be known by.
//~ ERROR: cannot tell a write that it has seen: it is no `IdempotentStore<u64, String>`

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
    drop(larder::write_behind(store_fn(load, save, delete)).once_by_id());
}
