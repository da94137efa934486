//! What every version of the blog can do.

use anyhow::Result;
use async_trait::async_trait;

/// Names a post. The key of the cache in V2.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct PostId(pub(crate) i64);

/// Names an author: whoever writes posts or comments.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct AuthorId(pub(crate) i64);

/// Names a comment. The database numbers comments in the order it took them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct CommentId(pub(crate) i64);

/// A blog as its readers see it: the three versions differ behind this line, and nowhere else.
#[async_trait]
pub(crate) trait Blog: Send + Sync {
    /// The HTML page of a post with its comments, or `None` when there is no such post.
    async fn page(&self, post: PostId) -> Result<Option<String>>;

    /// Stores a comment. From the moment this answers, every page of the post must show it.
    async fn comment(&self, post: PostId, author: AuthorId, text: &str) -> Result<CommentId>;

    /// The share of pages answered without the database, for a version that has a cache.
    fn hit_ratio(&self) -> Option<f64> {
        None
    }

    /// Closes the connections, so that the database file can be replaced.
    async fn close(&self) -> Result<()>;
}
