//! What does a miss cost on top of the load, and what an invalidation?
//!
//! The load answers at once, so that everything else shows. "By hand" is what a service writes without larder: look,
//! load, insert, with nothing to stop a second load or a stale copy.

mod support;

use std::sync::Arc;
use std::time::Duration;

use larder::{Memory, load_fn};
use support::Case;

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
    }
}
