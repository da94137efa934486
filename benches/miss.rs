//! What does a miss cost on top of the load, and an invalidation? And what does it cost to keep a copy?
//!
//! The load answers at once, so that everything else shows. "By hand" is what a service writes without larder: look,
//! load, insert, with nothing to stop a second load or a stale copy.

mod support;

use std::sync::Arc;
use std::time::Duration;

use larder::{LayeredCache, Memory, Quick, Tier, load_fn};
use support::Case;
use tokio::runtime::Runtime;

const KEYS: u64 = 1_000;

fn main() {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime starts");
    let runtime = Arc::new(runtime);
    let bare: moka::sync::Cache<u64, Arc<str>> = moka::sync::Cache::new(4 * KEYS);
    let load = |_key: u64| async { Ok::<_, std::io::Error>(Some(Arc::<str>::from("a value"))) };
    let builder = larder::read_through(load_fn(load));
    let cache =
        builder.tier(Memory::with_capacity(4 * KEYS)).ttl(Duration::from_secs(3600)).build().expect("right");

    let kept = keeping(&runtime);

    let by_hand = {
        let runtime = Arc::clone(&runtime);
        Case::new("by hand: get, load, insert, invalidate", 0, move |times| {
            runtime.block_on(async {
                for key in (0..KEYS).cycle().take(times as usize) {
                    if bare.get(&key).is_none() {
                        let value = load(key).await.expect("it loads").expect("a value");
                        bare.insert(key, value);
                    }
                    bare.invalidate(&key);
                }
            });
        })
    };
    let registered = {
        let (runtime, cache) = (Arc::clone(&runtime), cache.clone());
        Case::new("get with a loader, invalidate", 0, move |times| {
            runtime.block_on(async {
                for key in (0..KEYS).cycle().take(times as usize) {
                    cache.get(&key).await.expect("it loads");
                    cache.invalidate(&key).await.expect("it drops");
                }
            });
        })
    };
    let brought = Case::new("get_or_load, invalidate", 0, move |times| {
        runtime.block_on(async {
            for key in (0..KEYS).cycle().take(times as usize) {
                cache.get_or_load(&key, || load(key)).await.expect("it loads");
                cache.invalidate(&key).await.expect("it drops");
            }
        });
    });
    if support::is_wanted() {
        support::print_table("a miss", &[by_hand, registered, brought]);
        support::print_table("keeping a copy in place of another", &kept);
    }
}

/// A value put in the place of another, by the engine alone and by `put`, which also waits for its turn, holds the key
/// and is a task of its own.
fn keeping(runtime: &Arc<Runtime>) -> Vec<Case> {
    let value = Arc::<str>::from("a value");
    let moka: moka::sync::Cache<u64, Arc<str>> = moka::sync::Cache::new(4 * KEYS);
    let quick = quick_cache::sync::Cache::<u64, Arc<str>>::new(4 * KEYS as usize);
    let each = |times: u64| (0..KEYS).cycle().take(times as usize);

    let bare_moka = {
        let value = Arc::clone(&value);
        Case::new("bare moka::sync insert", 0, move |times| {
            each(times).for_each(|key| moka.insert(key, Arc::clone(&value)));
        })
    };
    let bare_quick = {
        let value = Arc::clone(&value);
        Case::new("bare quick_cache insert", 2, move |times| {
            each(times).for_each(|key| quick.insert(key, Arc::clone(&value)));
        })
    };
    let put = |name, base, cache: LayeredCache<u64, Arc<str>>| {
        let (runtime, value) = (Arc::clone(runtime), Arc::clone(&value));
        Case::new(name, base, move |times| {
            runtime.block_on(async {
                for key in each(times) {
                    cache.put(&key, Arc::clone(&value)).await.expect("memory takes everything");
                }
            });
        })
    };
    let memory = put("put, Memory", 0, copies(Memory::with_capacity(4 * KEYS)));
    let quick = put("put, Quick", 2, copies(Quick::with_capacity(4 * KEYS)));
    vec![bare_moka, memory, bare_quick, quick]
}

fn copies(tier: impl Tier<u64, Arc<str>>) -> LayeredCache<u64, Arc<str>> {
    larder::cache().tier(tier).ttl(Duration::from_secs(3600)).build().expect("nothing is missing")
}
