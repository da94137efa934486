//! A key whose tenant has been forgotten.
//~ ERROR: `&TenantKey<u32, u64>`

use larder::{LayeredCache, Result, TenantKey};

async fn title(titles: &LayeredCache<TenantKey<u32, u64>, String>, post: u64) -> Result<Option<String>> {
    titles.get(&post).await
}

fn main() {
    drop(title);
}
