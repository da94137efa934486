//! A hit allocates nothing: not through the concrete type, not through `dyn`, not through `get_or_load`, and neither
//! for a value nor for a remembered absence. It needs no waiting either: its future is ready when it is first polled.

use std::convert::Infallible;
use std::hint::black_box;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use larder::testing::FakeStore;
use larder::{Cache, CacheExt, LayeredCache, Local, Memory, Result};

/// moka puts its own house in order now and then, on the thread of whoever reads: enough reads to include that.
const WARM_UP: usize = 2_000;
const HITS: usize = 20_000;

type Page = Arc<[u8; 1024]>;

/// A cache that has a page for every key of `there`, and knows that there is none for every key of `absent`.
async fn warm(there: &[String], absent: &[String]) -> Result<LayeredCache<String, Page>> {
    let store = FakeStore::with(there.iter().map(|key| (key.clone(), Page::new([0; 1024]))));
    let cache = larder::cache_aside(store)
        .tier(Memory::with_capacity(4_000))
        .ttl(Duration::from_secs(3_600))
        .absent_ttl(Duration::from_secs(3_600))
        .build()?;
    for key in there {
        assert!(cache.get(key).await?.is_some());
    }
    for key in absent {
        assert!(cache.get(key).await?.is_none());
    }
    Ok(cache)
}

fn keys(of: &str) -> Vec<String> {
    (0..100).map(|n| format!("{of}:tenant-a:{n:010}")).collect()
}

/// The answer of a future that needs no waiting, without a runtime that could allocate.
fn now<A>(future: impl Future<Output = A>) -> A {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(answer) => answer,
        Poll::Pending => panic!("a hit needs no waiting"),
    }
}

/// How often `hit` allocates when it is called for one key after the other.
fn allocations(keys: &[String], mut hit: impl FnMut(&String)) -> u64 {
    keys.iter().cycle().take(WARM_UP).for_each(&mut hit);
    allocation_counter::measure(|| keys.iter().cycle().take(HITS).for_each(&mut hit)).count_total
}

async fn no_load() -> Result<Option<Page>, Infallible> {
    panic!("a hit loads nothing")
}

#[tokio::test]
async fn a_hit_allocates_nothing() -> Result<()> {
    let there = keys("post");
    let cache = warm(&there, &[]).await?;
    let get = |key: &String| assert!(black_box(now(cache.get(key))).is_ok_and(|page| page.is_some()));
    assert_eq!(allocations(&there, get), 0);
    Ok(())
}

#[tokio::test]
async fn a_hit_through_dyn_allocates_nothing() -> Result<()> {
    let there = keys("post");
    let cache: Arc<dyn Cache<String, Page>> = Arc::new(warm(&there, &[]).await?);
    let get = |key: &String| assert!(black_box(now(cache.get(key))).is_ok_and(|page| page.is_some()));
    assert_eq!(allocations(&there, get), 0);
    Ok(())
}

#[tokio::test]
async fn a_remembered_absence_allocates_nothing() -> Result<()> {
    let absent = keys("nobody");
    let cache = warm(&[], &absent).await?;
    let get = |key: &String| assert!(black_box(now(cache.get(key))).is_ok_and(|page| page.is_none()));
    assert_eq!(allocations(&absent, get), 0);
    let cache: Arc<dyn Cache<String, Page>> = Arc::new(cache);
    let get = |key: &String| assert!(black_box(now(cache.get(key))).is_ok_and(|page| page.is_none()));
    assert_eq!(allocations(&absent, get), 0, "through dyn");
    Ok(())
}

#[tokio::test]
async fn a_local_hit_allocates_nothing() -> Result<()> {
    let (there, absent) = (keys("post"), keys("nobody"));
    let cache = warm(&there, &absent).await?;
    assert_eq!(allocations(&there, |key| assert!(matches!(cache.get_local(key), Local::Value(_)))), 0);
    assert_eq!(allocations(&absent, |key| assert!(matches!(cache.get_local(key), Local::Absent))), 0);
    let cache: Arc<dyn Cache<String, Page>> = Arc::new(cache);
    assert_eq!(allocations(&there, |key| assert!(matches!(cache.get_local(key), Local::Value(_)))), 0, "through dyn");
    Ok(())
}

#[tokio::test]
async fn a_hit_of_get_or_load_allocates_nothing() -> Result<()> {
    let (there, absent) = (keys("post"), keys("nobody"));
    let cache = warm(&there, &absent).await?;
    let get = |key: &String| assert!(black_box(now(cache.get_or_load(key, no_load))).is_ok_and(|page| page.is_some()));
    assert_eq!(allocations(&there, get), 0);
    let get = |key: &String| assert!(black_box(now(cache.get_or_load(key, no_load))).is_ok_and(|page| page.is_none()));
    assert_eq!(allocations(&absent, get), 0, "an absence");
    let cache: Arc<dyn Cache<String, Page>> = Arc::new(cache);
    let get = |key: &String| assert!(black_box(now(cache.get_or_load(key, no_load))).is_ok_and(|page| page.is_some()));
    assert_eq!(allocations(&there, get), 0, "through dyn");
    let get = |key: &String| assert!(black_box(now(cache.get_or_load(key, no_load))).is_ok_and(|page| page.is_none()));
    assert_eq!(allocations(&absent, get), 0, "an absence through dyn");
    Ok(())
}

/// Shows that the counter counts: else every test above would pass whatever happens.
#[tokio::test]
async fn a_miss_is_seen_to_allocate() -> Result<()> {
    let cache = warm(&[], &[]).await?;
    let nowhere = keys("nowhere");
    let ask = |key: &String| drop(black_box(cache.get(key)));
    assert!(allocations(&nowhere, ask) >= HITS as u64, "the way down is boxed");
    Ok(())
}
