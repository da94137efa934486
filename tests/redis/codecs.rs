//! Formats and compression on a real server: what one process has written another reads, or loads by itself.

use crate::support::copies::{bytes, name, on, set, tier};
use crate::support::redis_server::RedisServer;
use crate::support::resp::Reply;
use crate::support::watching::soon;
use larder::LayeredCache;
use larder::bounds::Value;
use larder::codec::{Codec, Compression, Json, MessagePack, Postcard};
use larder::testing::FakeStore;
use serde::{Deserialize, Serialize};

/// Where the form of a copy of a key of one byte stands, and where its payload begins.
const FORM: usize = 59 + 5;
const PAYLOAD: usize = 59 + 12 + 1;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Post {
    id: u64,
    title: String,
    score: Option<f64>,
    tags: Vec<String>,
}

fn post(id: u64) -> Post {
    let tags = ["caches", "databases"].map(str::to_owned).to_vec();
    Post { id, title: format!("The title of post {id}"), score: Some(0.5), tags }
}

fn posts() -> FakeStore<u64, Post> {
    FakeStore::with((0..10).map(|id| (id, post(id))))
}

async fn get<V: Value>(cache: &LayeredCache<u64, V>, key: u64) -> Option<V> {
    soon(cache.get(&key)).await.expect("answered")
}

async fn copy(server: &RedisServer) -> Vec<u8> {
    bytes(server, &name(server, "n:*").await).await
}

async fn replace(server: &RedisServer, bytes: &[u8]) {
    set(server, &name(server, "n:*").await, bytes).await;
}

async fn serves_all<C: Codec<Post>>(server: &RedisServer, codec: impl Fn() -> C) {
    let store = posts();
    let process = || on(tier(server, "n").codec(codec()), &store);
    let (one, other) = (process(), process());
    for key in 0..12 {
        assert_eq!(get(&one, key).await, get(&other, key).await);
    }
    assert_eq!((other.stats().loads, other.stats().unreadable), (0, 0));
    assert_eq!(get(&other, 3).await, Some(post(3)));
    soon(one.clear()).await.expect("cleared");
}

#[tokio::test]
async fn every_format_serves_all_processes() {
    let Some(server) = RedisServer::start_or_skip("every_format_serves_all_processes").await else { return };
    serves_all(&server, Json::default).await;
    serves_all(&server, MessagePack::default).await;
    serves_all(&server, Postcard::default).await;
}

/// In a rolling update from one format to another each version reads its own, and nobody waits or fails.
#[tokio::test]
async fn a_service_changes_its_format_while_it_runs() {
    let Some(server) = RedisServer::start_or_skip("a_service_changes_its_format_while_it_runs").await else {
        return;
    };
    let store = posts();
    let old = on(tier(&server, "n"), &store);
    let new = on(tier(&server, "n").codec(MessagePack::default()), &store);
    for round in 0..3 {
        assert_eq!(get(&old, 1).await, Some(post(1)));
        assert_eq!(get(&new, 1).await, Some(post(1)), "round {round}");
    }
    assert_eq!((old.stats().unreadable, new.stats().unreadable), (2, 3), "what the other wrote is a miss");
    assert_eq!((old.stats().loads, new.stats().loads), (3, 3));
    assert_eq!((old.stats().tier_failures, new.stats().tier_failures), (0, 0));
    let newcomer = on(tier(&server, "n").codec(MessagePack::default()), &store);
    assert_eq!(get(&newcomer, 1).await, Some(post(1)));
    assert_eq!(newcomer.stats().loads, 0);
    soon(old.put(&1, post(9))).await.expect("written");
    assert_eq!(get(&new, 1).await, Some(post(9)), "a write drops the other's copies");
}

#[tokio::test]
async fn damaged_bytes_are_a_miss_in_every_format() {
    let Some(server) = RedisServer::start_or_skip("damaged_bytes_are_a_miss_in_every_format").await else {
        return;
    };
    damaged_bytes_are_a_miss(&server, Json::default).await;
    damaged_bytes_are_a_miss(&server, MessagePack::default).await;
    damaged_bytes_are_a_miss(&server, Postcard::default).await;
}

async fn damaged_bytes_are_a_miss<C: Codec<Post>>(server: &RedisServer, codec: impl Fn() -> C) {
    let store = posts();
    let reader = on(tier(server, "n").codec(codec()), &store);
    get(&reader, 1).await;
    let whole = copy(server).await;
    // Its length is told in the envelope.
    let with_payload = |payload: &[u8]| {
        let length = u32::try_from(payload.len()).expect("short").to_be_bytes();
        [&whole[..PAYLOAD - 5], &length, &whole[PAYLOAD - 1..PAYLOAD], payload].concat()
    };
    let payload = &whole[PAYLOAD..];
    let damages = [
        with_payload(&payload[..payload.len() - 1]),
        with_payload(&[payload, b"\0"].concat()),
        with_payload(b""),
    ];
    for (at, damaged) in damages.iter().enumerate() {
        let before = reader.stats();
        replace(server, damaged).await;
        assert_eq!(get(&reader, 1).await, Some(post(1)));
        let after = reader.stats();
        assert_eq!((after.unreadable - before.unreadable, after.loads - before.loads), (1, 1), "damage {at}");
    }
    soon(reader.clear()).await.expect("cleared");
}

fn long_texts() -> FakeStore<u64, String> {
    FakeStore::with([(1_u64, "what a post says, ".repeat(500)), (2, "short".to_owned())])
}

#[tokio::test]
async fn what_one_has_compressed_all_can_read() {
    let Some(server) = RedisServer::start_or_skip("what_one_has_compressed_all_can_read").await else {
        return;
    };
    let (store, long) = (long_texts(), "what a post says, ".repeat(500));
    for (compression, form) in [(Compression::lz4(), 0b0010), (Compression::zstd(), 0b0100)] {
        let writer = on(tier::<String>(&server, "n").compress(compression), &store);
        get(&writer, 1).await;
        let copy = copy(&server).await;
        assert_eq!((copy[FORM], copy.len() < long.len() / 10), (form, true), "{} bytes", copy.len());
        for other in [
            tier::<String>(&server, "n"),
            tier(&server, "n").compress(Compression::lz4()),
            tier(&server, "n").compress(Compression::zstd()),
        ] {
            let reader = on(other, &store);
            assert_eq!(get(&reader, 1).await.as_deref(), Some(&*long));
            assert_eq!((reader.stats().loads, reader.stats().unreadable), (0, 0));
        }
        soon(writer.clear()).await.expect("cleared");
    }
}

/// Golden, in effect: who does not compress, or has nothing to compress, writes what has always been written.
#[tokio::test]
async fn a_small_value_is_written_as_without_compression() {
    let Some(server) = RedisServer::start_or_skip("a_small_value_is_written_as_without_compression").await
    else {
        return;
    };
    let store = long_texts();
    let writer = on(tier(&server, "n").compress(Compression::zstd()), &store);
    get(&writer, 2).await;
    let copy = copy(&server).await;
    assert_eq!(copy[59..], *b"\0\0\0\x01\x01\0\0\x01\0\0\0\x072\"short\"");
}

#[tokio::test]
async fn max_value_counts_what_the_codec_has_written() {
    let Some(server) = RedisServer::start_or_skip("max_value_counts_what_the_codec_has_written").await else {
        return;
    };
    let store = long_texts();
    let limited = || on(tier::<String>(&server, "n").compress(Compression::lz4()).max_value(5_000), &store);
    let alone = limited();
    get(&alone, 1).await;
    assert_eq!((alone.stats().unfit, server.command(&["DBSIZE"]).await), (1, Reply::Int(0)));
    get(&on(tier::<String>(&server, "n").compress(Compression::lz4()), &store), 1).await;
    let reader = limited();
    assert_eq!(get(&reader, 1).await, Some("what a post says, ".repeat(500)));
    assert_eq!(
        (reader.stats().unreadable, reader.stats().loads),
        (1, 1),
        "what is bigger is none of its own"
    );
}

/// A few bytes that say they are a gigabyte, or are one.
#[tokio::test]
async fn a_bomb_is_a_miss() {
    let Some(server) = RedisServer::start_or_skip("a_bomb_is_a_miss").await else { return };
    let store = long_texts();
    let reader = on(tier::<String>(&server, "n").compress(Compression::lz4()), &store);
    get(&reader, 1).await;
    let whole = copy(&server).await;
    for claim in [u32::MAX, 1 << 30, 9_999, 0] {
        for form in [0b0010, 0b0100] {
            let mut bomb = whole.clone();
            bomb[FORM] = form;
            bomb[PAYLOAD..PAYLOAD + 4].copy_from_slice(&claim.to_be_bytes());
            let before = reader.stats();
            replace(&server, &bomb).await;
            assert_eq!(get(&reader, 1).await, Some("what a post says, ".repeat(500)));
            let after = reader.stats();
            let told = (after.unreadable - before.unreadable, after.loads - before.loads);
            assert_eq!(told, (1, 1), "claim {claim}, form {form}");
        }
    }
}
