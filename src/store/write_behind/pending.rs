//! What has been accepted and is not in the store yet: readers find it here before they ask the store.

use std::collections::{HashMap, HashSet, VecDeque};
use std::hash::Hash;
use std::ops::RangeInclusive;

use super::flusher::{Batch, Failure, Flusher, Order, Rules, Waiting};
use super::tally::Tally;
use crate::store::{Change, Merging, Seq};
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
    merged: HashMap<K, Tally<K, V>, foldhash::fast::RandomState>,
    /// Keys that somebody is about to find the total of.
    counted: HashMap<K, Counted<K, V>, foldhash::fast::RandomState>,
    merging: Option<Merging<V>>,
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

/// What is remembered of a key for those who are about to find its total.
#[derive(Clone, Debug)]
struct Counted<K, V> {
    /// How many they are, and what was settled when they came: what a snapshot that they take has for sure.
    by: VecDeque<(Seq, usize)>,
    /// What has been stored since the first of them came, or replaced, in its order.
    past: VecDeque<(Seq, Change<K, V>)>,
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

impl<K: Clone + Eq + Hash, V: Clone + 'static> Pending<K, V> {
    /// Nothing waits, and all up to `settled` is in the store.
    pub fn new(rules: Rules, bounds: Bounds, settled: Seq) -> Self {
        Self {
            flusher: Flusher::new(rules, settled),
            latest: HashMap::default(),
            merged: HashMap::default(),
            counted: HashMap::default(),
            merging: None,
            parked: HashSet::default(),
            bounds,
            bytes: 0,
            replaces: false,
            replaced: 0,
        }
    }

    /// The same, where of several operations on one key that wait only the last is kept, or what a merge makes of the others.
    /// It takes the place of the first, and does not wait longer than that would have: a key that is written all the time is
    /// stored all the same.
    pub fn replacing(rules: Rules, bounds: Bounds, settled: Seq) -> Self {
        Self { replaces: true, ..Self::new(rules, bounds, settled) }
    }

    /// The same, with operations that merge.
    #[must_use]
    pub fn merging(self, merging: Option<Merging<V>>) -> Self {
        Self { merging, ..self }
    }

    /// The same rules and bounds, where nothing waits and all up to `settled` is in the store.
    #[must_use]
    pub fn afresh(&self, settled: Seq) -> Self {
        let (replaces, merging) = (self.replaces, self.merging.clone());
        Self { replaces, merging, ..Self::new(self.flusher.rules().clone(), self.bounds, settled) }
    }

    /// One more operation; its number. `weigh` says how many bytes one takes.
    ///
    /// # Errors
    ///
    /// [`Full`]. An operation that is bigger than all the room there is has it when nothing else waits.
    pub fn accept(
        &mut self,
        change: Change<K, V>,
        weigh: impl Fn(&Change<K, V>) -> usize,
        now: Timestamp,
    ) -> Result<Seq, Full<Change<K, V>>> {
        match self.replace(change, &weigh)? {
            Place::Taken(seq) => Ok(seq),
            Place::None(change) => match weigh(&change) {
                bytes if self.has_room(1, bytes) => Ok(self.take(change, bytes, now)),
                _ => Err(Full(change)),
            },
        }
    }

    /// What has come to `key` so far, where that is not much: where operations take each other's place, and a later one would
    /// not be told from this.
    pub fn so_far(&self, key: &K) -> Option<Vec<(Seq, Change<K, V>)>> {
        let past = self.counted.get(key).into_iter().flat_map(|counted| counted.past.iter().cloned());
        self.replaces.then(|| past.chain(self.waiting(key)).collect())
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
        if change.replaces() {
            self.remember(key);
            self.merged.remove(key);
            self.latest.insert(key.clone(), seq);
            return;
        }
        let before = self.latest.insert(key.clone(), seq);
        let tally = self.merged.entry(key.clone()).or_insert_with(|| {
            let mut tally = Tally::new();
            before.into_iter().for_each(|before| tally.push(before));
            tally
        });
        tally.push(seq);
    }

    /// What waits for a key is about to be replaced: some may be counting it.
    fn remember(&mut self, key: &K) {
        if !self.counted.contains_key(key) {
            return;
        }
        let waiting = self.waiting(key);
        if let Some(counted) = self.counted.get_mut(key) {
            counted.past.extend(waiting);
        }
    }

    /// What the store will say of `key` when all is written: `None`, whatever it says now. Of a key that something is merged
    /// into nothing is said here: see [`total`](Self::total).
    pub fn read(&self, key: &K) -> Option<Option<&V>> {
        match self.change(*self.latest.get(key)?)? {
            Change::Put(_, value) => Some(Some(value)),
            Change::Delete(_) => Some(None),
            Change::Merge(..) => None,
        }
    }

    /// The same of a key that something is merged into: `None`, what the store has counts as well.
    pub fn total(&mut self, key: &K) -> Option<Option<V>> {
        let first = self.merged.get(key)?.iter().next()?;
        if !self.change(first)?.replaces() {
            return None;
        }
        let all = self.sum(key, None, 0..=Seq::MAX)?;
        Some(self.merging.as_ref()?.after(None, &all))
    }

    /// What waits for a key, as far as it counts for readers: in its order, with numbers. Of one that nothing is merged into
    /// that is one operation.
    pub fn waiting(&self, key: &K) -> Vec<(Seq, Change<K, V>)> {
        let only = self.latest.get(key).copied().filter(|_| !self.merged.contains_key(key));
        let merged = self.merged.get(key).into_iter().flat_map(Tally::iter).chain(only);
        merged.filter_map(|seq| Some((seq, self.change(seq)?.clone()))).collect()
    }

    fn change(&self, seq: Seq) -> Option<&Change<K, V>> {
        change_in(&self.flusher, seq)
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

    /// Somebody is about to find out what `key` comes to: from now on what is stored of it is remembered, until that is over.
    /// What is settled now, to end it with.
    pub fn begin_count(&mut self, key: &K) -> Seq {
        let since = self.settled();
        let none = || Counted { by: VecDeque::new(), past: VecDeque::new() };
        let by = &mut self.counted.entry(key.clone()).or_insert_with(none).by;
        match by.back_mut() {
            Some((same, times)) if *same == since => *times += 1,
            _ => by.push_back((since, 1)),
        }
        since
    }

    /// It is over. Those who still count have not begun before what is forgotten now was settled: their snapshots have it.
    pub fn end_count(&mut self, key: &K, since: Seq) {
        let Some(Counted { by, past }) = self.counted.get_mut(key) else { return };
        if let Some((_, times)) = by.iter_mut().find(|(same, _)| *same == since) {
            *times -= 1;
        }
        while by.front().is_some_and(|(_, times)| *times == 0) {
            by.pop_front();
        }
        match by.front().copied() {
            Some((since, _)) => past.drain(..past.partition_point(|(seq, _)| *seq <= since)).for_each(drop),
            None => _ = self.counted.remove(key),
        }
    }

    /// What has come to a key that is being counted after `above`, up to `upto`, as one operation: whether it is stored by
    /// now or waits.
    pub fn between(&mut self, key: &K, above: Seq, upto: Seq) -> Option<Change<K, V>> {
        let merging = self.merging.as_ref()?;
        let range = above.saturating_add(1)..=upto;
        let past = self.counted.get(key).map(|counted| &counted.past).into_iter();
        let past = past.flat_map(|past| past.range(past.partition_point(|(seq, _)| *seq <= above)..));
        let past = past.take_while(|(seq, _)| *seq <= upto);
        let sum = past.fold(None, |sum, (_, later)| Some(merging.join(sum, later)));
        self.sum(key, sum, range)
    }

    /// What `before` comes to, and then what waits for `key`.
    fn sum(
        &mut self,
        key: &K,
        before: Option<Change<K, V>>,
        range: RangeInclusive<Seq>,
    ) -> Option<Change<K, V>> {
        let Self { flusher, merging: Some(merging), .. } = self else { return before };
        if let Some(tally) = self.merged.get_mut(key) {
            return tally.sum(before, range, merging, |seq| change_in(flusher, seq));
        }
        let only = self.latest.get(key).filter(|seq| range.contains(seq));
        match only.and_then(|seq| change_in(flusher, *seq)) {
            Some(later) => Some(merging.join(before, later)),
            None => before,
        }
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
            if let Some(counted) = self.counted.get_mut(change.key()) {
                counted.leaves(seq, &change, is_aside);
            }
            let (Change::Put(key, _) | Change::Delete(key) | Change::Merge(key, _)) = change;
            if let Some(merged) = self.merged.get_mut(&key) {
                merged.leave(seq);
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

    /// Puts `change`, or what it makes of that one, in the place of one on the same key that waits and is not under way.
    fn replace(
        &mut self,
        change: Change<K, V>,
        weigh: impl Fn(&Change<K, V>) -> usize,
    ) -> Result<Place<K, V>, Full<Change<K, V>>> {
        if !self.replaces {
            return Ok(Place::None(change));
        }
        let Some(seq) = self.latest.get(change.key()).copied() else { return Ok(Place::None(change)) };
        let Some(place) = self.flusher.get_waiting_mut(seq) else { return Ok(Place::None(change)) };
        let joined = match (&place.what, &self.merging) {
            _ if change.replaces() => None,
            (What::Change(earlier), Some(merging)) => Some(merging.join(Some(earlier.clone()), &change)),
            _ => return Ok(Place::None(change)),
        };
        let bytes = weigh(joined.as_ref().unwrap_or(&change));
        let others = self.bytes.saturating_sub(place.bytes);
        if others > 0 && bytes > place.bytes && others.saturating_add(bytes) > self.bounds.bytes {
            return Err(Full(change));
        }
        let change = joined.unwrap_or(change);
        match self.merged.get_mut(change.key()) {
            Some(tally) if !change.replaces() => tally.changed(),
            _ => _ = self.merged.remove(change.key()),
        }
        *place = Accepted { what: What::Change(change), bytes };
        self.bytes = others.saturating_add(bytes);
        self.replaced += 1;
        Ok(Place::Taken(seq))
    }
}

impl<K: Clone, V: Clone> Counted<K, V> {
    /// An operation waits no more: it is stored, or put aside.
    fn leaves(&mut self, seq: Seq, change: &Change<K, V>, is_aside: bool) {
        match self.past.binary_search_by_key(&seq, |(other, _)| *other) {
            Ok(at) if is_aside => _ = self.past.remove(at),
            Err(at) if at == self.past.len() && !is_aside => self.past.push_back((seq, change.clone())),
            // What came before something that replaces it does not count.
            _ => {}
        }
    }
}

fn change_in<K: Clone, V: Clone>(flusher: &Flusher<Accepted<K, V>>, seq: Seq) -> Option<&Change<K, V>> {
    match &flusher.get(seq)?.operation.what {
        What::Change(change) => Some(change),
        What::Unreadable(..) => None,
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
        pending.accept(Change::Put(key, value), |_| 1, Timestamp::ZERO).expect("room");
    }

    #[test]
    fn what_waits_is_read_before_the_store() {
        let mut pending = pending(ROOM);
        put(&mut pending, 1, 10);
        pending.accept(Change::Delete(2), |_| 1, Timestamp::ZERO).expect("room");
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
        pending.accept(Change::Put(1, 1), |_| 4, Timestamp::ZERO).expect("room");
        assert_eq!(pending.accept(Change::Put(1, 2), |_| 4, Timestamp::ZERO), Ok(1));
        assert_eq!(pending.accept(Change::Put(2, 2), |_| 1, Timestamp::ZERO), Err(Full(Change::Put(2, 2))));
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
        assert_eq!(pending.accept(Change::Put(3, 3), |_| 1, Timestamp::ZERO), Err(Full(Change::Put(3, 3))));
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
        pending.accept(Change::Put(1, 1), |_| 100, Timestamp::ZERO).expect("nothing else waits");
        assert_eq!(pending.accept(Change::Put(2, 2), |_| 1, Timestamp::ZERO), Err(Full(Change::Put(2, 2))));
        work(&mut pending);
        pending.stored();
        assert_eq!(pending.depth(), (0, 0));
    }

    fn merging(pending: Pending<u8, u16>) -> Pending<u8, u16> {
        pending.merging(Some(Merging::new(Sum)))
    }

    fn add(pending: &mut Pending<u8, u16>, key: u8, operand: u16) {
        pending.accept(Change::Merge(key, operand), |_| 1, Timestamp::ZERO).expect("room");
    }

    #[test]
    fn a_merge_is_joined_to_what_waits_and_not_to_what_is_under_way() {
        let mut pending = merging(Pending::replacing(Rules { batch: 2, ..rules() }, ROOM, 0));
        put(&mut pending, 1, 10);
        for (key, operand) in [(1, 1), (2, 20), (2, 2)] {
            add(&mut pending, key, operand);
        }
        assert_eq!(pending.depth().0, 2);
        assert_eq!(work(&mut pending), [Change::Put(1, 11), Change::Merge(2, 22)]);
        add(&mut pending, 2, 100);
        add(&mut pending, 2, 200);
        assert_eq!(pending.between(&2, 0, Seq::MAX), Some(Change::Merge(2, 322)));
        pending.stored();
        assert_eq!(work(&mut pending), [Change::Merge(2, 300)]);
    }

    /// Where counts overlap all the time, as those of a counter do that many raise, nobody is ever the last.
    #[test]
    fn what_no_count_needs_is_forgotten() {
        let mut pending = merging(pending(ROOM));
        let mut before = pending.begin_count(&1);
        for _ in 0..100 {
            add(&mut pending, 1, 1);
            work(&mut pending);
            pending.stored();
            let now = pending.begin_count(&1);
            pending.end_count(&1, before);
            before = now;
        }
        assert_eq!(pending.counted.get(&1).map(|counted| counted.past.len()), Some(0));
        pending.end_count(&1, before);
        assert!(pending.counted.is_empty());
    }

    /// `W1: +1, about to be answered · W2: put 100 · O: stores both`: what W1 is answered is not 100.
    #[test]
    fn what_is_replaced_is_remembered_by_those_who_count() {
        let mut pending = merging(pending(ROOM));
        let since = pending.begin_count(&1);
        add(&mut pending, 1, 1);
        put(&mut pending, 1, 100);
        assert_eq!(pending.between(&1, 0, 1), Some(Change::Merge(1, 1)));
        work(&mut pending);
        pending.stored();
        assert_eq!(pending.between(&1, 0, 1), Some(Change::Merge(1, 1)));
        assert_eq!(pending.between(&1, 0, 2), Some(Change::Put(1, 100)));
        pending.end_count(&1, since);
    }

    proptest! {
        /// Whatever is accepted, stored and refused in between: a reader sees what was accepted last, and in the end the
        /// store has the same.
        #[test]
        fn a_reader_sees_every_write_at_once(
            steps in proptest::collection::vec((0_u8..4, 0_u8..3, any::<u16>(), 0_u8..4), 0..60),
            replaces: bool,
        ) {
            let merges = Merging::new(Sum);
            let after = |value: Option<u16>, since: Option<Change<u8, u16>>| match since {
                Some(since) => merges.after(value.as_ref(), &since),
                None => value,
            };
            let mut pending =
                merging(if replaces { Pending::replacing(rules(), ROOM, 0) } else { pending(ROOM) });
            // Keys that are being counted: since when, and what the snapshot says.
            let mut counts: VecDeque<(u8, Seq, Option<u16>, Seq)> = VecDeque::new();
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
                    0 if value % 4 == 0 => Change::Delete(key),
                    1 if value % 4 == 0 => Change::Put(key, value),
                    _ => Change::Merge(key, value),
                };
                if value % 3 == 0 {
                    let since = pending.begin_count(&key);
                    counts.push_back((key, since, store.get(&key).copied(), pending.settled()));
                }
                apply(&mut truth, &change);
                pending.accept(change, |_| 1, Timestamp::ZERO).expect("room");
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
                    let waits = pending.read(&key).map(|value| value.copied());
                    let seen = waits.or_else(|| pending.total(&key)).unwrap_or_else(|| {
                        let settled = pending.settled();
                        after(store.get(&key).copied(), pending.between(&key, settled, Seq::MAX))
                    });
                    prop_assert_eq!(seen, truth.get(&key).copied());
                }
                for (key, _, value, offset) in &counts {
                    let total = after(*value, pending.between(key, *offset, Seq::MAX));
                    prop_assert_eq!(total, truth.get(key).copied());
                }
                if value % 5 == 0 && let Some((key, since, ..)) = counts.pop_back() {
                    pending.end_count(&key, since);
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
