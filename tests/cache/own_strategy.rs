//! A strategy of one's own is a few lines, and cannot leave a wrong copy behind.

use crate::support::{numbers, usual};
use async_trait::async_trait;
use larder::strategy::{ReadStrategy, WriteStrategy};
use larder::{Copies, Engine, Local, ReadOptions, Result, Served, Turn, Written};

/// Reads odd keys through, and of even keys copies only.
struct OddOnes;

#[async_trait]
impl ReadStrategy<u64, u64> for OddOnes {
    async fn find(
        &self,
        engine: &Engine<u64, u64>,
        key: &u64,
        options: &ReadOptions,
    ) -> Result<Option<Served<u64>>> {
        match key % 2 {
            0 => Ok(engine.copies(&[*key], options).await?.remove(0)),
            _ => engine.find(key, options).await.map(Some),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_read_strategy_decides_who_is_asked() -> Result<()> {
    let store = numbers(10);
    let cache = usual(larder::cache_aside(store.clone())).read(OddOnes).build()?;
    assert_eq!((cache.get(&1).await?, cache.get(&2).await?), (Some(1), None));
    assert_eq!(store.loads(), 1);
    Ok(())
}

/// Saves, and forgets that there are copies.
struct Forgetful;

#[async_trait]
impl WriteStrategy<u64, u64> for Forgetful {
    async fn put(&self, mut turn: Turn<u64, u64>, value: u64) -> Result<Written> {
        turn.save(&value).await?;
        drop(turn);
        Ok(Written::copies_only())
    }

    async fn delete(&self, mut turn: Turn<u64, u64>) -> Result<Written> {
        turn.delete().await?;
        turn.keep(None).await
    }
}

#[tokio::test(start_paused = true)]
async fn a_strategy_that_forgets_the_copies_leaves_none() -> Result<()> {
    let store = numbers(10);
    let cache = usual(larder::cache_aside(store.clone())).write(Forgetful).build()?;
    cache.get(&1).await?;
    _ = cache.put(&1, 10).await?;
    assert_eq!(cache.get_local(&1), Local::Unknown);
    assert_eq!(cache.get(&1).await?, Some(10));
    Ok(())
}

/// Keeps what it saved, without having held the key: what others did meanwhile cannot be known.
#[tokio::test(start_paused = true)]
async fn what_was_saved_without_a_hold_is_not_kept() -> Result<()> {
    let cache = usual(larder::cache_aside(numbers(10)))
        .absent_ttl(crate::support::MINUTE)
        .write(Forgetful)
        .build()?;
    cache.get(&1).await?;
    assert_eq!(cache.delete(&1).await?.copies(), Copies::Dropped);
    assert_eq!(cache.get_local(&1), Local::Unknown);
    Ok(())
}
