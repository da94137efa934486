//! The service in whichever process it is now. While there is none, visitors wait.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Result, anyhow};
use async_trait::async_trait;
use tokio::sync::RwLock;

use super::pipe::{Answer, Request};
use super::process::Process;
use crate::clicks::Written;
use crate::link_id::LinkId;
use crate::service::{Outcome, Service};
use crate::shortener::Followed;

pub(crate) struct Remote {
    folder: PathBuf,
    memory: u64,
    redis: Option<String>,
    process: RwLock<Arc<Process>>,
}

impl Remote {
    pub(crate) async fn start(folder: PathBuf, memory: u64, redis: Option<String>) -> Result<Self> {
        let process = Process::start(&folder, memory, redis.clone()).await?;
        Ok(Self { folder, memory, redis, process: RwLock::new(Arc::new(process)) })
    }

    /// Kills the process with SIGKILL, and starts another on the same journals.
    pub(crate) async fn crash(&self) -> Result<()> {
        // Whoever asks from now on asks the next one; those who have asked are in the middle of it.
        let mut process = self.process.write().await;
        process.kill()?;
        *process = Arc::new(Process::start(&self.folder, self.memory, self.redis.clone()).await?);
        Ok(())
    }

    pub(crate) async fn close(&self) -> Result<Written> {
        self.process.read().await.close().await
    }

    async fn ask(&self, request: Request) -> Option<Answer> {
        let process = Arc::clone(&*self.process.read().await);
        process.ask(request).await
    }
}

#[async_trait]
impl Service for Remote {
    async fn create(&self, url: &str) -> Outcome<LinkId> {
        match self.ask(Request::Create { url: url.to_owned() }).await {
            Some(Answer::Created(id)) => Outcome::Answered(id),
            other => not_answered(other),
        }
    }

    async fn follow(&self, id: LinkId) -> Outcome<Followed> {
        match self.ask(Request::Follow { id }).await {
            Some(Answer::Followed(followed)) => Outcome::Answered(followed),
            other => not_answered(other),
        }
    }
}

fn not_answered<T>(answer: Option<Answer>) -> Outcome<T> {
    match answer {
        None => Outcome::Unanswered,
        Some(Answer::Failed(why)) => Outcome::Failed(anyhow!(why)),
        Some(_) => Outcome::Failed(anyhow!("the service answers something else")),
    }
}
