//! What the statistics page says.

use std::collections::BTreeMap;

use serde::Serialize;

#[derive(Debug, Serialize)]
pub(crate) struct Stats {
    pub(crate) posts: u32,
    /// Asked of the database by visitors' requests.
    pub(crate) queries: usize,
    pub(crate) caches: BTreeMap<String, CacheStats>,
}

#[derive(Debug, Serialize)]
pub(crate) struct CacheStats {
    pub(crate) hit_ratio: f64,
    pub(crate) hits: u64,
    pub(crate) misses: u64,
    pub(crate) loads: u64,
    pub(crate) writes: u64,
}

impl Stats {
    pub(crate) fn new(posts: u32, queries: usize, caches: &BTreeMap<String, larder::Stats>) -> Self {
        let cache = |(name, stats): (&String, &larder::Stats)| (name.clone(), CacheStats::new(stats));
        Self { posts, queries, caches: caches.iter().map(cache).collect() }
    }
}

impl CacheStats {
    fn new(stats: &larder::Stats) -> Self {
        Self {
            hit_ratio: stats.hit_ratio(),
            hits: stats.hits,
            misses: stats.misses,
            loads: stats.loads,
            writes: stats.writes,
        }
    }
}
