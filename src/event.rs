//! What happened: events for an observer, and counters that are always on.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use crate::error::Error;

/// Something that happened in a cache. New events may be added in any release.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// A read was answered by a copy in this tier.
    Hit {
        /// The tier's name.
        tier: &'static str,
    },
    /// A read was answered by a copy past its ttl, within the window of stale use.
    StaleHit {
        /// The tier's name.
        tier: &'static str,
    },
    /// A read found no usable copy.
    Miss,
    /// A copy is being renewed behind a reader's back.
    Refresh,
    /// A copy could not be renewed; the next try waits for the back-off.
    RefreshFailed,
    /// A read waited for a load that another read had begun.
    Coalesced,
    /// The loader was asked for a key, and answered.
    Loaded,
    /// The loader was asked for a key, and failed.
    LoadFailed {
        /// Why.
        error: &'a Error,
    },
    /// A loaded answer was not kept, because a write came between.
    FillRefused {
        /// The tier's name.
        tier: &'static str,
    },
    /// The store has been written.
    Written,
    /// A write failed.
    WriteFailed {
        /// Why.
        error: &'a Error,
    },
    /// A write ended without anyone knowing whether the store has it; its copies are dropped now and again later.
    InDoubt,
    /// Copies were dropped.
    Invalidated {
        /// Of how many keys.
        keys: usize,
    },
    /// A read waited for a load of another process.
    Waited {
        /// The tier's name.
        tier: &'static str,
    },
    /// A load of another process was late, or it died: its right to fill has been taken over.
    LeaseTakenOver {
        /// The tier's name.
        tier: &'static str,
    },
    /// A writer found another one at work on the same key; neither leaves a copy.
    HoldContended {
        /// The tier's name.
        tier: &'static str,
    },
    /// A writer's hold was gone before it was ended: it ran out, or the tier lost it.
    HoldLost {
        /// The tier's name.
        tier: &'static str,
    },
    /// A copy could not be read: it is damaged, another key's, or in a form that this cache does not accept.
    Unreadable {
        /// The tier's name.
        tier: &'static str,
    },
    /// A copy was passed over, because its tier has been restarted or replaced since it was kept.
    Outlived {
        /// The tier's name.
        tier: &'static str,
    },
    /// An answer was not kept, because it is too big for the tier or cannot be written.
    Unfit {
        /// The tier's name.
        tier: &'static str,
    },
    /// An answer was not kept, because its tenant has as many copies as it may.
    OverQuota,
    /// A tier does not answer and is not asked any more, until it does.
    TierAway {
        /// The tier's name.
        tier: &'static str,
    },
    /// A tier answers again.
    TierBack {
        /// The tier's name.
        tier: &'static str,
    },
    /// A tier has been restarted or replaced.
    Restarted {
        /// The tier's name.
        tier: &'static str,
    },
    /// How copies of this process are kept in step with those of a tier: `tracked`, `bus` or `validated`, as it turned out.
    Coherent {
        /// The shared tier's name.
        tier: &'static str,
        /// How.
        how: &'static str,
    },
    /// Messages of a tier may be missing: copies of this process are not served without asking it, until that is over.
    InStepNoMore {
        /// The shared tier's name.
        tier: &'static str,
    },
    /// Copies of this process, a whole bucket of them, count no more, since nobody knows which of them others have dropped.
    LocalFlush {
        /// The shared tier's name.
        tier: &'static str,
    },
    /// A message of a tier is missing, or more than one.
    MessageMissed {
        /// The shared tier's name.
        tier: &'static str,
    },
    /// A read that waited for a load of another process heard of its end.
    Woken {
        /// The tier's name.
        tier: &'static str,
    },
    /// A copy of this process was in doubt, and the shared tier still has it.
    Revalidated,
    /// Copies could not be dropped; it is tried again until it is done, and until then they are not read.
    Owed {
        /// Of how many keys.
        keys: usize,
    },
    /// Copies have been dropped that could not be before.
    Paid {
        /// Of how many keys.
        keys: usize,
    },
    /// Writes that waited are in the store.
    Flushed {
        /// How many, in one batch.
        writes: usize,
        /// How many writes newer ones have taken the place of since the last time.
        replaced: u64,
    },
    /// The store did not take writes that wait, or did not say; it is tried again.
    FlushFailed {
        /// How many, in one batch; zero if the store was only asked how far it is.
        writes: usize,
        /// Why.
        error: &'a Error,
    },
    /// A write that the store will never take has been put aside as a dead letter.
    PutAside {
        /// Its number in its shard.
        seq: u64,
    },
    /// The oldest write has waited longer than it should.
    Overdue {
        /// How long.
        oldest: std::time::Duration,
    },
    /// As many writes wait as may: one was refused, had to wait, or went past the journal.
    AtLimit,
    /// Writes were found in the journal that an earlier process has left.
    Recovered {
        /// How many.
        writes: usize,
    },
    /// A journal's server, after a restart or as the replica of one that failed, does not have all that it was known to
    /// have: writes that had been answered are lost, or were in the store already.
    JournalRegressed {
        /// How many writes, with numbers that were too low, have been given others.
        moved: u64,
    },
    /// The journal accepts nothing more, or does not fit the store.
    JournalFailed {
        /// Why.
        error: &'a Error,
    },
    /// Writes were still waiting when the last handle was dropped: lost, or left in the journal for the next process.
    Unwritten {
        /// How many.
        writes: usize,
    },
    /// A tier failed.
    TierFailed {
        /// The tier's name.
        tier: &'static str,
        /// Why.
        error: &'a Error,
    },
}

/// Someone to tell what happens. Called on the thread where it happens, hits included: be quick, and do not block.
pub trait Observer: Send + Sync + 'static {
    /// `event` has happened in the cache named `cache`.
    fn on(&self, cache: &str, event: &Event<'_>);
}

/// How often each thing happened since the cache was built.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Reads answered by a copy, stale ones included.
    pub hits: u64,
    /// Reads answered by a copy past its ttl.
    pub stale_hits: u64,
    /// Reads that found no usable copy, those that waited for another's load included.
    pub misses: u64,
    /// Reads that waited for a load that another read had begun.
    pub coalesced: u64,
    /// Keys that the loader answered.
    pub loads: u64,
    /// Keys that the loader failed.
    pub load_failures: u64,
    /// Copies that were renewed, or tried to be, behind a reader's back.
    pub refreshes: u64,
    /// Those of them that failed.
    pub refresh_failures: u64,
    /// Loaded answers that were not kept, because a write came between.
    pub fills_refused: u64,
    /// Writes that the store has, or the journal in front of it.
    pub writes: u64,
    /// Writes that failed, those in doubt included.
    pub write_failures: u64,
    /// Writes that ended without anyone knowing whether the store has them.
    pub in_doubt: u64,
    /// Keys whose copies were dropped.
    pub invalidated: u64,
    /// Calls that a tier failed.
    pub tier_failures: u64,
    /// Reads that waited for a load of another process.
    pub waited: u64,
    /// Rights to fill that were taken over from a load that was late or had died.
    pub leases_taken_over: u64,
    /// Writes that found another one at work on the same key in a shared tier.
    pub holds_contended: u64,
    /// Writes whose hold on a key was gone before they ended it.
    pub holds_lost: u64,
    /// Copies that could not be read.
    pub unreadable: u64,
    /// Copies that were passed over, because their tier has been restarted or replaced.
    pub outlived: u64,
    /// Answers that were too big for a tier, or could not be written.
    pub unfit: u64,
    /// Answers that were not kept, because their tenant has as many copies as it may.
    pub over_quota: u64,
    /// Times that a tier stopped answering.
    pub tier_outages: u64,
    /// Times that a tier was found restarted or replaced.
    pub tier_restarts: u64,
    /// Times that copies of this process were in doubt, since messages of the shared tier may have been missing.
    pub local_doubts: u64,
    /// Times that a bucket of copies of this process was given up.
    pub local_flushes: u64,
    /// Times that messages of the shared tier were found missing.
    pub messages_missed: u64,
    /// Reads that waited for a load of another process and heard of its end.
    pub woken: u64,
    /// Copies of this process that were in doubt, and that the shared tier still had.
    pub revalidated: u64,
    /// Keys whose copies could not be dropped at once.
    pub owed: u64,
    /// Those of them whose copies have been dropped since.
    pub paid: u64,
    /// Writes that waited and have come to the store, or have been passed over for newer ones of the same key.
    pub flushed: u64,
    /// In how many batches.
    pub batches: u64,
    /// Those that newer ones of the same key took the place of while they waited.
    pub replaced: u64,
    /// Batches that the store did not take, or did not answer.
    pub flush_failures: u64,
    /// Writes that the store will never take.
    pub dead_letters: u64,
    /// Times that the oldest write had waited longer than it should.
    pub overdue: u64,
    /// Writes that found no room to wait in.
    pub at_limit: u64,
    /// Writes that were found in the journal, left there by an earlier process.
    pub recovered: u64,
    /// Times that the journal failed, or turned out not to fit the store.
    pub journal_failures: u64,
    /// Times that the journal's server turned out not to have all that it was known to have.
    pub journal_regressions: u64,
    /// Writes that wait now.
    pub pending: u64,
    /// Their bytes.
    pub pending_bytes: u64,
    /// For how long the oldest has waited; zero if none does.
    pub pending_age: std::time::Duration,
}

impl Stats {
    /// Reads answered by a copy, as a part of all reads; zero before the first.
    #[must_use]
    pub fn hit_ratio(&self) -> f64 {
        let reads = self.hits + self.misses;
        if reads == 0 { 0.0 } else { self.hits as f64 / reads as f64 }
    }
}

/// Where events go: to the counters, and to the observer if there is one.
pub(crate) struct Events {
    cache: std::sync::Arc<str>,
    counters: Counters,
    observer: Option<std::sync::Arc<dyn Observer>>,
}

impl Events {
    pub(crate) fn new(cache: std::sync::Arc<str>, observer: Option<std::sync::Arc<dyn Observer>>) -> Self {
        Self { cache, counters: Counters::new(), observer }
    }

    pub(crate) fn stats(&self) -> Stats {
        self.counters.stats()
    }

    pub(crate) fn hit(&self, tier: &'static str) {
        self.counters.add(Counter::Hits, 1);
        self.tell(&Event::Hit { tier });
    }

    pub(crate) fn emit(&self, event: &Event<'_>) {
        self.counters.count(event);
        self.tell(event);
    }

    #[inline]
    fn tell(&self, event: &Event<'_>) {
        if let Some(observer) = &self.observer {
            observer.on(&self.cache, event);
        }
    }
}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Events").field("stats", &self.stats()).finish_non_exhaustive()
    }
}

#[derive(Clone, Copy)]
enum Counter {
    Hits,
    StaleHits,
    Misses,
    Coalesced,
    Loads,
    LoadFailures,
    Refreshes,
    RefreshFailures,
    FillsRefused,
    Writes,
    WriteFailures,
    InDoubt,
    Invalidated,
    TierFailures,
    Waited,
    LeasesTakenOver,
    HoldsContended,
    HoldsLost,
    Unreadable,
    Outlived,
    Unfit,
    OverQuota,
    TierOutages,
    TierRestarts,
    LocalDoubts,
    LocalFlushes,
    MessagesMissed,
    Woken,
    Revalidated,
    Owed,
    Paid,
    Flushed,
    Batches,
    Replaced,
    FlushFailures,
    DeadLetters,
    Overdue,
    AtLimit,
    Recovered,
    JournalFailures,
    JournalRegressions,
}

const COUNTERS: usize = Counter::JournalRegressions as usize + 1;
const SHARDS: usize = 64;

/// Counters in shards, each on cache lines of its own: two cores that count hits do not pass a line to and fro.
///
/// A shard that belongs to one thread is counted up without a locked instruction, since nobody else writes it. The last
/// shard is for all threads that found none of their own.
struct Counters {
    shards: Box<[Shard; SHARDS + 1]>,
}

#[repr(align(128))]
struct Shard([AtomicU64; COUNTERS]);

impl Counters {
    fn new() -> Self {
        let shard = || Shard(std::array::from_fn(|_| AtomicU64::new(0)));
        Self { shards: Box::new(std::array::from_fn(|_| shard())) }
    }

    fn count(&self, event: &Event<'_>) {
        match event {
            Event::Hit { .. } => self.add(Counter::Hits, 1),
            Event::StaleHit { .. } => {
                self.add(Counter::Hits, 1);
                self.add(Counter::StaleHits, 1);
            }
            Event::Miss => self.add(Counter::Misses, 1),
            Event::Refresh => self.add(Counter::Refreshes, 1),
            Event::RefreshFailed => self.add(Counter::RefreshFailures, 1),
            Event::Coalesced => self.add(Counter::Coalesced, 1),
            Event::Loaded => self.add(Counter::Loads, 1),
            Event::LoadFailed { .. } => self.add(Counter::LoadFailures, 1),
            Event::FillRefused { .. } => self.add(Counter::FillsRefused, 1),
            Event::Written => self.add(Counter::Writes, 1),
            Event::WriteFailed { .. } => self.add(Counter::WriteFailures, 1),
            Event::InDoubt => self.add(Counter::InDoubt, 1),
            Event::Invalidated { keys } => self.add(Counter::Invalidated, *keys as u64),
            Event::TierFailed { .. } => self.add(Counter::TierFailures, 1),
            Event::Waited { .. } => self.add(Counter::Waited, 1),
            Event::LeaseTakenOver { .. } => self.add(Counter::LeasesTakenOver, 1),
            Event::HoldContended { .. } => self.add(Counter::HoldsContended, 1),
            Event::HoldLost { .. } => self.add(Counter::HoldsLost, 1),
            Event::Unreadable { .. } => self.add(Counter::Unreadable, 1),
            Event::Outlived { .. } => self.add(Counter::Outlived, 1),
            Event::Unfit { .. } => self.add(Counter::Unfit, 1),
            Event::OverQuota => self.add(Counter::OverQuota, 1),
            Event::TierAway { .. } => self.add(Counter::TierOutages, 1),
            Event::Restarted { .. } => self.add(Counter::TierRestarts, 1),
            Event::TierBack { .. } | Event::Coherent { .. } => {}
            Event::InStepNoMore { .. } => self.add(Counter::LocalDoubts, 1),
            Event::LocalFlush { .. } => self.add(Counter::LocalFlushes, 1),
            Event::MessageMissed { .. } => self.add(Counter::MessagesMissed, 1),
            Event::Woken { .. } => self.add(Counter::Woken, 1),
            Event::Revalidated => self.add(Counter::Revalidated, 1),
            Event::Owed { keys } => self.add(Counter::Owed, *keys as u64),
            Event::Paid { keys } => self.add(Counter::Paid, *keys as u64),
            Event::Flushed { writes, replaced } => {
                self.add(Counter::Flushed, *writes as u64 + replaced);
                self.add(Counter::Batches, 1);
                self.add(Counter::Replaced, *replaced);
            }
            Event::FlushFailed { .. } => self.add(Counter::FlushFailures, 1),
            Event::PutAside { .. } => self.add(Counter::DeadLetters, 1),
            Event::Overdue { .. } => self.add(Counter::Overdue, 1),
            Event::AtLimit => self.add(Counter::AtLimit, 1),
            Event::Recovered { writes } => self.add(Counter::Recovered, *writes as u64),
            Event::JournalFailed { .. } => self.add(Counter::JournalFailures, 1),
            Event::JournalRegressed { .. } => self.add(Counter::JournalRegressions, 1),
            Event::Unwritten { .. } => {}
        }
    }

    #[inline]
    fn add(&self, counter: Counter, n: u64) {
        let slot = own_shard();
        let count = &self.shards[slot].0[counter as usize];
        if slot < SHARDS {
            count.store(count.load(Ordering::Relaxed).wrapping_add(n), Ordering::Relaxed);
        } else {
            count.fetch_add(n, Ordering::Relaxed);
        }
    }

    fn stats(&self) -> Stats {
        let sum = |counter: Counter| {
            self.shards.iter().map(|shard| shard.0[counter as usize].load(Ordering::Relaxed)).sum()
        };
        Stats {
            hits: sum(Counter::Hits),
            stale_hits: sum(Counter::StaleHits),
            misses: sum(Counter::Misses),
            coalesced: sum(Counter::Coalesced),
            loads: sum(Counter::Loads),
            load_failures: sum(Counter::LoadFailures),
            refreshes: sum(Counter::Refreshes),
            refresh_failures: sum(Counter::RefreshFailures),
            fills_refused: sum(Counter::FillsRefused),
            writes: sum(Counter::Writes),
            write_failures: sum(Counter::WriteFailures),
            in_doubt: sum(Counter::InDoubt),
            invalidated: sum(Counter::Invalidated),
            tier_failures: sum(Counter::TierFailures),
            waited: sum(Counter::Waited),
            leases_taken_over: sum(Counter::LeasesTakenOver),
            holds_contended: sum(Counter::HoldsContended),
            holds_lost: sum(Counter::HoldsLost),
            unreadable: sum(Counter::Unreadable),
            outlived: sum(Counter::Outlived),
            unfit: sum(Counter::Unfit),
            over_quota: sum(Counter::OverQuota),
            tier_outages: sum(Counter::TierOutages),
            tier_restarts: sum(Counter::TierRestarts),
            local_doubts: sum(Counter::LocalDoubts),
            local_flushes: sum(Counter::LocalFlushes),
            messages_missed: sum(Counter::MessagesMissed),
            woken: sum(Counter::Woken),
            revalidated: sum(Counter::Revalidated),
            owed: sum(Counter::Owed),
            paid: sum(Counter::Paid),
            flushed: sum(Counter::Flushed),
            batches: sum(Counter::Batches),
            replaced: sum(Counter::Replaced),
            flush_failures: sum(Counter::FlushFailures),
            dead_letters: sum(Counter::DeadLetters),
            overdue: sum(Counter::Overdue),
            at_limit: sum(Counter::AtLimit),
            recovered: sum(Counter::Recovered),
            journal_failures: sum(Counter::JournalFailures),
            journal_regressions: sum(Counter::JournalRegressions),
            ..Stats::default()
        }
    }
}

/// The shard of this thread, the same in every cache: its own for as long as it lives, or the last one.
#[inline]
fn own_shard() -> usize {
    thread_local!(static LOAN: Loan = Loan::take());
    LOAN.try_with(|loan| loan.0).unwrap_or(SHARDS)
}

/// The shards that no living thread has.
static FREE: Mutex<Option<Vec<usize>>> = Mutex::new(None);

/// A shard lent to a thread. The lock of the list hands its counts on to the thread that has it next.
struct Loan(usize);

impl Loan {
    fn take() -> Self {
        Self(FREE.lock().get_or_insert_with(|| (0..SHARDS).collect()).pop().unwrap_or(SHARDS))
    }
}

impl Drop for Loan {
    fn drop(&mut self) {
        if self.0 < SHARDS
            && let Some(free) = FREE.lock().as_mut()
        {
            free.push(self.0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_of_all_threads_add_up() {
        let events = Events::new("test".into(), None);
        std::thread::scope(|scope| {
            for _ in 0..2 * SHARDS {
                scope.spawn(|| (0..1000).for_each(|_| events.hit("memory"))); // some share, some take a shard over
            }
        });
        let hits = 2_000 * SHARDS as u64;
        assert_eq!(events.stats().hits, hits);
        events.emit(&Event::Miss);
        assert_eq!(events.stats().hit_ratio(), hits as f64 / (hits + 1) as f64);
    }
}
