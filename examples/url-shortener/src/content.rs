//! Links to start with, so that there is something to follow.

use std::ops::Range;

use anyhow::Result;
use indicatif::ProgressBar;
use sqlx::{QueryBuilder, SqlitePool};

use crate::counter::Counter;
use crate::link_id::LinkId;

/// Rows to a statement.
const BATCH: usize = 500;

/// How many ids nobody has, of those that are asked for again and again.
const UNKNOWN: u64 = 50;

/// Links of which everything follows from the number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Content {
    ids: Range<u64>,
}

impl Content {
    /// Reserves numbers for `links`, and writes them.
    pub(crate) async fn fill(pool: &SqlitePool, links: u32, progress: &ProgressBar) -> Result<Self> {
        let ids = Counter::new("links", 1, pool.clone()).reserve(u64::from(links)).await?;
        let mut filling = pool.begin_with("BEGIN IMMEDIATE").await?;
        for batch in ids.clone().collect::<Vec<_>>().chunks(BATCH) {
            let mut insert = QueryBuilder::new("INSERT INTO urls (id, long_url, created_at) ");
            insert.push_values(batch, |mut row, &id| {
                row.push_bind(id as i64).push_bind(url(LinkId(id))).push_bind(0);
            });
            insert.build().execute(&mut *filling).await?;
            progress.inc(batch.len() as u64);
        }
        filling.commit().await?;
        Ok(Self { ids })
    }

    pub(crate) fn links(&self) -> usize {
        (self.ids.end - self.ids.start) as usize
    }

    /// The `place`th link.
    pub(crate) fn link(&self, place: usize) -> LinkId {
        LinkId(self.ids.start + place as u64)
    }
}

/// Where the link leads that was there from the beginning.
pub(crate) fn url(id: LinkId) -> String {
    format!("https://example.com/articles/{}?utm_source=shortener", id.0)
}

/// Where the `number`th link leads that is made under way.
pub(crate) fn new_url(number: usize) -> String {
    format!("https://example.com/new/{number}")
}

/// An id that nobody has. There are a few of them, which are asked for often.
pub(crate) fn unknown(draw: u64) -> LinkId {
    LinkId(draw % UNKNOWN)
}
