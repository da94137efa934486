//! One shard of a stream of pending writes, as a server keeps it for many processes: what it is asked, and what it answers.
//! No I/O, no time of its own. Redis runs its translation, `tier/redis/scripts/stream/`; tests hold the two against each
//! other command by command.
//!
//! ```text
//!   any process     Append ──► entries, in the order of their numbers ──► Collect     the owner of the shard
//!                     │                                                    │
//!                     └──────► pending, by key ◄── up to the offset ───────┘
//!                                 │               both are forgotten
//!   any process     reads ◄───────┘
//! ```
//!
//! A number is the time, in microseconds, or one more than the last one. So a server that takes over from a failed one,
//! and has not heard of the last entries, does not give their numbers to others: unless its clock is behind by more than
//! the time that this took. Then an entry may have a number that the store takes for done, and gets another one when the
//! owner first meets the server: see `StreamShard::hand_over`.

#![allow(clippy::exhaustive_enums, clippy::exhaustive_structs, reason = "not part of the public interface")]

use std::collections::BTreeMap;

use crate::change::Seq;

/// Microseconds since 1970, by the server's clock.
pub type Micros = u64;

/// What a server keeps of one shard.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct StreamShard {
    /// The writes, in their order.
    pub entries: BTreeMap<Seq, Entry>,
    /// Of each key, the numbers of the writes that count for a reader: the last that replaces all before it, and what came
    /// after.
    pub pending: BTreeMap<Vec<u8>, Vec<Seq>>,
    /// The last number that was given.
    pub last: Seq,
    /// In which of its lives the server was when it was last asked.
    pub life: Option<u32>,
    /// Whether an owner has met it in this life: before that it may know less than the store.
    pub met: bool,
    /// The last number that was given in an earlier life.
    pub boundary: Seq,
    /// The last number that was given in a life of which it is known that an owner has met the server in it.
    pub met_upto: Seq,
    /// The last number of each of the latest lives that have ended, as far as it is known here.
    pub ends: Vec<(u32, Seq)>,
    /// Entries with numbers above the first of these, up to the second, were given others when an owner last met a server.
    pub moved: (Seq, Seq),
    /// The epoch of the owner that was here last.
    pub epoch: u64,
    /// All up to this one are settled and forgotten.
    pub floor: Seq,
    /// Up to which number somebody wants all to be stored without delay.
    pub wanted: Seq,
    /// How many bytes the records of the entries have.
    pub bytes: u64,
}

/// One write.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Entry {
    /// What its key is called.
    pub key: Vec<u8>,
    /// The record.
    pub record: Vec<u8>,
    /// Whether nobody knows if the store has had it.
    pub is_doubtful: bool,
}

/// What an owner is given of a write.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Given {
    /// Its number.
    pub seq: Seq,
    /// Its record.
    pub record: Vec<u8>,
    /// Whether nobody knows if the store has had it: it is to be put aside, for somebody to look at.
    pub is_doubtful: bool,
}

/// The number of a write.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Number {
    /// The number itself.
    pub seq: Seq,
    /// In which of its lives the server has given it.
    pub life: u32,
}

/// How much may wait; 0 is no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Limits {
    /// How many writes.
    pub writes: u64,
    /// How many bytes of records.
    pub bytes: u64,
    /// For how long the oldest may have waited, in microseconds.
    pub age: Micros,
}

/// A write to be appended.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Append {
    /// In which of its lives the server is, as the connection knows that the write goes over.
    pub life: u32,
    /// The largest number that the writer knows of.
    pub seen: Seq,
    /// Whether nothing that came before counts for readers of the key any more.
    pub replaces: bool,
    /// The write.
    pub entry: Entry,
    /// What else may wait with it.
    pub limits: Limits,
}

/// What becomes of an [`Append`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Appended {
    /// It has a place.
    At {
        /// Its number.
        seq: Seq,
        /// The last number that was given in an earlier life of the server.
        boundary: Seq,
        /// How many wait.
        writes: u64,
    },
    /// There is no room.
    Full,
}

/// What an owner asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Collect {
    /// In which of its lives the server is, as the connection knows that this goes over.
    pub life: u32,
    /// The epoch in which it owns the shard.
    pub epoch: u64,
    /// Up to which number the store has all. An owner asks only while nothing that it was given is under way: else it would
    /// meet a server with an offset that is about to move.
    pub offset: Seq,
    /// How many it takes at the most.
    pub most: usize,
    /// How long the oldest waits for others to join it, in microseconds.
    pub delay: Micros,
}

/// What an owner is given.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Collected {
    /// Somebody else has come to own the shard.
    Superseded,
    /// The store has lost what was forgotten here: all up to this number.
    Behind(Seq),
    /// Nothing waits.
    Nothing(Met),
    /// Nothing is due before so many microseconds have passed.
    Later(Met, Micros),
    /// These are due.
    Due(Met, Vec<Given>),
}

/// What an owner has found when it met the server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Met {
    /// The server does not have, and did not have, what the store says it had: it has lost the end of the shard.
    pub lost_its_end: bool,
    /// How many entries had numbers that the store takes for done, and have others now.
    pub moved: u64,
    /// The last number that was given in an earlier life of the server.
    pub boundary: Seq,
}

/// How a shard stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Standing {
    /// The last number that was given.
    pub last: Seq,
    /// All up to this one are settled.
    pub floor: Seq,
    /// How many writes wait.
    pub writes: u64,
    /// How many bytes their records have.
    pub bytes: u64,
    /// For how long the oldest has waited, in microseconds.
    pub age: Micros,
    /// Whether the server has, or had, the write that it was asked about under the number that is known of it.
    pub is_kept: bool,
}

/// Of how many lives that have ended is known where they did.
pub const LIVES: usize = 8;

impl StreamShard {
    /// Takes a write.
    pub fn append(&mut self, append: Append, now: Micros) -> Appended {
        self.note_life(append.life);
        let Append { seen, replaces, entry, limits, .. } = append;
        let bytes = entry.record.len() as u64;
        if !self.has_room(bytes, limits, now) {
            return Appended::Full;
        }
        let seq = self.next(seen, now);
        if replaces {
            self.pending.remove(&entry.key);
        }
        self.pending.entry(entry.key.clone()).or_default().push(seq);
        self.bytes += bytes;
        self.entries.insert(seq, entry);
        Appended::At { seq, boundary: self.boundary, writes: self.entries.len() as u64 }
    }

    /// Forgets what the store has, and gives out what is due.
    ///
    /// One command, so that there is no moment at which a new owner could read past an offset that nothing was settled at.
    pub fn collect(&mut self, collect: Collect, now: Micros) -> Collected {
        let Collect { life, epoch, offset, most, delay } = collect;
        if self.epoch > epoch {
            return Collected::Superseded;
        }
        if self.floor > offset {
            return Collected::Behind(self.floor);
        }
        self.note_life(life);
        let met = self.hand_over(epoch, offset, now);
        self.forget(offset);
        let Some(oldest) = self.entries.keys().next().copied() else { return Collected::Nothing(met) };
        let due = oldest.saturating_add(delay);
        // A number that is ahead of the clock says nothing about how long its write has waited.
        let is_early = oldest <= now && now < due;
        if is_early && self.wanted < oldest && self.entries.len() < most {
            return Collected::Later(met, due - now);
        }
        let batch = self.entries.iter().take(most).map(|(seq, Entry { record, is_doubtful, .. })| Given {
            seq: *seq,
            record: record.clone(),
            is_doubtful: *is_doubtful,
        });
        Collected::Due(met, batch.collect())
    }

    /// How the shard stands, and whether it has kept the write of a `number`; 0 is none. What is there up to `want` is wanted
    /// without delay.
    pub fn look(&mut self, want: Seq, number: Number, now: Micros) -> Standing {
        self.wanted = self.wanted.max(want.min(self.last));
        Standing {
            last: self.last,
            floor: self.floor,
            writes: self.entries.len() as u64,
            bytes: self.bytes,
            age: self.entries.keys().next().map_or(0, |oldest| now.saturating_sub(*oldest)),
            is_kept: self.keeps(number),
        }
    }

    /// Whether what was given a number is here under it, or was.
    ///
    /// `W: 1000 in life 1 · the server comes back with all up to 900 · W': 2000 in life 2, which is stored`: all up to 2000 is
    /// settled, and 1000 is nowhere.
    fn keeps(&self, Number { seq, life }: Number) -> bool {
        let (above, upto) = self.moved;
        let ended = || self.ends.iter().find(|(ended, _)| *ended == life).map(|(_, last)| *last);
        let last = if self.life == Some(life) { Some(self.last) } else { ended() };
        seq == 0 || (last.is_some_and(|last| seq <= last) && !(above < seq && seq <= upto))
    }

    /// What waits for a key and counts for its readers, in its order. `None`: ask again when an owner has met the server.
    ///
    /// `O: commits 9, commits 10, both forgotten by P · P dies, R has 9 waiting and not 10 · reader: 9`.
    pub fn read(&self, life: u32, key: &[u8]) -> Option<Vec<(Seq, Vec<u8>)>> {
        let Some(waiting) = self.pending.get(key) else { return Some(Vec::new()) };
        if !(self.met && self.life == Some(life)) {
            return None;
        }
        let record = |seq: &Seq| Some((*seq, self.entries.get(seq)?.record.clone()));
        Some(waiting.iter().filter_map(record).collect())
    }

    /// A server in another life may have lost the last entries, and goes on from what it has.
    fn note_life(&mut self, life: u32) {
        if self.life == Some(life) {
            return;
        }
        if let Some(ended) = self.life {
            self.ends.retain(|(life, _)| *life != ended);
            self.ends.push((ended, self.last));
            self.ends.drain(..self.ends.len().saturating_sub(LIVES));
        }
        self.boundary = self.last;
        if self.met || self.life.is_none() {
            self.met_upto = self.last;
        }
        (self.life, self.met) = (Some(life), false);
    }

    /// What an owner does that is new here, or meets a server that is: entries which the store seems to have, and cannot
    /// have, get numbers above its offset, and so do all that came after them, or they would change places.
    ///
    /// `O: collects up to 1000 from P, commits · P dies, R has all up to 900, and a clock that is behind · W: appends, gets 950
    /// from R · O: collects from 1000`: 950 would be taken for done. What was added in this life nobody has ever collected. What
    /// was added in a life in which an owner has met the server, is done if the offset says so. In between, in lives that have
    /// come and gone and of which no meeting is known here, an owner may have been or not: that is doubtful.
    fn hand_over(&mut self, epoch: u64, offset: Seq, now: Micros) -> Met {
        let is_new_life = !self.met;
        // An owner that died between its commit and the next collect leaves the last entry of its batch here. Where that is
        // missing, the offset is of another server's numbers.
        let is_foreign = epoch > self.epoch && offset > self.floor && !self.entries.contains_key(&offset);
        (self.epoch, self.met) = (epoch, true);
        let (done, doubtful) = match (is_new_life, is_foreign) {
            (true, _) => (self.met_upto, self.boundary),
            // Somebody who was an owner once may have met the server before its owner did.
            (false, true) => (self.floor.max(self.met_upto), self.floor.max(self.boundary)),
            (false, false) => (offset, offset),
        };
        let lost_its_end = (is_new_life || is_foreign) && self.floor.max(self.boundary) < offset;
        let moved = self.renumber(done, doubtful, offset, now);
        Met { lost_its_end, moved, boundary: self.boundary }
    }

    /// Gives all entries above `done` numbers above `offset`, if any of them has none; those up to `doubtful` are.
    fn renumber(&mut self, done: Seq, doubtful: Seq, offset: Seq, now: Micros) -> u64 {
        let first = done.saturating_add(1);
        if first > offset || self.entries.range(first..=offset).next().is_none() {
            return 0;
        }
        let moved = self.entries.split_off(&first);
        let count = moved.len() as u64;
        self.moved = (done, moved.keys().next_back().copied().unwrap_or(done));
        for (seq, mut entry) in moved {
            let new = self.next(offset, now);
            entry.is_doubtful |= seq <= doubtful.min(offset);
            if self.leave(&entry.key, seq) && !entry.is_doubtful {
                self.pending.entry(entry.key.clone()).or_default().push(new);
            }
            self.entries.insert(new, entry);
        }
        count
    }

    /// The store has all up to `offset`.
    fn forget(&mut self, offset: Seq) {
        let rest = self.entries.split_off(&offset.saturating_add(1));
        for (seq, entry) in std::mem::replace(&mut self.entries, rest) {
            self.bytes -= entry.record.len() as u64;
            self.leave(&entry.key, seq);
        }
        self.floor = self.floor.max(offset);
        self.last = self.last.max(offset);
    }

    /// A write counts for readers no more, if it did. By its number: something newer may wait for the same key.
    fn leave(&mut self, key: &[u8], seq: Seq) -> bool {
        let Some(waiting) = self.pending.get_mut(key) else { return false };
        let before = waiting.len();
        waiting.retain(|other| *other != seq);
        let has_left = waiting.len() < before;
        if waiting.is_empty() {
            self.pending.remove(key);
        }
        has_left
    }

    fn next(&mut self, above: Seq, now: Micros) -> Seq {
        self.last = now.max(self.last.max(above).max(self.floor) + 1);
        self.last
    }

    fn has_room(&self, bytes: u64, limits: Limits, now: Micros) -> bool {
        let Some(oldest) = self.entries.keys().next() else { return true };
        let is_within = |what: u64, most: u64| most == 0 || what <= most;
        is_within(self.entries.len() as u64 + 1, limits.writes)
            && is_within(self.bytes + bytes, limits.bytes)
            && is_within(now.saturating_sub(*oldest), limits.age)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWNER: Collect = Collect { life: 1, epoch: 1, offset: 0, most: 100, delay: 0 };

    fn append(shard: &mut StreamShard, key: &str, record: &str, now: Micros) -> Seq {
        append_as(shard, 1, true, key, record, now)
    }

    fn append_as(
        shard: &mut StreamShard,
        life: u32,
        replaces: bool,
        key: &str,
        record: &str,
        now: Micros,
    ) -> Seq {
        let entry = Entry { key: key.into(), record: record.into(), is_doubtful: false };
        match shard.append(Append { life, seen: 0, replaces, entry, limits: Limits::default() }, now) {
            Appended::At { seq, .. } => seq,
            Appended::Full => panic!("there is no limit"),
        }
    }

    fn due(collected: Collected) -> Vec<(Seq, String)> {
        match collected {
            Collected::Due(_, batch) => {
                let text = |Given { seq, record, is_doubtful }| {
                    assert!(!is_doubtful, "{seq}");
                    (seq, String::from_utf8(record).expect("text"))
                };
                batch.into_iter().map(text).collect()
            }
            Collected::Nothing(_) => Vec::new(),
            other => panic!("{other:?}"),
        }
    }

    fn met(collected: &Collected) -> Met {
        match collected {
            Collected::Nothing(met) | Collected::Later(met, _) | Collected::Due(met, _) => *met,
            other => panic!("{other:?}"),
        }
    }

    fn read(shard: &StreamShard, key: &str) -> Vec<String> {
        let life = shard.life.unwrap_or_default();
        let records =
            shard.read(life, key.as_bytes()).expect("it is met").into_iter().map(|(_, record)| record);
        records.map(|record| String::from_utf8(record).expect("text")).collect()
    }

    #[test]
    fn numbers_are_times_and_always_grow() {
        let mut shard = StreamShard::default();
        assert_eq!([100, 100, 90, 200].map(|now| append(&mut shard, "a", "x", now)), [100, 101, 102, 200]);
    }

    #[test]
    fn readers_see_the_last_write_and_what_was_merged_into_it() {
        let mut shard = StreamShard::default();
        append(&mut shard, "a", "one", 1);
        append(&mut shard, "a", "two", 2);
        append_as(&mut shard, 1, false, "a", "+3", 3);
        append(&mut shard, "b", "other", 4);
        assert_eq!(shard.read(1, b"a"), None, "no owner has been here");
        assert_eq!(due(shard.collect(OWNER, 5)).len(), 4, "the store gets all");
        assert_eq!(read(&shard, "a"), ["two", "+3"]);
        _ = shard.collect(Collect { offset: 2, ..OWNER }, 6);
        assert_eq!(read(&shard, "a"), ["+3"]);
        _ = shard.collect(Collect { offset: 4, ..OWNER }, 7);
        assert_eq!((read(&shard, "a").len(), shard.pending.len(), shard.bytes), (0, 0, 0));
    }

    #[test]
    fn a_batch_waits_for_its_delay_its_size_or_somebodys_wish() {
        let mut shard = StreamShard::default();
        append(&mut shard, "a", "x", 100);
        let patient = Collect { delay: 50, most: 2, ..OWNER };
        assert!(matches!(shard.collect(patient, 120), Collected::Later(_, 30)));
        assert_eq!(due(shard.clone().collect(patient, 150)).len(), 1);
        let mut wanted = shard.clone();
        assert_eq!(wanted.look(Seq::MAX, Number::default(), 120).age, 20);
        assert_eq!(due(wanted.collect(patient, 121)).len(), 1);
        append(&mut wanted, "b", "y", 122);
        _ = wanted.collect(Collect { offset: 100, ..patient }, 123);
        assert!(matches!(wanted.collect(Collect { offset: 100, ..patient }, 124), Collected::Later(..)));
        append(&mut shard, "b", "y", 121);
        append(&mut shard, "c", "z", 122);
        assert_eq!(due(shard.collect(patient, 123)).len(), 2, "no more than asked for");
    }

    #[test]
    fn it_is_bounded_and_one_write_always_has_room() {
        let mut shard = StreamShard::default();
        let limits = Limits { writes: 2, bytes: 10, age: 50 };
        let mut try_append = |record: &str, now| {
            let entry = Entry { key: b"a".to_vec(), record: record.into(), is_doubtful: false };
            shard.append(Append { life: 1, seen: 0, replaces: true, entry, limits }, now) != Appended::Full
        };
        assert!(try_append("much more than ten bytes", 100), "alone");
        assert!(!try_append("x", 101), "bytes");
        _ = shard.collect(OWNER, 102);
        _ = shard.collect(Collect { offset: 100, ..OWNER }, 102);
        let mut try_append = |record: &str, now| {
            let entry = Entry { key: b"a".to_vec(), record: record.into(), is_doubtful: false };
            shard.append(Append { life: 1, seen: 0, replaces: true, entry, limits }, now) != Appended::Full
        };
        assert!(try_append("x", 110) && try_append("x", 111));
        assert!(!try_append("x", 112), "writes");
        _ = shard.collect(Collect { offset: 110, ..OWNER }, 113);
        let entry = Entry { key: b"a".to_vec(), record: b"x".to_vec(), is_doubtful: false };
        let old = Append { life: 1, seen: 0, replaces: true, entry, limits };
        assert_eq!(shard.append(old, 162), Appended::Full, "age");
    }

    #[test]
    fn who_was_an_owner_once_is_told() {
        let mut shard = StreamShard::default();
        append(&mut shard, "a", "x", 100);
        _ = shard.collect(Collect { epoch: 2, ..OWNER }, 101);
        assert_eq!(shard.collect(OWNER, 102), Collected::Superseded);
    }

    #[test]
    fn a_store_that_has_lost_what_was_forgotten_is_told() {
        let mut shard = StreamShard::default();
        append(&mut shard, "a", "x", 100);
        _ = shard.collect(Collect { offset: 100, ..OWNER }, 101);
        assert_eq!(shard.collect(Collect { epoch: 2, offset: 40, ..OWNER }, 102), Collected::Behind(100));
    }

    /// The owner has committed up to 1000 from a server of which the next one knows up to 900.
    fn after_a_fail_over() -> StreamShard {
        let mut shard = StreamShard::default();
        append(&mut shard, "done", "x", 800);
        append(&mut shard, "done", "y", 900);
        _ = shard.collect(OWNER, 901);
        shard
    }

    #[test]
    fn a_server_that_has_lost_its_end_is_noticed_and_what_it_has_of_it_is_not_done_twice() {
        let mut shard = after_a_fail_over();
        let collected = shard.collect(Collect { life: 2, offset: 1_000, ..OWNER }, 1_100);
        assert_eq!(met(&collected), Met { lost_its_end: true, moved: 0, boundary: 900 });
        assert_eq!(due(collected), []);
        assert!(append_as(&mut shard, 2, true, "a", "x", 950) > 1_000, "even with a clock that is behind");
    }

    #[test]
    fn what_a_slow_clock_has_numbered_too_low_is_not_passed_over() {
        let mut shard = after_a_fail_over();
        append_as(&mut shard, 2, true, "a", "first", 950);
        append_as(&mut shard, 2, true, "a", "second", 1_001);
        let collected = shard.collect(Collect { life: 2, offset: 1_000, ..OWNER }, 1_002);
        assert_eq!(met(&collected).moved, 2);
        assert_eq!(read(&shard, "a"), ["second"]);
        let batch = due(collected);
        assert!(batch[0].0 > 1_000 && batch[0].1 == "first" && batch[1].1 == "second", "{batch:?}");
        _ = shard.collect(Collect { life: 2, offset: batch[1].0, ..OWNER }, 1_003);
        assert_eq!((shard.entries.len(), shard.pending.len()), (0, 0));
    }

    #[test]
    fn nothing_is_read_from_a_server_that_may_know_less_than_the_store() {
        let mut shard = after_a_fail_over();
        assert_eq!(shard.read(2, b"done"), None);
        append_as(&mut shard, 2, true, "a", "x", 1_001);
        assert_eq!(shard.read(2, b"done"), None);
        assert_eq!(
            shard.read(2, b"other"),
            Some(Vec::new()),
            "nothing of it can be older than what the store has"
        );
        _ = shard.collect(Collect { life: 2, offset: 1_000, ..OWNER }, 1_002);
        assert_eq!(shard.read(2, b"done"), Some(Vec::new()));
        assert_eq!(StreamShard::default().read(2, b"done"), Some(Vec::new()), "nothing was ever there");
    }

    #[test]
    fn what_was_added_in_a_life_of_which_nobody_knows_whether_an_owner_met_it_is_doubtful() {
        let mut shard = after_a_fail_over();
        append_as(&mut shard, 2, true, "a", "first", 950);
        append_as(&mut shard, 3, true, "a", "second", 951);
        let Collected::Due(met, batch) = shard.collect(Collect { life: 3, offset: 1_000, ..OWNER }, 1_002)
        else {
            panic!("two are due");
        };
        assert_eq!(met.moved, 2);
        let doubts: Vec<_> = batch.iter().map(|given| given.is_doubtful).collect();
        assert_eq!(doubts, [true, false]);
        assert_eq!(read(&shard, "a"), ["second"]);
    }

    #[test]
    fn what_was_done_before_is_not_done_again_when_a_superseded_owner_comes_first() {
        let mut shard = StreamShard::default();
        append(&mut shard, "a", "x", 100);
        _ = shard.collect(OWNER, 101);
        // Up to 110 is done by now, elsewhere; the owner of epoch 1 does not know that there is one of epoch 2.
        _ = shard.collect(Collect { life: 2, epoch: 1, ..OWNER }, 120);
        let collected = shard.collect(Collect { life: 2, epoch: 2, offset: 110, ..OWNER }, 121);
        assert_eq!((met(&collected).moved, due(collected)), (0, Vec::new()));
    }

    #[test]
    fn what_a_dead_owner_has_committed_is_not_taken_for_new() {
        let mut shard = StreamShard::default();
        append(&mut shard, "a", "x", 100);
        append(&mut shard, "a", "y", 110);
        _ = shard.collect(OWNER, 111);
        append(&mut shard, "b", "z", 112);
        let collected = shard.collect(Collect { epoch: 2, offset: 110, ..OWNER }, 120);
        assert_eq!(met(&collected), Met { lost_its_end: false, moved: 0, boundary: 0 });
        assert_eq!(due(collected), [(112, "z".to_owned())]);
    }

    #[test]
    fn the_offset_of_another_servers_numbers_passes_nothing_over() {
        let mut shard = StreamShard::default();
        _ = shard.collect(OWNER, 50);
        append(&mut shard, "a", "x", 100);
        let collected = shard.collect(Collect { epoch: 2, offset: 500, ..OWNER }, 120);
        assert!(met(&collected).lost_its_end && met(&collected).moved == 1);
        assert_eq!(due(collected), [(501, "x".to_owned())]);
    }

    #[test]
    fn what_a_server_has_lost_it_does_not_take_for_its_own() {
        let mut shard = after_a_fail_over();
        append_as(&mut shard, 2, true, "a", "x", 2_000);
        let mut keeps = |seq, life| shard.look(0, Number { seq, life }, 2_001).is_kept;
        assert!(keeps(900, 1) && keeps(2_000, 2), "what it has");
        assert!(!keeps(1_000, 1) && !keeps(2_000, 1), "what it does not have of an earlier life");
        assert!(!keeps(900, 7), "a life that it does not know");
    }

    #[test]
    fn what_was_given_another_number_is_not_kept_under_the_first() {
        let mut shard = after_a_fail_over();
        append_as(&mut shard, 2, true, "a", "x", 950);
        let mut later = shard.clone();
        _ = later.collect(Collect { life: 2, offset: 1_000, ..OWNER }, 1_002);
        let keeps = |shard: &mut StreamShard| shard.look(0, Number { seq: 950, life: 2 }, 1_003).is_kept;
        assert!(keeps(&mut shard) && !keeps(&mut later));
    }
}
