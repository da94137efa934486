//! A loader may decide how long each answer is used, and may say "not modified".

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::support::MINUTE;
use async_trait::async_trait;
use larder::testing::TestClock;
use larder::{EntryLoader, ErrorKind, LoadRequest, Loaded, Local, Memory, Result, StoreError};

/// Key `n` is fresh for `n` seconds; a key that was loaded before is never modified.
#[derive(Clone, Default)]
struct Seconds(Arc<AtomicU64>);

#[async_trait]
impl EntryLoader<u64, u64> for Seconds {
    async fn load_entries(
        &self,
        requests: &[LoadRequest<'_, u64, u64>],
    ) -> Vec<Result<Loaded<u64>, StoreError>> {
        let answer = |request: &LoadRequest<'_, u64, u64>| {
            let ttl = Duration::from_secs(*request.key());
            let loaded = match request.previous() {
                Some(_) => Loaded::not_modified(),
                None => Loaded::value(self.0.fetch_add(1, Ordering::Relaxed)),
            };
            Ok(loaded.ttl(ttl))
        };
        requests.iter().map(answer).collect()
    }
}

fn cache(loader: impl EntryLoader<u64, u64>) -> Result<larder::LayeredCache<u64, u64>> {
    larder::read_through_entries(loader)
        .tier(Memory::with_capacity(100))
        .ttl(MINUTE)
        .jitter(0.0)
        .clock(TestClock::new())
        .build()
}

#[tokio::test(start_paused = true)]
async fn each_answer_has_its_own_ttl() -> Result<()> {
    let cache = cache(Seconds::default())?;
    cache.get(&10).await?;
    cache.get(&20).await?;
    tokio::time::advance(Duration::from_secs(10)).await;
    assert_eq!((cache.get_local(&10), cache.get_local(&20)), (Local::Unknown, Local::Value(1)));
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_ttl_of_zero_is_kept_nowhere() -> Result<()> {
    let cache = cache(Seconds::default())?;
    assert_eq!(cache.get(&0).await?, Some(0));
    assert_eq!(cache.get(&0).await?, Some(1));
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn what_was_not_modified_is_young_again() -> Result<()> {
    let cache = cache(Seconds::default())?;
    assert_eq!(cache.get(&10).await?, Some(0));
    tokio::time::advance(Duration::from_secs(15)).await;
    assert_eq!(cache.get(&10).await?, Some(0), "the same value");
    assert_eq!(cache.get_entry(&10).await?.expect("there is a loader").age(), Duration::ZERO);
    Ok(())
}

struct Wrong(usize);

#[async_trait]
impl EntryLoader<u64, u64> for Wrong {
    async fn load_entries(
        &self,
        _requests: &[LoadRequest<'_, u64, u64>],
    ) -> Vec<Result<Loaded<u64>, StoreError>> {
        (0..self.0).map(|_| Ok(Loaded::value(1))).collect()
    }
}

#[tokio::test(start_paused = true)]
async fn another_number_of_answers_than_asked_for_is_an_error() -> Result<()> {
    for answers in [0, 2] {
        let error = cache(Wrong(answers))?.get(&1).await.expect_err("one was asked for");
        assert_eq!(error.kind(), ErrorKind::WrongLength);
    }
    Ok(())
}
