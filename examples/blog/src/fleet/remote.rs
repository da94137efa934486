//! The blog as the driver meets it when it runs in other processes.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Result, bail};
use async_trait::async_trait;
use axum::http::StatusCode;

use super::app::Wish;
use super::door::Door;
use crate::blog::{AuthorId, Blog, PostId, Stored};
use crate::tally::Tally;

pub(super) struct Remote {
    /// Where readers go, in turn: the balancer, or in its absence each process.
    doors: Vec<Arc<Door>>,
    next: AtomicUsize,
    /// Every process, for its figures.
    each: Vec<Arc<Door>>,
}

impl Remote {
    pub(super) fn new(doors: Vec<Arc<Door>>, each: Vec<Arc<Door>>) -> Self {
        Self { doors, next: AtomicUsize::new(0), each }
    }

    fn door(&self) -> Result<&Door> {
        let turn = self.next.fetch_add(1, Ordering::Relaxed) % self.doors.len().max(1);
        match self.doors.get(turn) {
            Some(door) => Ok(door),
            None => bail!("there is no process to ask"),
        }
    }
}

#[async_trait]
impl Blog for Remote {
    async fn page(&self, post: PostId) -> Result<Option<String>> {
        match self.door()?.get(&format!("/posts/{}", post.0)).await? {
            (StatusCode::OK, html) => Ok(Some(String::from_utf8(html.into())?)),
            (StatusCode::NOT_FOUND, _) => Ok(None),
            (status, _) => bail!("the blog answered {status}"),
        }
    }

    async fn comment(&self, post: PostId, author: AuthorId, text: &str) -> Result<Stored> {
        let wish = serde_json::to_string(&Wish { author, text: text.into() })?;
        match self.door()?.post(&format!("/posts/{}/comments", post.0), wish).await? {
            (StatusCode::CREATED, stored) => Ok(serde_json::from_slice(&stored)?),
            (status, _) => bail!("the blog answered {status}"),
        }
    }

    async fn tally(&self) -> Result<Tally> {
        let mut all = Tally::default();
        for door in &self.each {
            all = all.and(&door.tally().await?);
        }
        Ok(all)
    }

    async fn close(&self) -> Result<()> {
        self.doors.iter().chain(&self.each).for_each(|door| door.close());
        Ok(())
    }
}
