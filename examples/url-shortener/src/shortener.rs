//! The service: links behind a cache, clicks behind journals.
//!
//! | | goes |
//! |---|---|
//! | a link is made | to the database, then into every tier: whoever follows it next finds it in memory |
//! | a link is followed | memory, else Redis, else the database; an id that nobody has is remembered as such |
//! | a click | into two journals, then to whoever clicked; later, with others, to the database |

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result, bail};
use larder::sqlx::SqliteStore;
use larder::{LayeredCache, Memory, Redis};
use serde::{Deserialize, Serialize};
use sqlx::SqlitePool;

use crate::clicks::{Click, ClickId, Clicks, Written};
use crate::counter::Counter;
use crate::journals::Journals;
use crate::link::{self, Link};
use crate::link_id::LinkId;
use crate::long_url::LongUrl;
use crate::schema;

/// Links do not change; copies go to make room for others.
const A_DAY: Duration = Duration::from_secs(24 * 3600);

/// How long it is remembered that an id is nobody's, and how long memory may go without asking Redis.
const ABSENT: Duration = Duration::from_secs(30);

/// How long what waits may take to come to the database at the end.
pub(crate) const CLOSING: Duration = Duration::from_secs(60);

/// How many ids of links are reserved at once.
const BLOCK: u64 = 100;

pub(crate) struct Shortener {
    links: LayeredCache<LinkId, Link>,
    clicks: Clicks,
    ids: Counter,
    pool: SqlitePool,
}

/// Who knew where a link leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum AnsweredBy {
    Memory,
    Redis,
    Database,
}

/// What became of a visitor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Followed {
    /// `None`: there is no such link.
    pub(crate) to: Option<Redirect>,
    pub(crate) by: AnsweredBy,
    /// How long it took to know that; the rest of the answer was the click's way into the journals.
    pub(crate) found_in: Duration,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Redirect {
    pub(crate) link: Link,
    pub(crate) click: ClickId,
}

impl Shortener {
    /// The service that lives in `folder`, with room for `memory` links in the memory of this process.
    pub(crate) async fn open(folder: &Path, memory: u64, redis: Option<&Redis>) -> Result<Self> {
        let pool = schema::open(folder).await?;
        let store: SqliteStore<LinkId, Link> = SqliteStore::new(pool.clone(), link::table().sqlite()?);
        let links = larder::write_through(store)
            .name("links")
            .tier(Memory::with_capacity(memory))
            .ttl(A_DAY)
            .absent_ttl(ABSENT);
        let links = match redis {
            Some(redis) => {
                links.tier(redis.namespace(&schema::namespace(&pool).await?)).local_ttl(ABSENT).build()?
            }
            None => links.build()?,
        };
        let clicks = Clicks::open(&pool, &Journals::in_folder(folder)).await?;
        let ids = Counter::new("links", BLOCK, pool.clone());
        Ok(Self { links, clicks, ids, pool })
    }

    pub(crate) async fn create(&self, url: &LongUrl) -> Result<LinkId> {
        let id = LinkId(self.ids.next().await?);
        let created_at = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default().as_secs();
        let _ = self.links.put(&id, Link { url: Arc::clone(&url.0), created_at }).await?;
        Ok(id)
    }

    /// Every click that this answers is kept and counted; one that cannot be is not answered.
    pub(crate) async fn follow(&self, id: LinkId, referer: Option<&str>) -> Result<Followed> {
        let asked = Instant::now();
        let served = self.links.get_entry(&id).await?.context("a cache of links without a store")?;
        let (by, found_in) = (AnsweredBy::tier(served.tier()), asked.elapsed());
        let to = match served.into_value() {
            Some(link) => {
                let click = self.clicks.record(Click::on(id, referer)).await?;
                Some(Redirect { link, click })
            }
            None => None,
        };
        Ok(Followed { to, by, found_in })
    }

    /// A link and its clicks, if there is such a link.
    pub(crate) async fn stats(&self, id: LinkId) -> Result<Option<(Link, i64)>> {
        let Some(link) = self.links.get(&id).await? else { return Ok(None) };
        Ok(Some((link, self.clicks.count(id).await?)))
    }

    pub(crate) fn clicks(&self) -> &Clicks {
        &self.clicks
    }

    /// Brings all that waits to the database. An error when that does not come to an end in time: it is in the journals,
    /// and the next process goes on with it. Copies that a Redis which is away still has are no reason: no click is in them.
    pub(crate) async fn close(&self, deadline: Duration) -> Result<Written> {
        let left = self.links.close(deadline).await?;
        let unwritten = self.clicks.close(deadline).await? + left.pending;
        self.pool.close().await;
        if unwritten > 0 || left.writes > 0 {
            bail!(
                "{unwritten} writes wait in the journals for the next start, and {} were given up",
                left.writes
            );
        }
        Ok(self.clicks.batches())
    }
}

impl AnsweredBy {
    fn tier(name: Option<&str>) -> Self {
        match name {
            Some("redis") => Self::Redis,
            Some(_) => Self::Memory,
            None => Self::Database,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn by(shortener: &Shortener, id: LinkId) -> AnsweredBy {
        shortener.follow(id, None).await.unwrap().by
    }

    #[tokio::test]
    async fn a_new_link_is_in_memory_and_one_of_an_earlier_process_comes_from_the_database() {
        let folder = tempfile::tempdir().unwrap();
        let url: LongUrl = "https://example.com".parse().unwrap();
        let shortener = Shortener::open(folder.path(), 100, None).await.unwrap();
        let id = shortener.create(&url).await.unwrap();
        assert_eq!(by(&shortener, id).await, AnsweredBy::Memory);
        shortener.close(CLOSING).await.unwrap();
        drop(shortener);
        let shortener = Shortener::open(folder.path(), 100, None).await.unwrap();
        assert_eq!(by(&shortener, id).await, AnsweredBy::Database);
        assert_eq!(by(&shortener, id).await, AnsweredBy::Memory);
        let (link, clicks) = shortener.stats(id).await.unwrap().unwrap();
        assert_eq!((&link.url, clicks), (&url.0, 3));
    }

    #[tokio::test]
    async fn an_id_that_nobody_has_is_asked_for_once_and_is_no_click() {
        let folder = tempfile::tempdir().unwrap();
        let shortener = Shortener::open(folder.path(), 100, None).await.unwrap();
        let first = shortener.follow(LinkId(5), None).await.unwrap();
        assert_eq!((first.to, first.by), (None, AnsweredBy::Database));
        assert_eq!(by(&shortener, LinkId(5)).await, AnsweredBy::Memory);
        assert_eq!(shortener.clicks.waiting(), 0);
    }
}
