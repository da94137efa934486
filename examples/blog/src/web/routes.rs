//! Which address leads where.

use std::sync::Arc;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Form, FromRequest, FromRequestParts, Path, Request, State};
use axum::http::request::Parts;
use axum::http::{StatusCode, header::CONTENT_TYPE};
use axum::middleware;
use axum::response::{Html, IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use serde::de::DeserializeOwned;

use super::failure::Failure;
use super::forms::{self, CommentForm, EditForm};
use super::list::PageNumber;
use super::site::Site;
use super::{guard, pages};
use crate::blog::PostId;

/// Room for the longest text, each of its characters four bytes, each byte sent as three.
const BODY: usize = 1024 * 1024;

type Shared = State<Arc<Site>>;

pub(crate) fn all(site: Arc<Site>) -> Router {
    Router::new()
        .route("/", get(front))
        .route("/pages/{number}", get(list))
        .route("/posts/{id}", get(read))
        .route("/posts/{id}/comments", post(comment))
        .route("/posts/{id}/edit", get(edit).post(save))
        .route("/stats", get(stats))
        .route("/stats.json", get(stats_json))
        .fallback(async || Failure::NotFound)
        .method_not_allowed_fallback(async || Failure::WrongMethod)
        .layer(DefaultBodyLimit::max(BODY))
        .layer(middleware::from_fn(guard::refuse_strangers))
        .layer(middleware::map_response(guard::seal))
        .with_state(site)
}

async fn front(site: Shared) -> Result<Html<String>, Failure> {
    list(site, PageNumber(1)).await
}

async fn list(State(site): Shared, number: PageNumber) -> Result<Html<String>, Failure> {
    let list = site.list(number).await?.ok_or(Failure::NotFound)?;
    Ok(Html(pages::list(&list, number, site.pages())))
}

async fn read(State(site): Shared, id: PostId) -> Result<Html<String>, Failure> {
    let post = site.post(id).await?.ok_or(Failure::NotFound)?;
    Ok(Html(pages::post(id, &post, &CommentForm::default().typed())))
}

async fn comment(
    State(site): Shared,
    id: PostId,
    Posted(form): Posted<CommentForm>,
) -> Result<Response, Failure> {
    let post = site.post(id).await?.ok_or(Failure::NotFound)?;
    let [name, text] = match forms::check(form.typed()) {
        Ok(texts) => texts,
        Err(typed) => return Ok(once_more(pages::post(id, &post, &typed))),
    };
    let comment = site.comment(id, &name, &text).await?;
    Ok(Redirect::to(&format!("/posts/{}#comment-{}", id.0, comment.0)).into_response())
}

async fn edit(State(site): Shared, id: PostId) -> Result<Html<String>, Failure> {
    let post = site.post(id).await?.ok_or(Failure::NotFound)?;
    Ok(Html(pages::edit(id, &post, &EditForm::of(&post).typed())))
}

async fn save(State(site): Shared, id: PostId, Posted(form): Posted<EditForm>) -> Result<Response, Failure> {
    let post = site.post(id).await?.ok_or(Failure::NotFound)?;
    let [title, body] = match forms::check(form.typed()) {
        Ok(texts) => texts,
        Err(typed) => return Ok(once_more(pages::edit(id, &post, &typed))),
    };
    site.edit(id, &title, &body).await?;
    Ok(Redirect::to(&format!("/posts/{}", id.0)).into_response())
}

fn once_more(page: String) -> Response {
    (StatusCode::BAD_REQUEST, Html(page)).into_response()
}

async fn stats(State(site): Shared) -> Html<String> {
    Html(pages::stats(&site.stats()))
}

async fn stats_json(State(site): Shared) -> Response {
    let json = serde_json::to_string_pretty(&site.stats()).unwrap_or_default();
    ([(CONTENT_TYPE, "application/json")], json).into_response()
}

/// What is no number in an address names nothing.
async fn in_path<T: DeserializeOwned + Send, S: Send + Sync>(
    parts: &mut Parts,
    state: &S,
) -> Result<T, Failure> {
    let Path(part) = Path::from_request_parts(parts, state).await.map_err(|_| Failure::NotFound)?;
    Ok(part)
}

impl<S: Send + Sync> FromRequestParts<S> for PostId {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Failure> {
        Ok(Self(in_path(parts, state).await?))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for PageNumber {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Failure> {
        Ok(Self(in_path(parts, state).await?))
    }
}

/// A form that, when it cannot be read, is refused with a page of ours.
struct Posted<T>(T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Posted<T> {
    type Rejection = Failure;

    async fn from_request(request: Request, state: &S) -> Result<Self, Failure> {
        let Form(form) = Form::from_request(request, state).await?;
        Ok(Self(form))
    }
}
