//! Processes that share a stream of pending writes in a Redis, over a store that does what a test wants of it.

use std::time::Duration;

use larder::journal::RedisStream;
use larder::store::{Sum, WriteBehindBuilder};
use larder::testing::FakeStore;
use larder::{LayeredCache, Redis, WriteBehind, write_behind};

use super::behind::{HOUR, Numbers};
use super::redis_server::{self, RedisServer};

/// What a server must be told to keep what it is given.
pub const KEEPS: [&str; 4] = ["--appendonly", "yes", "--appendfsync", "always"];
/// How long a write waits for others to join it.
pub const SOON: Duration = Duration::from_millis(20);
/// After so long somebody else owns what a dead process has owned.
pub const LEASE: Duration = Duration::from_millis(600);
/// The name of the stream.
pub const NAME: &str = "numbers";

/// A Redis, and a store, that all processes of a test use.
pub struct World {
    pub server: RedisServer,
    pub store: Numbers,
}

impl World {
    pub async fn start_or_skip(test: &str) -> Option<Self> {
        let server = RedisServer::start_or_skip_with(test, &KEEPS).await?;
        Some(Self { server, store: FakeStore::new() })
    }

    /// A connection of a process's own.
    pub fn redis(&self) -> Redis {
        redis(&self.server.url_of_default_user())
    }

    pub fn settings(&self) -> WriteBehindBuilder<u64, u64, Numbers> {
        settings(&self.store, stream(&self.redis()))
    }

    /// Another process, as far as anybody can tell.
    pub fn process(&self) -> WriteBehind<u64, u64> {
        self.settings().store().expect("it is built")
    }

    /// One with a cache in the Redis, below which the others have theirs.
    pub fn cache(&self) -> LayeredCache<u64, u64> {
        let redis = self.redis();
        let settings = settings(&self.store, stream(&redis));
        settings.merge(Sum).tier(redis.namespace("n")).ttl(HOUR).build().expect("it is built")
    }
}

/// A handle that waits as long as a test machine may take.
pub fn redis(url: &str) -> Redis {
    redis_server::builder(url).deadline(Duration::from_secs(2)).build().expect("a URL")
}

pub fn stream(redis: &Redis) -> RedisStream<u64, u64> {
    RedisStream::new(redis, NAME).shards(4).lease(LEASE).deadline(Duration::from_secs(2))
}

pub fn settings(store: &Numbers, stream: RedisStream<u64, u64>) -> WriteBehindBuilder<u64, u64, Numbers> {
    let builder = write_behind(store.clone()).exactly_once().journal(stream);
    builder.flush_every(SOON).pauses(Duration::from_millis(10), Duration::from_millis(100))
}
