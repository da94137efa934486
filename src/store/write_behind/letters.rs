//! Writes that the store will never take: listed, tried again, or thrown away.

use std::collections::VecDeque;

use parking_lot::Mutex;

use super::pending::{What, Work};
use super::shard::Shard;
use super::{Parts, WriteBehind};
use crate::bounds::{Key, Value};
use crate::error::{Error, ErrorKind, Outcome, Result, StoreError};
use crate::event::Event;
use crate::store::{Change, DeadLetter, Seq, ShardId, Store};

/// How many dead letters are kept in memory, where neither the store nor the journal keeps them.
const REMEMBERED: usize = 10_000;

/// How many are looked through at once.
const PAGE: usize = 1_000;

const NOT_ALONE: &str = "other merges of its key are among the dead letters, and this one would be put aside behind them again: \
                         discard them all, and merge anew what is to count";

/// Dead letters that die with the process, as their journal does.
pub(super) type InMemory<K, V> = Mutex<VecDeque<(DeadLetter, Change<K, V>)>>;

impl<K: Key + Ord, V: Value> WriteBehind<K, V> {
    /// Dead letters of this journal, the oldest first, at most `most`; with `after`, those that come after that one.
    ///
    /// They are kept by the store if it is written [`exactly_once`](super::WriteBehindBuilder::exactly_once) from a
    /// journal that keeps records; else by the journal. [`Volatile`](crate::journal::Volatile) keeps the last 10,000, in
    /// memory.
    ///
    /// # Errors
    ///
    /// Whoever keeps them failed.
    pub async fn dead_letters(&self, after: Option<&DeadLetter>, most: usize) -> Result<Vec<DeadLetter>> {
        if !self.0.keeps_records() {
            let after = after.map(place);
            let letters = self.0.letters.lock();
            let mut listed: Vec<_> = letters.iter().map(|(letter, _)| letter.clone()).collect();
            listed.sort_by_key(place);
            listed.retain(|letter| after.is_none_or(|after| place(letter) > after));
            listed.truncate(most);
            return Ok(listed);
        }
        let after = after.map(|letter| (letter.shard().number(), letter.seq()));
        match (self.0.destination.letters(self.0.id, after, most).await, &self.0.log) {
            (Some(letters), _) => letters.map_err(Error::store),
            (None, Some(log)) => log.letters(after.map(|(_, seq)| seq), most).await,
            (None, None) => Ok(Vec::new()),
        }
    }

    /// What a dead letter was to change.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Journal`]: its record cannot be read, by this version of the application at least; or it is not
    /// there any more.
    pub fn read_letter(&self, letter: &DeadLetter) -> Result<Change<K, V>> {
        let unreadable = |why: String| Error::new(ErrorKind::Journal, why);
        match (&self.0.log, &self.0.shared) {
            (Some(log), _) => log.decode(letter.record()).map_err(unreadable),
            (None, Some(shared)) => shared.stream.decode(letter.record()).map_err(unreadable),
            (None, None) => {
                let letters = self.0.letters.lock();
                let found = letters.iter().find(|(other, _)| place(other) == place(letter));
                found
                    .map(|(_, change)| change.clone())
                    .ok_or_else(|| unreadable("there is no such dead letter".to_owned()))
            }
        }
    }

    /// Writes what a dead letter was to change, as a new write behind all that wait, and removes the letter.
    ///
    /// If the process ends in between, the letter is still there, and the write too.
    ///
    /// # Errors
    ///
    /// As [`read_letter`](Self::read_letter), and as a write. [`ErrorKind::DeadLetter`]: it is a merge, and so is another dead
    /// letter of the same key, behind which it would be put aside again: discard them all, and merge anew.
    pub async fn replay(&self, letter: &DeadLetter) -> Result<()> {
        let change = self.read_letter(letter)?;
        let key = change.key().clone();
        if !change.replaces() && self.has_other_merges(letter, &key).await? {
            return Err(Error::new(ErrorKind::DeadLetter, NOT_ALONE).with_outcome(Outcome::NotApplied));
        }
        // Or it would follow itself.
        self.shard(&key).keep_parked(|other| *other != key);
        self.apply(&[change]).await.map_err(Error::store)?;
        self.0.hand_over(vec![key]).await;
        self.discard(letter).await.map(|_| ())
    }

    async fn has_other_merges(&self, letter: &DeadLetter, key: &K) -> Result<bool> {
        let mut after = None;
        loop {
            let letters = self.dead_letters(after.as_ref(), PAGE).await?;
            let is_one = |other: &&DeadLetter| {
                let what = self.read_letter(other);
                place(other) != place(letter)
                    && what.is_ok_and(|change| !change.replaces() && change.key() == key)
            };
            if letters.iter().find(is_one).is_some() {
                return Ok(true);
            }
            match letters.last() {
                Some(last) if letters.len() == PAGE => after = Some(last.clone()),
                _ => return Ok(false),
            }
        }
    }

    /// Throws a dead letter of this journal away; whether there was one.
    ///
    /// # Errors
    ///
    /// Whoever keeps it failed.
    pub async fn discard(&self, letter: &DeadLetter) -> Result<bool> {
        if !self.0.keeps_records() {
            let mut letters = self.0.letters.lock();
            let before = letters.len();
            letters.retain(|(other, _)| place(other) != place(letter));
            return Ok(letters.len() < before);
        }
        match (self.0.destination.discard(letter.shard(), letter.seq()).await, &self.0.log) {
            (Some(discarded), _) => discarded.map_err(Error::store),
            // The log goes by numbers, which begin with 1 in every journal.
            (None, Some(log)) if letter.shard().journal() == self.0.id => log.discard(letter.seq()).await,
            (None, _) => Ok(false),
        }
    }
}

impl<K: Key + Ord, V: Value> Parts<K, V> {
    /// Keeps letters in memory.
    pub(super) fn remember(&self, shard: &Shard<K, V>, work: &Work<K, V>, letters: &[DeadLetter]) {
        for (seq, what) in work.operations.iter().chain(&work.parked) {
            let (What::Change(change), Some(letter)) =
                (what, letters.iter().find(|letter| letter.seq() == *seq))
            else {
                continue;
            };
            debug_assert_eq!(letter.shard(), shard.id, "a shard parks its own");
            let mut kept = self.letters.lock();
            // A try to park that failed after this has left it here.
            kept.retain(|(other, _)| place(other) != place(letter));
            kept.push_back((letter.clone(), change.clone()));
            if kept.len() > REMEMBERED {
                kept.pop_front();
                drop(kept);
                self.emit(&Event::Unwritten { writes: 1 });
            }
        }
    }
}

impl<K: Key, V> Parts<K, V> {
    /// The keys of the merges of a shard that are remembered here.
    pub(super) fn remembered_merges(&self, shard: ShardId) -> Vec<K> {
        let letters = self.letters.lock();
        let own = letters.iter().filter(|(letter, _)| letter.shard() == shard);
        own.filter(|(_, change)| !change.replaces()).map(|(_, change)| change.key().clone()).collect()
    }
}

fn place(letter: &DeadLetter) -> (ShardId, Seq) {
    (letter.shard(), letter.seq())
}

/// What a failure of the journal or a lack of room means to whoever writes.
pub(super) fn refused(error: Error) -> StoreError {
    let outcome = error.outcome();
    let refused = StoreError::new(error);
    match outcome {
        Some(Outcome::Unknown) => refused,
        _ => refused.not_applied(),
    }
}
