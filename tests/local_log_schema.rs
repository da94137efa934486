//! Pending writes that are older or newer than the program that finds them: read, upgraded, or kept to be put aside.

#![cfg(all(feature = "local-log", feature = "testing", unix))]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "support/place.rs"]
mod place;

use std::fs;
use std::path::Path;

use larder::codec::Codec;
use larder::journal::checksum::crc32c;
use larder::journal::raw::RawJournal;
use larder::journal::{LocalLog, inspect};
use larder::{BoxError, Change, ErrorKind, Outcome};
use place::Place;
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Old {
    name: String,
    language: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct New {
    name: String,
    languages: Vec<String>,
}

fn old() -> Old {
    Old { name: "Ada".to_owned(), language: "en".to_owned() }
}

fn new() -> New {
    New { name: "Ada".to_owned(), languages: vec!["en".to_owned()] }
}

fn upgrade(schema: u32, bytes: &[u8]) -> Option<New> {
    let old: Old = (schema == 1).then(|| serde_json::from_slice(bytes).ok())??;
    Some(New { name: old.name, languages: vec![old.language] })
}

/// A log to which a service with `Old` has written a put and a delete.
async fn written_by_the_old(place: &Place) {
    let journal = RawJournal::open(LocalLog::<u64, Old>::at(place.log()).schema(1)).unwrap();
    assert_eq!(journal.write(&Change::Put(1, old())).await.unwrap(), 1);
    assert_eq!(journal.write(&Change::Delete(2)).await.unwrap(), 2);
    journal.close().await;
}

fn found<V: larder::Value, C: Codec<V>>(log: LocalLog<u64, V, C>) -> Vec<Result<Change<u64, V>, String>> {
    RawJournal::open(log).unwrap().found.into_iter().map(|(_, _, change)| change).collect()
}

#[tokio::test]
async fn what_was_written_is_found() {
    let place = Place::new("found");
    written_by_the_old(&place).await;
    let log = LocalLog::at(place.log()).schema(1);
    assert_eq!(found(log), [Ok(Change::Put(1, old())), Ok(Change::Delete(2))]);
}

#[tokio::test]
async fn what_an_older_program_wrote_is_upgraded() {
    let place = Place::new("older");
    written_by_the_old(&place).await;
    let log = LocalLog::at(place.log()).schema(2).upgrade(upgrade);
    assert_eq!(found(log), [Ok(Change::Put(1, new())), Ok(Change::Delete(2))]);
}

#[tokio::test]
async fn what_nobody_can_read_is_found_as_it_is() {
    let place = Place::new("nobody");
    written_by_the_old(&place).await;
    let journal = RawJournal::open(LocalLog::<u64, New>::at(place.log()).schema(2)).unwrap();
    let [(1, record, Err(why)), (2, _, Ok(Change::Delete(2)))] = &journal.found[..] else {
        panic!("{:?}", journal.found)
    };
    assert_eq!(
        why,
        "a value of schema 1 and codec 1 cannot be read as one of schema 2 and codec 1, and there is no upgrade"
    );
    assert_eq!(journal.read(record), Err(why.clone()), "and the record says so whenever it is read");
}

#[tokio::test]
async fn an_upgrade_may_say_that_it_does_not_know() {
    let place = Place::new("unknown");
    written_by_the_old(&place).await;
    let log = LocalLog::<u64, New>::at(place.log()).schema(3).upgrade(|_, _| None);
    let why = found(log)[0].clone().unwrap_err();
    assert!(why.ends_with("and the upgrade did not take it"), "{why}");
}

/// A rollback: the newer program has written, and the older one finds it.
#[tokio::test]
async fn what_a_newer_program_wrote_is_not_passed_over() {
    let place = Place::new("newer");
    let newer = RawJournal::open(LocalLog::<u64, New>::at(place.log()).schema(2)).unwrap();
    newer.write(&Change::Put(1, new())).await.unwrap();
    newer.close().await;
    let found = found(LocalLog::<u64, Old>::at(place.log()).schema(1));
    assert!(found[0].as_ref().unwrap_err().contains("schema 2"), "{found:?}");
}

/// Somebody changed the type and forgot the number.
#[tokio::test]
async fn the_upgrade_is_asked_where_the_codec_fails() {
    let place = Place::new("forgotten");
    written_by_the_old(&place).await;
    let log = LocalLog::at(place.log()).schema(1).upgrade(upgrade);
    assert_eq!(found(log), [Ok(Change::Put(1, new())), Ok(Change::Delete(2))]);
    let why = found(LocalLog::<u64, New>::at(place.log()).schema(1))[0].clone().unwrap_err();
    assert!(!why.contains("languages") && !why.contains("Ada"), "no word of the codec: {why}");
}

/// Texts as they are.
struct Plain;

impl Codec<String> for Plain {
    fn id(&self) -> u8 {
        40
    }

    fn encode(&self, value: &String, bytes: &mut Vec<u8>) -> Result<(), BoxError> {
        if value.is_empty() {
            return Err("an empty text".into());
        }
        bytes.extend(value.as_bytes());
        Ok(())
    }

    fn decode(&self, bytes: &[u8]) -> Result<String, BoxError> {
        Ok(std::str::from_utf8(bytes)?.to_owned())
    }
}

#[tokio::test]
async fn values_are_written_by_a_codec_and_no_other_is_tried() {
    let place = Place::new("codec");
    let journal = RawJournal::open(LocalLog::<u64, String>::at(place.log()).codec(Plain)).unwrap();
    journal.write(&Change::Put(7, "plain".to_owned())).await.unwrap();
    let refused = journal.write(&Change::Put(8, String::new())).await.unwrap_err();
    assert_eq!((refused.kind(), refused.outcome()), (ErrorKind::Journal, Some(Outcome::NotApplied)));
    assert!(!refused.to_string().contains("empty"), "the codec's words are its source's: {refused}");
    journal.close().await;

    let inspection = inspect(place.log()).unwrap();
    let parts = inspection.writes[0].parts().unwrap();
    assert_eq!((parts.codec, parts.key, parts.value), (40, &b"7"[..], Some(&b"plain"[..])));
    let of_this_codec = || LocalLog::<u64, String>::at(place.log()).codec(Plain);
    assert_eq!(found(of_this_codec()), [Ok(Change::Put(7, "plain".to_owned()))]);
    assert!(found(LocalLog::<u64, String>::at(place.log()))[0].is_err(), "JSON is another");
}

#[tokio::test]
async fn keys_of_another_type_and_records_of_another_format_are_not_passed_over() {
    let place = Place::new("keys");
    let texts = RawJournal::open(LocalLog::<String, String>::at(place.log())).unwrap();
    texts.write(&Change::Delete("a secret".to_owned())).await.unwrap();
    texts.append(b"\x09of tomorrow".to_vec()).await.unwrap();
    texts.append(Vec::new()).await.unwrap();
    texts.close().await;
    let whys: Vec<String> =
        found(LocalLog::<u64, String>::at(place.log())).into_iter().map(Result::unwrap_err).collect();
    assert_eq!(
        whys,
        [
            "the key is no JSON of the type that keys have now",
            "the record is of format 9, which this version of larder does not know",
            "the record is empty",
        ]
    );
}

/// Golden: these files are on people's disks. What reads them must never change.
#[tokio::test]
async fn files_of_the_first_format_are_read() {
    let place = Place::new("golden");
    lay_down(&place.log(), &golden());
    let journal = RawJournal::open(LocalLog::<u64, Old>::at(place.log()).schema(1)).unwrap();
    assert_eq!(journal.id.to_bytes(), *b"0123456789abcdef");
    assert_eq!(journal.ends, (5, 7, 5), "first, next, settled");
    let records: Vec<_> = journal.found.iter().map(|(seq, _, change)| (*seq, change.clone())).collect();
    assert_eq!(records, [(5, Ok(Change::Put(1, old()))), (6, Ok(Change::Delete(2)))]);
    let letters = journal.letters(None, 9).await.unwrap();
    let [letter] = &letters[..] else { panic!("{letters:?}") };
    assert_eq!((letter.seq(), letter.why(), letter.record()), (3, "too long", &b"the write"[..]));
}

/// And what is written is that.
#[tokio::test]
async fn files_of_the_first_format_are_written() {
    let place = Place::new("golden-written");
    lay_down(&place.log(), &golden());
    let journal = RawJournal::open(LocalLog::<u64, Old>::at(place.log()).schema(1)).unwrap();
    journal.settle(6);
    journal.close().await;
    let golden = golden();
    assert_eq!(fs::read(place.log().join(golden[0].0)).unwrap(), golden[0].1, "opened, and the same");
    let number = &fs::read(place.log().join("settled")).unwrap()[16..24];
    assert_eq!(number, 6_u64.to_le_bytes());
}

fn lay_down(log: &Path, files: &[(&str, Vec<u8>)]) {
    fs::create_dir_all(log.join("dead-letters")).unwrap();
    for (name, bytes) in files {
        fs::write(log.join(name), bytes).unwrap();
    }
}

/// The checksums are computed here, as the format says; their own bytes are golden in the tests of the formats.
fn golden() -> Vec<(&'static str, Vec<u8>)> {
    const LOG: &[u8; 16] = b"0123456789abcdef";
    const LETTERS: &[u8; 16] = b"fedcba9876543210";
    let put = b"\x01\x01\x01\x01\0\0\0\x7b\x68\xe5\xcf\x8b\x01\0\0\x01\0\0\x001{\"name\":\"Ada\",\"language\":\"en\"}";
    let delete = b"\x01\x02\x01\x01\0\0\0\x7b\x68\xe5\xcf\x8b\x01\0\0\x01\0\0\x002";
    let letter =
        b"\x01\x010123456789abcdef\0\0\x03\0\0\0\0\0\0\0\x05\0\0\0\0\0\0\0\x08\0\0\0too longthe write";
    vec![
        (
            "00000000000000000005.segment",
            [header(LOG, 5), record(LOG, 5, put), record(LOG, 6, delete)].concat(),
        ),
        ("settled", with_sum([&LOG[..], b"\x05\0\0\0\0\0\0\0"].concat())),
        (
            "dead-letters/00000000000000000001.segment",
            [header(LETTERS, 1), record(LETTERS, 1, letter)].concat(),
        ),
    ]
}

fn header(log: &[u8; 16], first: u8) -> Vec<u8> {
    with_sum([&b"larderlg\x01\0\0\0"[..], &[first, 0, 0, 0, 0, 0, 0, 0], log].concat())
}

fn with_sum(bytes: Vec<u8>) -> Vec<u8> {
    let sum = crc32c(&[&bytes]);
    [bytes, sum.to_le_bytes().to_vec()].concat()
}

fn record(log: &[u8; 16], number: u8, payload: &[u8]) -> Vec<u8> {
    let behind = [&[number, 0, 0, 0, 0, 0, 0, 0], payload].concat();
    let sum = crc32c(&[log, &behind]).to_le_bytes();
    [&(payload.len() as u32).to_le_bytes()[..], &sum, &behind].concat()
}
