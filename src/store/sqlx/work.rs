//! What a store is to write, before any database has heard of it.

use std::borrow::Cow;

use crate::bounds::{Key, Value};
use crate::store::{Batch, Change, last_changes};

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
pub(super) fn parted<K, V>(changes: &[Change<K, V>]) -> (Vec<(&K, &V)>, Vec<&K>) {
    let (mut puts, mut deletes) = (Vec::new(), Vec::new());
    for change in changes {
        match change {
            Change::Put(key, value) => puts.push((key, value)),
            Change::Delete(key) => deletes.push(key),
        }
    }
    (puts, deletes)
}
