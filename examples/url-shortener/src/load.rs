//! The load: fills a database, plays the trace against the service, and compares what was answered with what is stored.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use larder::Redis;

use crate::args::Settings;
use crate::clicks::Written;
use crate::content::Content;
use crate::driver::{self, Visit};
use crate::killed::Remote;
use crate::ledger::{Books, Stored};
use crate::link::Link;
use crate::link_id::LinkId;
use crate::measure::{Figures, Report};
use crate::processes::{RedisServer, Scratch};
use crate::service::Service;
use crate::shortener::{CLOSING, Shortener};
use crate::trace::Request;
use crate::{processes, progress, schema, trace};

/// What a run leaves.
struct Ran {
    visits: Vec<Visit>,
    took: Duration,
    written: Written,
}

pub(crate) async fn load(settings: &Settings) -> Result<Report> {
    let scratch = Scratch::make()?;
    let redis = match &settings.redis {
        Some(choice) => Some(RedisServer::choose(choice, &scratch).await?),
        None => None,
    };
    let url = redis.as_ref().map(processes::url);
    let folder = scratch.path().join("service");
    fs::create_dir(&folder).context("cannot make a folder for the service")?;
    let content = fill(&folder, settings.links).await?;
    let trace = trace::draw(settings.redirects, content.links(), settings.seed);
    let ran = if settings.crash {
        run_and_kill(&folder, url, settings, &content, trace).await?
    } else {
        run(&folder, url, settings, &content, trace).await?
    };
    let books = compare(&folder, url, &ran.visits).await?;
    Ok(report(settings, &ran, books))
}

async fn fill(folder: &Path, links: u32) -> Result<Content> {
    let bar = progress::phase("links", links as usize);
    let pool = schema::open(folder).await?;
    let content = Content::fill(&pool, links, &bar).await.context("cannot fill the database")?;
    pool.close().await;
    progress::done(&bar);
    Ok(content)
}

/// In this process.
async fn run(
    folder: &Path,
    url: Option<&str>,
    settings: &Settings,
    content: &Content,
    trace: Vec<Request>,
) -> Result<Ran> {
    let redis = url.map(Redis::new).transpose()?;
    let shortener = Arc::new(Shortener::open(folder, settings.memory, redis.as_ref()).await?);
    let service = Arc::clone(&shortener) as Arc<dyn Service>;
    let bar = progress::phase("redirects", trace.len());
    let began = Instant::now();
    let visits = driver::run(service, content, trace, settings.visitors, bar.clone()).await?;
    let took = began.elapsed();
    progress::done(&bar);
    Ok(Ran { visits, took, written: shortener.close(CLOSING).await? })
}

/// In a process that is killed when half of the trace is over, and started again.
async fn run_and_kill(
    folder: &Path,
    url: Option<&str>,
    settings: &Settings,
    content: &Content,
    trace: Vec<Request>,
) -> Result<Ran> {
    let url = url.map(ToOwned::to_owned);
    let remote = Arc::new(Remote::start(folder.to_owned(), settings.memory, url).await?);
    let service = Arc::clone(&remote) as Arc<dyn Service>;
    let half = trace.len() as u64 / 2;
    let bar = progress::phase("redirects, and a kill", trace.len());
    let began = Instant::now();
    let crash = async {
        while bar.position() < half {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        remote.crash().await
    };
    let load = driver::run(service, content, trace, settings.visitors, bar.clone());
    let (visits, ()) = tokio::try_join!(load, crash)?;
    let took = began.elapsed();
    progress::done(&bar);
    Ok(Ran { visits, took, written: remote.close().await? })
}

async fn compare(folder: &Path, url: Option<&str>, visits: &[Visit]) -> Result<Books> {
    let pool = schema::open(folder).await?;
    let stored = Stored::read(&pool).await.context("cannot read what was stored")?;
    if let Some(url) = url {
        forget_copies(url, &schema::namespace(&pool).await?).await;
    }
    pool.close().await;
    Ok(Books::of(visits, &stored))
}

/// The Redis may be somebody's: nothing of ours stays there.
async fn forget_copies(url: &str, namespace: &str) {
    let clear = async {
        let links = larder::cache::<LinkId, Link>()
            .tier(Redis::new(url)?.namespace(namespace))
            .ttl(Duration::from_secs(1))
            .build()?;
        links.clear().await
    };
    if clear.await.is_err() {
        eprintln!("the copies in Redis could not be removed; what is there lasts for a day at the most");
    }
}

fn report(settings: &Settings, ran: &Ran, books: Books) -> Report {
    let figures = Figures::of(&ran.visits);
    Report {
        links: settings.links,
        memory: settings.memory,
        visitors: settings.visitors,
        seed: settings.seed,
        redis: settings.redis.is_some(),
        crashed: settings.crash,
        seconds: ran.took.as_secs_f64(),
        redirects: figures.redirects,
        redirects_per_second: figures.redirects as f64 / ran.took.as_secs_f64(),
        tiers: figures.tiers,
        unknown: figures.unknown,
        unknown_asked_of_database: figures.unknown_asked_of_database,
        created: figures.created,
        memory_hit_ratio: figures.memory_hit_ratio,
        redis_hit_ratio: settings.redis.is_some().then_some(figures.redis_hit_ratio),
        written: ran.written,
        books,
    }
}
