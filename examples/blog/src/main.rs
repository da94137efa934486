//! A blog, measured three ways: with naive queries (V0), with mended queries (V1), and with mended queries
//! behind a cache (V2). Same rows, same readers, same renderer; the figures say what each step was worth,
//! and whether the last one was needed at all.
//!
//! `cargo run --release -p blog -- --help` lists the settings. `cargo run -p blog -- serve` measures nothing: it is
//! the blog with its cache, to open in a browser.

mod args;
mod blog;
mod cached;
mod check;
mod content;
mod driver;
mod file;
mod latencies;
mod ledger;
mod lock;
mod measure;
mod mended;
mod meter;
mod naive;
mod page;
mod progress;
mod render;
mod report;
mod schema;
mod stop;
mod trace;
mod verdict;
mod warm;
mod web;

use std::process::ExitCode;
use std::thread;

use anyhow::{Context, Result, bail};

use crate::args::{Job, Settings};
use crate::content::Content;
use crate::file::DatabaseFile;
use crate::report::Report;
use crate::stop::Stop;

/// The trace is drawn with another seed than the content, or both would begin with the same numbers.
const TRACE: u64 = 0x5eed;

#[tokio::main]
async fn main() -> ExitCode {
    let done = match args::job() {
        Job::Measure(settings) => measure(&settings).await,
        Job::Serve(args) => web::serve(&args).await,
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn measure(settings: &Settings) -> Result<()> {
    let mut stop = Stop::listen()?;
    let report = tokio::select! {
        report = compare(settings) => report?,
        // Leaves by the ordinary way, so that the temporary database is removed.
        () = stop.asked() => bail!("interrupted"),
    };
    if settings.json {
        println!("{}", serde_json::to_string_pretty(&report).context("cannot write the report as JSON")?);
    } else {
        println!("{report}");
    }
    match report.faults() {
        0 => Ok(()),
        faults => bail!("{faults} answers differ from the database"),
    }
}

async fn compare(settings: &Settings) -> Result<Report> {
    let file = DatabaseFile::choose(settings.database.as_deref())?;
    let content = Content::generate(settings.size, settings.seed);
    let trace = trace::draw(settings.requests, settings.rate, settings.size, settings.seed ^ TRACE);
    let mut versions = Vec::new();
    for &version in &settings.versions {
        file.clear()?;
        fill(&format!("{}, rows", measure::name(version)), &file, &content).await?;
        versions.push(measure::measure(version, file.path(), &content, &trace, settings).await?);
    }
    Ok(report(settings, versions))
}

async fn fill(phase: &str, file: &DatabaseFile, content: &Content) -> Result<()> {
    let rows = content.authors.len() + content.posts.len() + content.comments.len();
    let bar = progress::phase(phase, rows);
    schema::create(file.path(), content, &bar).await?;
    progress::done(&bar);
    Ok(())
}

fn report(settings: &Settings, versions: Vec<measure::Measured>) -> Report {
    let report = Report {
        posts: settings.size.posts,
        comments: settings.size.comments,
        authors: settings.size.authors,
        requests: settings.requests,
        rate: settings.rate,
        seed: settings.seed,
        cores: cores(),
        versions,
        verdict: String::new(),
    };
    report.with_verdict()
}

fn cores() -> usize {
    thread::available_parallelism().map_or(1, Into::into)
}
