//! Which of a cache's copies are meant: those of one tenant.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use crate::tenant::{OfTenant, Tenant};

/// Some of the keys of a cache, for [`Tier::clear_where`](super::Tier::clear_where): those of one tenant.
///
/// A tier in this process asks [`holds`](Self::holds) of every key that it has. One outside, which has keys only as they
/// are written, asks how the tenant's begin.
pub struct Scope<K> {
    tenant: Arc<dyn Any + Send + Sync>,
    holds: fn(&dyn Any, &K) -> bool,
    is: fn(&dyn Any, &dyn Any) -> bool,
}

impl<K: OfTenant> Scope<K> {
    /// The keys of `tenant`.
    #[must_use]
    pub fn of(tenant: &Tenant<K::Id>) -> Self {
        Self { tenant: Arc::new(tenant.clone()), holds: is_of::<K>, is: are_one::<K::Id> }
    }

    /// Whose keys these are. There always is one.
    pub(crate) fn tenant(&self) -> Option<&Tenant<K::Id>> {
        self.tenant.downcast_ref()
    }
}

fn is_of<K: OfTenant>(tenant: &dyn Any, key: &K) -> bool {
    tenant.downcast_ref() == Some(key.tenant())
}

fn are_one<T: Eq + 'static>(one: &dyn Any, other: &dyn Any) -> bool {
    one.downcast_ref::<Tenant<T>>() == other.downcast_ref::<Tenant<T>>()
}

impl<K> Scope<K> {
    /// Whether `key` is one of them.
    #[must_use]
    pub fn holds(&self, key: &K) -> bool {
        (self.holds)(&*self.tenant, key)
    }

    /// Whether both are the same keys.
    pub(crate) fn is(&self, other: &Self) -> bool {
        (self.is)(&*self.tenant, &*other.tenant)
    }

    /// The tenant as its keys begin when they are written, without the `:` behind it. `None` where the keys are written
    /// in a way that does not tell.
    #[cfg(feature = "redis")]
    #[must_use]
    pub fn written(&self) -> Option<String>
    where
        K: crate::codec::CacheKey,
    {
        crate::codec::KeyWriter::text_of_tenant::<K>(&*self.tenant)
    }
}

impl<K> Clone for Scope<K> {
    fn clone(&self) -> Self {
        Self { tenant: Arc::clone(&self.tenant), holds: self.holds, is: self.is }
    }
}

/// Without the tenant: this may stand in a log.
impl<K> fmt::Debug for Scope<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scope").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tenant::TenantKey;

    #[test]
    fn a_scope_holds_the_keys_of_its_tenant_and_no_others() {
        let scope: Scope<TenantKey<&str, u64>> = Scope::of(&Tenant::of("1"));
        assert!(scope.holds(&Tenant::of("1").key(7)));
        for other in ["11", "", "1:x", "*"] {
            assert!(!scope.holds(&Tenant::of(other).key(7)), "{other}");
            assert!(!scope.is(&Scope::of(&Tenant::of(other))), "{other}");
        }
        assert!(scope.is(&Scope::of(&Tenant::of("1"))));
    }
}
