//! A cache whose keys are tenants' drops the copies of one tenant without touching those of any other, in every tier, and
//! no load that was under way brings one back.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use crate::support::MINUTE;
use larder::testing::{Call, FakeStore, Faulty, SharedServer, TestClock};
use larder::tier::{Fenced, LocalMap, Stored};
use larder::{
    Builder, Cache, CacheExt, Copies, ErrorKind, LayeredCache, Memory, Operation, Quick, Result, Tenant,
    TenantKey,
};

type Key = TenantKey<String, u64>;
type Titles = LayeredCache<Key, String>;

/// Names that could be taken for each other, for a pattern, or for the border between tenant and key.
const TENANTS: [&str; 10] = ["1", "11", "1:", "1:1", "*", "1*", "?", "[1]", "", "1 "];
const KEYS: u64 = 3;

fn tenant(name: &str) -> Tenant<String> {
    Tenant::of(name.to_owned())
}

fn keys_of(name: &str) -> impl Iterator<Item = Key> {
    (0..KEYS).map(move |key| tenant(name).key(key))
}

fn all_keys() -> Vec<Key> {
    TENANTS.iter().flat_map(|name| keys_of(name)).collect()
}

fn store() -> FakeStore<Key, String> {
    FakeStore::with(all_keys().into_iter().map(|key| (key, "old".to_owned())))
}

fn over(store: &FakeStore<Key, String>) -> Builder<Key, String> {
    usual(larder::cache_aside(store.clone()))
}

fn usual(builder: Builder<Key, String>) -> Builder<Key, String> {
    builder.ttl(MINUTE).absent_ttl(MINUTE).jitter(0.0).local_ttl(MINUTE).clock(TestClock::new())
}

/// Every way to stack the tiers of this crate that need no server.
fn stacks(store: &FakeStore<Key, String>) -> Vec<(&'static str, Titles)> {
    let (server, below_memory) = (SharedServer::new(), SharedServer::new());
    let builders = [
        ("memory", over(store).tier(Memory::with_capacity(1_000))),
        ("quick", over(store).tier(Quick::with_capacity(1_000))),
        ("shared", over(store).tier(server.tier())),
        ("memory above shared", over(store).tier(Memory::with_capacity(1_000)).tier(below_memory.tier())),
        ("shared, held as an arc", over(store).tier(Arc::new(SharedServer::new().tier()))),
    ];
    builders.into_iter().map(|(name, builder)| (name, builder.build().expect("complete"))).collect()
}

async fn read_all(cache: &Titles) {
    for answer in cache.get_many(&all_keys()).await {
        answer.expect("the store answers");
    }
}

/// The tenants of which a read asks the store for a key.
async fn reloaded(cache: &Titles, store: &FakeStore<Key, String>) -> Vec<(String, u64)> {
    let mut reloaded = Vec::new();
    for name in TENANTS {
        let before = store.loads();
        for key in keys_of(name) {
            cache.get(&key).await.expect("the store answers");
        }
        if store.loads() > before {
            reloaded.push((name.to_owned(), store.loads() - before));
        }
    }
    reloaded
}

#[tokio::test(start_paused = true)]
async fn the_copies_of_one_tenant_go_and_those_of_no_other() -> Result<()> {
    let store = store();
    for (stack, cache) in stacks(&store) {
        read_all(&cache).await;
        assert_eq!(reloaded(&cache, &store).await, [], "{stack}");
        for name in TENANTS {
            cache.clear_tenant(&tenant(name)).await?;
            assert_eq!(reloaded(&cache, &store).await, [(name.to_owned(), KEYS)], "{stack}");
        }
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn absences_of_a_tenant_go_as_well() -> Result<()> {
    let store = FakeStore::new();
    for (stack, cache) in stacks(&store) {
        let (gone, stays) = (tenant("1").key(7), tenant("11").key(7));
        for key in [&gone, &stays] {
            assert_eq!(cache.get(key).await?, None);
        }
        store.set_row(gone.clone(), "new".to_owned());
        store.set_row(stays.clone(), "new".to_owned());
        cache.clear_tenant(&tenant("1")).await?;
        assert_eq!(cache.get(&gone).await?.as_deref(), Some("new"), "{stack}");
        assert_eq!(cache.get(&stays).await?, None, "{stack}");
        store.remove_row(&gone);
        store.remove_row(&stays);
    }
    Ok(())
}

/// A read of the store's old row, stopped before it is answered.
async fn begun(
    cache: &Titles,
    store: &FakeStore<Key, String>,
    key: &Key,
) -> (larder::testing::Gate, tokio::task::JoinHandle<Result<Option<String>>>) {
    let gate = store.gate_after(Call::Load);
    let (cache, key) = (cache.clone(), key.clone());
    let reader = tokio::spawn(async move { cache.get(&key).await });
    gate.arrived(1).await;
    (gate, reader)
}

#[tokio::test(start_paused = true)]
async fn a_load_under_way_is_not_kept_and_not_joined_any_more() -> Result<()> {
    for at in 0..stacks(&store()).len() {
        let store = store();
        let (stack, cache) = stacks(&store).swap_remove(at);
        let key = tenant("1").key(2);
        let (gate, reader) = begun(&cache, &store, &key).await;
        store.set_row(key.clone(), "new".to_owned());
        cache.clear_tenant(&tenant("1")).await?;
        let after = cache.get(&key);
        gate.open();
        assert_eq!(after.await?.as_deref(), Some("new"), "{stack}: who asks after the clear");
        assert_eq!(reader.await.expect("no panic")?.as_deref(), Some("old"), "{stack}: who asked before");
        assert_eq!(cache.get(&key).await?.as_deref(), Some("new"), "{stack}: and what is kept");
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn loads_of_other_tenants_are_still_shared() -> Result<()> {
    let store = store();
    let cache = over(&store).tier(Memory::with_capacity(1_000)).build()?;
    let key = tenant("11").key(2);
    let (gate, first) = begun(&cache, &store, &key).await;
    cache.clear_tenant(&tenant("1")).await?;
    let (second, _) = tokio::join!(cache.get(&key), async { gate.open() });
    assert_eq!(second?.as_deref(), Some("old"));
    assert_eq!(first.await.expect("no panic")?.as_deref(), Some("old"));
    assert_eq!(store.loads(), 1);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_write_under_way_leaves_no_copy() -> Result<()> {
    let store = store();
    let cache = usual(larder::write_through(store.clone())).tier(Memory::with_capacity(1_000)).build()?;
    let (key, gate) = (tenant("1").key(2), store.gate_after(Call::Save));
    let writer = tokio::spawn({
        let (cache, key) = (cache.clone(), key.clone());
        async move { cache.put(&key, "mine".to_owned()).await }
    });
    gate.arrived(1).await;
    cache.clear_tenant(&tenant("1")).await?;
    gate.open();
    assert_eq!(writer.await.expect("no panic")?.copies(), Copies::Dropped);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn another_process_finds_the_tenants_copies_gone() -> Result<()> {
    let (store, server) = (store(), SharedServer::new());
    let process = || over(&store).tier(server.tier()).build().expect("complete");
    let (one, other) = (process(), process());
    read_all(&one).await;
    one.clear_tenant(&tenant("*")).await?;
    assert_eq!(reloaded(&other, &store).await, [("*".to_owned(), KEYS)]);
    Ok(())
}

/// A map that cannot tell tenants apart.
#[derive(Default)]
struct Plain(Mutex<HashMap<Key, Stored<String>>>);

impl Plain {
    fn rows(&self) -> MutexGuard<'_, HashMap<Key, Stored<String>>> {
        self.0.lock().expect("no panic")
    }
}

impl LocalMap<Key, String> for Plain {
    fn get(&self, key: &Key) -> Option<Stored<String>> {
        self.rows().get(key).cloned()
    }

    fn put(&self, key: Key, stored: Stored<String>) {
        self.rows().insert(key, stored);
    }

    fn remove(&self, key: &Key) {
        self.rows().remove(key);
    }

    /// By and by, which a map may.
    fn clear(&self) {}

    fn len(&self) -> u64 {
        self.rows().len() as u64
    }
}

#[tokio::test(start_paused = true)]
async fn a_map_that_cannot_tell_tenants_apart_drops_all_copies() -> Result<()> {
    let store = store();
    let cache = over(&store).tier(Fenced::new("plain", Plain::default())).build()?;
    read_all(&cache).await;
    cache.clear_tenant(&tenant("1")).await?;
    assert_eq!(reloaded(&cache, &store).await.len(), TENANTS.len());
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn what_a_failing_tier_could_not_drop_is_owed_and_of_no_other_tenant() -> Result<()> {
    let (store, server) = (store(), SharedServer::new());
    let tier = Faulty::new(server.tier());
    let faults = tier.faults();
    let cache = over(&store).tier(tier).build()?;
    let another_process = over(&store).tier(server.tier()).build()?;
    read_all(&cache).await;

    all_keys().into_iter().for_each(|key| store.set_row(key, "new".to_owned()));
    let (key, others) = (tenant("1").key(0), tenant("11").key(0));

    faults.fail_next(1);
    let error = cache.clear_tenant(&tenant("1")).await.expect_err("the tier failed");
    assert_eq!((error.kind(), error.operation()), (ErrorKind::Tier, Some(Operation::Clear)));
    assert_eq!((cache.stats().owed, cache.stats().paid), (1, 0));
    assert_eq!(another_process.get(&key).await?.as_deref(), Some("old"), "the copy is there");
    assert_eq!(cache.get(&key).await?.as_deref(), Some("new"), "and this process does not read it");
    assert_eq!(cache.get(&others).await?.as_deref(), Some("old"));

    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!((cache.stats().owed, cache.stats().paid), (1, 1));
    assert_eq!(another_process.get(&key).await?.as_deref(), Some("new"), "paid,");
    assert_eq!(another_process.get(&others).await?.as_deref(), Some("old"), "and nothing else");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_dyn_cache_clears_a_tenant_too() -> Result<()> {
    let store = store();
    let layered = over(&store).tier(Memory::with_capacity(1_000)).build()?;
    let cache: Arc<dyn Cache<Key, String>> = Arc::new(layered.clone());
    read_all(&layered).await;
    cache.clear_tenant(&tenant("1")).await?;
    assert_eq!(reloaded(&layered, &store).await, [("1".to_owned(), KEYS)]);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn no_error_says_whose_key_it_was() -> Result<()> {
    let tier = Faulty::new(SharedServer::<TenantKey<String, String>, String>::new().tier());
    let faults = tier.faults();
    let cache = larder::cache().tier(tier).ttl(MINUTE).clock(TestClock::new()).build()?;
    faults.fail(true);
    let tenant = Tenant::of("a secret customer".to_owned());
    let errors = [
        cache.clear_tenant(&tenant).await.expect_err("the tier failed"),
        cache
            .invalidate(&tenant.key("a secret customer's post".to_owned()))
            .await
            .expect_err("the tier failed"),
    ];
    for error in errors {
        let said = crate::support::watching::everything_in(&error);
        assert!(!said.contains("secret"), "{said}");
    }
    Ok(())
}
