//! How a server is reached: address, credentials, deadlines.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use redis::{Client, ConnectionAddr, ConnectionInfo, IntoConnectionInfo, RedisConnectionInfo};

use super::Redis;
use super::nodes::Nodes;
use super::route::{self, Route};
use super::slots::Address;
#[cfg(feature = "redis-rustls")]
use super::tls::Tls;
use crate::error::{BoxError, Error, ErrorKind, Result};

/// How many connections carry the commands.
const LANES: usize = 4;
/// How long a command may take before the tier counts as failing.
const DEADLINE: Duration = Duration::from_millis(100);
/// How long making a connection may take.
const CONNECT_DEADLINE: Duration = Duration::from_secs(1);

/// A user and a password. Neither is ever shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    pub(super) username: Option<String>,
    pub(super) password: String,
}

impl Credentials {
    /// The password of the default user.
    #[must_use]
    pub fn password(password: impl Into<String>) -> Self {
        Self { username: None, password: password.into() }
    }

    /// A user of the server's ACL with its password.
    #[must_use]
    pub fn user(username: impl Into<String>, password: impl Into<String>) -> Self {
        Self { username: Some(username.into()), password: password.into() }
    }
}

impl Credentials {
    pub(super) fn put_into(&self, settings: RedisConnectionInfo) -> RedisConnectionInfo {
        let settings = settings.set_password(&self.password);
        match &self.username {
            Some(username) => settings.set_username(username),
            None => settings,
        }
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { username: _, password: _ } = self;
        f.write_str("Credentials(…)")
    }
}

/// Asked for credentials whenever a connection is made.
pub(super) type AskCredentials =
    Arc<dyn Fn() -> BoxFuture<'static, Result<Credentials, BoxError>> + Send + Sync>;

/// Settings of a [`Redis`]. Made by [`Redis::builder`].
#[must_use = "a builder does nothing until `build`"]
pub struct RedisBuilder {
    url: String,
    settings: Settings,
    kind: Kind,
    /// Whether it was said to be of two kinds.
    named_twice: bool,
    sentinel_credentials: Option<Credentials>,
    #[cfg(feature = "redis-rustls")]
    tls: Tls,
}

/// What the URL is the address of.
enum Kind {
    Server,
    /// A node of a cluster; these are others.
    Cluster(Vec<String>),
    /// A service by its name; these know its primary.
    Service(Vec<String>),
}

/// What the connections are made and used by.
#[derive(Clone)]
pub(super) struct Settings {
    pub(super) lanes: usize,
    pub(super) deadline: Duration,
    pub(super) connect_deadline: Duration,
    pub(super) credentials: Option<AskCredentials>,
    pub(super) trust_restarts: bool,
    pub(super) allow_plaintext: bool,
    /// Whether the servers are nodes of a cluster.
    pub(super) in_cluster: bool,
}

impl RedisBuilder {
    pub(super) fn new(url: String) -> Self {
        Self {
            url,
            settings: Settings {
                lanes: LANES,
                deadline: DEADLINE,
                connect_deadline: CONNECT_DEADLINE,
                credentials: None,
                trust_restarts: false,
                allow_plaintext: false,
                in_cluster: false,
            },
            kind: Kind::Server,
            named_twice: false,
            sentinel_credentials: None,
            #[cfg(feature = "redis-rustls")]
            tls: Tls::default(),
        }
    }

    /// The server is a node of a cluster; `others` are the addresses of more of its nodes, as `host:port`, to be asked
    /// while that one is away. All nodes are found from any of them, and spoken to with the scheme, the user and the
    /// password of the URL.
    ///
    /// ```
    /// # use larder::Redis;
    /// let redis = Redis::builder("redis://10.0.0.1:7000").cluster(["10.0.0.2:7000", "10.0.0.3:7000"]).build()?;
    /// # Ok::<(), larder::Error>(())
    /// ```
    pub fn cluster<'a>(mut self, others: impl IntoIterator<Item = &'a str>) -> Self {
        self.named_twice |= matches!(self.kind, Kind::Service(_));
        self.kind = Kind::Cluster(others.into_iter().map(str::to_owned).collect());
        self.settings.in_cluster = true;
        self
    }

    /// The host of the URL is the name of a service, and these sentinels, as `host:port`, know who its primary is. They
    /// are asked whenever a connection is made, and the answer of most of them counts. Scheme, user, password and
    /// database of the URL are those of the servers.
    ///
    /// ```
    /// # use larder::Redis;
    /// let redis = Redis::builder("redis://mymaster")
    ///     .sentinels(["10.0.0.1:26379", "10.0.0.2:26379", "10.0.0.3:26379"])
    ///     .build()?;
    /// # Ok::<(), larder::Error>(())
    /// ```
    pub fn sentinels<'a>(mut self, sentinels: impl IntoIterator<Item = &'a str>) -> Self {
        self.named_twice |= matches!(self.kind, Kind::Cluster(_));
        self.kind = Kind::Service(sentinels.into_iter().map(str::to_owned).collect());
        self.settings.in_cluster = false;
        self
    }

    /// User and password of the sentinels. Default: none.
    pub fn sentinel_credentials(mut self, credentials: Credentials) -> Self {
        self.sentinel_credentials = Some(credentials);
        self
    }

    /// Trusts the servers whose certificates these authorities, in PEM form, have signed, in the place of those that the
    /// machine trusts.
    #[cfg(feature = "redis-rustls")]
    pub fn root_certificates(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.tls.roots = Some(pem.into());
        self
    }

    /// Shows the servers a certificate of our own; it and its key in PEM form.
    #[cfg(feature = "redis-rustls")]
    pub fn client_certificate(mut self, certificate: impl Into<Vec<u8>>, key: impl Into<Vec<u8>>) -> Self {
        self.tls.client = Some((certificate.into(), key.into()));
        self
    }

    /// Sends user and password to another machine even though everybody on the way can read them, and all values too:
    /// for networks that nobody else is on. Without this such a server is refused. Use `rediss://` where you can.
    pub fn allow_plaintext(mut self) -> Self {
        self.settings.allow_plaintext = true;
        self
    }

    /// How many connections carry the commands; each carries those of many tasks at once. More of them help where
    /// values are big. Default: 4.
    pub fn lanes(mut self, lanes: usize) -> Self {
        self.settings.lanes = lanes;
        self
    }

    /// How long a command may take, the making of a connection included where there is none yet. After that a read
    /// goes on without this tier. Default: 100 milliseconds.
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.settings.deadline = deadline;
        self
    }

    /// How long making a connection may take; commands do not wait that long. Default: 1 second.
    pub fn connect_deadline(mut self, deadline: Duration) -> Self {
        self.settings.connect_deadline = deadline;
        self
    }

    /// Asks for user and password whenever a connection is made, in the place of those in the URL: for passwords that
    /// change while the service runs.
    ///
    /// ```
    /// # use larder::tier::redis::{Credentials, Redis};
    /// # async fn token_of_the_hour() -> Result<String, std::io::Error> { Ok(String::new()) }
    /// let redis = Redis::builder("redis://cache.internal")
    ///     .credentials(|| async { Ok(Credentials::user("posts", token_of_the_hour().await?)) })
    ///     .allow_plaintext() // or `rediss://`
    ///     .build()?;
    /// # Ok::<(), larder::Error>(())
    /// ```
    pub fn credentials<F, A>(mut self, ask: F) -> Self
    where
        F: Fn() -> A + Send + Sync + 'static,
        A: Future<Output = Result<Credentials, BoxError>> + Send + 'static,
    {
        self.settings.credentials = Some(Arc::new(move || Box::pin(ask())));
        self
    }

    /// Goes on serving what the server had before it was restarted or replaced. Without this, copies of an earlier
    /// incarnation are misses, since a server that comes back from a snapshot, or that takes over from a failed one,
    /// may have lost the last invalidations.
    ///
    /// The keys that each process invalidated in the last minute it then invalidates once more.
    ///
    /// Say it in all processes or in none. It also does without `INFO`, where that is forbidden: a restart then goes
    /// unnoticed, and nothing is invalidated again.
    pub fn trust_restarts(mut self) -> Self {
        self.settings.trust_restarts = true;
        self
    }

    /// Makes the handle. Nothing is connected before the first command.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Settings`]: the URL is none, or asks for what was not compiled in; an address is none; a password
    /// would go to another machine in plain text; a certificate cannot be read; a deadline or the number of lanes is
    /// zero. The URL is not repeated, as it may hold a password.
    pub fn build(self) -> Result<Redis> {
        if self.settings.lanes == 0 {
            return Err(wrong("`lanes` is zero: nothing could ever be asked for"));
        }
        if self.settings.deadline.is_zero() || self.settings.connect_deadline.is_zero() {
            return Err(wrong("a deadline is zero: nothing could ever finish"));
        }
        let info = self.read_url()?;
        if self.named_twice {
            return Err(wrong(
                "`cluster` and `sentinels` disagree: the URL is the address of the one or of the other",
            ));
        }
        if !matches!(self.kind, Kind::Server) && matches!(info.addr(), ConnectionAddr::Unix(_)) {
            return Err(wrong(
                "the URL is that of a socket file: nodes of a cluster, and services, have hosts",
            ));
        }
        match &self.kind {
            Kind::Server => {
                self.refuse_plaintext(&info)?;
                Ok(Redis::over(Nodes::one(Route::Straight(info), self.settings)))
            }
            Kind::Cluster(others) => {
                if info.redis_settings().db() != 0 {
                    return Err(wrong("a cluster has no databases: leave the one in the URL out"));
                }
                let mut seeds = vec![info.clone()];
                for other in others {
                    seeds.push(route::at(&info, &address(other)?));
                }
                seeds.iter().try_for_each(|seed| self.refuse_plaintext(seed))?;
                Ok(Redis::over(Nodes::cluster(seeds, self.settings)))
            }
            Kind::Service(addresses) => {
                let sentinels = self.sentinels_at(&info, addresses)?;
                let route = Route::Sentinels { servers: info, sentinels };
                Ok(Redis::over(Nodes::one(route, self.settings)))
            }
        }
    }

    fn read_url(&self) -> Result<ConnectionInfo> {
        let info =
            self.url.as_str().into_connection_info().map_err(|_| match self.url.split_once("://") {
                Some(("rediss" | "valkeys", _)) => wrong(NO_TLS),
                _ => wrong(
                    "the URL of the Redis server is not understood: give one like `redis://host:6379/0`",
                ),
            })?;
        if let ConnectionAddr::TcpTls { insecure: true, .. } = info.addr() {
            return Err(wrong(
                "the URL says `#insecure`: a server that anybody could be is not connected to",
            ));
        }
        let tcp = info.tcp_settings().clone().set_nodelay(true);
        let info = info.set_tcp_settings(tcp);
        #[cfg(feature = "redis-rustls")]
        let info = self.tls.equip(info)?;
        Client::open(info.clone()).map_err(|_| wrong(NO_TLS))?;
        Ok(info)
    }

    /// How the sentinels are spoken to: as the servers are, but with credentials of their own.
    fn sentinels_at(&self, servers: &ConnectionInfo, addresses: &[String]) -> Result<Vec<ConnectionInfo>> {
        if addresses.is_empty() {
            return Err(wrong("`sentinels` names none: nobody knows where the servers are"));
        }
        let settings = RedisConnectionInfo::default().set_protocol(servers.redis_settings().protocol());
        let settings = match &self.sentinel_credentials {
            Some(credentials) => credentials.put_into(settings),
            None => settings,
        };
        let sentinel = |text: &String| {
            let sentinel = route::at(servers, &address(text)?).set_redis_settings(settings.clone());
            self.refuse_plaintext(&sentinel)?;
            Ok(sentinel)
        };
        addresses.iter().map(sentinel).collect()
    }

    fn refuse_plaintext(&self, info: &ConnectionInfo) -> Result<()> {
        let is_secret = info.redis_settings().password().is_some() || self.settings.credentials.is_some();
        if is_secret && route::is_exposed(info) && !self.settings.allow_plaintext {
            return Err(wrong(PLAINTEXT));
        }
        Ok(())
    }
}

impl fmt::Debug for RedisBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { url: _, settings, .. } = self;
        f.debug_struct("RedisBuilder")
            .field("lanes", &settings.lanes)
            .field("deadline", &settings.deadline)
            .finish_non_exhaustive()
    }
}

fn address(text: &str) -> Result<Address> {
    Address::parse(text, "")
        .filter(|address| !address.host.is_empty() && address.port > 0)
        // A URL, perhaps with a password, is no address: it would be looked up as the name of a host.
        .filter(|address| !address.host.contains(|c: char| "/@[]?#".contains(c) || c.is_whitespace()))
        .filter(|address| !address.host.contains(':') || address.host.parse::<std::net::Ipv6Addr>().is_ok())
        .ok_or_else(|| wrong("an address is not understood: give each as `host:port`"))
}

const NO_TLS: &str =
    "the URL asks for a connection that this build cannot make: for TLS, build with `redis-rustls`";
const PLAINTEXT: &str =
    "a password would go to another machine in plain text: use `rediss://`, or say `allow_plaintext`";

fn wrong(detail: &'static str) -> Error {
    Error::new(ErrorKind::Settings, detail)
}
