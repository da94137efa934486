//! Sealed copies: whoever can write to the server can neither read nor make one, nor use one elsewhere or for longer.
//!
//! It is also said here what sealing does not prevent: that a copy goes, or that an earlier one of its own key comes back
//! before its time is over.

use std::time::Duration;

use crate::support::MINUTE;
use crate::support::copies::{bytes, name, on, set, tier};
use crate::support::redis_server::RedisServer;
use crate::support::watching::soon;
use larder::bounds::Value;
use larder::codec::{Compression, KeyRing};
use larder::testing::FakeStore;
use larder::{ErrorKind, LayeredCache, Redis, cache_aside, write_through};

const SECRET: &str = "the diagnosis of a patient";
/// Where the parts of a copy of a key of one byte begin: the number of the copy, its times, the envelope, in that its
/// form, and what is sealed with the payload.
const NUMBER: usize = 4;
const TIMES: [usize; 3] = [20, 33, 46];
const ENVELOPE: usize = 59;
const FORM: usize = ENVELOPE + 5;
const SEAL: usize = ENVELOPE + 12 + 1;

fn keys() -> KeyRing {
    KeyRing::new(1, [1; 32])
}

/// A process of its own, in the namespace `n`, with the same keys.
fn process(server: &RedisServer, store: &FakeStore<u64, String>) -> LayeredCache<u64, String> {
    on(tier(server, "n").sealed(keys()), store)
}

fn secrets() -> FakeStore<u64, String> {
    FakeStore::with((0..8).map(|n| (n, format!("{SECRET} {n}"))))
}

fn secret(n: u64) -> Option<String> {
    Some(format!("{SECRET} {n}"))
}

async fn get<V: Value>(cache: &LayeredCache<u64, V>, key: u64) -> Option<V> {
    soon(cache.get(&key)).await.expect("answered")
}

/// What `reader` makes of `forged` in the place of key 1: a miss and a count, and a load that puts it right.
async fn assert_refused(server: &RedisServer, store: &FakeStore<u64, String>, forged: &[u8], what: &str) {
    let (reader, loads) = (process(server, store), store.loads());
    let place = name(server, "n:*:1").await;
    set(server, &place, forged).await;
    assert_eq!(get(&reader, 1).await, secret(1), "{what}");
    assert_eq!((reader.stats().unreadable, store.loads() - loads), (1, 1), "{what}: a miss and a count");
    assert_eq!(reader.stats().tier_failures, 0, "{what}");
    assert_eq!(get(&process(server, store), 1).await, secret(1), "{what}");
    assert_eq!(store.loads() - loads, 1, "{what} was replaced by a copy that can be read");
}

fn changed(copy: &[u8], at: usize, by: impl Fn(u8) -> u8) -> Vec<u8> {
    let mut bytes = copy.to_vec();
    bytes[at] = by(bytes[at]);
    bytes
}

fn time(copy: &[u8], which: usize) -> u64 {
    let digits = &copy[TIMES[which]..TIMES[which] + 13];
    std::str::from_utf8(digits).expect("digits").parse().expect("a number")
}

/// The copy with other times in front of it.
fn dated(copy: &[u8], times: [u64; 3]) -> Vec<u8> {
    let digits = times.map(|time| format!("{time:013}")).concat();
    [&copy[..TIMES[0]], digits.as_bytes(), &copy[ENVELOPE..]].concat()
}

#[tokio::test]
async fn a_sealed_copy_serves_all_who_have_the_key() {
    let Some(server) = RedisServer::start_or_skip("a_sealed_copy_serves_all_who_have_the_key").await else {
        return;
    };
    let store = secrets();
    assert_eq!(get(&process(&server, &store), 1).await, secret(1));
    assert_eq!(get(&process(&server, &store), 99).await, None);
    let other = process(&server, &store);
    assert_eq!((get(&other, 1).await, get(&other, 99).await), (secret(1), None));
    let batch = soon(other.get_many(&[1, 99])).await.into_iter().map(|answer| answer.expect("answered"));
    assert_eq!(batch.collect::<Vec<_>>(), [secret(1), None]);
    assert_eq!(
        (other.stats().loads, other.stats().unreadable),
        (0, 0),
        "the absence is sealed and opened too"
    );
}

#[tokio::test]
async fn a_copy_that_a_write_through_leaves_is_sealed() {
    let Some(server) = RedisServer::start_or_skip("a_copy_that_a_write_through_leaves_is_sealed").await
    else {
        return;
    };
    let store = secrets();
    let tier = tier(&server, "n").sealed(keys());
    let writer = write_through(store.clone()).tier(tier).ttl(MINUTE).build().expect("complete");
    soon(writer.put(&1, "written".to_owned())).await.expect("written");
    let reader = process(&server, &store);
    assert_eq!(get(&reader, 1).await.as_deref(), Some("written"));
    assert_eq!((reader.stats().loads, reader.stats().unreadable), (0, 0));
}

/// While somebody loads, the copy stands behind his lease.
#[tokio::test]
async fn a_copy_behind_a_lease_is_opened_too() {
    let Some(server) = RedisServer::start_or_skip("a_copy_behind_a_lease_is_opened_too").await else {
        return;
    };
    let store = secrets();
    get(&process(&server, &store), 1).await;
    let place = name(&server, "n:*").await;
    let copy = bytes(&server, &place).await;
    let now = &copy[TIMES[0]..TIMES[1]];
    set(&server, &place, &[b"ld1L", &[7; 16][..], now, now, &copy].concat()).await;
    let reader = process(&server, &store);
    assert_eq!(get(&reader, 1).await, secret(1));
    assert_eq!((reader.stats().loads, reader.stats().unreadable), (0, 0));
}

#[tokio::test]
async fn nothing_of_a_value_can_be_found_in_the_server() {
    let Some(server) = RedisServer::start_or_skip("nothing_of_a_value_can_be_found_in_the_server").await
    else {
        return;
    };
    let holds = |bytes: &[u8], words: &str| bytes.windows(words.len()).any(|part| part == words.as_bytes());
    let store = secrets();
    get(&on(tier(&server, "open"), &store), 1).await;
    let open = bytes(&server, &name(&server, "open:*").await).await;
    assert!(holds(&open, SECRET), "without a seal it can be found");
    get(&process(&server, &store), 1).await;
    let sealed = bytes(&server, &name(&server, "n:*").await).await;
    for part in 0..SECRET.len() - 6 {
        assert!(!holds(&sealed, &SECRET[part..part + 6]));
    }
    get(&process(&server, &store), 2).await;
    server.command(&["DEL", &name(&server, "n:*:1").await]).await;
    get(&process(&server, &store), 1).await;
    let again = bytes(&server, &name(&server, "n:*:1").await).await;
    assert_ne!(again[SEAL + 52..], sealed[SEAL + 52..], "the same value is never sealed alike");
}

#[tokio::test]
async fn a_copy_cut_off_or_changed_anywhere_is_refused() {
    let Some(server) = RedisServer::start_or_skip("a_copy_cut_off_or_changed_anywhere_is_refused").await
    else {
        return;
    };
    let store = secrets();
    get(&process(&server, &store), 1).await;
    let copy = bytes(&server, &name(&server, "n:*").await).await;
    for length in [ENVELOPE, SEAL, SEAL + 20, SEAL + 52, copy.len() - 16, copy.len() - 1] {
        assert_refused(&server, &store, &copy[..length], &format!("the first {length} bytes")).await;
    }
    for at in
        [NUMBER + 15, ENVELOPE, ENVELOPE + 4, SEAL - 1, SEAL, SEAL + 5, SEAL + 30, SEAL + 60, copy.len() - 1]
    {
        let forged = changed(&copy, at, |byte| byte ^ 1);
        assert_refused(&server, &store, &forged, &format!("byte {at} changed")).await;
    }
}

#[tokio::test]
async fn a_copy_with_another_form_is_refused() {
    let Some(server) = RedisServer::start_or_skip("a_copy_with_another_form_is_refused").await else {
        return;
    };
    let store = secrets();
    get(&process(&server, &store), 1).await;
    let copy = bytes(&server, &name(&server, "n:*").await).await;
    assert_eq!(copy[FORM], 8, "sealed, and no more");
    for form in (0..=u8::MAX).step_by(5).chain([0, 1, 2, 4, 9, 10, 12]).filter(|form| *form != 8) {
        assert_refused(&server, &store, &changed(&copy, FORM, |_| form), &format!("form {form}")).await;
    }
}

#[tokio::test]
async fn a_copy_of_another_key_is_refused() {
    let Some(server) = RedisServer::start_or_skip("a_copy_of_another_key_is_refused").await else { return };
    let store = secrets();
    let writer = process(&server, &store);
    get(&writer, 1).await;
    get(&writer, 2).await;
    let other = bytes(&server, &name(&server, "n:*:2").await).await;
    assert_refused(&server, &store, &other, "the copy of key 2").await;
    let renamed = changed(&other, SEAL - 1, |_| b'1');
    assert_refused(&server, &store, &renamed, "the copy of key 2, which says that it is of key 1").await;
    let mine = bytes(&server, &name(&server, "n:*:1").await).await;
    let mixed = [&mine[..ENVELOPE], &renamed[ENVELOPE..]].concat();
    assert_refused(&server, &store, &mixed, "the value of key 2 behind the number and times of key 1").await;
}

#[tokio::test]
async fn a_copy_of_another_namespace_is_refused() {
    let Some(server) = RedisServer::start_or_skip("a_copy_of_another_namespace_is_refused").await else {
        return;
    };
    let (store, others) = (secrets(), FakeStore::with([(1_u64, "of another namespace".to_owned())]));
    get(&process(&server, &store), 1).await;
    get(&on(tier(&server, "m").sealed(keys()), &others), 1).await;
    let other = bytes(&server, &name(&server, "m:*:1").await).await;
    assert_refused(&server, &store, &other, "the copy of the same key elsewhere").await;
}

#[tokio::test]
async fn a_copy_of_another_schema_is_refused() {
    let Some(server) = RedisServer::start_or_skip("a_copy_of_another_schema_is_refused").await else {
        return;
    };
    let store = secrets();
    get(&on(tier(&server, "n").schema(2).sealed(keys()), &store), 1).await;
    let other = bytes(&server, &name(&server, "n:*:1").await).await;
    assert_refused(&server, &store, &changed(&other, ENVELOPE + 3, |_| 1), "schema 2 that says it is 1")
        .await;
}

#[tokio::test]
async fn a_copy_cannot_be_prolonged() {
    let Some(server) = RedisServer::start_or_skip("a_copy_cannot_be_prolonged").await else { return };
    let store = secrets();
    get(&process(&server, &store), 1).await;
    let copy = bytes(&server, &name(&server, "n:*").await).await;
    let times = [0, 1, 2].map(|which| time(&copy, which));
    for which in 0..3 {
        let mut later = times;
        later[which] += 10;
        assert_refused(&server, &store, &dated(&copy, later), &format!("time {which} put off")).await;
    }
    let all_later = times.map(|time| time + 3_600_000);
    assert_refused(&server, &store, &dated(&copy, all_later), "an hour younger").await;
    let place = name(&server, "n:*").await;
    set(&server, &place, &dated(&copy, times.map(|time| time - 1_000))).await;
    let (reader, loads) = (process(&server, &store), store.loads());
    assert_eq!(get(&reader, 1).await, secret(1));
    assert_eq!(
        (store.loads() - loads, reader.stats().unreadable),
        (0, 0),
        "sooner is what the scripts do too"
    );
}

/// Openly: an earlier copy of the same key can be put back. But never for longer than it was made for.
#[tokio::test]
async fn a_copy_that_is_put_back_ends_when_it_was_to_end() {
    let Some(server) = RedisServer::start_or_skip("a_copy_that_is_put_back_ends_when_it_was_to_end").await
    else {
        return;
    };
    let store = secrets();
    let brief = || {
        let tier = tier::<String>(&server, "n").sealed(keys());
        let builder = cache_aside(store.clone()).tier(tier).ttl(Duration::from_millis(1_500));
        builder.jitter(0.0).build().expect("complete")
    };
    get(&brief(), 1).await;
    let place = name(&server, "n:*").await;
    let before = bytes(&server, &place).await;
    soon(brief().put(&1, "after".to_owned())).await.expect("written");
    set(&server, &place, &before).await;
    assert_eq!(get(&brief(), 1).await, secret(1), "within its time nobody can tell");
    tokio::time::sleep(Duration::from_millis(1_600)).await;
    set(&server, &place, &before).await;
    assert_eq!(get(&brief(), 1).await.as_deref(), Some("after"), "its time is over");
    let longer = dated(&before, [0, 1, 2].map(|which| time(&before, which) + 60_000));
    set(&server, &place, &longer).await;
    let reader = brief();
    assert_eq!(get(&reader, 1).await.as_deref(), Some("after"));
    assert_eq!(reader.stats().unreadable, 1, "and cannot be put off");
}

/// The number of a copy says in which life of the server it was made, and is sealed with it.
#[tokio::test]
async fn a_copy_of_another_life_of_the_server_is_refused() {
    let name_of_test = "a_copy_of_another_life_of_the_server_is_refused";
    let (Some(one), Some(other)) =
        (RedisServer::start_or_skip(name_of_test).await, RedisServer::start_or_skip(name_of_test).await)
    else {
        return;
    };
    let store = secrets();
    get(&process(&one, &store), 1).await;
    let copy = bytes(&one, &name(&one, "n:*").await).await;
    get(&process(&other, &store), 1).await;
    let place = name(&other, "n:*").await;
    let of_this_life = bytes(&other, &place).await;
    set(&other, &place, &copy).await;
    let (reader, loads) = (process(&other, &store), store.loads());
    assert_eq!(get(&reader, 1).await, secret(1));
    assert_eq!((reader.stats().outlived, store.loads() - loads), (1, 1));
    let renumbered = [&copy[..NUMBER], &of_this_life[NUMBER..NUMBER + 4], &copy[NUMBER + 4..]].concat();
    assert_refused(&other, &store, &renumbered, "one that says it is of this life").await;
}

#[tokio::test]
async fn a_plain_copy_is_none_where_copies_are_sealed() {
    let Some(server) = RedisServer::start_or_skip("a_plain_copy_is_none_where_copies_are_sealed").await
    else {
        return;
    };
    let (store, forged) = (secrets(), FakeStore::with([(1_u64, "forged".to_owned())]));
    get(&on(tier(&server, "n"), &forged), 1).await;
    let copy = bytes(&server, &name(&server, "n:*").await).await;
    assert_refused(&server, &store, &copy, "a plain copy").await;
    let place = name(&server, "n:*").await;
    server.command(&["DEL", &place]).await;
    get(&on(tier(&server, "n"), &FakeStore::<u64, String>::default()), 1).await;
    let absent = bytes(&server, &place).await;
    assert_refused(&server, &store, &absent, "a plain absence").await;
}

#[tokio::test]
async fn a_sealed_copy_is_none_where_there_is_no_key() {
    let Some(server) = RedisServer::start_or_skip("a_sealed_copy_is_none_where_there_is_no_key").await else {
        return;
    };
    let store = secrets();
    get(&process(&server, &store), 1).await;
    let reader = on(tier(&server, "n"), &store);
    assert_eq!(get(&reader, 1).await, secret(1));
    assert_eq!((reader.stats().unreadable, reader.stats().loads), (1, 1));
}

#[tokio::test]
async fn a_key_that_nobody_knows_opens_nothing() {
    let Some(server) = RedisServer::start_or_skip("a_key_that_nobody_knows_opens_nothing").await else {
        return;
    };
    let store = secrets();
    for stranger in [KeyRing::new(2, [2; 32]), KeyRing::new(2, [1; 32]), KeyRing::new(1, [2; 32])] {
        get(&process(&server, &store), 1).await;
        let place = name(&server, "n:*").await;
        server.command(&["DEL", &place]).await;
        get(&on(tier(&server, "n").sealed(stranger), &store), 1).await;
        let copy = bytes(&server, &place).await;
        assert_refused(&server, &store, &copy, "a copy sealed with another key").await;
    }
}

#[tokio::test]
async fn keys_are_changed_without_losing_copies() {
    let Some(server) = RedisServer::start_or_skip("keys_are_changed_without_losing_copies").await else {
        return;
    };
    let store = secrets();
    let ring = |which| match which {
        0 => KeyRing::new(1, [1; 32]),
        1 => KeyRing::new(1, [1; 32]).accepts(2, [2; 32]),
        2 => KeyRing::new(2, [2; 32]).accepts(1, [1; 32]),
        _ => KeyRing::new(2, [2; 32]),
    };
    let step = |which| on(tier(&server, "n").sealed(ring(which)), &store);
    // In a rolling update those of one step and of the next run side by side, and each key is first asked for by another.
    for (key, (one, other)) in
        [(0, 0), (0, 1), (1, 0), (1, 2), (2, 1), (2, 3), (3, 2)].into_iter().enumerate()
    {
        let key = key as u64;
        let (one, other) = (step(one), step(other));
        assert_eq!((get(&one, key).await, get(&other, key).await), (secret(key), secret(key)));
        assert_eq!(
            (one.stats().loads, other.stats().loads, other.stats().unreadable),
            (1, 0, 0),
            "step {key}"
        );
    }
    let sealed_with = async |key: u64| {
        let copy = bytes(&server, &name(&server, &format!("n:*:{key}")).await).await;
        copy[SEAL + 3]
    };
    assert_eq!((sealed_with(2).await, sealed_with(4).await), (1, 2), "the first key of a ring seals");
    let last = step(3);
    assert_eq!(get(&last, 0).await, secret(0));
    assert_eq!(
        (last.stats().unreadable, last.stats().loads),
        (1, 1),
        "what an old key sealed is a miss at last"
    );
}

#[test]
fn to_compress_what_is_sealed_must_be_asked_for() {
    let build = |compression| {
        let tier = Redis::new("redis://127.0.0.1").expect("a URL").namespace("n");
        larder::cache::<u64, String>().tier(tier.sealed(keys()).compress(compression)).ttl(MINUTE).build()
    };
    let error = build(Compression::lz4()).expect_err("lengths tell");
    assert_eq!(error.kind(), ErrorKind::Settings);
    assert!(error.to_string().contains("`compress` and `sealed`"), "{error}");
    build(Compression::lz4().even_when_sealed()).expect("it was asked for");
}

#[test]
fn a_ring_with_two_keys_of_one_number_does_not_build() {
    let tier = Redis::new("redis://127.0.0.1").expect("a URL").namespace("n");
    let tier = tier.sealed(keys().accepts(1, [2; 32]));
    let built = larder::cache::<u64, String>().tier(tier).ttl(MINUTE).build();
    assert_eq!(built.expect_err("which one is it?").kind(), ErrorKind::Settings);
}

#[tokio::test]
async fn what_is_compressed_can_be_sealed_when_it_is_asked_for() {
    let name_of_test = "what_is_compressed_can_be_sealed_when_it_is_asked_for";
    let Some(server) = RedisServer::start_or_skip(name_of_test).await else { return };
    let store = FakeStore::with([(1_u64, SECRET.repeat(1_000))]);
    let process =
        || on(tier(&server, "n").sealed(keys()).compress(Compression::lz4().even_when_sealed()), &store);
    get(&process(), 1).await;
    let reader = process();
    assert_eq!(get(&reader, 1).await, Some(SECRET.repeat(1_000)));
    assert_eq!((reader.stats().loads, reader.stats().unreadable), (0, 0));
    let copy = bytes(&server, &name(&server, "n:*").await).await;
    assert_eq!((copy[FORM], copy.len() < 2_000), (0b1010, true));
}
