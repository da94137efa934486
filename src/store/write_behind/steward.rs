//! Who owns which shard of a stream: a process claims those that nobody owns, up to its share, keeps what it has, and leaves
//! the rest to others when they come.
//!
//! It decides only how soon something is written. That nothing is written by two is decided by the store, which refuses the
//! batches of an earlier epoch: whoever is slow, stopped or cut off may take itself for an owner for as long as it likes.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::Duration;

use super::Parts;
use super::shared::Shared;
use crate::bounds::{Key, Value};
use crate::error::{Error, ErrorKind};
use crate::event::Event;
use crate::journal::Members;
use crate::stream::Number;
use crate::time;

/// Keeps track of the steward for as long as it exists, also when it is dropped with its runtime.
pub(super) struct Stewarded<K: Key + Ord, V: Value>(Weak<Parts<K, V>>);

impl<K: Key + Ord, V: Value> Stewarded<K, V> {
    /// `None` if there is one already.
    pub(super) fn take(parts: &Arc<Parts<K, V>>) -> Option<Self> {
        let shared = parts.shared.as_ref()?;
        let is_first = !shared.is_stewarded.swap(true, Ordering::AcqRel);
        is_first.then(|| Self(Arc::downgrade(parts)))
    }
}

impl<K: Key + Ord, V: Value> Drop for Stewarded<K, V> {
    fn drop(&mut self) {
        if let Some(shared) = self.0.upgrade().as_deref().and_then(|parts| parts.shared.as_ref()) {
            shared.is_stewarded.store(false, Ordering::Release);
        }
    }
}

/// Looks after the shards until there is nobody left who writes. While it waits it keeps nothing alive.
pub(super) async fn steward<K: Key + Ord, V: Value>(stewarded: Stewarded<K, V>) {
    let mut members = Members { all: 1, place: 1 };
    loop {
        let Some(parts) = stewarded.0.upgrade() else { return };
        let Some(shared) = &parts.shared else { return };
        if parts.stop.is_cancelled() {
            return;
        }
        parts.look_after(shared, &mut members).await;
        let until = time::from_now(shared.stream.lease() / 6);
        let (stop, nudge) = (parts.stop.clone(), Arc::clone(&shared.nudge));
        drop(parts);
        let nudged = async {
            tokio::select! {
                () = nudge.notified() => {}
                () = stop.cancelled() => {}
            }
        };
        if let Err(time::Unanswered::NoTimer) = time::within(until, nudged).await {
            return;
        }
    }
}

impl<K: Key + Ord, V: Value> Parts<K, V> {
    async fn look_after(&self, shared: &Shared<K, V>, members: &mut Members) {
        match shared.stream.beat(shared.process, shared.stream.lease()).await {
            Ok(now) => *members = now,
            // It must not write what others order in another way.
            Err(error) if error.kind() == ErrorKind::Settings => return self.unclaimed(&error),
            // A Redis that does not answer has not fewer members for that.
            Err(_) => {}
        }
        let renewed = self.keep_shards(shared).await;
        let share = share_of(self.shards.len(), *members);
        let owned: Vec<_> = self.shards.iter().filter(|shard| shard.epoch().is_some()).collect();
        owned.iter().skip(share).for_each(|shard| shard.leave_to_another());
        if owned.len() < share {
            self.claim_shards(shared, share - owned.len()).await;
        }
        self.release_forsaken(&renewed).await;
        self.take_stock(shared).await;
    }

    /// Prolongs the leases, of which the epochs are answered; shards that another has by now are given up.
    async fn keep_shards(&self, shared: &Shared<K, V>) -> Vec<(u16, u64)> {
        if self.shards.iter().all(|shard| shard.epoch().is_none()) {
            return Vec::new();
        }
        let renewed = self.ask(self.destination.renew(self.id, shared.process, claim_time(shared))).await;
        // A store that does not answer may have prolonged them or not: the next batch will tell.
        let Ok(renewed) = renewed else { return Vec::new() };
        for shard in &self.shards {
            let Some(epoch) = shard.epoch() else { continue };
            if !renewed.contains(&(shard.id.number(), epoch)) {
                shard.lost();
            }
        }
        renewed
    }

    /// Leaves to others what the store has in this process's name, and it has forsaken, or never heard that it owns: as long
    /// as it has other shards, it would prolong the leases of these, too, and nobody would ever write them.
    async fn release_forsaken(&self, renewed: &[(u16, u64)]) {
        for (number, epoch) in renewed {
            let Some(shard) = self.shards.get(usize::from(*number)) else { continue };
            if shard.epoch().is_none() {
                _ = self.ask(self.destination.release(shard.id, *epoch)).await;
            }
        }
    }

    /// Claims up to so many shards that nobody owns, beginning anywhere: processes that start together do not all ask for
    /// the same ones.
    async fn claim_shards(&self, shared: &Shared<K, V>, mut wanted: usize) {
        let first = fastrand::usize(..self.shards.len());
        for at in circle(first, self.shards.len()) {
            let shard = &self.shards[at];
            if wanted == 0 {
                return;
            }
            // One that accepts nothing more is brought to the store all the same: `close` waits for that.
            if shard.epoch().is_some() || shard.ended_for_good().is_some() {
                continue;
            }
            // Before the claim: the offset that it is answered with is then that of all who came before in this life.
            let Ok(life) = shared.stream.life(shard.id.number()).await else { continue };
            match self.ask(self.destination.claim_for(shard.id, shared.process, claim_time(shared))).await {
                Ok(Some(claim)) => {
                    let parked = match self.parked_keys(shard).await {
                        Ok(parked) => parked,
                        Err(error) => return self.unclaimed(&Error::store(error)),
                    };
                    shard.take_charge(claim, life, parked);
                    wanted -= 1;
                }
                Ok(None) => {}
                Err(error) => return self.unclaimed(&Error::store(error)),
            }
        }
    }

    fn unclaimed(&self, error: &Error) {
        self.emit(&Event::FlushFailed { writes: 0, error });
    }

    /// Looks how the shards stand, for those who want to know, and tells what is wrong.
    pub(super) async fn take_stock(&self, shared: &Shared<K, V>) {
        for shard in &self.shards {
            let number = shard.id.number();
            let Ok(standing) = shared.stream.look(number, 0, Number::default()).await else { break };
            if let Some(kept) = shared.standings.lock().get_mut(usize::from(number)) {
                *kept = standing;
            }
            let waited = Duration::from_micros(standing.age);
            if shard.is_newly_late(standing.writes > 0 && waited > self.settings.alarm_age()) {
                self.emit(&Event::Overdue { oldest: waited });
            }
        }
        for _ in 0..shared.stream.take_regressed() {
            self.emit(&Event::JournalRegressed { moved: 0 });
        }
    }

    /// Leaves all shards to others, and is not counted among the processes any more.
    pub(super) async fn leave_all(&self, shared: &Shared<K, V>) {
        for shard in &self.shards {
            if let Some(epoch) = shard.epoch() {
                _ = self.destination.release(shard.id, epoch).await;
            }
        }
        _ = shared.stream.beat(shared.process, Duration::ZERO).await;
    }
}

/// Shorter than the lease by as much as it takes to notice that it has run out.
fn claim_time<K, V>(shared: &Shared<K, V>) -> Duration {
    shared.stream.lease() / 3 * 2
}

/// How many of `shards` one of several processes is to own: all of them together own each once.
fn share_of(shards: usize, members: Members) -> usize {
    let all = members.all.max(1);
    let is_among_the_first = members.place.max(1) <= shards % all;
    shards / all + usize::from(is_among_the_first)
}

/// All numbers below `all`, beginning with `first`.
fn circle(first: usize, all: usize) -> impl Iterator<Item = usize> {
    (first..all).chain(0..first)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_shards_are_shared_out_and_none_twice() {
        for shards in 1..20 {
            for all in 1..30 {
                let shares = (1..=all).map(|place| share_of(shards, Members { all, place }));
                assert_eq!(shares.sum::<usize>(), shards, "{shards} shards, {all} processes");
            }
        }
    }

    #[test]
    fn who_is_not_counted_yet_counts_as_the_first() {
        assert_eq!(share_of(8, Members { all: 0, place: 0 }), 8);
        assert_eq!(share_of(8, Members { all: 3, place: 0 }), 3);
    }
}
