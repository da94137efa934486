//! A URL shortener: links in memory, in Redis and in SQLite; every click a row that is written behind, with others; an
//! exact count of each link.
//!
//! `cargo run --release -p url-shortener` plays a load of a hundred redirects to one new link against it, and says how
//! fast each tier answered, and whether the clicks that were made are those that are stored; with `--crash` after a
//! `kill -9` in the middle as well. `-- --help` lists the settings. `cargo run -p url-shortener -- serve` measures nothing:
//! it is the shortener over HTTP.
//!
//! The journals are files, which larder has on Unix only; so has this program.

mod args;
mod clicks;
mod content;
mod counter;
mod driver;
mod journals;
mod killed;
#[path = "../../blog/src/latencies.rs"]
mod latencies;
mod ledger;
mod link;
mod link_id;
mod load;
mod long_url;
mod measure;
mod processes;
#[path = "../../blog/src/progress.rs"]
mod progress;
mod report;
mod schema;
mod service;
mod shortener;
#[path = "../../blog/src/stop.rs"]
mod stop;
mod trace;
mod web;

use std::process::ExitCode;

use anyhow::{Context, Result, bail};

use crate::args::{Job, Settings};
use crate::stop::Stop;

#[tokio::main]
async fn main() -> ExitCode {
    let done = match args::job() {
        Job::Load(settings) => load(&settings).await,
        Job::Serve(args) => web::serve(&args).await,
        Job::App(args) => killed::app(&args).await,
        Job::Keep(args) => processes::keep(&args).await,
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn load(settings: &Settings) -> Result<()> {
    let mut stop = Stop::listen()?;
    let report = tokio::select! {
        report = load::load(settings) => report?,
        // Leaves by the ordinary way, so that what was started ends and the folder is removed.
        () = stop.asked() => bail!("interrupted"),
    };
    if settings.json {
        println!("{}", serde_json::to_string_pretty(&report).context("cannot write the report as JSON")?);
    } else {
        println!("{report}");
    }
    if !report.books.exact {
        bail!("clicks made and clicks stored differ");
    }
    Ok(())
}
