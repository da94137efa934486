//! Read-through over something that can only be read: ten ask at once, the bank is asked once.
//!
//! `cargo run --example read_through` prints:
//!
//! ```text
//! ten ask for the euro at once: ten answers, all Some(1.17)
//!     the bank has been asked for 1 rate
//! three currencies in one call: [Some(1.17), Some(1.35), None]
//!     the bank has been asked for 3 rates
//! the one that does not exist, again: None
//!     the bank has been asked for 3 rates
//! a write: cache `rates`: put: this cache stands on a loader; to write, build it on a store, or use `write` with a write of your own
//! ```

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use larder::{Memory, load_fn};
use tokio::task::JoinSet;

static ASKED: AtomicU64 = AtomicU64::new(0);

/// A call over the network. `None` is an answer: there is no such currency.
async fn ask_the_bank(currency: String) -> io::Result<Option<f64>> {
    ASKED.fetch_add(1, Ordering::Relaxed);
    tokio::time::sleep(Duration::from_millis(50)).await;
    Ok(match currency.as_str() {
        "EUR" => Some(1.17),
        "GBP" => Some(1.35),
        _ => None,
    })
}

fn say_how_often() {
    match ASKED.load(Ordering::Relaxed) {
        1 => println!("    the bank has been asked for 1 rate"),
        n => println!("    the bank has been asked for {n} rates"),
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> larder::Result<()> {
    let rates = larder::read_through(load_fn(ask_the_bank))
        .name("rates")
        .tier(Memory::with_capacity(200))
        .ttl(Duration::from_secs(60))
        .absent_ttl(Duration::from_secs(60))
        .build()?;

    let mut readers = JoinSet::new();
    for _ in 0..10 {
        let rates = rates.clone(); // a handle of the same cache
        readers.spawn(async move { rates.get_by("EUR").await });
    }
    let answers = readers.join_all().await.into_iter().collect::<larder::Result<Vec<_>>>()?;
    assert!(answers.len() == 10 && answers.iter().all(|answer| *answer == answers[0]));
    println!("ten ask for the euro at once: ten answers, all {:?}", answers[0]);
    say_how_often();

    let three = ["EUR", "GBP", "XXX"].map(str::to_owned);
    let answers = rates.get_many(&three).await.into_iter().collect::<larder::Result<Vec<_>>>()?;
    println!("three currencies in one call: {answers:?}");
    say_how_often();

    println!("the one that does not exist, again: {:?}", rates.get_by("XXX").await?);
    say_how_often();

    let refused = rates.put(&"EUR".to_owned(), 1.0).await.expect_err("a loader cannot write");
    println!("a write: {refused}");
    Ok(())
}
