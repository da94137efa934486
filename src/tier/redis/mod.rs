//! The shared tier: copies in a Redis or Valkey server that all processes of a service see.
//!
//! ```
//! # async fn demo() -> larder::Result<()> {
//! use larder::{Memory, Redis, load_fn};
//! use std::{io, time::Duration};
//!
//! async fn find_title(id: u64) -> Result<Option<String>, io::Error> {
//!     Ok((id == 1).then(|| "Hello".to_owned())) // a query
//! }
//!
//! let redis = Redis::new("redis://127.0.0.1")?; // one for the whole service; connects when it is needed
//! let titles = larder::read_through(load_fn(find_title))
//!     .name("titles")
//!     .tier(Memory::with_capacity(10_000))
//!     .tier(redis.namespace("title"))
//!     .ttl(Duration::from_secs(3600))
//!     .build()?;
//! assert_eq!(titles.get(&1).await?.as_deref(), Some("Hello"));
//! # Ok(())
//! # }
//! # tokio::runtime::Runtime::new().unwrap().block_on(demo()).unwrap();
//! ```
//!
//! A hit is one `GET`. A miss takes a lease before the store is asked and fills with it, so that of all processes one
//! loads, and a write that comes between destroys the lease: three round trips. A server that does not answer within
//! the [`deadline`](RedisBuilder::deadline) is a miss; it is not asked any more then, and looked after
//! in the background until it is back.
//!
//! Needs Redis 6.2 or newer, or Valkey; never a replica: what keeps old answers out is in the primary.
//! A server for a cache wants `maxmemory` with `allkeys-lru` or `volatile-lru`; losing a copy or a lease is safe, and
//! a hold that is lost is noticed. Its
//! user needs `GET MGET SET DEL SCAN TIME PING INFO EVAL EVALSHA` (and `HELLO`, `CLIENT SETINFO`) on the namespace's keys; what
//! [`Coherence`](crate::Coherence) needs besides is in the guide.

mod assured;
mod audience;
mod breaker;
mod bus;
mod cluster;
mod config;
mod copies;
mod envelope;
mod fault;
mod keys;
mod lanes;
#[doc(hidden)]
pub mod layout;
mod moment;
mod namespace;
mod nodes;
mod packing;
#[cfg(feature = "testing")]
mod raw;
mod recent;
mod route;
mod scripts;
mod server_clock;
mod slots;
mod stream;
#[cfg(feature = "redis-rustls")]
mod tls;

use std::fmt;
use std::sync::Arc;

use crate::error::Result;
use nodes::Nodes;

#[cfg(feature = "testing")]
#[doc(hidden)]
pub use bus::Flaw;
pub use config::{Credentials, RedisBuilder};
pub use namespace::Namespace;
#[cfg(feature = "testing")]
#[doc(hidden)]
pub use scripts::{stream_scripts_with_time_as_argument, with_time_as_argument};
pub use stream::Durability;
pub(crate) use stream::{Place, StreamServer, Write as StreamWrite};

/// What statistics call the tier.
const NAME: &str = "redis";

/// A Redis or Valkey server: its connections, and what is known of its health. Shared by all caches of a service; clones
/// are the same.
#[derive(Clone)]
pub struct Redis(Arc<Nodes>);

impl Redis {
    /// A server by its URL, `redis://[user:password@]host[:port][/database]`. Nothing is connected before the first
    /// command: a server that is not there does not stop a service from starting.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Settings`](crate::ErrorKind::Settings): that is no such URL.
    pub fn new(url: impl Into<String>) -> Result<Self> {
        Self::builder(url).build()
    }

    /// The same, with settings.
    pub fn builder(url: impl Into<String>) -> RedisBuilder {
        RedisBuilder::new(url.into())
    }

    /// The keys `name:…` of the server, as a tier for one cache.
    ///
    /// The name is 1 to 64 of the characters `a-z A-Z 0-9 _ - .`; with any other the cache does not build. Caches in
    /// other processes that keep the same things use the same name; two caches that keep different things must not.
    #[must_use]
    pub fn namespace<V>(&self, name: &str) -> Namespace<V> {
        Namespace::new(self.clone(), name)
    }

    /// Asks the server, or every primary of a cluster, for a sign of life.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Tier`](crate::ErrorKind::Tier), with the reason as its source.
    pub async fn ping(&self) -> Result<()> {
        for server in self.0.all().await? {
            self.0.call_to(server).await?.ask::<String>(&redis::cmd("PING")).await?;
        }
        Ok(())
    }

    /// Leaves out what keeps copies of several processes in step, so that tests can show what it is for.
    #[cfg(feature = "testing")]
    #[doc(hidden)]
    pub fn leave_out(&self, flaw: Flaw) {
        self.0.bus().leave_out(flaw);
    }

    fn over(nodes: Nodes) -> Self {
        Self(Arc::new(nodes))
    }
}

impl fmt::Debug for Redis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Neither the address nor anything else of the URL.
        f.debug_struct("Redis").finish_non_exhaustive()
    }
}
