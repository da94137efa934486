//! Dead letters can be listed, read, written again and thrown away, wherever they are kept.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use crate::support::behind::{Behind, Log, Numbers, put_all, settings};
use crate::support::numbers;
use larder::journal::Volatile;
use larder::store::DeadLetter;
use larder::{Change, Store};

/// Each keeper: the store, the journal, the memory of the process.
fn keepers(store: &Numbers) -> [Behind; 3] {
    [
        settings(store).exactly_once().journal(Log::new()).store().unwrap(),
        settings(store).journal(Log::new()).store().unwrap(),
        settings(store).exactly_once().journal(Volatile::new().shards(3)).store().unwrap(),
    ]
}

async fn with_letters(behind: &Behind, store: &Numbers) -> Vec<DeadLetter> {
    store.poison(|change| *change.key() < 7);
    put_all(behind, 0..20).await;
    behind.flush().await.unwrap();
    store.poison(|_| false);
    behind.dead_letters(None, 100).await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn they_are_listed_in_pages() {
    let store = numbers(0);
    for behind in keepers(&store) {
        let letters = with_letters(&behind, &store).await;
        assert_eq!(letters.len(), 7);
        let mut paged: Vec<DeadLetter> = Vec::new();
        loop {
            let page = behind.dead_letters(paged.last(), 3).await.unwrap();
            assert!(page.len() <= 3);
            if page.is_empty() {
                break;
            }
            paged.extend(page);
        }
        assert_eq!(paged, letters);
    }
}

#[tokio::test(start_paused = true)]
async fn they_are_read() {
    let store = numbers(0);
    for behind in keepers(&store) {
        let letters = with_letters(&behind, &store).await;
        let mut keys: Vec<u64> =
            letters.iter().map(|letter| *behind.read_letter(letter).unwrap().key()).collect();
        keys.sort_unstable();
        assert_eq!(keys, [0, 1, 2, 3, 4, 5, 6]);
    }
}

#[tokio::test(start_paused = true)]
async fn they_are_written_again_behind_all_that_waits() {
    let store = numbers(0);
    for behind in keepers(&store) {
        let letters = with_letters(&behind, &store).await;
        for letter in &letters {
            behind.replay(letter).await.unwrap();
        }
        behind.flush().await.unwrap();
        assert!((0..20).all(|key| store.row(&key) == Some(key)));
        assert!(behind.dead_letters(None, 100).await.unwrap().is_empty());
        (0..20).for_each(|key| store.remove_row(&key));
    }
}

#[tokio::test(start_paused = true)]
async fn they_are_thrown_away_once() {
    let store = numbers(0);
    for behind in keepers(&store) {
        let letters = with_letters(&behind, &store).await;
        assert!(behind.discard(&letters[3]).await.unwrap());
        assert!(!behind.discard(&letters[3]).await.unwrap());
        let left = behind.dead_letters(None, 100).await.unwrap();
        assert_eq!(left, [&letters[..3], &letters[4..]].concat());
        assert_eq!(store.row(&3), None);
    }
}

#[tokio::test(start_paused = true)]
async fn one_that_is_refused_again_is_a_new_letter() {
    let store = numbers(0);
    for behind in keepers(&store) {
        let letters = with_letters(&behind, &store).await;
        store.poison(|change| *change.key() < 7);
        behind.replay(&letters[0]).await.unwrap();
        behind.flush().await.unwrap();
        let now = behind.dead_letters(None, 100).await.unwrap();
        assert_eq!(now.len(), 7);
        assert!(!now.contains(&letters[0]));
        store.poison(|_| false);
    }
}

#[tokio::test(start_paused = true)]
async fn those_of_other_journals_are_not_among_them() {
    let store = numbers(0);
    let [one, _, _] = keepers(&store);
    let [other, _, _] = keepers(&store);
    _ = with_letters(&one, &store).await;
    other.apply(&[Change::Put(1, 1)]).await.unwrap();
    other.flush().await.unwrap();
    assert!(other.dead_letters(None, 100).await.unwrap().is_empty());
}
