//! What a store is to write, before any database has heard of it.

use std::borrow::Cow;

use crate::bounds::{Key, Value};
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

/// The keys of a batch that something is merged into, each once.
pub(super) fn merged_keys<K: Clone, V>(batch: &Batch<K, V>) -> Vec<K> {
    let merges = batch.changes().iter().filter(|change| !change.replaces());
    merges.map(|change| change.key().clone()).collect()
}

/// What the changes of a batch come to, where the keys that something is merged into have `values`, in their order.
pub(super) fn merged<K: Key, V: Value>(
    batch: &Batch<K, V>,
    values: Vec<Result<Option<V>, StoreError>>,
) -> Result<Vec<Change<K, V>>, StoreError> {
    let mut values = values.into_iter();
    let mut changes = Vec::with_capacity(batch.changes().len());
    for change in batch.changes() {
        if change.replaces() {
            changes.push(change.clone());
            continue;
        }
        let value = values
            .next()
            .ok_or_else(|| StoreError::new("a row is missing among those that were asked for"))??;
        let key = change.key().clone();
        changes.push(match batch.value_after(value.as_ref(), change)? {
            Some(value) => Change::Put(key, value),
            None => Change::Delete(key),
        });
    }
    Ok(changes)
}
