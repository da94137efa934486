//! What stands in Redis: which bytes, under which names, and what becomes of bytes that are not ours.

use std::fmt::Debug;

use crate::support::MINUTE;
use crate::support::copies::{bytes, name, names, on, set, tier};
use crate::support::redis_server::RedisServer;
use crate::support::resp::Reply;
use crate::support::watching::soon;
use larder::bounds::{Key, Value};
use larder::codec::{CacheKey, Codec, Json};
use larder::testing::FakeStore;
use larder::{BoxError, Copies, LayeredCache, Local, Memory, cache_aside, write_through};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Where the envelope of a kept copy begins: behind `ld1V`, a token of 16 bytes and three times of 13.
const HEAD: usize = 59;
/// How long the envelope's own head is.
const ENVELOPE: usize = 12;

/// A process of its own, in the namespace `n`.
fn process<K, V>(server: &RedisServer, store: &FakeStore<K, V>) -> LayeredCache<K, V>
where
    K: Key + CacheKey,
    V: Value + Serialize + DeserializeOwned,
{
    on(tier(server, "n"), store)
}

async fn get<K: Key, V: Value>(cache: &LayeredCache<K, V>, key: &K) -> Option<V> {
    soon(cache.get(key)).await.expect("answered")
}

fn text(n: u64) -> String {
    format!("text {n}")
}

fn texts(rows: u64) -> FakeStore<u64, String> {
    FakeStore::with((0..rows).map(|n| (n, text(n))))
}

/// Ways in which the bytes of a copy can be wrong, each with a name. `another` is the copy of another key.
fn damages(copy: &[u8], another: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    let changed = |at: usize, byte: u8| {
        let mut bytes = copy.to_vec();
        bytes[at] = byte;
        bytes
    };
    let other_layout = [b"ld2V", &copy[4..]].concat();
    vec![
        ("nothing", Vec::new()),
        ("the state only", copy[..4].to_vec()),
        ("half of the times", copy[..40].to_vec()),
        ("no envelope", copy[..HEAD].to_vec()),
        ("half of the envelope's head", copy[..HEAD + 6].to_vec()),
        ("no payload", copy[..HEAD + ENVELOPE + 1].to_vec()),
        ("the last byte missing", copy[..copy.len() - 1].to_vec()),
        ("one byte more", [copy, b" "].concat()),
        ("a time that is no number", changed(25, b'x')),
        ("another schema", changed(HEAD + 3, 9)),
        ("another codec", changed(HEAD + 4, 77)),
        ("neither a value nor an absence", changed(HEAD + 5, 7)),
        ("a payload that is no JSON", changed(copy.len() - 1, b'!')),
        ("another key", another.to_vec()),
        ("JSON of somebody else", br#"{"id":7,"text":"of somebody else"}"#.to_vec()),
        ("layout 2", other_layout),
        ("an unknown state", [b"ld1X", &copy[4..]].concat()),
        ("a lease that is cut off", b"ld1L0123456789".to_vec()),
    ]
}

#[tokio::test]
async fn bytes_that_are_not_the_copy_are_a_miss_and_are_replaced() {
    let name_of_test = "bytes_that_are_not_the_copy_are_a_miss_and_are_replaced";
    let Some(server) = RedisServer::start_or_skip(name_of_test).await else { return };
    let store = texts(10);
    let reader = process(&server, &store);
    for key in [7, 8] {
        get(&reader, &key).await;
    }
    let place = name(&server, "n:*:7").await;
    let another = bytes(&server, &name(&server, "n:*:8").await).await;
    let whole = bytes(&server, &place).await;
    for (what, damaged) in damages(&whole, &another) {
        let (before, loads) = (reader.stats(), store.loads());
        set(&server, &place, &damaged).await;
        assert_eq!(get(&reader, &7).await, Some(text(7)), "{what}");
        let after = reader.stats();
        assert_eq!(after.unreadable - before.unreadable, 1, "{what} is counted once");
        assert_eq!((store.loads() - loads, after.tier_failures), (1, 0), "{what}");
        assert_eq!(get(&process(&server, &store), &7).await, Some(text(7)));
        assert_eq!(store.loads() - loads, 1, "{what} is replaced by a copy that all can read");
    }
}

#[tokio::test]
async fn another_kind_of_value_is_a_miss_and_is_replaced() {
    let Some(server) = RedisServer::start_or_skip("another_kind_of_value_is_a_miss_and_is_replaced").await
    else {
        return;
    };
    let store = texts(10);
    let reader = process(&server, &store);
    get(&reader, &7).await;
    let place = name(&server, "n:*:7").await;
    let kinds: [&[&str]; 4] = [
        &["RPUSH", &place, "a"],
        &["SADD", &place, "a"],
        &["HSET", &place, "a", "b"],
        &["ZADD", &place, "1", "a"],
    ];
    for kind in kinds {
        let (unreadable, loads) = (reader.stats().unreadable, store.loads());
        server.command(&["DEL", &place]).await;
        server.command(kind).await;
        assert_eq!(get(&reader, &7).await, Some(text(7)), "{kind:?}");
        assert_eq!(reader.stats().unreadable - unreadable, 1, "{kind:?}");
        assert_eq!(get(&process(&server, &store), &7).await, Some(text(7)));
        assert_eq!((store.loads() - loads, reader.stats().tier_failures), (1, 0), "{kind:?}");
    }
}

/// In a batch every key has its own answer: what is wrong with one is no matter of the others.
#[tokio::test]
async fn in_a_batch_only_the_damaged_are_loaded() {
    let Some(server) = RedisServer::start_or_skip("in_a_batch_only_the_damaged_are_loaded").await else {
        return;
    };
    let store = texts(100);
    let reader = process(&server, &store);
    let keys: Vec<u64> = (0..60).collect();
    for answer in soon(reader.get_many(&keys)).await {
        answer.expect("loaded");
    }
    let another = bytes(&server, &name(&server, "n:*:59").await).await;
    let copy = bytes(&server, &name(&server, "n:*:0").await).await;
    let damages = damages(&copy, &another);
    for (key, (_, damaged)) in damages.iter().enumerate() {
        set(&server, &name(&server, &format!("n:*:{key}")).await, damaged).await;
    }
    let list = name(&server, "n:*:50").await;
    server.command(&["DEL", &list]).await;
    server.command(&["RPUSH", &list, "a"]).await;

    let loads = store.loads();
    for (key, answer) in keys.iter().zip(soon(reader.get_many(&keys)).await) {
        assert_eq!(answer.expect("answered"), Some(text(*key)));
    }
    assert_eq!(store.loads() - loads, damages.len() as u64 + 1);
    // Redis says of a list in a batch that there is nothing.
    let stats = reader.stats();
    // Copies are judged by their life before they are by their key: what another node has written has outlived it.
    assert_eq!(stats.unreadable + stats.outlived, damages.len() as u64);
    assert!(server.cluster().is_some() || stats.outlived == 0);
    let newcomer = process(&server, &store);
    for (key, answer) in keys.iter().zip(soon(newcomer.get_many(&keys)).await) {
        assert_eq!(answer.expect("answered"), Some(text(*key)));
    }
    assert_eq!((newcomer.stats().hits, newcomer.stats().loads), (60, 0));
}

/// Golden: the static parts of the bytes are those that `layout.rs` and `envelope.rs` describe. They are in people's Redis.
#[tokio::test]
async fn the_bytes_of_a_copy_are_as_documented() {
    let Some(server) = RedisServer::start_or_skip("the_bytes_of_a_copy_are_as_documented").await else {
        return;
    };
    let store = FakeStore::with([((7_u32, "a:b".to_owned()), "hello".to_owned())]);
    let cache = on(tier(&server, "post").schema(0x0102_0304), &store);
    let (present, absent) = ((7, "a:b".to_owned()), (8, String::new()));
    assert_eq!(get(&cache, &present).await.as_deref(), Some("hello"));
    assert_eq!(get(&cache, &absent).await, None);

    let place = "post:{b020}:7:a%3Ab";
    assert_eq!(name(&server, "post:*:7:*").await, place);
    let copy = bytes(&server, place).await;
    assert_eq!(&copy[..4], b"ld1V");
    assert_eq!(copy[4..8], life(&server, place).await, "the token begins with the server's life");
    let time =
        |at: usize| std::str::from_utf8(&copy[at..at + 13]).expect("digits").parse().expect("a number");
    let (as_of, fresh_until, expires_at): (u64, u64, u64) = (time(20), time(33), time(46));
    assert_eq!((fresh_until - as_of, expires_at - as_of), (60_000, 60_000));
    let Reply::Int(left) = server.command(&["PEXPIRETIME", place]).await else { panic!("no number") };
    assert!((left - i64::try_from(expires_at).expect("not so late")).abs() < 1_000, "Redis forgets it then");
    assert_eq!(
        copy[HEAD..].escape_ascii().to_string(),
        b"\x01\x02\x03\x04\x01\x00\x00\x07\x00\x00\x00\x077:a%3Ab\"hello\"".escape_ascii().to_string()
    );
    let copy = bytes(&server, &name(&server, "post:*:8:").await).await;
    assert_eq!(copy[HEAD..], *b"\x01\x02\x03\x04\x01\x01\x00\x02\x00\x00\x00\x008:");
}

/// The first eight digits of the numbers that the process with this key and its data have, folded into one.
async fn life(server: &RedisServer, key: &str) -> [u8; 4] {
    let about = server.info_for(key).await;
    let number = |name| {
        let digits = about.lines().find_map(|line| line.strip_prefix(name)).expect("it has one");
        u32::from_str_radix(&digits[..8], 16).expect("hexadecimal")
    };
    (number("run_id:") ^ number("master_replid:").rotate_left(16)).to_be_bytes()
}

/// Versions of larder with different layouts on one server, in a rolling update: each takes the other's copies for
/// nothing, and drops them all the same.
#[tokio::test]
async fn two_layouts_on_one_server() {
    let Some(server) = RedisServer::start_or_skip("two_layouts_on_one_server").await else { return };
    let store = texts(10);
    let cache = process(&server, &store);
    get(&cache, &7).await;
    let place = name(&server, "n:*:7").await;
    for round in 1..4 {
        let current = format!("text of round {round}");
        store.set_row(7, current.clone()); // the other version writes, drops, and keeps what it has read
        server.command(&["DEL", &place]).await;
        set(&server, &place, b"ld2V with a copy of the old kind, or of the next one").await;
        assert_eq!(get(&cache, &7).await, Some(current.clone()));
        assert_eq!(get(&process(&server, &store), &7).await, Some(current));
        assert_eq!(bytes(&server, &place).await[..4], *b"ld1V");

        let current = format!("text of round {round}, after a write");
        set(&server, &place, b"ld2V with a copy of the old kind, or of the next one").await;
        assert_eq!(soon(cache.put(&7, current.clone())).await.expect("written").copies(), Copies::Dropped);
        assert_eq!(
            server.command(&["EXISTS", &place]).await,
            Reply::Int(0),
            "an old copy goes, whoever reads it"
        );
        assert_eq!(get(&cache, &7).await, Some(current));
    }
    let stats = cache.stats();
    assert_eq!((stats.unreadable, stats.tier_failures, stats.waited), (3, 0, 0));
}

/// A write of the other layout's process deletes the slot while this one loads: its fill is refused.
#[tokio::test]
async fn a_foreign_delete_during_a_load_refuses_the_fill() {
    let Some(server) = RedisServer::start_or_skip("a_foreign_delete_during_a_load_refuses_the_fill").await
    else {
        return;
    };
    let store = texts(10);
    let cache = process(&server, &store);
    let gate = store.gate_after(larder::testing::Call::Load);
    let read = tokio::spawn({
        let cache = cache.clone();
        async move { cache.get(&7).await }
    });
    gate.arrived(1).await;
    store.set_row(7, "new".to_owned());
    server.command(&["DEL", &name(&server, "n:*:7").await]).await;
    gate.open();
    assert_eq!(soon(read).await.expect("no panic").expect("answered"), Some(text(7)), "it began before");
    assert_eq!(cache.stats().fills_refused, 1);
    assert_eq!(get(&cache, &7).await.as_deref(), Some("new"));
}

#[tokio::test]
async fn a_value_that_is_too_big_goes_to_its_readers_only() {
    let Some(server) = RedisServer::start_or_skip("a_value_that_is_too_big_goes_to_its_readers_only").await
    else {
        return;
    };
    let (small, big) = ("s".repeat(98), "b".repeat(99)); // with its quotes the small one has exactly 100 bytes
    let store = FakeStore::with([(1_u64, small.clone()), (2, big.clone())]);
    let alone = on(tier(&server, "n").max_value(100), &store);
    assert_eq!((get(&alone, &1).await, get(&alone, &2).await), (Some(small.clone()), Some(big.clone())));
    assert_eq!(names(&server, "n:*").await.len(), 1, "nothing of the big one, and no lease either");
    assert_eq!(get(&alone, &2).await, Some(big.clone()));
    let stats = alone.stats();
    assert_eq!((stats.unfit, stats.loads, stats.tier_failures, stats.fills_refused), (2, 3, 0, 0));

    let builder = cache_aside(store.clone()).tier(Memory::with_capacity(10));
    let with_memory = builder
        .tier(tier(&server, "n").max_value(100))
        .ttl(MINUTE)
        .local_ttl(MINUTE)
        .build()
        .expect("complete");
    assert_eq!(get(&with_memory, &2).await, Some(big.clone()));
    assert_eq!(with_memory.get_local(&2), Local::Value(big.clone()), "memory has room");

    // Whoever allows more has kept it: for the others it is none of theirs.
    get(&on(tier(&server, "n"), &store), &2).await;
    assert_eq!(get(&alone, &2).await, Some(big));
    assert_eq!(alone.stats().unreadable, 1);
}

#[tokio::test]
async fn a_written_value_that_is_too_big_leaves_no_older_copy() {
    let Some(server) =
        RedisServer::start_or_skip("a_written_value_that_is_too_big_leaves_no_older_copy").await
    else {
        return;
    };
    let store = texts(10);
    let builder = write_through(store.clone()).tier(Memory::with_capacity(10));
    let cache = builder.tier(tier(&server, "n").max_value(100)).ttl(MINUTE).build().expect("complete");
    get(&cache, &7).await;
    let big = "b".repeat(200);
    assert_eq!(soon(cache.put(&7, big.clone())).await.expect("written").copies(), Copies::Dropped);
    assert_eq!(server.command(&["DBSIZE"]).await, Reply::Int(0), "neither the copy nor the hold");
    assert_eq!(get(&cache, &7).await, Some(big.clone()));
    assert_eq!(get(&process(&server, &store), &7).await, Some(big));
}

/// A codec that refuses what it is told to refuse.
struct Picky;

impl Codec<String> for Picky {
    fn id(&self) -> u8 {
        99
    }

    fn encode(&self, value: &String, bytes: &mut Vec<u8>) -> Result<(), BoxError> {
        if value.contains('7') {
            return Err("no sevens".into());
        }
        bytes.extend(value.as_bytes());
        Ok(())
    }

    fn decode(&self, bytes: &[u8]) -> Result<String, BoxError> {
        Ok(String::from_utf8(bytes.to_vec())?)
    }
}

#[tokio::test]
async fn what_a_codec_refuses_goes_to_its_readers_only() {
    let Some(server) = RedisServer::start_or_skip("what_a_codec_refuses_goes_to_its_readers_only").await
    else {
        return;
    };
    let store = texts(10);
    let cache = || on(tier::<String>(&server, "n").codec(Picky), &store);
    let (one, other) = (cache(), cache());
    for key in [6, 7, 6, 7] {
        assert_eq!(get(&one, &key).await, Some(text(key)));
        assert_eq!(get(&other, &key).await, Some(text(key)));
    }
    let loads = one.stats().loads + other.stats().loads;
    assert_eq!((loads, one.stats().unfit), (5, 2), "the six once, the seven every time");
    assert_eq!(
        bytes(&server, &name(&server, "n:*").await).await[HEAD..],
        *b"\0\0\0\x01\x63\0\0\x01\0\0\0\x066text 6"
    );
    let in_json = on(tier::<String>(&server, "n").codec(Json::default()), &store);
    assert_eq!(get(&in_json, &6).await, Some(text(6)));
    assert_eq!(in_json.stats().unreadable, 1, "another format is none of ours");
}

/// Writes every key of `keys` by one process, and reads it by another: each has its own value.
async fn round_trip<K: Key + CacheKey + Debug>(server: &RedisServer, keys: &[K]) {
    let store = FakeStore::with(keys.iter().cloned().zip((0..).map(text)));
    let (one, other) = (process(server, &store), process(server, &store));
    for answer in soon(one.get_many(keys)).await {
        answer.expect("loaded");
    }
    for (key, n) in keys.iter().zip(0..) {
        assert_eq!(get(&other, key).await, Some(text(n)), "{key:?}");
    }
    assert_eq!((other.stats().hits, other.stats().loads), (keys.len() as u64, 0));
    for key in keys {
        soon(one.put(key, "new".to_owned())).await.expect("written");
        assert_eq!(get(&other, key).await.as_deref(), Some("new"), "{key:?}");
    }
    soon(one.clear()).await.expect("cleared");
    assert_eq!(server.command(&["DBSIZE"]).await, Reply::Int(0));
}

#[tokio::test]
async fn unusual_keys_are_keys_like_any_other() {
    let Some(server) = RedisServer::start_or_skip("unusual_keys_are_keys_like_any_other").await else {
        return;
    };
    let keys = [
        "",
        " ",
        ":",
        "::",
        "%",
        "%3A",
        "%25",
        "{",
        "}",
        "{}",
        "{b000}",
        "a{b}c",
        "*",
        "?",
        "[a]",
        "\\",
        "\"",
        "'",
        "\0",
        "\r\n",
        "a b",
        "n:{b002}:42",
        "#",
        "ä",
        "日本語",
        "🦀",
        "a:b",
        "a%3Ab",
        "A:B",
        "null",
        "-1",
    ];
    round_trip(&server, &keys.map(str::to_owned)).await;
    let parts = ["", ":", "a", "a:", "%", "%3A"];
    let pairs: Vec<_> =
        parts.iter().flat_map(|one| parts.map(|other| ((*one).to_owned(), other.to_owned()))).collect();
    round_trip(&server, &pairs).await;
}

#[tokio::test]
async fn long_keys_are_keys_like_any_other() {
    let Some(server) = RedisServer::start_or_skip("long_keys_are_keys_like_any_other").await else { return };
    let lengths = [1_000, 1_023, 1_024, 1_025, 1_026, 4_096, 60_000];
    let mut keys: Vec<_> = lengths.iter().map(|length| "k".repeat(*length)).collect();
    keys.extend((0..50).map(|n| format!("{}{n}", "k".repeat(2_000))));
    round_trip(&server, &keys).await;
}

/// A long key is named by a hash; a short key may look like that name.
#[tokio::test]
async fn a_key_that_looks_like_the_name_of_a_long_one_is_another() {
    let name_of_test = "a_key_that_looks_like_the_name_of_a_long_one_is_another";
    let Some(server) = RedisServer::start_or_skip(name_of_test).await else { return };
    let long = "k".repeat(2_000);
    let store = FakeStore::with([(long.clone(), "of the long one".to_owned())]);
    let cache = process(&server, &store);
    get(&cache, &long).await;
    let place = name(&server, "n:*").await;
    let short = place.split_once("}:").expect("a bucket").1.to_owned();
    assert!(place.len() < 64 && short.starts_with('#'), "{place}");
    store.set_row(short.clone(), "of the short one".to_owned());
    // As if both had the same place.
    let copy = bytes(&server, &place).await;
    get(&cache, &short).await;
    let places = names(&server, "n:*").await;
    let of_the_short_one = places.iter().find(|other| **other != place).unwrap_or(&place);
    set(&server, of_the_short_one, &copy).await;
    for _ in 0..2 {
        assert_eq!(get(&cache, &short).await.as_deref(), Some("of the short one"));
        assert_eq!(get(&cache, &long).await.as_deref(), Some("of the long one"));
    }
}

/// A key that is too long to be repeated in an envelope is kept nowhere, and works.
#[tokio::test]
async fn a_key_without_end_is_kept_nowhere() {
    let Some(server) = RedisServer::start_or_skip("a_key_without_end_is_kept_nowhere").await else { return };
    let key = "k".repeat(70_000);
    let store = FakeStore::with([(key.clone(), text(1))]);
    let cache = process(&server, &store);
    for _ in 0..3 {
        assert_eq!(get(&cache, &key).await, Some(text(1)));
    }
    assert_eq!((cache.stats().unfit, cache.stats().loads), (3, 3));
    assert_eq!(server.command(&["DBSIZE"]).await, Reply::Int(0));
}

/// The peers' bug: a namespace cleared others whose names began alike.
#[tokio::test]
async fn a_namespace_is_cleared_alone() {
    let Some(server) = RedisServer::start_or_skip("a_namespace_is_cleared_alone").await else { return };
    let store = texts(30);
    let caches = ["users", "usersAbc", "users.x", "users-x", "user", "u", "users_", "Users"]
        .map(|name| (name, on(tier(&server, name), &store)));
    for (name, cache) in &caches {
        for key in 0..30 {
            assert_eq!(get(cache, &key).await, Some(text(key)), "{name}");
        }
    }
    server.command(&["SET", "users", "of somebody else"]).await;
    server.command(&["SET", "users:1", "of somebody else"]).await;
    soon(caches[0].1.clear()).await.expect("cleared");
    assert_eq!(names(&server, "users:{*").await, Vec::<String>::new());
    assert_eq!(server.command(&["DBSIZE"]).await, Reply::Int(7 * 30 + 2));
    for (name, cache) in &caches[1..] {
        for key in 0..30 {
            get(cache, &key).await;
        }
        assert_eq!((cache.stats().hits, cache.stats().loads), (30, 30), "{name} has all its copies");
    }
}

/// `clear` goes through more keys than fit into one message.
#[tokio::test]
async fn a_big_namespace_is_cleared_whole() {
    let Some(server) = RedisServer::start_or_skip("a_big_namespace_is_cleared_whole").await else { return };
    let store = texts(5_000);
    let cache = process(&server, &store);
    let keys: Vec<u64> = (0..5_000).collect();
    soon(cache.get_many(&keys)).await;
    assert_eq!(server.command(&["DBSIZE"]).await, Reply::Int(5_000));
    soon(cache.clear()).await.expect("cleared");
    assert_eq!(server.command(&["DBSIZE"]).await, Reply::Int(0));
}
