//! How fast and how wide writes go to the store.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use crate::support::behind::{SECOND, put_all, settings};
use crate::support::{MINUTE, numbers};
use larder::journal::Volatile;
use larder::testing::Call;

#[tokio::test(start_paused = true)]
async fn a_rate_is_kept_on_average() {
    let store = numbers(0);
    let behind = settings(&store).journal(Volatile::new()).batch(10).rate(10.0).store().unwrap();
    put_all(&behind, 0..600).await;
    for tenths in 0..600 {
        let most = tenths + 10;
        assert!(store.saves() <= most, "{} after {tenths} tenths of a second", store.saves());
        tokio::time::sleep(SECOND / 10).await;
    }
    behind.flush().await.unwrap();
    assert_eq!(store.saves(), 600);
}

#[tokio::test(start_paused = true)]
async fn a_rate_is_kept_by_all_shards_together() {
    let store = numbers(0);
    let journal = Volatile::new().shards(4);
    let behind = settings(&store).journal(journal).concurrency(4).batch(10).rate(10.0).store().unwrap();
    put_all(&behind, 0..1_200).await;
    tokio::time::sleep(MINUTE).await;
    assert!(store.saves() <= 600 + 40, "{}", store.saves());
    assert!(store.saves() >= 500, "{}", store.saves());
}

#[tokio::test(start_paused = true)]
async fn so_many_batches_are_under_way_as_may() {
    for concurrency in [1, 3] {
        let store = numbers(0);
        let journal = Volatile::new().shards(8);
        let builder = settings(&store).exactly_once().journal(journal).concurrency(concurrency);
        let behind = builder.store().unwrap();
        let gate = store.gate_before(Call::Commit);
        put_all(&behind, 0..200).await;
        gate.arrived(concurrency).await;
        tokio::time::sleep(20 * SECOND).await;
        assert_eq!(store.count(Call::Commit), concurrency as u64);
        gate.open();
        behind.flush().await.unwrap();
        assert_eq!(store.history().len(), 200);
    }
}
