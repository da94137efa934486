//! What does a hit cost on top of the map that holds the copies?
//!
//! `cargo bench --bench hit` gives Criterion's figures for each case, and then a table of its own: all cases in one
//! process, in interleaved rounds, so that a noisy neighbour disturbs all of them alike. Only the ratios to bare moka
//! mean something on another machine. The row "again" is bare moka once more, in another closure: what it is off from
//! 1.00 is what no ratio of this table can tell.

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use criterion::Criterion;
use foldhash::fast::RandomState;
use larder::{Cache, LayeredCache, Memory};
use tokio::runtime::Runtime;

const RESIDENT: u64 = 1_000;
const CAPACITY: u64 = 4_000;
const VISITS: usize = 1 << 16;
const ROUNDS: usize = 31;
const BATCH: Duration = Duration::from_millis(8);
const HOUR: Duration = Duration::from_secs(3_600);

type Bare = moka::sync::Cache<String, Arc<Post>, RandomState>;

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

/// One way to ask for a key: runs this many hits and says how long they took.
struct Case {
    name: &'static str,
    run: Box<dyn Fn(u64) -> Duration>,
}

impl Case {
    fn new(name: &'static str, run: impl Fn(u64) + 'static) -> Self {
        let run = move |hits| {
            let start = Instant::now();
            run(hits);
            start.elapsed()
        };
        Self { name, run: Box::new(run) }
    }

    /// How many hits take about [`BATCH`].
    fn calibrate(&self) -> u64 {
        let mut hits = 1_000;
        loop {
            let took = (self.run)(hits);
            if took > BATCH / 2 {
                return (hits as f64 * BATCH.as_secs_f64() / took.as_secs_f64()) as u64;
            }
            hits *= 2;
        }
    }
}

fn bare(keys: &Keys) -> Bare {
    let bare: Bare =
        moka::sync::Cache::builder().max_capacity(CAPACITY).build_with_hasher(RandomState::default());
    keys.keys.iter().for_each(|key| bare.insert(key.clone(), post()));
    assert!(keys.keys.iter().all(|key| bare.get(key).is_some()), "every key is resident");
    bare
}

fn cache(keys: &Keys, runtime: &Runtime) -> LayeredCache<String, Arc<Post>> {
    let cache =
        larder::cache().tier(Memory::with_capacity(CAPACITY)).ttl(HOUR).build().expect("nothing is missing");
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
    let cache = cache(&keys, &runtime);
    let dynamic: Arc<dyn Cache<String, Arc<Post>>> = Arc::new(cache.clone());

    macro_rules! case {
        ($name:literal, $held:expr, |$cache:ident, $key:ident| $get:expr) => {{
            let (keys, runtime, $cache) = (Arc::clone(&keys), Arc::clone(&runtime), $held.clone());
            Case::new($name, move |hits| {
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
        case!("bare moka", bare, |cache, key| cache.get(key)),
        case!("bare moka, again", bare, |cache, key| cache.get(key)),
        case!("LayeredCache::get", cache, |cache, key| cache.get(key).await),
        case!("Arc<dyn Cache>::get", dynamic, |cache, key| cache.get(key).await),
        case!("LayeredCache::get_local", cache, |cache, key| cache.get_local(key)),
    ]
}

/// The table: for each case the median time of a hit, and the median over the rounds of its ratio to bare moka.
fn print_table(cases: &[Case]) {
    let batches: Vec<u64> = cases.iter().map(Case::calibrate).collect();
    let mut rounds = Vec::with_capacity(ROUNDS);
    for round in 0..ROUNDS {
        let mut nanos = vec![0.0; cases.len()];
        for turn in 0..cases.len() {
            let at = (round + turn) % cases.len();
            nanos[at] = (cases[at].run)(batches[at]).as_secs_f64() * 1e9 / batches[at] as f64;
        }
        rounds.push(nanos);
    }
    println!(
        "\n{:<26} {:>8}   ratio to bare moka: median (10th to 90th of {ROUNDS} rounds)",
        "a hit through", "ns"
    );
    for (at, case) in cases.iter().enumerate() {
        let nanos = sorted(rounds.iter().map(|round| round[at]));
        let ratios = sorted(rounds.iter().map(|round| round[at] / round[0]));
        let part = |of: &[f64], tenths: usize| of[(of.len() - 1) * tenths / 10];
        println!(
            "{:<26} {:>8.1}   {:.3} ({:.3} to {:.3})",
            case.name,
            part(&nanos, 5),
            part(&ratios, 5),
            part(&ratios, 1),
            part(&ratios, 9),
        );
    }
}

fn sorted(numbers: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut numbers: Vec<_> = numbers.collect();
    numbers.sort_unstable_by(f64::total_cmp);
    numbers
}

fn main() {
    let cases = cases();
    let mut criterion = Criterion::default().configure_from_args();
    let mut group = criterion.benchmark_group("hit");
    for case in &cases {
        group.bench_function(case.name, |bencher| bencher.iter_custom(&case.run));
    }
    group.finish();
    criterion.final_summary();
    // `cargo test --benches` only wants to know that they run; `cargo bench` says `--bench`.
    let wants = |flag: &str| std::env::args().any(|argument| argument == flag);
    if wants("--bench") && !wants("--list") && !wants("--test") {
        print_table(&cases);
    }
}
