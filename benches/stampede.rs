//! What does it cost to wait? Ten thousand tasks want one cold key at once; its load takes 10 ms.
//!
//! The figures are the processor's time and the allocations for each of the tasks, on one thread, medians of eleven
//! interleaved rounds. "Only wait" is what spawning and waking the tasks costs with no cache at all.

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use larder::{Memory, load_fn};
use rustix::time::{ClockId, clock_gettime};
use support::{part, sorted};
use tokio::runtime::Runtime;

const LOAD: Duration = Duration::from_millis(10);
const ROUNDS: usize = 11;

/// What one way of waiting cost.
#[derive(Default)]
struct Cost {
    micros: Vec<f64>,
    allocations: Vec<f64>,
    ratios: Vec<f64>,
    loads: u64,
}

fn cpu_nanos() -> f64 {
    let now = clock_gettime(ClockId::ProcessCPUTime);
    now.tv_sec as f64 * 1e9 + now.tv_nsec as f64
}

/// Runs one stampede and says what it cost each task, and how often the key was loaded.
fn measure(tasks: u64, stampede: impl Fn(u64) -> u64) -> (f64, f64, u64) {
    let before = cpu_nanos();
    let mut loads = 0;
    let allocated = allocation_counter::measure(|| loads = stampede(tasks));
    let nanos = cpu_nanos() - before;
    (nanos / 1e3 / tasks as f64, allocated.count_total as f64 / tasks as f64, loads)
}

fn run<F: Future<Output = ()> + Send + 'static>(runtime: &Runtime, tasks: u64, task: impl Fn() -> F) {
    runtime.block_on(async {
        let handles: Vec<_> = (0..tasks).map(|_| tokio::spawn(task())).collect();
        for handle in handles {
            handle.await.expect("no panic");
        }
    });
}

fn only_wait(runtime: &Runtime, tasks: u64) -> u64 {
    let gate = Arc::new(tokio::sync::Notify::new());
    runtime.block_on(async {
        let wait = |gate: Arc<tokio::sync::Notify>| async move { gate.notified().await };
        let handles: Vec<_> = (0..tasks).map(|_| tokio::spawn(wait(Arc::clone(&gate)))).collect();
        tokio::time::sleep(LOAD).await;
        gate.notify_waiters();
        for handle in handles {
            handle.await.expect("no panic");
        }
    });
    1
}

fn larder_get(runtime: &Runtime, tasks: u64) -> u64 {
    let load = |key: u64| async move {
        tokio::time::sleep(LOAD).await;
        Ok::<_, std::io::Error>(Some(key))
    };
    let builder = larder::read_through(load_fn(load)).tier(Memory::with_capacity(100));
    let cache = builder.ttl(Duration::from_secs(60)).build().expect("nothing is missing");
    run(runtime, tasks, || {
        let cache = cache.clone();
        async move { assert_eq!(cache.get(&7).await.expect("it loads"), Some(7)) }
    });
    cache.stats().loads
}

fn larder_get_or_load(runtime: &Runtime, tasks: u64) -> u64 {
    let builder = larder::cache().tier(Memory::with_capacity(100));
    let cache = builder.ttl(Duration::from_secs(60)).build().expect("nothing is missing");
    run(runtime, tasks, || {
        let cache = cache.clone();
        async move {
            let load = || async {
                tokio::time::sleep(LOAD).await;
                Ok::<_, std::io::Error>(Some(7))
            };
            assert_eq!(cache.get_or_load(&7, load).await.expect("it loads"), Some(7));
        }
    });
    cache.stats().loads
}

fn moka_try_get_with(runtime: &Runtime, tasks: u64) -> u64 {
    let cache: moka::future::Cache<u64, u64> = moka::future::Cache::new(100);
    let loads = Arc::new(AtomicU64::new(0));
    run(runtime, tasks, || {
        let (cache, loads) = (cache.clone(), Arc::clone(&loads));
        async move {
            let load = async {
                loads.fetch_add(1, Ordering::Relaxed);
                tokio::time::sleep(LOAD).await;
                Ok::<_, std::io::Error>(7)
            };
            assert_eq!(cache.try_get_with_by_ref(&7, load).await.expect("it loads"), 7);
        }
    });
    loads.load(Ordering::Relaxed)
}

fn main() {
    if !support::is_wanted() {
        return;
    }
    type Way = (&'static str, fn(&Runtime, u64) -> u64);
    let ways: [Way; 4] = [
        ("moka::future try_get_with", moka_try_get_with),
        ("larder get", larder_get),
        ("larder get_or_load", larder_get_or_load),
        ("only wait", only_wait),
    ];
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime starts");
    for tasks in [1_000, 10_000] {
        let mut costs: Vec<Cost> = ways.iter().map(|_| Cost::default()).collect();
        ways.iter().for_each(|(_, way)| _ = way(&runtime, tasks)); // warm
        for _ in 0..ROUNDS {
            for (cost, (_, way)) in costs.iter_mut().zip(&ways) {
                let (micros, allocations, loads) = measure(tasks, |tasks| way(&runtime, tasks));
                cost.micros.push(micros);
                cost.allocations.push(allocations);
                cost.loads = cost.loads.max(loads);
            }
            let moka = *costs[0].micros.last().unwrap_or(&f64::NAN);
            costs
                .iter_mut()
                .for_each(|cost| cost.ratios.push(cost.micros.last().unwrap_or(&f64::NAN) / moka));
        }
        println!(
            "\n{tasks} tasks, one cold key{:<22} {:>10} {:>8} {:>14} {:>7}",
            "", "us a task", "ratio", "allocs a task", "loads"
        );
        for (cost, (name, _)) in costs.into_iter().zip(&ways) {
            let [micros, ratio, allocations] = [cost.micros, cost.ratios, cost.allocations]
                .map(|figures| part(&sorted(figures.into_iter()), 5));
            println!("{name:<44} {micros:>10.2} {ratio:>8.2} {allocations:>14.1} {:>7}", cost.loads);
        }
    }
}
