//! The blog as its pages meet it: two caches above one database.
//!
//! | cache | key | changed by |
//! |---|---|---|
//! | `posts` | a post | a comment on it, an edit of it |
//! | `lists` | a page of the list | an edit of a post that stands on it |
//!
//! Is the second one worth it? The list is what most visitors read first, and an edit is rare; so it is read from
//! memory nearly always. Its price stands in [`Site::edit`]: one write that two caches must hear of. (A blog of this
//! size needs neither cache, as the measuring job finds; they are here to show how.)
//!
//! Nobody adds or removes posts here. A blog that does would clear `lists` with each new post, since all others
//! move, and would count its posts anew.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use larder::{Caches, LayeredCache, Leftovers, Memory, StoreError};

use super::database::Database;
use super::list::{self, List, PageNumber};
use super::stats::Stats;
use crate::blog::{CommentId, PostId};
use crate::page::Page;

const AN_HOUR: Duration = Duration::from_secs(3600);

/// How long it is remembered that there is no such post: a wrong link that many follow costs one query.
const ABSENT: Duration = Duration::from_secs(30);

pub(crate) struct Site {
    posts: LayeredCache<PostId, Arc<Page>>,
    lists: LayeredCache<PageNumber, Arc<List>>,
    caches: Caches,
    database: Arc<Database>,
    count: u32,
}

impl Site {
    pub(crate) async fn open(path: &Path) -> anyhow::Result<Self> {
        let database = Arc::new(Database::open(path).await?);
        let posts = larder::read_through(Arc::clone(&database))
            .name("posts")
            .tier(Memory::with_capacity(10_000))
            .ttl(AN_HOUR)
            .absent_ttl(ABSENT)
            .build()?;
        let lists = larder::read_through(Arc::clone(&database))
            .name("lists")
            .tier(Memory::with_capacity(1_000))
            .ttl(AN_HOUR)
            .build()?;
        let caches = Caches::new();
        caches.add(posts.clone())?;
        caches.add(lists.clone())?;
        let count = database.posts().await?;
        Ok(Self { posts, lists, caches, database, count })
    }

    pub(crate) async fn post(&self, post: PostId) -> larder::Result<Option<Arc<Page>>> {
        self.posts.get(&post).await
    }

    pub(crate) async fn list(&self, number: PageNumber) -> larder::Result<Option<Arc<List>>> {
        if !(1..=self.pages()).contains(&number.0) {
            return Ok(None);
        }
        self.lists.get(&number).await
    }

    /// How many pages the list has.
    pub(crate) fn pages(&self) -> u32 {
        list::pages(self.count)
    }

    pub(crate) async fn comment(&self, post: PostId, name: &str, text: &str) -> larder::Result<CommentId> {
        let written = self.posts.write(&[post], || self.database.comment(post, name, text)).await?;
        Ok(written.into_output())
    }

    /// Changes one row that two caches have copies of. The one write is run inside the other, and not after it: when
    /// the visitor goes away half-way, each cache still knows that it was written, and drops its copies.
    pub(crate) async fn edit(&self, post: PostId, title: &str, body: &str) -> larder::Result<()> {
        let edit = async || -> Result<_, StoreError> {
            let number = self.database.listed(post).await?;
            Ok(self.lists.write(&[number], || self.database.edit(post, title, body)).await?)
        };
        _ = self.posts.write(&[post], edit).await?;
        Ok(())
    }

    pub(crate) fn stats(&self) -> Stats {
        Stats::new(self.count, self.database.queries(), &self.caches.stats())
    }

    pub(crate) async fn close(&self, deadline: Duration) -> BTreeMap<String, larder::Result<Leftovers>> {
        self.caches.close_all(deadline).await
    }

    /// Closes the connections to the database.
    pub(crate) async fn disconnect(&self) -> anyhow::Result<()> {
        self.database.close().await
    }
}
