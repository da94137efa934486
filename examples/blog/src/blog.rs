//! What every version of the blog can do.

use anyhow::Result;
use async_trait::async_trait;
use larder::codec::{CacheKey, KeyWriter};
use serde::{Deserialize, Serialize};

use crate::tally::Tally;

/// Names a post. The key of the cache in V2 and V3.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct PostId(pub(crate) i64);

impl CacheKey for PostId {
    fn write(&self, key: &mut KeyWriter) {
        self.0.write(key);
    }
}

/// Names an author: whoever writes posts or comments.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) struct AuthorId(pub(crate) i64);

/// Names a comment. The database numbers comments in the order it took them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) struct CommentId(pub(crate) i64);

/// A comment that the database has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Stored {
    pub(crate) id: CommentId,
    /// Redis did not answer when the old copy of the page was to be dropped: until it has been, who does reach Redis may
    /// read it.
    pub(crate) copy_is_left: bool,
}

impl From<CommentId> for Stored {
    fn from(id: CommentId) -> Self {
        Self { id, copy_is_left: false }
    }
}

/// A blog as its readers see it: the versions differ behind this line, and nowhere else.
#[async_trait]
pub(crate) trait Blog: Send + Sync {
    /// The HTML page of a post with its comments, or `None` when there is no such post.
    async fn page(&self, post: PostId) -> Result<Option<String>>;

    /// Stores a comment. From the moment this answers, every page of the post must show it; in V3 pages of the other
    /// processes may lack it for the time that their memories may be behind.
    async fn comment(&self, post: PostId, author: AuthorId, text: &str) -> Result<Stored>;

    /// What it has asked of the database up to now, and where its pages came from.
    async fn tally(&self) -> Result<Tally> {
        Ok(Tally::default())
    }

    /// Closes the connections, so that the database file can be replaced.
    async fn close(&self) -> Result<()>;
}
