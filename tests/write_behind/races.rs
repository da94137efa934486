//! Writers and readers at random against a store that fails at random, judged by what each of them was told.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::support::behind::{Behind, Log, MILLI, Numbers, SECOND, settings};
use crate::support::ledger::Dice;
use larder::journal::Volatile;
use larder::testing::{Call, FakeStore, Trouble};
use larder::{Change, Loader, Store};

const KEYS: u64 = 5;

/// What the writer of a key was told: the last value that was acknowledged, and all of them.
#[derive(Default)]
struct Told {
    last: HashMap<u64, u64>,
    all: Vec<(u64, u64)>,
}

struct Race {
    dice: Dice,
    store: Numbers,
    told: Mutex<Told>,
}

impl Race {
    fn new(seed: u64, store: Numbers) -> Arc<Self> {
        Arc::new(Self { dice: Dice::new(seed), store, told: Mutex::default() })
    }

    /// The only writer of `key`: its values grow.
    async fn write(self: Arc<Self>, behind: Behind, key: u64, values: std::ops::Range<u64>) {
        for value in values {
            self.pause(40).await;
            if behind.save(&key, &value).await.is_ok() {
                let mut told = self.told.lock().unwrap();
                told.last.insert(key, value);
                told.all.push((key, value));
            }
        }
    }

    async fn read(self: Arc<Self>, behind: Behind) {
        for _ in 0..60 {
            self.pause(30).await;
            let key = self.dice.below(KEYS);
            let acknowledged = self.told.lock().unwrap().last.get(&key).copied();
            let seen = behind.load(&key).await.unwrap();
            assert!(seen >= acknowledged, "key {key} is {seen:?}, and {acknowledged:?} was acknowledged");
        }
    }

    async fn fail(self: Arc<Self>, calls: &'static [Call], lands_later: bool) {
        loop {
            self.pause(200).await;
            let call = calls[self.dice.below(calls.len() as u64) as usize];
            let late = Duration::from_millis(self.dice.below(3_000));
            let trouble = match self.dice.below(if lands_later { 7 } else { 6 }) {
                0 => Trouble::Transient,
                1 => Trouble::NotApplied,
                2 => Trouble::Unknown,
                3 => Trouble::Applied,
                4 => Trouble::Hang,
                5 => Trouble::Panic,
                _ => Trouble::LandsLater(late),
            };
            // Of a claim or a question only that it is not answered.
            let is_commit = !matches!(call, Call::Claim | Call::Offset);
            self.store.next(call, if is_commit { trouble } else { Trouble::Transient });
        }
    }

    async fn pause(&self, most: u64) {
        tokio::time::sleep(Duration::from_millis(self.dice.below(most))).await;
    }

    /// One life: writers, readers and failures, until it ends somewhere in between.
    async fn live(self: &Arc<Self>, behind: &Behind, life: u64, calls: &'static [Call], lands_later: bool) {
        let failing = tokio::spawn(Arc::clone(self).fail(calls, lands_later));
        let values = life * 100 + 1..life * 100 + 60;
        let writers =
            (0..KEYS).map(|key| tokio::spawn(Arc::clone(self).write(behind.clone(), key, values.clone())));
        let readers = (0..3).map(|_| tokio::spawn(Arc::clone(self).read(behind.clone())));
        let tasks: Vec<_> = writers.chain(readers).collect();
        for task in tasks {
            task.await.unwrap();
        }
        failing.abort();
    }

    fn assert_last_writes_are_stored(&self) {
        for (key, value) in &self.told.lock().unwrap().last {
            assert_eq!(self.store.row(key), Some(*value), "key {key}");
        }
    }

    /// Values of one key only grow.
    fn assert_order(&self, strictly: bool) {
        let mut last = HashMap::new();
        for change in self.store.history() {
            let Change::Put(key, value) = change else { panic!("nothing is deleted") };
            let before = last.insert(key, value);
            let is_right = before.is_none_or(|before| before < value || (!strictly && before == value));
            assert!(is_right, "key {key}: {value} after {before:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn exactly_once_each_write_has_its_effect_once_and_in_order_over_restarts() {
    for seed in 0..40 {
        let race = Race::new(seed, FakeStore::new().keeping_every_write());
        let log = Log::new();
        for life in 0..4 {
            let builder = settings(&race.store).exactly_once().journal(log.clone()).tries(1_000);
            let builder = builder.flush_every(50 * MILLI).batch(10).pauses(20 * MILLI, SECOND / 5);
            let behind = builder.store_deadline(SECOND).store().unwrap();
            race.live(&behind, life, &[Call::Commit, Call::Commit, Call::Claim, Call::Offset], true).await;
            if life == 3 {
                behind.flush().await.unwrap();
            }
        }
        tokio::time::sleep(10 * SECOND).await;
        race.assert_order(true);
        race.assert_last_writes_are_stored();
        let mut effects: Vec<_> = race.store.history();
        let told = race.told.lock().unwrap().all.clone();
        let place = |change: &Change<u64, u64>| match change {
            Change::Put(key, value) => (*key, *value),
            _ => panic!("nothing is deleted"),
        };
        effects.sort_by_key(place);
        let mut told: Vec<_> = told;
        told.sort_unstable();
        assert_eq!(effects.iter().map(place).collect::<Vec<_>>(), told, "seed {seed}");
    }
}

#[tokio::test(start_paused = true)]
async fn by_id_each_write_has_its_effect_once_and_in_order() {
    for seed in 0..40 {
        let race = Race::new(seed, FakeStore::new());
        let builder = settings(&race.store).once_by_id().journal(Log::new()).tries(1_000);
        let builder = builder.flush_every(50 * MILLI).batch(10).pauses(20 * MILLI, SECOND / 5);
        let behind = builder.store_deadline(SECOND).store().unwrap();
        race.live(&behind, 0, &[Call::Apply], false).await;
        behind.flush().await.unwrap();
        race.assert_order(true);
        race.assert_last_writes_are_stored();
        assert_eq!(race.store.history().len(), race.told.lock().unwrap().all.len());
    }
}

#[tokio::test(start_paused = true)]
async fn at_least_once_the_last_write_of_each_key_is_what_remains() {
    for seed in 0..40 {
        let race = Race::new(seed, FakeStore::new());
        let builder = settings(&race.store).journal(Volatile::new().shards(2)).concurrency(2).tries(1_000);
        let builder = builder.flush_every(50 * MILLI).batch(3).pauses(20 * MILLI, SECOND / 5);
        let behind = builder.store_deadline(SECOND).store().unwrap();
        race.live(&behind, 0, &[Call::Save], false).await;
        behind.flush().await.unwrap();
        race.assert_order(false);
        race.assert_last_writes_are_stored();
        assert_eq!(behind.backlog().writes, 0);
    }
}
