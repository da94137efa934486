//! A program that has chosen no cryptography. In a process of its own: another test would choose one.

#![cfg(feature = "redis-rustls")]

use larder::Redis;

#[tokio::test]
async fn who_installs_no_crypto_provider_is_told_so() {
    let redis = Redis::new("rediss://localhost:1").expect("a URL");
    let error = redis.ping().await.expect_err("no cryptography");
    let reason = std::error::Error::source(&error).expect("a reason").to_string();
    assert!(reason.contains("no crypto provider") && reason.contains("install_default"), "{reason}");
}
