//! Copies are written into room that was used before, and read where the reply lies: what is allocated is the name of the
//! key, and on reading the value and the reply itself.

use std::hint::black_box;

use larder::Redis;
use larder::bounds::Value;
use larder::codec::{Codec, Compression, KeyRing, MessagePack, Postcard};
use larder::tier::redis::Namespace;
use serde::{Deserialize, Serialize};

const TIMES: u64 = 200;

#[derive(Clone, Serialize, Deserialize)]
struct Post {
    id: u64,
    title: String,
    tags: Vec<String>,
}

fn post() -> Post {
    Post { id: 7, title: "a title, ".repeat(300), tags: vec!["caches".to_owned(), "rust".to_owned()] }
}

fn plain() -> Namespace<Post> {
    Redis::new("redis://127.0.0.1").expect("a URL").namespace("post")
}

fn keys() -> KeyRing {
    KeyRing::new(1, [1; 32])
}

/// How often `act` allocates, once everything has found its place.
fn allocations(act: impl Fn()) -> u64 {
    act();
    let took = allocation_counter::measure(|| (0..TIMES).for_each(|_| act()));
    assert_eq!(took.count_total % TIMES, 0, "every time alike");
    took.count_total / TIMES
}

fn of_a_name() -> u64 {
    let namespace = plain();
    allocations(|| _ = black_box(namespace.redis_name(&7_u64)))
}

fn of_a_write<V: Value, C: Codec<V>>(namespace: &Namespace<V, C>, value: &V) -> u64 {
    allocations(|| _ = black_box(namespace.body_length(&7_u64, Some(value)).expect("it can be kept")))
}

fn of_a_read<V: Value, C: Codec<V>>(namespace: &Namespace<V, C>, value: &V) -> u64 {
    let slot = namespace.slot_of(&7_u64, Some(value)).expect("it can be kept");
    allocations(|| _ = black_box(namespace.copy_in(&7_u64, slot.clone()).expect("a copy")))
}

#[test]
fn a_write_allocates_the_name_of_its_key_only() {
    let name = of_a_name();
    assert_eq!(name, 1);
    assert_eq!(of_a_write(&plain(), &post()), name, "JSON");
    assert_eq!(of_a_write(&plain().codec(MessagePack::default()), &post()), name, "MessagePack");
    assert_eq!(of_a_write(&plain().codec(Postcard::default()), &post()), name, "postcard");
    assert_eq!(of_a_write(&plain().compress(Compression::lz4()), &post()), name, "lz4");
    assert_eq!(of_a_write(&plain().compress(Compression::zstd()), &post()), name, "zstd");
    assert_eq!(of_a_write(&plain().sealed(keys()), &post()), name, "sealed");
}

#[test]
fn a_read_allocates_the_name_the_reply_and_the_value_only() {
    let kept = post();
    let value = allocations(|| _ = black_box(kept.clone()));
    assert_eq!(value, 4, "a title, a list and two tags");
    let all = of_a_name() + 1 + value;
    assert_eq!(of_a_read(&plain(), &post()), all, "JSON");
    assert_eq!(of_a_read(&plain().codec(MessagePack::default()), &post()), all, "MessagePack");
    assert_eq!(of_a_read(&plain().codec(Postcard::default()), &post()), all, "postcard");
    assert_eq!(of_a_read(&plain().compress(Compression::lz4()), &post()), all, "lz4");
    assert_eq!(of_a_read(&plain().compress(Compression::zstd()), &post()), all, "zstd");
    assert_eq!(of_a_read(&plain().sealed(keys()), &post()), all, "sealed: opened where it lies");
}

/// Shows that the counter counts: a value beyond the room that is kept is written into new room each time.
#[test]
fn a_big_value_leaves_no_room_behind() {
    let big = Post { title: "t".repeat(100_000), ..post() };
    assert!(of_a_write(&plain(), &big) > of_a_name());
}
