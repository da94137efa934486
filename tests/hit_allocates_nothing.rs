//! A hit allocates nothing, however it is asked for: through the concrete type, through `dyn`, through `get_or_load`,
//! and neither for a value nor for a remembered absence. It needs no waiting either: its future is ready when it is
//! first polled.
//!
//! That is said of everything above the map that holds the copies. moka, which is the map of [`Memory`], puts its
//! house in order once in 64 reads, on the thread of whoever reads, and may then allocate on its own account.

use std::collections::HashMap;
use std::convert::Infallible;
use std::hint::black_box;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use larder::testing::FakeStore;
use larder::tier::{Fenced, LocalMap, Lookup, Stored};
use larder::{Builder, Cache, CacheExt, LayeredCache, Local, Memory, Quick, Result, Tier};

const KEYS: usize = 100;
const WARM_UP: usize = 2_000;
const HITS: usize = 20_000;

type Page = Arc<[u8; 1024]>;
type Pages = LayeredCache<String, Page>;

/// A map that never allocates when it is read.
#[derive(Default)]
struct Plain(Mutex<HashMap<String, Stored<Page>>>);

impl Plain {
    fn rows(&self) -> std::sync::MutexGuard<'_, HashMap<String, Stored<Page>>> {
        self.0.lock().expect("no panic")
    }
}

impl LocalMap<String, Page> for Plain {
    fn get(&self, key: &String) -> Option<Stored<Page>> {
        self.rows().get(key).cloned()
    }

    fn get_by(&self, lookup: &Lookup<'_, String>) -> Option<Stored<Page>> {
        self.rows().iter().find(|(key, _)| lookup.is(key)).map(|(_, stored)| stored.clone())
    }

    fn put(&self, key: String, stored: Stored<Page>) {
        self.rows().insert(key, stored);
    }

    fn remove(&self, key: &String) {
        self.rows().remove(key);
    }

    fn clear(&self) {
        self.rows().clear();
    }

    fn len(&self) -> u64 {
        self.rows().len() as u64
    }
}

/// One way to ask for a key: whether there is a page.
type Way = (&'static str, fn(&Pages, &Arc<dyn Cache<String, Page>>, &String) -> bool);

const WAYS: [Way; 7] = [
    ("get", |cache, _, key| is_there(now(cache.get(key)))),
    ("get through dyn", |_, cache, key| is_there(now(cache.get(key)))),
    ("get_by", |cache, _, key| is_there(now(cache.get_by(key.as_str())))),
    ("get_local", |cache, _, key| is_local(&cache.get_local(key))),
    ("get_local through dyn", |_, cache, key| is_local(&cache.get_local(key))),
    ("get_or_load", |cache, _, key| is_there(now(cache.get_or_load(key, no_load)))),
    ("get_or_load through dyn", |_, cache, key| is_there(now(cache.get_or_load(key, no_load)))),
];

fn is_there(answer: Result<Option<Page>>) -> bool {
    black_box(answer.expect("a hit does not fail")).is_some()
}

fn is_local(local: &Local<Page>) -> bool {
    match black_box(local) {
        Local::Value(_) => true,
        Local::Absent => false,
        Local::Unknown => panic!("a hit is known on the spot"),
    }
}

async fn no_load() -> Result<Option<Page>, Infallible> {
    panic!("a hit loads nothing")
}

/// The answer of a future that needs no waiting, without a runtime that could allocate.
fn now<A>(future: impl Future<Output = A>) -> A {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(answer) => answer,
        Poll::Pending => panic!("a hit needs no waiting"),
    }
}

fn keys(of: &str) -> Vec<String> {
    (0..KEYS).map(|n| format!("{of}:tenant-a:{n:010}")).collect()
}

/// A cache over a store that has a page for every key of `there`.
fn over(there: &[String], tier: impl Tier<String, Page>) -> Builder<String, Page> {
    let hour = Duration::from_secs(3_600);
    let store = FakeStore::with(there.iter().map(|key| (key.clone(), Page::new([0; 1024]))));
    larder::cache_aside(store).tier(tier).ttl(hour).absent_ttl(hour)
}

/// A cache that has a copy for every key of `there`, and knows that there is none for every key of `absent`.
async fn warm(builder: Builder<String, Page>, there: &[String], absent: &[String]) -> Result<Pages> {
    let cache = builder.build()?;
    for key in there {
        assert!(cache.get(key).await?.is_some());
    }
    for key in absent {
        assert!(cache.get(key).await?.is_none());
    }
    Ok(cache)
}

fn plain() -> Fenced<String, Page, Plain> {
    Fenced::new("plain", Plain::default())
}

/// How often `hit` allocates when it is called for one key after the other.
fn allocations(keys: &[String], mut hit: impl FnMut(&String)) -> u64 {
    keys.iter().cycle().take(WARM_UP).for_each(&mut hit);
    allocation_counter::measure(|| keys.iter().cycle().take(HITS).for_each(&mut hit)).count_total
}

/// How often hits of `keys`, which are known to be there or known to be absent, allocate: for every way to ask.
fn allocations_of_all_ways(cache: &Pages, keys: &[String], there: bool) -> Vec<(&'static str, u64)> {
    let dynamic: Arc<dyn Cache<String, Page>> = Arc::new(cache.clone());
    WAYS.iter()
        .map(|(name, ask)| {
            (*name, allocations(keys, |key| assert_eq!(ask(cache, &dynamic, key), there, "{name}")))
        })
        .collect()
}

#[tokio::test]
async fn a_hit_allocates_nothing() -> Result<()> {
    let there = keys("post");
    let cache = warm(over(&there, plain()), &there, &[]).await?;
    for (way, allocations) in allocations_of_all_ways(&cache, &there, true) {
        assert_eq!(allocations, 0, "{way}");
    }
    Ok(())
}

#[tokio::test]
async fn a_hit_before_its_refresh_is_due_allocates_nothing() -> Result<()> {
    let there = keys("post");
    let cache = warm(over(&there, plain()).refresh_ahead(0.8), &there, &[]).await?;
    for (way, allocations) in allocations_of_all_ways(&cache, &there, true) {
        assert_eq!(allocations, 0, "{way}");
    }
    Ok(())
}

#[tokio::test]
async fn a_remembered_absence_allocates_nothing() -> Result<()> {
    let absent = keys("nobody");
    let cache = warm(over(&[], plain()), &[], &absent).await?;
    for (way, allocations) in allocations_of_all_ways(&cache, &absent, false) {
        assert_eq!(allocations, 0, "{way}");
    }
    Ok(())
}

#[tokio::test]
async fn a_hit_on_the_quick_engine_allocates_nothing() -> Result<()> {
    let (there, absent) = (keys("post"), keys("nobody"));
    let cache = warm(over(&there, Quick::with_capacity(4_000)), &there, &absent).await?;
    let values = allocations_of_all_ways(&cache, &there, true);
    let absences = allocations_of_all_ways(&cache, &absent, false);
    for (way, allocations) in values.into_iter().chain(absences) {
        assert_eq!(allocations, 0, "{way}");
    }
    Ok(())
}

#[tokio::test]
async fn a_hit_in_memory_allocates_at_most_when_moka_cleans_up() -> Result<()> {
    let (there, absent) = (keys("post"), keys("nobody"));
    let cache = warm(over(&there, Memory::with_capacity(4_000)), &there, &absent).await?;
    let values = allocations_of_all_ways(&cache, &there, true);
    let absences = allocations_of_all_ways(&cache, &absent, false);
    for (way, allocations) in values.into_iter().chain(absences) {
        println!("{allocations:>4} allocations in {HITS} hits through {way}");
        assert!(allocations < HITS as u64 / 20, "{way}: {allocations} in {HITS} hits");
    }
    Ok(())
}

/// Shows that the counter counts: else every test above would pass whatever happens.
#[tokio::test]
async fn a_miss_is_seen_to_allocate() -> Result<()> {
    let cache = warm(over(&[], plain()), &[], &[]).await?;
    let ask = |key: &String| drop(black_box(cache.get(key)));
    assert!(allocations(&keys("nowhere"), ask) >= HITS as u64, "the way down is boxed");
    Ok(())
}
