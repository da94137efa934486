//! A process of V3, `blog app`: [`Cached`] with HTTP in front, and how the driver starts one.
//!
//! | a request | is answered by |
//! |---|---|
//! | `GET /posts/{id}` | the page, the same as in every version |
//! | `POST /posts/{id}/comments`, a [`Wish`] as JSON | a [`Stored`] as JSON |
//! | `GET /stats` | a [`Tally`] as JSON |

use std::borrow::Cow;
use std::io::{self, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Error, Result, bail};
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{Html, IntoResponse, Response};
use axum::routing::{get, post};
use axum::serve::ListenerExt;
use axum::{Json, Router};
use larder::Redis;
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;

use super::args::AppArgs;
use super::child::{Child, ourselves};
use super::keep::end_of_input;
use super::redis::RedisServer;
use crate::blog::{AuthorId, Blog, PostId, Stored};
use crate::cached::{Cached, Shelf};
use crate::file::DatabaseFile;
use crate::mended::Mended;
use crate::meter::Meter;
use crate::tally::Tally;

/// How long Redis may take for a command. Longer than usual: the readers of this measurement keep the whole machine busy,
/// and a Redis that has to wait for its turn is not gone.
const PATIENCE: Duration = Duration::from_secs(1);

/// A comment that somebody wants to be stored.
#[derive(Debug, Deserialize, Serialize)]
pub(super) struct Wish<'a> {
    pub(super) author: AuthorId,
    pub(super) text: Cow<'a, str>,
}

/// A process that has said where it listens.
pub(super) struct App {
    child: Child,
    address: SocketAddr,
}

impl App {
    pub(super) async fn start(
        number: usize,
        database: &Path,
        share: Option<(&RedisServer, &Shelf)>,
        logs: &Path,
    ) -> Result<Self> {
        let name = format!("app process {number}");
        let mut command = Command::new(ourselves()?);
        command.arg("app").arg("--database").arg(database);
        if let Some((_, shelf)) = share {
            command.arg("--namespace").arg(&shelf.namespace);
        }
        let mut child = Child::start(&name, &mut command, logs.join(format!("app-{number}.log")))?;
        if let Some((server, _)) = share {
            child.tell(server.url())?;
        }
        let address = child.first_line().await?;
        let address = address.parse().with_context(|| format!("{name} has not said where it listens"))?;
        Ok(Self { child, address })
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Why it has ended, if it has.
    pub(super) fn trouble(&mut self) -> Option<Error> {
        self.child.trouble()
    }

    pub(super) async fn close(self) -> Result<()> {
        self.child.close().await
    }
}

/// Serves until standard input ends.
pub(crate) async fn app(args: &AppArgs) -> Result<()> {
    let shelf = args.namespace.as_deref().map(shelf).transpose()?;
    let blog = Arc::new(open(&args.database, shelf.as_ref()).await.context("the blog does not open")?);
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.context("cannot listen")?;
    writeln!(io::stdout(), "{}", listener.local_addr()?).context("cannot print the address")?;
    // Answers are small and somebody waits for each.
    let listener = listener.tap_io(|stream| _ = stream.set_nodelay(true));
    tokio::select! {
        ended = axum::serve(listener, routes(Arc::clone(&blog))) => ended.context("the server ended")?,
        () = end_of_input() => {}
    }
    blog.close().await
}

fn shelf(namespace: &str) -> Result<Shelf> {
    let mut url = String::new();
    io::stdin().read_line(&mut url).context("cannot read the URL of the Redis")?;
    let redis = Redis::builder(url.trim_end()).deadline(PATIENCE).build()?;
    Ok(Shelf { redis, namespace: namespace.to_owned() })
}

async fn open(database: &Path, shelf: Option<&Shelf>) -> Result<Cached> {
    if !DatabaseFile::looked_after(database).is_filled()? {
        bail!("{} does not hold a blog that this program has made", database.display());
    }
    let mended = Mended::open(database, Arc::new(Meter::default())).await?;
    match shelf {
        Some(shelf) => Cached::sharing(shelf, mended),
        None => Cached::new(mended),
    }
}

type Shared = State<Arc<Cached>>;

fn routes(blog: Arc<Cached>) -> Router {
    Router::new()
        .route("/posts/{id}", get(read))
        .route("/posts/{id}/comments", post(comment))
        .route("/stats", get(stats))
        .with_state(blog)
}

async fn read(State(blog): Shared, post: PostId) -> Result<Html<String>, Failure> {
    blog.page(post).await?.map(Html).ok_or(Failure::NotFound)
}

async fn comment(
    State(blog): Shared,
    post: PostId,
    Json(wish): Json<Wish<'static>>,
) -> Result<(StatusCode, Json<Stored>), Failure> {
    let stored = blog.comment(post, wish.author, &wish.text).await?;
    Ok((StatusCode::CREATED, Json(stored)))
}

async fn stats(State(blog): Shared) -> Result<Json<Tally>, Failure> {
    Ok(Json(blog.tally().await?))
}

enum Failure {
    NotFound,
    Unavailable(Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Unavailable(error)
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        match self {
            Self::NotFound => StatusCode::NOT_FOUND.into_response(),
            Self::Unavailable(error) => {
                // For the log; a log that cannot be written is no reason to stop serving.
                _ = writeln!(io::stderr(), "{error:#}");
                StatusCode::SERVICE_UNAVAILABLE.into_response()
            }
        }
    }
}
