//! One version, measured on a fresh database: plays the trace, checks what it served.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde::Serialize;

use crate::args::Version;
use crate::blog::Blog;
use crate::cached::Cached;
use crate::check::{self, Findings};
use crate::content::Content;
use crate::driver::{self, Answer, Visit};
use crate::fleet::Fleet;
use crate::latencies::Latencies;
use crate::mended::Mended;
use crate::meter::{Meter, Usage};
use crate::naive::Naive;
use crate::progress;
use crate::tally::Reads;
use crate::trace::{Arrival, Request};

/// The figures of one version. Times are in the unit their name ends with.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Measured {
    pub(crate) version: &'static str,
    pub(crate) requests: usize,
    pub(crate) failed: usize,
    pub(crate) unanswered: usize,
    pub(crate) wall_seconds: f64,
    pub(crate) offered_per_second: f64,
    pub(crate) served_per_second: f64,
    pub(crate) kept_up: bool,
    /// How late the driver itself began a request, on average. It is part of every latency.
    pub(crate) driver_late_ms: f64,
    pub(crate) page_ms: Spread,
    pub(crate) comment_ms: Spread,
    pub(crate) queries: usize,
    pub(crate) queries_per_request: f64,
    pub(crate) query_p95_ms: f64,
    pub(crate) busy_seconds: f64,
    /// Of the wall time. More than 1 when several connections were at work at once.
    pub(crate) busy_share: f64,
    pub(crate) hit_ratio: Option<f64>,
    pub(crate) memory_hit_ratio: Option<f64>,
    /// Of the reads that memory had nothing for.
    pub(crate) redis_hit_ratio: Option<f64>,
    /// How often a process found Redis gone.
    pub(crate) redis_outages: u64,
    /// How many processes answered; `None` for a version inside the driver's own.
    pub(crate) processes: Option<usize>,
    /// Pages that lacked what another process had stored, and no longer than they may.
    pub(crate) pages_behind: usize,
    /// How long that is.
    pub(crate) may_be_behind_ms: f64,
    /// Comments that left an old copy in a Redis that did not answer: pages may lack them until it does.
    pub(crate) copies_left: usize,
    pub(crate) pages_checked: usize,
    pub(crate) comments_checked: usize,
    pub(crate) faults: Vec<String>,
    pub(crate) first_failure: Option<String>,
}

#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Spread {
    pub(crate) mean: f64,
    pub(crate) p50: f64,
    pub(crate) p95: f64,
    pub(crate) p99: f64,
}

/// A version that is ready for its readers.
pub(crate) struct Subject {
    version: &'static str,
    /// What the progress bars call it.
    label: String,
    blog: Arc<dyn Blog>,
    /// The processes behind it, when they are not this one. Ours to end, so that nobody is left when we are given up.
    fleet: Option<Fleet>,
}

impl Subject {
    /// In this process.
    pub(crate) async fn open(version: Version, path: &Path) -> Result<Self> {
        let name = name(version);
        let blog = open(version, path).await.with_context(|| format!("{name} does not open"))?;
        Ok(Self { version: name, label: name.to_owned(), blog, fleet: None })
    }

    /// In processes of its own.
    pub(crate) fn fleet(version: Version, fleet: Fleet) -> Self {
        let name = name(version);
        Self { version: name, label: name.to_owned(), blog: fleet.blog(), fleet: Some(fleet) }
    }

    pub(crate) fn labelled(self, label: String) -> Self {
        Self { label, ..self }
    }

    /// Every process by itself.
    fn each(&self) -> Vec<Arc<dyn Blog>> {
        self.fleet.as_ref().map_or_else(|| vec![Arc::clone(&self.blog)], Fleet::each)
    }

    fn lag(&self) -> Duration {
        self.fleet.as_ref().map_or(Duration::ZERO, Fleet::lag)
    }

    async fn close(self) -> Result<()> {
        self.blog.close().await?;
        match self.fleet {
            Some(fleet) => fleet.close().await,
            None => Ok(()),
        }
    }
}

pub(crate) async fn measure(
    mut subject: Subject,
    path: &Path,
    content: &Content,
    trace: &[Arrival],
    patience: Duration,
) -> Result<Measured> {
    let (name, lag) = (subject.version, subject.lag());
    let visits = play(&mut subject, trace, patience).await?;
    // Read before the check: its questions are not the readers'.
    let tally = subject.blog.tally().await.with_context(|| format!("{name} gives no account of itself"))?;
    let findings = check(&subject, path, content, &visits).await?;
    let processes = subject.fleet.is_some().then(|| subject.each().len());
    subject.close().await.with_context(|| format!("{name} does not close"))?;
    Ok(Measured {
        version: name,
        processes,
        may_be_behind_ms: millis(lag),
        hit_ratio: tally.reads.as_ref().map(Reads::hit_ratio),
        memory_hit_ratio: tally.reads.as_ref().map(Reads::memory_hit_ratio),
        redis_hit_ratio: tally.reads.as_ref().filter(|_| !lag.is_zero()).map(Reads::redis_hit_ratio),
        redis_outages: tally.reads.map_or(0, |reads| reads.outages),
        ..figures(&visits, &tally.usage, findings)
    })
}

async fn play(subject: &mut Subject, trace: &[Arrival], patience: Duration) -> Result<Vec<Visit>> {
    let bar = progress::phase(&format!("{}, requests", subject.label), trace.len());
    let visits = driver::run(Arc::clone(&subject.blog), trace.to_vec(), patience, bar.clone()).await?;
    progress::done(&bar);
    match subject.fleet.as_mut().and_then(Fleet::trouble) {
        Some(trouble) => Err(trouble.context(format!("{} has not lived through its run", subject.version))),
        None => Ok(visits),
    }
}

async fn check(subject: &Subject, path: &Path, content: &Content, visits: &[Visit]) -> Result<Findings> {
    let each = subject.each();
    let questions = content.posts.len() * each.len();
    let bar = progress::phase(&format!("{}, check of every post", subject.label), questions);
    let findings = check::check(&each, subject.lag(), path, content, visits, &bar).await?;
    progress::done(&bar);
    Ok(findings)
}

pub(crate) fn name(version: Version) -> &'static str {
    match version {
        Version::V0 => "V0 naive",
        Version::V1 => "V1 mended",
        Version::V2 => "V2 cached",
        Version::V3 => "V3 shared",
    }
}

async fn open(version: Version, path: &Path) -> Result<Arc<dyn Blog>> {
    let meter = Arc::new(Meter::default());
    Ok(match version {
        Version::V0 => Arc::new(Naive::open(path, meter).await?),
        Version::V1 => Arc::new(Mended::open(path, meter).await?),
        Version::V2 => Arc::new(Cached::new(Mended::open(path, meter).await?)?),
        Version::V3 => bail!("V3 is several processes, and cannot be one"),
    })
}

fn figures(visits: &[Visit], usage: &Usage, findings: Findings) -> Measured {
    let clock = Clock::of(visits);
    let count = |which: fn(&Answer) -> bool| visits.iter().filter(|visit| which(&visit.answer)).count();
    let failed = count(|answer| matches!(answer, Answer::Failed(_)));
    let unanswered = count(|answer| matches!(answer, Answer::Unanswered));
    let offered = visits.len() as f64 / clock.arriving.as_secs_f64();
    let served = (visits.len() - failed - unanswered) as f64 / clock.wall.as_secs_f64();
    Measured {
        requests: visits.len(),
        failed,
        unanswered,
        wall_seconds: clock.wall.as_secs_f64(),
        offered_per_second: offered,
        served_per_second: served,
        kept_up: kept_up(&clock, unanswered),
        driver_late_ms: late(visits),
        page_ms: spread(visits, |request| matches!(request, Request::View(_))),
        comment_ms: spread(visits, |request| matches!(request, Request::Comment { .. })),
        queries: usage.queries,
        queries_per_request: usage.queries as f64 / visits.len() as f64,
        query_p95_ms: millis(usage.slow_query),
        busy_seconds: usage.busy.as_secs_f64(),
        busy_share: usage.busy.as_secs_f64() / clock.wall.as_secs_f64(),
        pages_checked: findings.pages,
        comments_checked: findings.comments,
        pages_behind: findings.behind,
        copies_left: findings.copies_left,
        faults: findings.faults,
        first_failure: visits.iter().find_map(|visit| match &visit.answer {
            Answer::Failed(why) => Some(why.clone()),
            _ => None,
        }),
        ..Measured::default()
    }
}

/// When the run began, how long requests arrived, how long until the last had its answer.
struct Clock {
    arriving: Duration,
    wall: Duration,
}

impl Clock {
    fn of(visits: &[Visit]) -> Self {
        let first = visits.iter().map(|visit| visit.scheduled).min();
        let last = visits.iter().map(|visit| visit.scheduled).max();
        let end = visits.iter().map(|visit| visit.ended).max();
        let since_first = |moment: Option<Instant>| match (first, moment) {
            // Never zero: it divides.
            (Some(first), Some(moment)) => (moment - first).max(Duration::from_micros(1)),
            _ => Duration::from_micros(1),
        };
        Self { arriving: since_first(last), wall: since_first(end) }
    }
}

/// A version kept up when the queue it left behind after the last arrival was short against the run.
fn kept_up(clock: &Clock, unanswered: usize) -> bool {
    let backlog = clock.wall.saturating_sub(clock.arriving);
    unanswered == 0 && backlog <= clock.arriving.mul_f64(0.05).max(Duration::from_millis(250))
}

/// A reader who was given up has waited at least until then, and counts with that.
/// A failure came at some speed too, but it is no answer and has no place here.
fn spread(visits: &[Visit], which: fn(&Request) -> bool) -> Spread {
    let asked = visits.iter().filter(|visit| which(&visit.request));
    let answered = asked.filter(|visit| !matches!(visit.answer, Answer::Failed(_)));
    let latencies = Latencies::new(answered.map(Visit::latency).collect());
    Spread {
        mean: millis(latencies.mean()),
        p50: millis(latencies.percentile(50.0)),
        p95: millis(latencies.percentile(95.0)),
        p99: millis(latencies.percentile(99.0)),
    }
}

fn late(visits: &[Visit]) -> f64 {
    let lateness = visits.iter().map(|visit| visit.began.saturating_duration_since(visit.scheduled));
    millis(Latencies::new(lateness.collect()).mean())
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1_000.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blog::PostId;

    fn visit(start: Instant, scheduled: u64, ended: u64, answer: Answer) -> Visit {
        let at = |millis| start + Duration::from_millis(millis);
        let request = Request::View(PostId(1));
        Visit { request, scheduled: at(scheduled), began: at(scheduled), ended: at(ended), answer }
    }

    #[test]
    fn figures_say_who_was_answered_and_whether_the_queue_grew() {
        let start = Instant::now();
        let usage = Usage { queries: 6, busy: Duration::from_secs(2), slow_query: Duration::ZERO };
        let visits = [
            visit(start, 0, 100, Answer::NoPage),
            visit(start, 500, 900, Answer::Failed("locked".to_owned())),
            visit(start, 1_000, 4_000, Answer::Unanswered),
        ];
        let measured = figures(&visits, &usage, Findings::default());
        assert_eq!((measured.requests, measured.failed, measured.unanswered), (3, 1, 1));
        assert_eq!((measured.offered_per_second, measured.served_per_second), (3.0, 0.25));
        assert_eq!((measured.busy_share, measured.queries_per_request), (0.5, 2.0));
        assert_eq!((measured.page_ms.p50, measured.page_ms.p99), (100.0, 3_000.0));
        assert_eq!(measured.first_failure.as_deref(), Some("locked"));
        assert!(!measured.kept_up);
        assert!(figures(&visits[..1], &usage, Findings::default()).kept_up);
    }
}
