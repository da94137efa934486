//! A key that is given its type without a tenant.
//~ ERROR: private fields

use larder::TenantKey;

fn main() {
    let key: TenantKey<u32, u64> = TenantKey { key: 42 };
    drop(key);
}
