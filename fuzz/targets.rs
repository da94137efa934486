//! What the fuzzer feeds, one function for each target. `tests/fuzz_targets.rs` feeds them a little under every `cargo test`.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use larder::Redis;
use larder::codec::{Codec, Compression, Json, KeyRing, KeyWriter, MessagePack, Postcard};
use larder::journal::record::{self, HEADER, Header};
use larder::journal::recovery::{Recovery, Segment, recover};
use larder::journal::{letters, mark, payload};
use larder::store::JournalId;
use larder::tier::redis::{Namespace, layout};
use serde::{Deserialize, Serialize};

/// Everything that serde knows, as deep as somebody likes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Tree {
    Nothing,
    Maybe(Option<Box<Self>>),
    Numbers(u64, i32, bool),
    Wide(u128),
    Text { text: String, initial: char },
    Bytes(Vec<u8>),
    Many(Vec<Self>),
    Named(BTreeMap<String, Self>),
    Pair(Box<(Self, Self)>),
}

/// What each of the ways to pack makes of a slot of any bytes; and that what is read was written by somebody who may.
pub(crate) fn envelope(bytes: &[u8]) {
    static WAYS: LazyLock<Vec<Namespace<Tree, Postcard>>> = LazyLock::new(ways);
    if let Some(slot) = layout::decode(bytes) {
        assert!(
            layout::decode(&layout::encode(&slot)).is_some(),
            "what is read as a slot can be written as one"
        );
    }
    let Some((way, bytes)) = bytes.split_first() else { return };
    let way = &WAYS[usize::from(*way) % WAYS.len()];
    _ = way.copy_in(&7_u64, bytes.to_vec());
    changed_a_little(way, bytes);
    around_a_payload(way, bytes);
}

fn ways() -> Vec<Namespace<Tree, Postcard>> {
    let plain = || {
        Redis::new("redis://127.0.0.1")
            .expect("a URL")
            .namespace("n")
            .codec(Postcard::default())
            .max_value(4096)
    };
    let keys = || KeyRing::new(1, [1; 32]).accepts(2, [2; 32]);
    vec![
        plain(),
        plain().compress(Compression::lz4().above(0)),
        plain().compress(Compression::zstd().above(0)),
        plain().sealed(keys()),
        plain().sealed(keys()).compress(Compression::lz4().above(0).even_when_sealed()),
    ]
}

/// A whole copy with some of its bytes exchanged: two bytes say where, one says what.
fn changed_a_little(way: &Namespace<Tree, Postcard>, changes: &[u8]) {
    let whole = way.slot_of(&7_u64, Some(&a_tree())).expect("it can be kept");
    let is_sealed = whole[59 + 5] & 8 != 0;
    let mut slot = whole.clone();
    for change in changes.chunks_exact(3) {
        let at = usize::from(u16::from_be_bytes([change[0], change[1]])) % slot.len();
        slot[at] = change[2];
    }
    let same_behind_the_times = slot[59..] == whole[59..] && slot[4..20] == whole[4..20];
    match way.copy_in(&7_u64, slot) {
        Some(copy) if is_sealed => {
            assert!(same_behind_the_times, "a sealed copy was changed");
            assert_eq!(copy.value(), Some(&a_tree()));
        }
        _ => {}
    }
}

/// An envelope that is right around a payload that is anything.
fn around_a_payload(way: &Namespace<Tree, Postcard>, bytes: &[u8]) {
    let Some((form, payload)) = bytes.split_first() else { return };
    let Some(mut slot) = way.slot_of(&7_u64, Some(&Tree::Nothing)) else { return };
    slot.truncate(59 + 12 + 1);
    slot[59 + 5] = form & 15;
    slot[59 + 8..59 + 12].copy_from_slice(&(payload.len() as u32).to_be_bytes());
    slot.extend_from_slice(payload);
    _ = way.copy_in(&7_u64, slot);
}

fn a_tree() -> Tree {
    Tree::Many(vec![
        Tree::Text { text: "a text, a text, a text, a text, a text".to_owned(), initial: 'a' },
        Tree::Maybe(Some(Box::new(Tree::Numbers(7, -7, true)))),
        Tree::Bytes(vec![7; 200]),
    ])
}

/// What is read from any bytes can be written, and is read from that again.
pub(crate) fn codecs(bytes: &[u8]) {
    let Some((which, bytes)) = bytes.split_first() else { return };
    match which % 3 {
        0 => reads_what_it_writes(&Json::default(), bytes),
        1 => reads_what_it_writes(&MessagePack::default(), bytes),
        _ => reads_what_it_writes(&Postcard::default(), bytes),
    }
}

fn reads_what_it_writes(codec: &impl Codec<Tree>, bytes: &[u8]) {
    let Ok(tree) = codec.decode(bytes) else { return };
    let mut written = Vec::new();
    codec.encode(&tree, &mut written).expect("what was read can be written");
    assert_eq!(codec.decode(&written).expect("what was written can be read"), tree);
}

/// Two keys are written alike if they are the same, and never otherwise; a name begins with its namespace and its bucket,
/// whatever is in the key.
pub(crate) fn keys(bytes: &[u8]) {
    let parts: Vec<String> =
        bytes.splitn(4, |byte| *byte == 0).map(|part| String::from_utf8_lossy(part).into_owned()).collect();
    let [a, b, c, d] = [0, 1, 2, 3].map(|at| parts.get(at).cloned().unwrap_or_default());
    let (one, other) = ((a, b), (c, d));
    assert_eq!(one == other, KeyWriter::text_of(&one) == KeyWriter::text_of(&other));
    assert_eq!(one.0 == other.0, KeyWriter::text_of(&one.0) == KeyWriter::text_of(&other.0));
    let (name, text) = (name_of(&one), KeyWriter::text_of(&one));
    let rest = name.strip_prefix("n:{b").expect("the namespace, then the bucket");
    let (bucket, rest) = rest.split_at_checked(3).expect("three digits");
    assert!(bucket.parse::<u8>().is_ok_and(|bucket| bucket < 64), "{name}");
    let key = rest.strip_prefix("}:").expect("the key is behind the bucket");
    assert!(key == text || text.len() > 1024 && key.len() == 33 && key.starts_with('#'), "{name}");
}

fn name_of(key: &(String, String)) -> String {
    static NAMESPACE: LazyLock<Namespace<String>> =
        LazyLock::new(|| Redis::new("redis://127.0.0.1").expect("a URL").namespace("n"));
    NAMESPACE.redis_name(key)
}

/// What the segments of a log of any bytes are recovered as, and of a whole log with some of its bytes exchanged: records
/// without a gap, and the same again from what is sound.
pub(crate) fn log(bytes: &[u8]) {
    let Some((way, bytes)) = bytes.split_first() else { return };
    let segments = if way % 2 == 0 { any_segments(bytes) } else { changed_segments(bytes) };
    let Ok(Recovery { log, records, sound, next, .. }) = recover(&segments) else { return };
    let first = segments.first().map_or(1, |oldest| oldest.first);
    let numbers = || records.iter().map(|record| record.sequence);
    assert!(numbers().zip(first..).all(|(number, due)| number == due), "a gap");
    assert_eq!(numbers().next_back().map_or(first, |last| last.saturating_add(1)), next);
    let mut again = segments;
    let Some(newest) = again.last_mut().filter(|_| sound > 0) else { return };
    newest.bytes.truncate(sound);
    let again = recover(&again).expect("what is sound is no damage");
    assert_eq!((again.log, again.records, again.cut, again.next), (log, records, 0, next));
}

/// Up to four files of any bytes.
fn any_segments(bytes: &[u8]) -> Vec<Segment> {
    let files = bytes.split_inclusive(|byte| *byte == 0xFE).take(4);
    (1..).zip(files).map(|(first, bytes)| segment(first, bytes.to_vec())).collect()
}

/// Two segments with three records, some of their bytes exchanged: three bytes say in which, where, and what.
fn changed_segments(changes: &[u8]) -> Vec<Segment> {
    let log = JournalId::from_bytes([7; 16]);
    let whole = |first: u64, payloads: &[&[u8]]| {
        let mut bytes = record::encode_header(&Header { first, log });
        (first..)
            .zip(payloads)
            .for_each(|(number, payload)| record::encode(log, number, payload, &mut bytes));
        assert!(bytes.len() > HEADER);
        segment(first, bytes)
    };
    let mut segments = vec![whole(1, &[b"one", b"two"]), whole(3, &[b"three, the longest of them"])];
    for change in changes.chunks_exact(3) {
        let bytes = &mut segments[usize::from(change[0] % 2)].bytes;
        let at = usize::from(change[1]) % bytes.len();
        bytes[at] = change[2];
    }
    segments
}

fn segment(first: u64, bytes: Vec<u8>) -> Segment {
    Segment { name: first.to_string(), first, bytes }
}

/// What is read as a write, a dead letter or a mark was written as just these bytes.
pub(crate) fn payload(bytes: &[u8]) {
    if let Ok(payload) = payload::decode(bytes) {
        assert_eq!(payload::encode(&payload), bytes);
    }
    if let Some((_, Some(letter))) = letters::decode(bytes) {
        assert!(letter.record().len() < bytes.len());
    }
    let log = JournalId::from_bytes([7; 16]);
    let settled = mark::decode(log, 1000, bytes);
    assert!(settled <= 1000 && (settled == 0 || mark::encode(log, settled) == bytes));
}
