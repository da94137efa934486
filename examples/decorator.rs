//! A cached function, and a cached method: `wrap` makes one of any async function of one argument.
//!
//! `cargo run --example decorator` prints:
//!
//! ```text
//! the square of 7: 49, and again: 49
//!     calls: 1
//! a price of 100: 110 here, 120 there, and again: 110 here
//!     calls: 2
//! after the tax here has changed: 130 here, 120 there
//!     calls: 1
//! the name again: cache `numbers`: build: two functions are wrapped as `square`: give each a name of its own
//! ```
//!
//! The macro of the `cached` crate (here 4.1) is shorter, and enough for a function that nothing ever changes:
//!
//! ```text
//! #[cached(max_size = 100, ttl_secs = 60, sync_writes = "by_key")]
//! async fn square(n: u64) -> Result<u64, io::Error> { … }
//! ```
//!
//! The call stays `square(7).await?`, its error stays `io::Error`, and it needs no tokio. But its copies live in a
//! static, which all tests share; on a method (`in_impl = true`) `self` is no part of the key, so both shops below would
//! have answered 110; and nothing keeps a slow call from putting back an old answer that you have dropped meanwhile.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use larder::{FunctionCall, Memory};

static CALLS: AtomicU64 = AtomicU64::new(0);

async fn square(n: u64) -> io::Result<u64> {
    CALLS.fetch_add(1, Relaxed);
    Ok(n * n)
}

struct Shop(AtomicU64); // its tax

impl Shop {
    async fn price(&self, net: u64) -> io::Result<u64> {
        CALLS.fetch_add(1, Relaxed);
        Ok(net * (100 + self.0.load(Relaxed)) / 100)
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> larder::Result<()> {
    let a_minute = Duration::from_secs(60);
    let numbers = larder::cache().name("numbers").tier(Memory::with_capacity(100)).ttl(a_minute).build()?;

    let squares = numbers.wrap("square", square)?;
    println!("the square of 7: {}, and again: {}", squares.call(7).await?, squares.call(7).await?);
    println!("    calls: {}", CALLS.swap(0, Relaxed));

    let [here, there] = [10, 20].map(|tax| Arc::new(Shop(AtomicU64::new(tax))));
    let price = |shop: &Arc<Shop>| {
        let shop = Arc::clone(shop);
        move |net| {
            let shop = Arc::clone(&shop); // every call has a handle of its own
            async move { shop.price(net).await }
        }
    };
    let (at_here, at_there) = (numbers.wrap("here", price(&here))?, numbers.wrap("there", price(&there))?);
    let (a, b, again) = (at_here.call(100).await?, at_there.call(100).await?, at_here.call(100).await?);
    println!("a price of 100: {a} here, {b} there, and again: {again} here");
    println!("    calls: {}", CALLS.swap(0, Relaxed));

    here.0.store(30, Relaxed);
    numbers.invalidate(&FunctionCall::new("here", 100)).await?;
    let (a, b) = (at_here.call(100).await?, at_there.call(100).await?);
    println!("after the tax here has changed: {a} here, {b} there");
    println!("    calls: {}", CALLS.swap(0, Relaxed));

    let refused = numbers.wrap("square", square).expect_err("the name is taken");
    println!("the name again: {refused}");
    Ok(())
}
