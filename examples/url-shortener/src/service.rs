//! The shortener as the driver meets it: in this process, or in one that may be killed.

use anyhow::Result;
use async_trait::async_trait;

use crate::link_id::LinkId;
use crate::shortener::{Followed, Shortener};

/// What came of a request.
#[derive(Debug)]
pub(crate) enum Outcome<T> {
    Answered(T),
    Failed(anyhow::Error),
    /// Whoever was asked is dead. It may have been done, or not.
    Unanswered,
}

#[async_trait]
pub(crate) trait Service: Send + Sync {
    async fn create(&self, url: &str) -> Outcome<LinkId>;
    async fn follow(&self, id: LinkId) -> Outcome<Followed>;
}

#[async_trait]
impl Service for Shortener {
    async fn create(&self, url: &str) -> Outcome<LinkId> {
        make(self, url).await.into()
    }

    async fn follow(&self, id: LinkId) -> Outcome<Followed> {
        Self::follow(self, id, None).await.into()
    }
}

/// A link to what somebody typed.
pub(crate) async fn make(shortener: &Shortener, url: &str) -> Result<LinkId> {
    shortener.create(&url.parse()?).await
}

impl<T> From<Result<T>> for Outcome<T> {
    fn from(result: Result<T>) -> Self {
        match result {
            Ok(answer) => Self::Answered(answer),
            Err(error) => Self::Failed(error),
        }
    }
}
