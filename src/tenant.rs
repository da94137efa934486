//! Keys that say whose they are.
//!
//! Where a service has many tenants, a cache that forgets the tenant in a key shows one the values of another. Key such
//! a cache by [`TenantKey`]: there is no way to make one without its tenant, and `cache.get(&id)` does not compile.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> larder::Result<()> {
//! use larder::{Memory, Tenant, TenantKey, load_fn};
//! use std::{io, time::Duration};
//!
//! async fn find_title(key: TenantKey<u32, u64>) -> Result<Option<String>, io::Error> {
//!     Ok(Some(format!("post {} of {}", key.key(), key.tenant().id()))) // a query
//! }
//!
//! let titles = larder::read_through(load_fn(find_title))
//!     .tier(Memory::with_capacity(10_000))
//!     .ttl(Duration::from_secs(60))
//!     .tenant_quota(1_000)
//!     .build()?;
//!
//! let tenant = Tenant::of(7_u32); // once for each request, from whoever has logged in
//! assert_eq!(titles.get(&tenant.key(42)).await?.as_deref(), Some("post 42 of 7"));
//! titles.clear_tenant(&tenant).await?; // the copies of this tenant and of no other
//! # Ok(())
//! # }
//! ```

use crate::bounds::Key;

/// One of those whom a service keeps apart, by its id. It makes the [keys](TenantKey) of what is the tenant's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Tenant<T>(T);

impl<T> Tenant<T> {
    /// The tenant with this id.
    #[must_use]
    pub const fn of(id: T) -> Self {
        Self(id)
    }

    /// Its id.
    #[must_use]
    pub const fn id(&self) -> &T {
        &self.0
    }

    /// `key`, as one of this tenant's. An id that is not a number is best an `Arc<str>`: it is cloned here.
    #[must_use]
    pub fn key<K>(&self, key: K) -> TenantKey<T, K>
    where
        T: Clone,
    {
        TenantKey { tenant: self.clone(), key }
    }
}

/// A key of one tenant, made by [`Tenant::key`].
///
/// A cache of `TenantKey`s has [`clear_tenant`](crate::LayeredCache::clear_tenant) and
/// [`tenant_quota`](crate::Builder::tenant_quota).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TenantKey<T, K> {
    tenant: Tenant<T>,
    key: K,
}

impl<T, K> TenantKey<T, K> {
    /// Whose it is.
    #[must_use]
    pub const fn tenant(&self) -> &Tenant<T> {
        &self.tenant
    }

    /// What it is among the tenant's own.
    #[must_use]
    pub const fn key(&self) -> &K {
        &self.key
    }
}

/// A key that has a tenant: a [`TenantKey`], and nothing else.
#[diagnostic::on_unimplemented(
    message = "`{Self}` has no tenant: this is for caches whose keys are `TenantKey`s",
    label = "not a `TenantKey`",
    note = "make the keys of the cache with `Tenant::of(id).key(…)`"
)]
pub trait OfTenant: Key + sealed::Sealed {
    /// What tenants are known by.
    type Id: Key;

    /// Whose the key is.
    fn tenant(&self) -> &Tenant<Self::Id>;
}

impl<T: Key, K: Key> OfTenant for TenantKey<T, K> {
    type Id = T;

    fn tenant(&self) -> &Tenant<T> {
        self.tenant()
    }
}

/// What shared tiers write of a tenant is decided in this crate.
mod sealed {
    pub trait Sealed {}

    impl<T, K> Sealed for super::TenantKey<T, K> {}
}
