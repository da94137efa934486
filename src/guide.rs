//! Longer texts: copies that all processes share, writes that the store gets later and counters, what to do about errors, how to
//! test a service, what stays as it is, and what caches kept by hand get wrong. Every example in them is run with the tests.

#[cfg(feature = "redis")]
#[doc = include_str!("../docs/redis.md")]
///
/// ---
/// The types: [`Redis`](crate::Redis), [`RedisBuilder`](crate::tier::redis::RedisBuilder),
/// [`Namespace`](crate::tier::redis::Namespace), [`Credentials`](crate::tier::redis::Credentials),
/// [`CacheKey`](crate::codec::CacheKey), [`codec`](crate::codec), [`Consistency`](crate::Consistency),
/// [`Stats`](crate::Stats). The guide on tests: [`testing`].
pub mod redis {}

#[doc = include_str!("../docs/write-behind.md")]
///
/// ---
/// The types: [`write_behind`](crate::write_behind), [`WriteBehind`](crate::WriteBehind), [`journal`](crate::journal),
/// [`TransactionalStore`](crate::store::TransactionalStore), [`IdempotentStore`](crate::store::IdempotentStore),
/// [`MergeStore`](crate::store::MergeStore), [`Merge`](crate::store::Merge), [`Sum`](crate::store::Sum),
/// [`AtLimit`](crate::AtLimit), [`DeadLetter`](crate::store::DeadLetter).
pub mod write_behind {}

#[doc = include_str!("../docs/errors.md")]
///
/// ---
/// The types: [`Error`](crate::Error), [`ErrorKind`](crate::ErrorKind), [`StoreError`](crate::StoreError),
/// [`Outcome`](crate::Outcome), [`Fault`](crate::Fault), [`Written`](crate::Written).
pub mod errors {}

#[doc = include_str!("../docs/testing.md")]
///
/// ---
/// The traits behind it: [`Store`](crate::Store), [`Tier`](crate::Tier), [`Clock`](crate::Clock),
/// [`Cache`](crate::Cache).
pub mod testing {}

#[doc = include_str!("../docs/stability.md")]
pub mod stability {}

#[doc = include_str!("../docs/patterns.md")]
///
/// ---
/// The calls: [`cache_aside`](crate::cache_aside), [`write_through`](crate::write_through),
/// [`write`](crate::LayeredCache::write), [`update`](crate::LayeredCache::update),
/// [`get_or_load`](crate::LayeredCache::get_or_load), [`wrap`](crate::LayeredCache::wrap).
pub mod patterns {}
