//! What a batch comes to: of several operations on one key the last one counts, and what was merged into it.

use crate::store::{Change, Merging};

/// One change for each key, sorted by key, which leaves the same behind as all `changes` in their order. Without `merging`
/// there are no merges among them.
///
/// Sorted since stores keep neighbouring rows together, and since two batches that lock rows in one order cannot lock each
/// other out.
pub(crate) fn coalesce<K: Clone + Ord, V: Clone + 'static>(
    mut changes: Vec<Change<K, V>>,
    merging: Option<&Merging<V>>,
) -> Vec<Change<K, V>> {
    changes.sort_by(|one, other| one.key().cmp(other.key()));
    let mut kept: Vec<Change<K, V>> = Vec::with_capacity(changes.len());
    for later in changes {
        let earlier = kept.pop_if(|earlier| earlier.key() == later.key());
        kept.push(match (earlier, merging) {
            (Some(earlier), Some(merging)) if !later.replaces() => merging.join(Some(earlier), &later),
            (_, _) => later,
        });
    }
    kept
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::store::Sum;
    use proptest::prelude::*;

    fn any_change() -> impl Strategy<Value = Change<u8, u16>> {
        (0_u8..6, 0_u8..4, any::<u16>()).prop_map(|(key, kind, value)| match kind {
            0 => Change::Put(key, value),
            1 => Change::Delete(key),
            _ => Change::Merge(key, value),
        })
    }

    fn apply(rows: &mut BTreeMap<u8, u16>, changes: &[Change<u8, u16>]) {
        for change in changes {
            match change {
                Change::Put(key, value) => _ = rows.insert(*key, *value),
                Change::Delete(key) => _ = rows.remove(key),
                Change::Merge(key, operand) => {
                    let row = rows.entry(*key).or_default();
                    *row = row.saturating_add(*operand);
                }
            }
        }
    }

    #[test]
    fn a_put_and_a_delete_never_swap() {
        let put = |value| Change::Put(1, value);
        assert_eq!(coalesce(vec![put(1), Change::Delete(1)], None), [Change::Delete(1)]);
        assert_eq!(coalesce(vec![put(1), Change::Delete(1), put(2)], None), [put(2)]);
    }

    proptest! {
        #[test]
        fn it_leaves_the_same_behind_as_one_by_one(
            before in proptest::collection::btree_map(0_u8..6, any::<u16>(), 0..6),
            changes in proptest::collection::vec(any_change(), 0..40),
        ) {
            let (mut one_by_one, mut at_once) = (before.clone(), before);
            apply(&mut one_by_one, &changes);
            let batch = coalesce(changes, Some(&Merging::new(Sum)));
            apply(&mut at_once, &batch);
            prop_assert_eq!(one_by_one, at_once);
            let keys: Vec<u8> = batch.iter().map(|change| *change.key()).collect();
            prop_assert!(keys.is_sorted_by(|one, other| one < other), "sorted, and each once");
        }
    }
}
