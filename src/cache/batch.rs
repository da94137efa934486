//! Many keys in one call. Keys that come twice are searched for, or written, once; every key has an answer of its
//! own, in the order of the question.

use std::collections::HashMap;
use std::hash::Hash;

use foldhash::quality::RandomState;

use super::LayeredCache;
use super::by_caller::Each;
use crate::bounds::{Key, Value};
use crate::engine::{Local, ReadOptions, Served, WriteOptions, Written};
use crate::error::{Operation, Result, StoreError};
use crate::store::Change;

impl<K: Key, V: Value> LayeredCache<K, V> {
    /// The values of `keys`: a result for each, in their order; one that fails does not spoil the others.
    ///
    /// Of the misses, those that nobody is loading yet are loaded together by the loader's `load_many`, in batches of
    /// [`max_batch`](super::Builder::max_batch); the others are waited for.
    pub async fn get_many(&self, keys: &[K]) -> Vec<Result<Option<V>>> {
        self.get_many_with(keys, ReadOptions::new()).await
    }

    /// [`get_many`](Self::get_many) with options for this call.
    pub async fn get_many_with(&self, keys: &[K], options: ReadOptions) -> Vec<Result<Option<V>>> {
        let mut open = self.local_many(keys, options.is_special());
        if !open.missing.is_empty() {
            let found = self.read_seat().find_many(self.engine(), &open.missing, &options).await;
            open.take_in(found.into_iter().map(|found| self.value_of(found)));
        }
        open.into_answers()
    }

    /// Copies, or else what `load` says of the keys it is given, which is kept. It is given those that nobody is
    /// loading yet, each once, and answers with the values that there are; a key it says nothing of is absent.
    ///
    /// Like [`get_or_load`](Self::get_or_load) the load may borrow, and runs in the caller. It can run more than once:
    /// when another caller goes away whose load was waited for.
    ///
    /// ```
    /// # async fn demo() -> larder::Result<()> {
    /// use larder::Memory;
    /// use std::{collections::HashMap, io, time::Duration};
    ///
    /// let squares = larder::cache().tier(Memory::with_capacity(100)).ttl(Duration::from_secs(60)).build()?;
    /// let load = |keys: Vec<u64>| async move {
    ///     Ok::<_, io::Error>(keys.into_iter().map(|n| (n, n * n)).collect::<HashMap<_, _>>())
    /// };
    /// let answers = squares.get_or_load_many(&[2, 3], load).await;
    /// assert_eq!(answers.into_iter().flatten().flatten().collect::<Vec<_>>(), [4, 9]);
    /// # Ok(())
    /// # }
    /// # tokio::runtime::Runtime::new().unwrap().block_on(demo()).unwrap();
    /// ```
    pub async fn get_or_load_many<F, Fut, E>(&self, keys: &[K], load: F) -> Vec<Result<Option<V>>>
    where
        F: Fn(Vec<K>) -> Fut + Send + Sync,
        Fut: Future<Output = Result<HashMap<K, V>, E>> + Send,
        E: Into<StoreError>,
    {
        let options = ReadOptions::new();
        let mut open = self.local_many(keys, false);
        if !open.missing.is_empty() {
            let found = self.engine().find_or_load_many(&open.missing, &Each(load), &options).await;
            open.take_in(found.into_iter().map(|found| self.value_of(found.map(Some))));
        }
        open.into_answers()
    }

    /// Saves values, as the write strategy says: those that fit into a batch by one call of the store's `apply`. Of a
    /// key that comes twice the last value is saved. Goes on when the future is dropped.
    ///
    /// A result for each, in their order. When a batch fails, all of its keys have the error: which of them the store
    /// has is then unknown, and their copies are dropped.
    pub async fn put_many(&self, entries: Vec<(K, V)>) -> Vec<Result<Written>> {
        self.put_many_with(entries, WriteOptions::new()).await
    }

    /// [`put_many`](Self::put_many) with options for this call.
    pub async fn put_many_with(&self, entries: Vec<(K, V)>, options: WriteOptions) -> Vec<Result<Written>> {
        let keys: Vec<K> = entries.iter().map(|(key, _)| key.clone()).collect();
        let last: HashMap<K, V> = entries.into_iter().collect();
        let changes = distinct(&keys).into_iter().filter_map(|key| {
            let value = last.get(&key)?.clone();
            Some((key.clone(), Change::Put(key, value)))
        });
        self.apply(&keys, changes.collect(), options, Operation::Put).await
    }

    /// Deletes keys in the store, by one call of its `apply` for each batch, then in the copies. A result for each, in
    /// their order, as for [`put_many`](Self::put_many).
    pub async fn delete_many(&self, keys: &[K]) -> Vec<Result<Written>> {
        let changes = distinct(keys).into_iter().map(|key| (key.clone(), Change::Delete(key)));
        self.apply(keys, changes.collect(), WriteOptions::new(), Operation::Delete).await
    }

    async fn apply(
        &self,
        keys: &[K],
        changes: Vec<(K, Change<K, V>)>,
        options: WriteOptions,
        operation: Operation,
    ) -> Vec<Result<Written>> {
        let mut answers = HashMap::new();
        let mut changes = changes.into_iter().peekable();
        while changes.peek().is_some() {
            let (keys, batch): (Vec<K>, Vec<_>) = changes.by_ref().take(self.engine().max_batch()).unzip();
            let (cache, written_keys, options) = (self.clone(), keys.clone(), options.clone());
            let write = async move {
                let turn = cache.engine().turn(written_keys, &options).await?;
                cache.write_seat().apply(turn, batch).await
            };
            let written = self.engine().run_write(write).await.map_err(|error| self.at(error, operation));
            answers.extend(keys.into_iter().map(|key| (key, written.clone())));
        }
        in_order(keys, &answers)
    }

    /// What can be said at once, and the keys that are left, each once.
    fn local_many(&self, keys: &[K], special: bool) -> Open<K, V> {
        let mut open = Open { answers: Vec::with_capacity(keys.len()), missing: Vec::new() };
        let mut places = HashMap::with_hasher(RandomState::default());
        for key in keys {
            open.answers.push(match self.local_unless(special, key) {
                Local::Value(value) => Place::Answer(Ok(Some(value))),
                Local::Absent => Place::Answer(Ok(None)),
                Local::Unknown => Place::Missing(*places.entry(key).or_insert_with(|| {
                    open.missing.push(key.clone());
                    open.missing.len() - 1
                })),
            });
        }
        open
    }

    fn value_of(&self, found: Result<Option<Served<V>>>) -> Result<Option<V>> {
        found
            .map(|served| served.and_then(Served::into_value))
            .map_err(|error| self.at(error, Operation::Get))
    }
}

/// A batch of reads in the order of the question, and the keys that are still to be searched for.
struct Open<K, V> {
    answers: Vec<Place<V>>,
    missing: Vec<K>,
}

/// One key's answer, or where among the missing it is.
enum Place<V> {
    Answer(Result<Option<V>>),
    Missing(usize),
}

impl<K: Key, V: Value> Open<K, V> {
    /// Puts what was found of the missing keys, in their order, where it belongs: each answer itself, or copies of it
    /// where a key was asked for more than once.
    fn take_in(&mut self, found: impl Iterator<Item = Result<Option<V>>>) {
        let mut found: Vec<Option<_>> = found.map(Some).collect();
        let places = self.answers.iter().filter(|place| matches!(place, Place::Missing(_))).count();
        let each_once = places == self.missing.len();
        for answer in &mut self.answers {
            if let Place::Missing(at) = *answer
                && let Some(found) = found.get_mut(at)
                && let Some(found) = if each_once { found.take() } else { found.clone() }
            {
                *answer = Place::Answer(found);
            }
        }
    }

    fn into_answers(self) -> Vec<Result<Option<V>>> {
        let answer = |place| match place {
            Place::Answer(answer) => answer,
            Place::Missing(_) => Err(crate::levels::unanswered()),
        };
        self.answers.into_iter().map(answer).collect()
    }
}

/// Each key once, in the order of their coming.
fn distinct<K: Clone + Eq + Hash>(keys: &[K]) -> Vec<K> {
    let mut seen = std::collections::HashSet::with_capacity(keys.len());
    keys.iter().filter(|key| seen.insert(*key)).cloned().collect()
}

/// The answer of each key, in the order of the question.
fn in_order<K: Eq + Hash, A: Clone>(keys: &[K], answers: &HashMap<K, Result<A>>) -> Vec<Result<A>> {
    keys.iter()
        .map(|key| answers.get(key).cloned().unwrap_or_else(|| Err(crate::levels::unanswered())))
        .collect()
}
