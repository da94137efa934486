//! Pending writes in a Redis that several processes share: what one has written the others read, one of them brings it to
//! the store, and when that one goes another takes over.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::support::redis_process::Waiting;
use crate::support::redis_server::RedisServer;
use crate::support::sqlite::Sqlite;
use larder::journal::{Durability, RedisStream};
use larder::sqlx::{Kind, SqliteStore, Table};
use larder::store::WriteBehindBuilder;
use larder::{AtLimit, ErrorKind, Loader, Memory, Redis, Store, WriteBehind, write_behind};

const HOUR: Duration = Duration::from_secs(3_600);
const SOON: Duration = Duration::from_millis(20);
const LEASE: Duration = Duration::from_millis(600);
/// What a server must be told to keep what it is given.
const KEEPS: [&str; 4] = ["--appendonly", "yes", "--appendfsync", "always"];

type Rows = SqliteStore<u64, u64>;
type Behind = WriteBehind<u64, u64>;

/// A Redis and a database that several processes use.
struct World {
    server: RedisServer,
    file: Sqlite,
}

impl World {
    async fn start_or_skip(test: &str) -> Option<Self> {
        let server = RedisServer::start_or_skip_with(test, &KEEPS).await?;
        let world = Self { server, file: Sqlite::make() };
        let create = "CREATE TABLE numbers (id BIGINT PRIMARY KEY, number BIGINT CHECK (number <> 666))";
        sqlx::query(create).execute(&world.file.pool()).await.unwrap();
        world.rows().migrate().await.unwrap();
        Some(world)
    }

    fn rows(&self) -> Arc<Rows> {
        let table = Table::new("numbers").key("id", Kind::Int).column("number", Kind::Int);
        Arc::new(SqliteStore::new(self.file.pool(), table.sqlite().unwrap()))
    }

    fn redis(&self) -> Redis {
        crate::support::redis_server::builder(&self.server.url_of_default_user())
            .deadline(Duration::from_secs(2))
            .build()
            .unwrap()
    }

    fn journal(&self) -> RedisStream<u64, u64> {
        RedisStream::new(&self.redis(), "numbers").shards(4).lease(LEASE)
    }

    fn settings(&self) -> WriteBehindBuilder<u64, u64, Arc<Rows>> {
        write_behind(self.rows()).exactly_once().journal(self.journal()).flush_every(SOON)
    }

    /// Another process, as far as anybody can tell.
    fn process(&self) -> Behind {
        self.settings().store().unwrap()
    }

    async fn stored(&self, key: u64) -> Option<u64> {
        self.rows().load(&key).await.unwrap()
    }
}

#[tokio::test]
async fn a_write_is_answered_read_by_others_and_stored() {
    let Some(world) = World::start_or_skip("a_write_is_answered_read_by_others_and_stored").await else {
        return;
    };
    let one = world.settings().flush_every(HOUR).store().unwrap();
    let other = world.settings().flush_every(HOUR).store().unwrap();
    _ = one.save(&1, &10).await.unwrap();
    _ = one.save(&2, &20).await.unwrap();
    one.delete(&2).await.unwrap();
    assert_eq!((world.stored(1).await, other.load(&1).await.unwrap()), (None, Some(10)));
    _ = other.save(&1, &11).await.unwrap();
    let seen: Vec<_> = one.load_many(&[1, 2, 3]).await.into_iter().map(Result::unwrap).collect();
    assert_eq!(seen, [Some(11), None, None]);
    other.flush().await.unwrap();
    assert_eq!((world.stored(1).await, world.stored(2).await), (Some(11), None));
    assert_eq!(one.load(&1).await.unwrap(), Some(11));
}

#[tokio::test]
async fn what_a_dead_process_has_left_another_brings_to_the_store_within_the_lease() {
    let test = "what_a_dead_process_has_left_another_brings_to_the_store_within_the_lease";
    let Some(world) = World::start_or_skip(test).await else { return };
    let dead = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let settings = world.settings().flush_every(HOUR);
    dead.spawn(async move {
        let behind = settings.store().unwrap();
        for key in 0..100 {
            _ = behind.save(&key, &key).await.unwrap();
        }
        std::mem::forget(behind);
    })
    .await
    .unwrap();
    dead.shutdown_background();
    let killed = Instant::now();
    let heir = world.process();
    let waiting = Waiting::until("all is stored");
    while world.stored(99).await.is_none() || world.stored(0).await.is_none() {
        waiting.a_moment().await;
    }
    println!("taken over after {:?}, with a lease of {LEASE:?}", killed.elapsed());
    heir.flush().await.unwrap();
    for key in 0..100 {
        assert_eq!(world.stored(key).await, Some(key));
    }
}

#[tokio::test]
async fn processes_that_come_and_go_share_the_shards() {
    let Some(world) = World::start_or_skip("processes_that_come_and_go_share_the_shards").await else {
        return;
    };
    let owners = async || {
        let rows: Vec<(i64, i64)> =
            sqlx::query_as("SELECT owner, count(*) FROM larder_shard WHERE owner IS NOT NULL GROUP BY owner")
                .fetch_all(&world.file.pool())
                .await
                .unwrap();
        let mut counts: Vec<i64> = rows.into_iter().map(|(_, count)| count).collect();
        counts.sort_unstable();
        counts
    };
    let one = world.process();
    _ = one.save(&1, &1).await.unwrap();
    let waiting = Waiting::until("the first has all");
    while owners().await != [4] {
        waiting.a_moment().await;
    }
    let other = world.process();
    let waiting = Waiting::until("two have two each");
    while owners().await != [2, 2] {
        waiting.a_moment().await;
    }
    assert!(one.close(Duration::from_secs(5)).await.unwrap().writes.is_empty());
    let waiting = Waiting::until("the last has all");
    while owners().await != [4] {
        waiting.a_moment().await;
    }
    _ = other.save(&1, &2).await.unwrap();
    other.flush().await.unwrap();
    assert_eq!(world.stored(1).await, Some(2));
}

#[tokio::test]
async fn a_cache_over_it_keeps_its_promises() {
    let Some(world) = World::start_or_skip("a_cache_over_it_keeps_its_promises").await else { return };
    let cache = world.settings().tier(Memory::with_capacity(100)).ttl(HOUR).build().unwrap();
    let written = cache.put(&1, 10).await.unwrap();
    assert_eq!(cache.get(&1).await.unwrap(), Some(10));
    written.durable().await.unwrap();
    written.stored().await.unwrap();
    assert_eq!(world.stored(1).await, Some(10));
    let poison = cache.put(&2, 666).await.unwrap();
    assert_eq!(poison.stored().await.unwrap_err().kind(), ErrorKind::DeadLetter);
    let later = cache.put(&2, 20).await.unwrap();
    later.stored().await.unwrap();
    assert_eq!(world.stored(2).await, Some(20));
    let ran = cache
        .write(&[1], || async {
            let pool = world.file.pool();
            sqlx::query("UPDATE numbers SET number = number + 1 WHERE id = 1").execute(&pool).await.map(drop)
        })
        .await;
    ran.unwrap();
    assert_eq!(cache.get(&1).await.unwrap(), Some(11));
    assert!(cache.close(Duration::from_secs(5)).await.unwrap().is_empty());
}

#[tokio::test]
async fn it_is_bounded() {
    let Some(world) = World::start_or_skip("it_is_bounded").await else { return };
    let behind =
        world.settings().flush_every(HOUR).batch(1).max_pending(4).at_limit(AtLimit::Reject).store().unwrap();
    // Nobody owns a shard whose store does not answer.
    sqlx::query("DROP TABLE larder_shard").execute(&world.file.pool()).await.unwrap();
    let mut full = 0;
    for key in 0..40 {
        match behind.save(&key, &key).await {
            Ok(_) => {}
            Err(error) => {
                let error = error.into_source().downcast::<larder::Error>().unwrap();
                assert_eq!(error.kind(), ErrorKind::Full);
                full += 1;
            }
        }
    }
    assert_eq!(full, 36, "one in each of four shards");
}

#[tokio::test]
async fn a_durability_that_the_server_does_not_have_is_refused() {
    let test = "a_durability_that_the_server_does_not_have_is_refused";
    let Some(server) =
        RedisServer::start_or_skip_with(test, &["--appendonly", "yes", "--appendfsync", "everysec"]).await
    else {
        return;
    };
    let redis = crate::support::redis_server::builder(&server.url_of_default_user()).build().unwrap();
    let journal = || RedisStream::<u64, u64>::new(&redis, "numbers");
    let refused = journal().check().await.unwrap_err();
    assert!(refused.kind() == ErrorKind::Journal && refused.to_string().contains("appendfsync"), "{refused}");
    journal().durability(Durability::EverySecond).check().await.unwrap();
    _ = server.command(&["CONFIG", "SET", "maxmemory-policy", "allkeys-lru"]).await;
    let refused = journal().durability(Durability::EverySecond).check().await.unwrap_err();
    assert!(refused.to_string().contains("noeviction"), "{refused}");
}

#[tokio::test]
async fn processes_that_know_other_shards_are_refused_until_it_does_not_matter() {
    let test = "processes_that_know_other_shards_are_refused_until_it_does_not_matter";
    let Some(world) = World::start_or_skip(test).await else { return };
    let one = world.process();
    _ = one.save(&1, &10).await.unwrap();
    let other = || world.settings().journal(world.journal().shards(3)).store().unwrap();
    let refused = other().save(&1, &11).await.unwrap_err();
    assert!(refused.to_string().contains("shards(3)"), "{refused}");
    assert!(other().load(&1).await.is_err(), "it would look elsewhere");
    assert!(one.close(Duration::from_secs(5)).await.unwrap().writes.is_empty());
    let other = other();
    _ = other.save(&1, &12).await.unwrap();
    other.flush().await.unwrap();
    assert_eq!(world.stored(1).await, Some(12));
}

/// However many write at once: only where there is no room is anybody refused.
#[tokio::test]
async fn many_who_write_at_once_are_not_taken_for_too_many() {
    let Some(world) = World::start_or_skip("many_who_write_at_once_are_not_taken_for_too_many").await else {
        return;
    };
    let behind = world.settings().flush_every(HOUR).at_limit(AtLimit::Reject).store().unwrap();
    let writing = (0..300_u64).map(|key| {
        let behind = behind.clone();
        tokio::spawn(async move { behind.save(&key, &key).await.map(drop) })
    });
    for written in futures_util::future::join_all(writing).await {
        written.unwrap().unwrap();
    }
}
