//! How a write comes to wait: its record, its place, and what becomes of it where there is none.

use std::sync::Arc;

use async_trait::async_trait;
use tokio::time::Instant;

use super::WriteBehind;
use super::letters::refused;
use super::settings::AtLimit;
use super::shard::{Refusal, Taken, dead};
use crate::bounds::{Key, Value};
use crate::error::{Error, ErrorKind, Outcome, StoreError};
use crate::event::Event;
use crate::journal::Appending;
use crate::store::{Change, Saved, Store};
use crate::time;

#[async_trait]
impl<K: Key + Ord, V: Value> Store<K, V> for WriteBehind<K, V> {
    async fn save(&self, key: &K, value: &V) -> Result<Saved<V>, StoreError> {
        self.accept(Change::Put(key.clone(), value.clone())).await.map(Into::into)
    }

    async fn delete(&self, key: &K) -> Result<(), StoreError> {
        self.accept(Change::Delete(key.clone())).await
    }

    /// Accepts them in their order, and waits for the log once.
    async fn apply(&self, changes: &[Change<K, V>]) -> Result<(), StoreError> {
        if let Some(shared) = &self.0.shared {
            for (done, change) in changes.iter().enumerate() {
                self.append(shared, change).await.map_err(|error| error.after(done))?;
            }
            return Ok(());
        }
        let mut all = Vec::with_capacity(changes.len());
        for (done, change) in changes.iter().enumerate() {
            all.push(self.enter(change.clone()).await.map_err(|error| error.after(done))?);
        }
        let mut is_dead = false;
        for (done, (entered, change)) in all.into_iter().zip(changes).enumerate() {
            let seq = match entered {
                Entered::Arriving(appending) => {
                    appending.await.map_err(|error| refused(error).after(done))?
                }
                // The first may have been put aside while the last waited for room.
                Entered::Waits(taken) => taken.seq,
                Entered::Stored => continue,
            };
            is_dead |= self.shard(change.key()).is_dead(seq);
        }
        // The others are accepted.
        if is_dead { Err(refused(dead()).after(changes.len() - 1)) } else { Ok(()) }
    }
}

/// How far a write has come.
pub(super) enum Entered<K, V> {
    /// It is on its way into the log.
    Arriving(Appending),
    /// It waits in this place.
    Waits(Taken<K, V>),
    /// The store has it.
    Stored,
}

impl<K: Key + Ord, V: Value> WriteBehind<K, V> {
    async fn accept(&self, change: Change<K, V>) -> Result<(), StoreError> {
        if let Some(shared) = &self.0.shared {
            return self.append(shared, &change).await.map(drop);
        }
        match self.enter(change).await? {
            Entered::Arriving(appending) => {
                let seq = appending.await.map_err(refused)?;
                // Put aside before it was answered: nobody could ask for it later.
                if self.0.shards[0].is_dead(seq) { Err(refused(dead())) } else { Ok(()) }
            }
            Entered::Waits(_) | Entered::Stored => Ok(()),
        }
    }

    /// Has a write take its place. It is accepted when it is in the log, where there is one.
    pub(super) async fn enter(&self, change: Change<K, V>) -> Result<Entered<K, V>, StoreError> {
        self.start().map_err(refused)?;
        let record = self.record(&change)?;
        match self.try_enter(change, record) {
            Ok(entered) => Ok(entered),
            Err(refusal) => self.at_limit(refusal).await,
        }
    }

    fn record(&self, change: &Change<K, V>) -> Result<Option<Vec<u8>>, StoreError> {
        self.0.log.as_ref().map(|log| log.encode(change)).transpose().map_err(refused)
    }

    #[inline]
    fn try_enter(
        &self,
        change: Change<K, V>,
        record: Option<Vec<u8>>,
    ) -> Result<Entered<K, V>, Refusal<K, V>> {
        let shard = self.shard(change.key());
        match (&self.0.log, record) {
            (Some(log), Some(record)) => {
                shard.append(change, record, &**log, || self.0.now()).map(Entered::Arriving)
            }
            _ => shard.accept(change, &self.0.weigh, || self.0.now()).map(Entered::Waits),
        }
    }

    /// What becomes of a write for which there is no room.
    #[cold]
    async fn at_limit(&self, refusal: Refusal<K, V>) -> Result<Entered<K, V>, StoreError> {
        let (change, record) = match refusal {
            Refusal::Ended(why) => return Err(ended(why)),
            Refusal::Full(change, record) => (change, record),
        };
        self.0.emit(&Event::AtLimit);
        // Those that wait, wait for others to join them, and none can.
        self.shard(change.key()).want_all();
        match self.0.settings.at_limit {
            AtLimit::Reject => Err(full()),
            AtLimit::Block(patience) => self.wait_for_room(change, record, time::from_now(patience)).await,
            AtLimit::WriteThrough => {
                self.settle(std::slice::from_ref(change.key())).await.map_err(refused)?;
                self.0.destination.write_now(&change).await.map(|()| Entered::Stored)
            }
        }
    }

    async fn wait_for_room(
        &self,
        mut change: Change<K, V>,
        mut record: Option<Vec<u8>>,
        until: Instant,
    ) -> Result<Entered<K, V>, StoreError> {
        let shard = Arc::clone(self.shard(change.key()));
        loop {
            let mut room = std::pin::pin!(shard.room.notified());
            // Before looking: room that is made in between must not be missed.
            room.as_mut().enable();
            (change, record) = match self.try_enter(change, record) {
                Ok(entered) => return Ok(entered),
                Err(Refusal::Ended(why)) => return Err(ended(why)),
                Err(Refusal::Full(change, record)) => (change, record),
            };
            shard.want_all();
            if time::within(until, room).await.is_err() {
                return Err(full());
            }
        }
    }
}

pub(super) fn ended(why: Error) -> StoreError {
    refused(why.with_outcome(Outcome::NotApplied))
}

pub(super) fn full() -> StoreError {
    let why = "as many writes wait for the store as may; it is slower than its writers, or fails";
    refused(Error::new(ErrorKind::Full, why).with_outcome(Outcome::NotApplied))
}
