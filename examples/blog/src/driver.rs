//! Plays the trace against one version and writes down what each reader saw, and when.
//!
//! Arrivals keep their times however slow the answers are, and a latency counts from the moment the
//! request *should* have begun: what waits in a queue is waiting for its reader too.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use indicatif::ProgressBar;
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::timeout_at;

use crate::blog::{Blog, CommentId, Stored};
use crate::trace::{Arrival, Request};

#[derive(Debug)]
pub(crate) struct Visit {
    pub(crate) request: Request,
    pub(crate) scheduled: Instant,
    pub(crate) began: Instant,
    pub(crate) ended: Instant,
    pub(crate) answer: Answer,
}

#[derive(Debug, PartialEq)]
pub(crate) enum Answer {
    Page(Fingerprint),
    /// The blog said it has no such post.
    NoPage,
    Comment(CommentId),
    /// The same, and an old copy of the page is left in a Redis that did not answer.
    CommentWithCopyLeft(CommentId),
    Failed(String),
    /// Given up after the driver's patience had run out.
    Unanswered,
}

/// Stands for the whole HTML of a served page: keeping every page would take gigabytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fingerprint(u64);

impl Fingerprint {
    pub(crate) fn of(html: &str) -> Self {
        let mut hasher = DefaultHasher::new();
        html.hash(&mut hasher);
        Self(hasher.finish())
    }
}

impl Answer {
    /// The comment that somebody was told is stored.
    pub(crate) fn comment(&self) -> Option<CommentId> {
        match self {
            Self::Comment(id) | Self::CommentWithCopyLeft(id) => Some(*id),
            _ => None,
        }
    }
}

impl Visit {
    pub(crate) fn latency(&self) -> Duration {
        self.ended - self.scheduled
    }
}

/// Every visit of the trace, in the order in which they ended.
pub(crate) async fn run(
    blog: Arc<dyn Blog>,
    trace: Vec<Arrival>,
    patience: Duration,
    progress: ProgressBar,
) -> Result<Vec<Visit>> {
    let (give, take) = oneshot::channel();
    let runtime = Handle::current();
    // A thread of its own, because the runtime's timers are only exact to a millisecond: longer than most
    // answers measured here.
    thread::spawn(move || give.send(send(&blog, trace, patience, &progress, &runtime)));
    let mut visits = take.await.context("the driver stopped half-way")?;
    let mut ended = Vec::with_capacity(visits.len());
    while let Some(visit) = visits.join_next().await {
        ended.push(visit.context("a request stopped half-way")?);
    }
    Ok(ended)
}

fn send(
    blog: &Arc<dyn Blog>,
    trace: Vec<Arrival>,
    patience: Duration,
    progress: &ProgressBar,
    runtime: &Handle,
) -> JoinSet<Visit> {
    let mut visits = JoinSet::new();
    let start = Instant::now();
    let deadline = start + trace.last().map_or(Duration::ZERO, |last| last.at) + patience;
    for Arrival { at, request } in trace {
        let scheduled = start + at;
        thread::sleep(scheduled.saturating_duration_since(Instant::now()));
        let (blog, progress) = (Arc::clone(blog), progress.clone());
        let visit = async move {
            let visit = visit(&*blog, request, scheduled, deadline).await;
            progress.inc(1);
            visit
        };
        visits.spawn_on(visit, runtime);
    }
    visits
}

async fn visit(blog: &dyn Blog, request: Request, scheduled: Instant, deadline: Instant) -> Visit {
    let began = Instant::now();
    let (ended, answer) = match timeout_at(deadline.into(), ask(blog, &request)).await {
        Ok(answered) => answered,
        Err(_) => (Instant::now(), Answer::Unanswered),
    };
    Visit { request, scheduled, began, ended, answer }
}

/// The clock stops when the answer is there; what the driver does with it afterwards is not the blog's time.
async fn ask(blog: &dyn Blog, request: &Request) -> (Instant, Answer) {
    match request {
        Request::View(post) => {
            let page = blog.page(*post).await;
            let ended = Instant::now();
            let answer =
                page.map(|page| page.map_or(Answer::NoPage, |html| Answer::Page(Fingerprint::of(&html))));
            (ended, answer.unwrap_or_else(|error| failed(&error)))
        }
        Request::Comment { post, author, text } => {
            let comment = blog.comment(*post, *author, text).await;
            (Instant::now(), comment.map_or_else(|error| failed(&error), stored))
        }
    }
}

fn stored(Stored { id, copy_is_left }: Stored) -> Answer {
    if copy_is_left { Answer::CommentWithCopyLeft(id) } else { Answer::Comment(id) }
}

fn failed(error: &anyhow::Error) -> Answer {
    Answer::Failed(format!("{error:#}"))
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use async_trait::async_trait;
    use indicatif::ProgressBar;
    use tokio::sync::Barrier;

    use super::*;
    use crate::blog::{AuthorId, PostId};

    fn views(count: usize) -> Vec<Arrival> {
        vec![Arrival { at: Duration::ZERO, request: Request::View(PostId(1)) }; count]
    }

    /// Answers nobody until everybody has come.
    struct AllTogether(Barrier);

    #[async_trait]
    impl Blog for AllTogether {
        async fn page(&self, _post: PostId) -> Result<Option<String>> {
            self.0.wait().await;
            Ok(Some("page".to_owned()))
        }

        async fn comment(&self, _post: PostId, _author: AuthorId, _text: &str) -> Result<Stored> {
            pending().await
        }

        async fn close(&self) -> Result<()> {
            Ok(())
        }
    }

    #[tokio::test]
    async fn readers_do_not_wait_for_one_another() {
        let blog = Arc::new(AllTogether(Barrier::new(50)));
        let visits = run(blog, views(50), Duration::from_secs(60), ProgressBar::hidden()).await.unwrap();
        assert_eq!(visits.len(), 50);
        assert!(visits.iter().all(|visit| visit.answer == Answer::Page(Fingerprint::of("page"))));
        assert!(visits.iter().all(|visit| visit.scheduled <= visit.began && visit.began <= visit.ended));
    }

    #[tokio::test]
    async fn who_gets_no_answer_is_given_up_and_still_counts() {
        let blog = Arc::new(AllTogether(Barrier::new(4)));
        let patience = Duration::from_millis(20);
        let visits = run(blog, views(3), patience, ProgressBar::hidden()).await.unwrap();
        assert_eq!(visits.len(), 3);
        assert!(visits.iter().all(|visit| visit.answer == Answer::Unanswered && visit.latency() >= patience));
    }
}
