//! What a process leaves in its journal the next one brings to the store, and it fits or is refused.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use crate::support::behind::{
    Behind, Log, MILLI, Numbers, SECOND, exact, put, put_all, put_and_flush, settings, shard,
};
use crate::support::watching::Heard;
use crate::support::{MINUTE, numbers};
use larder::store::Claim;
use larder::testing::{Call, FakeStore, Trouble};
use larder::{Change, ErrorKind, Loader, Store};

fn puts(keys: impl IntoIterator<Item = u64>) -> Vec<Change<u64, u64>> {
    keys.into_iter().map(|key| Change::Put(key, key)).collect()
}

fn store() -> Numbers {
    FakeStore::new().keeping_every_write()
}

#[tokio::test(start_paused = true)]
async fn what_was_answered_comes_to_the_store_after_a_restart() {
    let (store, log) = (store(), Log::new());
    store.always(Call::Commit, Some(Trouble::Transient));
    let first = exact(&store, &log);
    put_all(&first, 0..250).await;
    tokio::time::sleep(MINUTE).await;
    drop(first);
    store.always(Call::Commit, None);
    let heard = Heard::default();
    let builder = settings(&store).exactly_once().journal(log).observer(heard.clone());
    let second = builder.store().unwrap();
    assert_eq!(second.load(&7).await.unwrap(), Some(7), "it is read before it is stored");
    put_and_flush(&second, 250..260).await;
    assert_eq!(store.history(), puts(0..260));
    assert!(heard.everything().contains("Recovered { writes: 250 }"), "{}", heard.everything());
}

#[tokio::test(start_paused = true)]
async fn what_was_not_durable_is_not_written() {
    let (store, log) = (store(), Log::new());
    let first = exact(&store, &log);
    put(&first, 1, 1).await;
    log.hold_back(true);
    let lost = tokio::spawn({
        let first = first.clone();
        async move { first.save(&2, &2).await.map(drop) }
    });
    tokio::time::sleep(10 * SECOND).await;
    drop(first);
    let second = exact(&store, &log);
    assert!(lost.await.unwrap().is_err());
    put(&second, 3, 3).await;
    second.flush().await.unwrap();
    assert_eq!(store.history(), puts([1, 3]));
    assert_eq!(store.shard(shard(&second)), Some(Claim::new(2, 2)));
}

/// The process ends while nobody knows what has become of a batch.
#[tokio::test(start_paused = true)]
async fn a_batch_in_doubt_has_its_effect_once() {
    for trouble in [Trouble::LandsLater(10 * SECOND), Trouble::LandsLater(MILLI), Trouble::Unknown] {
        for restart_after in [SECOND, SECOND + 10 * MILLI, 2 * SECOND, 15 * SECOND] {
            let (store, log) = (store(), Log::new());
            store.next(Call::Commit, trouble.clone());
            store.always(Call::Offset, Some(Trouble::Transient));
            let first = exact(&store, &log);
            put_all(&first, 0..10).await;
            tokio::time::sleep(restart_after).await;
            drop(first);
            store.always(Call::Offset, None);
            let second = exact(&store, &log);
            put_and_flush(&second, 10..12).await;
            tokio::time::sleep(MINUTE).await;
            assert_eq!(store.history(), puts(0..12), "{trouble:?}, restarted after {restart_after:?}");
        }
    }
}

/// What is in the store already may have been changed there since: it is passed over, and not read.
#[tokio::test(start_paused = true)]
async fn what_the_store_has_had_is_passed_over_and_not_read() {
    let (store, log) = (store(), Log::new());
    let first = exact(&store, &log);
    put_and_flush(&first, 0..10).await;
    drop(first);
    store.set_row(3, 33);
    let claim = store.gate_before(Call::Claim);
    let second = exact(&store, &log);
    let reader = tokio::spawn({
        let second = second.clone();
        async move { second.load(&3).await }
    });
    tokio::time::sleep(SECOND).await;
    assert!(!reader.is_finished(), "nobody knows yet");
    claim.open();
    assert_eq!(reader.await.unwrap().unwrap(), Some(33));
    second.flush().await.unwrap();
    assert_eq!((second.backlog().writes, store.history().len(), store.row(&3)), (0, 10, Some(33)));
}

#[tokio::test(start_paused = true)]
async fn a_store_without_offsets_goes_on_where_the_journal_says() {
    let (store, log) = (numbers(0), Log::new());
    let plain = |store: &Numbers| settings(store).journal(log.clone()).store().unwrap();
    let first = plain(&store);
    put_and_flush(&first, 0..10).await;
    put_all(&first, 10..20).await;
    drop(first);
    let second = plain(&store);
    assert_eq!(second.backlog().writes, 10);
    second.flush().await.unwrap();
    assert_eq!(store.history(), puts(0..20));
}

#[tokio::test(start_paused = true)]
async fn a_store_that_knows_writes_again_is_sent_the_same_ids_after_a_restart() {
    let (store, log) = (numbers(0), Log::new());
    let by_id = |store: &Numbers| settings(store).once_by_id().journal(log.clone()).store().unwrap();
    let first = by_id(&store);
    store.next(Call::Apply, Trouble::LandsLater(MINUTE));
    put_all(&first, 0..10).await;
    tokio::time::sleep(SECOND).await;
    drop(first);
    let second = by_id(&store);
    put(&second, 0, 100).await;
    second.flush().await.unwrap();
    tokio::time::sleep(2 * MINUTE).await;
    assert_eq!((store.row(&0), store.history().len()), (Some(100), 11), "the late one does nothing");
}

async fn refused(store: &Numbers, log: &Log) -> String {
    let heard = Heard::default();
    let builder = settings(store).exactly_once().journal(log.clone()).observer(heard.clone());
    let behind: Behind = builder.store().unwrap();
    let before = store.history();
    let error = behind.flush().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Journal);
    assert!(behind.save(&1, &1).await.is_err(), "it would be taken for written, or never be");
    tokio::time::sleep(MINUTE).await;
    assert_eq!(store.history(), before);
    assert_eq!(heard.count("JournalFailed"), 1);
    error.to_string()
}

#[tokio::test(start_paused = true)]
async fn a_store_restored_from_a_backup_does_not_fit() {
    let (store, log) = (store(), Log::new());
    let first = exact(&store, &log);
    put_and_flush(&first, 0..10).await;
    let backup = store.backup();
    put_and_flush(&first, 10..20).await;
    put_all(&first, 20..22).await;
    drop(first);
    log.compact();
    assert!(refused(&backup, &log).await.contains("restored from a backup"));
}

/// As long as the journal still has what the store has lost, it is written again.
#[tokio::test(start_paused = true)]
async fn a_store_restored_from_a_backup_gets_what_the_journal_still_has() {
    let (store, log) = (store(), Log::new());
    let first = exact(&store, &log);
    put_and_flush(&first, 0..10).await;
    let backup = store.backup();
    put_and_flush(&first, 10..20).await;
    drop(first);
    let second = exact(&backup, &log);
    second.flush().await.unwrap();
    assert_eq!(backup.history(), puts(0..20));
}

#[tokio::test(start_paused = true)]
async fn a_journal_restored_from_a_backup_does_not_fit() {
    let (store, log) = (store(), Log::new());
    let first = exact(&store, &log);
    put_and_flush(&first, 0..10).await;
    let backup = log.backup();
    put_and_flush(&first, 10..20).await;
    drop(first);
    assert!(refused(&store, &backup).await.contains("old copy"));
}

#[tokio::test(start_paused = true)]
async fn a_journal_that_fails_accepts_nothing_more_and_writes_what_it_has() {
    let (store, log) = (store(), Log::new());
    let heard = Heard::default();
    let builder = settings(&store).exactly_once().journal(log.clone()).observer(heard.clone());
    let behind = builder.store().unwrap();
    put_all(&behind, 0..10).await;
    log.hold_back(true);
    let lost = tokio::spawn({
        let behind = behind.clone();
        async move { behind.save(&10, &10).await.map(drop) }
    });
    tokio::time::sleep(MILLI).await;
    let flushing = tokio::spawn({
        let behind = behind.clone();
        async move { behind.flush().await }
    });
    tokio::time::sleep(MILLI).await;
    log.fail();
    assert!(lost.await.unwrap().is_err());
    assert!(behind.save(&11, &11).await.is_err());
    tokio::time::timeout(MINUTE, flushing)
        .await
        .expect("it does not wait for what is lost")
        .unwrap()
        .unwrap();
    behind.flush().await.unwrap();
    assert_eq!(store.history(), puts(0..10));
    assert_eq!((heard.count("JournalFailed"), behind.backlog().writes), (1, 0));
}
