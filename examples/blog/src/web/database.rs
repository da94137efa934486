//! The queries of the web face. Those of a single page are V1's.

use std::path::Path;
use std::sync::Arc;

use anyhow::Result;
use async_trait::async_trait;
use larder::{Loader, StoreError};
use sqlx::{Connection, SqliteConnection};

use super::list::{Headline, List, POSTS, PageNumber};
use crate::blog::{Blog, CommentId, PostId};
use crate::mended::Mended;
use crate::meter::Meter;
use crate::page::Page;

pub(crate) struct Database {
    mended: Mended,
    meter: Arc<Meter>,
}

impl Database {
    pub(crate) async fn open(path: &Path) -> Result<Self> {
        const INDEXES: &str = "
            CREATE INDEX IF NOT EXISTS posts_by_date ON posts (published_at, id);
            CREATE INDEX IF NOT EXISTS authors_by_name ON authors (name);
            ANALYZE;";
        let meter = Arc::new(Meter::counting());
        let mended = Mended::open(path, Arc::clone(&meter)).await?;
        sqlx::raw_sql(INDEXES).execute(&mended.writer).await?;
        Ok(Self { mended, meter })
    }

    /// How many queries visitors have caused.
    pub(crate) fn queries(&self) -> usize {
        self.meter.queries()
    }

    /// Asked before the first visitor comes, and not counted.
    pub(crate) async fn posts(&self) -> sqlx::Result<u32> {
        sqlx::query_scalar("SELECT count(*) FROM posts").fetch_one(&self.mended.readers).await
    }

    async fn list(&self, number: PageNumber) -> sqlx::Result<List> {
        const LIST: &str = "
            SELECT posts.id, posts.title, authors.name, posts.published_at
            FROM posts JOIN authors ON authors.id = posts.author_id
            ORDER BY posts.published_at DESC, posts.id DESC
            LIMIT ? OFFSET ?";
        let query = sqlx::query_as(LIST).bind(POSTS).bind(number.skipped());
        let mut connection = self.mended.readers.acquire().await?;
        let rows: Vec<(i64, String, String, String)> =
            self.meter.time(query.fetch_all(&mut *connection)).await?;
        let headline =
            |(id, title, author, published_at)| Headline { post: PostId(id), title, author, published_at };
        Ok(List { headlines: rows.into_iter().map(headline).collect() })
    }

    /// On which page of the list a post stands.
    pub(crate) async fn listed(&self, post: PostId) -> sqlx::Result<PageNumber> {
        const NEWER: &str = "
            SELECT count(*)
            FROM posts, (SELECT published_at, id FROM posts WHERE id = ?) AS this
            WHERE (posts.published_at, posts.id) > (this.published_at, this.id)";
        let query = sqlx::query_scalar(NEWER).bind(post.0);
        let mut connection = self.mended.readers.acquire().await?;
        Ok(PageNumber::after(self.meter.time(query.fetch_one(&mut *connection)).await?))
    }

    pub(crate) async fn edit(&self, post: PostId, title: &str, body: &str) -> sqlx::Result<()> {
        let query = sqlx::query("UPDATE posts SET title = ?, body = ? WHERE id = ?")
            .bind(title)
            .bind(body)
            .bind(post.0);
        let mut connection = self.mended.writer.acquire().await?;
        self.meter.time(query.execute(&mut *connection)).await?;
        Ok(())
    }

    /// Stores a comment under a name. Who has not written before is entered as an author, without a bio.
    pub(crate) async fn comment(&self, post: PostId, name: &str, text: &str) -> sqlx::Result<CommentId> {
        const COMMENT: &str = "
            INSERT INTO comments (post_id, author_id, body)
            SELECT ?, id, ? FROM authors WHERE name = ? ORDER BY id LIMIT 1";
        let mut connection = self.mended.writer.acquire().await?;
        let mut writing = connection.begin().await?;
        self.enter(name, &mut writing).await?;
        let query = sqlx::query(COMMENT).bind(post.0).bind(text).bind(name);
        let comment = self.meter.time(query.execute(&mut *writing)).await?.last_insert_rowid();
        writing.commit().await?;
        Ok(CommentId(comment))
    }

    async fn enter(&self, name: &str, connection: &mut SqliteConnection) -> sqlx::Result<()> {
        const AUTHOR: &str = "
            INSERT INTO authors (name, bio)
            SELECT ?1, '' WHERE NOT EXISTS (SELECT 1 FROM authors WHERE name = ?1)";
        self.meter.time(sqlx::query(AUTHOR).bind(name).execute(connection)).await?;
        Ok(())
    }

    pub(crate) async fn close(&self) -> Result<()> {
        self.mended.close().await
    }
}

#[async_trait]
impl Loader<PostId, Arc<Page>> for Database {
    async fn load(&self, post: &PostId) -> Result<Option<Arc<Page>>, StoreError> {
        Ok(self.mended.data(*post).await?.map(Arc::new))
    }
}

#[async_trait]
impl Loader<PageNumber, Arc<List>> for Database {
    async fn load(&self, number: &PageNumber) -> Result<Option<Arc<List>>, StoreError> {
        Ok(Some(Arc::new(self.list(*number).await?)))
    }
}
