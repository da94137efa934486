//! What does a hit in memory cost more when memories are kept in step? Side by side: copies that live for a time alone, copies
//! that messages take back, and copies that the server remembers, on both engines, above one Redis server.
//!
//! Without redis-server in the path there is nothing to measure.

mod support;

#[path = "../tests/support/mod.rs"]
mod servers;

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use larder::{Coherence, LayeredCache, Memory, Quick, Tier, load_fn};
use servers::redis_server::RedisServer;
use support::Case;
use tokio::runtime::Runtime;

const RESIDENT: u64 = 1_000;
const VISITS: usize = 1 << 16;
const HOUR: Duration = Duration::from_secs(3_600);
const BOUND: Duration = Duration::from_secs(1);

type Key = String;
type Post = Arc<Vec<u8>>;

/// The resident keys, and the order in which they are visited.
struct Keys {
    keys: Vec<Key>,
    order: Vec<usize>,
}

impl Keys {
    fn new() -> Self {
        let keys: Vec<_> = (0..RESIDENT).map(|n| format!("post:tenant-a:{n:010}")).collect();
        let mut random = fastrand::Rng::with_seed(42);
        let order = (0..VISITS).map(|_| random.usize(..keys.len())).collect();
        Self { keys, order }
    }
}

fn cache(
    runtime: &Runtime,
    server: &RedisServer,
    name: &str,
    tier: impl Tier<Key, Post>,
    coherence: Coherence,
    keys: &Keys,
) -> LayeredCache<Key, Post> {
    let load = |_: Key| async { Ok::<_, std::io::Error>(Some(Arc::new(vec![0_u8; 1024]))) };
    let redis = server.redis();
    let cache = larder::read_through(load_fn(load)).tier(tier).tier(redis.namespace(name));
    let cache = runtime.block_on(async { cache.ttl(HOUR).coherence(coherence).build() }).expect("complete");
    runtime.block_on(async {
        while keys.keys.iter().any(|key| cache.get_local(key).is_unknown()) {
            for key in &keys.keys {
                cache.get(key).await.expect("answered");
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    cache
}

fn main() {
    if !support::is_wanted() {
        return;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let runtime = runtime.expect("a runtime starts");
    let Some(server) = runtime.block_on(RedisServer::start_or_skip("benches/in_step.rs")) else { return };
    let keys = Arc::new(Keys::new());
    let modes = [
        ("alone", Coherence::TtlOnly(HOUR)),
        ("alone, again", Coherence::TtlOnly(HOUR)),
        ("bus", Coherence::Bus(BOUND)),
        ("tracked", Coherence::Tracked(BOUND)),
    ];
    for engine in ["memory", "quick"] {
        let caches = modes.map(|(mode, coherence)| {
            let name = format!("{engine}-{}", mode.replace(", ", "-"));
            let cache = match engine {
                "memory" => cache(&runtime, &server, &name, Memory::with_capacity(4_000), coherence, &keys),
                _ => cache(&runtime, &server, &name, Quick::with_capacity(4_000), coherence, &keys),
            };
            (mode, cache)
        });
        let cases: Vec<Case> = caches
            .iter()
            .map(|(mode, cache)| {
                let (cache, keys) = (cache.clone(), Arc::clone(&keys));
                Case::new(mode, 0, move |times| {
                    let order = keys.order.iter().cycle().take(usize::try_from(times).unwrap_or(usize::MAX));
                    for at in order {
                        let hit = cache.get(&keys.keys[*at]).now_or_never();
                        black_box(hit.expect("at once").expect("answered"));
                    }
                })
            })
            .collect();
        let before: Vec<u64> = caches.iter().map(|(_, cache)| cache.stats().misses).collect();
        support::print_table(&format!("a hit in {engine} (goal: at most 1.20)"), &cases);
        for ((mode, cache), before) in caches.iter().zip(before) {
            assert_eq!(cache.stats().misses, before, "{mode}: a hit was none");
        }
    }
}
