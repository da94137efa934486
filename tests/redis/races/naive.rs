//! Three protocols that look right, and are in use. Each stands where the Redis tier would, under the same cache.

use std::time::Duration;

use larder::tier::{Acquired, Filled, Hold, Lease, Purpose};
use larder::{Entry, Error, Result, Tier, Timestamp};
use redis::Script;
use redis::aio::MultiplexedConnection;

use super::world::LEASE;

/// What is wrong with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Folly {
    /// Whoever has loaded sets; whoever has written deletes.
    BlindSet,
    /// The same, and writers delete before they write, too.
    DoubleDelete,
    /// A lease that is known by who took it and not by the load that it was taken for.
    TokenOfTheClient,
}

/// A tier that keeps `v` and the value, or `l` and who is loading.
pub(crate) struct Naive {
    pub(crate) folly: Folly,
    pub(crate) server: MultiplexedConnection,
    pub(crate) client: usize,
}

impl Naive {
    fn token(&self) -> String {
        format!("l{}", self.client)
    }

    async fn drop_copies(&self, keys: &[u64]) -> Result<()> {
        redis::cmd("DEL").arg(keys).exec_async(&mut self.server.clone()).await.map_err(Error::tier)
    }

    async fn set(&self, key: u64, value: u64) -> Result<()> {
        let set = redis::cmd("SET").arg(key).arg(format!("v{value}")).to_owned();
        set.exec_async(&mut self.server.clone()).await.map_err(Error::tier)
    }

    async fn set_with_token(&self, key: u64, value: u64) -> Result<Filled> {
        let script = Script::new(
            "if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
            redis.call('SET', KEYS[1], ARGV[2])
            return 1",
        );
        let (mut script, value) = (script.key(key), format!("v{value}"));
        let stored: bool = script
            .arg(self.token())
            .arg(value)
            .invoke_async(&mut self.server.clone())
            .await
            .map_err(Error::tier)?;
        Ok(if stored { Filled::Stored } else { Filled::Refused })
    }

    async fn acquire_with_token(&self, key: u64, renew: bool) -> Result<Acquired<u64>> {
        let script = Script::new(
            "local slot = redis.call('GET', KEYS[1])
            if slot and string.sub(slot, 1, 1) == 'v' and ARGV[3] == '0' then return slot end
            if slot and string.sub(slot, 1, 1) == 'l' and slot ~= ARGV[1] then return 'busy' end
            redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
            return 'granted'",
        );
        let answer: String = script
            .key(key)
            .arg(self.token())
            .arg(LEASE.as_millis() as u64)
            .arg(u8::from(renew))
            .invoke_async(&mut self.server.clone())
            .await
            .map_err(Error::tier)?;
        Ok(match (answer.as_str(), copy(Some(&answer))) {
            (_, Some(entry)) => Acquired::Fresh(entry),
            ("busy", None) => Acquired::Busy(LEASE),
            _ => Acquired::Granted(Lease::new(0), None),
        })
    }
}

/// The copy that a slot holds; its life has no end, so that no reload hides what has gone wrong.
fn copy(slot: Option<&String>) -> Option<Entry<u64>> {
    let value = slot?.strip_prefix('v')?.parse().ok()?;
    Some(Entry::new(Some(value), Timestamp::ZERO, Timestamp::NEVER, Timestamp::NEVER))
}

impl Tier<u64, u64> for Naive {
    fn name(&self) -> &'static str {
        "naive"
    }

    fn is_shared(&self) -> bool {
        true
    }

    fn lease(&self) -> Option<Duration> {
        (self.folly == Folly::TokenOfTheClient).then_some(LEASE)
    }

    async fn get_many(&self, keys: &[u64]) -> Result<Vec<Option<Entry<u64>>>> {
        let slots: Vec<Option<String>> =
            redis::cmd("MGET").arg(keys).query_async(&mut self.server.clone()).await.map_err(Error::tier)?;
        Ok(slots.iter().map(|slot| copy(slot.as_ref())).collect())
    }

    async fn acquire(&self, key: &u64, purpose: Purpose) -> Result<Acquired<u64>> {
        match self.folly {
            Folly::TokenOfTheClient => self.acquire_with_token(*key, purpose == Purpose::Renew).await,
            Folly::BlindSet | Folly::DoubleDelete => Ok(Acquired::Granted(Lease::new(0), None)),
        }
    }

    async fn fill(&self, key: &u64, _lease: Lease, entry: &Entry<u64>) -> Result<Filled> {
        let value = *entry.value().expect("every key has a row");
        match self.folly {
            Folly::TokenOfTheClient => self.set_with_token(*key, value).await,
            Folly::BlindSet | Folly::DoubleDelete => self.set(*key, value).await.map(|()| Filled::Stored),
        }
    }

    async fn invalidate_many(&self, keys: &[u64]) -> Result<()> {
        self.drop_copies(keys).await
    }

    async fn hold_many(&self, keys: &[u64], _hold: Hold, _lifetime: Duration) -> Result<()> {
        self.drop_copies(keys).await
    }

    async fn release_many(&self, keys: &[u64], _hold: Hold) -> Result<()> {
        self.drop_copies(keys).await
    }

    async fn publish(&self, key: &u64, _hold: Hold, _entry: &Entry<u64>) -> Result<Filled> {
        self.drop_copies(&[*key]).await?;
        Ok(Filled::Refused)
    }

    async fn clear(&self) -> Result<()> {
        redis::cmd("FLUSHDB").exec_async(&mut self.server.clone()).await.map_err(Error::tier)
    }
}
