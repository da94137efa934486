//! What a batch comes to: of several operations on one key the last one counts.

use crate::store::Change;

/// One change for each key, sorted by key, which leaves the same behind as all `changes` in their order.
///
/// Sorted since stores keep neighbouring rows together, and since two batches that lock rows in one order cannot lock each
/// other out.
pub fn coalesce<K: Ord, V>(mut changes: Vec<Change<K, V>>) -> Vec<Change<K, V>> {
    // The last one of a key first: the others are then dropped as its repetitions.
    changes.reverse();
    changes.sort_by(|one, other| one.key().cmp(other.key()));
    changes.dedup_by(|later, kept| later.key() == kept.key());
    changes
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use proptest::prelude::*;

    fn any_change() -> impl Strategy<Value = Change<u8, u16>> {
        (0_u8..6, proptest::option::of(any::<u16>())).prop_map(|(key, value)| match value {
            Some(value) => Change::Put(key, value),
            None => Change::Delete(key),
        })
    }

    fn apply(rows: &mut BTreeMap<u8, u16>, changes: &[Change<u8, u16>]) {
        for change in changes {
            match change {
                Change::Put(key, value) => _ = rows.insert(*key, *value),
                Change::Delete(key) => _ = rows.remove(key),
            }
        }
    }

    #[test]
    fn a_put_and_a_delete_never_swap() {
        let put = |value| Change::Put(1, value);
        assert_eq!(coalesce(vec![put(1), Change::Delete(1)]), [Change::Delete(1)]);
        assert_eq!(coalesce(vec![put(1), Change::Delete(1), put(2)]), [put(2)]);
    }

    proptest! {
        #[test]
        fn it_leaves_the_same_behind_as_one_by_one(
            before in proptest::collection::btree_map(0_u8..6, any::<u16>(), 0..6),
            changes in proptest::collection::vec(any_change(), 0..40),
        ) {
            let (mut one_by_one, mut at_once) = (before.clone(), before);
            apply(&mut one_by_one, &changes);
            let batch = coalesce(changes);
            apply(&mut at_once, &batch);
            prop_assert_eq!(one_by_one, at_once);
            let keys: Vec<u8> = batch.iter().map(|change| *change.key()).collect();
            prop_assert!(keys.is_sorted_by(|one, other| one < other), "sorted, and each once");
        }
    }
}
