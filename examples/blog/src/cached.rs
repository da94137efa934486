//! placeholder
use crate::mended::Mended;
use crate::blog::*;
use anyhow::Result;
pub(crate) struct Cached { db: Mended }
impl Cached { pub(crate) fn new(db: Mended) -> Result<Self> { Ok(Self{db}) } }
#[async_trait::async_trait]
impl Blog for Cached {
    async fn page(&self, post: PostId) -> Result<Option<String>> { self.db.page(post).await }
    async fn comment(&self, post: PostId, author: AuthorId, text: &str) -> Result<CommentId> { self.db.comment(post, author, text).await }
    async fn close(&self) { self.db.close().await }
}
