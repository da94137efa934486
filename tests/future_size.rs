//! The futures of reads stay small: they are moved into every future that awaits them, all the way up to the task, so
//! a big one would make each request's task big. The way down to the store is on the heap, and so is what a load of
//! the caller's own keeps.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use larder::{Cache, CacheExt, LayeredCache, Memory, ReadOptions, Result};

const AT_MOST: usize = 256;

type Page = Arc<[u8; 1024]>;

fn pages() -> Result<LayeredCache<String, Page>> {
    larder::cache().tier(Memory::with_capacity(10)).ttl(Duration::from_secs(60)).build()
}

/// A load that keeps four kilobytes across an await.
async fn load_with_a_buffer() -> Result<Option<Page>, Infallible> {
    let buffer = [1_u8; 4096];
    tokio::task::yield_now().await;
    Ok(buffer.iter().all(|byte| *byte == 1).then(|| Page::new([0; 1024])))
}

fn assert_small<F: Future>(what: &str, future: &F) {
    let size = size_of_val(future);
    println!("{size:>4} bytes  {what}");
    assert!(size <= AT_MOST, "{what} is a future of {size} bytes: more than {AT_MOST}");
}

#[test]
fn the_future_of_a_read_is_small() -> Result<()> {
    let cache = pages()?;
    let key = "/".to_owned();
    assert_small("LayeredCache::get", &cache.get(&key));
    assert_small("LayeredCache::get_by", &cache.get_by("/"));
    assert_small("LayeredCache::get_with", &cache.get_with(&key, ReadOptions::new().reload()));
    assert_small("LayeredCache::get_or_load", &cache.get_or_load(&key, load_with_a_buffer));
    Ok(())
}

#[test]
fn the_future_of_a_read_through_dyn_is_small() -> Result<()> {
    let cache: Arc<dyn Cache<String, Page>> = Arc::new(pages()?);
    let key = "/".to_owned();
    assert_small("dyn Cache::get", &cache.get(&key));
    assert_small("dyn Cache::get_or_load", &cache.get_or_load(&key, load_with_a_buffer));
    Ok(())
}

/// Shows that the load above would make a future big if it were not on the heap.
#[test]
fn a_load_with_a_buffer_is_big() {
    assert!(size_of_val(&load_with_a_buffer()) > 4096);
}
