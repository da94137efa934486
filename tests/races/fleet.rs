//! Several processes on one shared tier, in random interleavings: no read that begins after a write was acknowledged, in
//! whichever process, returns anything older; where the cache is linearizable, none is older than the store was when it
//! began. And both fail as soon as a guard is taken out.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::support::MINUTE;
use crate::support::ledger::{Dice, Ledger, Slow};
use larder::testing::{FakeStore, SharedServer, TestClock};
use larder::tier::{Acquired, Purpose};
use larder::time::Timestamp;
use larder::{Builder, Consistency, Entry, LayeredCache, Loader, Stats, StoreError, Tier};

const KEYS: u64 = 2;
const PROCESSES: u64 = 3;
/// Tasks in each process: with more than one, they share flights.
const TASKS: u64 = 3;
const STEPS: u64 = 8;
const RUNS: u64 = 1_500;

/// Which guards are on.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Guards {
    All,
    NoLeases,
    NoHolds,
}

#[derive(Clone, Copy, Debug)]
struct Settings {
    consistency: Consistency,
    write_through: bool,
    ttl: Duration,
    stale: Option<Duration>,
    refresh_ahead: Option<f64>,
    lease: Duration,
    /// How often, of a hundred steps, the server forgets a key.
    evictions: u64,
}

impl Settings {
    fn draw(dice: &Dice, consistency: Consistency) -> Self {
        let millis = Duration::from_millis;
        Self {
            consistency,
            write_through: dice.below(2) == 0,
            ttl: [millis(60), millis(200), MINUTE, MINUTE][dice.below(4) as usize],
            stale: (dice.below(3) == 0).then(|| millis(100)),
            refresh_ahead: (dice.below(3) == 0).then_some(0.3),
            lease: [millis(30), millis(100), millis(5_000)][dice.below(3) as usize],
            // A hold that is evicted is a loss that the linearizable mode names; see its document.
            evictions: if consistency == Consistency::Linearizable { 0 } else { dice.below(2) * 10 },
        }
    }

    fn build(self, slow: &Slow, server: &SharedServer<u64, u64>, guards: Guards) -> LayeredCache<u64, u64> {
        let builder: Builder<u64, u64> = match self.write_through {
            true => larder::write_through(slow.clone()),
            false => larder::cache_aside(slow.clone()),
        };
        let tier = server.tier().lease(self.lease);
        let tier = match guards {
            Guards::All => tier,
            Guards::NoLeases => tier.without_leases(),
            Guards::NoHolds => tier.without_holds(),
        };
        let mut builder =
            builder.tier(tier).ttl(self.ttl).consistency(self.consistency).clock(TestClock::new());
        if let Some(window) = self.stale {
            builder = builder.stale_while_revalidate(window);
        }
        if let Some(part) = self.refresh_ahead {
            builder = builder.refresh_ahead(part);
        }
        builder.build().expect("the settings are right")
    }
}

/// What all tasks of a run work with.
#[derive(Clone)]
struct Town {
    slow: Slow,
    server: SharedServer<u64, u64>,
    settings: Settings,
    values: Arc<AtomicU64>,
}

impl Town {
    /// A process that stands still in the middle of a load: it does not renew its lease, and wakes, or does not, with an
    /// answer that may be old by then.
    async fn zombie(&self, key: u64) {
        let Slow { dice, .. } = &self.slow;
        let tier = self.server.tier().lease(self.settings.lease);
        let Ok(Acquired::Granted(lease, _)) = tier.acquire(&key, Purpose::Fill).await else { return };
        let row = self.slow.load(&key).await.expect("the store works");
        for _ in 0..dice.below(8) {
            dice.pause().await;
        }
        if dice.below(2) == 0 {
            let entry = Entry::new(row, Timestamp::ZERO, Timestamp::NEVER, Timestamp::NEVER);
            _ = tier.fill(&key, lease, &entry).await.expect("the server works");
        }
    }
}

#[derive(Default)]
struct Seen {
    wrong: Vec<String>,
    stats: Vec<Stats>,
}

fn run(seed: u64, consistency: Consistency, guards: Guards) -> Seen {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let dice = Dice::new(seed);
        let settings = Settings::draw(&dice, consistency);
        let store = FakeStore::with((0..KEYS).map(|key| (key, 0)));
        let slow = Slow { store, dice, ledger: Ledger::default() };
        (0..KEYS).for_each(|key| slow.ledger.commit(key, Some(0)));
        let town = Town { slow, server: SharedServer::new(), settings, values: Arc::new(AtomicU64::new(1)) };
        let processes: Vec<_> =
            (0..PROCESSES).map(|_| settings.build(&town.slow, &town.server, guards)).collect();
        let tasks: Vec<_> = (0..PROCESSES * TASKS)
            .map(|n| tokio::spawn(live(processes[(n % PROCESSES) as usize].clone(), town.clone())))
            .collect();
        let mut wrong = Vec::new();
        for task in tasks {
            wrong.extend(task.await.expect("no panic"));
        }
        if !wrong.is_empty() {
            wrong.push(format!("seed {seed}, {settings:?}"));
        }
        Seen { wrong, stats: processes.iter().map(LayeredCache::stats).collect() }
    })
}

/// One task's life. Answers with the reads that were too old.
async fn live(cache: LayeredCache<u64, u64>, town: Town) -> Vec<String> {
    let Slow { dice, ledger, .. } = &town.slow;
    let strict = town.settings.consistency == Consistency::Linearizable;
    let mut too_old = Vec::new();
    for _ in 0..STEPS {
        let key = dice.below(KEYS);
        if dice.below(100) < town.settings.evictions {
            town.server.evict(&key);
        }
        let value = town.values.fetch_add(1, Ordering::Relaxed);
        match dice.below(16) {
            0 | 1 => {
                _ = cache.put(&key, value).await.expect("the store works");
                ledger.acknowledge(key, Some(value));
            }
            2 => _ = cache.delete(&key).await.expect("the store works"),
            3 => {
                let sql = || async {
                    dice.pause().await;
                    town.slow.set_row(key, value);
                    dice.pause().await;
                    Ok::<_, StoreError>(())
                };
                _ = cache.write(&[key], sql).await.expect("the store works");
                ledger.acknowledge(key, Some(value));
            }
            4 if !strict => {
                town.slow.set_row(key, value); // somebody else's write, told to the cache
                cache.invalidate(&key).await.expect("the server works");
                ledger.acknowledge(key, Some(value));
            }
            5 => {
                let put = cache.put(&key, value);
                _ = tokio::time::timeout(Duration::from_millis(dice.below(40)), put).await; // goes away
            }
            13 => town.zombie(key).await,
            14 | 15 => {
                // The load is its caller's and goes away with it: the lease is then nobody's.
                let read = cache.get_or_load(&key, || town.slow.load(&key));
                _ = tokio::time::timeout(Duration::from_millis(dice.below(40)), read).await;
            }
            choice => {
                let since = if strict { ledger.committed(key) } else { ledger.acknowledged(key) };
                let answer = match choice {
                    6 => cache.refresh(&key).await,
                    7 => cache.get_many(&[(key + 1) % KEYS, key]).await.remove(1),
                    _ => cache.get(&key).await,
                };
                let answer = answer.expect("the store works");
                if !ledger.is_current(key, answer, since) {
                    too_old.push(format!("a read of key {key} answered {answer:?}, older than it may be"));
                }
            }
        }
        dice.pause().await;
    }
    too_old
}

fn sum(stats: &[Stats], count: impl Fn(&Stats) -> u64) -> u64 {
    stats.iter().map(count).sum()
}

fn assert_right(consistency: Consistency) -> Vec<Stats> {
    let mut all = Vec::new();
    for seed in 0..RUNS {
        let seen = run(seed, consistency, Guards::All);
        assert!(seen.wrong.is_empty(), "{:#?}", seen.wrong);
        all.extend(seen.stats);
    }
    let marks = [
        ("writes", sum(&all, |stats| stats.writes), 20_000),
        ("fills refused", sum(&all, |stats| stats.fills_refused), 1_000),
        ("leases taken over", sum(&all, |stats| stats.leases_taken_over), 200),
        ("holds contended", sum(&all, |stats| stats.holds_contended), 1_000),
        ("waits for another process", sum(&all, |stats| stats.waited), 1_000),
        ("shared flights", sum(&all, |stats| stats.coalesced), 1_000),
        ("refreshes", sum(&all, |stats| stats.refreshes), 500),
    ];
    for (mark, count, least) in marks {
        println!("{consistency:?}: {count} {mark}");
        assert!(count >= least, "{mark} hardly ever happened: {count}");
    }
    all
}

#[test]
fn no_process_reads_what_is_older_than_an_acknowledged_write_of_any() {
    let all = assert_right(Consistency::NoStaleSet);
    let lost = sum(&all, |stats| stats.holds_lost);
    println!("{lost} holds lost");
    assert!(lost > 100, "a hold was hardly ever evicted: {lost}");
}

#[test]
fn linearizable_reads_are_no_older_than_their_beginning() {
    assert_right(Consistency::Linearizable);
}

#[test]
fn without_a_guard_they_do() {
    for (guard, guards, consistency) in [
        ("leases", Guards::NoLeases, Consistency::NoStaleSet),
        ("leases", Guards::NoLeases, Consistency::Linearizable),
        ("contended holds", Guards::NoHolds, Consistency::NoStaleSet),
    ] {
        let wrong = (0..RUNS).filter(|seed| !run(*seed, consistency, guards).wrong.is_empty()).count();
        println!("without {guard}, {consistency:?}: {wrong} of {RUNS} runs are wrong");
        assert!(wrong > 20, "without {guard} hardly anything goes wrong: {wrong}");
    }
}
