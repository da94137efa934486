//! Programs that this one starts, and how all of them end with it, however that ends. They are the blog's: the same
//! files, compiled once more.

#[allow(dead_code, reason = "the blog speaks with its processes, and these are only kept")]
#[path = "../../../blog/src/fleet/child.rs"]
mod child;
#[path = "../../../blog/src/fleet/keep.rs"]
mod keep;
#[path = "../../../blog/src/fleet/path.rs"]
mod path;
#[path = "../../../blog/src/fleet/port.rs"]
mod port;
#[path = "../../../blog/src/fleet/redis.rs"]
mod redis;
#[path = "../../../blog/src/fleet/scratch.rs"]
mod scratch;

pub(crate) use keep::{KeepArgs, keep};
pub(crate) use redis::{RedisChoice, RedisServer, RedisUrl};
pub(crate) use scratch::Scratch;

/// Where it is, for a process of ours. There may be a password in it.
pub(crate) fn url(server: &RedisServer) -> &str {
    server.url()
}
