//! V0: the blog as it is first written. It is correct, it has no index on `comments.post_id`, and it asks
//! for the author of every comment with a query of its own (N + 1). Everything else is the library's and
//! SQLite's default: ten connections, rollback journal, `synchronous = FULL`.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use async_trait::async_trait;
use sqlx::SqlitePool;
use sqlx::sqlite::{SqliteConnectOptions, SqlitePoolOptions};

use crate::blog::{AuthorId, Blog, CommentId, PostId, Stored};
use crate::meter::Meter;
use crate::page::{Page, Remark};
use crate::tally::Tally;
use crate::{render, warm};

const CONNECTIONS: u32 = 10;

/// Waiting for a connection is slow, not wrong: a reader in the queue counts as late, never as failed.
/// (By default the pool gives up after 30 s.)
pub(crate) const PATIENT: Duration = Duration::from_secs(3600);

pub(crate) struct Naive {
    pool: SqlitePool,
    meter: Arc<Meter>,
}

struct PostRow {
    author: AuthorId,
    title: String,
    body: String,
    published_at: String,
}

impl Naive {
    pub(crate) async fn open(path: &Path, meter: Arc<Meter>) -> Result<Self> {
        let pool = SqlitePoolOptions::new()
            .max_connections(CONNECTIONS)
            .acquire_timeout(PATIENT)
            .connect_with(SqliteConnectOptions::new().filename(path))
            .await?;
        warm::read_everything(&pool).await?;
        Ok(Self { pool, meter })
    }

    async fn data(&self, id: PostId) -> sqlx::Result<Option<Page>> {
        let Some(post) = self.post(id).await? else {
            return Ok(None);
        };
        let (author, bio) = self.author(post.author).await?;
        let PostRow { title, body, published_at, .. } = post;
        let remarks = self.remarks(id).await?;
        Ok(Some(Page { title, body, published_at, author, bio, remarks }))
    }

    async fn post(&self, id: PostId) -> sqlx::Result<Option<PostRow>> {
        let query =
            sqlx::query_as("SELECT author_id, title, body, published_at FROM posts WHERE id = ?").bind(id.0);
        let mut connection = self.pool.acquire().await?;
        let row: Option<(i64, String, String, String)> =
            self.meter.time(query.fetch_optional(&mut *connection)).await?;
        Ok(row.map(|(author, title, body, published_at)| PostRow {
            author: AuthorId(author),
            title,
            body,
            published_at,
        }))
    }

    async fn remarks(&self, post: PostId) -> sqlx::Result<Vec<Remark>> {
        let mut remarks = Vec::new();
        for (id, author, text, written_at) in self.comments(post).await? {
            let (author, _) = self.author(AuthorId(author)).await?;
            remarks.push(Remark { id: CommentId(id), author, text, written_at });
        }
        Ok(remarks)
    }

    async fn comments(&self, post: PostId) -> sqlx::Result<Vec<(i64, i64, String, String)>> {
        const COMMENTS: &str =
            "SELECT id, author_id, body, written_at FROM comments WHERE post_id = ? ORDER BY id";
        let mut connection = self.pool.acquire().await?;
        self.meter.time(sqlx::query_as(COMMENTS).bind(post.0).fetch_all(&mut *connection)).await
    }

    async fn author(&self, id: AuthorId) -> sqlx::Result<(String, String)> {
        let query = sqlx::query_as("SELECT name, bio FROM authors WHERE id = ?").bind(id.0);
        let mut connection = self.pool.acquire().await?;
        self.meter.time(query.fetch_one(&mut *connection)).await
    }
}

#[async_trait]
impl Blog for Naive {
    async fn page(&self, post: PostId) -> Result<Option<String>> {
        Ok(self.data(post).await?.as_ref().map(render::html))
    }

    async fn comment(&self, post: PostId, author: AuthorId, text: &str) -> Result<Stored> {
        let query = sqlx::query("INSERT INTO comments (post_id, author_id, body) VALUES (?, ?, ?)")
            .bind(post.0)
            .bind(author.0)
            .bind(text);
        let mut connection = self.pool.acquire().await?;
        let inserted = self.meter.time(query.execute(&mut *connection)).await?;
        Ok(CommentId(inserted.last_insert_rowid()).into())
    }

    async fn tally(&self) -> Result<Tally> {
        Ok(Tally { usage: self.meter.usage(), reads: None })
    }

    async fn close(&self) -> Result<()> {
        self.pool.close().await;
        Ok(())
    }
}
