//! V2: V1 with a cache of posts in front.
//!
//! What is cached is the *data* of a page under its post's id, for an hour, not the rendered HTML: the renderer
//! runs for every reader of every version, so that the comparison is about the database alone. (A service
//! would be free to cache the HTML.)
//!
//! This is cache-aside with the cache playing the application's part: a read that finds no copy loads and keeps
//! one; a comment is written by our own SQL, which names the post it changes, and the copy of that post is
//! dropped after it. Nobody saves whole posts here, so a loader is enough and there is no store to implement.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use async_trait::async_trait;
use larder::{LayeredCache, Loader, Memory, StoreError};

use crate::blog::{AuthorId, Blog, CommentId, PostId};
use crate::mended::Mended;
use crate::page::Page;
use crate::render;

const AN_HOUR: Duration = Duration::from_secs(3600);

/// Room for every post of the default blog; beyond it the rarely read ones make place.
const POSTS: u64 = 10_000;

pub(crate) struct Cached {
    posts: LayeredCache<PostId, Arc<Page>>,
    blog: Arc<Mended>,
}

impl Cached {
    pub(crate) fn new(blog: Mended) -> Result<Self> {
        let blog = Arc::new(blog);
        let posts = larder::read_through(Posts(Arc::clone(&blog)))
            .name("posts")
            .tier(Memory::with_capacity(POSTS))
            .ttl(AN_HOUR)
            .build()?;
        Ok(Self { posts, blog })
    }
}

/// Where posts come from when the cache has none: V1.
struct Posts(Arc<Mended>);

#[async_trait]
impl Loader<PostId, Arc<Page>> for Posts {
    async fn load(&self, post: &PostId) -> Result<Option<Arc<Page>>, StoreError> {
        Ok(self.0.data(*post).await?.map(Arc::new))
    }
}

#[async_trait]
impl Blog for Cached {
    async fn page(&self, post: PostId) -> Result<Option<String>> {
        Ok(self.posts.get(&post).await?.as_deref().map(render::html))
    }

    async fn comment(&self, post: PostId, author: AuthorId, text: &str) -> Result<CommentId> {
        let written = self.posts.write(&[post], || self.blog.insert(post, author, text)).await?;
        Ok(written.into_output())
    }

    fn hit_ratio(&self) -> Option<f64> {
        Some(self.posts.stats().hit_ratio())
    }

    async fn close(&self) -> Result<()> {
        self.posts.close(Duration::from_secs(10)).await?;
        self.blog.close().await
    }
}
