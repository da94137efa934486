//! A log on a disk that loses power: at every boundary of random work, with every kind of leftover, all that was
//! acknowledged is there, nothing counts as settled that is not, and no dead letter is lost.

#![cfg(feature = "testing")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::time::Instant;

use fastrand::Rng;
use larder::journal::disk::Disk;
use larder::journal::fault::{Doing, Fault};
use larder::journal::letters::Letters;
use larder::journal::payload::{self, Payload};
use larder::journal::record::{self, HEADER, OVERHEAD, Record};
use larder::journal::segments::{Recovered, Segments};
use larder::journal::simulated::{Moment, SimulatedDisk, Trouble};
use larder::store::{DeadLetter, JournalId, ShardId};

/// Small, so that a few records fill one.
const SEGMENT: u64 = 200;
const MARK: &str = "settled";
const STEPS: usize = 40;
const WORKLOADS: u64 = 500;
const LETTER_WORKLOADS: u64 = 40;
const FLIPPED_LOGS: u64 = 300;
const FLIPS: usize = 40;

const TROUBLES: [Trouble; 5] = [
    Trouble::NoSpace,
    Trouble::FailedWrite,
    Trouble::FailedSync,
    Trouble::FailedDirectorySync,
    Trouble::FailedChange,
];

/// What a log needs of its disk or does with it, and what these tests must see the lack of.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Guard {
    DirectorySync,
    SyncBeforeAnswer,
    NoSecondSync,
    SearchBehindTheEnd,
    NewestWrittenAnew,
    MarkOfWhatIsSettled,
}

/// A disk through which a log loses a guard.
#[derive(Clone)]
struct Seen {
    disk: SimulatedDisk,
    without: Option<Guard>,
}

impl Seen {
    fn lacks(&self, guard: Guard) -> bool {
        self.without == Some(guard)
    }
}

impl Disk for Seen {
    fn list(&self) -> io::Result<Vec<String>> {
        self.disk.list()
    }

    fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        let bytes = self.disk.read(name)?;
        let is_newest = self.list()?.iter().all(|other| **other <= *name || !other.ends_with(".segment"));
        let cut = self.lacks(Guard::SearchBehindTheEnd) && is_newest;
        Ok(if cut { up_to_the_first_invalid(bytes) } else { bytes })
    }

    fn create(&mut self, name: &str) -> io::Result<()> {
        self.disk.create(name)
    }

    fn append(&mut self, name: &str, bytes: &[u8]) -> io::Result<()> {
        self.disk.append(name, bytes)
    }

    fn sync(&mut self, name: &str) -> io::Result<()> {
        match self.without {
            Some(Guard::SyncBeforeAnswer) => Ok(()),
            Some(Guard::NoSecondSync) => self.disk.sync(name).or_else(|_| self.disk.sync(name)),
            _ => self.disk.sync(name),
        }
    }

    fn sync_directory(&mut self) -> io::Result<()> {
        if self.lacks(Guard::DirectorySync) { Ok(()) } else { self.disk.sync_directory() }
    }

    fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        let is_rewrite = self.list()?.iter().any(|name| name == to);
        if self.lacks(Guard::NewestWrittenAnew)
            && is_rewrite
            && self.disk.read(from)? == self.disk.read(to)?
        {
            return self.disk.remove(from);
        }
        self.disk.rename(from, to)
    }

    fn remove(&mut self, name: &str) -> io::Result<()> {
        self.disk.remove(name)
    }
}

fn up_to_the_first_invalid(mut bytes: Vec<u8>) -> Vec<u8> {
    let log = JournalId::from_bytes(bytes[20..36].try_into().unwrap());
    let mut end = HEADER;
    while let Some((_, payload)) = bytes.get(end..).and_then(|rest| record::decode(log, rest)) {
        end += OVERHEAD + payload.len();
    }
    bytes.truncate(end);
    bytes
}

/// What a log has been given, and has said of it.
#[derive(Clone, Default)]
struct Promise {
    /// All records that can be there.
    appended: BTreeMap<u64, Vec<u8>>,
    /// Up to here they must be.
    acknowledged: u64,
    /// Up to here they need not be.
    trimmed: u64,
    /// Up to here they have been settled.
    settled: u64,
}

impl Promise {
    fn next(&self) -> u64 {
        self.appended.last_key_value().map_or(1, |(last, _)| last + 1)
    }

    fn is_kept_by(&self, records: &[Record], recovered: &Recovered) -> Result<(), String> {
        let end = recovered.first + records.len() as u64;
        if recovered.first > self.trimmed + 1 {
            return Err(format!("begins at {}, trimmed up to {}", recovered.first, self.trimmed));
        }
        if end <= self.acknowledged {
            return Err(format!("ends before {end}, acknowledged up to {}", self.acknowledged));
        }
        if recovered.settled > self.settled || recovered.settled + 1 < recovered.first {
            return Err(format!("settled up to {}, and found {}", self.settled, recovered.settled));
        }
        for (due, record) in (recovered.first..).zip(records) {
            if record.sequence != due {
                return Err(format!("record {} stands where {due} is due", record.sequence));
            }
            if self.appended.get(&due) != Some(&record.payload) {
                return Err(format!("record {due} is not what was appended"));
            }
            payload::decode(&record.payload).map_err(|wrong| format!("record {due}: {wrong}"))?;
        }
        Ok(())
    }

    /// What a log was opened with is durable, and the rest of what was appended never was.
    fn is_renewed_by(&mut self, records: &[Record], recovered: &Recovered) {
        let end = recovered.first + records.len() as u64;
        self.appended.split_off(&end);
        self.acknowledged = end - 1;
    }
}

/// What has happened.
#[derive(Clone, Copy, Debug, Default)]
struct Marks {
    crash_points: u64,
    torn_tails: u64,
    lost_tails: u64,
    lost_entries: u64,
    restarts: u64,
    later_segments: u64,
    found_marks: u64,
    torn_marks: u64,
    no_space: u64,
    failed_writes: u64,
    failed_syncs: u64,
    failed_directory_syncs: u64,
    failed_changes: u64,
    failed_openings: u64,
}

struct Workload {
    disk: SimulatedDisk,
    log: Option<Segments<Seen>>,
    promise: Promise,
    random: Rng,
    without: Option<Guard>,
    marks: Marks,
}

impl Workload {
    fn new(seed: u64, without: Option<Guard>) -> Self {
        let (disk, promise) = (SimulatedDisk::new(seed), Promise::default());
        Self { disk, log: None, promise, random: Rng::with_seed(seed), without, marks: Marks::default() }
    }

    fn run(mut self) -> Result<Marks, String> {
        for _ in 0..STEPS {
            let acknowledged = self.promise.acknowledged;
            self.step()?;
            let mut moments = self.disk.moments();
            let now = moments.pop();
            // Until a call has answered, it has promised nothing.
            let after = std::mem::replace(&mut self.promise.acknowledged, acknowledged);
            moments.iter().try_for_each(|moment| self.loses_nothing_at(moment))?;
            self.promise.acknowledged = after;
            now.iter().try_for_each(|now| self.loses_nothing_at(now))?;
        }
        Ok(self.marks)
    }

    fn step(&mut self) -> Result<(), String> {
        if self.random.u8(0..12) == 0 {
            let trouble = TROUBLES[self.random.usize(..TROUBLES.len())];
            self.disk.expect(trouble, self.random.u32(0..4));
        }
        let Some(mut log) = self.log.take() else { return self.open() };
        let done = match self.random.u8(0..12) {
            0..5 => self.append(&mut log),
            5..8 => self.sync(&mut log),
            8 => self.trim(&mut log),
            9 => {
                self.settle(&mut log);
                Ok(())
            }
            10 => {
                self.marks.restarts += 1;
                return Ok(());
            }
            _ => {
                self.lose_power();
                return Ok(());
            }
        };
        match done {
            Ok(()) => self.log = Some(log),
            Err(fault) => self.has_ended(log, &fault)?,
        }
        Ok(())
    }

    fn seen(&self, disk: &SimulatedDisk) -> Seen {
        Seen { disk: disk.clone(), without: self.without }
    }

    fn open(&mut self) -> Result<(), String> {
        match Segments::open(self.seen(&self.disk), SEGMENT) {
            Ok((log, records, recovered)) => {
                self.promise.is_kept_by(&records, &recovered)?;
                self.promise.is_renewed_by(&records, &recovered);
                self.log = Some(log);
                Ok(())
            }
            Err(fault @ Fault::Disk { .. }) => {
                self.marks.failed_openings += 1;
                self.count(&fault);
                Ok(())
            }
            Err(fault) => Err(fault.to_string()),
        }
    }

    fn append(&mut self, log: &mut Segments<Seen>) -> Result<(), Fault> {
        let payloads: Vec<Vec<u8>> = (0..self.random.usize(0..4)).map(|_| self.payload()).collect();
        let next = self.promise.next();
        self.promise.appended.extend((next..).zip(payloads.iter().cloned()));
        assert_eq!(log.append(&payloads)?, next);
        Ok(())
    }

    fn payload(&mut self) -> Vec<u8> {
        let mut value = vec![0; self.random.usize(0..40)];
        self.random.fill(&mut value);
        let key = self.random.u16(..).to_string();
        let value = self.random.bool().then_some(&value[..]);
        payload::encode(&Payload {
            codec: 1,
            schema: 0,
            accepted: 7,
            key: key.as_bytes(),
            value,
            is_merge: false,
        })
    }

    fn sync(&mut self, log: &mut Segments<Seen>) -> Result<(), Fault> {
        log.sync()?;
        self.promise.acknowledged = self.promise.next() - 1;
        assert_eq!(log.durable(), self.promise.acknowledged);
        Ok(())
    }

    fn trim(&mut self, log: &mut Segments<Seen>) -> Result<(), Fault> {
        let upto = self.random.u64(0..=self.promise.acknowledged);
        self.promise.trimmed = self.promise.trimmed.max(upto);
        self.promise.settled = self.promise.settled.max(upto);
        log.trim(upto)
    }

    /// A mark that fails ends nothing.
    fn settle(&mut self, log: &mut Segments<Seen>) {
        let upto = self.random.u64(self.promise.settled..=self.promise.acknowledged);
        self.promise.settled = upto;
        let lacks_bounds = self.without == Some(Guard::MarkOfWhatIsSettled);
        let _ = log.mark(if lacks_bounds { upto + 1 } else { upto });
    }

    /// Every later call answers as the one that failed.
    fn has_ended(&mut self, mut log: Segments<Seen>, fault: &Fault) -> Result<(), String> {
        self.count(fault);
        let later = [log.sync(), log.append(&[b"more"]).map(drop), log.trim(1), log.begin_segment()];
        if later.iter().all(|answer| answer.as_ref() == Err(fault)) {
            Ok(())
        } else {
            Err(format!("{fault}, and then {later:?}"))
        }
    }

    fn count(&mut self, fault: &Fault) {
        let marks = &mut self.marks;
        let Fault::Disk { doing, kind, .. } = fault else { return };
        *match (doing, kind) {
            (_, io::ErrorKind::StorageFull) => &mut marks.no_space,
            (Doing::Append, _) => &mut marks.failed_writes,
            (Doing::Sync, _) => &mut marks.failed_syncs,
            (Doing::SyncDirectory, _) => &mut marks.failed_directory_syncs,
            _ => &mut marks.failed_changes,
        } += 1;
    }

    /// The work goes on with what a power loss has left.
    fn lose_power(&mut self) {
        let moments = self.disk.moments();
        let Some(now) = moments.last() else { return };
        (self.disk, _) = now.power_loss(&mut self.random);
    }

    /// A power loss at `moment`; then a record more, and a power loss again.
    fn loses_nothing_at(&mut self, moment: &Moment) -> Result<(), String> {
        let (found, lost) = moment.power_loss(&mut self.random);
        let opened = Segments::open(self.seen(&found), SEGMENT);
        let (mut log, records, recovered) = opened.map_err(|fault| fault.to_string())?;
        self.promise.is_kept_by(&records, &recovered)?;
        self.marks.crash_points += 1;
        self.marks.torn_tails += u64::from(recovered.cut > 0);
        self.marks.lost_tails += u64::from(lost.tails > 0);
        self.marks.lost_entries += u64::from(lost.entries > 0);
        self.marks.later_segments += u64::from(recovered.first > 1);
        let has_mark = found.list().map_err(|error| error.to_string())?.iter().any(|name| name == MARK);
        let is_found = recovered.settled + 1 > recovered.first;
        self.marks.found_marks += u64::from(is_found);
        self.marks.torn_marks +=
            u64::from(has_mark && !is_found && self.promise.settled > self.promise.trimmed);

        let mut promise = self.promise.clone();
        promise.is_renewed_by(&records, &recovered);
        promise.appended.insert(recovered.first + records.len() as u64, one_more());
        let appended = log.append(&[one_more()]).and_then(|at| log.sync().map(|()| at));
        promise.acknowledged = appended.map_err(|fault| fault.to_string())?;
        let Some((again, _)) = found.moments().last().map(|now| now.power_loss(&mut self.random)) else {
            return Ok(());
        };
        let (_, records, recovered) =
            Segments::open(self.seen(&again), SEGMENT).map_err(|fault| fault.to_string())?;
        promise.is_kept_by(&records, &recovered)
    }
}

fn one_more() -> Vec<u8> {
    payload::encode(&Payload {
        codec: 1,
        schema: 0,
        accepted: 7,
        key: b"one more",
        value: None,
        is_merge: false,
    })
}

fn crashes(without: Option<Guard>, workloads: u64) -> Result<Marks, String> {
    let mut all = Marks::default();
    for seed in 0..workloads {
        let marks =
            Workload::new(seed, without).run().map_err(|broken| format!("workload {seed}: {broken}"))?;
        all.crash_points += marks.crash_points;
        all.torn_tails += marks.torn_tails;
        all.lost_tails += marks.lost_tails;
        all.lost_entries += marks.lost_entries;
        all.restarts += marks.restarts;
        all.later_segments += marks.later_segments;
        all.found_marks += marks.found_marks;
        all.torn_marks += marks.torn_marks;
        all.no_space += marks.no_space;
        all.failed_writes += marks.failed_writes;
        all.failed_syncs += marks.failed_syncs;
        all.failed_directory_syncs += marks.failed_directory_syncs;
        all.failed_changes += marks.failed_changes;
        all.failed_openings += marks.failed_openings;
    }
    Ok(all)
}

#[test]
fn nothing_acknowledged_is_lost_at_any_crash_point() {
    let begun = Instant::now();
    let marks = crashes(None, WORKLOADS).unwrap();
    println!("{marks:?} in {:?}", begun.elapsed());
    assert!(marks.crash_points >= 50_000, "{marks:?}");
    for (mark, least) in [
        (marks.torn_tails, 1000),
        (marks.lost_tails, 1000),
        (marks.lost_entries, 1000),
        (marks.restarts, 100),
        (marks.later_segments, 1000),
        (marks.found_marks, 1000),
        (marks.torn_marks, 100),
        (marks.no_space, 20),
        (marks.failed_writes, 20),
        (marks.failed_syncs, 20),
        (marks.failed_directory_syncs, 20),
        (marks.failed_changes, 20),
        (marks.failed_openings, 20),
    ] {
        assert!(mark >= least, "something that must happen hardly did: {marks:?}");
    }
}

/// Each guard is needed, and each of these would find it gone.
#[test]
fn without_a_guard_something_is_lost() {
    for guard in [
        Guard::DirectorySync,
        Guard::SyncBeforeAnswer,
        Guard::NoSecondSync,
        Guard::NewestWrittenAnew,
        Guard::MarkOfWhatIsSettled,
    ] {
        let broken = crashes(Some(guard), WORKLOADS).expect_err(&format!("without {guard:?} all seems well"));
        println!("without {guard:?}: {broken}");
    }
}

#[derive(Debug, Default)]
struct Flips {
    refused: u64,
    cut: u64,
}

/// Flips one bit of a log that is whole on the disk, many times over.
fn flips(without: Option<Guard>) -> Result<Flips, String> {
    let mut flips = Flips::default();
    for seed in 0..FLIPPED_LOGS {
        let mut random = Rng::with_seed(seed);
        let (whole, records) = whole_log(&mut random);
        for _ in 0..FLIPS {
            let (disk, _) = whole.power_loss(&mut random);
            let Some((file, at)) = disk.flip_a_bit(&mut random) else { continue };
            let cut_allowed = is_in_the_last_record(&disk, &file, at, records.last());
            match Segments::open(Seen { disk, without }, SEGMENT) {
                Ok((_, found, _)) if cut_allowed && records.starts_with(&found) => flips.cut += 1,
                Err(Fault::Corrupt(place)) if place.segment == file && place.offset <= at as u64 => {
                    flips.refused += 1;
                }
                Ok((_, found, _)) => {
                    return Err(format!(
                        "log {seed}, {file} byte {at}: {} of {}",
                        found.len(),
                        records.len()
                    ));
                }
                Err(fault) => return Err(format!("log {seed}, {file} byte {at}: {fault}")),
            }
        }
    }
    Ok(flips)
}

fn whole_log(random: &mut Rng) -> (Moment, Vec<Record>) {
    let disk = SimulatedDisk::new(random.u64(..));
    let (mut log, ..) = Segments::open(disk.clone(), SEGMENT).unwrap();
    let payloads: Vec<Vec<u8>> =
        (0..random.usize(1..12)).map(|_| vec![random.u8(..); random.usize(0..60)]).collect();
    log.append(&payloads).unwrap();
    log.sync().unwrap();
    log.trim(random.u64(0..6)).unwrap();
    let now = disk.moments().pop().unwrap();
    (now, Segments::open(disk, SEGMENT).unwrap().1)
}

/// Whether nothing valid comes after byte `at` of `file`: nobody can tell that from a torn write.
fn is_in_the_last_record(disk: &SimulatedDisk, file: &str, at: usize, last: Option<&Record>) -> bool {
    let is_newest = disk.list().unwrap().iter().max().is_some_and(|newest| newest == file);
    let length = last.map_or(0, |last| OVERHEAD + last.payload.len());
    is_newest && at >= disk.read(file).unwrap().len() - length
}

#[test]
fn a_flipped_bit_is_refused_or_cut_off() {
    let flips = flips(None).unwrap();
    println!("{flips:?}");
    assert!(flips.refused >= 5000 && flips.cut >= 500, "{flips:?}");
}

#[test]
fn without_a_search_behind_the_end_a_flipped_bit_loses_records() {
    println!("{}", flips(Some(Guard::SearchBehindTheEnd)).unwrap_err());
}

/// Dead letters under random work. What is answered must be there, what was asked for may be.
struct LetterWork {
    disk: SimulatedDisk,
    letters: Option<Letters<Seen>>,
    must: BTreeSet<u64>,
    may: BTreeSet<u64>,
    random: Rng,
    without: Option<Guard>,
    crash_points: u64,
}

const JOURNAL: JournalId = JournalId::from_bytes([7; 16]);

fn letter(seq: u64) -> DeadLetter {
    DeadLetter::new(ShardId::new(JOURNAL, 0), seq, std::time::UNIX_EPOCH, "never", vec![7; seq as usize % 40])
}

impl LetterWork {
    fn new(seed: u64, without: Option<Guard>) -> Self {
        let (disk, random) = (SimulatedDisk::new(seed), Rng::with_seed(seed));
        let (must, may) = (BTreeSet::new(), BTreeSet::new());
        Self { disk, letters: None, must, may, random, without, crash_points: 0 }
    }

    fn run(mut self) -> Result<u64, String> {
        for _ in 0..STEPS {
            let before = (self.must.clone(), self.may.clone());
            self.step()?;
            let mut moments = self.disk.moments();
            let now = moments.pop();
            // Until a call has answered it has promised nothing, and taken nothing out.
            let after = (self.must.clone(), self.may.clone());
            (self.must, self.may) = (&before.0 & &after.0, &before.1 | &after.1);
            moments.iter().try_for_each(|moment| self.loses_nothing_at(moment))?;
            (self.must, self.may) = after;
            now.iter().try_for_each(|now| self.loses_nothing_at(now))?;
        }
        Ok(self.crash_points)
    }

    fn step(&mut self) -> Result<(), String> {
        if self.random.u8(0..12) == 0 {
            self.disk.expect(TROUBLES[self.random.usize(..TROUBLES.len())], self.random.u32(0..4));
        }
        let Some(mut letters) = self.letters.take() else { return self.open() };
        let done = match self.random.u8(0..8) {
            0..4 => self.put_aside(&mut letters),
            4..7 => self.discard(&mut letters),
            _ => return Ok(()),
        };
        if done.is_ok() {
            self.letters = Some(letters);
        }
        Ok(())
    }

    fn discard(&mut self, letters: &mut Letters<Seen>) -> Result<(), Fault> {
        let seq = self.random.u64(0..60);
        self.must.remove(&seq);
        letters.discard(JOURNAL, seq)?;
        self.may.remove(&seq);
        Ok(())
    }

    fn put_aside(&mut self, letters: &mut Letters<Seen>) -> Result<(), Fault> {
        let seqs: Vec<u64> = (0..self.random.usize(1..4)).map(|_| self.random.u64(0..60)).collect();
        self.may.extend(&seqs);
        letters.put_aside(&seqs.iter().map(|seq| letter(*seq)).collect::<Vec<_>>())?;
        self.must.extend(&seqs);
        Ok(())
    }

    fn open(&mut self) -> Result<(), String> {
        match Letters::open(Seen { disk: self.disk.clone(), without: self.without }, SEGMENT) {
            Ok(letters) => {
                self.must = self.is_kept_by(&letters)?;
                self.may.clone_from(&self.must);
                self.letters = Some(letters);
                Ok(())
            }
            Err(Fault::Disk { .. }) => Ok(()),
            Err(fault) => Err(fault.to_string()),
        }
    }

    fn is_kept_by(&self, letters: &Letters<Seen>) -> Result<BTreeSet<u64>, String> {
        let letters = letters.list(JOURNAL, None, usize::MAX);
        if let Some(changed) = letters.iter().find(|found| **found != letter(found.seq())) {
            return Err(format!("letter {} is not what was put aside", changed.seq()));
        }
        let found: BTreeSet<u64> = letters.iter().map(DeadLetter::seq).collect();
        match found.is_superset(&self.must) && found.is_subset(&self.may) {
            true => Ok(found),
            false => Err(format!("{found:?}, and not between {:?} and {:?}", self.must, self.may)),
        }
    }

    /// A power loss at `moment`; and one more while what is left is opened.
    fn loses_nothing_at(&mut self, moment: &Moment) -> Result<(), String> {
        let (found, _) = moment.power_loss(&mut self.random);
        let open = |disk: &SimulatedDisk| {
            let seen = Seen { disk: disk.clone(), without: self.without };
            Letters::open(seen, SEGMENT).map_err(|fault| fault.to_string())
        };
        let kept = self.is_kept_by(&open(&found)?)?;
        let moments = found.moments();
        let Some(moment) = self.random.choice(&moments) else { return Ok(()) };
        let (again, _) = moment.power_loss(&mut self.random);
        let again = self.is_kept_by(&open(&again)?)?;
        self.crash_points += 2;
        if again == kept { Ok(()) } else { Err(format!("{kept:?} were found, and then {again:?}")) }
    }
}

fn letter_crashes(without: Option<Guard>) -> Result<u64, String> {
    let run =
        |seed| LetterWork::new(seed, without).run().map_err(|broken| format!("workload {seed}: {broken}"));
    (0..LETTER_WORKLOADS).map(run).sum()
}

#[test]
fn no_dead_letter_is_lost_at_any_crash_point() {
    let crash_points = letter_crashes(None).unwrap();
    println!("{crash_points} crash points");
    assert!(crash_points >= 20_000, "{crash_points}");
}

#[test]
fn without_a_guard_a_dead_letter_is_lost() {
    for guard in [Guard::DirectorySync, Guard::SyncBeforeAnswer] {
        println!("without {guard:?}: {}", letter_crashes(Some(guard)).unwrap_err());
    }
}
