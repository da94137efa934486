//! The copies of one tenant, where keys have none.
//~ ERROR: `u64` has no tenant: this is for caches whose keys are `TenantKey`s

use larder::{LayeredCache, Result, Tenant};

async fn clear(titles: &LayeredCache<u64, String>) -> Result<()> {
    titles.clear_tenant(&Tenant::of(7)).await
}

fn main() {
    drop(clear);
}
