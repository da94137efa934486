//! Writes that change a value instead of replacing it: what a counter is made of.

use std::fmt;
use std::sync::Arc;

use crate::change::{Change, Seq};

/// How operands change values: each is logged as it is, and merged into the value when the store has its turn.
///
/// An operand is of the type of values: of a counter a difference, of a set the elements that come to it. The order of
/// operands is kept; it must not matter how they are grouped: merging [`combine`](Self::combine)`(a, b)` must come to the same
/// as merging `a` and then `b`.
///
/// ```
/// use larder::store::Merge;
///
/// /// The largest bid wins.
/// struct Highest;
///
/// impl Merge<u64> for Highest {
///     fn merge(&self, value: Option<&u64>, operand: &u64) -> u64 {
///         value.map_or(*operand, |value| *value.max(operand))
///     }
///
///     fn combine(&self, first: &u64, second: &u64) -> u64 {
///         *first.max(second)
///     }
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not say how operands of type `{V}` change values",
    label = "not a `Merge<{V}>`",
    note = "take `larder::store::Sum` for integers, or implement `Merge<{V}>`"
)]
pub trait Merge<V>: Send + Sync + 'static {
    /// The value that has had `operand` merged into it; `value` is `None` where there is none yet.
    fn merge(&self, value: Option<&V>, operand: &V) -> V;

    /// One operand that does what `first` and then `second` do.
    fn combine(&self, first: &V, second: &V) -> V;
}

/// Adds: a counter. For all integers; a sum that is too large for its type stays at the largest number, one that is too small
/// at the smallest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[allow(clippy::exhaustive_structs, reason = "a sum has nothing to set")]
pub struct Sum;

macro_rules! sums {
    ($($number:ty)*) => {$(
        impl Merge<$number> for Sum {
            fn merge(&self, value: Option<&$number>, operand: &$number) -> $number {
                value.map_or(*operand, |value| value.saturating_add(*operand))
            }

            fn combine(&self, first: &$number, second: &$number) -> $number {
                first.saturating_add(*second)
            }
        }

        impl Counter for $number {}
    )*};
}

/// A number that can be counted with.
pub trait Counter: Copy + sealed::Sealed {}

mod sealed {
    pub trait Sealed {}
}

macro_rules! numbers {
    ($($number:ty)*) => {$(impl sealed::Sealed for $number {})*};
}

numbers!(i8 i16 i32 i64 i128 isize u8 u16 u32 u64 u128 usize);
sums!(i8 i16 i32 i64 i128 isize u8 u16 u32 u64 u128 usize);

/// How a write-behind store merges. Not part of the public interface: the explorer runs it.
#[doc(hidden)]
pub struct Merging<V>(Arc<dyn Merge<V>>);

impl<V: 'static> Merging<V> {
    pub fn new(merge: impl Merge<V>) -> Self {
        Self(Arc::new(merge))
    }

    /// What `later` makes of a change that comes before it on the same key.
    pub(crate) fn join<K: Clone>(&self, earlier: Option<Change<K, V>>, later: &Change<K, V>) -> Change<K, V>
    where
        V: Clone,
    {
        match (earlier, later) {
            (Some(Change::Put(key, value)), Change::Merge(_, operand)) => {
                Change::Put(key, self.0.merge(Some(&value), operand))
            }
            (Some(Change::Delete(key)), Change::Merge(_, operand)) => {
                Change::Put(key, self.0.merge(None, operand))
            }
            (Some(Change::Merge(key, first)), Change::Merge(_, second)) => {
                Change::Merge(key, self.0.combine(&first, second))
            }
            (_, later) => later.clone(),
        }
    }

    /// The value once `change` has been made.
    pub(crate) fn after<K>(&self, value: Option<&V>, change: &Change<K, V>) -> Option<V>
    where
        V: Clone,
    {
        match change {
            Change::Put(_, value) => Some(value.clone()),
            Change::Delete(_) => None,
            Change::Merge(_, operand) => Some(self.0.merge(value, operand)),
        }
    }

    /// The value once all `changes` have been made that are not in `value` yet: the store had it when all up to `offset` was
    /// settled.
    ///
    /// What waits is looked up first, and value and offset are of one snapshot: `R: the store has 1, nothing is settled · O:
    /// commits +1, and what waits is forgotten · R: nothing waits` would answer 1, and `R: +1 waits · O: commits it · R: the
    /// store has 2` would answer 3 if nobody looked at the offset.
    pub fn fold<'a, K: 'a>(
        &self,
        changes: impl IntoIterator<Item = (Seq, &'a Change<K, V>)>,
        (value, offset): (Option<V>, Seq),
    ) -> Option<V>
    where
        V: Clone,
    {
        let unsettled = changes.into_iter().filter(|(seq, _)| *seq > offset);
        unsettled.fold(value, |value, (_, change)| self.after(value.as_ref(), change))
    }
}

impl<V> Clone for Merging<V> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<V> PartialEq for Merging<V> {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl<V> Eq for Merging<V> {}

impl<V> fmt::Debug for Merging<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Merging")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLUS: Change<u8, i64> = Change::Merge(1, 5);

    #[test]
    fn what_the_store_has_already_is_not_added_again() {
        let merging = Merging::new(Sum);
        let changes = [(3, Change::Merge(1, 1)), (4, Change::Merge(1, 10)), (7, Change::Merge(1, 100))];
        let changes = || changes.iter().map(|(seq, change): &(Seq, Change<u8, i64>)| (*seq, change));
        assert_eq!(merging.fold(changes(), (Some(1_000), 0)), Some(1_111));
        assert_eq!(merging.fold(changes(), (Some(1_000), 3)), Some(1_110));
        assert_eq!(merging.fold(changes(), (None, 4)), Some(100));
        assert_eq!(merging.fold(changes(), (Some(1_000), 7)), Some(1_000));
    }

    #[test]
    fn a_merge_is_joined_to_what_came_before_it() {
        let merging = Merging::new(Sum);
        assert_eq!(merging.join(Some(Change::Put(1, 2)), &PLUS), Change::Put(1, 7));
        assert_eq!(merging.join(Some(Change::Delete(1)), &PLUS), Change::Put(1, 5));
        assert_eq!(merging.join(Some(PLUS), &PLUS), Change::Merge(1, 10));
        assert_eq!(merging.join(Some(PLUS), &Change::Put(1, 2)), Change::Put(1, 2));
        assert_eq!(merging.join(Some(PLUS), &Change::Delete(1)), Change::Delete(1));
    }

    #[test]
    fn a_sum_stays_within_its_type() {
        assert_eq!(Sum.merge(Some(&250_u8), &10), 255);
        assert_eq!(Sum.combine(&i64::MIN, &-1), i64::MIN);
    }
}
