//! A write that the store will never take is put aside alone, and all others pass.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use crate::support::behind::{Log, SECOND, exact, put, put_all, put_and_flush, settings, volatile};
use crate::support::{MINUTE, numbers};
use larder::journal::Volatile;
use larder::testing::{Call, FakeStore, Trouble};
use larder::{Change, ErrorKind, Memory, Store};

fn is(key: u64) -> impl Fn(&Change<u64, u64>) -> bool {
    move |change| *change.key() == key
}

#[tokio::test(start_paused = true)]
async fn one_among_a_hundred_is_put_aside_and_the_others_are_stored_in_their_order() {
    for poison in 0..100 {
        let store = FakeStore::new().keeping_every_write();
        store.poison(is(poison));
        let behind = exact(&store, &Log::new());
        for key in 0..100 {
            let answer = behind.save(&key, &key).await;
            // The one that fills the batch may be refused by the store before it is answered.
            assert!(answer.is_ok() || key == poison);
        }
        behind.flush().await.unwrap();
        let others: Vec<_> = (0..100).filter(|key| *key != poison).map(|key| Change::Put(key, key)).collect();
        assert_eq!(store.history(), others);
        let letters = behind.dead_letters(None, 10).await.unwrap();
        assert_eq!(letters.iter().map(|letter| letter.seq()).collect::<Vec<_>>(), [poison + 1]);
        assert_eq!(behind.read_letter(&letters[0]).unwrap(), Change::Put(poison, poison));
        assert!(store.count(Call::Commit) <= 17, "{} transactions", store.count(Call::Commit));
    }
}

#[tokio::test(start_paused = true)]
async fn a_store_that_writes_one_by_one_loses_none_of_the_others() {
    for poison in [0, 50, 99] {
        let store = numbers(0);
        store.poison(is(poison));
        let behind = volatile(&store);
        put_and_flush(&behind, 0..100).await;
        assert!((0..100).all(|key| (store.row(&key) == Some(key)) == (key != poison)), "poison {poison}");
        assert_eq!(behind.dead_letters(None, 10).await.unwrap().len(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_store_that_knows_writes_again_has_each_of_the_others_once() {
    let store = numbers(0);
    store.poison(is(50));
    let behind = settings(&store).once_by_id().journal(Log::new()).store().unwrap();
    put_and_flush(&behind, 0..100).await;
    assert_eq!(store.history().len(), 99);
    assert_eq!(behind.dead_letters(None, 10).await.unwrap().len(), 1, "the journal keeps it");
}

#[tokio::test(start_paused = true)]
async fn later_writes_of_its_key_pass() {
    let store = FakeStore::new().keeping_every_write();
    store.poison(|change| matches!(change, Change::Put(_, 13)));
    let behind = exact(&store, &Log::new());
    for value in 10..16 {
        put(&behind, 1, value).await;
    }
    behind.flush().await.unwrap();
    assert_eq!(store.history(), [10, 11, 12, 14, 15].map(|value| Change::Put(1, value)));
}

/// While it is on its way to the dead letters it is not replaced: the newer write has not been refused by anyone.
#[tokio::test(start_paused = true)]
async fn a_newer_write_of_its_key_does_not_take_its_place_among_the_dead_letters() {
    let store = numbers(0);
    let behind = settings(&store).exactly_once().journal(Volatile::new()).store().unwrap();
    store.next(Call::Commit, Trouble::Permanent);
    store.next(Call::Commit, Trouble::Transient);
    put(&behind, 1, 13).await;
    while store.count(Call::Commit) < 2 {
        tokio::time::sleep(SECOND / 1_000).await;
    }
    put(&behind, 1, 14).await;
    behind.flush().await.unwrap();
    assert_eq!(store.row(&1), Some(14));
    let letters = behind.dead_letters(None, 10).await.unwrap();
    assert_eq!(behind.read_letter(&letters[0]).unwrap(), Change::Put(1, 13));
}

#[tokio::test(start_paused = true)]
async fn several_are_put_aside_each_by_itself() {
    let store = FakeStore::new().keeping_every_write();
    store.poison(|change| change.key() % 9 == 0);
    let behind = exact(&store, &Log::new());
    put_and_flush(&behind, 0..300).await;
    assert_eq!(store.history().len(), 300 - 34);
    assert_eq!(behind.dead_letters(None, 100).await.unwrap().len(), 34);
    assert_eq!(behind.backlog().writes, 0);
}

#[tokio::test(start_paused = true)]
async fn what_fails_unclassified_is_split_after_its_tries_and_all_of_it_is_stored() {
    let store = FakeStore::new().keeping_every_write();
    let behind = settings(&store).exactly_once().journal(Log::new()).tries(3).store().unwrap();
    (0..4).for_each(|_| store.next(Call::Commit, Trouble::NotApplied));
    put_and_flush(&behind, 0..4).await;
    assert_eq!((store.history().len(), store.count(Call::Commit)), (4, 4 + 3), "a half, and twice a quarter");
    assert!(behind.dead_letters(None, 10).await.unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn whoever_waits_for_it_is_told() {
    let store = numbers(0);
    store.poison(is(1));
    let builder = settings(&store).exactly_once().journal(Log::new()).tier(Memory::with_capacity(10));
    let cache = builder.ttl(MINUTE).build().unwrap();
    let (bad, good) = (cache.put(&1, 10).await.unwrap(), cache.put(&2, 20).await.unwrap());
    assert_eq!(bad.stored().await.unwrap_err().kind(), ErrorKind::DeadLetter);
    good.stored().await.unwrap();
    bad.durable().await.unwrap();
    assert_eq!(bad.stored().await.unwrap_err().kind(), ErrorKind::DeadLetter, "later as well");
    cache.flush().await.unwrap();
    assert_eq!(cache.get(&1).await.unwrap(), None, "readers see what the store has");
    assert_eq!(cache.stats().dead_letters, 1);
}

/// The store refuses it before the journal has answered.
#[tokio::test(start_paused = true)]
async fn whoever_writes_it_is_told_if_it_is_put_aside_at_once() {
    let store = numbers(0);
    store.poison(is(1));
    let builder =
        settings(&store).exactly_once().batch(1).journal(Log::new()).tier(Memory::with_capacity(10));
    let cache = builder.ttl(MINUTE).build().unwrap();
    let error = match cache.put(&1, 10).await {
        Ok(written) => written.stored().await.unwrap_err(),
        Err(error) => error,
    };
    assert_eq!(error.kind(), ErrorKind::DeadLetter);
    cache.put(&2, 20).await.unwrap().stored().await.unwrap();
    assert!(cache.write_behind().unwrap().apply(&[Change::Put(3, 3), Change::Put(1, 1)]).await.is_err());
    cache.flush().await.unwrap();
    assert_eq!((store.row(&1), store.row(&2), store.row(&3)), (None, Some(20), Some(3)));
}

#[tokio::test(start_paused = true)]
async fn a_record_that_cannot_be_read_is_put_aside_in_its_place() {
    for exactly in [true, false] {
        let (store, log) = (FakeStore::new().keeping_every_write(), Log::new());
        let build = || match exactly {
            true => settings(&store).exactly_once().journal(log.clone()).store().unwrap(),
            false => settings(&store).journal(log.clone()).store().unwrap(),
        };
        let first = build();
        put_all(&first, 0..5).await;
        drop(first);
        let record = log.spoil(3);
        let second = build();
        second.flush().await.unwrap();
        assert_eq!(store.history(), [0, 1, 3, 4].map(|key| Change::Put(key, key)));
        let letters = second.dead_letters(None, 10).await.unwrap();
        assert_eq!((letters.len(), letters[0].seq(), letters[0].record()), (1, 3, &record[..]));
        assert!(letters[0].why().contains("spoilt"), "{}", letters[0].why());
        assert_eq!(second.read_letter(&letters[0]).unwrap_err().kind(), ErrorKind::Journal);
        assert!(second.replay(&letters[0]).await.is_err());
        assert_eq!(second.dead_letters(None, 10).await.unwrap(), letters, "it is still there");
        assert!(second.discard(&letters[0]).await.unwrap());
    }
}

#[tokio::test(start_paused = true)]
async fn a_commit_in_doubt_that_puts_something_aside_is_decided_too() {
    for lands in [true, false] {
        let store = numbers(0);
        store.poison(is(1));
        let behind = exact(&store, &Log::new());
        put(&behind, 1, 10).await;
        let gate = store.gate_before(Call::Commit);
        gate.arrived(1).await;
        let trouble = if lands { Trouble::LandsLater(SECOND) } else { Trouble::Unknown };
        store.next(Call::Commit, trouble); // of the second commit: the first has been given its fate
        gate.open();
        behind.flush().await.unwrap();
        assert_eq!(behind.dead_letters(None, 10).await.unwrap().len(), 1);
        behind.delete(&2).await.unwrap();
        behind.flush().await.unwrap();
    }
}
