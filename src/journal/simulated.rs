//! A disk in memory that can lose power, run full and fail, in all the ways that a log must survive.
//!
//! | what was done | what a power loss leaves of it |
//! |---|---|
//! | bytes written to a file, not synced | any first part, and behind it nothing, zeros or garbage; each file on its own |
//! | bytes of a sync that failed | the same, and the rest never gets there, whatever is synced later |
//! | files made, renamed and removed, directory not synced | any of it |
//!
//! Not modelled: blocks of one write that reach the disk out of order, with valid records behind a hole.

#![allow(clippy::exhaustive_enums, clippy::exhaustive_structs, reason = "not part of the public interface")]

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::sync::Arc;

use fastrand::Rng;
use parking_lot::Mutex;

use super::disk::Disk;

/// What a disk can be made to do instead of what it is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// A write, or making a file, finds no room; part of the write is done.
    NoSpace,
    /// A write fails; part of it is done.
    FailedWrite,
    /// A sync of a file fails; some of it is done.
    FailedSync,
    /// A sync of the directory fails.
    FailedDirectorySync,
    /// Making, renaming or removing a file fails, or says so.
    FailedChange,
}

/// How often something happened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lost {
    /// Files of which a power loss took bytes.
    pub tails: u64,
    /// Changes of the directory that a power loss took.
    pub entries: u64,
}

/// A disk, seen by all its clones.
#[derive(Clone, Debug)]
pub struct SimulatedDisk(Arc<Mutex<State>>);

/// A disk at one moment.
#[derive(Clone, Debug)]
pub struct Moment(Contents);

#[derive(Debug)]
struct State {
    contents: Contents,
    /// What was there before each change since the last look.
    history: Vec<Contents>,
    trouble: Option<(Trouble, u32)>,
    random: Rng,
}

#[derive(Clone, Debug, Default)]
struct Contents {
    files: Vec<File>,
    /// Which file has which name.
    names: BTreeMap<String, usize>,
    /// The same, on stable storage.
    durable_names: BTreeMap<String, usize>,
    /// What was done to the names since, in order.
    changes: Vec<Change>,
}

#[derive(Clone, Debug, Default)]
struct File {
    bytes: Vec<u8>,
    /// Up to where it was synced, but for what is doomed.
    synced: usize,
    /// What failed syncs did not write: the system takes it for written.
    doomed: Vec<Range<usize>>,
}

#[derive(Clone, Debug)]
enum Change {
    Created(String, usize),
    Renamed(String, String, usize),
    Removed(String),
}

impl SimulatedDisk {
    /// An empty disk.
    pub fn new(seed: u64) -> Self {
        Self::with(Contents::default(), seed)
    }

    fn with(contents: Contents, seed: u64) -> Self {
        let random = Rng::with_seed(seed);
        Self(Arc::new(Mutex::new(State { contents, history: Vec::new(), trouble: None, random })))
    }

    /// What another process finds now, without a power loss. What it does is not seen here.
    pub fn power_kept(&self) -> Self {
        Self::with(self.0.lock().contents.clone(), 0)
    }

    /// Has `trouble` happen at the first chance for it after `spared` others.
    pub fn expect(&self, trouble: Trouble, spared: u32) {
        self.0.lock().trouble = Some((trouble, spared));
    }

    /// Has no more trouble happen. Says whether some was still to come.
    pub fn calm(&self) -> bool {
        self.0.lock().trouble.take().is_some()
    }

    /// The moments before each change since the last call, and the present one.
    pub fn moments(&self) -> Vec<Moment> {
        let mut state = self.0.lock();
        let now = state.contents.clone();
        state.history.drain(..).chain([now]).map(Moment).collect()
    }

    /// Flips a bit of stable storage. Says in which file and at which byte; none if there are no bytes.
    pub fn flip_a_bit(&self, random: &mut Rng) -> Option<(String, usize)> {
        let mut state = self.0.lock();
        let contents = &mut state.contents;
        let (name, file) = random.choice(contents.names.iter())?;
        let at = random.choice(0..contents.files[*file].bytes.len())?;
        let name = name.clone();
        contents.files[*file].bytes[at] ^= 1 << random.u8(0..8);
        Some((name, at))
    }
}

impl Moment {
    /// The disk that is found after a power loss at this moment, one of many.
    pub fn power_loss(&self, random: &mut Rng) -> (SimulatedDisk, Lost) {
        let mut lost = Lost::default();
        let names = self.0.surviving_names(random, &mut lost);
        let mut found = Contents::default();
        for (name, file) in names {
            let bytes = self.0.files[file].surviving_bytes(random, &mut lost);
            found.names.insert(name, found.files.len());
            found.files.push(File { synced: bytes.len(), bytes, doomed: Vec::new() });
        }
        found.durable_names.clone_from(&found.names);
        (SimulatedDisk::with(found, random.u64(..)), lost)
    }
}

impl Contents {
    fn surviving_names(&self, random: &mut Rng, lost: &mut Lost) -> BTreeMap<String, usize> {
        let mut names = self.durable_names.clone();
        let likely = random.f32() * 1.5 - 0.25;
        for change in &self.changes {
            if random.f32() < likely {
                change.apply(&mut names);
            } else {
                lost.entries += 1;
            }
        }
        names
    }

    fn file(&self, name: &str) -> io::Result<usize> {
        self.names.get(name).copied().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn change(&mut self, change: Change) {
        change.apply(&mut self.names);
        self.changes.push(change);
    }
}

impl Change {
    fn apply(&self, names: &mut BTreeMap<String, usize>) {
        match self {
            Self::Created(name, file) => drop(names.insert(name.clone(), *file)),
            Self::Renamed(from, to, file) => {
                names.remove(from);
                names.insert(to.clone(), *file);
            }
            Self::Removed(name) => drop(names.remove(name)),
        }
    }
}

impl File {
    fn surviving_bytes(&self, random: &mut Rng, lost: &mut Lost) -> Vec<u8> {
        let mut bytes = self.bytes.clone();
        for doomed in &self.doomed {
            bytes[doomed.clone()].fill(0);
        }
        let kept = some_of(self.synced..bytes.len(), random);
        if kept < bytes.len() {
            lost.tails += 1;
            let claimed = some_of(kept..bytes.len(), random);
            bytes.truncate(claimed);
            match random.u8(0..4) {
                0 => bytes[kept..].fill(0),
                1 => random.fill(&mut bytes[kept..]),
                _ => bytes.truncate(kept),
            }
        }
        bytes
    }
}

/// A place in `range` or at its end; the two ends are likely.
fn some_of(range: Range<usize>, random: &mut Rng) -> usize {
    match random.u8(0..6) {
        0 => range.start,
        1 => range.end,
        _ => random.usize(range.start..=range.end),
    }
}

impl State {
    /// Whether this is where the trouble that can happen here happens.
    fn is_struck(&mut self, possible: &[Trouble]) -> Option<Trouble> {
        let (trouble, spared) = self.trouble.filter(|(trouble, _)| possible.contains(trouble))?;
        self.trouble = spared.checked_sub(1).map(|spared| (trouble, spared));
        self.trouble.is_none().then_some(trouble)
    }

    /// Does `change`; in trouble it is done or not, and fails.
    fn change_names(&mut self, change: Change, possible: &[Trouble]) -> io::Result<()> {
        self.history.push(self.contents.clone());
        let trouble = self.is_struck(possible);
        if trouble.is_none() || self.random.bool() {
            self.contents.change(change);
        }
        trouble.map_or(Ok(()), |trouble| Err(trouble.error()))
    }
}

impl Trouble {
    fn error(self) -> io::Error {
        match self {
            Self::NoSpace => io::ErrorKind::StorageFull.into(),
            _ => io::Error::from_raw_os_error(5),
        }
    }
}

impl Disk for SimulatedDisk {
    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.0.lock().contents.names.keys().cloned().collect())
    }

    fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        let state = self.0.lock();
        let file = state.contents.file(name)?;
        Ok(state.contents.files[file].bytes.clone())
    }

    fn create(&mut self, name: &str) -> io::Result<()> {
        let mut state = self.0.lock();
        if state.contents.file(name).is_ok() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let file = state.contents.files.len();
        state.contents.files.push(File::default());
        state.change_names(Change::Created(name.to_owned(), file), &[Trouble::NoSpace, Trouble::FailedChange])
    }

    fn append(&mut self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let mut state = self.0.lock();
        let state = &mut *state;
        state.history.push(state.contents.clone());
        let trouble = state.is_struck(&[Trouble::NoSpace, Trouble::FailedWrite]);
        let written = if trouble.is_some() { state.random.usize(0..=bytes.len()) } else { bytes.len() };
        let file = state.contents.file(name)?;
        state.contents.files[file].bytes.extend(&bytes[..written]);
        trouble.map_or(Ok(()), |trouble| Err(trouble.error()))
    }

    fn sync(&mut self, name: &str) -> io::Result<()> {
        let mut state = self.0.lock();
        let state = &mut *state;
        state.history.push(state.contents.clone());
        let trouble = state.is_struck(&[Trouble::FailedSync]);
        let file = state.contents.file(name)?;
        let file = &mut state.contents.files[file];
        if trouble.is_some() {
            file.doomed.push(some_of(file.synced..file.bytes.len(), &mut state.random)..file.bytes.len());
        }
        file.synced = file.bytes.len();
        trouble.map_or(Ok(()), |trouble| Err(trouble.error()))
    }

    fn sync_directory(&mut self) -> io::Result<()> {
        let mut state = self.0.lock();
        let state = &mut *state;
        state.history.push(state.contents.clone());
        if let Some(trouble) = state.is_struck(&[Trouble::FailedDirectorySync]) {
            return Err(trouble.error());
        }
        state.contents.changes.clear();
        state.contents.durable_names.clone_from(&state.contents.names);
        Ok(())
    }

    fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.0.lock();
        let file = state.contents.file(from)?;
        let change = Change::Renamed(from.to_owned(), to.to_owned(), file);
        state.change_names(change, &[Trouble::NoSpace, Trouble::FailedChange])
    }

    fn remove(&mut self, name: &str) -> io::Result<()> {
        let mut state = self.0.lock();
        state.contents.file(name)?;
        state.change_names(Change::Removed(name.to_owned()), &[Trouble::FailedChange])
    }
}
