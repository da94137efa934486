//! Nothing is missing here: shows that the other programs fail for what they say, and for nothing else.
//~ OK

use std::io;
use std::time::Duration;

use larder::{LayeredCache, Memory, Result, load_fn};

#[derive(Clone, PartialEq, Eq, Hash)]
struct Id(u64);

#[derive(Clone)]
struct Page(String);

async fn fetch(id: Id) -> io::Result<Option<Page>> {
    Ok(Some(Page(id.0.to_string())))
}

fn main() -> Result<()> {
    let pages: LayeredCache<Id, Page> = larder::read_through(load_fn(fetch))
        .tier(Memory::with_capacity(10))
        .ttl(Duration::from_secs(60))
        .build()?;
    drop(pages);
    Ok(())
}
