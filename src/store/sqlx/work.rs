//! What a store is to write, before any database has heard of it.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use crate::bounds::{Key, Value};
use crate::change::PendingWrite;
use crate::error::StoreError;
use crate::store::{Batch, Change, cannot_merge, last_changes};

/// What a transaction is for.
pub(super) enum Work<'a, K, V> {
    Changes(&'a [Change<K, V>]),
    Batch(&'a Batch<K, V>),
}

/// What of `changes` the rows are to apply: all, where they keep every write, or else the last of each key.
pub(super) fn due<K: Key, V: Value>(
    changes: &[Change<K, V>],
    keeps_every_write: bool,
) -> Cow<'_, [Change<K, V>]> {
    if keeps_every_write || changes.len() < 2 {
        return Cow::Borrowed(changes);
    }
    Cow::Owned(last_changes(changes))
}

/// The rows that are put, and the keys of those that are deleted.
///
/// # Errors
///
/// A merge is among them: of what the key has, nothing is known here.
#[allow(clippy::type_complexity, reason = "two lists")]
pub(super) fn parted<K, V>(changes: &[Change<K, V>]) -> Result<(Vec<(&K, &V)>, Vec<&K>), StoreError> {
    let (mut puts, mut deletes) = (Vec::new(), Vec::new());
    for change in changes {
        match change {
            Change::Put(key, value) => puts.push((key, value)),
            Change::Delete(key) => deletes.push(key),
            Change::Merge(..) => return Err(cannot_merge()),
        }
    }
    Ok((puts, deletes))
}

/// The keys of a batch that something is merged into, each once; of its changes or, where each counts, of its writes.
pub(super) fn merged_keys<K: Key, V>(batch: &Batch<K, V>, keeps_every_write: bool) -> Vec<K> {
    let (writes, changes) = match keeps_every_write {
        true => (batch.writes(), &[][..]),
        false => (&[][..], batch.changes()),
    };
    let all = writes.iter().map(PendingWrite::change).chain(changes);
    let mut seen = HashSet::new();
    let merges = all.filter(|change| !change.replaces()).map(Change::key);
    merges.filter(|key| seen.insert(*key)).cloned().collect()
}

/// What the changes of a batch come to, where `keys`, those that something is merged into, have `values`.
pub(super) fn merged<K: Key, V: Value>(
    batch: &Batch<K, V>,
    keys: Vec<K>,
    values: Vec<Result<Option<V>, StoreError>>,
) -> Result<Vec<Change<K, V>>, StoreError> {
    let mut values = by_key(keys, values)?;
    batch.changes().iter().map(|change| made(batch, &mut values, change)).collect()
}

/// The same of the writes one by one, in their order: each is merged into what those before it have left.
pub(super) fn merged_writes<K: Key, V: Value>(
    batch: &Batch<K, V>,
    keys: Vec<K>,
    values: Vec<Result<Option<V>, StoreError>>,
) -> Result<Vec<PendingWrite<K, V>>, StoreError> {
    let mut values = by_key(keys, values)?;
    let made = |write: &PendingWrite<K, V>| {
        Ok(PendingWrite::new(write.shard(), write.seq(), made(batch, &mut values, write.change())?))
    };
    batch.writes().iter().map(made).collect()
}

type Values<K, V> = HashMap<K, Option<V>>;

fn by_key<K: Key, V>(
    keys: Vec<K>,
    values: Vec<Result<Option<V>, StoreError>>,
) -> Result<Values<K, V>, StoreError> {
    if values.len() != keys.len() {
        return Err(StoreError::new("not as many rows as were asked for"));
    }
    keys.into_iter().zip(values).map(|(key, value)| Ok((key, value?))).collect()
}

/// A put or a delete that does what `change` does. Of a key whose first write here replaces all before it, nothing need be
/// known.
fn made<K: Key, V: Value>(
    batch: &Batch<K, V>,
    values: &mut Values<K, V>,
    change: &Change<K, V>,
) -> Result<Change<K, V>, StoreError> {
    let key = change.key();
    let value = batch.value_after(values.get(key).and_then(Option::as_ref), change)?;
    values.insert(key.clone(), value.clone());
    Ok(match value {
        _ if change.replaces() => change.clone(),
        Some(value) => Change::Put(key.clone(), value),
        None => Change::Delete(key.clone()),
    })
}
