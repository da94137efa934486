//! An error says what went wrong, of which cache and in which call, and can be asked for the store's own error. It
//! never says which key or which value: error texts end up in logs, and keys and values are people's data.

use std::error::Error as _;
use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use larder::testing::{Call, FakeStore, Faulty, TestClock, Trouble};
use larder::{
    Answer, Builder, Cache, CacheExt, Caches, EntryLoader, Error, ErrorKind, LayeredCache, LoadRequest,
    Loaded, Memory, Operation, ReadOptions, Reply, Result, StoreError, WriteOptions, Written, load_fn,
};

const KEY: &str = "secret-key-4711";
const VALUE: &str = "secret-value";
const SECRETS: [&str; 3] = ["secret", "4711", "hunter2"];

const DEADLINE: Duration = Duration::from_secs(5);

type People = LayeredCache<String, String>;
type Rows = FakeStore<String, String>;

fn key() -> String {
    KEY.to_owned()
}

fn value() -> String {
    VALUE.to_owned()
}

fn rows() -> Rows {
    FakeStore::with([(key(), value())])
}

fn people(builder: Builder<String, String>) -> Result<People> {
    builder
        .name("people")
        .tier(Memory::with_capacity(100))
        .ttl(Duration::from_secs(60))
        .load_deadline(DEADLINE)
        .write_deadline(DEADLINE)
        .clock(TestClock::new())
        .build()
}

/// A cache whose store goes wrong like this at the next call.
fn troubled(call: Call, trouble: Trouble) -> Result<People> {
    let rows = rows();
    rows.next(call, trouble);
    people(larder::cache_aside(rows))
}

/// A store's own error. What it prints is the store's affair, and this one is a careful one.
#[derive(Debug)]
struct Taken;

impl fmt::Display for Taken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name is taken")
    }
}

impl std::error::Error for Taken {}

/// Answers with another number of answers than it was asked for.
struct WrongLength;

#[async_trait]
impl EntryLoader<String, String> for WrongLength {
    async fn load_entries(
        &self,
        _requests: &[LoadRequest<'_, String, String>],
    ) -> Vec<Result<Loaded<String>, StoreError>> {
        vec![Ok(Loaded::value(value())), Ok(Loaded::absent())]
    }
}

/// Says "not modified" of what nobody has.
struct NeverModified;

#[async_trait]
impl EntryLoader<String, String> for NeverModified {
    async fn load_entries(
        &self,
        requests: &[LoadRequest<'_, String, String>],
    ) -> Vec<Result<Loaded<String>, StoreError>> {
        requests.iter().map(|_| Ok(Loaded::not_modified())).collect()
    }
}

/// A cache that offers what it must and nothing else.
struct Least;

impl Cache<String, String> for Least {
    fn get_with<'a>(&'a self, _key: &'a String, _options: ReadOptions) -> Answer<'a, String> {
        Answer::ready(Ok(None))
    }

    fn put_with<'a>(
        &'a self,
        _key: &'a String,
        _value: String,
        _options: WriteOptions,
    ) -> Reply<'a, Written> {
        Box::pin(async { Err(Error::new(ErrorKind::Unsupported, "puts nothing")) })
    }

    fn delete<'a>(&'a self, _key: &'a String) -> Reply<'a, Written> {
        Box::pin(async { Err(Error::new(ErrorKind::Unsupported, "deletes nothing")) })
    }

    fn invalidate<'a>(&'a self, _key: &'a String) -> Reply<'a, ()> {
        Box::pin(async { Ok(()) })
    }
}

/// A call that failed, and what its error is expected to say.
struct Failure {
    what: &'static str,
    error: Error,
    kind: ErrorKind,
    operation: Operation,
    retryable: bool,
}

/// Failures of every kind, each of a call with the secret key and, where there is one, the secret value.
#[derive(Default)]
struct Failures(Vec<Failure>);

impl Failures {
    fn add<A: fmt::Debug>(
        &mut self,
        what: &'static str,
        answer: Result<A>,
        (kind, operation, retryable): (ErrorKind, Operation, bool),
    ) {
        let error = answer.expect_err(what);
        self.0.push(Failure { what, error, kind, operation, retryable });
    }
}

async fn failures() -> Result<Vec<Failure>> {
    let mut all = Failures::default();
    loads(&mut all).await?;
    writes(&mut all).await?;
    nested(&mut all).await?;
    refusals(&mut all).await?;
    Ok(all.0)
}

async fn loads(all: &mut Failures) -> Result<()> {
    use ErrorKind::{Panicked, Store, Timeout, WrongLength as BadLength};
    use Operation::{Get, Refresh, Update};

    let cache = troubled(Call::Load, Trouble::Unknown)?;
    all.add("a load that fails", cache.get(&key()).await, (Store, Get, true));
    let cache = troubled(Call::Load, Trouble::Unknown)?;
    all.add("a refresh that fails", cache.refresh(&key()).await, (Store, Refresh, true));
    let cache = troubled(Call::Load, Trouble::Unknown)?;
    all.add("an entry's load that fails", cache.get_entry(&key()).await, (Store, Get, true));
    let cache = troubled(Call::Load, Trouble::Unknown)?;
    let answer = cache.get_many(&[key()]).await.remove(0);
    all.add("one of many loads fails", answer, (Store, Get, true));
    let cache = troubled(Call::Load, Trouble::Unknown)?;
    all.add("an update's load fails", cache.update(&key(), |old| old).await, (Store, Update, true));

    let cache = troubled(Call::Load, Trouble::Hang)?;
    all.add("a load that hangs", cache.get(&key()).await, (Timeout, Get, true));
    let cache = troubled(Call::Load, Trouble::Hang)?;
    all.add("an update's load hangs", cache.update(&key(), |old| old).await, (Timeout, Update, true));

    let panicking = load_fn(|key: String| async move {
        if key == KEY {
            panic!("no row for {key}, the last was {VALUE}");
        }
        Ok::<Option<String>, StoreError>(None)
    });
    let cache = people(larder::read_through(panicking))?;
    all.add("a load that panics with the key", cache.get(&key()).await, (Panicked, Get, false));

    let cache = people(larder::cache())?;
    let load = async || Err::<Option<String>, _>(StoreError::new(Taken).permanent());
    all.add("a load of one's own that fails", cache.get_or_load(&key(), load).await, (Store, Get, false));
    let load = async || -> Result<Option<String>, StoreError> { panic!("no row for {KEY}") };
    all.add("a load of one's own that panics", cache.get_or_load(&key(), load).await, (Panicked, Get, false));

    let cache = people(larder::read_through_entries(WrongLength))?;
    all.add("two answers to one question", cache.get(&key()).await, (BadLength, Get, false));
    let cache = people(larder::read_through_entries(NeverModified))?;
    all.add("not modified, but since when", cache.get(&key()).await, (Store, Get, false));
    Ok(())
}

async fn writes(all: &mut Failures) -> Result<()> {
    use ErrorKind::{Panicked, Store, Tier, Timeout};
    use Operation::{Clear, Delete, Invalidate, Put, Update, Write};

    for trouble in [Trouble::Unknown, Trouble::NotApplied, Trouble::Applied, Trouble::LandsLater(DEADLINE)] {
        let cache = troubled(Call::Save, trouble.clone())?;
        all.add("a save that fails", cache.put(&key(), value()).await, (Store, Put, true));
        let cache = troubled(Call::Save, trouble.clone())?;
        all.add(
            "an update's save fails",
            cache.update(&key(), |_| Some(value())).await,
            (Store, Update, true),
        );
        let cache = troubled(Call::Delete, trouble)?;
        all.add("a delete that fails", cache.delete(&key()).await, (Store, Delete, true));
    }
    let cache = troubled(Call::Save, Trouble::Hang)?;
    all.add("a save that hangs", cache.put(&key(), value()).await, (Timeout, Put, true));
    let cache = troubled(Call::Save, Trouble::Panic)?;
    all.add("a save that panics", cache.put(&key(), value()).await, (Panicked, Put, false));
    let cache = troubled(Call::Delete, Trouble::Panic)?;
    all.add("a delete that panics", cache.delete(&key()).await, (Panicked, Delete, false));

    let rows = rows();
    rows.always(Call::Save, Some(Trouble::Hang));
    let cache = people(larder::cache_aside(rows))?;
    let (first, second) = (key(), key());
    let (hanging, waiting) = tokio::join!(cache.put(&first, value()), cache.put(&second, value()));
    all.add("a write that hangs", hanging, (Timeout, Put, true));
    all.add("a write that waits for one that hangs", waiting, (Timeout, Put, true));

    let cache = people(larder::cache())?;
    let write = async || Err::<(), _>(StoreError::new(Taken).not_applied().permanent());
    all.add("a write of one's own that fails", cache.write(&[key()], write).await, (Store, Write, false));

    let tier = Faulty::new(Memory::with_capacity(100));
    let faults = tier.faults();
    let cache = larder::cache_aside(self::rows())
        .name("people")
        .tier(tier)
        .ttl(Duration::from_secs(60))
        .write_deadline(DEADLINE)
        .build()?;
    faults.fail(true);
    all.add("a tier keeps its copy", cache.invalidate(&key()).await, (Tier, Invalidate, true));
    all.add("a tier keeps its copies", cache.clear().await, (Tier, Clear, true));
    Ok(())
}

async fn nested(all: &mut Failures) -> Result<()> {
    use ErrorKind::Nested;
    use Operation::{Get, Put};

    let itself: Arc<OnceLock<People>> = Arc::default();
    let asked = Arc::clone(&itself);
    let loader = load_fn(move |key: String| {
        let asked = Arc::clone(&asked);
        async move { asked.get().expect("the cache is built").get(&key).await }
    });
    let cache = people(larder::read_through(loader))?;
    itself.set(cache.clone()).expect("the first time");
    all.add("a load that asks for itself", cache.get(&key()).await, (Nested, Get, false));

    let cache = people(larder::cache_aside(rows()))?;
    let inside = async || cache.put(&key(), value()).await;
    all.add("a write inside a write", cache.write(&[key()], inside).await, (Nested, Put, false));
    Ok(())
}

async fn refusals(all: &mut Failures) -> Result<()> {
    use ErrorKind::{Closed, NoRuntime, NoStore, ReadOnly};
    use Operation::{Delete, Get, Put, Refresh, Update, Write};

    let cache = people(larder::cache_aside(rows()))?;
    assert!(cache.close(DEADLINE).await?.is_empty());
    all.add("a get of a closed cache", cache.get(&key()).await, (Closed, Get, false));
    all.add("a refresh of a closed cache", cache.refresh(&key()).await, (Closed, Refresh, false));
    all.add("a put into a closed cache", cache.put(&key(), value()).await, (Closed, Put, false));
    all.add("a delete in a closed cache", cache.delete(&key()).await, (Closed, Delete, false));
    all.add("an update in a closed cache", cache.update(&key(), |old| old).await, (Closed, Update, false));
    let write = async || Ok::<_, StoreError>(());
    all.add("a write around a closed cache", cache.write(&[key()], write).await, (Closed, Write, false));

    let cache = people(larder::read_through(rows()))?;
    all.add("a put into what can only be read", cache.put(&key(), value()).await, (ReadOnly, Put, false));
    all.add("a delete in what can only be read", cache.delete(&key()).await, (ReadOnly, Delete, false));
    all.add(
        "an update of what can only be read",
        cache.update(&key(), |old| old).await,
        (ReadOnly, Update, false),
    );

    let cache = people(larder::cache())?;
    all.add("a refresh without a store", cache.refresh(&key()).await, (NoStore, Refresh, false));
    all.add("an update without a store", cache.update(&key(), |old| old).await, (NoStore, Update, false));

    let cache = people(larder::cache_aside(rows()))?;
    let elsewhere =
        std::thread::spawn(move || futures_util::FutureExt::now_or_never(cache.put(&key(), value())));
    let refused = elsewhere.join().expect("no panic").expect("a refusal needs no waiting");
    all.add("a put outside a runtime", refused, (NoRuntime, Put, false));
    Ok(())
}

fn assert_silent(what: &str, said: &str) {
    for secret in SECRETS {
        assert!(!said.contains(secret), "{what} tells `{secret}`: {said}");
    }
}

#[tokio::test(start_paused = true)]
async fn no_error_tells_a_key_or_a_value() -> Result<()> {
    for Failure { what, error, .. } in failures().await? {
        assert_silent(what, &format!("{error} {error:?} {error:#?}"));
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn every_error_tells_its_kind_the_call_and_the_cache() -> Result<()> {
    for Failure { what, error, kind, operation, .. } in failures().await? {
        assert_eq!(error.kind(), kind, "{what}: {error:?}");
        assert_eq!(error.operation(), Some(operation), "{what}: {error:?}");
        assert_eq!(error.cache(), Some("people"), "{what}: {error:?}");
        assert!(error.to_string().starts_with(&format!("cache `people`: {operation}: ")), "{what}: {error}");
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn every_error_tells_whether_to_try_again() -> Result<()> {
    for Failure { what, error, retryable, .. } in failures().await? {
        assert_eq!(error.is_retryable(), retryable, "{what}: {error:?}");
    }
    Ok(())
}

/// What the store's own error prints is the store's affair; ours does not repeat it where people read it.
#[tokio::test]
async fn the_text_of_an_error_does_not_repeat_what_the_store_said() -> Result<()> {
    let careless = || StoreError::new("cannot connect to postgres://root:hunter2@db");
    let cache = people(larder::cache())?;
    let error =
        cache.get_or_load(&key(), async || Err::<Option<String>, _>(careless())).await.expect_err("told to");
    assert_silent("an error", &error.to_string());
    assert!(
        error.source().expect("the store's error").to_string().contains("hunter2"),
        "it can be asked for"
    );
    Ok(())
}

#[tokio::test]
async fn what_can_be_printed_of_a_cache_tells_no_key_or_value() -> Result<()> {
    let rows = rows();
    let cache = people(larder::write_through(rows.clone()))?;
    let written = cache.put(&key(), value()).await?;
    let caches = Caches::new();
    caches.add(cache.clone())?;
    let key = key();
    let said = format!("{cache:?} {:?} {written:?} {caches:?} {rows:?} {:?}", cache.get(&key), cache.stats());
    assert_silent("a cache", &said);
    Ok(())
}

#[tokio::test]
async fn the_stores_own_error_can_be_asked_for() -> Result<()> {
    let cache = people(larder::cache())?;
    let load = async || Err::<Option<String>, _>(Taken);
    let error = cache.get_or_load(&key(), load).await.expect_err("the load fails");
    assert!(error.downcast_ref::<Taken>().is_some());
    assert!(error.downcast_ref::<std::io::Error>().is_none());
    assert!(error.source().is_some_and(|source| source.is::<Taken>()));
    assert!(error.store_error().is_some_and(|said| said.downcast_ref::<Taken>().is_some()));

    let write = async || Err::<(), _>(StoreError::new(Taken).not_applied().permanent());
    let error = cache.write(&[key()], write).await.expect_err("the write fails");
    let said = error.store_error().expect("the store has said something");
    assert_eq!((said.outcome(), said.fault()), (larder::Outcome::NotApplied, larder::Fault::Permanent));
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn all_who_wait_for_a_load_get_the_stores_own_error() -> Result<()> {
    let taken = load_fn(|_key: String| async {
        tokio::time::sleep(Duration::from_millis(10)).await;
        Err::<Option<String>, _>(StoreError::new(Taken).permanent())
    });
    let cache = people(larder::read_through(taken))?;
    let key = key();
    for answer in futures_util::future::join_all((0..3).map(|_| cache.get(&key))).await {
        let error = answer.expect_err("the load fails");
        assert_eq!((error.cache(), error.operation()), (Some("people"), Some(Operation::Get)));
        assert!(error.downcast_ref::<Taken>().is_some(), "{error:?}");
        assert!(error.store_error().is_some(), "{error:?}");
        assert!(!error.is_retryable(), "the store said that it is permanent: {error:?}");
    }
    assert_eq!(cache.stats().load_failures, 1);
    Ok(())
}

#[tokio::test]
async fn a_call_that_a_cache_does_not_offer_says_so() {
    let least: Arc<dyn Cache<String, String>> = Arc::new(Least);
    let (key, keys) = (key(), [key()]);
    let errors = [
        least.get_entry(&key).await.expect_err("get_entry is not offered"),
        least.clear().await.expect_err("clear is not offered"),
        least.update(&key, |old| old).await.expect_err("update is not offered"),
    ];
    for error in errors {
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert_silent("an unsupported call", &format!("{error} {error:?}"));
    }
    assert!(least.write(&keys, async || Ok::<_, StoreError>(())).await.is_ok(), "this one has a body");
}

/// A cache whose loader asks another cache: the other one's error comes out as it is, not as "the store failed".
#[tokio::test]
async fn the_error_of_a_cache_below_keeps_its_kind_and_its_name() -> Result<()> {
    let below = larder::cache_aside(rows())
        .name("below")
        .tier(Memory::with_capacity(100))
        .ttl(Duration::from_secs(60))
        .build()?;
    let asked = below.clone();
    let loader = load_fn(move |key: String| {
        let asked = asked.clone();
        async move { asked.get(&key).await }
    });
    let above = people(larder::read_through(loader))?;
    assert_eq!(above.get(&key()).await?, Some(value()));
    above.invalidate(&key()).await?;
    below.invalidate(&key()).await?;
    assert!(below.close(DEADLINE).await?.is_empty());
    let error = above.get(&key()).await.expect_err("the cache below is closed");
    assert_eq!(error.kind(), ErrorKind::Closed);
    assert_eq!((error.cache(), error.operation()), (Some("below"), Some(Operation::Get)));
    assert!(!error.is_retryable());
    Ok(())
}
