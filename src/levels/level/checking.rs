//! Copies of this process that are in doubt, checked with the shared tier below.

use std::slice;

use super::Level;
use crate::bounds::{Key, Value};
use crate::coherence::Mark;
use crate::entry::Entry;
use crate::event::Event;
use crate::tier::Tier;

impl<K: Key, V: Value, T: Tier<K, V>> Level<T, K, V> {
    /// Whether a copy that is here may be older than the shared tier's by more than the bound.
    pub(super) fn is_in_doubt(&self, copy: &Entry<V>) -> bool {
        !self.tier.is_shared() && !self.context.counts(copy, self.context.clock.recent())
    }

    /// Drops copies that are not served any more, so that those of the shared tier can take their place: they may look newer
    /// than those, whose times come from another clock.
    pub(super) fn make_way(&self, keys: &[K]) {
        if !self.tier.is_shared() && self.below.has_copies() {
            self.tier.invalidate_now(keys);
        }
    }

    /// The copy, if the shared tier still has it.
    pub(super) async fn checked(&self, key: &K, copy: Entry<V>) -> Option<Entry<V>> {
        self.all_checked(slice::from_ref(key), vec![Some(copy)]).await.pop().flatten()
    }

    /// The copies that count, or that the shared tier still has; marked stale, those of which it does not say. One that a
    /// message has dropped is not asked about.
    pub(super) async fn all_checked(
        &self,
        keys: &[K],
        copies: Vec<Option<Entry<V>>>,
    ) -> Vec<Option<Entry<V>>> {
        let Some(trust) = &self.context.trust else { return copies };
        let now = self.context.clock.now();
        let mut copies = copies;
        let mut open = Vec::new();
        for (at, copy) in copies.iter_mut().enumerate() {
            match copy {
                Some(here) if !self.is_in_doubt(here) => {}
                Some(here) if trust.is_known_dropped(here.mark(), now) => *copy = None,
                Some(here) => open.push((at, here.mark())),
                None => {}
            }
        }
        if open.is_empty() {
            return copies;
        }
        let asked: Vec<(K, Mark)> = open.iter().map(|(at, mark)| (keys[*at].clone(), *mark)).collect();
        let asked_keys: Vec<K> = asked.iter().map(|(key, _)| key.clone()).collect();
        let leases = self.leases_to_lift(&asked_keys).await;
        let marks = self.below.revalidate(&asked).await;
        let mut kept = Vec::new();
        for (nth, (at, _)) in open.iter().enumerate() {
            copies[*at] = copies[*at].take().and_then(|copy| match &marks {
                Ok(marks) => {
                    let copy = copy.marked((*marks.get(nth)?)?);
                    self.context.events.emit(&Event::Revalidated);
                    if let Some(Some(lease)) = leases.get(nth)
                        // One that nobody would be told of was given a short life, and keeps it.
                        && copy.mark().is_reached()
                        && trust.holds(copy.mark(), now)
                    {
                        kept.push((nth, *lease, copy.clone()));
                    }
                    Some(copy)
                }
                Err(_) if self.context.lifetime.stale.is_zero() => None,
                Err(_) => Some(copy.suspect()),
            });
        }
        if !kept.is_empty() {
            let fills: Vec<_> =
                kept.iter().map(|(nth, lease, copy)| (&asked_keys[*nth], *lease, copy)).collect();
            _ = self.heard(self.tier.fill_many(&fills).await);
        }
        copies
    }
}
