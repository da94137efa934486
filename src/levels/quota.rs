//! How many copies one tenant may have at a time.
//!
//! What is counted are the keys of which this process has had a copy kept, each until the copy's life ends or it is
//! dropped. No tier is asked whether it still has it: one that was evicted counts all the same.

use std::collections::HashMap;
use std::fmt;
use std::hash::BuildHasher;

use foldhash::quality::RandomState;

use crate::bounds::Key;
use crate::sync::Mutex;
use crate::tenant::{OfTenant, Tenant};
use crate::tier::Scope;
use crate::time::Timestamp;

const SHARDS: usize = 16;

/// The counts of all tenants of a cache.
pub(crate) struct Quota<K> {
    most: usize,
    shards: Box<[Mutex<Tenants>]>,
    hasher: RandomState,
    tenant_of_key: fn(&K) -> &dyn Hashed,
    tenant_of_scope: fn(&Scope<K>) -> Option<&dyn Hashed>,
}

/// A tenant's id, of which only the hash is wanted.
trait Hashed {
    fn hash(&self, hasher: &RandomState) -> u64;
}

impl<T: Key> Hashed for Tenant<T> {
    fn hash(&self, hasher: &RandomState) -> u64 {
        hasher.hash_one(self)
    }
}

impl<K: OfTenant> Quota<K> {
    /// At the most `most` copies for each tenant.
    pub(crate) fn of(most: usize) -> Self {
        Self {
            most,
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            hasher: RandomState::default(),
            tenant_of_key: |key| key.tenant(),
            tenant_of_scope: |scope| scope.tenant().map(|tenant| tenant as &dyn Hashed),
        }
    }
}

impl<K: Key> Quota<K> {
    pub(crate) fn is_zero(&self) -> bool {
        self.most == 0
    }

    /// Whether a copy of `key` may be kept until `ends`; it then counts until that moment, or until it is dropped.
    pub(crate) fn admits(&self, key: &K, ends: Timestamp, now: Timestamp) -> bool {
        let (tenant, copy) = self.numbers(key);
        self.shard(tenant).lock().admit(self.most, tenant, copy, ends, now)
    }

    /// The copies of `keys` are dropped.
    pub(crate) fn forget(&self, keys: &[K]) {
        for key in keys {
            let (tenant, copy) = self.numbers(key);
            self.shard(tenant).lock().forget(tenant, copy);
        }
    }

    /// The copies of the keys in `scope` are dropped.
    pub(crate) fn forget_where(&self, scope: &Scope<K>) {
        if let Some(tenant) = (self.tenant_of_scope)(scope) {
            let tenant = tenant.hash(&self.hasher);
            self.shard(tenant).lock().forget_tenant(tenant);
        }
    }

    /// All copies are dropped.
    pub(crate) fn forget_all(&self) {
        self.shards.iter().for_each(|shard| *shard.lock() = Tenants::default());
    }

    fn numbers(&self, key: &K) -> (u64, u64) {
        ((self.tenant_of_key)(key).hash(&self.hasher), self.hasher.hash_one(key))
    }

    fn shard(&self, tenant: u64) -> &Mutex<Tenants> {
        &self.shards[(tenant >> 32) as usize % SHARDS]
    }
}

impl<K> fmt::Debug for Quota<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Quota").field("most", &self.most).finish_non_exhaustive()
    }
}

/// Some tenants and their copies, both known by a hash. Pure state, time handed in.
///
/// Copies whose life has ended are looked for when a tenant is full, and among all tenants when there are twice as many
/// copies as after the last time: there are never more than twice those that live, and a few.
#[derive(Default)]
struct Tenants {
    copies: HashMap<u64, Copies, RandomState>,
    count: usize,
    count_after_sweep: usize,
}

/// So many copies are not worth looking through.
const FEW: usize = 1024;

impl Tenants {
    fn admit(&mut self, most: usize, tenant: u64, copy: u64, ends: Timestamp, now: Timestamp) -> bool {
        let copies = self.copies.entry(tenant).or_default();
        let before = copies.ends.len();
        let admitted = copies.admit(most, copy, ends, now);
        self.count = self.count + copies.ends.len() - before;
        if self.count > FEW.max(2 * self.count_after_sweep) {
            self.sweep(now);
        }
        admitted
    }

    fn forget(&mut self, tenant: u64, copy: u64) {
        let Some(copies) = self.copies.get_mut(&tenant) else { return };
        self.count -= usize::from(copies.ends.remove(&copy).is_some());
        if copies.ends.is_empty() {
            self.copies.remove(&tenant);
        }
    }

    fn forget_tenant(&mut self, tenant: u64) {
        self.count -= self.copies.remove(&tenant).map_or(0, |copies| copies.ends.len());
    }

    fn sweep(&mut self, now: Timestamp) {
        self.copies.retain(|_, copies| {
            copies.sweep(now);
            !copies.ends.is_empty()
        });
        self.count = self.copies.values().map(|copies| copies.ends.len()).sum();
        self.count_after_sweep = self.count;
    }
}

/// One tenant's copies, and when their lives end.
struct Copies {
    ends: HashMap<u64, Timestamp, RandomState>,
    /// No life ends before this.
    first_end: Timestamp,
}

impl Copies {
    fn admit(&mut self, most: usize, copy: u64, ends: Timestamp, now: Timestamp) -> bool {
        if self.ends.len() >= most && !self.ends.contains_key(&copy) {
            self.sweep(now);
            if self.ends.len() >= most {
                return false;
            }
        }
        self.ends.insert(copy, ends);
        self.first_end = self.first_end.min(ends);
        true
    }

    fn sweep(&mut self, now: Timestamp) {
        if now >= self.first_end {
            self.ends.retain(|_, ends| now < *ends);
            self.first_end = self.ends.values().copied().min().unwrap_or(Timestamp::NEVER);
        }
    }
}

impl Default for Copies {
    fn default() -> Self {
        Self { ends: HashMap::default(), first_end: Timestamp::NEVER }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tenant::TenantKey;
    use proptest::prelude::*;

    const NOW: Timestamp = Timestamp::from_nanos(100);
    const SOON: Timestamp = Timestamp::from_nanos(200);

    fn quota(most: usize) -> Quota<TenantKey<u32, u64>> {
        Quota::of(most)
    }

    fn copies_of(quota: &Quota<TenantKey<u32, u64>>) -> usize {
        quota.shards.iter().map(|shard| shard.lock().count).sum()
    }

    #[test]
    fn a_tenant_has_so_many_copies_and_no_more() {
        let (quota, tenant) = (quota(2), Tenant::of(1));
        assert!(quota.admits(&tenant.key(1), SOON, NOW) && quota.admits(&tenant.key(2), SOON, NOW));
        assert!(!quota.admits(&tenant.key(3), SOON, NOW));
        assert!(quota.admits(&Tenant::of(2).key(3), SOON, NOW), "another tenant has a quota of its own");
    }

    #[test]
    fn a_copy_that_is_replaced_counts_once() {
        let (quota, key) = (quota(1), Tenant::of(1).key(1));
        assert!(quota.admits(&key, SOON, NOW) && quota.admits(&key, SOON, NOW));
        quota.forget(&[key]);
        assert_eq!(copies_of(&quota), 0);
    }

    #[test]
    fn a_copy_whose_life_has_ended_makes_room() {
        let (quota, tenant) = (quota(1), Tenant::of(1));
        assert!(quota.admits(&tenant.key(1), SOON, NOW));
        assert!(!quota.admits(&tenant.key(2), Timestamp::NEVER, NOW));
        assert!(quota.admits(&tenant.key(2), Timestamp::NEVER, SOON));
    }

    #[test]
    fn copies_that_are_dropped_make_room() {
        let (quota, tenant) = (quota(1), Tenant::of(1));
        let drops: [&dyn Fn(); 3] =
            [&|| quota.forget(&[tenant.key(1)]), &|| quota.forget_where(&Scope::of(&tenant)), &|| {
                quota.forget_all()
            }];
        for drop in drops {
            assert!(quota.admits(&tenant.key(1), Timestamp::NEVER, NOW));
            drop();
            assert!(quota.admits(&tenant.key(2), Timestamp::NEVER, NOW));
            quota.forget(&[tenant.key(2)]);
        }
    }

    #[test]
    fn dropping_one_tenant_leaves_the_others_their_counts() {
        let quota = quota(1);
        assert!((0..100).all(|tenant| quota.admits(&Tenant::of(tenant).key(1), SOON, NOW)));
        quota.forget_where(&Scope::of(&Tenant::of(7)));
        assert_eq!(copies_of(&quota), 99);
        assert!(!quota.admits(&Tenant::of(8).key(2), SOON, NOW));
    }

    #[test]
    fn tenants_that_do_not_come_back_are_forgotten() {
        let quota = quota(10);
        for tenant in 0..100_000_u32 {
            let now = Timestamp::from_nanos(u64::from(tenant));
            assert!(quota.admits(
                &Tenant::of(tenant).key(1),
                now.after(std::time::Duration::from_nanos(10)),
                now
            ));
        }
        assert!(copies_of(&quota) <= SHARDS * (FEW + 1));
    }

    proptest! {
        /// Held against the same thing without hashes, shards and shortcuts.
        #[test]
        fn a_copy_is_admitted_where_fewer_live(
            steps in proptest::collection::vec((0_u32..3, 0_u64..8, 1_u64..40, any::<bool>()), 1..200),
        ) {
            let (quota, mut living) = (quota(4), HashMap::new());
            for (now, (tenant, key, life, admits)) in steps.into_iter().enumerate() {
                let now = now as u64;
                let whole = Tenant::of(tenant).key(key);
                living.retain(|_, ends| now < *ends);
                if !admits {
                    quota.forget(&[whole]);
                    living.remove(&(tenant, key));
                    continue;
                }
                let mine = living.keys().filter(|(of, _)| *of == tenant).count();
                let fits = mine < 4 || living.contains_key(&(tenant, key));
                let (ends, now) = (Timestamp::from_nanos(now + life), Timestamp::from_nanos(now));
                // One whose life is over, and that has not been swept, is taken for living by nobody but itself.
                prop_assert_eq!(quota.admits(&whole, ends, now), fits);
                if fits {
                    living.insert((tenant, key), ends.as_nanos());
                }
            }
        }
    }
}
