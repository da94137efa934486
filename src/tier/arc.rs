//! A tier that somebody else holds as well, to ask how full it is.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;

use super::{Acquired, Filled, Hold, Host, Lease, Lookup, Purpose, Scope, Tier};
use crate::bounds::{Key, Value};
use crate::coherence::Mark;
use crate::entry::Entry;
use crate::error::Result;
use crate::receipt::Reading;
use crate::time::Timestamp;

/// Every call is that of the tier inside. Give it to one cache only: two would see each other's keys.
impl<K: Key, V: Value, T: Tier<K, V>> Tier<K, V> for Arc<T> {
    fn name(&self) -> &'static str {
        (**self).name()
    }

    fn is_shared(&self) -> bool {
        (**self).is_shared()
    }

    fn attach(&self, host: &Host) -> Result<()> {
        (**self).attach(host)
    }

    fn mark(&self, key: &K) -> Mark {
        (**self).mark(key)
    }

    fn word_of_end(&self, key: &K) -> impl Future<Output = Option<BoxFuture<'static, ()>>> + Send {
        (**self).word_of_end(key)
    }

    fn revalidate_many(
        &self,
        copies: &[(K, Mark)],
    ) -> impl Future<Output = Result<Vec<Option<Mark>>>> + Send {
        (**self).revalidate_many(copies)
    }

    fn readings(&self, keys: &[K]) -> Vec<Reading> {
        (**self).readings(keys)
    }

    fn moment_of(&self, keys: &[K], readings: &[Reading]) -> impl Future<Output = Option<Timestamp>> + Send {
        (**self).moment_of(keys, readings)
    }

    fn lease(&self) -> Option<Duration> {
        (**self).lease()
    }

    #[inline]
    fn local(&self, key: &K) -> Option<Entry<V>> {
        (**self).local(key)
    }

    #[inline]
    fn local_by(&self, key: &Lookup<'_, K>) -> Option<Entry<V>> {
        (**self).local_by(key)
    }

    fn get_many(&self, keys: &[K]) -> impl Future<Output = Result<Vec<Option<Entry<V>>>>> + Send {
        (**self).get_many(keys)
    }

    fn get(&self, key: &K) -> impl Future<Output = Result<Option<Entry<V>>>> + Send {
        (**self).get(key)
    }

    fn acquire(&self, key: &K, purpose: Purpose) -> impl Future<Output = Result<Acquired<V>>> + Send {
        (**self).acquire(key, purpose)
    }

    fn fill(&self, key: &K, lease: Lease, entry: &Entry<V>) -> impl Future<Output = Result<Filled>> + Send {
        (**self).fill(key, lease, entry)
    }

    fn acquire_many(
        &self,
        keys: &[K],
        purpose: Purpose,
    ) -> impl Future<Output = Result<Vec<Acquired<V>>>> + Send {
        (**self).acquire_many(keys, purpose)
    }

    fn fill_many(
        &self,
        fills: &[(&K, Lease, &Entry<V>)],
    ) -> impl Future<Output = Result<Vec<Filled>>> + Send {
        (**self).fill_many(fills)
    }

    fn renew(&self, key: &K, lease: Lease) -> impl Future<Output = Result<()>> + Send {
        (**self).renew(key, lease)
    }

    fn abandon(&self, key: &K, lease: Lease, back_off: Duration) -> impl Future<Output = Result<()>> + Send {
        (**self).abandon(key, lease, back_off)
    }

    fn invalidate_many(&self, keys: &[K]) -> impl Future<Output = Result<()>> + Send {
        (**self).invalidate_many(keys)
    }

    fn invalidate_each(&self, keys: &[K]) -> impl Future<Output = Vec<Result<()>>> + Send {
        (**self).invalidate_each(keys)
    }

    fn abandon_now(&self, key: &K, lease: Lease) {
        (**self).abandon_now(key, lease);
    }

    fn invalidate_now(&self, keys: &[K]) {
        (**self).invalidate_now(keys);
    }

    fn hold_many(
        &self,
        keys: &[K],
        hold: Hold,
        lifetime: Duration,
    ) -> impl Future<Output = Result<()>> + Send {
        (**self).hold_many(keys, hold, lifetime)
    }

    fn release_many(&self, keys: &[K], hold: Hold) -> impl Future<Output = Result<()>> + Send {
        (**self).release_many(keys, hold)
    }

    fn publish(&self, key: &K, hold: Hold, entry: &Entry<V>) -> impl Future<Output = Result<Filled>> + Send {
        (**self).publish(key, hold, entry)
    }

    fn clear(&self) -> impl Future<Output = Result<()>> + Send {
        (**self).clear()
    }

    fn clear_where(&self, scope: &Scope<K>) -> impl Future<Output = Result<()>> + Send {
        (**self).clear_where(scope)
    }

    fn close(&self) -> impl Future<Output = Result<()>> + Send {
        (**self).close()
    }
}
