//! The Redis that processes share: the user's, or a private one for the run.

use std::error::Error;
use std::fmt::{self, Display, Formatter};
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use larder::Redis;
use tokio::time::sleep;

use super::child::Child;
use super::scratch::Scratch;
use super::{path, port};

const PROGRAM: &str = "redis-server";

/// How long a private server may take to start.
const STARTING: Duration = Duration::from_secs(20);

/// Which Redis processes share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum RedisChoice {
    /// One of their own, started for the run.
    Private,
    At(RedisUrl),
}

/// Where a Redis is. It may hold a password, so it is never shown.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct RedisUrl(pub(crate) String);

impl fmt::Debug for RedisUrl {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("RedisUrl(…)")
    }
}

/// Why there is no Redis to share. No text of it holds the URL: there may be a password in it.
#[derive(Debug)]
pub(crate) enum NoRedis {
    /// No URL was given, and there is nothing to start.
    NotInstalled,
    /// The URL is none.
    BadUrl(larder::Error),
    /// The server is not there, or does not let us in.
    NotServing(larder::Error),
    /// The private server could not be started.
    NotStarted(anyhow::Error),
}

impl Display for NoRedis {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotInstalled => {
                "there is no redis-server to start: install it (Debian, Ubuntu: apt-get install redis-server), \
                 or give the URL of a server, --redis redis://127.0.0.1:6379"
            }
            Self::BadUrl(_) => "what was given with --redis is of no use",
            Self::NotServing(_) => "the Redis server whose URL was given with --redis does not serve",
            Self::NotStarted(_) => "the private redis-server does not start",
        })
    }
}

impl Error for NoRedis {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::NotInstalled => None,
            Self::BadUrl(error) | Self::NotServing(error) => Some(error),
            Self::NotStarted(error) => Some(&**error),
        }
    }
}

/// A server that has answered.
pub(crate) struct RedisServer {
    url: String,
    _process: Option<Child>,
}

impl RedisServer {
    pub(crate) async fn choose(choice: &RedisChoice, scratch: &Scratch) -> Result<Self, NoRedis> {
        match choice {
            RedisChoice::At(url) => Self::at(url.0.clone()).await,
            RedisChoice::Private => {
                let program = path::find(PROGRAM).ok_or(NoRedis::NotInstalled)?;
                Self::start(&program, scratch).await.map_err(NoRedis::NotStarted)
            }
        }
    }

    /// The URL, for a process that is to use it too.
    pub(super) fn url(&self) -> &str {
        &self.url
    }

    async fn at(url: String) -> Result<Self, NoRedis> {
        let redis = Redis::new(url.as_str()).map_err(NoRedis::BadUrl)?;
        redis.ping().await.map_err(NoRedis::NotServing)?;
        Ok(Self { url, _process: None })
    }

    async fn start(program: &Path, scratch: &Scratch) -> Result<Self> {
        for _ in 0..port::TRIES {
            if let Some(server) = Self::try_start(program, scratch).await? {
                return Ok(server);
            }
        }
        Err(anyhow!("somebody else was quicker on every port that was tried"))
    }

    /// `None`: somebody else has taken the port.
    async fn try_start(program: &Path, scratch: &Scratch) -> Result<Option<Self>> {
        let folder = scratch.folder("redis")?;
        let address = port::free()?;
        // No secret of worth: it tells this server from any other that may be on the port.
        let password = format!("{:032x}", fastrand::u128(..));
        let settings = format!(
            "bind 127.0.0.1\nport {}\nrequirepass {password}\nsave \"\"\nappendonly no\nloglevel warning\n\
             maxmemory 512mb\nmaxmemory-policy allkeys-lru\n",
            address.port()
        );
        // In a file, since a command line can be seen by all; the folder is open to us only.
        fs::write(folder.join("redis.conf"), settings).context("cannot write the settings of Redis")?;
        let mut process = Child::keep(program, &["redis.conf"], &folder)?;
        let url = format!("redis://:{password}@{address}");
        let redis = Redis::new(url.as_str())?;
        let since = Instant::now();
        loop {
            let answer = redis.ping().await;
            if let Some(trouble) = process.trouble() {
                return if taken(&trouble) { Ok(None) } else { Err(trouble) };
            }
            match answer {
                Ok(()) => return Ok(Some(Self { url, _process: Some(process) })),
                Err(error) if since.elapsed() > STARTING => return Err(error.into()),
                Err(_) => sleep(Duration::from_millis(10)).await,
            }
        }
    }
}

fn taken(trouble: &anyhow::Error) -> bool {
    trouble.to_string().contains("Address already in use")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_never_shown() {
        let choice = RedisChoice::At(RedisUrl("redis://:secret@cache.internal".to_owned()));
        assert_eq!(format!("{choice:?}"), "At(RedisUrl(…))");
    }
}
