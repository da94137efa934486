//! A key of somebody who is no tenant: ids of users and of tenants are not one type.
//~ ERROR: `&TenantKey<TenantId, u64>`

use larder::{LayeredCache, Result, Tenant, TenantKey};

#[derive(Clone, PartialEq, Eq, Hash)]
struct TenantId(u32);

#[derive(Clone, PartialEq, Eq, Hash)]
struct UserId(u32);

async fn title(titles: &LayeredCache<TenantKey<TenantId, u64>, String>) -> Result<Option<String>> {
    titles.get(&Tenant::of(UserId(7)).key(42)).await
}

fn main() {
    drop((title, TenantId));
}
