//! The tool `larder-journal` finishes what a dead service has left, once.

#![cfg(all(feature = "local-log", feature = "sqlite", feature = "testing", unix))]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../examples/larder-journal/replay.rs"]
mod replay;

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use larder::journal::{LocalLog, inspect};
use larder::store::Sum;
use larder::testing::FakeStore;
use larder::{Change, Store, write_behind};
use sqlx::{Connection, SqliteConnection};

#[test]
fn it_replays_what_waits_into_a_table_and_not_twice() {
    let place = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("replay-{}", std::process::id()));
    _ = fs::remove_dir_all(&place);
    fs::create_dir(&place).unwrap();
    let (log, file) = (place.join("log"), place.join("data.db"));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let log = LocalLog::at(&log);
        let settings = write_behind(FakeStore::<u64, String>::new()).journal(log);
        let behind = settings.flush_every(Duration::from_secs(3_600)).store().unwrap();
        for key in 0..5 {
            behind.save(&key, &format!("page {key}")).await.unwrap();
        }
        behind.delete(&3).await.unwrap();
    });
    for _ in 0..2 {
        let code = replay::run(log.to_str().unwrap(), file.to_str().unwrap(), "pages").unwrap();
        assert_eq!(format!("{code:?}"), format!("{:?}", ExitCode::SUCCESS));
    }
    let rows: Vec<(String, String)> = runtime.block_on(async {
        let mut connection = SqliteConnection::connect(file.to_str().unwrap()).await.unwrap();
        sqlx::query_as("SELECT key, value FROM pages ORDER BY key").fetch_all(&mut connection).await.unwrap()
    });
    let expected = [0, 1, 2, 4].map(|key| (key.to_string(), format!("\"page {key}\"")));
    assert_eq!(rows, expected);
    assert_eq!(inspect(&log).unwrap().settled, 6);
    fs::remove_dir_all(&place).unwrap();
}

/// A log that has forgotten its first writes, since they are in another store: those that wait are written.
#[test]
fn it_replays_a_log_that_has_been_trimmed() {
    let place = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("trimmed-{}", std::process::id()));
    _ = fs::remove_dir_all(&place);
    fs::create_dir(&place).unwrap();
    let (log, file) = (place.join("log"), place.join("data.db"));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let log = LocalLog::at(&log).segment_bytes(4 << 10);
        let settings = write_behind(FakeStore::<u64, String>::new()).exactly_once().journal(log);
        let behind = settings.flush_every(Duration::from_secs(3_600)).store().unwrap();
        for key in 0..100 {
            behind.save(&key, &"long".repeat(100)).await.unwrap();
        }
        behind.flush().await.unwrap();
        behind.save(&100, &"waits".to_owned()).await.unwrap();
    });
    assert!(inspect(&log).unwrap().first > 1);
    let code = replay::run(log.to_str().unwrap(), file.to_str().unwrap(), "pages").unwrap();
    assert_eq!(format!("{code:?}"), format!("{:?}", ExitCode::SUCCESS));
    let rows: Vec<(String, String)> = runtime.block_on(async {
        let mut connection = SqliteConnection::connect(file.to_str().unwrap()).await.unwrap();
        sqlx::query_as("SELECT key, value FROM pages ORDER BY key").fetch_all(&mut connection).await.unwrap()
    });
    assert!(rows.contains(&("100".to_owned(), "\"waits\"".to_owned())), "{}", rows.len());
    fs::remove_dir_all(&place).unwrap();
}

/// Whoever does not know how to merge would make dead letters of them.
#[test]
fn it_leaves_a_log_alone_in_which_merges_wait() {
    let place = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("merges-{}", std::process::id()));
    _ = fs::remove_dir_all(&place);
    fs::create_dir(&place).unwrap();
    let (log, file) = (place.join("log"), place.join("data.db"));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let settings = write_behind(FakeStore::<u64, u64>::new()).merge(Sum).journal(LocalLog::at(&log));
        let behind = settings.flush_every(Duration::from_secs(3_600)).store().unwrap();
        behind.apply(&[Change::Put(1, 10), Change::Merge(1, 5)]).await.unwrap();
    });
    let before = inspect(&log).unwrap();
    let kinds: Vec<_> = before.writes.iter().map(|write| write.parts().unwrap().kind()).collect();
    assert_eq!(kinds, ["put", "merge"]);
    let code = replay::run(log.to_str().unwrap(), file.to_str().unwrap(), "pages").unwrap();
    assert_eq!(format!("{code:?}"), format!("{:?}", ExitCode::FAILURE));
    // Not all that is told of it: whoever had it open may still be about to leave.
    assert_eq!(inspect(&log).unwrap().writes, before.writes);
    fs::remove_dir_all(&place).unwrap();
}
