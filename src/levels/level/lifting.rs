//! Copies from a tier below, kept in a tier of this process so that they are nearer the next time.

use std::borrow::Cow;
use std::slice;

use super::Level;
use crate::bounds::{Key, Value};
use crate::entry::Entry;
use crate::levels::Found;
use crate::tier::{Acquired, Lease, Purpose, Tier};
use crate::time::Timestamp;

impl<K: Key, V: Value, T: Tier<K, V>> Level<T, K, V> {
    /// The right to keep copies that may come from below, in a tier of this process. It costs nothing there, and is
    /// taken before the tier below is asked, for the same reason as before a load.
    pub(super) async fn leases_to_lift(&self, keys: &[K]) -> Vec<Option<Lease>> {
        if self.tier.is_shared() || self.tier.lease().is_some() {
            return Vec::new();
        }
        let acquired = self.heard(self.tier.acquire_many(keys, Purpose::Renew).await).unwrap_or_default();
        let lease = |acquired| match acquired {
            Acquired::Granted(lease, _) => Some(lease),
            _ => None,
        };
        acquired.into_iter().map(lease).collect()
    }

    /// The best copy from below, kept here from now on.
    pub(super) async fn lifted_copy(&self, key: &K, skipped: Option<&'static str>) -> Option<Found<V>> {
        let (lease, asked) = (self.leases_to_lift(slice::from_ref(key)).await, self.now());
        let below = self.below.copy(key, skipped).await;
        self.lift(slice::from_ref(key), &lease, slice::from_ref(&below), asked).await;
        below
    }

    /// Keeps copies from below, so that they are nearer the next time.
    pub(super) async fn lift(
        &self,
        keys: &[K],
        leases: &[Option<Lease>],
        copies: &[Option<Found<V>>],
        asked: Timestamp,
    ) {
        let rights = keys.iter().zip(leases).zip(copies);
        let lifted: Vec<(&K, Lease, Cow<'_, Entry<V>>)> = rights
            .filter_map(|((key, lease), found)| {
                let found = found.as_ref().filter(|found| found.keep)?;
                Some((key, (*lease)?, self.own_term(&found.entry, asked)))
            })
            .collect();
        if !lifted.is_empty() {
            let fills: Vec<_> = lifted.iter().map(|(key, lease, entry)| (*key, *lease, &**entry)).collect();
            _ = self.heard(self.tier.fill_many(&fills).await);
        }
    }
}
