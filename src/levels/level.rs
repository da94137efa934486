//! One tier above whatever lies below it.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::{Context, Found, Levels, Search};
use crate::bounds::{Key, Value};
use crate::entry::Entry;
use crate::error::Result;
use crate::event::Event;
use crate::tier::{Acquired, Filled, Hold, Lease, Purpose, Tier};

/// After a failed load a tier need not be asked for a lease again for this long.
const BACK_OFF: Duration = Duration::from_secs(1);

/// A tier, and the levels below it.
pub(crate) struct Level<T, K, V> {
    tier: T,
    below: Box<dyn Levels<K, V>>,
    context: Arc<Context>,
}

impl<K: Key, V: Value, T: Tier<K, V>> Level<T, K, V> {
    pub(crate) fn new(tier: T, below: Box<dyn Levels<K, V>>, context: Arc<Context>) -> Self {
        Self { tier, below, context }
    }

    /// This tier's copy, fresh or not. A failing tier is a miss.
    async fn peek(&self, key: &K) -> Option<Entry<V>> {
        if let Some(entry) = self.tier.local(key) {
            return Some(entry);
        }
        let copies = self.tier.get_many(std::slice::from_ref(key)).await;
        self.heard(copies).ok()?.pop()?
    }

    fn found(&self, entry: Entry<V>) -> Found<V> {
        Found { entry, tier: Some(self.tier.name()), keep: true }
    }

    /// Asks below with the right to keep the answer.
    ///
    /// The lease is taken *before* the question goes down, so that a write of the key between question and answer
    /// destroys it: `R: lease · R: store→v1 · W: store←v2 · W: invalidate · R: fill v1` ends in a refusal. The same
    /// guards the promotion of a copy from a slow tier below against an invalidation.
    async fn find_with_lease(
        &self,
        key: &K,
        lease: Lease,
        previous: Option<Entry<V>>,
        search: &Search<'_, K, V>,
    ) -> Result<Found<V>> {
        match self.below.find(key, previous, search).await {
            Ok(found) => Ok(self.fill(key, lease, found, search).await),
            Err(error) => {
                let given_back = self.tier.abandon(key, lease, BACK_OFF).await;
                _ = self.heard(given_back);
                Err(error)
            }
        }
    }

    async fn fill(&self, key: &K, lease: Lease, found: Found<V>, search: &Search<'_, K, V>) -> Found<V> {
        if !found.keep {
            return found;
        }
        let filled = if (search.wanted)() {
            let filled = self.tier.fill(key, lease, &found.entry).await;
            self.heard(filled).ok()
        } else {
            Some(Filled::Refused)
        };
        if filled == Some(Filled::Refused) {
            self.context.events.emit(&Event::FillRefused { tier: self.tier.name() });
        }
        Found { keep: filled == Some(Filled::Stored), ..found }
    }

    fn is_fresh(&self, entry: &Entry<V>) -> bool {
        entry.is_fresh(self.context.clock.now())
    }

    /// What this tier said; a failure becomes an event.
    fn heard<A>(&self, answer: Result<A>) -> Result<A> {
        answer.inspect_err(|error| {
            self.context.events.emit(&Event::TierFailed { tier: self.tier.name(), error });
        })
    }
}

#[async_trait]
impl<K: Key, V: Value, T: Tier<K, V>> Levels<K, V> for Level<T, K, V> {
    #[inline]
    fn local(&self, key: &K) -> Option<(Entry<V>, &'static str)> {
        self.tier.local(key).map(|entry| (entry, self.tier.name()))
    }

    async fn copy(&self, key: &K) -> Option<Found<V>> {
        match self.peek(key).await {
            Some(entry) if self.is_fresh(&entry) => Some(self.found(entry)),
            _ => self.below.copy(key).await,
        }
    }

    async fn find(&self, key: &K, previous: Option<Entry<V>>, search: &Search<'_, K, V>) -> Result<Found<V>> {
        let here = self.peek(key).await;
        let old = match here {
            Some(entry) if !search.reload && self.is_fresh(&entry) => return Ok(self.found(entry)),
            other => other.or(previous),
        };
        let purpose = if search.reload { Purpose::Renew } else { Purpose::Fill };
        match self.heard(self.tier.acquire(key, purpose).await) {
            Ok(Acquired::Fresh(entry)) => Ok(self.found(entry)),
            Ok(Acquired::Granted(lease, stale)) => {
                self.find_with_lease(key, lease, stale.or(old), search).await
            }
            // A writer or another process has the key: what is loaded past it may be old before it is here.
            Ok(Acquired::Busy | Acquired::Held) => {
                let found = self.below.find(key, old, search).await?;
                Ok(Found { keep: false, ..found })
            }
            Err(_tier) => self.below.find(key, old, search).await,
        }
    }

    async fn invalidate(&self, keys: &[K]) -> Result<()> {
        let below = self.below.invalidate(keys).await;
        self.heard(self.tier.invalidate_many(keys).await).and(below)
    }

    fn invalidate_now(&self, keys: &[K]) {
        self.below.invalidate_now(keys);
        self.tier.invalidate_now(keys);
    }

    async fn hold(&self, keys: &[K], hold: Hold, lifetime: Duration) -> Result<()> {
        let below = self.below.hold(keys, hold, lifetime).await;
        self.heard(self.tier.hold_many(keys, hold, lifetime).await).and(below)
    }

    async fn release(&self, keys: &[K], hold: Hold) -> Result<()> {
        let below = self.below.release(keys, hold).await;
        self.heard(self.tier.release_many(keys, hold).await).and(below)
    }

    async fn publish(&self, key: &K, hold: Hold, entry: &Entry<V>) -> Result<bool> {
        match self.below.publish(key, hold, entry).await {
            Ok(true) => Ok(self.heard(self.tier.publish(key, hold, entry).await)? == Filled::Stored),
            // Below, another writer came between: whose value is the store's is unknown, so nothing is kept here.
            not_kept => {
                self.heard(self.tier.release_many(std::slice::from_ref(key), hold).await)?;
                not_kept
            }
        }
    }

    async fn clear(&self) -> Result<()> {
        let below = self.below.clear().await;
        self.heard(self.tier.clear().await).and(below)
    }

    async fn close(&self) -> Result<()> {
        let below = self.below.close().await;
        self.heard(self.tier.close().await).and(below)
    }
}
