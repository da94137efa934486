//! A load that is given up, by its caller or at its deadline, gives its lease back: nobody waits for what nobody loads.

use std::time::{Duration, Instant};

use crate::support::redis_server::RedisServer;
use larder::{ErrorKind, LayeredCache, Redis, StoreError, load_fn};

/// Far less than a lease, far more than a load here.
const SOON: Duration = Duration::from_secs(1);

fn redis(server: &RedisServer) -> Redis {
    server.builder().deadline(Duration::from_secs(10)).build().expect("a URL")
}

async fn load_at_once(cache: &LayeredCache<u64, u64>) -> Duration {
    let since = Instant::now();
    let answer = cache.get_or_load(&7, || async { Ok::<_, StoreError>(Some(70)) }).await;
    assert_eq!(answer.expect("it loads"), Some(70));
    since.elapsed()
}

#[tokio::test]
async fn who_goes_away_with_a_load_holds_nobody_up() {
    let Some(server) = RedisServer::start_or_skip("who_goes_away_with_a_load").await else { return };
    let cache = || {
        let cache = larder::cache().tier(redis(&server).namespace("gone")).ttl(Duration::from_secs(60));
        cache.build().expect("complete")
    };
    let (one, other): (LayeredCache<u64, u64>, _) = (cache(), cache());
    let slow = one.get_or_load(&7, || async {
        tokio::time::sleep(Duration::from_secs(30)).await;
        Ok::<_, StoreError>(Some(0))
    });
    tokio::time::timeout(Duration::from_millis(200), slow).await.expect_err("it takes longer");
    let (here, there) = tokio::join!(load_at_once(&one), load_at_once(&other));
    println!("the same process had it after {here:?}, another one after {there:?}");
    assert!(here < SOON && there < SOON, "here {here:?}, there {there:?}");
}

#[tokio::test]
async fn after_a_load_that_was_too_slow_the_next_one_begins_at_once() {
    let Some(server) = RedisServer::start_or_skip("a_load_that_was_too_slow").await else { return };
    let cache = |load: Duration| {
        let load = load_fn(move |key: u64| async move {
            tokio::time::sleep(load).await;
            Ok::<_, std::io::Error>(Some(key * 10))
        });
        let cache = larder::read_through(load).tier(redis(&server).namespace("slow"));
        cache
            .ttl(Duration::from_secs(60))
            .load_deadline(Duration::from_millis(500))
            .build()
            .expect("complete")
    };
    let (slow, quick) = (cache(Duration::from_secs(30)), cache(Duration::ZERO));
    let given_up = slow.get(&7).await.expect_err("it takes longer");
    assert_eq!(given_up.kind(), ErrorKind::Timeout);
    let since = Instant::now();
    assert_eq!(quick.get(&7).await.expect("it loads"), Some(70));
    assert!(since.elapsed() < SOON, "{:?}", since.elapsed());
}
