//! Receipts: made of what is known of a write, and found on this cache's clock for a read.

use std::collections::HashMap;
use std::sync::atomic::Ordering;

use foldhash::quality::RandomState;
use parking_lot::Mutex;

use super::options::ReadOptions;
use super::served::Served;
use super::{Engine, search};
use crate::bounds::{Key, Value};
use crate::coherence::Mark;
use crate::error::{Error, ErrorKind, Result};
use crate::levels::{Found, Since};
use crate::receipt::{Facts, Receipt};
use crate::tier::Hold;
use crate::time::Timestamp;

/// How many receipts are remembered at once.
const MOST: usize = 1_024;

/// When receipts were first seen that nobody can place in time: their writes were done before that.
///
/// Without it every read with such a receipt would load, and after a restart of the server all that are under way are such.
#[derive(Default)]
pub(super) struct Seen(Mutex<HashMap<Receipt, Timestamp, RandomState>>);

impl Seen {
    /// When `receipt` was first seen: now, where nobody remembers.
    fn first(&self, receipt: &Receipt, now: Timestamp) -> Timestamp {
        let mut seen = self.0.lock();
        if seen.len() >= MOST && !seen.contains_key(receipt) {
            seen.clear();
        }
        *seen.entry(receipt.clone()).or_insert(now)
    }
}

impl<K: Key, V: Value> Engine<K, V> {
    /// A receipt for what has been done to `keys` before now.
    pub(crate) fn receipt(&self, keys: &[K]) -> Receipt {
        let waits = self.0.setup.backing.as_ref().is_some_and(|backing| backing.ticket(keys).is_some());
        self.receipt_of(keys, None, waits)
    }

    /// The same for a write that may have left copies under a claim, and may wait in a journal.
    pub(super) fn receipt_of(&self, keys: &[K], published: Option<Hold>, waits: bool) -> Receipt {
        let backing = self.0.setup.backing.as_ref();
        Receipt::new(Facts {
            origin: self.0.origin,
            number: self.0.receipts.fetch_add(1, Ordering::Relaxed),
            at: self.context().clock.now(),
            copy: published.map(folded),
            waits: waits && backing.is_some_and(|backing| !backing.is_read_by_others()),
            readings: self.0.setup.levels.readings(keys),
        })
    }

    /// Options that say of the receipt, if there is one, what it comes to here.
    ///
    /// The write was done before the read began, whatever clocks say: nothing of after now is ever asked for.
    pub(super) async fn since_receipt(&self, keys: &[K], options: &ReadOptions) -> Result<ReadOptions> {
        let Some(receipt) = options.receipt().cloned() else { return Ok(options.clone()) };
        if receipt.waits_elsewhere(self.0.origin) {
            return Err(waits_elsewhere());
        }
        let now = self.context().clock.now();
        let own = receipt.moment_at(self.0.origin);
        let options = options.clone();
        if own.is_some() && !self.context().shared {
            // All writes go through this cache, and have dropped what was older.
            return Ok(options.whatever_the_receipt());
        }
        let done = match own {
            _ if options.is_reload() => now,
            Some(own) => own,
            None => match self.0.setup.levels.moment_of(keys, receipt.readings()).await {
                Some(moment) => moment,
                None if receipt.is_one_of_a_kind() => self.0.seen.first(&receipt, now),
                None => now,
            },
        };
        Ok(options.reload_unless(Since::write(done.min(now), receipt)))
    }

    /// The topmost tier's copy, if it is new enough for who has a receipt.
    pub(super) fn newer_here(&self, key: &K, options: &ReadOptions) -> Option<Found<V>> {
        let since = options.newest_known().filter(|since| since.of_write().is_some())?;
        if options.skipped().is_some() {
            return None;
        }
        let (context, now) = (self.context(), self.context().clock.recent());
        let entry = self.0.setup.levels.local(key)?;
        let serves = since.covers(&entry) && entry.is_fresh(now) && context.counts(&entry, now);
        serves.then(|| Found::here(entry, self.0.setup.top))
    }

    /// Copies that are new enough, where there is nobody else to ask.
    pub(super) async fn copies_covered(
        &self,
        keys: &[K],
        options: &ReadOptions,
    ) -> Result<Vec<Option<Served<V>>>> {
        if options.is_reload() {
            return Err(search::no_loader());
        }
        let options = self.since_receipt(keys, options).await?;
        let now = self.context().clock.now();
        let will_do = |found: &Found<V>| {
            found.entry.is_fresh(now) && options.newest_known().is_none_or(|since| since.covers(&found.entry))
        };
        let mut copies = self.0.setup.levels.copies(keys, options.skipped()).await;
        let old: Vec<usize> =
            (0..keys.len()).filter(|at| copies[*at].as_ref().is_some_and(|copy| !will_do(copy))).collect();
        if !old.is_empty() {
            // What a tier of this process has hides what is below.
            let hiding: Vec<K> = old.iter().map(|at| keys[*at].clone()).collect();
            self.0.setup.levels.invalidate_now(&hiding);
            let below = self.0.setup.levels.copies(&hiding, options.skipped()).await;
            old.into_iter().zip(below).for_each(|(at, copy)| copies[at] = copy);
        }
        let copies = copies.into_iter().map(|copy| copy.filter(|copy| will_do(copy)));
        Ok(copies.map(|copy| self.counted(copy.map(|copy| Served::at(now, copy)), true)).collect())
    }
}

/// What one cache calls itself in its receipts.
pub(super) fn origin() -> u64 {
    folded(Hold::unique())
}

fn folded(hold: Hold) -> u64 {
    Mark::NONE.of_copy(hold.number()).copy()
}

fn waits_elsewhere() -> Error {
    Error::new(
        ErrorKind::Unsupported,
        "the receipt is of a write that waited in the journal of another cache, which this one cannot read: wait until it \
         is `stored()`, and take a receipt then",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn receipt(origin: u64) -> Receipt {
        let (at, readings) = (Timestamp::ZERO, Vec::new());
        Receipt::new(Facts { origin, number: 1, at, copy: None, waits: false, readings })
    }

    #[test]
    fn a_receipt_was_first_seen_once() {
        let (seen, at) = (Seen::default(), Timestamp::from_nanos);
        assert_eq!([1, 2, 3].map(|now| seen.first(&receipt(7), at(now))), [at(1); 3]);
        assert_eq!(seen.first(&receipt(8), at(4)), at(4));
    }

    #[test]
    fn it_does_not_grow_without_bound() {
        let seen = Seen::default();
        for origin in 0..3 * MOST as u64 {
            assert_eq!(seen.first(&receipt(origin), Timestamp::from_nanos(origin)).as_nanos(), origin);
        }
        assert!(seen.0.lock().len() <= MOST);
    }
}
