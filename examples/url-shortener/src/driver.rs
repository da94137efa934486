//! Plays the trace against the service, and writes down who was told what.
//!
//! It is a *closed loop*: some visitors, each of whom asks as soon as the one before was answered. So requests per second
//! are what the service can do, and latencies are those under that load.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use indicatif::ProgressBar;
use tokio::task::JoinSet;

use crate::content::{self, Content};
use crate::link_id::LinkId;
use crate::service::{Outcome, Service};
use crate::shortener::Followed;
use crate::trace::Request;

/// One request, and what came of it.
#[derive(Debug)]
pub(crate) enum Visit {
    Created { number: usize, outcome: Outcome<LinkId>, took: Duration },
    Followed { id: LinkId, expected: Option<String>, outcome: Outcome<Followed>, took: Duration },
}

/// All that is the same for all visitors.
struct Run {
    service: Arc<dyn Service>,
    content: Content,
    trace: Vec<Request>,
    next: AtomicUsize,
    progress: ProgressBar,
}

/// `visitors` of them at once.
pub(crate) async fn run(
    service: Arc<dyn Service>,
    content: &Content,
    trace: Vec<Request>,
    visitors: usize,
    progress: ProgressBar,
) -> Result<Vec<Visit>> {
    let run = Arc::new(Run { service, content: content.clone(), trace, next: AtomicUsize::new(0), progress });
    let mut all = JoinSet::new();
    for _ in 0..visitors {
        let run = Arc::clone(&run);
        all.spawn(async move { run.visit_until_the_end().await });
    }
    let mut visits = Vec::new();
    while let Some(some) = all.join_next().await {
        visits.extend(some.context("a visitor stopped half-way")?);
    }
    Ok(visits)
}

impl Run {
    async fn visit_until_the_end(&self) -> Vec<Visit> {
        let mut visits = Vec::new();
        while let Some(&request) = self.trace.get(self.next.fetch_add(1, Ordering::Relaxed)) {
            self.request(request, &mut visits).await;
            self.progress.inc(1);
        }
        visits
    }

    async fn request(&self, request: Request, visits: &mut Vec<Visit>) {
        match request {
            Request::Follow(place) => {
                let id = self.content.link(place);
                visits.push(self.follow(id, Some(content::url(id))).await);
            }
            Request::FollowUnknown(draw) => visits.push(self.follow(content::unknown(draw), None).await),
            Request::CreateAndFollow(number) => {
                let url = content::new_url(number);
                let asked = Instant::now();
                let outcome = self.service.create(&url).await;
                let made = if let Outcome::Answered(id) = outcome { Some(id) } else { None };
                visits.push(Visit::Created { number, outcome, took: asked.elapsed() });
                if let Some(id) = made {
                    visits.push(self.follow(id, Some(url)).await);
                }
            }
        }
    }

    async fn follow(&self, id: LinkId, expected: Option<String>) -> Visit {
        let asked = Instant::now();
        let outcome = self.service.follow(id).await;
        Visit::Followed { id, expected, outcome, took: asked.elapsed() }
    }
}
