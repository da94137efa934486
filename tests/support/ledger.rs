//! A store with random pauses, and a ledger of what it held: what random interleavings are judged by.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use larder::testing::FakeStore;
use larder::{Loader, Saved, Store, StoreError};

/// Pauses of random length, so that every await is a place where others may come between. The time is tokio's paused
/// one: a run takes milliseconds, and the same seed gives the same run.
#[derive(Clone)]
pub struct Dice(Arc<Mutex<fastrand::Rng>>);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(fastrand::Rng::with_seed(seed))))
    }

    pub fn below(&self, n: u64) -> u64 {
        self.0.lock().expect("no panic").u64(..n)
    }

    pub async fn pause(&self) {
        let millis = self.below(50);
        tokio::time::sleep(Duration::from_millis(millis)).await;
    }
}

/// What the store has held, key by key in the order of its commits, and how much of that has been acknowledged.
#[derive(Clone, Default)]
pub struct Ledger(Arc<Mutex<HashMap<u64, Account>>>);

#[derive(Default)]
struct Account {
    commits: Vec<Option<u64>>,
    acknowledged: usize,
}

impl Ledger {
    pub fn commit(&self, key: u64, value: Option<u64>) {
        self.0.lock().expect("no panic").entry(key).or_default().commits.push(value);
    }

    /// The last commit of `value` has been acknowledged: no read from now on may be older.
    pub fn acknowledge(&self, key: u64, value: Option<u64>) {
        let mut accounts = self.0.lock().expect("no panic");
        let account = accounts.entry(key).or_default();
        let position = account.position(value).expect("an acknowledged write was committed");
        account.acknowledged = account.acknowledged.max(position);
    }

    pub fn acknowledged(&self, key: u64) -> usize {
        self.0.lock().expect("no panic").entry(key).or_default().acknowledged
    }

    /// The position of the last commit.
    pub fn committed(&self, key: u64) -> usize {
        self.0.lock().expect("no panic").entry(key).or_default().commits.len().saturating_sub(1)
    }

    /// Whether the store held `answer` at the position `since` or later.
    pub fn is_current(&self, key: u64, answer: Option<u64>, since: usize) -> bool {
        let accounts = self.0.lock().expect("no panic");
        accounts
            .get(&key)
            .and_then(|account| account.position(answer))
            .is_some_and(|position| position >= since)
    }
}

impl Account {
    fn position(&self, value: Option<u64>) -> Option<usize> {
        self.commits.iter().rposition(|commit| *commit == value)
    }
}

/// The fake store with random pauses before and after every step, and a ledger.
#[derive(Clone)]
pub struct Slow {
    pub store: FakeStore<u64, u64>,
    pub dice: Dice,
    pub ledger: Ledger,
}

impl Slow {
    /// A write that does not go through the cache.
    pub fn set_row(&self, key: u64, value: u64) {
        self.store.set_row(key, value);
        self.ledger.commit(key, Some(value));
    }
}

#[async_trait]
impl Loader<u64, u64> for Slow {
    async fn load(&self, key: &u64) -> Result<Option<u64>, StoreError> {
        self.dice.pause().await;
        let answer = self.store.load(key).await;
        self.dice.pause().await;
        answer
    }
}

#[async_trait]
impl Store<u64, u64> for Slow {
    async fn save(&self, key: &u64, value: &u64) -> Result<Saved<u64>, StoreError> {
        self.dice.pause().await;
        let answer = self.store.save(key, value).await;
        self.ledger.commit(*key, Some(*value)); // nobody comes between: the fake store did not wait
        self.dice.pause().await;
        answer
    }

    async fn delete(&self, key: &u64) -> Result<(), StoreError> {
        self.dice.pause().await;
        let answer = self.store.delete(key).await;
        self.ledger.commit(*key, None);
        self.dice.pause().await;
        answer
    }
}
