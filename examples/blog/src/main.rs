//! A blog, measured three ways: with naive queries (V0), with mended queries (V1), and with mended queries
//! behind a cache (V2). Same rows, same readers, same renderer; the figures say what each step was worth,
//! and whether the last one was needed at all.
//!
//! With `--redis` a fourth way is measured: three processes of V2 behind a load balancer, sharing their copies in one
//! Redis (V3); and V2 against V3 at ten times the traffic.
//!
//! `cargo run --release -p blog -- --help` lists the settings. `cargo run -p blog -- serve` measures nothing: it is
//! the blog with its cache, to open in a browser.

mod args;
mod blog;
mod cached;
mod check;
mod compare;
mod content;
mod driver;
mod file;
mod fleet;
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
mod tally;
mod tenfold;
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
use crate::stop::Stop;

#[tokio::main]
async fn main() -> ExitCode {
    let done = match args::job() {
        Job::Measure(settings) => measure(&settings).await,
        Job::Serve(args) => web::serve(&args).await,
        Job::App(args) => fleet::app(&args).await,
        Job::Keep(args) => fleet::keep(&args).await,
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
        report = compare::compare(settings) => report?,
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

async fn fill(phase: &str, file: &DatabaseFile, content: &Content) -> Result<()> {
    let rows = content.authors.len() + content.posts.len() + content.comments.len();
    let bar = progress::phase(phase, rows);
    schema::create(file.path(), content, &bar).await?;
    progress::done(&bar);
    Ok(())
}

fn cores() -> usize {
    thread::available_parallelism().map_or(1, Into::into)
}
