//! V2: V1 with a cache of posts in front, in the memory of the process. V3 is the same code in several processes, with
//! a Redis below their memories that all of them share.
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
use larder::{Builder, Copies, LayeredCache, Loader, Memory, Redis, StoreError};

use crate::blog::{AuthorId, Blog, PostId, Stored};
use crate::mended::Mended;
use crate::page::Page;
use crate::render;
use crate::tally::{ReadCounter, Tally};

const AN_HOUR: Duration = Duration::from_secs(3600);

/// Room for every post of the default blog; beyond it the rarely read ones make place.
const POSTS: u64 = 10_000;

/// How long the memory of one process may be behind a comment that another one took. It is what larder does unless
/// told otherwise; it is written out because the check of the answers counts with it.
pub(crate) const LOCAL_TTL: Duration = Duration::from_secs(1);

pub(crate) struct Cached {
    posts: LayeredCache<PostId, Arc<Page>>,
    reads: ReadCounter,
    blog: Arc<Mended>,
}

/// Where all processes of a blog keep their copies.
#[derive(Clone, Debug)]
pub(crate) struct Shelf {
    pub(crate) redis: Redis,
    /// Before every key, so that nobody else's keys are met.
    pub(crate) namespace: String,
}

impl Cached {
    /// V2.
    pub(crate) fn new(blog: Mended) -> Result<Self> {
        Self::build(blog, |posts| posts)
    }

    /// A process of V3.
    pub(crate) fn sharing(shelf: &Shelf, blog: Mended) -> Result<Self> {
        Self::build(blog, |posts| posts.tier(shelf.redis.namespace(&shelf.namespace)).local_ttl(LOCAL_TTL))
    }

    fn build(
        blog: Mended,
        below_memory: impl FnOnce(Builder<PostId, Arc<Page>>) -> Builder<PostId, Arc<Page>>,
    ) -> Result<Self> {
        let (blog, reads) = (Arc::new(blog), ReadCounter::default());
        let posts = larder::read_through(Posts(Arc::clone(&blog)))
            .name("posts")
            .tier(Memory::with_capacity(POSTS))
            .ttl(AN_HOUR)
            .observer(reads.clone());
        Ok(Self { posts: below_memory(posts).build()?, reads, blog })
    }
}

impl Shelf {
    /// Drops all copies that lie here.
    pub(crate) async fn clear(&self) -> larder::Result<()> {
        let copies = larder::cache::<PostId, Arc<Page>>()
            .tier(self.redis.namespace(&self.namespace))
            .ttl(AN_HOUR)
            .build()?;
        copies.clear().await
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

    async fn comment(&self, post: PostId, author: AuthorId, text: &str) -> Result<Stored> {
        let written = self.posts.write(&[post], || self.blog.insert(post, author, text)).await?;
        let copy_is_left = written.copies() == Copies::Pending;
        Ok(Stored { id: written.into_output(), copy_is_left })
    }

    async fn tally(&self) -> Result<Tally> {
        Ok(Tally { reads: Some(self.reads.reads()), ..self.blog.tally().await? })
    }

    async fn close(&self) -> Result<()> {
        self.posts.close(Duration::from_secs(10)).await?;
        self.blog.close().await
    }
}
