//! Clicks: each is a row, and each link has a count. Both are written behind, in batches, and neither is lost.
//!
//! A click is answered when two journals have it: the row is in one, the 1 that is added to the count in another. Each
//! brings what it has to the database exactly once, whatever dies when; but a process that is killed between the two has
//! left a click in one of them only. Nobody was told of such a click. So that it is either a click or none, the next start
//! brings both journals to the database and then [makes counts what rows say](Clicks::reconcile).

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, anyhow};
use larder::sqlx::{Cell, Cells, FromCell, Kind, Row, SqliteStore, Table, ToCell, WrongCell};
use larder::store::Sum;
use larder::{BoxError, Event, LayeredCache, Memory, Observer, Store, WriteBehind};
use serde::{Deserialize, Serialize};
use sqlx::SqlitePool;

use crate::counter::Counter;
use crate::journals::Journals;
use crate::link_id::LinkId;

/// How many rows one transaction takes at the most.
const BATCH: usize = 5_000;

/// How long a click waits for others to join it.
const TOGETHER: Duration = Duration::from_secs(1);

/// How many numbers of clicks are reserved at once.
const BLOCK: u64 = 20_000;

/// Links whose counts are in memory.
const COUNTS: u64 = 100_000;

/// Numbers a click. The journal may bring one twice: it is one row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) struct ClickId(pub(crate) u64);

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Click {
    pub(crate) link: LinkId,
    /// In milliseconds since 1970.
    at: u64,
    referer: Option<Arc<str>>,
}

impl Click {
    /// One of this moment.
    pub(crate) fn on(link: LinkId, referer: Option<&str>) -> Self {
        let at = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default().as_millis();
        Self { link, at: u64::try_from(at).unwrap_or(u64::MAX), referer: referer.map(Into::into) }
    }
}

impl ToCell for ClickId {
    fn to_cell(&self) -> Result<Cell, WrongCell> {
        self.0.to_cell()
    }
}

impl FromCell for ClickId {
    fn from_cell(cell: Cell) -> Result<Self, WrongCell> {
        u64::from_cell(cell).map(Self)
    }
}

impl Row<ClickId> for Click {
    fn to_cells(&self) -> Result<Vec<Cell>, BoxError> {
        Ok(vec![self.link.to_cell()?, self.at.to_cell()?, self.referer.to_cell()?])
    }

    fn from_cells(_id: &ClickId, mut cells: Cells) -> Result<Self, BoxError> {
        Ok(Self { link: cells.take()?, at: cells.take()?, referer: cells.take()? })
    }
}

pub(crate) struct Clicks {
    rows: WriteBehind<ClickId, Click>,
    counts: LayeredCache<LinkId, i64>,
    ids: Counter,
    pool: SqlitePool,
    batches: Batches,
}

impl Clicks {
    pub(crate) async fn open(pool: &SqlitePool, journals: &Journals) -> Result<Self> {
        let batches = Batches::default();
        let rows: SqliteStore<ClickId, Click> = SqliteStore::new(pool.clone(), rows().sqlite()?);
        let counts: SqliteStore<LinkId, i64> = SqliteStore::new(pool.clone(), counts().sqlite()?);
        rows.migrate().await?;
        // Nobody reads single clicks: no copies of them, and no cache.
        let rows = larder::write_behind(rows)
            .exactly_once()
            .journal(journals.clicks())
            .batch(BATCH)
            .flush_every(TOGETHER)
            .observer(batches.clone())
            .store()?;
        let counts = larder::write_behind(counts)
            .merge(Sum)
            .journal(journals.counts())
            .batch(BATCH)
            .flush_every(TOGETHER)
            .name("counts")
            .tier(Memory::with_capacity(COUNTS))
            .ttl(Duration::from_secs(3600))
            .build()?;
        let ids = Counter::new("clicks", BLOCK, pool.clone());
        let clicks = Self { rows, counts, ids, pool: pool.clone(), batches };
        clicks.reconcile().await.context("cannot bring the clicks of the last process to the database")?;
        Ok(clicks)
    }

    /// From the moment that this answers, the click outlives the process.
    pub(crate) async fn record(&self, click: Click) -> Result<ClickId> {
        let id = ClickId(self.ids.next().await?);
        let row = async {
            self.rows.save(&id, &click).await.map_err(|error| anyhow!("the click is not kept: {error}"))
        };
        let count = async { self.add(click.link, 1).await.context("the click is not counted") };
        // At once: it takes as long as one of them.
        tokio::try_join!(row, count)?;
        Ok(id)
    }

    /// Those that were answered, whether the database has them or not.
    pub(crate) async fn count(&self, link: LinkId) -> larder::Result<i64> {
        Ok(self.counts.get(&link).await?.unwrap_or(0))
    }

    /// How rows have come to the database up to now.
    pub(crate) fn batches(&self) -> Written {
        self.batches.written()
    }

    /// How many clicks wait.
    pub(crate) fn waiting(&self) -> usize {
        self.rows.backlog().writes
    }

    /// Brings all that waits to the database, and says how much it could not.
    pub(crate) async fn close(&self, deadline: Duration) -> larder::Result<usize> {
        let (rows, counts) = tokio::join!(self.rows.close(deadline), self.counts.close(deadline));
        Ok(rows?.writes.len() + counts?.pending)
    }

    /// An increment and not an `update`: clicks on one link, and the most popular has very many, do not wait for each
    /// other.
    async fn add(&self, link: LinkId, clicks: i64) -> larder::Result<()> {
        let _ = self.counts.increment(&link, clicks).await?;
        Ok(())
    }

    /// Makes counts what rows say. There is a difference only after a process was killed. It reads the index of all clicks
    /// once: a service with billions of them would keep a mark up to which they are known to agree.
    async fn reconcile(&self) -> Result<()> {
        const DIFFERENCES: &str = "
            SELECT coalesce(rows.link, counts.id), coalesce(rows.clicks, 0) - coalesce(counts.clicks, 0) AS missing
            FROM (SELECT link, count(*) AS clicks FROM clicks GROUP BY link) AS rows
            FULL JOIN click_counts AS counts ON counts.id = rows.link
            WHERE missing <> 0";
        self.rows.flush().await?;
        self.counts.flush().await?;
        let differences: Vec<(i64, i64)> = sqlx::query_as(DIFFERENCES).fetch_all(&self.pool).await?;
        for (link, missing) in differences {
            self.add(LinkId(u64::try_from(link)?), missing).await?;
        }
        self.counts.flush().await?;
        Ok(())
    }
}

fn rows() -> Table {
    Table::new("clicks")
        .key("id", Kind::Int)
        .column("link", Kind::Int)
        .column("clicked_at", Kind::Int)
        .column("referer", Kind::Text)
}

fn counts() -> Table {
    Table::new("click_counts").key("id", Kind::Int).column("clicks", Kind::Int)
}

/// How rows came to the database.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Written {
    pub(crate) rows: u64,
    pub(crate) batches: u64,
    pub(crate) largest: u64,
}

/// Listens to write-behind and counts. Clones count together.
#[derive(Clone, Debug, Default)]
struct Batches(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    rows: AtomicU64,
    batches: AtomicU64,
    largest: AtomicU64,
}

impl Batches {
    fn written(&self) -> Written {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let Counts { rows, batches, largest } = &*self.0;
        Written { rows: count(rows), batches: count(batches), largest: count(largest) }
    }
}

impl Observer for Batches {
    fn on(&self, _cache: &str, event: &Event<'_>) {
        match event {
            Event::Flushed { writes, .. } => {
                let writes = *writes as u64;
                self.0.rows.fetch_add(writes, Ordering::Relaxed);
                self.0.batches.fetch_add(1, Ordering::Relaxed);
                self.0.largest.fetch_max(writes, Ordering::Relaxed);
            }
            Event::FlushFailed { error, .. } => {
                eprintln!("clicks wait: the database does not take them: {error}")
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::schema;

    const LINK: LinkId = LinkId(7);

    async fn open(folder: &Path) -> Clicks {
        Clicks::open(&schema::open(folder).await.unwrap(), &Journals::in_folder(folder)).await.unwrap()
    }

    async fn in_database(clicks: &Clicks, query: &'static str) -> i64 {
        sqlx::query_scalar(query).fetch_one(&clicks.pool).await.unwrap()
    }

    #[tokio::test]
    async fn a_click_is_a_row_and_counts_one_before_and_after_it_is_stored() {
        let folder = tempfile::tempdir().unwrap();
        let clicks = open(folder.path()).await;
        for count in 1..=3 {
            clicks.record(Click::on(LINK, Some("https://elsewhere"))).await.unwrap();
            assert_eq!(clicks.count(LINK).await.unwrap(), count);
        }
        assert_eq!(clicks.close(Duration::from_secs(60)).await.unwrap(), 0);
        assert_eq!(in_database(&clicks, "SELECT count(*) FROM clicks WHERE link = 7").await, 3);
        assert_eq!(in_database(&clicks, "SELECT clicks FROM click_counts WHERE id = 7").await, 3);
        assert_eq!(clicks.batches(), Written { rows: 3, batches: 1, largest: 3 });
    }

    #[tokio::test]
    async fn what_only_one_journal_had_is_put_right_by_the_next_start() {
        let folder = tempfile::tempdir().unwrap();
        let clicks = open(folder.path()).await;
        // A process was killed between the two: a row that is not counted, counts without their rows.
        clicks.rows.save(&ClickId(1_000_000), &Click::on(LINK, None)).await.unwrap();
        clicks.add(LinkId(8), 2).await.unwrap();
        clicks.record(Click::on(LinkId(9), None)).await.unwrap();
        clicks.close(Duration::from_secs(60)).await.unwrap();
        drop(clicks);
        let clicks = open(folder.path()).await;
        for (link, count) in [(LINK, 1), (LinkId(8), 0), (LinkId(9), 1)] {
            assert_eq!(clicks.count(link).await.unwrap(), count);
        }
        assert_eq!(in_database(&clicks, "SELECT sum(clicks) FROM click_counts").await, 2);
    }
}
