//! The contract suites of `larder::testing` pass for every tier and store that comes with larder, and for a map of
//! one's own behind the fence. They fail, and name the promise, when a tier or a store breaks one.

use std::any::Any;
use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard};

use async_trait::async_trait;
use futures_util::FutureExt;
use larder::testing::{FakeStore, Faulty, store_contract, tier_contract};
use larder::tier::{Fenced, LocalMap, Stored};
use larder::{Change, Loader, Memory, Quick, Result, Saved, Store, StoreError, store_fn};

/// The simplest map there is.
#[derive(Default)]
struct Plain(Mutex<HashMap<u64, Stored<String>>>);

impl Plain {
    fn rows(&self) -> MutexGuard<'_, HashMap<u64, Stored<String>>> {
        self.0.lock().expect("no panic")
    }
}

impl LocalMap<u64, String> for Plain {
    fn get(&self, key: &u64) -> Option<Stored<String>> {
        self.rows().get(key).cloned()
    }

    fn put(&self, key: u64, stored: Stored<String>) {
        self.rows().insert(key, stored);
    }

    fn remove(&self, key: &u64) {
        self.rows().remove(key);
    }

    fn clear(&self) {
        self.rows().clear();
    }

    fn len(&self) -> u64 {
        self.rows().len() as u64
    }
}

/// A map that keeps what it was told to drop.
#[derive(Default)]
struct Hoarder(Plain);

impl LocalMap<u64, String> for Hoarder {
    fn get(&self, key: &u64) -> Option<Stored<String>> {
        self.0.get(key)
    }

    fn put(&self, key: u64, stored: Stored<String>) {
        self.0.put(key, stored);
    }

    fn remove(&self, _key: &u64) {}

    fn clear(&self) {}

    fn len(&self) -> u64 {
        1
    }
}

type Fault = fn(&mut Vec<Change<u64, String>>, &mut Vec<Option<String>>);

/// A store with one fault: what it does to a batch of changes, or to a batch of answers.
struct Wrong {
    rows: FakeStore<u64, String>,
    fault: Fault,
}

#[async_trait]
impl Loader<u64, String> for Wrong {
    async fn load(&self, key: &u64) -> Result<Option<String>, StoreError> {
        self.rows.load(key).await
    }

    async fn load_many(&self, keys: &[u64]) -> Vec<Result<Option<String>, StoreError>> {
        let mut answers = keys.iter().map(|key| self.rows.row(key)).collect();
        (self.fault)(&mut Vec::new(), &mut answers);
        answers.into_iter().map(Ok).collect()
    }
}

#[async_trait]
impl Store<u64, String> for Wrong {
    async fn save(&self, key: &u64, value: &String) -> Result<Saved<String>, StoreError> {
        self.rows.save(key, value).await
    }

    async fn delete(&self, key: &u64) -> Result<(), StoreError> {
        self.rows.delete(key).await
    }

    async fn apply(&self, changes: &[Change<u64, String>]) -> Result<(), StoreError> {
        let mut changes = changes.to_vec();
        (self.fault)(&mut changes, &mut Vec::new());
        self.rows.apply(&changes).await
    }
}

/// Three closures over a map; a `delete` that does nothing on request.
fn over_a_map(deletes: bool) -> impl Store<u64, String> {
    let rows: Arc<Mutex<HashMap<u64, String>>> = Arc::default();
    let (saving, deleting) = (Arc::clone(&rows), Arc::clone(&rows));
    let lock = |rows: &Mutex<HashMap<u64, String>>| rows.lock().expect("no panic").clone();
    store_fn(
        move |key: u64| {
            let row = lock(&rows).get(&key).cloned();
            async move { Ok::<_, std::io::Error>(row) }
        },
        move |key: u64, value: String| {
            saving.lock().expect("no panic").insert(key, value);
            async { Ok::<_, std::io::Error>(()) }
        },
        move |key: u64| {
            if deletes {
                deleting.lock().expect("no panic").remove(&key);
            }
            async { Ok::<_, std::io::Error>(()) }
        },
    )
}

/// The promise that a suite found broken.
async fn broken_promise<E: std::fmt::Debug>(suite: impl Future<Output = Result<(), E>>) -> String {
    let panic = AssertUnwindSafe(suite).catch_unwind().await.expect_err("the suite fails");
    text_of(&*panic)
}

fn text_of(panic: &(dyn Any + Send)) -> String {
    panic
        .downcast_ref::<String>()
        .cloned()
        .or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string))
        .expect("a panic has a text")
}

#[tokio::test(start_paused = true)]
async fn memory_keeps_the_contract_of_a_tier() -> Result<()> {
    tier_contract(async || Memory::with_capacity(100)).await
}

#[tokio::test(start_paused = true)]
async fn the_quick_engine_keeps_the_contract_of_a_tier() -> Result<()> {
    tier_contract(async || Quick::with_capacity(100)).await
}

#[tokio::test(start_paused = true)]
async fn a_shared_tier_keeps_the_contract_of_a_tier() -> Result<()> {
    tier_contract(async || Arc::new(Memory::with_capacity(100))).await
}

#[tokio::test(start_paused = true)]
async fn any_map_behind_the_fence_keeps_the_contract_of_a_tier() -> Result<()> {
    tier_contract(async || Fenced::new("plain", Plain::default())).await
}

#[tokio::test(start_paused = true)]
async fn a_faulty_tier_without_a_fault_keeps_the_contract_of_a_tier() -> Result<()> {
    tier_contract(async || Faulty::new(Memory::with_capacity(100))).await
}

#[tokio::test(start_paused = true)]
async fn a_tier_without_a_fence_breaks_the_contract() {
    let promise = broken_promise(tier_contract(async || Memory::with_capacity(100).without_fence())).await;
    assert!(promise.contains("a lease from before the invalidation lets nobody fill"), "{promise}");
}

#[tokio::test(start_paused = true)]
async fn a_tier_that_keeps_what_was_invalidated_breaks_the_contract() {
    let promise = broken_promise(tier_contract(async || Fenced::new("hoarder", Hoarder::default()))).await;
    assert!(promise.contains("what was invalidated is not local"), "{promise}");
}

#[tokio::test(start_paused = true)]
async fn a_tier_that_fails_hands_its_error_up() {
    let failing = async || {
        let tier = Faulty::new(Memory::with_capacity(100));
        tier.faults().fail(true);
        tier
    };
    let error = tier_contract(failing).await.expect_err("the tier fails");
    assert_eq!(error.kind(), larder::ErrorKind::Tier);
}

#[tokio::test]
async fn the_fake_store_keeps_the_contract_of_a_store() -> Result<(), StoreError> {
    store_contract(async || FakeStore::new()).await
}

#[tokio::test]
async fn a_store_of_closures_keeps_the_contract_of_a_store() -> Result<(), StoreError> {
    store_contract(async || over_a_map(true)).await
}

#[tokio::test]
async fn a_shared_store_keeps_the_contract_of_a_store() -> Result<(), StoreError> {
    store_contract(async || Arc::new(FakeStore::new())).await?;
    let dynamic = async || {
        let store: Arc<dyn Store<u64, String>> = Arc::new(FakeStore::new());
        store
    };
    store_contract(dynamic).await
}

#[tokio::test]
async fn a_faulty_store_without_a_fault_keeps_the_contract_of_a_store() -> Result<(), StoreError> {
    store_contract(async || Faulty::new(FakeStore::new())).await
}

#[tokio::test]
async fn a_store_that_does_not_delete_breaks_the_contract() {
    let promise = broken_promise(store_contract(async || over_a_map(false))).await;
    assert!(promise.contains("what was deleted is absent"), "{promise}");
}

#[tokio::test]
async fn a_store_that_mixes_up_its_batches_breaks_the_contract() {
    let faults: [(Fault, &str); 4] = [
        (|_, answers| answers.reverse(), "an answer for each key, in order"),
        (|_, answers| answers.truncate(2), "an answer for each key, in order"),
        (|changes, _| changes.reverse(), "a delete after a put wins"),
        (|changes, _| changes.truncate(2), "a put after a delete wins"),
    ];
    for (fault, promise) in faults {
        let wrong = async || Wrong { rows: FakeStore::new(), fault };
        let broken = broken_promise(store_contract(wrong)).await;
        assert!(broken.contains(promise), "expected `{promise}`, not: {broken}");
    }
}
