//! The blog's web face, `cargo run -p blog -- serve`: V2 with a browser in front.
//!
//! | a request | passes |
//! |---|---|
//! | comes in | [`guard`]: not sent by another site's page |
//! | is understood | [`routes`]; what was typed is checked in [`forms`] |
//! | reads and writes | [`site`], the caches; behind them [`database`] |
//! | is answered | [`pages`], each set in the [`frame`] that all share |
//! | fails | [`failure`]: a page that tells nothing of the inside, and a line on standard error that does |

mod args;
mod database;
mod failure;
mod forms;
mod frame;
mod guard;
mod list;
mod markup;
mod pages;
mod routes;
mod site;
mod stats;

use std::fmt::Display;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use axum::Router;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::time::timeout;

pub(crate) use args::ServeArgs;
use site::Site;

use crate::content::Content;
use crate::file::DatabaseFile;
use crate::fill;
use crate::stop::Stop;

/// How long requests under way are waited for at the end.
const REQUESTS: Duration = Duration::from_secs(10);

/// How long the caches, and then the database, are waited for.
const CLOSING: Duration = Duration::from_secs(5);

pub(crate) async fn serve(args: &ServeArgs) -> Result<()> {
    let mut stop = Stop::listen()?;
    // First, so that an address in use is told before a blog is made.
    let listener = TcpListener::bind(args.listen).await;
    let listener = listener
        .with_context(|| format!("cannot listen on {}; name another address with --listen", args.listen))?;
    let file = DatabaseFile::choose(args.database.as_deref())?;
    let site = tokio::select! {
        site = open(&file, args) => Arc::new(site?),
        // Leaves by the ordinary way, so that a temporary database is removed.
        () = stop.asked() => bail!("interrupted"),
    };
    announce(listener.local_addr()?)?;
    run(listener, routes::all(Arc::clone(&site)), &mut stop).await?;
    close(&site).await;
    Ok(())
}

async fn open(file: &DatabaseFile, args: &ServeArgs) -> Result<Site> {
    if file.is_filled()? {
        say(format_args!("{} is there already and is served as it is", file.path().display()));
    } else {
        file.clear()?;
        fill("blog, rows", file, &Content::generate(args.size(), args.seed)).await?;
    }
    Site::open(file.path()).await.context("the blog does not open")
}

fn announce(address: SocketAddr) -> Result<()> {
    if !address.ip().is_loopback() {
        say("warning: there is no login, and this address may be reached from other machines");
    }
    writeln!(io::stdout(), "The blog is at http://{address}/ and stops with Ctrl-C")
        .context("cannot print the address")
}

/// Serves until asked to stop, and then lets the requests under way finish; asked once more, it waits no longer.
async fn run(listener: TcpListener, routes: Router, stop: &mut Stop) -> Result<()> {
    let (close, closing) = oneshot::channel::<()>();
    let server = axum::serve(listener, routes).with_graceful_shutdown(async {
        _ = closing.await;
    });
    let mut server = pin!(server.into_future());
    tokio::select! {
        ended = &mut server => return ended.context("the server ended"),
        () = stop.asked() => {}
    }
    say("stopping: no new requests, those under way are finished");
    drop(close);
    tokio::select! {
        ended = timeout(REQUESTS, server) => match ended {
            Ok(ended) => ended.context("the server ended")?,
            Err(_) => say(format_args!("requests still under way after {} s are given up", REQUESTS.as_secs())),
        },
        () = stop.asked() => say("requests under way are given up"),
    }
    Ok(())
}

async fn close(site: &Site) {
    for (cache, left) in site.close(CLOSING).await {
        match left {
            Ok(left) if left.is_empty() => say(format_args!("cache {cache}: closed, nothing left to do")),
            Ok(left) => {
                say(format_args!(
                    "cache {cache}: {} loads and {} writes were left undone",
                    left.loads, left.writes
                ));
            }
            Err(error) => say(format_args!("cache {cache} does not close: {error}")),
        }
    }
    if timeout(CLOSING, site.disconnect()).await.is_err() {
        say("the database is still busy; its connections are cut off");
    }
}

/// A line on standard error. That nobody reads it is no reason to stop serving.
fn say(line: impl Display) {
    _ = writeln!(io::stderr(), "{line}");
}
