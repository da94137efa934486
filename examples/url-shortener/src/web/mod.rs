//! The shortener over HTTP, `cargo run -p url-shortener -- serve`.
//!
//! | request | answer |
//! |---|---|
//! | `POST /api/links` with `{"url": "https://…"}` | 201 with the id; 400 with the reason |
//! | `GET /{id}` | 302 to the URL, after its click is kept; 404. `HEAD` is answered alike, and is no click |
//! | `GET /api/links/{id}/stats` | the URL and the exact number of its clicks; 404 |

mod args;
mod failure;
mod routes;

use std::fmt::Display;
use std::fs;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use axum::Router;
use larder::Redis;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::time::timeout;

pub(crate) use args::ServeArgs;

use crate::processes::{self, RedisServer, Scratch};
use crate::shortener::{CLOSING, Shortener};
use crate::stop::Stop;

/// How long requests under way are waited for at the end.
const REQUESTS: Duration = Duration::from_secs(10);

pub(crate) async fn serve(args: &ServeArgs) -> Result<()> {
    let mut stop = Stop::listen()?;
    // First, so that an address in use is told before anything is made.
    let listener = TcpListener::bind(args.listen).await;
    let listener = listener
        .with_context(|| format!("cannot listen on {}; name another address with --listen", args.listen))?;
    let scratch = Scratch::make()?;
    let folder = folder(args.folder.as_deref(), &scratch)?;
    let opening = async {
        let redis = match &args.redis {
            Some(url) => Some(RedisServer::choose(&crate::args::redis(url.clone()), &scratch).await?),
            None => None,
        };
        let tier = redis.as_ref().map(|server| Redis::new(processes::url(server))).transpose()?;
        let shortener = Shortener::open(&folder, u64::from(args.memory), tier.as_ref()).await?;
        anyhow::Ok((redis, Arc::new(shortener)))
    };
    let (_redis, shortener) = tokio::select! {
        opened = opening => opened?,
        // Leaves by the ordinary way, so that what was started ends and a temporary folder is removed.
        () = stop.asked() => bail!("interrupted"),
    };
    announce(listener.local_addr()?)?;
    run(listener, routes::all(Arc::clone(&shortener)), &mut stop).await?;
    close(&shortener).await
}

fn folder(wished: Option<&Path>, scratch: &Scratch) -> Result<PathBuf> {
    let folder = wished.map_or_else(|| scratch.path().join("service"), ToOwned::to_owned);
    fs::create_dir_all(&folder).with_context(|| format!("cannot make the folder {}", folder.display()))?;
    Ok(folder)
}

fn announce(address: SocketAddr) -> Result<()> {
    if !address.ip().is_loopback() {
        say("warning: there is no login, and this address may be reached from other machines");
    }
    writeln!(io::stdout(), "The shortener is at http://{address}/ and stops with Ctrl-C")
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

async fn close(shortener: &Shortener) -> Result<()> {
    let waiting = shortener.clicks().waiting();
    shortener.close(CLOSING).await?;
    say(format_args!("closed: {waiting} clicks waited and are in the database now"));
    Ok(())
}

/// A line on standard error. That nobody reads it is no reason to stop serving.
fn say(line: impl Display) {
    _ = writeln!(io::stderr(), "{line}");
}
