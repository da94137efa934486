//! How a server is reached: address, credentials, deadlines.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use redis::{Client, IntoConnectionInfo};

use super::Redis;
use super::lanes::Lanes;
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
}

/// What the connections are made and used by.
#[derive(Clone)]
pub(super) struct Settings {
    pub(super) lanes: usize,
    pub(super) deadline: Duration,
    pub(super) connect_deadline: Duration,
    pub(super) credentials: Option<AskCredentials>,
    pub(super) trust_restarts: bool,
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
            },
        }
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
    /// [`ErrorKind::Settings`]: the URL is none, or asks for what was not compiled in; a deadline or the number of
    /// lanes is zero. The URL is not repeated, as it may hold a password.
    pub fn build(self) -> Result<Redis> {
        let Self { url, settings } = self;
        if settings.lanes == 0 {
            return Err(wrong("`lanes` is zero: nothing could ever be asked for"));
        }
        if settings.deadline.is_zero() || settings.connect_deadline.is_zero() {
            return Err(wrong("a deadline is zero: nothing could ever finish"));
        }
        let info = url.as_str().into_connection_info().map_err(|_| match url.split_once("://") {
            Some(("rediss" | "valkeys", _)) => wrong(NO_TLS),
            _ => wrong("the URL of the Redis server is not understood: give one like `redis://host:6379/0`"),
        })?;
        let tcp = info.tcp_settings().clone().set_nodelay(true);
        let info = info.set_tcp_settings(tcp);
        Client::open(info.clone()).map_err(|_| wrong(NO_TLS))?;
        Ok(Redis::over(Lanes::new(info, settings)))
    }
}

impl fmt::Debug for RedisBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { url: _, settings } = self;
        f.debug_struct("RedisBuilder")
            .field("lanes", &settings.lanes)
            .field("deadline", &settings.deadline)
            .finish_non_exhaustive()
    }
}

const NO_TLS: &str =
    "the URL asks for a connection that this build cannot make, TLS for example: use `redis://`";

fn wrong(detail: &'static str) -> Error {
    Error::new(ErrorKind::Settings, detail)
}
