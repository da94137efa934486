//! What a cache does, in this process and over tiers and stores that are fakes: one behaviour in each file.

#[path = "../support/mod.rs"]
mod support;

mod absent;
mod batches;
mod cache_aside;
mod caches;
mod close;
mod contracts;
mod entry_loader;
mod errors;
mod get_by;
mod memory;
mod nested;
mod own_cache;
mod own_strategy;
mod patterns;
mod refresh_ahead;
mod settings;
mod stale;
mod tenant_quota;
mod tenants;
mod tiers;
mod values;
mod wrap;
mod write;
mod write_through;
