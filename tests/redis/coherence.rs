//! Copies of several processes in step with Redis: what one drops, the others serve no more, at once where messages come,
//! and after the bound where they do not.

use std::time::{Duration, Instant};

use crate::support::proxy::Proxy;
use crate::support::redis_server::{self, RedisServer};
use crate::support::resp::Reply;
use crate::support::rights::USER;
use crate::support::watching::{Heard, soon, until};
use crate::support::{MINUTE, numbers};
use larder::testing::{Call, FakeStore};
use larder::tier::redis::RedisBuilder;
use larder::{
    Builder, Coherence, Freshness, LayeredCache, Local, Memory, Redis, Result, cache_aside, write_through,
};
use tokio::task::JoinHandle;

const BOUND: Duration = Duration::from_millis(600);
const LONG: Duration = Duration::from_secs(20);
const MODES: [fn(Duration) -> Coherence; 2] = [Coherence::Bus, Coherence::Tracked];

/// One process of a service: its own memory above the server of all.
struct Process {
    cache: LayeredCache<u64, u64>,
    heard: Heard,
}

impl Process {
    fn of(store: &FakeStore<u64, u64>, redis: RedisBuilder, coherence: Coherence) -> Self {
        Self::over(cache_aside(store.clone()), &redis.build().expect("a URL"), coherence)
    }

    fn over(builder: Builder<u64, u64>, redis: &Redis, coherence: Coherence) -> Self {
        let heard = Heard::default();
        let builder = builder.tier(Memory::with_capacity(1_000)).tier(redis.namespace("n"));
        let builder = builder.ttl(MINUTE).jitter(0.0).coherence(coherence).observer(heard.clone());
        Self { cache: builder.build().expect("complete"), heard }
    }

    async fn get(&self, key: u64) -> Option<u64> {
        soon(self.cache.get(&key)).await.expect("answered")
    }

    async fn put(&self, key: u64, value: u64) {
        soon(self.cache.put(&key, value)).await.expect("written");
    }

    /// Reads until memory answers.
    async fn warm(&self, key: u64, value: u64) {
        until("memory answers", async || {
            assert_eq!(self.get(key).await, Some(value));
            self.cache.get_local(&key) == Local::Value(value)
        })
        .await;
    }

    fn has(&self, key: u64) -> bool {
        !self.cache.get_local(&key).is_unknown()
    }
}

#[tokio::test]
async fn a_write_elsewhere_is_heard_of_long_before_the_bound_is_over() {
    let name = "a_write_elsewhere_is_heard_of_long_before_the_bound_is_over";
    let Some(server) = RedisServer::start_or_skip(name).await else { return };
    let store = numbers(100);
    for mode in MODES {
        let how = mode(LONG);
        let one = Process::of(&store, server.builder(), mode(LONG));
        let other = Process::of(&store, server.builder(), mode(LONG));
        for key in 0..20 {
            let old = store.row(&key).expect("a row");
            one.warm(key, old).await;
            other.put(key, old + 100).await;
            let written = Instant::now();
            until("memory has let go of it", async || !one.has(key)).await;
            assert!(written.elapsed() < LONG / 4, "{how:?}: {:?}", written.elapsed());
            assert_eq!(one.get(key).await, Some(old + 100), "{how:?}");
        }
        assert_eq!(one.heard.count("MessageMissed"), 0);
    }
}

#[tokio::test]
async fn behind_a_dead_line_a_copy_is_served_for_the_bound_and_no_longer() {
    let name = "behind_a_dead_line_a_copy_is_served_for_the_bound_and_no_longer";
    let Some(server) = RedisServer::start_alone_or_skip(name).await else { return };
    let store = numbers(100);
    for mode in MODES {
        let how = mode(LONG);
        let proxy = Proxy::to(server.address()).await;
        let one = Process::of(&store, server.builder_through(&proxy), mode(BOUND));
        let other = Process::of(&store, server.builder(), mode(BOUND));
        let old = store.row(&7).expect("a row");
        one.warm(7, old).await;
        proxy.half_open(true);
        other.put(7, old + 1).await;
        let written = Instant::now();
        until("memory is in doubt", async || !one.has(7)).await;
        assert!(written.elapsed() < BOUND + Duration::from_millis(300), "{how:?}: {:?}", written.elapsed());
        assert_eq!(one.get(7).await, Some(old + 1), "{how:?}: the store knows");
        proxy.heal();
    }
}

/// EasyCaching#428 and redisson#4653: who was cut off served its old copies on, for the rest of their lives.
#[tokio::test]
async fn what_was_dropped_while_nobody_listened_is_not_served_once_somebody_does() {
    let name = "what_was_dropped_while_nobody_listened_is_not_served_once_somebody_does";
    let Some(server) = RedisServer::start_alone_or_skip(name).await else { return };
    let store = numbers(100);
    for mode in MODES {
        let proxy = Proxy::to(server.address()).await;
        let one = Process::of(&store, server.builder_through(&proxy), mode(LONG));
        let other = Process::of(&store, server.builder(), mode(LONG));
        let old = store.row(&7).expect("a row");
        one.warm(7, old).await;
        proxy.refuse(true);
        proxy.cut();
        until("memory is in doubt", async || !one.has(7)).await;
        assert_eq!(one.heard.count("InStepNoMore"), 1);
        other.put(7, old + 1).await;
        proxy.heal();
        one.warm(7, old + 1).await;
        other.put(7, old + 2).await;
        until("messages come again", async || one.get(7).await == Some(old + 2)).await;
    }
}

/// Lost on the way, and no connection broke: the next message shows it, or the next barrier.
#[tokio::test]
async fn a_message_that_is_missing_is_noticed_within_the_bound() {
    let name = "a_message_that_is_missing_is_noticed_within_the_bound";
    let Some(server) = RedisServer::start_one_or_skip(name).await else { return };
    let store = numbers(100);
    let one = Process::of(&store, server.builder(), Coherence::Bus(BOUND));
    let other = Process::of(&store, server.builder(), Coherence::Bus(BOUND));
    other.put(7, 8).await; // the bucket's messages are counted from here on
    one.warm(7, 8).await;
    let begin = Instant::now();
    for bucket in 0..64 {
        server.command(&["INCR", &format!("n:{{b{bucket:03}}}:%number")]).await;
    }
    until("it is noticed", async || one.heard.count("MessageMissed") > 0).await;
    assert!(begin.elapsed() < BOUND + Duration::from_millis(300), "{:?}", begin.elapsed());
    assert!(!one.has(7), "nobody knows what was dropped");
    one.warm(7, 8).await;
}

/// Anybody who may publish can do no more than have copies loaded anew.
#[tokio::test]
async fn forged_doubled_and_belated_messages_cost_a_reload_at_the_most() {
    let name = "forged_doubled_and_belated_messages_cost_a_reload_at_the_most";
    let Some(server) = RedisServer::start_one_or_skip(name).await else { return };
    let store = numbers(100);
    let one = Process::of(&store, server.builder(), Coherence::Bus(LONG));
    let other = Process::of(&store, server.builder(), Coherence::Bus(LONG));
    one.warm(7, 7).await;
    for words in
        ["", "no number", "1 1", "1 1", "18446744073709551615 3", "5 *", "filled 9", "-3 4", "7 300", "* *"]
    {
        for bucket in 0..64 {
            server.command(&["PUBLISH", &format!("larder:1:n:{{b{bucket:03}}}"), words]).await;
        }
    }
    for value in 100..150 {
        other.put(7, value).await;
        until("the write is seen", async || one.get(7).await == Some(value)).await;
    }
    one.warm(7, 149).await;
}

fn is_word(command: &[String]) -> bool {
    command.first().is_some_and(|name| ["publish", "spublish"].contains(&name.to_lowercase().as_str()))
}

/// What one process loads, the others need not hear: they would drop, load, and tell in their turn.
#[tokio::test]
async fn nobody_is_told_what_is_loaded() {
    let name = "nobody_is_told_what_is_loaded";
    let Some(server) = RedisServer::start_or_skip(name).await else { return };
    let store = numbers(100);
    let one = Process::of(&store, server.builder(), Coherence::Bus(LONG));
    let other = Process::of(&store, server.builder(), Coherence::Bus(LONG));
    for key in 50..52 {
        one.warm(key, key).await;
        other.warm(key, key).await;
    }
    let log = server.monitor().await;
    for key in 0..50 {
        one.warm(key, key).await;
        other.warm(key, key).await;
    }
    let told = log.take().await;
    assert!(!told.iter().any(|words| is_word(words)), "a load is told");
    other.put(7, 8).await;
    assert!(log.take().await.iter().any(|words| is_word(words)), "a write is told");
    assert_eq!(store.loads(), 52);
}

#[tokio::test]
async fn a_checked_copy_costs_one_short_question_and_is_never_behind() {
    let name = "a_checked_copy_costs_one_short_question_and_is_never_behind";
    let Some(server) = RedisServer::start_or_skip(name).await else { return };
    let store = numbers(100);
    let one = Process::of(&store, server.builder(), Coherence::Validated);
    let other = Process::of(&store, server.builder(), Coherence::Validated);
    assert_eq!(one.get(7).await, Some(7));
    let log = server.monitor().await;
    for _ in 0..5 {
        assert_eq!(one.get(7).await, Some(7));
        assert!(!one.has(7), "nothing is said without asking");
    }
    let asked: Vec<String> =
        log.take_sent().await.into_iter().filter_map(|words| words.into_iter().next()).collect();
    let asked: Vec<&String> =
        asked.iter().filter(|command| command.to_uppercase().starts_with("GET")).collect();
    assert_eq!(asked, ["GETRANGE"; 5], "the value is not sent again");
    for value in 100..120 {
        other.put(7, value).await;
        assert_eq!(one.get(7).await, Some(value));
    }
}

/// `Auto` takes what the user may do, and says which.
#[tokio::test]
async fn auto_tracks_or_else_listens_or_else_asks() {
    let name = "auto_tracks_or_else_listens_or_else_asks";
    for (rights, how) in [
        (&[][..], "tracked"),
        (&["-client|tracking"][..], "bus"),
        (&["-client|tracking", "-subscribe"][..], "validated"),
    ] {
        let Some(server) = RedisServer::start_one_or_skip(name).await else { return };
        server.command(&[&["ACL", "SETUSER", USER], rights].concat()).await;
        let store = numbers(100);
        let one = Process::of(&store, server.builder(), Coherence::Auto(LONG));
        let other = Process::of(&store, server.builder(), Coherence::Auto(LONG));
        assert_eq!(one.get(7).await, Some(7));
        let said = format!("how: {how:?}");
        until("it says how", async || one.heard.everything().contains(&said)).await;
        for value in 100..110 {
            other.put(7, value).await;
            until(how, async || one.get(7).await == Some(value)).await;
        }
    }
}

#[tokio::test]
async fn a_copy_in_doubt_is_served_as_a_stale_one_where_that_is_allowed_and_redis_is_away() {
    let name = "a_copy_in_doubt_is_served_as_a_stale_one_where_that_is_allowed_and_redis_is_away";
    let Some(server) = RedisServer::start_alone_or_skip(name).await else { return };
    let store = numbers(100);
    for mode in MODES {
        let proxy = Proxy::to(server.address()).await;
        let redis = server.builder_through(&proxy).build().expect("a URL");
        let builder = cache_aside(store.clone()).stale_while_revalidate(MINUTE);
        let one = Process::over(builder, &redis, mode(BOUND));
        one.warm(7, 7).await;
        let gate = store.gate_before(Call::Load);
        proxy.half_open(true);
        until("memory is in doubt", async || !one.has(7)).await;
        let served = soon(one.cache.get_entry(&7)).await.expect("answered").expect("a copy");
        assert_eq!((served.value(), served.tier()), (Some(&7), Some("memory")));
        assert_eq!(served.freshness(), Freshness::Stale);
        gate.open();
    }
}

#[tokio::test]
async fn a_reader_that_waits_for_another_process_hears_when_the_load_has_ended() {
    let name = "a_reader_that_waits_for_another_process_hears_when_the_load_has_ended";
    let Some(server) = RedisServer::start_or_skip(name).await else { return };
    let store = numbers(100);
    let mut keys = 10..100_u64;
    for mode in MODES {
        let one = Process::of(&store, server.builder(), mode(LONG));
        let other = Process::of(&store, server.builder(), mode(LONG));
        one.warm(0, 0).await;
        other.warm(0, 0).await;
        let log = server.monitor().await;
        let mut waits = 0;
        // A load can also end in the moment in which it is asked for, and nobody needs to be woken.
        while other.heard.count("Woken") == 0 {
            let key = keys.next().expect("somebody is woken at last");
            let (loads, gate) = (store.loads(), store.gate_before(Call::Load));
            let leader = read(&one, key);
            until("it loads", async || store.loads() > loads).await;
            let waiter = read(&other, key);
            waits += 1;
            until("it waits", async || other.heard.count("Waited") == waits).await;
            tokio::time::sleep(Duration::from_secs(1)).await; // for as long as a load may take
            gate.open();
            assert_eq!(leader.await.expect("no panic").expect("found"), Some(key));
            assert_eq!(waiter.await.expect("no panic").expect("found"), Some(key));
            assert_eq!(store.loads(), loads + 1);
        }
        let asked = log.take_sent().await;
        let asked = asked.iter().filter(|words| words.iter().any(|word| word.starts_with("EVAL"))).count();
        assert!(
            asked < 20 * waits,
            "{asked} scripts in {waits} waits; asking every 25 ms would be 40 in each"
        );
    }
}

fn read(process: &Process, key: u64) -> JoinHandle<Result<Option<u64>>> {
    let cache = process.cache.clone();
    tokio::spawn(async move { cache.get(&key).await })
}

#[tokio::test]
async fn one_own_write_is_read_at_once() {
    let name = "one_own_write_is_read_at_once";
    let Some(server) = RedisServer::start_or_skip(name).await else { return };
    let store = numbers(100);
    for mode in MODES {
        let one = Process::of(&store, server.builder(), mode(LONG));
        for value in 0..200 {
            one.put(7, value).await;
            assert_eq!(one.get(7).await, Some(value), "{:?}", mode(LONG));
            assert_eq!(one.get(7).await, Some(value), "{:?}", mode(LONG));
        }
    }
}

/// layered-loader#414: a read that meets the copy below while its drop is on the way must not leave it above.
#[tokio::test]
async fn a_read_beside_a_slow_drop_leaves_nothing_old_above() {
    let name = "a_read_beside_a_slow_drop_leaves_nothing_old_above";
    let Some(server) = RedisServer::start_alone_or_skip(name).await else { return };
    let store = numbers(100);
    for mode in MODES {
        let proxy = Proxy::to(server.address()).await;
        let slow = server.builder_through(&proxy).deadline(Duration::from_secs(3));
        let one = Process::of(&store, slow, mode(LONG));
        let other = Process::of(&store, server.builder(), mode(LONG));
        for round in 0..5 {
            let (old, value) = (store.row(&7).expect("a row"), 1_000 + round);
            one.warm(7, old).await;
            other.warm(7, old).await;
            proxy.delay(Duration::from_millis(60));
            let (cache, reader) = (one.cache.clone(), other.cache.clone());
            let write = tokio::spawn(async move { cache.put(&7, value).await });
            while !write.is_finished() {
                soon(reader.get(&7)).await.expect("answered");
                soon(one.cache.get(&7)).await.expect("answered");
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            write.await.expect("no panic").expect("written");
            assert_eq!(one.get(7).await, Some(value), "{:?}", mode(LONG));
            until("the other hears", async || other.get(7).await == Some(value)).await;
            proxy.heal();
        }
    }
}

/// layered-loader#414: what is dropped between the subscription and its confirmation.
#[tokio::test]
async fn what_is_dropped_while_somebody_begins_to_listen_is_heard() {
    let name = "what_is_dropped_while_somebody_begins_to_listen_is_heard";
    let Some(server) = RedisServer::start_alone_or_skip(name).await else { return };
    let store = numbers(100);
    let other = Process::of(&store, server.builder(), Coherence::Auto(LONG));
    let proxy = Proxy::to(server.address()).await;
    proxy.delay(Duration::from_millis(8));
    for mode in MODES {
        for round in 0..15_u64 {
            let redis = server.builder_through(&proxy).deadline(Duration::from_secs(3));
            let one = Process::of(&store, redis, mode(LONG));
            let mut value = store.row(&7).expect("a row");
            assert_eq!(one.get(7).await, Some(value));
            let begin = Instant::now();
            while begin.elapsed() < Duration::from_millis(60 + 10 * round) {
                value += 1;
                other.put(7, value).await;
                one.get(7).await;
            }
            one.warm(7, value).await;
        }
    }
}

#[tokio::test]
async fn a_write_through_elsewhere_and_a_clear_are_heard_of() {
    let name = "a_write_through_elsewhere_and_a_clear_are_heard_of";
    let Some(server) = RedisServer::start_or_skip(name).await else { return };
    let store = numbers(100);
    for mode in MODES {
        let one = Process::of(&store, server.builder(), mode(LONG));
        let redis = server.redis();
        let other = Process::over(write_through(store.clone()), &redis, mode(LONG));
        for key in 0..10 {
            let value = store.row(&key).expect("a row") + 100;
            one.warm(key, value - 100).await;
            other.put(key, value).await;
            until("the write is seen", async || one.get(key).await == Some(value)).await;
            one.warm(key, value).await;
            other.warm(key, value).await;
        }
        soon(other.cache.clear()).await.expect("cleared");
        until("all are dropped", async || (0..10).all(|key| !one.has(key))).await;
    }
}

/// Named by hashes, they are told of as well.
#[tokio::test]
async fn a_key_longer_than_names_may_be_is_kept_in_step() {
    let name = "a_key_longer_than_names_may_be_is_kept_in_step";
    let Some(server) = RedisServer::start_or_skip(name).await else { return };
    let key = "k".repeat(5_000);
    let store = FakeStore::with([(key.clone(), 1_u64)]);
    for (round, mode) in MODES.into_iter().enumerate() {
        let process = || {
            let builder = cache_aside(store.clone()).tier(Memory::with_capacity(10));
            let builder = builder.tier(server.redis().namespace("n")).ttl(MINUTE).coherence(mode(LONG));
            builder.build().expect("complete")
        };
        let (one, other) = (process(), process());
        let old = store.row(&key).expect("a row");
        until("memory answers", async || {
            assert_eq!(soon(one.get(&key)).await.expect("answered"), Some(old));
            one.get_local(&key) == Local::Value(old)
        })
        .await;
        let value = 10 + round as u64;
        soon(other.put(&key, value)).await.expect("written");
        until("the write is seen", async || soon(one.get(&key)).await.expect("answered") == Some(value))
            .await;
    }
}

/// `R listens to Q, who has taken over · R's other connections are with P, who serves on what it has`.
#[tokio::test]
async fn what_is_read_from_a_server_that_was_replaced_does_not_stay_in_memory() {
    let name = "what_is_read_from_a_server_that_was_replaced_does_not_stay_in_memory";
    let Some(server) = RedisServer::start_alone_or_skip(name).await else { return };
    let Some(next) = RedisServer::start_alone_or_skip(name).await else { return };
    let store = numbers(100);
    for (key, mode) in (7..).zip(MODES) {
        let proxy = Proxy::to(server.address()).await;
        let one = Process::of(&store, server.builder_through(&proxy), mode(LONG));
        one.warm(key, key).await;
        proxy.lead_to(next.address());
        end_listeners(&server).await;
        until("it listens to the next", async || listeners(&next).await == 1).await;
        assert_eq!(one.get(key).await, Some(key));
        let other = Process::of(&store, next.builder(), mode(LONG));
        other.put(key, 100).await;
        until("the write is seen", async || one.get(key).await == Some(100)).await;
        one.warm(key, 100).await;
    }
}

/// A listener lives on when a read beside it is late: what was read since is to be kept again.
#[tokio::test]
async fn a_late_read_does_not_keep_memory_empty() {
    let name = "a_late_read_does_not_keep_memory_empty";
    let Some(server) = RedisServer::start_alone_or_skip(name).await else { return };
    let store = numbers(100);
    for mode in MODES {
        let proxy = Proxy::to(server.address()).await;
        let redis = server.builder_through(&proxy).deadline(Duration::from_millis(100));
        // The listener has time for its answers, and a read has not.
        let one = Process::of(&store, redis, mode(Duration::from_secs(3)));
        one.warm(7, 7).await;
        proxy.delay(Duration::from_millis(120));
        until("a read is late", async || {
            one.get(fastrand::u64(10..100)).await;
            one.heard.count("TierFailed") > 0
        })
        .await;
        proxy.delay(Duration::ZERO);
        for key in 0..5 {
            one.warm(key, key).await;
        }
    }
}

/// Thousands of keys take their time to be dropped. What is gone is told meanwhile: it may have been written anew. Where the
/// server tracks, it tells of each by itself.
#[tokio::test]
async fn a_long_clear_is_heard_of_before_it_is_over() {
    let name = "a_long_clear_is_heard_of_before_it_is_over";
    let Some(server) = RedisServer::start_alone_or_skip(name).await else { return };
    let store = numbers(5_000);
    let one = Process::of(&store, server.builder(), Coherence::Bus(LONG));
    let other = Process::of(&store, server.builder().deadline(LONG), Coherence::Bus(LONG));
    let all: Vec<u64> = (0..5_000).collect();
    assert!(other.cache.get_many(&all).await.iter().all(Result::is_ok));
    for key in 0..20 {
        one.warm(key, key).await;
    }
    let log = server.monitor().await;
    soon(other.cache.clear()).await.expect("cleared");
    let commands = log.take().await;
    let is = |command: &[String], name: &str| command[0].eq_ignore_ascii_case(name);
    let told = commands.iter().position(|command| is(command, "PUBLISH")).expect("it tells of them");
    let last_scan = commands.iter().rposition(|command| is(command, "SCAN")).expect("it looks for keys");
    assert!(
        told < last_scan,
        "the first is told of after {told} commands, the last looked for after {last_scan}"
    );
    until("all are dropped", async || (0..20).all(|key| !one.has(key))).await;
}

/// The number moves on whatever the user may do: it is asked for at the next barrier.
#[tokio::test]
async fn a_writer_who_may_not_publish_is_heard_of_within_the_bound() {
    let name = "a_writer_who_may_not_publish_is_heard_of_within_the_bound";
    let Some(server) = RedisServer::start_one_or_skip(name).await else { return };
    let store = numbers(100);
    let writer = ["ACL", "SETUSER", "writer", "on", ">secret", "~*", "+@all", "-publish", "-spublish"];
    for (more, mode) in [(&[][..], MODES[0]), (&["-incr"], MODES[0]), (&["resetchannels"], Coherence::Auto)] {
        assert_eq!(server.command(&[&writer[..], more].concat()).await, Reply::ok());
        let one = Process::of(&store, server.builder(), mode(BOUND));
        let url = format!("redis://writer:secret@{}", server.address());
        let other = Process::of(&store, redis_server::builder(&url), mode(BOUND));
        for value in 100..110 {
            one.warm(7, store.row(&7).expect("a row")).await;
            other.put(7, value).await;
            let written = Instant::now();
            until("the write is seen", async || one.get(7).await == Some(value)).await;
            assert!(written.elapsed() < BOUND + Duration::from_millis(300), "{:?}", written.elapsed());
        }
        assert_eq!(other.cache.stats().owed, 0, "nothing is left to be told");
    }
}

/// One connection listens for all caches of a handle; the server may refuse some of them.
#[tokio::test]
async fn who_may_not_listen_keeps_nobody_else_from_listening() {
    let name = "who_may_not_listen_keeps_nobody_else_from_listening";
    let Some(server) = RedisServer::start_one_or_skip(name).await else { return };
    server.command(&["ACL", "SETUSER", USER, "resetchannels", "&larder:1:n:*"]).await;
    let store = numbers(100);
    let redis = server.redis();
    let heard = Heard::default();
    let refused = cache_aside(store.clone()).tier(Memory::with_capacity(10)).tier(redis.namespace("refused"));
    let refused = refused.ttl(MINUTE).coherence(Coherence::Bus(BOUND)).observer(heard.clone());
    let refused = refused.build().expect("complete");
    let one = Process::over(cache_aside(store.clone()), &redis, Coherence::Bus(BOUND));
    let other = Process::of(&store, server.builder(), Coherence::Bus(BOUND));
    assert_eq!(soon(refused.get(&7)).await.expect("answered"), Some(7));
    one.warm(7, 7).await;
    tokio::time::sleep(3 * BOUND).await;
    assert!(one.has(7), "it is kept in step all the time");
    assert_eq!(one.heard.count("InStepNoMore"), 0);
    assert_eq!(heard.count("Coherent"), 1, "and that the other is not is said once");
    assert_eq!(heard.count("TierFailed"), 1);
    other.put(7, 8).await;
    until("the write is seen", async || one.get(7).await == Some(8)).await;
}

/// The server would tell of the numbers as of anything that is read where it remembers who reads.
#[tokio::test]
async fn no_numbers_are_asked_for_where_the_server_tracks() {
    let name = "no_numbers_are_asked_for_where_the_server_tracks";
    let Some(server) = RedisServer::start_one_or_skip(name).await else { return };
    let store = numbers(100);
    let one = Process::of(&store, server.builder(), Coherence::Auto(BOUND));
    one.warm(7, 7).await;
    let log = server.monitor().await;
    tokio::time::sleep(2 * BOUND).await;
    let asked = log.take_sent().await;
    assert!(asked.len() > 64, "there were barriers");
    assert!(!asked.iter().flatten().any(|word| word.ends_with("%number")));
}

/// A writer knows its own copy again, and is not sent it.
#[tokio::test]
async fn what_was_written_through_here_is_found_to_be_the_copy_there() {
    let name = "what_was_written_through_here_is_found_to_be_the_copy_there";
    let Some(server) = RedisServer::start_or_skip(name).await else { return };
    let store = numbers(100);
    let one = Process::over(write_through(store.clone()), &server.redis(), Coherence::Validated);
    one.put(7, 8).await;
    let log = server.monitor().await;
    assert_eq!(one.get(7).await, Some(8));
    let asked: Vec<String> =
        log.take_sent().await.into_iter().filter_map(|words| words.into_iter().next()).collect();
    assert!(asked.iter().any(|command| command == "GETRANGE"), "{asked:?}");
    assert!(!asked.iter().any(|command| command == "GET"), "{asked:?}");
}

/// How many connections listen.
async fn listeners(server: &RedisServer) -> usize {
    listening(server).await.len()
}

/// The numbers of those that listen.
async fn listening(server: &RedisServer) -> Vec<String> {
    let list = server.command(&["CLIENT", "LIST"]).await.text().expect("a list");
    let listening = list.lines().filter(|line| !line.contains(" sub=0 ") || line.contains(" flags=t"));
    let number = |line: &str| line.split(' ').find_map(|word| word.strip_prefix("id=").map(str::to_owned));
    listening.filter_map(number).collect()
}

async fn end_listeners(server: &RedisServer) {
    for number in listening(server).await {
        server.command(&["CLIENT", "KILL", "ID", &number]).await;
    }
}

#[tokio::test]
async fn all_caches_of_a_handle_share_one_listener_that_goes_with_the_last_of_them() {
    let name = "all_caches_of_a_handle_share_one_listener_that_goes_with_the_last_of_them";
    let Some(server) = RedisServer::start_one_or_skip(name).await else { return };
    let store = numbers(100);
    for mode in MODES {
        let redis = server.redis();
        let caches: Vec<_> = ["a", "b", "c"]
            .map(|namespace| {
                let builder = cache_aside(store.clone()).tier(Memory::with_capacity(10));
                builder
                    .tier(redis.namespace(namespace))
                    .ttl(MINUTE)
                    .coherence(mode(BOUND))
                    .build()
                    .expect("complete")
            })
            .into();
        for cache in &caches {
            until("memory answers", async || {
                soon(cache.get(&7)).await.expect("answered");
                !cache.get_local(&7).is_unknown()
            })
            .await;
        }
        assert_eq!(listeners(&server).await, 1, "{:?}", mode(BOUND));
        drop(caches);
        drop(redis);
        until("nobody listens any more", async || listeners(&server).await == 0).await;
    }
}
