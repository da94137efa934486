//! A copy near its end is served, and renewed behind the reader's back.

use std::time::Duration;

use async_trait::async_trait;

use super::ReadStrategy;
use crate::bounds::{Key, Value};
use crate::engine::{Engine, ReadOptions, Served};
use crate::entry::Entry;
use crate::error::Result;
use crate::time::Timestamp;

/// Read-through whose readers of a hot key never wait: the first read after a given part of a copy's life, and every
/// read of a stale copy within the window of stale use, is answered by the copy and starts one refresh.
///
/// The refresh goes to the store, is fenced like any load, and after a failure leaves the copy as it is and is not
/// tried again for the refresh back-off. A key that nobody reads is not refreshed.
#[derive(Clone, Copy, Debug)]
pub struct RefreshAhead {
    from: f64,
}

impl RefreshAhead {
    /// Refreshes after the part `from` of a copy's fresh life: 0.8 leaves the last fifth for it, 1 and more wait until
    /// the copy is stale.
    #[must_use]
    pub const fn after(from: f64) -> Self {
        Self { from }
    }

    /// Serves `copy`, and has it renewed when it is due.
    fn renewed_if_due<K: Key, V: Value>(&self, engine: &Engine<K, V>, key: &K, copy: Served<V>) -> Served<V> {
        if copy.lived() >= self.from.min(1.0) {
            engine.refresh_behind(key, &copy);
        }
        copy
    }

    /// When a copy is due.
    fn due<V: Value>(&self, copy: &Entry<V>) -> Timestamp {
        let life = copy.fresh_until().since(copy.as_of());
        if self.from >= 1.0 || copy.fresh_until() == Timestamp::NEVER {
            return copy.fresh_until();
        }
        copy.as_of().after(Duration::from_nanos((life.as_nanos() as f64 * self.from) as u64))
    }
}

#[async_trait]
impl<K: Key, V: Value> ReadStrategy<K, V> for RefreshAhead {
    #[inline]
    fn serves_at_once(&self, copy: &Entry<V>, now: Timestamp) -> bool {
        now < self.due(copy)
    }

    async fn find(&self, engine: &Engine<K, V>, key: &K, options: &ReadOptions) -> Result<Option<Served<V>>> {
        let copy = if options.is_special() { None } else { engine.servable(key).await };
        match copy {
            Some(copy) => Ok(Some(self.renewed_if_due(engine, key, copy))),
            None => engine.find(key, &options.clone().looked()).await.map(Some),
        }
    }

    async fn find_many(
        &self,
        engine: &Engine<K, V>,
        keys: &[K],
        options: &ReadOptions,
    ) -> Vec<Result<Option<Served<V>>>> {
        if options.is_special() {
            return super::some_of_each(engine.find_many(keys, options).await);
        }
        let copies = engine.servable_many(keys).await;
        let missing: Vec<K> =
            keys.iter().zip(&copies).filter(|(_, copy)| copy.is_none()).map(|(key, _)| key.clone()).collect();
        let looked = options.clone().looked();
        let mut found = super::some_of_each(engine.find_many(&missing, &looked).await).into_iter();
        let answer = |(key, copy): (&K, Option<Served<V>>)| match copy {
            Some(copy) => Ok(Some(self.renewed_if_due(engine, key, copy))),
            None => found.next().unwrap_or(Ok(None)),
        };
        keys.iter().zip(copies).map(answer).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_is_due_after_its_part_of_life() {
        let at = |secs| Timestamp::ZERO.after(Duration::from_secs(secs));
        let copy = Entry::new(Some(1), at(100), at(200), at(300));
        for (from, due) in [(0.0, 100), (0.8, 180), (1.0, 200), (7.0, 200)] {
            assert_eq!(RefreshAhead::after(from).due(&copy), at(due), "after {from}");
        }
    }
}
