//! What does a hit cost on top of the map that holds the copies?
//!
//! `cargo bench --bench hit` gives Criterion's figures for each case, and then a table of all cases side by side. The row
//! "again" is bare moka once more, in another closure: what it is off from 1.00 is what no ratio of this table can tell.

mod support;

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use criterion::Criterion;
use foldhash::fast::RandomState;
use larder::{Cache, LayeredCache, Memory, Quick, Tier};
use support::Case;
use tokio::runtime::Runtime;

const RESIDENT: u64 = 1_000;
const CAPACITY: u64 = 4_000;
const VISITS: usize = 1 << 16;
const HOUR: Duration = Duration::from_secs(3_600);

type Bare = moka::sync::Cache<String, Arc<Post>, RandomState>;
type BareFuture = moka::future::Cache<String, Arc<Post>>;
type BareQuick = quick_cache::sync::Cache<String, Arc<Post>, quick_cache::UnitWeighter, RandomState>;

/// A value of one kibibyte.
struct Post {
    _text: [u8; 1024],
}

/// The resident keys, and the order in which they are visited.
struct Keys {
    keys: Vec<String>,
    order: Vec<usize>,
}

impl Keys {
    fn new() -> Self {
        let keys: Vec<_> = (0..RESIDENT).map(|n| format!("post:tenant-a:{n:010}")).collect();
        assert!(keys.iter().all(|key| key.len() == 24));
        let mut random = fastrand::Rng::with_seed(42);
        let order = (0..VISITS).map(|_| random.usize(..keys.len())).collect();
        Self { keys, order }
    }

    fn visit(&self, visits: u64) -> impl Iterator<Item = &String> {
        self.order
            .iter()
            .cycle()
            .take(usize::try_from(visits).unwrap_or(usize::MAX))
            .map(|at| &self.keys[*at])
    }
}

fn bare(keys: &Keys) -> Bare {
    let bare: Bare =
        moka::sync::Cache::builder().max_capacity(CAPACITY).build_with_hasher(RandomState::default());
    keys.keys.iter().for_each(|key| bare.insert(key.clone(), post()));
    assert!(keys.keys.iter().all(|key| bare.get(key).is_some()), "every key is resident");
    bare
}

fn bare_quick(keys: &Keys) -> Arc<BareQuick> {
    let bare = BareQuick::with(
        CAPACITY as usize,
        CAPACITY,
        quick_cache::UnitWeighter,
        RandomState::default(),
        quick_cache::sync::DefaultLifecycle::default(),
    );
    keys.keys.iter().for_each(|key| bare.insert(key.clone(), post()));
    Arc::new(bare)
}

fn bare_future(keys: &Keys, runtime: &Runtime) -> BareFuture {
    let bare: BareFuture = moka::future::Cache::builder()
        .max_capacity(CAPACITY)
        .time_to_live(HOUR)
        .build_with_hasher(std::collections::hash_map::RandomState::default());
    runtime.block_on(async {
        for key in &keys.keys {
            bare.insert(key.clone(), post()).await;
        }
    });
    bare
}

fn cache(
    keys: &Keys,
    runtime: &Runtime,
    tier: impl Tier<String, Arc<Post>>,
) -> LayeredCache<String, Arc<Post>> {
    let cache = larder::cache().tier(tier).ttl(HOUR).build().expect("nothing is missing");
    runtime.block_on(async {
        for key in &keys.keys {
            _ = cache.put(key, post()).await.expect("memory takes everything");
        }
        for key in &keys.keys {
            assert!(cache.get(key).is_ready(), "every key is resident");
        }
    });
    cache
}

fn post() -> Arc<Post> {
    Arc::new(Post { _text: [0; 1024] })
}

/// The cases, bare moka first. Nothing but the `get` differs between their loops.
fn cases() -> Vec<Case> {
    let keys = Arc::new(Keys::new());
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime starts");
    let runtime = Arc::new(runtime);
    let bare = bare(&keys);
    let future = bare_future(&keys, &runtime);
    let bare_quick = bare_quick(&keys);
    let memory = cache(&keys, &runtime, Memory::with_capacity(CAPACITY));
    let quick = cache(&keys, &runtime, Quick::with_capacity(CAPACITY));
    let dynamic: Arc<dyn Cache<String, Arc<Post>>> = Arc::new(memory.clone());

    macro_rules! case {
        ($name:literal, $base:literal, $held:expr, |$cache:ident, $key:ident| $get:expr) => {{
            let (keys, runtime, $cache) = (Arc::clone(&keys), Arc::clone(&runtime), $held.clone());
            Case::new($name, $base, move |hits| {
                runtime.block_on(async {
                    for $key in keys.visit(hits) {
                        let $key = black_box($key);
                        _ = black_box($get);
                    }
                });
            })
        }};
    }
    vec![
        case!("bare moka::sync", 0, bare, |cache, key| cache.get(key)),
        case!("bare moka::sync, again", 0, bare, |cache, key| cache.get(key)),
        case!("LayeredCache::get, Memory", 0, memory, |cache, key| cache.get(key).await),
        case!("LayeredCache::get_local, Memory", 0, memory, |cache, key| cache.get_local(key)),
        case!("LayeredCache::get_by, Memory", 0, memory, |cache, key| cache.get_by(key.as_str()).await),
        case!("Arc<dyn Cache>::get, Memory", 0, dynamic, |cache, key| cache.get(key).await),
        case!("bare moka::future, ttl, SipHash", 6, future, |cache, key| cache.get(key).await),
        case!("LayeredCache::get, Memory", 6, memory, |cache, key| cache.get(key).await),
        case!("LayeredCache::get, Quick", 6, quick, |cache, key| cache.get(key).await),
        case!("bare quick_cache", 9, bare_quick, |cache, key| cache.get(key)),
        case!("LayeredCache::get, Quick", 9, quick, |cache, key| cache.get(key).await),
    ]
}

/// Two threads at once on the same keys: each hit counted for both.
fn cases_of_two_threads() -> Vec<Case> {
    let keys = Arc::new(Keys::new());
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime starts");
    let bare = bare(&keys);
    let bare_quick = bare_quick(&keys);
    let memory = cache(&keys, &runtime, Memory::with_capacity(CAPACITY));
    let quick = cache(&keys, &runtime, Quick::with_capacity(CAPACITY));

    macro_rules! case {
        ($name:literal, $base:literal, $held:expr) => {{
            let (keys, held) = (Arc::clone(&keys), $held.clone());
            Case::new($name, $base, move |hits| {
                let visit = || {
                    for key in keys.visit(hits / 2 + 1) {
                        _ = black_box(held.get(black_box(key)));
                    }
                };
                std::thread::scope(|scope| _ = (scope.spawn(visit), scope.spawn(visit)));
            })
        }};
    }
    vec![
        case!("bare moka::sync", 0, bare),
        case!("LayeredCache::get, Memory", 0, memory),
        case!("bare quick_cache", 2, bare_quick),
        case!("LayeredCache::get, Quick", 2, quick),
    ]
}

fn main() {
    let cases = cases();
    let mut criterion = Criterion::default().configure_from_args();
    let mut group = criterion.benchmark_group("hit");
    for (at, case) in cases.iter().enumerate() {
        group.bench_function(format!("{at} {}", case.name), |bencher| bencher.iter_custom(&case.run));
    }
    group.finish();
    criterion.final_summary();
    if support::is_wanted() {
        support::print_table("a hit", &cases);
        support::print_table("a hit, two threads at once", &cases_of_two_threads());
    }
}
