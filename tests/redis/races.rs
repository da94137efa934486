//! A fleet of caches on a real Redis server, under real time: 24 readers and 4 writers in 4 processes' worth of caches,
//! with random delays, leases shorter than some loads, keys removed by hand and scripts flushed, beside a process that dies
//! in its loads or brings what they found when its lease is over.
//!
//! No read is older than a write that was acknowledged before it began, in whichever process. Where the cache is
//! linearizable, none is older than the store was when it began. On a cluster of several nodes slots move and replicas take
//! over meanwhile, and the promises are the same. Three protocols that are in use elsewhere go wrong under
//! the same load within a fraction of the time, and so does the harness show that it can tell.

mod naive;
mod upheaval;
mod world;

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crate::support::raw;
use crate::support::redis_server::RedisServer;
use larder::{Builder, Consistency, Stats};
use naive::{Folly, Naive};
use upheaval::PATIENT_NODES;
use world::{Fleet, LEASE, Removals, Rows};

/// Longer than any pause of a busy machine: a server that is late is not what is tested here.
const PATIENCE: Duration = Duration::from_secs(10);

type Pattern = fn(Rows) -> Builder<u64, u64>;

/// What a run must not show.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Promise {
    /// Reads older than an acknowledged write.
    NoneStale,
    /// Reads older than the store was when they began.
    NoneBehind,
}

/// A run in one of the modes that are offered.
struct Mode {
    name: &'static str,
    pattern: Pattern,
    consistency: Consistency,
    removals: Removals,
    promise: Promise,
    reads: u64,
    /// What must have happened, and how often at least, for the run to mean anything.
    marks: &'static [Mark],
}

type Count = fn(&Stats) -> u64;
type Mark = (&'static str, Count, u64);

const FILLS_REFUSED: Count = |stats| stats.fills_refused;
const TAKEN_OVER: Count = |stats| stats.leases_taken_over;
const WAITED: Count = |stats| stats.waited;
const COALESCED: Count = |stats| stats.coalesced;
const CONTENDED: Count = |stats| stats.holds_contended;
const LOST: Count = |stats| stats.holds_lost;
const OUTLIVED: Count = |stats| stats.outlived;

/// On a cluster that changes, a run is shorter: so is what must have happened in it, which is rarer besides.
const SHORTER: u64 = 4;
const RARER: u64 = 8;

impl Mode {
    async fn run(self) {
        let Some(server) = RedisServer::start_or_skip_with(self.name, &PATIENT_NODES).await else { return };
        let tier = || {
            let redis = server.builder().deadline(PATIENCE).connect_deadline(PATIENCE);
            redis.build().expect("a URL").namespace("race").lease(LEASE)
        };
        let fleet = Fleet::build(|_, rows| (self.pattern)(rows).tier(tier()).consistency(self.consistency));
        let began = Instant::now();
        let reads = if server.cluster().is_some() { self.reads / SHORTER } else { self.reads };
        fleet.run(&server, reads, self.removals, Some(tier())).await;
        report(self.name, &fleet, began);
        self.judge(&fleet);
        if server.cluster().is_some() {
            self.judge_changes(&fleet);
        } else {
            self.judge_calm(&fleet);
        }
    }

    fn judge(&self, fleet: &Fleet) {
        let seen = &fleet.world.seen;
        let story = |first: &std::sync::Mutex<Option<String>>| {
            first.lock().expect("no panic").clone().unwrap_or_default()
        };
        let count = |count: &std::sync::atomic::AtomicU64| count.load(Ordering::Relaxed);
        assert_eq!(
            count(&seen.stale),
            0,
            "{}: older than an acknowledged write\n{}",
            self.name,
            story(&seen.first_stale)
        );
        if self.promise == Promise::NoneBehind {
            assert_eq!(
                count(&seen.behind),
                0,
                "{}: older than the store\n{}",
                self.name,
                story(&seen.first_behind)
            );
        }
        assert_eq!(count(&seen.impossible), 0, "{}: a version that the store never had", self.name);
    }

    fn judge_calm(&self, fleet: &Fleet) {
        assert_eq!(fleet.sum(|stats| stats.tier_failures), 0, "the server works");
        self.judge_marks(fleet, 1);
    }

    fn judge_changes(&self, fleet: &Fleet) {
        fleet.upheaval.judge(self.name, fleet.sum(OUTLIVED));
        self.judge_marks(fleet, RARER);
    }

    fn judge_marks(&self, fleet: &Fleet, rarer: u64) {
        let late = fleet.world.seen.late_refused.load(Ordering::Relaxed);
        assert!(late >= 50 / rarer, "{}: hardly ever did a process come too late", self.name);
        for (mark, count, least) in self.marks {
            let count = fleet.sum(count);
            assert!(count >= *least / rarer, "{}: hardly ever {mark}: {count}", self.name);
        }
    }
}

fn report(name: &str, fleet: &Fleet, began: Instant) {
    let seen = &fleet.world.seen;
    let count = |count: &std::sync::atomic::AtomicU64| count.load(Ordering::Relaxed);
    println!(
        "{name}: {} reads in {:.1} s, {} older than an acknowledged write, {} older than the store, {} given up",
        count(&seen.reads),
        began.elapsed().as_secs_f64(),
        count(&seen.stale),
        count(&seen.behind),
        count(&seen.dropped),
    );
    let marks: [(&str, Count); 10] = [
        ("writes", |stats| stats.writes),
        ("loads", |stats| stats.loads),
        ("fills refused", FILLS_REFUSED),
        ("leases taken over", TAKEN_OVER),
        ("waits for another process", WAITED),
        ("shared flights", COALESCED),
        ("holds contended", CONTENDED),
        ("holds lost", LOST),
        ("copies outlived", OUTLIVED),
        ("failures of the tier", |stats| stats.tier_failures),
    ];
    let marks: Vec<_> = marks.iter().map(|(mark, of)| format!("{} {mark}", fleet.sum(of))).collect();
    println!(
        "{name}: {}, {} late fills kept, {} refused",
        marks.join(", "),
        count(&seen.late_kept),
        count(&seen.late_refused)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cache_aside_with_leases() {
    let mode = Mode {
        name: "cache_aside_with_leases",
        pattern: |rows| larder::cache_aside(rows),
        consistency: Consistency::NoStaleSet,
        removals: Removals::Anything,
        promise: Promise::NoneStale,
        reads: 200_000,
        marks: &[
            ("a fill was refused", FILLS_REFUSED, 1_000),
            ("a lease was taken over", TAKEN_OVER, 50),
            ("a reader waited for another process", WAITED, 1_000),
            ("readers shared a flight", COALESCED, 1_000),
        ],
    };
    mode.run().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn write_through_with_leases() {
    let mode = Mode {
        name: "write_through_with_leases",
        pattern: |rows| larder::write_through(rows),
        consistency: Consistency::NoStaleSet,
        removals: Removals::Anything,
        promise: Promise::NoneStale,
        reads: 100_000,
        marks: &[
            ("a fill was refused", FILLS_REFUSED, 1_000),
            ("a reader waited for another process", WAITED, 500),
            ("readers shared a flight", COALESCED, 1_000),
            ("a lease was taken over", TAKEN_OVER, 10),
            ("writers met", CONTENDED, 500),
            ("a hold was lost", LOST, 100),
        ],
    };
    mode.run().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cache_aside_with_holds_is_linearizable() {
    let mode = Mode {
        name: "cache_aside_with_holds",
        pattern: |rows| larder::cache_aside(rows),
        consistency: Consistency::Linearizable,
        removals: Removals::SparingHolds,
        promise: Promise::NoneBehind,
        reads: 100_000,
        marks: &[
            ("a fill was refused", FILLS_REFUSED, 1_000),
            ("a reader waited for another process", WAITED, 500),
            ("readers shared a flight", COALESCED, 1_000),
            ("a lease was taken over", TAKEN_OVER, 10),
            ("writers met", CONTENDED, 500),
        ],
    };
    mode.run().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn write_through_with_holds_is_linearizable() {
    let mode = Mode {
        name: "write_through_with_holds",
        pattern: |rows| larder::write_through(rows),
        consistency: Consistency::Linearizable,
        removals: Removals::SparingHolds,
        promise: Promise::NoneBehind,
        reads: 100_000,
        marks: &[
            ("a fill was refused", FILLS_REFUSED, 1_000),
            ("a reader waited for another process", WAITED, 500),
            ("readers shared a flight", COALESCED, 1_000),
            ("a lease was taken over", TAKEN_OVER, 10),
            ("writers met", CONTENDED, 500),
        ],
    };
    mode.run().await;
}

/// A hold that the server forgets is a documented loss: what is left is the other promise.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_holds_lost_no_read_is_older_than_an_acknowledged_write() {
    let patterns: [(&str, Pattern); 2] = [
        ("cache_aside_with_holds_lost", |rows| larder::cache_aside(rows)),
        ("write_through_with_holds_lost", |rows| larder::write_through(rows)),
    ];
    for (name, pattern) in patterns {
        let mode = Mode {
            name,
            pattern,
            consistency: Consistency::Linearizable,
            removals: Removals::Anything,
            promise: Promise::NoneStale,
            reads: 40_000,
            marks: &[("a hold was lost", LOST, 50), ("writers met", CONTENDED, 200)],
        };
        mode.run().await;
    }
}

/// The harness can tell: what others do goes wrong in it, in a tenth of the reads as a rule.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_looks_right_and_is_not() {
    for folly in [Folly::BlindSet, Folly::DoubleDelete, Folly::TokenOfTheClient] {
        let name = format!("{folly:?}");
        let Some(server) = RedisServer::start_one_or_skip(&name).await else { return };
        let connection = raw::connect(&server.url_of_default_user()).await;
        let fleet = Fleet::build(|client, rows| {
            let tier = Naive { folly, server: connection.clone(), client };
            // Held means deleted, to the one that deletes before the write as well.
            let consistency = match folly {
                Folly::DoubleDelete => Consistency::Linearizable,
                Folly::BlindSet | Folly::TokenOfTheClient => Consistency::NoStaleSet,
            };
            larder::cache_aside(rows).tier(tier).consistency(consistency)
        });
        let began = Instant::now();
        let stale = || fleet.world.seen.stale.load(Ordering::Relaxed);
        for tenth in 1..=10 {
            fleet.run(&server, tenth * 20_000, Removals::Anything, None).await;
            if stale() > 0 {
                break;
            }
        }
        report(&name, &fleet, began);
        assert!(stale() > 0, "{name}: not one read was older than an acknowledged write");
    }
}
