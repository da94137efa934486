//! A log in files, through the journal: dead letters, the mark, who may read it, and what it says when it cannot go on.

#![cfg(all(feature = "local-log", feature = "testing", unix))]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "support/place.rs"]
mod place;

use std::collections::BTreeMap;
use std::error::Error as _;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::mpsc::channel;
use std::time::{Duration, SystemTime};

use larder::journal::fault::Fault;
use larder::journal::raw::RawJournal;
use larder::journal::{LocalLog, inspect};
use larder::store::{DeadLetter, ShardId};
use larder::{Change, ErrorKind, Outcome};
use place::Place;

type Texts = RawJournal<u64, String>;

fn open(place: &Place) -> Texts {
    RawJournal::open(LocalLog::at(place.log()).segment_bytes(4096)).unwrap()
}

fn put(key: u64) -> Change<u64, String> {
    Change::Put(key, "secret".repeat(10))
}

fn letter(journal: &Texts, seq: u64) -> DeadLetter {
    let at = SystemTime::UNIX_EPOCH + Duration::from_nanos(1_700_000_000_123_456_789);
    DeadLetter::new(ShardId::new(journal.id, 0), seq, at, "the value is too long", vec![seq as u8; 9])
}

/// Every file and directory below `path` with its mode.
fn modes(path: &Path) -> BTreeMap<String, u32> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(path).unwrap() {
        let path = entry.unwrap().path();
        found.insert(path.display().to_string(), fs::metadata(&path).unwrap().permissions().mode() & 0o777);
        if path.is_dir() {
            found.extend(modes(&path));
        }
    }
    found
}

#[tokio::test]
async fn letters_outlive_the_process_until_they_are_taken_out() {
    let place = Place::new("letters");
    let journal = open(&place);
    let letters: Vec<DeadLetter> = (1..=3).map(|seq| letter(&journal, seq)).collect();
    journal.put_aside(&letters[1..]).await.unwrap();
    journal.put_aside(&letters).await.unwrap();
    assert_eq!(journal.letters(None, 9).await.unwrap(), letters, "each once, the oldest first");
    assert_eq!(journal.letters(Some(1), 1).await.unwrap(), letters[1..2]);
    assert!(journal.discard(2).await.unwrap());
    assert!(!journal.discard(2).await.unwrap());
    journal.close().await;

    let journal = open(&place);
    assert_eq!(journal.letters(None, 9).await.unwrap(), [letters[0].clone(), letters[2].clone()]);
}

#[tokio::test]
async fn closing_frees_it_at_once_and_what_comes_later_is_refused() {
    let place = Place::new("closing");
    let journal = open(&place);
    let second = RawJournal::open(LocalLog::<u64, String>::at(place.log())).unwrap_err();
    assert_eq!((second.kind(), second.downcast_ref()), (ErrorKind::Journal, Some(&Fault::InUse)));
    journal.close().await;
    for _ in 0..20 {
        open(&place).close().await;
    }
    let late = journal.write(&put(1)).await.unwrap_err();
    assert_eq!((late.kind(), late.outcome()), (ErrorKind::Journal, Some(Outcome::NotApplied)));
    assert!(journal.put_aside(&[letter(&journal, 1)]).await.is_err());
    assert_eq!(journal.letters(None, 1).await.unwrap_err().downcast_ref(), Some(&Fault::Closed));
    journal.settle(1);
    journal.close().await;
}

#[tokio::test]
async fn what_is_settled_is_remembered_and_trimmed() {
    let place = Place::new("settled");
    let journal = open(&place);
    for key in 0..100 {
        journal.write(&put(key)).await.unwrap();
    }
    journal.settle(97);
    journal.close().await;
    let journal = open(&place);
    let (first, next, settled) = journal.ends;
    assert!((60..=98).contains(&first) && next == 101 && settled == 97, "{:?}", journal.ends);
    assert_eq!(journal.found.len() as u64, next - first);
    assert_eq!(journal.write(&put(1)).await.unwrap(), 101);
    journal.close().await;

    fs::remove_file(place.log().join("settled")).unwrap();
    assert_eq!(open(&place).ends, (first, 102, first - 1), "without the mark only the trimming is known");
}

#[tokio::test]
async fn a_mark_of_another_log_counts_as_nothing() {
    let (place, other) = (Place::new("foreign"), Place::new("foreign-other"));
    for place in [&place, &other] {
        let journal = open(place);
        journal.write(&put(1)).await.unwrap();
        journal.settle(1);
        journal.close().await;
    }
    fs::copy(other.log().join("settled"), place.log().join("settled")).unwrap();
    assert_eq!(open(&place).ends, (1, 2, 0));
}

#[tokio::test]
async fn nobody_but_the_owner_reads_any_of_it() {
    let place = Place::new("owner");
    for round in 0..2 {
        let journal = open(&place);
        for key in 0..60 {
            journal.write(&put(key)).await.unwrap();
        }
        journal.settle(2 + 60 * round);
        journal.put_aside(&[letter(&journal, round)]).await.unwrap();
        journal.close().await;
    }
    let modes = modes(&place.log());
    assert!(modes.len() >= 7, "{modes:?}");
    for (path, mode) in modes {
        assert_eq!(mode, if path.ends_with("dead-letters") { 0o700 } else { 0o600 }, "{path}");
    }
}

#[tokio::test]
async fn whoever_watches_hears_of_what_nobody_waits_for() {
    let place = Place::new("watch");
    let journal = open(&place);
    let (told, heard) = channel();
    journal.watch(move |progress| told.send(progress.map_err(|error| error.kind())).unwrap());
    drop(journal.append(vec![7]));
    assert_eq!(heard.recv(), Ok(Ok(1)));
}

#[tokio::test]
async fn a_damaged_log_is_refused_with_file_and_place_and_no_payload() {
    let place = Place::new("damaged");
    let journal = open(&place);
    for key in 0..3 {
        journal.write(&put(key)).await.unwrap();
    }
    journal.close().await;
    let file = place.log().join("00000000000000000001.segment");
    let mut bytes = fs::read(&file).unwrap();
    bytes[60] ^= 1;
    fs::write(&file, bytes).unwrap();
    for error in [
        RawJournal::open(LocalLog::<u64, String>::at(place.log())).unwrap_err(),
        inspect(place.log()).unwrap_err(),
    ] {
        assert_eq!(error.kind(), ErrorKind::Journal);
        assert!(error.source().is_some() && matches!(error.downcast_ref(), Some(Fault::Corrupt(_))));
        let text = error.to_string();
        assert!(
            text.contains("00000000000000000001.segment at byte 40") && !text.contains("secret"),
            "{text}"
        );
        assert!(text.contains(&place.log().display().to_string()), "{text}");
    }
}

#[tokio::test]
async fn an_inspection_shows_what_is_there_and_changes_nothing() {
    let place = Place::new("inspection");
    assert_eq!(inspect(place.log()).unwrap_err().kind(), ErrorKind::Journal, "there is nothing");
    let journal = open(&place);
    journal.write(&put(7)).await.unwrap();
    journal.write(&Change::Delete(8)).await.unwrap();
    journal.append(b"\x09of tomorrow".to_vec()).await.unwrap();
    journal.put_aside(&[letter(&journal, 1)]).await.unwrap();
    assert!(inspect(place.log()).unwrap().is_open);
    journal.settle(1);
    journal.close().await;

    let before = modes(&place.log());
    let inspection = inspect(place.log()).unwrap();
    assert_eq!(modes(&place.log()), before);
    assert!(!inspection.is_open);
    assert_eq!((inspection.id, inspection.torn_bytes), (Some(journal.id), 0));
    assert_eq!((inspection.first, inspection.next, inspection.settled), (1, 4, 1));
    let [put, delete, unknown] = &inspection.writes[..] else { panic!("{inspection:?}") };
    let parts = put.parts().unwrap();
    assert_eq!((parts.codec, parts.schema, parts.key), (1, 0, &b"7"[..]));
    assert_eq!(parts.value, Some(format!("\"{}\"", "secret".repeat(10)).as_bytes()));
    assert!(parts.accepted.elapsed().unwrap() < Duration::from_secs(600));
    assert_eq!((delete.seq, delete.parts().unwrap().value), (2, None));
    assert!(unknown.parts().unwrap_err().contains("format 9"));
    assert_eq!(inspection.letters, [letter(&journal, 1)]);
    let printed = format!("{inspection:?}{:?}{put:?}", parts);
    assert!(!printed.contains("secret"), "{printed}");
}

/// A log that is written to and trimmed all the time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_is_open_can_be_inspected() {
    let place = Place::new("busy");
    let journal = open(&place);
    let path = place.log();
    let looking = std::thread::spawn(move || {
        for _ in 0..100 {
            let inspection = inspect(&path).unwrap();
            assert!(inspection.is_open && inspection.settled < inspection.next);
        }
    });
    let mut last = 0;
    while !looking.is_finished() {
        last = journal.write(&put(last)).await.unwrap();
        journal.settle(last);
    }
    looking.join().unwrap();
}

#[test]
fn settings_out_of_bounds_are_refused() {
    let place = Place::new("bounds");
    for bytes in [0, 4095, (1 << 30) + 1] {
        let error =
            RawJournal::open(LocalLog::<u64, String>::at(place.log()).segment_bytes(bytes)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Settings);
    }
    assert!(!place.log().exists(), "and nothing is made");
}

#[tokio::test]
async fn a_write_that_is_too_long_ends_nothing() {
    let place = Place::new("long");
    let journal = open(&place);
    let error = journal.write(&Change::Put(1, "x".repeat(64 << 20))).await.unwrap_err();
    assert_eq!((error.kind(), error.outcome()), (ErrorKind::Journal, Some(Outcome::NotApplied)));
    assert!(matches!(error.downcast_ref(), Some(Fault::TooLong { .. })));
    assert_eq!(journal.write(&put(1)).await.unwrap(), 1);
}
