//! The server of the journal: `larder::stream::StreamShard`, the copy that would take over from it, and its clock.

use larder::store::Seq;
use larder::stream::{self, Append, Appended, Collect, Collected, Entry, Limits, Met, StreamShard};

use crate::row::{Clock, Lack, Row};

/// All writes are of one key.
const KEY: &[u8] = b"key";

/// How many entries an owner takes at once.
const MOST: usize = 2;

#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct Server {
    pub(crate) shard: StreamShard,
    pub(crate) life: u32,
    /// What another server has of it, in case.
    pub(crate) replica: Option<StreamShard>,
    /// The largest number that any server has given.
    highest: Seq,
    /// Without an owner: what was given out, and to whom.
    given: Vec<(Seq, usize)>,
}

/// What an owner is told.
pub(crate) enum Given {
    Superseded,
    Behind,
    Nothing(Met),
    Due(Met, Vec<(Seq, Operation)>),
}

/// What an owner is given of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Operation {
    pub(crate) write: u8,
    /// It is put aside.
    pub(crate) is_doubtful: bool,
}

impl Server {
    pub(crate) fn new(row: &Row) -> Self {
        let replica = (row.misfortunes.fail_overs > 0).then(StreamShard::default);
        Self { shard: StreamShard::default(), life: 1, replica, highest: 0, given: Vec::new() }
    }

    /// The time, as far as it matters for numbers.
    fn now(&self, row: &Row) -> Seq {
        let is_right = match row.clock {
            Clock::Right => true,
            Clock::Behind => self.life == 1,
            Clock::None => false,
        };
        if is_right { self.highest + 1 } else { 0 }
    }

    pub(crate) fn append(&mut self, row: &Row, write: u8, replaces: bool) -> Seq {
        let entry = Entry { key: KEY.to_vec(), record: vec![write], is_doubtful: false };
        let life = if row.lacks(Lack::LifeOfTheServer) { 1 } else { self.life };
        let append = Append { life, seen: 0, replaces, entry, limits: Limits::default() };
        let now = self.now(row);
        self.forget_the_fail_over(row, None);
        let Appended::At { seq, .. } = self.shard.append(append, now) else {
            unreachable!("there is no limit")
        };
        self.highest = self.highest.max(seq);
        self.forget_earlier_lives();
        seq
    }

    /// Where they ended matters to those who ask what became of a write, of whom there are none here.
    fn forget_earlier_lives(&mut self) {
        self.shard.ends.clear();
        self.shard.moved = (0, 0);
    }

    pub(crate) fn collect(&mut self, row: &Row, epoch: u64, offset: Seq) -> Given {
        if row.lacks(Lack::EpochAtTheServer) {
            self.shard.epoch = self.shard.epoch.min(epoch);
        }
        self.forget_the_fail_over(row, Some(epoch));
        let before = self.shard.entries.len();
        let now = self.now(row);
        let collect = Collect { life: self.life, epoch, offset, most: MOST, delay: 0 };
        let collected = self.shard.collect(collect, now);
        self.forget_earlier_lives();
        self.highest = self.highest.max(self.shard.last);
        if row.lacks(Lack::OverlayByNumber) && self.shard.entries.len() < before {
            self.shard.pending.clear();
        }
        match collected {
            Collected::Superseded => Given::Superseded,
            Collected::Behind(_) => Given::Behind,
            Collected::Nothing(met) => Given::Nothing(met),
            Collected::Later(..) => unreachable!("there is no delay"),
            Collected::Due(met, batch) => {
                if row.lacks(Lack::OverlayUntilTheCommit) {
                    batch.iter().for_each(|given| self.drop_from_overlay(given.seq));
                }
                let operation = |given: &stream::Given| Operation {
                    write: given.record[0],
                    is_doubtful: given.is_doubtful,
                };
                Given::Due(met, batch.iter().map(|given| (given.seq, operation(given))).collect())
            }
        }
    }

    /// What waits, in its order; `None`: an owner has to meet the server first.
    pub(crate) fn read(&self, row: &Row) -> Option<Vec<(Seq, u8)>> {
        let life = if row.lacks(Lack::ReadersWait) { self.shard.life.unwrap_or(0) } else { self.life };
        let shard = StreamShard { met: self.shard.met || row.lacks(Lack::ReadersWait), ..self.shard.clone() };
        Some(shard.read(life, KEY)?.into_iter().map(|(seq, record)| (seq, record[0])).collect())
    }

    /// Whether it has a write, and does not know whether the store has it.
    pub(crate) fn doubts(&self, write: u8) -> bool {
        self.shard.entries.values().any(|entry| entry.is_doubtful && entry.record[0] == write)
    }

    /// Which writes it has, in their order.
    pub(crate) fn writes(shard: &StreamShard) -> Vec<u8> {
        shard.entries.values().map(|entry| entry.record[0]).collect()
    }

    pub(crate) fn replicate(&mut self) {
        self.replica = self.replica.is_some().then(|| self.shard.clone());
    }

    /// The copy takes over, and has another copy, that is no newer.
    pub(crate) fn fail_over(&mut self) {
        if let Some(replica) = &self.replica {
            self.shard = replica.clone();
            self.life += 1;
        }
    }

    /// Without an owner: what was given to nobody yet.
    pub(crate) fn give(&mut self, to: usize) -> Vec<(Seq, Operation)> {
        let is_free = |seq: &Seq| !self.given.iter().any(|(given, _)| given == seq);
        let free = self.shard.entries.iter().filter(|(seq, _)| is_free(seq));
        let batch: Vec<_> = free
            .take(MOST)
            .map(|(seq, entry)| (*seq, Operation { write: entry.record[0], is_doubtful: false }))
            .collect();
        self.given.extend(batch.iter().map(|(seq, _)| (*seq, to)));
        batch
    }

    /// Without an owner: it is done, whoever had it.
    pub(crate) fn acknowledge(&mut self, upto: Seq, by: usize) {
        let done: Vec<_> = self.given.iter().filter(|(seq, to)| *to == by && *seq <= upto).copied().collect();
        for (seq, _) in done {
            self.shard.entries.remove(&seq);
            self.drop_from_overlay(seq);
        }
        self.given.retain(|(seq, _)| self.shard.entries.contains_key(seq));
        self.shard.bytes = self.shard.entries.len() as u64;
    }

    /// Without an owner: somebody has taken too long, and what he has is given to others.
    pub(crate) fn take_back(&mut self, from: usize) -> bool {
        let before = self.given.len();
        self.given.retain(|(_, to)| *to != from);
        self.given.len() < before
    }

    fn drop_from_overlay(&mut self, seq: Seq) {
        if let Some(waiting) = self.shard.pending.get_mut(KEY) {
            waiting.retain(|other| *other != seq);
        }
        self.shard.pending.retain(|_, waiting| !waiting.is_empty());
    }

    fn forget_the_fail_over(&mut self, row: &Row, epoch: Option<u64>) {
        if row.lacks(Lack::HandOver) {
            self.shard.life = Some(self.life);
            self.shard.met = true;
            self.shard.epoch = self.shard.epoch.max(epoch.unwrap_or(0));
        }
    }
}
