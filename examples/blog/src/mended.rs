//! V1: the same blog after its queries were mended, with nothing added beside the database.
//!
//! - An index on `comments.post_id`: the comments of a post are looked up instead of searched for.
//! - Two joins in place of 2 + 1 + N queries: post with its author, comments with theirs. Not one, because a
//!   join of posts and comments would repeat the post's kilobytes of text in every row.
//! - Write-ahead log: readers and the writer no longer wait for one another; `synchronous = NORMAL`, which
//!   under WAL cannot corrupt the file but may lose the last commits when the power fails.
//! - One connection that writes (SQLite has one writer at a time anyway: better to queue here than to poll a
//!   locked file) and a few that read. Room in memory for the whole file of the default blog.
//! - No ping before a connection is used: there is no network that could have dropped it.
//!
//! Statements are prepared once per connection; the library did that for V0 as well.

use std::path::Path;
use std::sync::Arc;

use anyhow::Result;
use async_trait::async_trait;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{SqliteConnection, SqlitePool};

use crate::blog::{AuthorId, Blog, CommentId, PostId, Stored};
use crate::meter::Meter;
use crate::naive::PATIENT;
use crate::page::{Page, Remark};
use crate::tally::Tally;
use crate::{cores, render, warm};

pub(crate) struct Mended {
    pub(crate) readers: SqlitePool,
    pub(crate) writer: SqlitePool,
    meter: Arc<Meter>,
}

impl Mended {
    pub(crate) async fn open(path: &Path, meter: Arc<Meter>) -> Result<Self> {
        let options = SqliteConnectOptions::new()
            .filename(path)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Normal)
            .pragma("cache_size", "-65536");
        let writer = pool(1).connect_with(options.clone()).await?;
        sqlx::raw_sql("CREATE INDEX IF NOT EXISTS comments_by_post ON comments (post_id); ANALYZE;")
            .execute(&writer)
            .await?;
        let readers = pool(readers()).connect_with(options.read_only(true)).await?;
        warm::read_everything(&writer).await?;
        warm::read_everything(&readers).await?;
        Ok(Self { readers, writer, meter })
    }

    /// What a page shows, in two queries. V2 asks here when its cache has no answer.
    pub(crate) async fn data(&self, id: PostId) -> sqlx::Result<Option<Page>> {
        let mut connection = self.readers.acquire().await?;
        let Some(mut page) = self.post(id, &mut connection).await? else {
            return Ok(None);
        };
        page.remarks = self.remarks(id, &mut connection).await?;
        Ok(Some(page))
    }

    async fn post(&self, id: PostId, connection: &mut SqliteConnection) -> sqlx::Result<Option<Page>> {
        const POST: &str = "
            SELECT posts.title, posts.body, posts.published_at, authors.name, authors.bio
            FROM posts JOIN authors ON authors.id = posts.author_id
            WHERE posts.id = ?";
        let query = sqlx::query_as(POST).bind(id.0);
        let row: Option<(String, String, String, String, String)> =
            self.meter.time(query.fetch_optional(connection)).await?;
        Ok(row.map(|(title, body, published_at, author, bio)| Page {
            title,
            body,
            published_at,
            author,
            bio,
            remarks: Vec::new(),
        }))
    }

    async fn remarks(&self, post: PostId, connection: &mut SqliteConnection) -> sqlx::Result<Vec<Remark>> {
        const COMMENTS: &str = "
            SELECT comments.id, authors.name, comments.body, comments.written_at
            FROM comments JOIN authors ON authors.id = comments.author_id
            WHERE comments.post_id = ?
            ORDER BY comments.id";
        let query = sqlx::query_as(COMMENTS).bind(post.0);
        let rows: Vec<(i64, String, String, String)> = self.meter.time(query.fetch_all(connection)).await?;
        let remark = |(id, author, text, written_at)| Remark { id: CommentId(id), author, text, written_at };
        Ok(rows.into_iter().map(remark).collect())
    }

    pub(crate) async fn insert(&self, post: PostId, author: AuthorId, text: &str) -> sqlx::Result<CommentId> {
        let query = sqlx::query("INSERT INTO comments (post_id, author_id, body) VALUES (?, ?, ?)")
            .bind(post.0)
            .bind(author.0)
            .bind(text);
        let mut connection = self.writer.acquire().await?;
        let inserted = self.meter.time(query.execute(&mut *connection)).await?;
        Ok(CommentId(inserted.last_insert_rowid()))
    }
}

/// With its pages in memory SQLite waits for nothing, so more readers than cores would only take turns.
fn readers() -> u32 {
    u32::try_from(cores()).unwrap_or(u32::MAX).max(2)
}

fn pool(connections: u32) -> SqlitePoolOptions {
    SqlitePoolOptions::new().max_connections(connections).acquire_timeout(PATIENT).test_before_acquire(false)
}

#[async_trait]
impl Blog for Mended {
    async fn page(&self, post: PostId) -> Result<Option<String>> {
        Ok(self.data(post).await?.as_ref().map(render::html))
    }

    async fn comment(&self, post: PostId, author: AuthorId, text: &str) -> Result<Stored> {
        Ok(self.insert(post, author, text).await?.into())
    }

    async fn tally(&self) -> Result<Tally> {
        Ok(Tally { usage: self.meter.usage(), reads: None })
    }

    async fn close(&self) -> Result<()> {
        self.readers.close().await;
        self.writer.close().await;
        Ok(())
    }
}
