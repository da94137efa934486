//! What does a batch spare against the same keys one by one?

mod support;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use larder::{LayeredCache, Loader, Memory, StoreError};
use support::Case;

const KEYS: u64 = 100;

/// Every call costs the store a moment of work, whether it is for one key or for many.
struct Numbers;

fn a_moment_of_work() {
    std::hint::black_box(
        (0..2_000_u64).fold(0, |sum: u64, n| std::hint::black_box(sum.wrapping_mul(31) ^ n)),
    );
}

#[async_trait]
impl Loader<u64, u64> for Numbers {
    async fn load(&self, key: &u64) -> Result<Option<u64>, StoreError> {
        a_moment_of_work();
        Ok(Some(*key))
    }

    async fn load_many(&self, keys: &[u64]) -> Vec<Result<Option<u64>, StoreError>> {
        a_moment_of_work();
        keys.iter().map(|key| Ok(Some(*key))).collect()
    }
}

fn main() {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime starts");
    let runtime = Arc::new(runtime);
    let cache =
        larder::read_through(Numbers).tier(Memory::with_capacity(10_000)).ttl(Duration::from_secs(3600));
    let cache = cache.build().expect("nothing is missing");
    let keys: Arc<Vec<u64>> = Arc::new((0..KEYS).collect());

    let case = |name, base, together: bool, cold: bool| {
        let (runtime, cache, keys) = (Arc::clone(&runtime), cache.clone(), Arc::clone(&keys));
        Case::new(name, base, move |times| {
            runtime.block_on(async {
                for _ in 0..times {
                    if cold {
                        cache.invalidate_many(&keys).await.expect("it drops");
                    }
                    read(&cache, &keys, together).await;
                }
            });
        })
    };
    let cases = [
        case("100 hits, one by one", 0, false, false),
        case("100 hits, get_many", 0, true, false),
        case("100 misses, one by one", 2, false, true),
        case("100 misses, get_many", 2, true, true),
    ];
    if support::is_wanted() {
        support::print_table("a hundred keys", &cases);
    }
}

async fn read(cache: &LayeredCache<u64, u64>, keys: &[u64], together: bool) {
    if together {
        assert!(cache.get_many(keys).await.iter().all(Result::is_ok));
    } else {
        for key in keys {
            cache.get(key).await.expect("it loads");
        }
    }
}
