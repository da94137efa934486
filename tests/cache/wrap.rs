//! An async function, cached by its argument; two of them never share keys.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::support::MINUTE;
use larder::{ErrorKind, FunctionCall, LayeredCache, Memory, Result};

fn results() -> LayeredCache<FunctionCall<u64>, u64> {
    larder::cache().tier(Memory::with_capacity(100)).ttl(MINUTE).build().expect("right settings")
}

#[tokio::test]
async fn two_functions_share_a_cache_and_no_keys() -> Result<()> {
    let results = results();
    let squares = results.wrap("square", |n: u64| async move { Ok::<_, io::Error>(n * n) })?;
    let cubes = results.wrap("cube", |n: u64| async move { Ok::<_, io::Error>(n * n * n) })?;
    for _ in 0..2 {
        assert_eq!((squares.call(3).await?, cubes.call(3).await?), (9, 27));
    }
    assert_eq!(results.stats().loads, 2);
    let again = results.wrap("cube", |n: u64| async move { Ok::<_, io::Error>(n) });
    assert_eq!(again.map(|_| ()).expect_err("the name is taken").kind(), ErrorKind::Settings);
    Ok(())
}

#[tokio::test]
async fn a_method_can_be_wrapped_and_a_call_invalidated() -> Result<()> {
    struct Shop {
        asked: AtomicU64,
    }
    impl Shop {
        async fn price(&self, item: u64) -> Result<u64, io::Error> {
            Ok(item * 100 + self.asked.fetch_add(1, Ordering::Relaxed))
        }
    }
    let shop = Arc::new(Shop { asked: AtomicU64::new(0) });
    let results = results();
    let price = results.wrap("price", move |item| {
        let shop = Arc::clone(&shop);
        async move { shop.price(item).await }
    })?;
    assert_eq!((price.call(1).await?, price.clone().call(1).await?), (100, 100));
    results.invalidate(&FunctionCall::new("price", 1)).await?;
    assert_eq!(price.call(1).await?, 101);
    Ok(())
}

#[tokio::test]
async fn a_function_that_fails_is_asked_again() -> Result<()> {
    let results = results();
    let calls = AtomicU64::new(0);
    let second_time = results.wrap("second time", |n: u64| {
        let first = calls.fetch_add(1, Ordering::Relaxed) == 0;
        async move { if first { Err(io::Error::other("not yet")) } else { Ok(n) } }
    })?;
    assert!(second_time.call(7).await.expect_err("not yet").downcast_ref::<io::Error>().is_some());
    assert_eq!(second_time.call(7).await?, 7);
    Ok(())
}
