//! Closing comes to an end by its deadline, and says what has not been written.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use crate::support::behind::{
    Behind, HOUR, Log, Numbers, SECOND, exact, put, put_all, settings, shard, volatile,
};
use crate::support::watching::Heard;
use crate::support::{MINUTE, numbers};
use larder::journal::Volatile;
use larder::store::WriteBehindBuilder;
use larder::testing::{Call, Trouble};
use larder::{Change, ErrorKind, Memory, Store};
use tokio::time::Instant;

fn from_memory(store: &Numbers) -> WriteBehindBuilder<u64, u64, Numbers> {
    settings(store).exactly_once().journal(Volatile::new())
}

#[tokio::test(start_paused = true)]
async fn with_the_store_down_it_returns_by_the_deadline_and_says_what_is_left() {
    for log in [true, false] {
        for trouble in [Trouble::Transient, Trouble::Unknown, Trouble::Hang, Trouble::Panic] {
            let store = numbers(0);
            for call in [Call::Commit, Call::Offset] {
                store.always(call, Some(trouble.clone()));
            }
            let behind = if log { exact(&store, &Log::new()) } else { from_memory(&store).store().unwrap() };
            put_all(&behind, 0..3).await;
            behind.delete(&3).await.unwrap();
            let began = Instant::now();
            let left = behind.close(10 * SECOND).await.unwrap();
            assert_eq!(began.elapsed().as_secs(), 10, "{trouble:?}");
            let expected = [Change::Put(0, 0), Change::Put(1, 1), Change::Put(2, 2), Change::Delete(3)];
            assert_eq!((left.writes, left.are_kept), (expected.to_vec(), log));
            store.always(Call::Commit, None);
            store.always(Call::Offset, None);
            tokio::time::sleep(HOUR).await;
            assert!(store.history().is_empty(), "what was said to be left is not written later");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_is_still_under_way_is_given_up_and_left() {
    let store = numbers(0);
    store.delay(Call::Commit, 20 * SECOND);
    let behind = exact(&store, &Log::new());
    put_all(&behind, 0..3).await;
    assert_eq!(behind.close(10 * SECOND).await.unwrap().writes.len(), 3);
    tokio::time::sleep(HOUR).await;
    assert!(store.history().is_empty(), "another process may own the journal by now");
}

#[tokio::test(start_paused = true)]
async fn a_store_that_cannot_even_be_claimed_does_not_hold_it_up() {
    for trouble in [Trouble::Transient, Trouble::Hang] {
        let store = numbers(0);
        store.always(Call::Claim, Some(trouble));
        let behind = exact(&store, &Log::new());
        put_all(&behind, 0..3).await;
        assert_eq!(behind.close(10 * SECOND).await.unwrap().writes.len(), 3);
    }
}

#[tokio::test(start_paused = true)]
async fn whoever_waits_for_what_is_left_is_told() {
    let store = numbers(0);
    store.always(Call::Save, Some(Trouble::Transient));
    let builder = settings(&store).journal(Volatile::new()).tier(Memory::with_capacity(10));
    let cache = builder.ttl(MINUTE).build().unwrap();
    let written = cache.put(&1, 10).await.unwrap();
    let waiting = tokio::spawn({
        let written = written.clone();
        async move { written.stored().await }
    });
    tokio::time::sleep(SECOND).await;
    let left = cache.close(SECOND).await.unwrap();
    assert_eq!(left.pending, 1);
    assert!(left.to_string().contains("1 answered writes"), "{left}");
    assert_eq!(waiting.await.unwrap().unwrap_err().kind(), ErrorKind::Closed);
    assert_eq!(written.durable().await.unwrap_err().kind(), ErrorKind::Closed);
}

#[tokio::test(start_paused = true)]
async fn what_waits_is_written_without_delay_and_nothing_more_is_accepted() {
    let store = numbers(0);
    let behind = settings(&store).journal(Volatile::new()).flush_every(HOUR).store().unwrap();
    put_all(&behind, 0..250).await;
    let began = Instant::now();
    let left = behind.close(MINUTE).await.unwrap();
    assert!(left.writes.is_empty() && began.elapsed() < SECOND, "{left:?}");
    assert!((0..250).all(|key| store.row(&key) == Some(key)));
    let refused = behind.save(&1, &1).await.unwrap_err();
    assert_eq!(refused.downcast_ref::<larder::Error>().unwrap().kind(), ErrorKind::Closed);
    assert!(behind.close(MINUTE).await.unwrap().writes.is_empty(), "a second time as well");
}

#[tokio::test(start_paused = true)]
async fn a_writer_that_waits_for_room_is_told_at_once() {
    let store = numbers(0);
    store.always(Call::Save, Some(Trouble::Transient));
    let builder = settings(&store).max_pending(1).batch(1).at_limit(larder::AtLimit::Block(HOUR));
    let behind = builder.journal(Volatile::new()).store().unwrap();
    put(&behind, 1, 1).await;
    let waiting = tokio::spawn({
        let behind = behind.clone();
        async move { behind.save(&2, &2).await.map(drop) }
    });
    tokio::time::sleep(SECOND).await;
    _ = behind.close(SECOND).await.unwrap();
    let error = waiting.await.unwrap().unwrap_err();
    assert_eq!(error.downcast_ref::<larder::Error>().unwrap().kind(), ErrorKind::Closed);
}

#[tokio::test(start_paused = true)]
async fn the_store_forgets_a_journal_that_ends_and_no_other() {
    let store = numbers(0);
    let ends = from_memory(&store).store().unwrap();
    let stays = exact(&store, &Log::new());
    for behind in [&ends, &stays] {
        put(behind, 1, 1).await;
        assert!(behind.close(MINUTE).await.unwrap().writes.is_empty());
    }
    assert_eq!(store.shard(shard(&ends)), None);
    assert_eq!(store.shard(shard(&stays)).unwrap().offset(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_log_that_was_closed_goes_on_in_the_next_process() {
    let (store, log) = (numbers(0), Log::new());
    store.always(Call::Commit, Some(Trouble::Transient));
    let first = exact(&store, &log);
    put_all(&first, 0..10).await;
    assert_eq!(first.close(MINUTE).await.unwrap().writes.len(), 10);
    store.always(Call::Commit, None);
    exact(&store, &log).flush().await.unwrap();
    assert!((0..10).all(|key| store.row(&key) == Some(key)));
}

fn heard(store: &Numbers) -> (Behind, Heard) {
    let heard = Heard::default();
    (settings(store).journal(Volatile::new()).observer(heard.clone()).store().unwrap(), heard)
}

#[tokio::test(start_paused = true)]
async fn dropping_the_last_handle_says_how_many_writes_waited() {
    let store = numbers(0);
    let (behind, heard) = heard(&store);
    put_all(&behind, 0..3).await;
    let other = behind.clone();
    drop(behind);
    tokio::time::sleep(SECOND / 2).await;
    assert_eq!(heard.count("Unwritten"), 0, "there is another handle");
    drop(other);
    assert!(heard.everything().contains("Unwritten { writes: 3 }"), "{}", heard.everything());
    tokio::time::sleep(HOUR).await;
    assert!(store.history().is_empty());
}

#[tokio::test(start_paused = true)]
async fn dropping_the_last_handle_lets_a_batch_that_is_under_way_finish() {
    let store = numbers(0);
    let (behind, heard) = heard(&store);
    let gate = store.gate_before(Call::Save);
    put(&behind, 1, 1).await;
    gate.arrived(1).await;
    put(&behind, 2, 2).await;
    drop(behind);
    gate.open();
    tokio::time::sleep(HOUR).await;
    assert_eq!(store.history(), [Change::Put(1, 1)]);
    assert!(heard.everything().contains("Unwritten { writes: 1 }"), "{}", heard.everything());
}

#[tokio::test(start_paused = true)]
async fn nothing_is_said_where_nothing_is_lost() {
    let store = numbers(0);
    let (behind, heard) = heard(&store);
    put(&behind, 1, 1).await;
    behind.flush().await.unwrap();
    drop(behind);
    let behind = volatile(&store);
    put(&behind, 2, 2).await;
    _ = behind.close(MINUTE).await.unwrap();
    drop(behind);
    tokio::time::sleep(MINUTE).await;
    assert_eq!(heard.count("Unwritten"), 0);
}
