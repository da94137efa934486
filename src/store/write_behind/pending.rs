//! What has been accepted and is not in the store yet: readers find it here before they ask the store.

use std::collections::HashMap;
use std::hash::Hash;

use super::Seq;
use super::coalesce::coalesce;
use super::flusher::{Failure, Flusher, Order, Rules, Waiting};
use crate::store::Change;
use crate::time::Timestamp;

/// How much may wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// How many operations.
    pub operations: usize,
    /// How many bytes, as they were told for each.
    pub bytes: usize,
}

/// There is no room for an operation: nothing has been accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

/// The operations of one shard, in their order, and for each key the last one.
#[derive(Clone, Debug)]
pub struct Pending<K, V> {
    flusher: Flusher<Accepted<K, V>>,
    latest: HashMap<K, (Seq, Change<K, V>), foldhash::quality::RandomState>,
    bounds: Bounds,
    bytes: usize,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Accepted<K, V> {
    change: Change<K, V>,
    bytes: usize,
}

/// What the store is to do: one change for each key, sorted by key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Work<K, V> {
    /// The number of the last operation before it.
    pub after: Seq,
    /// The number of its last operation.
    pub upto: Seq,
    /// What all of them together come to.
    pub changes: Vec<Change<K, V>>,
    /// How many operations they are.
    pub operations: usize,
    /// The operation that the store will never take, with its number.
    pub parked: Option<(Seq, Change<K, V>)>,
}

impl<K: Clone + Eq + Hash + Ord, V: Clone> Pending<K, V> {
    /// Nothing waits, and all up to `settled` is in the store.
    pub fn new(rules: Rules, bounds: Bounds, settled: Seq) -> Self {
        let latest = HashMap::with_hasher(foldhash::quality::RandomState::default());
        Self { flusher: Flusher::new(rules, settled), latest, bounds, bytes: 0 }
    }

    /// One more operation, of so many bytes; its number.
    ///
    /// # Errors
    ///
    /// [`Full`]. An operation that is bigger than all the room there is has it when nothing else waits.
    pub fn accept(&mut self, change: Change<K, V>, bytes: usize, now: Timestamp) -> Result<Seq, Full> {
        let is_full = self.flusher.depth() >= self.bounds.operations.max(1)
            || (self.flusher.depth() > 0 && self.bytes.saturating_add(bytes) > self.bounds.bytes);
        if is_full {
            return Err(Full);
        }
        self.bytes = self.bytes.saturating_add(bytes);
        let seq = self.flusher.accept(Accepted { change: change.clone(), bytes }, now);
        self.latest.insert(change.key().clone(), (seq, change));
        Ok(seq)
    }

    /// What the store will say of `key` when all is written: `None`, whatever it says now.
    pub fn read(&self, key: &K) -> Option<Option<&V>> {
        match &self.latest.get(key)?.1 {
            Change::Put(_, value) => Some(Some(value)),
            Change::Delete(_) => Some(None),
        }
    }

    /// Somebody wants all that was accepted so far to be in the store; up to which number that is.
    pub fn want_all(&mut self) -> Seq {
        self.flusher.want_all()
    }

    /// What to do at `now`.
    pub fn next(&mut self, now: Timestamp) -> Order<Work<K, V>> {
        match self.flusher.next(now) {
            Order::Store(batch) => {
                let change = |waiting: Waiting<Accepted<K, V>>| (waiting.seq, waiting.operation.change);
                let operations = batch.operations.len();
                let changes = batch.operations.into_iter().map(|waiting| waiting.operation.change);
                let (after, upto) = (batch.after, batch.upto);
                let parked = batch.parked.map(change);
                Order::Store(Work { after, upto, changes: coalesce(changes), operations, parked })
            }
            Order::WaitUntil(then) => Order::WaitUntil(then),
            Order::Rest => Order::Rest,
        }
    }

    /// The store has what it was given: the keys of it, each once.
    pub fn stored(&mut self) -> Vec<K> {
        let done = self.flusher.stored();
        let mut keys = Vec::new();
        for Waiting { seq, operation: Accepted { change, bytes }, .. } in done {
            self.bytes = self.bytes.saturating_sub(bytes);
            // Only if nothing newer waits for the same key: it would be read past.
            if self.latest.get(change.key()).is_some_and(|(latest, _)| *latest == seq) {
                self.latest.remove(change.key());
            }
            keys.push(change.key().clone());
        }
        keys.sort_unstable();
        keys.dedup();
        keys
    }

    /// The store has not taken it, and surely nothing of it.
    pub fn failed(&mut self, failure: Failure, now: Timestamp, luck: f64) {
        self.flusher.failed(failure, now, luck);
    }

    /// How many operations wait, and how many bytes.
    pub fn depth(&self) -> (usize, usize) {
        (self.flusher.depth(), self.bytes)
    }

    /// When the oldest of them was accepted.
    pub fn oldest(&self) -> Option<Timestamp> {
        self.flusher.oldest()
    }

    /// The number of the last operation that is settled.
    pub fn settled(&self) -> Seq {
        self.flusher.settled()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use super::*;
    use proptest::prelude::*;

    const ROOM: Bounds = Bounds { operations: 1_000, bytes: 1_000_000 };

    fn pending(bounds: Bounds) -> Pending<u8, u16> {
        let pauses = (Duration::from_millis(100), Duration::from_secs(10));
        let rules = Rules { batch: 4, delay: Duration::from_secs(1), pauses, tries: 3 };
        Pending::new(rules, bounds, 0)
    }

    fn work(pending: &mut Pending<u8, u16>) -> Work<u8, u16> {
        pending.want_all();
        match pending.next(Timestamp::ZERO) {
            Order::Store(work) => work,
            other => panic!("{other:?}"),
        }
    }

    fn put(pending: &mut Pending<u8, u16>, key: u8, value: u16) {
        pending.accept(Change::Put(key, value), 1, Timestamp::ZERO).expect("room");
    }

    #[test]
    fn what_waits_is_read_before_the_store() {
        let mut pending = pending(ROOM);
        put(&mut pending, 1, 10);
        pending.accept(Change::Delete(2), 1, Timestamp::ZERO).expect("room");
        assert_eq!([1, 2, 3].map(|key| pending.read(&key)), [Some(Some(&10)), Some(None), None]);
    }

    #[test]
    fn what_is_under_way_is_still_read_and_what_is_stored_is_not() {
        let mut pending = pending(ROOM);
        put(&mut pending, 1, 10);
        assert_eq!(work(&mut pending).changes, [Change::Put(1, 10)]);
        assert_eq!(pending.read(&1), Some(Some(&10)));
        assert_eq!(pending.stored(), [1]);
        assert_eq!(pending.read(&1), None);
    }

    /// The older of two writes lands, and the newer one waits: a reader must not be sent past it to the store.
    #[test]
    fn a_newer_write_is_read_when_an_older_one_lands() {
        let mut pending = pending(ROOM);
        put(&mut pending, 1, 10);
        work(&mut pending);
        put(&mut pending, 1, 11);
        pending.stored();
        assert_eq!(pending.read(&1), Some(Some(&11)));
        assert_eq!(work(&mut pending).changes, [Change::Put(1, 11)]);
    }

    #[test]
    fn a_batch_has_one_change_for_each_key() {
        let mut pending = pending(ROOM);
        for (key, value) in [(2, 20), (1, 10), (2, 21)] {
            put(&mut pending, key, value);
        }
        let work = work(&mut pending);
        assert_eq!(work.changes, [Change::Put(1, 10), Change::Put(2, 21)]);
        assert_eq!((work.operations, work.upto), (3, 3));
    }

    #[test]
    fn when_it_is_full_nothing_more_is_accepted_until_something_is_stored() {
        let mut pending = pending(Bounds { operations: 2, ..ROOM });
        put(&mut pending, 1, 1);
        put(&mut pending, 2, 2);
        assert_eq!(pending.accept(Change::Put(3, 3), 1, Timestamp::ZERO), Err(Full));
        assert_eq!(pending.read(&3), None);
        work(&mut pending);
        pending.stored();
        put(&mut pending, 3, 3);
    }

    #[test]
    fn bytes_are_bounded_and_one_operation_always_has_room() {
        let mut pending = pending(Bounds { bytes: 10, ..ROOM });
        pending.accept(Change::Put(1, 1), 100, Timestamp::ZERO).expect("nothing else waits");
        assert_eq!(pending.accept(Change::Put(2, 2), 1, Timestamp::ZERO), Err(Full));
        work(&mut pending);
        pending.stored();
        assert_eq!(pending.depth(), (0, 0));
    }

    proptest! {
        /// Whatever is accepted, stored and refused in between: a reader sees what was accepted last, and in the end the
        /// store has the same.
        #[test]
        fn a_reader_sees_every_write_at_once(
            steps in proptest::collection::vec((0_u8..4, proptest::option::of(any::<u16>()), 0_u8..4), 0..60),
        ) {
            let mut pending = pending(ROOM);
            let (mut store, mut truth) = (BTreeMap::new(), BTreeMap::new());
            let apply = |rows: &mut BTreeMap<u8, u16>, change: &Change<u8, u16>| match change {
                Change::Put(key, value) => _ = rows.insert(*key, *value),
                Change::Delete(key) => _ = rows.remove(key),
            };
            for (key, value, then) in steps {
                let change = value.map_or(Change::Delete(key), |value| Change::Put(key, value));
                apply(&mut truth, &change);
                pending.accept(change, 1, Timestamp::ZERO).expect("room");
                if then == 0 {
                    pending.want_all();
                }
                if then < 3 && let Order::Store(work) = pending.next(Timestamp::NEVER) {
                    if then == 1 {
                        pending.failed(Failure::Transient, Timestamp::ZERO, 0.0);
                    } else {
                        work.changes.iter().for_each(|change| apply(&mut store, change));
                        pending.stored();
                    }
                }
                for key in 0..4 {
                    let seen = match pending.read(&key) {
                        Some(value) => value.copied(),
                        None => store.get(&key).copied(),
                    };
                    prop_assert_eq!(seen, truth.get(&key).copied());
                }
            }
            while let Order::Store(work) = pending.next(Timestamp::NEVER) {
                work.changes.iter().for_each(|change| apply(&mut store, change));
                pending.stored();
            }
            prop_assert_eq!(store, truth);
        }
    }
}
