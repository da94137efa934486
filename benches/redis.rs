//! What does the tier cost above the server's own time? Hits of 64 tasks and batches, against redis-rs alone.
//!
//! The server is a process of its own on the same machine; with two cores, client and server have one each. Without
//! redis-server in the path there is nothing to measure.

mod support;

#[path = "../tests/support/mod.rs"]
mod servers;

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use larder::tier::redis::RedisBuilder;
use larder::{LayeredCache, load_fn};
use redis::AsyncCommands;
use serde::{Deserialize, Serialize};
use servers::redis_server::RedisServer;
use support::Case;
use tokio::runtime::Runtime;

const KEYS: u64 = 1_000;
const TASKS: u64 = 64;
const BATCH: u64 = 100;

#[derive(Clone, Serialize, Deserialize)]
struct Post {
    id: u64,
    title: String,
    author: String,
    tags: Vec<String>,
    body: String,
}

impl Post {
    fn new(id: u64) -> Self {
        Self {
            id,
            title: format!("The title of post {id}"),
            author: "somebody".to_owned(),
            tags: ["caches", "databases", "rust"].map(str::to_owned).to_vec(),
            body: "What a post says. ".repeat(16),
        }
    }
}

type Cache = LayeredCache<u64, Post>;

/// The bare client: one connection, one GET, one decoding.
#[derive(Clone)]
struct Bare(redis::aio::MultiplexedConnection);

impl Bare {
    async fn connect(url: String) -> Self {
        let client = redis::Client::open(url).expect("a URL");
        let mut connection = client.get_multiplexed_async_connection().await.expect("it is there");
        for id in 0..KEYS {
            let json = serde_json::to_vec(&Post::new(id)).expect("it can be written");
            let _: () = connection.set(format!("bare:{id}"), json).await.expect("set");
        }
        Self(connection)
    }

    async fn get(&self, id: u64) -> Post {
        let bytes: Vec<u8> = self.0.clone().get(format!("bare:{id}")).await.expect("it answers");
        serde_json::from_slice(&bytes).expect("it was written here")
    }

    async fn get_many(&self, ids: &[u64]) -> Vec<Post> {
        let keys: Vec<String> = ids.iter().map(|id| format!("bare:{id}")).collect();
        let all: Vec<Vec<u8>> = self.0.clone().mget(keys).await.expect("it answers");
        all.iter().map(|bytes| serde_json::from_slice(bytes).expect("it was written here")).collect()
    }
}

async fn cache(redis: RedisBuilder, lanes: usize) -> Cache {
    let redis = redis.lanes(lanes).deadline(Duration::from_secs(5)).build().expect("a URL");
    let load = |id: u64| async move { Ok::<_, std::io::Error>(Some(Post::new(id))) };
    let cache: Cache = larder::read_through(load_fn(load))
        .tier(redis.namespace("post"))
        .ttl(Duration::from_secs(3600))
        .build()
        .expect("complete");
    let keys: Vec<u64> = (0..KEYS).collect();
    cache.get_many(&keys).await.into_iter().for_each(|post| _ = post.expect("loaded"));
    cache
}

/// `times` reads by 64 tasks.
fn by_tasks<F, A>(runtime: &Runtime, times: u64, read: impl Fn(u64) -> F + Clone + Send + 'static)
where
    F: Future<Output = A> + Send,
{
    runtime.block_on(async {
        let tasks = (0..TASKS).map(|task| {
            let read = read.clone();
            tokio::spawn(async move {
                for n in 0..times.div_ceil(TASKS) {
                    let id = (task * 31 + n * 7) % KEYS;
                    std::hint::black_box(read(id).await);
                }
            })
        });
        for task in join_all(tasks).await {
            task.expect("no panic");
        }
    });
}

fn main() {
    let runtime = Arc::new(
        tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime starts"),
    );
    let Some(server) = runtime.block_on(RedisServer::start_or_skip("benches/redis.rs")) else { return };
    let bare = runtime.block_on(Bare::connect(server.url_of_default_user()));
    let caches: Vec<Cache> = [1, 2, 4].map(|lanes| runtime.block_on(cache(server.builder(), lanes))).to_vec();

    let hits = |name, cache: &Cache| {
        let (runtime, cache) = (Arc::clone(&runtime), cache.clone());
        Case::new(name, 0, move |times| {
            let cache = cache.clone();
            by_tasks(&runtime, times, move |id| {
                let cache = cache.clone();
                async move { cache.get(&id).await.expect("a hit").expect("a post") }
            });
        })
    };
    let bare_hits = {
        let (runtime, bare) = (Arc::clone(&runtime), bare.clone());
        Case::new("redis-rs GET and decode", 0, move |times| {
            let bare = bare.clone();
            by_tasks(&runtime, times, move |id| {
                let bare = bare.clone();
                async move { bare.get(id).await }
            });
        })
    };
    let cases = [
        bare_hits,
        hits("hit, 1 lane", &caches[0]),
        hits("hit, 2 lanes", &caches[1]),
        hits("hit, 4 lanes", &caches[2]),
    ];
    support::print_table("64 tasks, a hit each (goal: at most 1.11)", &cases);

    let ids: Arc<Vec<u64>> = Arc::new((0..BATCH).collect());
    let batch = |name, base, together: bool, cache: &Cache| {
        let (runtime, cache, ids) = (Arc::clone(&runtime), cache.clone(), Arc::clone(&ids));
        Case::new(name, base, move |times| {
            runtime.block_on(async {
                for _ in 0..times {
                    if together {
                        std::hint::black_box(cache.get_many(&ids).await);
                    } else {
                        std::hint::black_box(join_all(ids.iter().map(|id| cache.get(id))).await);
                    }
                }
            });
        })
    };
    let bare_batch = {
        let (runtime, bare, ids) = (Arc::clone(&runtime), bare, Arc::clone(&ids));
        Case::new("redis-rs MGET and decode", 1, move |times| {
            runtime.block_on(async {
                for _ in 0..times {
                    std::hint::black_box(bare.get_many(&ids).await);
                }
            });
        })
    };
    let cases = [
        batch("100 gets at once", 0, false, &caches[2]),
        bare_batch,
        batch("get_many(100) (goal: at most 0.75)", 0, true, &caches[2]),
        batch("get_many(100) (goal: at most 1.30)", 1, true, &caches[2]),
    ];
    support::print_table("100 hits", &cases);
}
