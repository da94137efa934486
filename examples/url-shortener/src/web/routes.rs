//! Which address leads where.
//!
//! A redirect is a 302 that nobody keeps: a 301, or a copy in a browser, would be followed without a click that we could
//! count.

use std::sync::Arc;

use axum::extract::rejection::JsonRejection;
use axum::extract::{DefaultBodyLimit, Json, Path, State};
use axum::http::header::{CACHE_CONTROL, LOCATION, REFERER};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Router, middleware};
use serde::{Deserialize, Serialize};

use super::failure::Failure;
use crate::link::Link;
use crate::link_id::LinkId;
use crate::shortener::Shortener;

/// Room for the longest URL, each of its characters escaped.
const BODY: usize = 32 * 1024;

/// How much of the page that a visitor came from is kept.
const REFERER_KEPT: usize = 200;

type Shared = State<Arc<Shortener>>;

pub(super) fn all(shortener: Arc<Shortener>) -> Router {
    Router::new()
        .route("/api/links", post(create))
        .route("/api/links/{id}/stats", get(stats))
        .route("/{id}", get(follow).head(look))
        .fallback(async || Failure::NotFound)
        .method_not_allowed_fallback(async || Failure::WrongMethod)
        .layer(DefaultBodyLimit::max(BODY))
        .layer(middleware::map_response(keep_nowhere))
        .with_state(shortener)
}

#[derive(Deserialize)]
struct NewLink {
    url: String,
}

#[derive(Serialize)]
struct Made {
    id: String,
    url: String,
}

#[derive(Serialize)]
struct Stats {
    id: String,
    url: String,
    /// In seconds since 1970.
    created_at: u64,
    clicks: i64,
}

async fn create(
    State(shortener): Shared,
    new: Result<Json<NewLink>, JsonRejection>,
) -> Result<Response, Failure> {
    let Json(new) = new?;
    let url = new.url.parse().map_err(Failure::NoUrl)?;
    let id = shortener.create(&url).await?.to_string();
    let location = [(LOCATION, format!("/{id}"))];
    Ok((StatusCode::CREATED, location, Json(Made { id, url: new.url })).into_response())
}

async fn follow(
    State(shortener): Shared,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    let followed = shortener.follow(link(&id)?, referer(&headers)).await?;
    let to = followed.to.ok_or(Failure::NotFound)?;
    Ok(redirect(&to.link))
}

/// Whoever only looks where a link leads has not clicked on it.
async fn look(State(shortener): Shared, Path(id): Path<String>) -> Result<Response, Failure> {
    let (link, _) = shortener.stats(link(&id)?).await?.ok_or(Failure::NotFound)?;
    Ok(redirect(&link))
}

async fn stats(State(shortener): Shared, Path(id): Path<String>) -> Result<Json<Stats>, Failure> {
    let (link, clicks) = shortener.stats(link(&id)?).await?.ok_or(Failure::NotFound)?;
    Ok(Json(Stats { id, url: link.url.to_string(), created_at: link.created_at, clicks }))
}

fn redirect(link: &Link) -> Response {
    (StatusCode::FOUND, [(LOCATION, link.url.to_string())]).into_response()
}

/// What is no id is nobody's, and needs no lookup.
fn link(id: &str) -> Result<LinkId, Failure> {
    id.parse().map_err(|_| Failure::NotFound)
}

fn referer(headers: &HeaderMap) -> Option<&str> {
    let referer = headers.get(REFERER)?.to_str().ok()?;
    // It is ASCII, so that it may be cut anywhere.
    Some(&referer[..referer.len().min(REFERER_KEPT)])
}

async fn keep_nowhere(response: Response) -> Response {
    ([(CACHE_CONTROL, "no-store")], response).into_response()
}
