//! [`LayeredCache`] as a [`Cache`]: every call is the method of the same name.

use std::time::Duration;

use super::by_caller::Once;
use super::{Answer, BoxChange, BoxFuture, BoxLoad, BoxLoadMany, BoxWrite, Cache, LayeredCache, Reply};
use crate::bounds::{Key, Value};
use crate::engine::{Leftovers, Local, ReadOptions, Served, WriteOptions, Written};
use crate::error::Result;
use crate::event::Stats;
use crate::receipt::Receipt;
use crate::tier::{Lookup, Scope};

impl<K: Key, V: Value> Cache<K, V> for LayeredCache<K, V> {
    fn get_with<'a>(&'a self, key: &'a K, options: ReadOptions) -> Answer<'a, V> {
        self.get_with(key, options)
    }

    fn put_with<'a>(&'a self, key: &'a K, value: V, options: WriteOptions) -> Reply<'a, Written> {
        Box::pin(self.put_with(key, value, options))
    }

    fn delete<'a>(&'a self, key: &'a K) -> Reply<'a, Written> {
        Box::pin(self.delete(key))
    }

    fn invalidate<'a>(&'a self, key: &'a K) -> Reply<'a, ()> {
        Box::pin(self.invalidate(key))
    }

    fn name(&self) -> &str {
        self.name()
    }

    #[inline]
    fn get<'a>(&'a self, key: &'a K) -> Answer<'a, V> {
        self.get(key)
    }

    fn put<'a>(&'a self, key: &'a K, value: V) -> Reply<'a, Written> {
        Box::pin(self.put(key, value))
    }

    #[inline]
    fn get_local(&self, key: &K) -> Local<V> {
        self.get_local(key)
    }

    fn get_entry<'a>(&'a self, key: &'a K) -> Reply<'a, Option<Served<V>>> {
        Box::pin(self.get_entry(key))
    }

    fn get_many<'a>(&'a self, keys: &'a [K]) -> BoxFuture<'a, Vec<Result<Option<V>>>> {
        Box::pin(self.get_many(keys))
    }

    fn invalidate_many<'a>(&'a self, keys: &'a [K]) -> Reply<'a, ()> {
        Box::pin(self.invalidate_many(keys))
    }

    fn refresh<'a>(&'a self, key: &'a K) -> Reply<'a, Option<V>> {
        Box::pin(self.refresh(key))
    }

    fn clear(&self) -> Reply<'_, ()> {
        Box::pin(self.clear())
    }

    fn clear_where<'a>(&'a self, scope: &'a Scope<K>) -> Reply<'a, ()> {
        Box::pin(self.clear_where(scope))
    }

    fn receipt(&self, keys: &[K]) -> Receipt {
        self.receipt(keys)
    }

    fn stats(&self) -> Stats {
        self.stats()
    }

    fn flush(&self) -> Reply<'_, ()> {
        Box::pin(self.flush())
    }

    fn close(&self, deadline: Duration) -> Reply<'_, Leftovers> {
        Box::pin(self.close(deadline))
    }

    fn get_or_load_boxed<'a>(
        &'a self,
        key: &'a K,
        load: BoxLoad<'a, V>,
        options: ReadOptions,
    ) -> Answer<'a, V> {
        match self.local_unless(options.is_special(), key) {
            Local::Value(value) => Answer::ready(Ok(Some(value))),
            Local::Absent => Answer::ready(Ok(None)),
            Local::Unknown => {
                Answer::later(async move { self.load_by_caller(key, &Once::new(load), &options).await })
            }
        }
    }

    #[inline]
    fn get_local_by(&self, key: &Lookup<'_, K>) -> Local<V> {
        self.get_local_by(key)
    }

    fn put_many(&self, entries: Vec<(K, V)>) -> BoxFuture<'_, Vec<Result<Written>>> {
        Box::pin(self.put_many(entries))
    }

    fn delete_many<'a>(&'a self, keys: &'a [K]) -> BoxFuture<'a, Vec<Result<Written>>> {
        Box::pin(self.delete_many(keys))
    }

    fn get_or_load_many_boxed<'a>(
        &'a self,
        keys: &'a [K],
        load: BoxLoadMany<'a, K, V>,
    ) -> BoxFuture<'a, Vec<Result<Option<V>>>> {
        Box::pin(self.get_or_load_many(keys, load))
    }

    fn update_boxed<'a>(&'a self, key: &'a K, change: BoxChange<'a, V>) -> Reply<'a, Written<Option<V>>> {
        Box::pin(self.update(key, change))
    }

    fn merge<'a>(&'a self, key: &'a K, operand: V) -> Reply<'a, Written<V>> {
        Box::pin(self.merge(key, operand))
    }

    fn write_boxed<'a>(&'a self, keys: &'a [K], write: BoxWrite<'a>) -> Reply<'a, Written> {
        Box::pin(self.write(keys, write))
    }
}
