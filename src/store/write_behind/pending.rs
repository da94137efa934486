//! What has been accepted and is not in the store yet: readers find it here before they ask the store.

use std::collections::{HashMap, HashSet, VecDeque};
use std::hash::Hash;

use super::flusher::{Batch, Failure, Flusher, Order, Rules, Waiting};
use crate::store::{Change, Seq};
use crate::time::Timestamp;

/// How much may wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// How many operations.
    pub operations: usize,
    /// How many bytes, as they were told for each.
    pub bytes: usize,
}

/// There is no room for an operation: nothing has been accepted. The operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full<O>(pub O);

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What<K, V> {
    /// A change of a key.
    Change(Change<K, V>),
    /// Nobody knows: a record that cannot be read, and why. To be put aside as it is.
    Unreadable(Vec<u8>, String),
}

/// The operations of one shard, in their order, and for each key the last one.
#[derive(Clone, Debug)]
pub struct Pending<K, V> {
    flusher: Flusher<Accepted<K, V>>,
    latest: HashMap<K, Seq, foldhash::fast::RandomState>,
    /// Of the keys that something is merged into: what counts for their readers, from the last operation that replaces all
    /// before it on.
    merged: HashMap<K, VecDeque<Seq>, foldhash::fast::RandomState>,
    /// Of keys that somebody is about to merge into: how many are, and what has been stored since the first of them came.
    counted: HashMap<K, Counted<K, V>, foldhash::fast::RandomState>,
    /// Keys of which a merge has been put aside: those that follow it are, too, until the key is written anew.
    parked: HashSet<K, foldhash::fast::RandomState>,
    bounds: Bounds,
    bytes: usize,
    /// Whether an operation takes the place of one on the same key that waits.
    replaces: bool,
    replaced: u64,
}

/// Whether an operation found a place to take.
enum Place<K, V> {
    /// That of this number.
    Taken(Seq),
    /// No, and here it is again.
    None(Change<K, V>),
}

#[derive(Clone, Debug)]
struct Counted<K, V> {
    by: usize,
    stored: Vec<(Seq, Change<K, V>)>,
}

/// An operation with its size.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accepted<K, V> {
    what: What<K, V>,
    bytes: usize,
}

/// What the store is to do, in the order of acceptance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Work<K, V> {
    /// The number of the last operation before it.
    pub after: Seq,
    /// The number of its last operation.
    pub upto: Seq,
    /// The operations, with their numbers.
    pub operations: Vec<(Seq, What<K, V>)>,
    /// The operation that the store will never take, with its number.
    pub parked: Option<(Seq, What<K, V>)>,
    /// Those of the operations that follow one on the same key which was put aside, and are put aside with it.
    pub following: Vec<Seq>,
}

impl<K: Clone + Eq + Hash, V: Clone> Pending<K, V> {
    /// Nothing waits, and all up to `settled` is in the store.
    pub fn new(rules: Rules, bounds: Bounds, settled: Seq) -> Self {
        Self {
            flusher: Flusher::new(rules, settled),
            latest: HashMap::default(),
            merged: HashMap::default(),
            counted: HashMap::default(),
            parked: HashSet::default(),
            bounds,
            bytes: 0,
            replaces: false,
            replaced: 0,
        }
    }

    /// The same, where of several operations on one key that wait only the last is kept. It takes the place of the first,
    /// and does not wait longer than that would have: a key that is written all the time is stored all the same.
    pub fn replacing(rules: Rules, bounds: Bounds, settled: Seq) -> Self {
        Self { replaces: true, ..Self::new(rules, bounds, settled) }
    }

    /// The same rules and bounds, where nothing waits and all up to `settled` is in the store.
    #[must_use]
    pub fn afresh(&self, settled: Seq) -> Self {
        Self { replaces: self.replaces, ..Self::new(self.flusher.rules().clone(), self.bounds, settled) }
    }

    /// One more operation, of so many bytes; its number.
    ///
    /// # Errors
    ///
    /// [`Full`]. An operation that is bigger than all the room there is has it when nothing else waits.
    pub fn accept(
        &mut self,
        change: Change<K, V>,
        bytes: usize,
        now: Timestamp,
    ) -> Result<Seq, Full<Change<K, V>>> {
        match self.replace(change, bytes)? {
            Place::Taken(seq) => Ok(seq),
            Place::None(change) if !self.has_room(1, bytes) => Err(Full(change)),
            Place::None(change) => Ok(self.take(change, bytes, now)),
        }
    }

    /// Whether there is room for so many more. One alone always has it.
    pub fn has_room(&self, operations: usize, bytes: usize) -> bool {
        let depth = self.flusher.depth();
        depth + operations <= 1
            || (depth + operations <= self.bounds.operations.max(1)
                && self.bytes.saturating_add(bytes) <= self.bounds.bytes)
    }

    /// One more, room or not: it has been accepted elsewhere.
    pub fn take(&mut self, change: Change<K, V>, bytes: usize, now: Timestamp) -> Seq {
        let seq = self.accepted() + 1;
        self.take_as(seq, What::Change(change), bytes, now);
        seq
    }

    /// One more, which has its number already.
    pub fn take_as(&mut self, seq: Seq, what: What<K, V>, bytes: usize, now: Timestamp) {
        self.bytes = self.bytes.saturating_add(bytes);
        if let What::Change(change) = &what {
            self.note(change, seq);
        }
        self.flusher.accept_as(seq, Accepted { what, bytes }, now);
    }

    /// A record that cannot be read, in its place.
    pub fn take_unreadable(&mut self, record: Vec<u8>, why: String, now: Timestamp) -> Seq {
        let bytes = record.len();
        self.bytes = self.bytes.saturating_add(bytes);
        self.flusher.accept(Accepted { what: What::Unreadable(record, why), bytes }, now)
    }

    /// Takes note of an operation for those who read its key.
    fn note(&mut self, change: &Change<K, V>, seq: Seq) {
        let key = change.key();
        let before = self.latest.insert(key.clone(), seq);
        if change.replaces() {
            self.merged.remove(key);
            return;
        }
        self.merged.entry(key.clone()).or_insert_with(|| before.into_iter().collect()).push_back(seq);
    }

    /// What the store will say of `key` when all is written: `None`, whatever it says now. Of a key that something is merged
    /// into nothing is said here: see [`waiting`](Self::waiting).
    pub fn read(&self, key: &K) -> Option<Option<&V>> {
        match &self.flusher.get(*self.latest.get(key)?)?.operation.what {
            What::Change(Change::Put(_, value)) => Some(Some(value)),
            What::Change(Change::Delete(_)) => Some(None),
            What::Change(Change::Merge(..)) | What::Unreadable(..) => None,
        }
    }

    /// What waits for a key, as far as it counts for readers: in its order, with numbers. Of one that nothing is merged into
    /// that is one operation.
    pub fn waiting(&self, key: &K) -> Vec<(Seq, Change<K, V>)> {
        let only = self.latest.get(key).filter(|_| !self.merged.contains_key(key));
        let merged = self.merged.get(key).into_iter().flatten().chain(only);
        let change = |seq: &Seq| match &self.flusher.get(*seq)?.operation.what {
            What::Change(change) => Some((*seq, change.clone())),
            What::Unreadable(..) => None,
        };
        merged.filter_map(change).collect()
    }

    /// The number of the last operation on `key`, if it is not settled.
    pub fn latest(&self, key: &K) -> Option<Seq> {
        self.latest.get(key).copied()
    }

    /// Somebody wants all that was accepted so far to be in the store; up to which number that is.
    pub fn want_all(&mut self) -> Seq {
        self.flusher.want_all()
    }

    /// What to do at `now`.
    pub fn next(&mut self, now: Timestamp) -> Order<Work<K, V>> {
        match self.flusher.next(now) {
            Order::Store(batch) => Order::Store(self.work(batch)),
            Order::WaitUntil(then) => Order::WaitUntil(then),
            Order::Rest => Order::Rest,
        }
    }

    /// The work that is under way, for whoever has lost sight of it.
    pub fn under_way(&self) -> Option<Work<K, V>> {
        self.flusher.is_flying().then(|| self.work(self.flusher.batch()))
    }

    fn work(&self, batch: Batch<Accepted<K, V>>) -> Work<K, V> {
        let numbered = |waiting: Waiting<Accepted<K, V>>| (waiting.seq, waiting.operation.what);
        let operations: Vec<_> = batch.operations.into_iter().map(numbered).collect();
        let following = self.following(&operations);
        let parked = batch.parked.map(numbered);
        Work { after: batch.after, upto: batch.upto, operations, parked, following }
    }

    /// The merges among some operations whose key has had one put aside, and nothing that replaces it since.
    fn following(&self, operations: &[(Seq, What<K, V>)]) -> Vec<Seq> {
        if self.parked.is_empty() {
            return Vec::new();
        }
        let mut written: HashSet<&K> = HashSet::new();
        let mut following = Vec::new();
        for (seq, what) in operations {
            let What::Change(change) = what else { continue };
            if change.replaces() {
                written.insert(change.key());
            } else if self.parked.contains(change.key()) && !written.contains(change.key()) {
                following.push(*seq);
            }
        }
        following
    }

    /// A merge of each of `keys` has been put aside in an earlier life of this process, or by another owner.
    pub fn park(&mut self, keys: impl IntoIterator<Item = K>) {
        self.parked.extend(keys);
    }

    /// Only of these keys something is still put aside.
    pub fn keep_parked(&mut self, is_parked: impl Fn(&K) -> bool) {
        self.parked.retain(is_parked);
    }

    /// Somebody is about to merge into `key`: from now on what is stored of it is kept, until it is over.
    pub fn begin_count(&mut self, key: &K) {
        let counted = self.counted.entry(key.clone()).or_insert(Counted { by: 0, stored: Vec::new() });
        counted.by += 1;
    }

    /// It is over.
    pub fn end_count(&mut self, key: &K) {
        if let Some(counted) = self.counted.get_mut(key) {
            counted.by -= 1;
            if counted.by == 0 {
                self.counted.remove(key);
            }
        }
    }

    /// What has come to a key that is being counted after `offset`, up to `seq`: whether it is stored by now or waits.
    pub fn between(&self, key: &K, offset: Seq, seq: Seq) -> Vec<(Seq, Change<K, V>)> {
        let stored = self.counted.get(key).into_iter().flat_map(|counted| counted.stored.iter().cloned());
        let waiting = self.waiting(key).into_iter();
        stored.chain(waiting).filter(|(other, _)| *other > offset && *other <= seq).collect()
    }

    /// The store has what it was given: the keys of it for which nothing newer waits.
    pub fn stored(&mut self) -> Vec<K> {
        let aside = self.put_aside();
        let done = self.flusher.stored();
        self.leave(done, &aside)
    }

    /// The store turns out to have all up to `seq`.
    pub fn stored_upto(&mut self, seq: Seq) -> Vec<K> {
        let done = self.flusher.stored_upto(seq);
        self.leave(done, &[])
    }

    /// The store has had all up to `seq` from an earlier life of this journal.
    pub fn pass_over(&mut self, seq: Seq) -> Vec<K> {
        let passed = self.flusher.pass_over(seq);
        self.leave(passed, &[])
    }

    /// Those of the work under way that the store does not get.
    fn put_aside(&self) -> Vec<Seq> {
        let Some(Work { parked, mut following, .. }) =
            self.flusher.is_suspicious(!self.parked.is_empty()).then(|| self.work(self.flusher.batch()))
        else {
            return Vec::new();
        };
        following.extend(parked.map(|(seq, _)| seq));
        following
    }

    fn leave(&mut self, done: Vec<Waiting<Accepted<K, V>>>, aside: &[Seq]) -> Vec<K> {
        let mut keys = Vec::with_capacity(done.len());
        for Waiting { seq, operation: Accepted { what, bytes }, .. } in done {
            self.bytes = self.bytes.saturating_sub(bytes);
            let What::Change(change) = what else { continue };
            let is_aside = aside.contains(&seq);
            if !self.parked.is_empty() || is_aside {
                match change.replaces() {
                    true if !is_aside => _ = self.parked.remove(change.key()),
                    false if is_aside => _ = self.parked.insert(change.key().clone()),
                    _ => {}
                }
            }
            if let Some(counted) = self.counted.get_mut(change.key())
                && !is_aside
            {
                counted.stored.push((seq, change.clone()));
            }
            let (Change::Put(key, _) | Change::Delete(key) | Change::Merge(key, _)) = change;
            if let Some(merged) = self.merged.get_mut(&key) {
                merged.retain(|other| *other != seq);
                if merged.is_empty() {
                    self.merged.remove(&key);
                }
            }
            // Only if nothing newer waits for the same key: it would be read past.
            if self.latest.get(&key) == Some(&seq) {
                self.latest.remove(&key);
                keys.push(key);
            }
        }
        keys
    }

    /// The store has not taken it, and surely nothing of it.
    pub fn failed(&mut self, failure: Failure, now: Timestamp, luck: f64) {
        self.flusher.failed(failure, now, luck);
    }

    /// How many more would make a batch at once.
    pub fn lacks(&self) -> usize {
        self.flusher.lacks()
    }

    /// When the oldest of them was accepted.
    pub fn oldest(&self) -> Option<Timestamp> {
        self.flusher.oldest()
    }

    /// The number of the last operation that is settled.
    pub fn settled(&self) -> Seq {
        self.flusher.settled()
    }

    /// The number of the last operation that was accepted.
    pub fn accepted(&self) -> Seq {
        self.flusher.accepted()
    }

    /// How many operations have taken another one's place since the last time that this was asked.
    pub fn take_replaced(&mut self) -> u64 {
        std::mem::take(&mut self.replaced)
    }

    /// All that is not settled.
    pub fn changes(&self) -> Vec<Change<K, V>> {
        let changes = self.flusher.iter().filter_map(|waiting| match &waiting.operation.what {
            What::Change(change) => Some(change.clone()),
            What::Unreadable(..) => None,
        });
        changes.collect()
    }

    /// Puts `change` in the place of one on the same key that waits and is not under way.
    fn replace(&mut self, change: Change<K, V>, bytes: usize) -> Result<Place<K, V>, Full<Change<K, V>>> {
        if !self.replaces {
            return Ok(Place::None(change));
        }
        let Some(seq) = self.latest.get(change.key()).copied() else { return Ok(Place::None(change)) };
        let Some(place) = self.flusher.get_waiting_mut(seq) else { return Ok(Place::None(change)) };
        let others = self.bytes.saturating_sub(place.bytes);
        if others > 0 && bytes > place.bytes && others.saturating_add(bytes) > self.bounds.bytes {
            return Err(Full(change));
        }
        *place = Accepted { what: What::Change(change), bytes };
        self.bytes = others.saturating_add(bytes);
        self.replaced += 1;
        Ok(Place::Taken(seq))
    }
}

impl<K, V> Pending<K, V> {
    /// How many operations wait, and how many bytes.
    pub fn depth(&self) -> (usize, usize) {
        (self.flusher.depth(), self.bytes)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use super::*;
    use crate::store::{Merging, Sum};
    use proptest::prelude::*;

    const ROOM: Bounds = Bounds { operations: 1_000, bytes: 1_000_000 };

    fn rules() -> Rules {
        let pauses = (Duration::from_millis(100), Duration::from_secs(10));
        Rules { batch: 4, delay: Duration::from_secs(1), pauses, tries: 3, pace: Duration::ZERO }
    }

    fn pending(bounds: Bounds) -> Pending<u8, u16> {
        Pending::new(rules(), bounds, 0)
    }

    fn work(pending: &mut Pending<u8, u16>) -> Vec<Change<u8, u16>> {
        pending.want_all();
        match pending.next(Timestamp::ZERO) {
            Order::Store(work) => changes(work),
            other => panic!("{other:?}"),
        }
    }

    fn changes(work: Work<u8, u16>) -> Vec<Change<u8, u16>> {
        let change = |(_, what)| match what {
            What::Change(change) => change,
            What::Unreadable(..) => panic!("all can be read here"),
        };
        work.operations.into_iter().map(change).collect()
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
        assert_eq!(work(&mut pending), [Change::Put(1, 10)]);
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
        assert_eq!(work(&mut pending), [Change::Put(1, 11)]);
    }

    #[test]
    fn what_waits_is_replaced_and_what_is_under_way_is_not() {
        let rules = Rules { batch: 2, ..rules() };
        let mut pending = Pending::replacing(rules, ROOM, 0);
        for (key, value) in [(1, 10), (2, 20), (1, 11), (3, 30), (3, 31)] {
            put(&mut pending, key, value);
        }
        assert_eq!(pending.depth().0, 3);
        assert_eq!(work(&mut pending), [Change::Put(1, 11), Change::Put(2, 20)]);
        put(&mut pending, 1, 12);
        assert_eq!(pending.read(&1), Some(Some(&12)));
        assert_eq!(pending.stored(), [2], "of key 1 something newer waits");
        assert_eq!(work(&mut pending), [Change::Put(3, 31), Change::Put(1, 12)]);
        assert_eq!(pending.take_replaced(), 2);
    }

    #[test]
    fn what_replaces_another_has_room_as_long_as_bytes_have() {
        let mut pending = Pending::replacing(rules(), Bounds { operations: 1, bytes: 10 }, 0);
        pending.accept(Change::Put(1, 1), 4, Timestamp::ZERO).expect("room");
        assert_eq!(pending.accept(Change::Put(1, 2), 4, Timestamp::ZERO), Ok(1));
        assert_eq!(pending.accept(Change::Put(2, 2), 1, Timestamp::ZERO), Err(Full(Change::Put(2, 2))));
        assert_eq!(pending.depth(), (1, 4));
    }

    #[test]
    fn a_record_that_cannot_be_read_keeps_its_place() {
        let mut pending = pending(ROOM);
        pending.take_unreadable(vec![1, 2], "torn".to_owned(), Timestamp::ZERO);
        put(&mut pending, 1, 10);
        pending.want_all();
        let Order::Store(work) = pending.next(Timestamp::ZERO) else { panic!("work") };
        assert!(matches!(work.operations[..], [(1, What::Unreadable(..)), (2, What::Change(_))]));
        assert_eq!(pending.stored(), [1]);
        assert_eq!(pending.depth(), (0, 0));
    }

    #[test]
    fn when_it_is_full_nothing_more_is_accepted_until_something_is_stored() {
        let mut pending = pending(Bounds { operations: 2, ..ROOM });
        put(&mut pending, 1, 1);
        put(&mut pending, 2, 2);
        assert_eq!(pending.accept(Change::Put(3, 3), 1, Timestamp::ZERO), Err(Full(Change::Put(3, 3))));
        assert_eq!(pending.read(&3), None);
        work(&mut pending);
        pending.stored();
        put(&mut pending, 3, 3);
    }

    #[test]
    fn there_is_no_more_room_for_many_at_once_than_for_one_after_the_other() {
        let pending = pending(Bounds { operations: 10, bytes: 100 });
        assert!(pending.has_room(10, 100) && !pending.has_room(11, 11) && !pending.has_room(2, 101));
        assert!(pending.has_room(1, 1_000), "nothing else waits");
    }

    #[test]
    fn bytes_are_bounded_and_one_operation_always_has_room() {
        let mut pending = pending(Bounds { bytes: 10, ..ROOM });
        pending.accept(Change::Put(1, 1), 100, Timestamp::ZERO).expect("nothing else waits");
        assert_eq!(pending.accept(Change::Put(2, 2), 1, Timestamp::ZERO), Err(Full(Change::Put(2, 2))));
        work(&mut pending);
        pending.stored();
        assert_eq!(pending.depth(), (0, 0));
    }

    proptest! {
        /// Whatever is accepted, stored and refused in between: a reader sees what was accepted last, and in the end the
        /// store has the same.
        #[test]
        fn a_reader_sees_every_write_at_once(
            steps in proptest::collection::vec((0_u8..4, 0_u8..3, any::<u16>(), 0_u8..4), 0..60),
            replaces: bool,
        ) {
            let merging = Merging::new(Sum);
            let mut pending = if replaces { Pending::replacing(rules(), ROOM, 0) } else { pending(ROOM) };
            let (mut store, mut truth) = (BTreeMap::new(), BTreeMap::new());
            let apply = |rows: &mut BTreeMap<u8, u16>, change: &Change<u8, u16>| match change {
                Change::Put(key, value) => _ = rows.insert(*key, *value),
                Change::Delete(key) => _ = rows.remove(key),
                Change::Merge(key, operand) => {
                    let row = rows.entry(*key).or_default();
                    *row = row.saturating_add(*operand);
                }
            };
            for (key, kind, value, then) in steps {
                let change = match kind {
                    0 => Change::Delete(key),
                    // What is merged into is not replaced.
                    1 if !replaces => Change::Merge(key, value),
                    _ => Change::Put(key, value),
                };
                apply(&mut truth, &change);
                pending.accept(change, 1, Timestamp::ZERO).expect("room");
                if then == 0 {
                    pending.want_all();
                }
                if then < 3 && let Order::Store(work) = pending.next(Timestamp::NEVER) {
                    if then == 1 {
                        pending.failed(Failure::Transient, Timestamp::ZERO, 0.0);
                    } else {
                        changes(work).iter().for_each(|change| apply(&mut store, change));
                        pending.stored();
                    }
                }
                for key in 0..4 {
                    let seen = match pending.read(&key) {
                        Some(value) => value.copied(),
                        None => {
                            let waiting = pending.waiting(&key);
                            let waiting = waiting.iter().map(|(seq, change)| (*seq, change));
                            merging.fold(waiting, (store.get(&key).copied(), pending.settled()))
                        }
                    };
                    prop_assert_eq!(seen, truth.get(&key).copied());
                }
            }
            while let Order::Store(work) = pending.next(Timestamp::NEVER) {
                changes(work).iter().for_each(|change| apply(&mut store, change));
                pending.stored();
            }
            prop_assert_eq!(store, truth);
        }
    }
}
