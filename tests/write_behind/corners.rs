//! Corners where two settings, two keys or two caches of write-behind meet.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::Duration;

use crate::support::behind::{Behind, HOUR, Log, Numbers, SECOND, put, put_all, settings};
use larder::journal::Volatile;
use larder::testing::{Call, FakeStore, Trouble};
use larder::{AtLimit, ErrorKind, LayeredCache, Memory, Store, StoreError};
use tokio::time::Instant;

/// A cache over a journal in memory that writes one at a time.
fn one_by_one(store: &Numbers) -> LayeredCache<u64, u64> {
    let settings = settings(store).batch(1).journal(Volatile::new());
    settings.tier(Memory::with_capacity(10)).ttl(HOUR).build().unwrap()
}

/// Key 1 becomes a dead letter while key 2 still waits: what is written past the journal must come after both.
#[tokio::test(start_paused = true)]
async fn a_dead_letter_of_one_key_does_not_end_the_wait_for_another() {
    let store = Numbers::new();
    store.poison(|change| *change.key() == 1);
    let cache = one_by_one(&store);
    // Key 1 becomes a letter when it has been tried twice.
    store.delay(Call::Save, SECOND);
    let _ = cache.put(&1, 10).await.unwrap();
    let _ = cache.put(&2, 20).await.unwrap();
    let own = store.clone();
    let write = || async move {
        own.set_row(2, 21);
        Ok::<_, StoreError>(())
    };
    let _ = cache.write(&[1, 2], write).await.unwrap();
    cache.flush().await.unwrap();
    assert_eq!(store.row(&2), Some(21), "the older write does not come after it");
}

#[tokio::test(start_paused = true)]
async fn what_is_on_its_way_into_the_log_counts_too() {
    let (store, log) = (Numbers::new(), Log::new());
    let builder = settings(&store).max_pending(10).batch(5).at_limit(AtLimit::Reject);
    let behind = builder.journal(log.clone()).store().unwrap();
    log.hold_back(true);
    let writers: Vec<_> = (0..50).map(|key| spawn(&behind, key)).collect();
    tokio::time::sleep(SECOND).await;
    assert_eq!(behind.backlog().writes, 10);
    log.hold_back(false);
    let mut refused = 0;
    for writer in writers {
        refused += usize::from(writer.await.unwrap().is_err());
    }
    assert_eq!(refused, 40);
}

fn spawn(behind: &Behind, key: u64) -> tokio::task::JoinHandle<Result<(), StoreError>> {
    let behind = behind.clone();
    tokio::spawn(async move { behind.save(&key, &key).await.map(drop) })
}

/// There is nothing to wait for: no other write can join those that wait.
#[tokio::test(start_paused = true)]
async fn what_fills_all_the_room_is_written_without_delay() {
    let store = Numbers::new();
    let builder = settings(&store).flush_every(HOUR).max_pending_bytes(100).weigh(|_| 50);
    let behind = builder.journal(Volatile::new()).store().unwrap();
    let began = Instant::now();
    put_all(&behind, 0..20).await;
    assert!(began.elapsed() < SECOND, "{:?}", began.elapsed());

    let builder = settings(&store).flush_every(HOUR).max_pending(100).at_limit(AtLimit::Reject);
    let behind = builder.journal(Volatile::new().shards(100)).store().unwrap();
    let mut refused = 0;
    for key in 0..1_000 {
        refused += u64::from(behind.save(&key, &key).await.is_err());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(refused < 1_000 / 2, "{refused}: each refusal makes room for the next");
}

/// Numbers begin with 1 in every journal.
#[tokio::test(start_paused = true)]
async fn a_letter_of_another_journal_is_not_taken_for_one_of_this() {
    for volatile in [true, false] {
        let store = FakeStore::new();
        store.poison(|_| true);
        let open = || match volatile {
            true => settings(&store).journal(Volatile::new()).store().unwrap(),
            false => settings(&store).journal(Log::new()).store().unwrap(),
        };
        let (one, other) = (open(), open());
        put(&one, 1, 10).await;
        put(&other, 2, 20).await;
        one.flush().await.unwrap();
        other.flush().await.unwrap();
        let letters = one.dead_letters(None, 9).await.unwrap();
        assert_eq!((letters.len(), letters[0].seq()), (1, 1));
        assert!(!other.discard(&letters[0]).await.unwrap());
        assert_eq!(other.dead_letters(None, 9).await.unwrap().len(), 1);
        if volatile {
            assert!(other.read_letter(&letters[0]).is_err(), "it would be another write");
        }
        assert!(one.discard(&letters[0]).await.unwrap());
    }
}

/// After a crash the log writes again what it is not known to have written, over what was written past it.
#[tokio::test(start_paused = true)]
async fn writing_past_a_log_wants_a_store_that_knows_what_it_has() {
    let store = Numbers::new();
    let through = || settings(&store).at_limit(AtLimit::WriteThrough);
    let refused = through().journal(Log::new()).store().unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Settings);
    through().journal(Volatile::new()).store().unwrap();
    through().exactly_once().journal(Log::new()).store().unwrap();
    through().once_by_id().journal(Log::new()).store().unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_is_written_past_a_log_outlives_a_crash() {
    let (store, log) = (Numbers::new(), Log::new());
    let behind = || {
        let builder = settings(&store).exactly_once().at_limit(AtLimit::WriteThrough).max_pending(1).batch(1);
        builder.journal(log.clone()).store().unwrap()
    };
    let first = behind();
    put(&first, 1, 1).await;
    first.flush().await.unwrap();
    store.always(Call::Commit, Some(Trouble::Transient));
    put(&first, 2, 2).await;
    put(&first, 1, 11).await;
    assert_eq!(store.row(&1), Some(11));
    drop(first);
    store.always(Call::Commit, None);
    behind().flush().await.unwrap();
    assert_eq!((store.row(&1), store.row(&2)), (Some(11), Some(2)));
}

/// A loader of the caller's own asks the store, which does not know what waits.
#[tokio::test(start_paused = true)]
async fn a_loader_of_ones_own_would_not_see_what_waits() {
    let store = Numbers::new();
    let build = || {
        let settings = settings(&store).journal(Volatile::new()).tier(Memory::with_capacity(10)).ttl(HOUR);
        settings.entry_loader(EntriesOf(store.clone())).build()
    };
    assert_eq!(build().unwrap_err().kind(), ErrorKind::Settings);
}

struct EntriesOf(Numbers);

#[async_trait::async_trait]
impl larder::EntryLoader<u64, u64> for EntriesOf {
    async fn load_entries(
        &self,
        requests: &[larder::LoadRequest<'_, u64, u64>],
    ) -> Vec<Result<larder::Loaded<u64>, StoreError>> {
        requests.iter().map(|request| Ok(larder::Loaded::from(self.0.row(request.key())))).collect()
    }
}

/// What waits for room for so long that the first of them have been put aside meanwhile.
#[tokio::test(start_paused = true)]
async fn a_batch_that_waits_for_room_is_told_of_dead_letters() {
    let store = Numbers::new();
    store.poison(|change| *change.key() == 0);
    let builder = settings(&store).max_pending(2).batch(1).at_limit(AtLimit::Block(HOUR));
    let behind = builder.journal(Volatile::new()).store().unwrap();
    let changes: Vec<_> = (0..10).map(|key| larder::Change::Put(key, key)).collect();
    let error = behind.apply(&changes).await.unwrap_err();
    let error = error.downcast_ref::<larder::Error>().unwrap();
    assert_eq!(error.kind(), ErrorKind::DeadLetter);
}

/// The driver lived in a runtime that is gone, and everybody only waits.
#[test]
fn whoever_waits_when_the_drivers_runtime_goes_starts_another() {
    let runtime =
        || tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let (first, second) = (runtime(), runtime());
    let store = FakeStore::<u64, u64>::new();
    let settings = larder::write_behind(store.clone()).journal(Volatile::new());
    let behind = first.block_on(async {
        let behind = settings.flush_every(Duration::from_secs(3_600)).store().unwrap();
        _ = behind.save(&1, &10).await.unwrap();
        tokio::time::sleep(Duration::from_millis(20)).await;
        behind
    });
    store.next(Call::Save, Trouble::Hang);
    let waiting = second.spawn(async move { behind.flush().await });
    while store.count(Call::Save) == 0 {
        std::thread::sleep(Duration::from_millis(5));
    }
    first.shutdown_timeout(Duration::from_secs(1));
    second.block_on(waiting).unwrap().unwrap();
    assert_eq!(store.row(&1), Some(10));
}

#[tokio::test]
async fn settings_that_would_surprise_are_refused() {
    let builder = || larder::write_behind(FakeStore::<u64, u64>::new()).journal(Volatile::new());
    for (built, names) in [
        (builder().exactly_once().once_by_id().store().map(drop), ["exactly_once", "once_by_id"]),
        (builder().concurrency(2).store().map(drop), ["concurrency(2)", "1 shards"]),
        (
            builder()
                .at_limit(AtLimit::Block(Duration::from_secs(20)))
                .tier(Memory::with_capacity(1))
                .ttl(Duration::from_secs(1))
                .build()
                .map(drop),
            ["at_limit(Block(20s))", "write_deadline(10s)"],
        ),
    ] {
        let error = built.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Settings);
        assert!(names.iter().all(|name| error.to_string().contains(name)), "{error}");
    }
}
