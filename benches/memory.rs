//! What does an entry weigh, and how many reads does a full tier answer, against the engine inside?
//!
//! Weight: 200,000 entries of a `u64` key and an `Arc<[u8]>` of 100 bytes, live heap bytes for each. Hit ratio: traces of
//! keys that are read, and inserted when missing, over tiers that have room for 1 % or 10 % of the keys.

mod support;

use std::sync::Arc;
use std::time::Duration;

use larder::{LayeredCache, Memory, Quick, Tier};
use tokio::runtime::Runtime;

const ENTRIES: u64 = 200_000;
const UNIVERSE: u64 = 100_000;
const ACCESSES: usize = 1_000_000;

type Bytes = Arc<[u8]>;

fn value() -> Bytes {
    Arc::from([0_u8; 100])
}

fn cache<V: larder::Value>(tier: impl Tier<u64, V>) -> LayeredCache<u64, V> {
    larder::cache().tier(tier).ttl(Duration::from_secs(3600)).build().expect("nothing is missing")
}

/// Live bytes for each entry, of what `fill` leaves behind.
fn bytes_per_entry<A>(fill: impl FnOnce() -> A) -> f64 {
    let mut kept = None;
    let allocated = allocation_counter::measure(|| kept = Some(fill()));
    drop(kept);
    allocated.bytes_current as f64 / ENTRIES as f64
}

fn fill_moka() -> moka::sync::Cache<u64, Bytes, foldhash::fast::RandomState> {
    let bare = moka::sync::Cache::builder().max_capacity(2 * ENTRIES).build_with_hasher(Default::default());
    (0..ENTRIES).for_each(|key| bare.insert(key, value()));
    bare.run_pending_tasks();
    bare
}

fn fill_quick() -> quick_cache::sync::Cache<u64, Bytes> {
    let bare = quick_cache::sync::Cache::new(2 * ENTRIES as usize);
    (0..ENTRIES).for_each(|key| bare.insert(key, value()));
    bare
}

fn fill_larder<T: Tier<u64, Bytes>>(
    runtime: &Runtime,
    tier: T,
    settle: impl Fn(),
) -> LayeredCache<u64, Bytes> {
    let cache = cache(tier);
    runtime.block_on(async {
        for key in 0..ENTRIES {
            let load = || async { Ok::<_, std::io::Error>(Some(value())) };
            cache.get_or_load(&key, load).await.expect("it loads");
        }
    });
    settle();
    cache
}

fn print_weights(runtime: &Runtime) {
    println!("\nheap bytes for an entry{:>34} {:>8} {:>10}", "engine", "larder", "more");
    let memory = Arc::new(Memory::with_capacity(2 * ENTRIES));
    let quick = Arc::new(Quick::with_capacity(2 * ENTRIES));
    let rows = [
        (
            "moka, Memory",
            bytes_per_entry(fill_moka),
            bytes_per_entry(|| fill_larder(runtime, Arc::clone(&memory), || _ = memory.len())),
        ),
        (
            "quick_cache, Quick",
            bytes_per_entry(fill_quick),
            bytes_per_entry(|| fill_larder(runtime, Arc::clone(&quick), || ())),
        ),
    ];
    for (name, engine, larder) in rows {
        println!("{name:<40} {engine:>17.0} {larder:>8.0} {:>+10.0}", larder - engine);
    }
}

/// Keys by a power law: key `n` is wanted in proportion to `1 / n^skew`; with `scan`, a quarter are never seen again.
fn trace(skew: f64, scan: bool) -> Vec<u64> {
    let mut random = fastrand::Rng::with_seed(7);
    let mut sum = 0.0;
    let cumulated: Vec<f64> = (1..=UNIVERSE)
        .map(|n| {
            sum += (n as f64).powf(-skew);
            sum
        })
        .collect();
    let mut fresh = UNIVERSE;
    (0..ACCESSES)
        .map(|at| {
            if scan && at % 50_000 < 12_500 {
                fresh += 1;
                return fresh;
            }
            let wanted = random.f64() * sum;
            cumulated.partition_point(|part| *part < wanted) as u64
        })
        .collect()
}

/// The part of the reads of `trace` that find their key.
fn hit_ratio(trace: &[u64], mut read: impl FnMut(u64) -> bool) -> f64 {
    let hits = trace.iter().filter(|key| read(**key)).count();
    100.0 * hits as f64 / trace.len() as f64
}

fn larder_hit_ratio(runtime: &Runtime, trace: &[u64], tier: impl Tier<u64, u64>) -> f64 {
    let cache = cache(tier);
    runtime.block_on(async {
        for key in trace {
            let load = || async { Ok::<_, std::io::Error>(Some(*key)) };
            cache.get_or_load(key, load).await.expect("it loads");
        }
    });
    100.0 * cache.stats().hit_ratio()
}

fn print_hit_ratios(runtime: &Runtime) {
    println!(
        "\nhit ratio, %{:>24} {:>8} {:>8} {:>14} {:>8} {:>8}",
        "moka", "Memory", "off by", "quick_cache", "Quick", "off by"
    );
    for (skew, scan) in [(0.9, false), (1.0, false), (1.1, false), (1.0, true)] {
        let trace = trace(skew, scan);
        for room in [UNIVERSE / 100, UNIVERSE / 10] {
            let moka = moka::sync::Cache::builder()
                .max_capacity(room)
                .build_with_hasher(foldhash::fast::RandomState::default());
            let moka = hit_ratio(&trace, |key| {
                moka.get(&key).is_some() || {
                    moka.insert(key, key);
                    false
                }
            });
            let quick = quick_cache::sync::Cache::new(room as usize);
            let quick = hit_ratio(&trace, |key| {
                quick.get(&key).is_some() || {
                    quick.insert(key, key);
                    false
                }
            });
            let ours = larder_hit_ratio(runtime, &trace, Memory::with_capacity(room));
            let ours_quick = larder_hit_ratio(runtime, &trace, Quick::with_capacity(room));
            let name =
                format!("zipf {skew}{}, {} %", if scan { " + scan" } else { "" }, 100 * room / UNIVERSE);
            println!(
                "{name:<20} {moka:>15.2} {ours:>8.2} {:>+8.2} {quick:>14.2} {ours_quick:>8.2} {:>+8.2}",
                ours - moka,
                ours_quick - quick
            );
        }
    }
}

fn main() {
    if support::is_wanted() {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime starts");
        print_weights(&runtime);
        print_hit_ratios(&runtime);
    }
}
