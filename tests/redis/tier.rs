//! The Redis tier keeps what every tier promises, on a real server.

use std::time::Duration;

use crate::support::redis_server::RedisServer;
use larder::load_fn;
use larder::testing::tier_contract;
use larder::tier::redis::Namespace;

#[tokio::test]
async fn it_keeps_the_contract_of_a_tier() {
    let Some(server) = RedisServer::start_or_skip("it_keeps_the_contract_of_a_tier").await else { return };
    let redis = server.redis();
    let number = std::cell::Cell::new(0);
    let make = async || -> Namespace<String> {
        number.set(number.get() + 1);
        redis.namespace(&format!("contract-{}", number.get()))
    };
    tier_contract(make).await.expect("Redis answers");
}

#[tokio::test]
async fn what_one_process_loads_another_finds() {
    let Some(server) = RedisServer::start_or_skip("what_one_process_loads_another_finds").await else {
        return;
    };
    let cache = || {
        let redis = server.redis();
        larder::read_through(load_fn(|key: u64| async move { Ok::<_, std::io::Error>(Some(key * 10)) }))
            .tier(redis.namespace("n"))
            .ttl(Duration::from_secs(60))
            .build()
            .expect("complete")
    };
    let (one, other) = (cache(), cache());
    assert_eq!(one.get(&7).await.expect("found"), Some(70));
    assert_eq!(other.get(&7).await.expect("found"), Some(70));
    assert_eq!((one.stats().loads, other.stats().loads, other.stats().hits), (1, 0, 1));
}
