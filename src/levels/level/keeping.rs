//! Keeping what came from below, on the way up.

use std::mem;
use std::slice;
use std::time::Duration;

use futures_util::future::join_all;

use super::{Errand, Level, Right};
use crate::bounds::{Key, Value};
use crate::consistency::Consistency;
use crate::error::Result;
use crate::event::Event;
use crate::levels::{Found, Seat};
use crate::tier::{Filled, Tier};

/// After a failed load a tier need not be asked for a lease again for this long.
const BACK_OFF: Duration = Duration::from_secs(1);
/// How many leases are given back at once.
const TOGETHER: usize = 64;

impl<K: Key, V: Value, T: Tier<K, V>> Level<T, K, V> {
    /// Keeps what came from below, where the lease is alive and the answer still wanted.
    pub(super) async fn keep(&self, errands: &[Errand<K>], found: &mut [Result<Found<V>>]) {
        let mut fills = Vec::new();
        for (at, (errand, found)) in errands.iter().zip(found.iter()).enumerate() {
            if let (Right::Lease(lease), Ok(found)) = (errand.right, found)
                && found.keep
                && errand.place.is_wanted()
            {
                fills.push((
                    at,
                    lease,
                    self.own_term(&found.entry, errand.asked),
                    self.context.covered(&errand.place),
                ));
            }
        }
        let filled = match fills.is_empty() {
            true => Ok(Vec::new()),
            false => {
                let fills: Vec<_> =
                    fills.iter().map(|(at, lease, entry, _)| (&errands[*at].key, *lease, &**entry)).collect();
                self.heard(self.tier.fill_many(&fills).await)
            }
        };
        let failed = filled.is_err();
        let mut outcomes: Vec<Option<(Filled, Seat)>> = errands.iter().map(|_| None).collect();
        let fills: Vec<_> = fills.into_iter().map(|(at, .., covers)| (at, covers)).collect();
        for ((at, covers), filled) in fills.into_iter().zip(filled.unwrap_or_default()) {
            outcomes[at] = Some((filled, covers));
        }
        let settled = errands.iter().zip(found.iter_mut()).zip(outcomes);
        let mut settled: Vec<_> =
            settled.map(|((errand, found), outcome)| self.settle(errand, found, outcome, failed)).collect();
        while !settled.is_empty() {
            join_all(settled.drain(..settled.len().min(TOGETHER))).await;
        }
    }

    /// What could not be stored here is not kept above either, unless it is only that this tier cannot. A lease that was
    /// not used is given back, so that others need not wait for it to end.
    async fn settle(
        &self,
        errand: &Errand<K>,
        found: &mut Result<Found<V>>,
        outcome: Option<(Filled, Seat)>,
        failed: bool,
    ) {
        match (found, errand.right, outcome) {
            // Nobody had written until it was stored: it is new enough for all who had boarded by then.
            (Ok(found), Right::Lease(lease), Some((Filled::Stored, covers))) if self.tier.is_shared() => {
                found.covers = covers;
                found.entry.set_mark(errand.mark.of_copy(lease.number()));
                found.keep &= self.context.may_lift(&found.entry);
            }
            (Ok(_), Right::Lease(_), Some((Filled::Stored | Filled::Unfit, _))) => {}
            (Ok(found), Right::Lease(_), Some((Filled::Refused, _))) => {
                found.keep = false;
                self.context.events.emit(&Event::FillRefused { tier: self.tier.name() });
            }
            (Ok(found), Right::Lease(lease), None) => {
                let wanted = mem::take(&mut found.keep);
                if failed {
                    return self.tier.abandon_now(&errand.key, lease);
                }
                if wanted {
                    self.context.events.emit(&Event::FillRefused { tier: self.tier.name() });
                } else if errand.has_copy {
                    // The answer is to be kept nowhere, an absence for example; the copy it replaces is wrong by now.
                    _ = self.dropped(self.tier.invalidate_many(slice::from_ref(&errand.key)).await);
                    return;
                }
                _ = self.heard(self.tier.abandon(&errand.key, lease, Duration::ZERO).await);
            }
            (Err(_), Right::Lease(lease), _) => {
                _ = self.heard(self.tier.abandon(&errand.key, lease, BACK_OFF).await);
            }
            (Ok(found), Right::None, _) => found.keep = false,
            // The shared tier does not know of it, and nobody will tell of its end.
            (Ok(found), Right::Unknown, _)
                if self.tier.is_shared() && self.context.consistency != Consistency::Linearizable =>
            {
                found.entry.set_mark(errand.mark.alone());
            }
            (Ok(found), Right::Unknown, _) if self.context.consistency == Consistency::Linearizable => {
                found.keep = false;
            }
            _ => {}
        }
    }
}
