//! Writers and readers in random interleavings. No read that begins after a write was acknowledged returns anything
//! older, and when all is quiet the cache says what the store says. For every pair of a read and a write strategy, on
//! one tier and on two; and it fails as soon as a guard is taken out.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::support::MINUTE;
use crate::support::ledger::{Dice, Ledger, Slow};
use larder::testing::{FakeStore, TestClock};
use larder::{Builder, LayeredCache, Local, Memory, Quick, Stats, StoreError};

/// Short runs, many of them: a run is judged by what its last steps leave behind.
const KEYS: u64 = 2;
const TASKS: u64 = 6;
const STEPS: u64 = 8;
const RUNS: u64 = 500;

/// Which guards are on.
#[derive(Clone, Copy)]
struct Guards {
    fence: bool,
    turns: bool,
}

const ALL: Guards = Guards { fence: true, turns: true };

type Seats = (&'static str, fn(Slow) -> Builder<u64, u64>);

const SEATS: [Seats; 4] = [
    ("read-through, write-around", |slow| larder::cache_aside(slow)),
    ("read-through, write-through", |slow| larder::write_through(slow)),
    ("copies only, write-around", |slow| larder::cache_aside(slow).read(larder::strategy::CopiesOnly::new())),
    ("copies only, write-through", |slow| {
        larder::write_through(slow).read(larder::strategy::CopiesOnly::new())
    }),
];

/// The settings of one run, drawn at random: whatever they are, the promise is the same.
#[derive(Clone, Copy, Debug)]
struct Settings {
    ttl: Duration,
    absent_ttl: Option<Duration>,
    refresh_ahead: Option<f64>,
    stale: Option<Duration>,
    max_batch: usize,
    tiers: usize,
    quick: bool,
}

impl Settings {
    /// What shows the races best: nothing ever expires.
    fn lasting(tiers: usize) -> Self {
        let ttl = MINUTE * 60;
        Self {
            ttl,
            absent_ttl: Some(ttl),
            refresh_ahead: None,
            stale: None,
            max_batch: 2,
            tiers,
            quick: false,
        }
    }

    /// Any combination; copies then expire, are stale and are renewed in the middle of a run.
    fn draw(dice: &Dice, reads_through: bool) -> Self {
        let millis = Duration::from_millis;
        let flip = || dice.below(2) == 0;
        Self {
            ttl: [millis(0), millis(50), millis(100), millis(200), MINUTE][dice.below(5) as usize],
            absent_ttl: flip().then(|| millis(60)),
            refresh_ahead: (reads_through && flip()).then_some(0.1),
            stale: flip().then(|| millis(200)),
            max_batch: 1 + dice.below(3) as usize,
            tiers: 1 + dice.below(2) as usize,
            quick: flip(),
        }
    }

    fn apply(self, mut builder: Builder<u64, u64>, guards: Guards) -> Builder<u64, u64> {
        for _ in 0..self.tiers {
            builder = match (self.quick, guards.fence) {
                (true, true) => builder.tier(Quick::with_capacity(100)),
                (true, false) => builder.tier(Quick::with_capacity(100).without_fence()),
                (false, true) => builder.tier(Memory::with_capacity(100)),
                (false, false) => builder.tier(Memory::with_capacity(100).without_fence()),
            };
        }
        builder = builder.ttl(self.ttl).max_batch(self.max_batch).clock(TestClock::new());
        if let Some(ttl) = self.absent_ttl {
            builder = builder.absent_ttl(ttl);
        }
        if let Some(part) = self.refresh_ahead {
            builder = builder.refresh_ahead(part);
        }
        if let Some(window) = self.stale {
            builder = builder.stale_while_revalidate(window);
        }
        if guards.turns { builder } else { builder.without_turns() }
    }
}

/// What a run has seen.
#[derive(Default)]
struct Seen {
    wrong: Vec<String>,
    stats: Stats,
}

/// One run: tasks that read and write at random, then silence, then the question.
fn run(seed: u64, seats: Seats, guards: Guards, settings: impl Fn(&Dice) -> Settings) -> Seen {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let dice = Dice::new(seed);
        let settings = settings(&dice);
        let store = FakeStore::with((0..KEYS).map(|key| (key, 0)));
        let slow = Slow { store: store.clone(), dice, ledger: Ledger::default() };
        (0..KEYS).for_each(|key| slow.ledger.commit(key, Some(0)));
        let cache = settings.apply((seats.1)(slow.clone()), guards).build().expect("the settings are right");
        let values = Arc::new(AtomicU64::new(1));
        let reads_through = seats.0.starts_with("read-through");
        let tasks: Vec<_> = (0..TASKS)
            .map(|_| tokio::spawn(live(cache.clone(), slow.clone(), Arc::clone(&values), reads_through)))
            .collect();
        let mut wrong = Vec::new();
        for task in tasks {
            wrong.extend(task.await.expect("no panic"));
        }
        cache.close(MINUTE).await.expect("closed");
        wrong.extend((0..KEYS).filter_map(|key| differs(&cache, &store, key)));
        if !wrong.is_empty() {
            wrong.push(format!("{}, seed {seed}, {settings:?}", seats.0));
        }
        Seen { wrong, stats: cache.stats() }
    })
}

/// A copy that says otherwise than the store, if there is one.
fn differs(cache: &LayeredCache<u64, u64>, store: &FakeStore<u64, u64>, key: u64) -> Option<String> {
    let says = match cache.get_local(&key) {
        Local::Unknown => return None,
        Local::Absent => None,
        Local::Value(value) => Some(value),
    };
    let truth = store.row(&key);
    (says != truth).then(|| format!("key {key}: the cache says {says:?}, the store {truth:?}"))
}

/// One task's life: random reads and writes of random keys. Answers with the reads that were too old.
async fn live(
    cache: LayeredCache<u64, u64>,
    slow: Slow,
    values: Arc<AtomicU64>,
    reads_through: bool,
) -> Vec<String> {
    let Slow { store, dice, ledger } = &slow;
    let mut too_old = Vec::new();
    for _ in 0..STEPS {
        let key = dice.below(KEYS);
        let value = values.fetch_add(1, Ordering::Relaxed);
        let since = ledger.acknowledged(key);
        let read = match dice.below(16) {
            0 => {
                _ = cache.put(&key, value).await.expect("the store works");
                ledger.acknowledge(key, Some(value));
                None
            }
            1 => {
                _ = cache.delete(&key).await.expect("the store works");
                None
            }
            2 => {
                _ = cache.update(&key, |_| Some(value)).await.expect("the store works");
                ledger.acknowledge(key, Some(value));
                None
            }
            3 => {
                let sql = || async {
                    dice.pause().await;
                    slow.set_row(key, value);
                    dice.pause().await;
                    Ok::<_, StoreError>(())
                };
                _ = cache.write(&[key], sql).await.expect("the store works");
                ledger.acknowledge(key, Some(value));
                None
            }
            4 => {
                slow.set_row(key, value); // somebody else's write, told to the cache
                cache.invalidate(&key).await.expect("memory works");
                ledger.acknowledge(key, Some(value));
                None
            }
            5 => {
                let put = cache.put(&key, value);
                _ = tokio::time::timeout(Duration::from_millis(dice.below(40)), put).await; // a caller who goes away
                None
            }
            6 => Some(cache.refresh(&key).await),
            8 => {
                let other = (key + 1) % KEYS;
                let entries = vec![(key, value), (other, value + 1_000_000)];
                for written in cache.put_many(entries).await {
                    written.expect("the store works");
                }
                ledger.acknowledge(key, Some(value));
                ledger.acknowledge(other, Some(value + 1_000_000));
                None
            }
            9 => {
                for written in cache.delete_many(&[key]).await {
                    written.expect("the store works");
                }
                None
            }
            10 => {
                slow.set_row(key, value);
                cache.invalidate_many(&[0, 1]).await.expect("memory works");
                ledger.acknowledge(key, Some(value));
                None
            }
            11 => {
                let load = |keys: Vec<u64>| async move {
                    dice.pause().await;
                    let found: HashMap<u64, u64> =
                        keys.into_iter().filter_map(|key| Some((key, store.row(&key)?))).collect();
                    dice.pause().await;
                    Ok::<_, StoreError>(found)
                };
                Some(cache.get_or_load_many(&[key, (key + 1) % KEYS], load).await.remove(0))
            }
            12 if reads_through => Some(cache.get_many(&[(key + 1) % KEYS, key]).await.remove(1)),
            7 => {
                let load = || async {
                    dice.pause().await;
                    let row = store.row(&key);
                    dice.pause().await;
                    Ok::<_, StoreError>(row)
                };
                Some(cache.get_or_load(&key, load).await)
            }
            // `None`: there is no copy, and nobody was asked
            _ => cache.get_entry(&key).await.expect("the store works").map(|served| Ok(served.into_value())),
        };
        if let Some(answer) = read {
            let answer = answer.expect("the store works");
            if !ledger.is_current(key, answer, since) {
                too_old.push(format!(
                    "a read of key {key} answered {answer:?} after a newer value was acknowledged"
                ));
            }
        }
        dice.pause().await;
    }
    too_old
}

#[test]
fn when_all_is_quiet_the_cache_says_what_the_store_says() {
    let (mut refused, mut writes) = (0, 0);
    for seats in SEATS {
        for tiers in [1, 2] {
            for seed in 0..RUNS {
                let seen = run(seed, seats, ALL, |_| Settings::lasting(tiers));
                assert!(seen.wrong.is_empty(), "{:?}", seen.wrong);
                refused += seen.stats.fills_refused;
                writes += seen.stats.writes;
            }
        }
    }
    println!("coverage: {writes} writes, {refused} fills refused");
    assert!(writes > 50_000, "too few writes to mean anything: {writes}");
    assert!(refused > 5_000, "the race was hardly ever run: {refused}");
}

#[test]
fn whatever_the_settings_are() {
    let mut total = Stats::default();
    for (at, seats) in SEATS.into_iter().enumerate() {
        for seed in 0..5 * RUNS {
            let seen = run(seed, seats, ALL, |dice| Settings::draw(dice, at < 2));
            assert!(seen.wrong.is_empty(), "{:?}", seen.wrong);
            total.fills_refused += seen.stats.fills_refused;
            total.refreshes += seen.stats.refreshes;
            total.stale_hits += seen.stats.stale_hits;
        }
    }
    println!(
        "coverage: {} fills refused, {} refreshes, {} stale hits",
        total.fills_refused, total.refreshes, total.stale_hits
    );
    assert!(total.fills_refused > 5_000, "the race was hardly ever run");
    assert!(total.refreshes > 1_000 && total.stale_hits > 1_000, "hardly anything was ever renewed");
}

#[test]
fn without_a_guard_it_does_not() {
    for (guard, guards) in [
        ("fence", Guards { fence: false, ..ALL }),
        ("turns and fence", Guards { fence: false, turns: false }),
    ] {
        for seats in &SEATS[..2] {
            let ends_wrong =
                |seed: &u64| !run(*seed, *seats, guards, |_| Settings::lasting(1)).wrong.is_empty();
            let caught = (0..RUNS).filter(ends_wrong).count();
            println!("coverage: without {guard}, {}: {caught} of {RUNS} runs end wrong", seats.0);
            assert!(caught > 0, "without {guard}, {}: the runs do not show what the guard is for", seats.0);
        }
    }
}
