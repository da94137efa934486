//! A quota for tenants, where keys have none.
//~ ERROR: `u64` has no tenant: this is for caches whose keys are `TenantKey`s

fn main() {
    drop(larder::cache::<u64, String>().tenant_quota(1_000));
}
