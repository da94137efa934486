//! Redis is away, in each of the ways in which a server can be away: nobody who reads notices more than a moment, and
//! what could not be dropped meanwhile is dropped once it is back.

use std::time::{Duration, Instant};

use crate::support::proxy::Proxy;
use crate::support::redis_server::RedisServer;
use crate::support::resp::Reply;
use crate::support::watching::{Heard, everything_in, soon, until};
use crate::support::{MINUTE, numbers};
use larder::testing::FakeStore;
use larder::tier::redis::{Namespace, RedisBuilder};
use larder::{Builder, Consistency, Copies, ErrorKind, LayeredCache, Outcome, cache_aside, write_through};

/// Longer than the tier's own 100 milliseconds: a machine with other things to do is no outage.
const DEADLINE: Duration = Duration::from_millis(250);
const DEADLINE_AND_SLACK: Duration = Duration::from_millis(900);

/// One process of a service, with a server of its own choice of roads.
struct Process {
    cache: LayeredCache<u64, u64>,
    heard: Heard,
}

impl Process {
    /// Over `builder`, with its copies in `redis`, for which it does not wait long.
    fn over(builder: Builder<u64, u64>, redis: RedisBuilder) -> Self {
        Self::on(builder, redis.deadline(DEADLINE), |tier| tier)
    }

    fn on(
        builder: Builder<u64, u64>,
        redis: RedisBuilder,
        settings: impl FnOnce(Namespace<u64>) -> Namespace<u64>,
    ) -> Self {
        let heard = Heard::default();
        let tier = settings(redis.build().expect("a URL").namespace("n"));
        let builder = builder.tier(tier).ttl(MINUTE).jitter(0.0).observer(heard.clone());
        Self { cache: builder.build().expect("complete"), heard }
    }

    async fn get(&self, key: u64) -> Option<u64> {
        soon(self.cache.get(&key)).await.expect("a read is answered whatever becomes of Redis")
    }

    async fn put(&self, key: u64, value: u64) -> Copies {
        soon(self.cache.put(&key, value)).await.expect("the store has it").copies()
    }

    /// Which tier answers.
    async fn tier_of(&self, key: u64) -> Option<&'static str> {
        soon(self.cache.get_entry(&key)).await.expect("answered").expect("a store").tier()
    }

    /// Copies in Redis are found again. On a slow machine the first try may be late once more.
    async fn finds_copies(&self, key: u64) {
        until("copies are found again", async || self.tier_of(key).await == Some("redis")).await;
    }

    async fn is_back(&self) {
        until("the server is back", async || self.heard.count("TierBack") > 0).await;
    }
}

/// A process that reaches its server through a proxy, and another one that reaches it directly.
struct Partition {
    server: RedisServer,
    proxy: Proxy,
    store: FakeStore<u64, u64>,
    one: Process,
    other: Process,
}

impl Partition {
    async fn of(test: &str, pattern: fn(FakeStore<u64, u64>) -> Builder<u64, u64>) -> Option<Self> {
        let server = RedisServer::start_alone_or_skip(test).await?;
        let proxy = Proxy::to(server.address()).await;
        let one = server.builder_through(&proxy);
        Some(Self::between(server, proxy, pattern, one))
    }

    /// For a test that has no quarrel with the network: both processes reach the server directly.
    async fn without_proxy(
        test: &str,
        pattern: fn(FakeStore<u64, u64>) -> Builder<u64, u64>,
    ) -> Option<Self> {
        let server = RedisServer::start_or_skip(test).await?;
        let proxy = Proxy::to(server.address()).await;
        let one = server.builder();
        Some(Self::between(server, proxy, pattern, one))
    }

    /// The same on one process: what is counted here would be another number on several.
    async fn on_one_process(
        test: &str,
        pattern: fn(FakeStore<u64, u64>) -> Builder<u64, u64>,
    ) -> Option<Self> {
        let server = RedisServer::start_one_or_skip(test).await?;
        let proxy = Proxy::to(server.address()).await;
        let one = server.builder();
        Some(Self::between(server, proxy, pattern, one))
    }

    fn between(
        server: RedisServer,
        proxy: Proxy,
        pattern: fn(FakeStore<u64, u64>) -> Builder<u64, u64>,
        one: RedisBuilder,
    ) -> Self {
        let store = numbers(1_000);
        let one = Process::over(pattern(store.clone()), one);
        let other = Process::over(pattern(store.clone()), server.builder());
        Self { server, proxy, store, one, other }
    }

    /// From now on nothing of the first process reaches the server.
    fn begin(&self) {
        self.proxy.refuse(true);
        self.proxy.cut();
    }

    fn end(&self) {
        self.proxy.heal();
    }

    async fn is_paid(&self) {
        until("what was owed is paid", async || {
            let stats = self.one.cache.stats();
            stats.owed > 0 && self.one.heard.count("Paid") > 0
        })
        .await;
    }
}

/// What every way of being away has in common, for the process `one` of `stage`.
async fn is_survived(stage: &Partition, fault: impl FnOnce(), heal: impl AsyncFnOnce()) {
    for key in 0..10 {
        assert_eq!(stage.one.get(key).await, Some(key));
    }
    fault();
    let begin = Instant::now();
    assert_eq!(stage.one.get(0).await, Some(0));
    let first = begin.elapsed();
    assert!(first < DEADLINE_AND_SLACK, "the first read took {first:?}");

    until("the breaker opens", async || {
        assert_eq!(stage.one.get(1).await, Some(1));
        stage.one.heard.count("TierAway") == 1
    })
    .await;
    let mut times = Vec::new();
    for key in 0..100 {
        let begin = Instant::now();
        assert_eq!(stage.one.get(key % 10).await, Some(key % 10));
        times.push(begin.elapsed());
    }
    times.sort();
    assert!(times[50] < Duration::from_millis(20), "reads behind the breaker take {:?}", times[50]);
    assert_eq!(stage.one.cache.stats().tier_outages, 1);

    heal().await;
    stage.one.is_back().await;
    assert_eq!(stage.one.get(500).await, Some(500));
    stage.one.finds_copies(500).await;
    stage.other.finds_copies(500).await;
    assert_eq!(stage.other.cache.stats().loads, 0, "and they are shared again");
}

#[tokio::test]
async fn a_server_that_was_never_there_stops_nothing() {
    let Some(server) = RedisServer::start_or_skip("a_server_that_was_never_there_stops_nothing").await else {
        return;
    };
    server.kill();
    let redis = server.redis();
    let why = soon(redis.ping()).await.expect_err("nobody is there");
    assert_eq!(why.kind(), ErrorKind::Tier);
    assert!(everything_in(&why).contains("no connection to Redis can be made"), "{}", everything_in(&why));

    let process = Process::over(cache_aside(numbers(100)), server.builder());
    for key in 0..100 {
        assert_eq!(process.get(key).await, Some(key));
    }
    let stats = process.cache.stats();
    assert_eq!((stats.loads, stats.tier_outages), (100, 1));

    server.restart().await;
    process.is_back().await;
    assert_eq!(process.get(7).await, Some(7));
    process.finds_copies(7).await;
    until("a handle that only pinged is back too", async || soon(redis.ping()).await.is_ok()).await;
}

#[tokio::test]
async fn a_killed_server_that_comes_back_empty() {
    let name = "a_killed_server_that_comes_back_empty";
    let Some(stage) = Partition::on_one_process(name, cache_aside).await else { return };
    let server = &stage.server;
    is_survived(&stage, || server.kill(), async || server.restart().await).await;
    assert_eq!(stage.one.cache.stats().tier_restarts, 1);
}

/// Nobody reads while the server is restarted: the broken connection is noticed and replaced within one read.
#[tokio::test]
async fn a_restart_between_two_reads_is_no_outage() {
    let name = "a_restart_between_two_reads_is_no_outage";
    let Some(stage) = Partition::on_one_process(name, cache_aside).await else { return };
    let one = &stage.one;
    assert_eq!(one.get(7).await, Some(7));
    stage.server.restart().await;
    assert_eq!(one.get(7).await, Some(7));
    assert_eq!(one.tier_of(7).await, Some("redis"));
    let stats = one.cache.stats();
    assert_eq!((stats.tier_outages, stats.tier_failures, stats.tier_restarts), (0, 0, 1));
}

#[tokio::test]
async fn a_frozen_server() {
    let Some(stage) = Partition::on_one_process("a_frozen_server", cache_aside).await else { return };
    let server = &stage.server;
    is_survived(&stage, || server.stop(), async || server.resume()).await;
}

#[tokio::test]
async fn a_network_that_swallows_everything() {
    let Some(stage) = Partition::of("a_network_that_swallows_everything", cache_aside).await else { return };
    let proxy = &stage.proxy;
    is_survived(&stage, || proxy.half_open(true), async || proxy.heal()).await;
}

#[tokio::test]
async fn a_network_that_swallows_replies() {
    let Some(stage) = Partition::of("a_network_that_swallows_replies", cache_aside).await else { return };
    let proxy = &stage.proxy;
    is_survived(&stage, || proxy.drop_replies(true), async || proxy.heal()).await;
}

#[tokio::test]
async fn a_network_that_refuses() {
    let Some(stage) = Partition::of("a_network_that_refuses", cache_aside).await else { return };
    is_survived(&stage, || stage.begin(), async || stage.end()).await;
}

#[tokio::test]
async fn a_network_that_is_slower_than_the_deadline() {
    let Some(stage) = Partition::of("a_network_that_is_slower_than_the_deadline", cache_aside).await else {
        return;
    };
    let proxy = &stage.proxy;
    let slow = Duration::from_millis(300);
    is_survived(&stage, || proxy.delay(slow), async || proxy.delay(Duration::ZERO)).await;
}

/// Connections can be made in time, and no command is answered in time: that is no reason to ask again and again.
#[tokio::test]
async fn a_network_on_which_only_connecting_works_stays_away() {
    let name = "a_network_on_which_only_connecting_works_stays_away";
    let Some(stage) = Partition::of(name, cache_aside).await else { return };
    stage.one.get(0).await;
    stage.proxy.delay(Duration::from_millis(150));
    let begin = Instant::now();
    let mut slow = 0;
    while begin.elapsed() < Duration::from_secs(3) {
        let asked = Instant::now();
        assert_eq!(stage.one.get(0).await, Some(0));
        slow += u32::from(asked.elapsed() > Duration::from_millis(200));
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(
        (stage.one.cache.stats().tier_outages, stage.one.heard.count("TierBack")),
        (1, 0),
        "{slow} slow reads"
    );
    stage.end();
    stage.one.is_back().await;
    stage.one.finds_copies(0).await;
}

/// With the breaker open a read is not a question that goes unanswered: it is not asked.
#[tokio::test]
async fn behind_the_breaker_nothing_is_sent() {
    let Some(stage) = Partition::of("behind_the_breaker_nothing_is_sent", cache_aside).await else { return };
    stage.one.get(0).await;
    stage.proxy.drop_replies(true); // what is sent still arrives, and can be seen
    until("the breaker opens", async || {
        stage.one.get(0).await;
        stage.one.heard.count("TierAway") == 1
    })
    .await;
    let log = stage.server.monitor().await;
    for key in 0..100 {
        assert_eq!(stage.one.get(key).await, Some(key));
    }
    let sent = log.take_sent().await;
    let asked = sent.iter().filter(|words| ["GET", "MGET", "EVAL", "EVALSHA"].contains(&words[0].as_str()));
    assert_eq!(asked.count(), 0, "{sent:?}");
    assert_eq!(stage.one.cache.stats().loads, stage.store.loads());
}

/// A server that loads its data takes connections, and says so: it is not there yet.
#[tokio::test]
async fn a_server_that_is_still_loading_its_data() {
    let slowly = ["--key-load-delay", "4000", "--loading-process-events-interval-bytes", "1024"];
    let Some(server) =
        RedisServer::start_one_or_skip_with("a_server_that_is_still_loading_its_data", &slowly).await
    else {
        return;
    };
    for row in 0..400 {
        server.command(&["SET", &format!("ballast:{row}"), &"x".repeat(2_000)]).await;
    }
    server.snapshot().await;
    let process = Process::over(cache_aside(numbers(10)), server.builder());
    assert_eq!(process.get(7).await, Some(7));

    let mut was_loading = false;
    let reads = async {
        while process.heard.count("TierBack") == 0 {
            assert_eq!(process.get(7).await, Some(7));
            // Connecting takes several answers, and each of them its time.
            let newcomer = server.builder().deadline(Duration::from_secs(2)).build();
            let newcomer = newcomer.expect("a URL");
            let said = soon(newcomer.ping()).await.map_err(|error| everything_in(&error));
            was_loading |= said.is_err_and(|said| said.contains("LOADING"));
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let in_time = tokio::time::timeout(Duration::from_secs(20), reads);
    let ((), back) = tokio::join!(server.restart_from_snapshot(), in_time);
    back.expect("it comes back");
    assert!(was_loading, "it was too quick for this test");
    assert_eq!(process.get(7).await, Some(7));
    assert_eq!(process.tier_of(7).await, Some("redis"));
}

/// A full server that evicts nothing still answers, and still drops: it only keeps nothing new.
#[tokio::test]
async fn a_full_server_still_drops_what_is_written() {
    let Some(stage) =
        Partition::without_proxy("a_full_server_still_drops_what_is_written", cache_aside).await
    else {
        return;
    };
    let Partition { server, one, other, store, .. } = &stage;
    for key in 0..5 {
        one.get(key).await;
    }
    server.command(&["CONFIG", "SET", "maxmemory-policy", "noeviction"]).await;
    server.command(&["CONFIG", "SET", "maxmemory", "1"]).await;
    other.finds_copies(0).await; // what it has is still served
    assert_eq!(one.get(100).await, Some(100));
    assert_eq!(one.tier_of(100).await, None, "it keeps nothing new");
    assert_eq!(one.put(1, 10).await, Copies::Dropped);
    assert_eq!(other.get(1).await, Some(10));
    let writer = Process::over(write_through(store.clone()), server.builder());
    assert_eq!(writer.put(2, 20).await, Copies::Dropped);
    assert_eq!(other.get(2).await, Some(20));
    assert_eq!(one.cache.stats().tier_outages, 0, "it answers: nobody leaves it alone");

    server.command(&["CONFIG", "SET", "maxmemory", "0"]).await;
    one.get(100).await;
    assert_eq!(other.tier_of(100).await, Some("redis"));
}

/// The peers' bug: whoever wrote while the shared tier was away read its own old value once it was back.
async fn what_is_owed_is_paid(stage: &Partition) {
    let Partition { one, other, .. } = stage;
    assert_eq!((one.get(7).await, other.get(7).await), (Some(7), Some(7)));
    stage.begin();
    for value in [70, 71, 72] {
        assert_eq!(one.put(7, value).await, Copies::Pending);
        assert_eq!(one.get(7).await, Some(value), "this process reads what it has written");
    }
    assert_eq!(other.get(7).await, Some(7), "nobody could tell the others");

    stage.end();
    while one.heard.count("Paid") == 0 {
        assert_eq!(one.get(7).await, Some(72), "back or not, the old copy is not read before it is gone");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(other.get(7).await, Some(72));
    let stats = one.cache.stats();
    assert_eq!((stats.owed, stats.paid), (3, 1), "the newest word on a key counts");
    assert_eq!(other.tier_of(7).await, Some("redis"));
    assert_eq!(one.tier_of(7).await, Some("redis"), "and the key is like any other");
}

#[tokio::test]
async fn a_write_while_it_is_away_drops_the_old_copy_once_it_is_back() {
    let name = "a_write_while_it_is_away_drops_the_old_copy_once_it_is_back";
    let Some(stage) = Partition::of(name, cache_aside).await else { return };
    what_is_owed_is_paid(&stage).await;
}

#[tokio::test]
async fn a_write_through_while_it_is_away_drops_the_old_copy_once_it_is_back() {
    let name = "a_write_through_while_it_is_away_drops_the_old_copy_once_it_is_back";
    let Some(stage) = Partition::of(name, write_through).await else { return };
    what_is_owed_is_paid(&stage).await;
}

/// The message that drops a copy may have arrived, and only the reply was lost: that it is sent again does no harm.
#[tokio::test]
async fn a_write_whose_reply_is_lost_is_pending_and_then_paid() {
    let name = "a_write_whose_reply_is_lost_is_pending_and_then_paid";
    let Some(stage) = Partition::of(name, cache_aside).await else { return };
    let Partition { one, other, .. } = &stage;
    assert_eq!((one.get(7).await, other.get(7).await), (Some(7), Some(7)));
    stage.proxy.drop_replies(true);
    assert_eq!(one.put(7, 70).await, Copies::Pending);
    assert_eq!(one.get(7).await, Some(70));
    stage.end();
    stage.is_paid().await;
    assert_eq!((one.get(7).await, other.get(7).await), (Some(70), Some(70)));
}

#[tokio::test]
async fn invalidations_and_deletions_are_owed_too() {
    let Some(stage) = Partition::of("invalidations_and_deletions_are_owed_too", cache_aside).await else {
        return;
    };
    let Partition { one, other, store, .. } = &stage;
    for key in [7, 8] {
        assert_eq!((one.get(key).await, other.get(key).await), (Some(key), Some(key)));
    }
    stage.begin();
    store.set_row(7, 70);
    let refused = soon(one.cache.invalidate(&7)).await.expect_err("it cannot be dropped now");
    assert_eq!(refused.kind(), ErrorKind::Tier);
    let deleted = soon(one.cache.delete(&8)).await.expect("the store has it");
    assert_eq!(deleted.copies(), Copies::Pending);
    assert_eq!((one.get(7).await, one.get(8).await), (Some(70), None));
    stage.end();
    until("both are paid", async || one.cache.stats().paid == 2).await;
    assert_eq!((other.get(7).await, other.get(8).await), (Some(70), None));
}

#[tokio::test]
async fn a_clear_while_it_is_away_is_owed_too() {
    let Some(stage) = Partition::of("a_clear_while_it_is_away_is_owed_too", cache_aside).await else {
        return;
    };
    let Partition { one, other, store, .. } = &stage;
    for key in 0..20 {
        one.get(key).await;
    }
    stage.begin();
    (0..20).for_each(|key| store.set_row(key, key + 100));
    soon(one.cache.clear()).await.expect_err("it cannot be dropped now");
    assert_eq!(one.get(7).await, Some(107));
    stage.end();
    stage.is_paid().await;
    for key in 0..20 {
        assert_eq!(other.get(key).await, Some(key + 100));
    }
}

#[tokio::test]
async fn a_linearizable_write_is_refused_while_it_is_away() {
    let linearizable = |store| write_through(store).consistency(Consistency::Linearizable);
    let Some(stage) = Partition::of("a_linearizable_write_is_refused_while_it_is_away", linearizable).await
    else {
        return;
    };
    let Partition { one, other, store, .. } = &stage;
    assert_eq!((one.get(7).await, other.get(7).await), (Some(7), Some(7)));
    stage.begin();
    let refused = soon(one.cache.put(&7, 70)).await.expect_err("others might serve the old copy");
    assert_eq!((refused.kind(), refused.outcome()), (ErrorKind::Tier, Some(Outcome::NotApplied)));
    assert_eq!(store.row(&7), Some(7));
    assert_eq!(one.get(7).await, Some(7), "reads go on");
    stage.end();
    one.is_back().await;
    assert_eq!(one.put(7, 70).await, Copies::Kept);
    assert_eq!(other.get(7).await, Some(70));
}

/// A server that forgot its latest invalidations, as after a failover.
#[tokio::test]
async fn copies_of_an_earlier_life_are_not_served() {
    let name = "copies_of_an_earlier_life_are_not_served";
    let Some(stage) = Partition::without_proxy(name, cache_aside).await else { return };
    let Partition { server, store, one, other, .. } = &stage;
    one.get(7).await;
    server.snapshot().await;
    assert_eq!(one.put(7, 70).await, Copies::Dropped);
    assert_eq!(other.get(7).await, Some(70));
    server.restart_from_snapshot().await;

    let newcomer = Process::over(cache_aside(store.clone()), server.builder());
    for process in [&newcomer, other, one] {
        assert_eq!(process.get(7).await, Some(70));
    }
    assert!(newcomer.cache.stats().outlived > 0);
    assert_eq!(other.cache.stats().tier_restarts, 1);
    // Once what it invalidated lately has been invalidated again.
    until("what is kept is of this life", async || one.tier_of(7).await == Some("redis")).await;
}

/// The write that destroyed the lease is lost with the rest: the lease must not open anything when it comes back.
#[tokio::test]
async fn a_lease_that_comes_back_fills_nothing() {
    let Some(server) = RedisServer::start_or_skip("a_lease_that_comes_back_fills_nothing").await else {
        return;
    };
    let store = numbers(10);
    let process = |store: FakeStore<u64, u64>| {
        let lease = Duration::from_millis(1_000);
        Process::on(cache_aside(store), server.builder(), |tier| tier.lease(lease))
    };
    let slow = store.clone();
    let gated = FakeStore::with([(7, 7)]); // what the slow reader finds: the row as it was
    let gate = gated.gate_after(larder::testing::Call::Load);
    let (one, other) = (process(gated), process(slow));
    let cache = one.cache.clone();
    let read = tokio::spawn(async move { cache.get(&7).await });
    gate.arrived(1).await;
    server.snapshot().await;
    assert_eq!(other.put(7, 70).await, Copies::Dropped);
    server.restart_from_snapshot().await;
    until("a word on another key, over a new connection", async || one.cache.invalidate(&8).await.is_ok())
        .await;
    gate.open();
    assert_eq!(soon(read).await.expect("no panic").expect("loaded"), Some(7), "it began before the write");
    assert_eq!(one.cache.stats().fills_refused, 1);
    assert_eq!(other.get(7).await, Some(70));
    until("the lease that came back ends", async || other.tier_of(7).await == Some("redis")).await;
    assert_eq!(other.get(7).await, Some(70));
}

/// A writer whose hold is of an earlier life may have been overtaken in the part of it that was lost.
#[tokio::test]
async fn a_hold_that_comes_back_publishes_nothing() {
    // A node of a cluster serves only two seconds after its start: longer than the write here may take.
    let name = "a_hold_that_comes_back_publishes_nothing";
    let Some(server) = RedisServer::start_alone_or_skip(name).await else { return };
    let store = numbers(10);
    let process = || {
        let builder = write_through(store.clone()).write_deadline(Duration::from_millis(750));
        Process::over(builder, server.builder())
    };
    let (one, other) = (process(), process());
    let gate = store.gate_after(larder::testing::Call::Save);
    let cache = one.cache.clone();
    let write = tokio::spawn(async move { cache.put(&7, 70).await });
    gate.arrived(1).await;
    server.snapshot().await;
    server.restart_from_snapshot().await;
    gate.open();
    let written = soon(write).await.expect("no panic").expect("the store has it");
    assert_ne!(written.copies(), Copies::Kept);
    assert_eq!(
        (other.get(7).await, other.tier_of(7).await),
        (Some(70), None),
        "nobody fills while it is held"
    );
    until("the hold that came back ends", async || other.tier_of(7).await == Some("redis")).await;
    assert_eq!(other.get(7).await, Some(70));
}

/// Who trusts restarts goes on with what the server still has, and tells it again what it was told last.
#[tokio::test]
async fn a_trusted_server_is_told_again_what_it_forgot() {
    let Some(server) = RedisServer::start_or_skip("a_trusted_server_is_told_again_what_it_forgot").await
    else {
        return;
    };
    let store = numbers(10);
    let process = || {
        let redis = server.builder().trust_restarts();
        Process::on(cache_aside(store.clone()), redis, |tier| tier)
    };
    let (one, other) = (process(), process());
    one.get(7).await;
    one.get(8).await;
    server.snapshot().await;
    assert_eq!(one.put(7, 70).await, Copies::Dropped);
    server.restart_from_snapshot().await;

    assert_eq!(other.tier_of(8).await, Some("redis"), "what it still has is served");
    one.get(8).await; // the next word between the two
    until("the write is told again", async || other.get(7).await == Some(70)).await;
    assert_eq!(other.cache.stats().outlived, 0);
}

#[tokio::test]
async fn a_full_server_refuses_what_cannot_be_claimed() {
    let linearizable = |store| write_through(store).consistency(Consistency::Linearizable);
    let name = "a_full_server_refuses_what_cannot_be_claimed";
    let Some(stage) = Partition::without_proxy(name, linearizable).await else { return };
    let answer = stage.server.command(&["CONFIG", "SET", "maxmemory", "1"]).await;
    assert_eq!(answer, Reply::Simple("OK".to_owned()));
    let refused = soon(stage.one.cache.put(&7, 70)).await.expect_err("no room for a hold");
    assert_eq!(refused.outcome(), Some(Outcome::NotApplied));
    assert_eq!(stage.store.row(&7), Some(7));
}

/// One of several connections is cut off without a word, and the others answer: it is found out and made anew, and not
/// met again and again by every so many reads.
#[tokio::test]
async fn one_silent_connection_among_others_is_replaced() {
    let Some(server) = RedisServer::start_alone_or_skip("one_silent_connection_among_others").await else {
        return;
    };
    let proxy = Proxy::to(server.address()).await;
    let redis = server.builder_through(&proxy).lanes(2);
    let one = Process::on(cache_aside(numbers(10)), redis, |tier| tier);
    for _ in 0..4 {
        assert_eq!(one.get(7).await, Some(7));
    }
    proxy.silence(1);
    for _ in 0..60 {
        assert_eq!(one.get(7).await, Some(7));
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    one.is_back().await;
    let failures = one.cache.stats().tier_failures;
    assert!((1..10).contains(&failures), "{failures} of 60 reads met it");
    for _ in 0..4 {
        assert_eq!(one.tier_of(7).await, Some("redis"));
    }
}
