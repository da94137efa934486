//! Requests that cannot be answered as asked.

use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::say;
use crate::long_url::NoLongUrl;

#[derive(Debug)]
pub(super) enum Failure {
    NotFound,
    WrongMethod,
    NoUrl(NoLongUrl),
    Unreadable(StatusCode),
    Unavailable(anyhow::Error),
}

#[derive(Serialize)]
struct Problem {
    error: String,
}

impl Failure {
    fn status(&self) -> StatusCode {
        match self {
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::WrongMethod => StatusCode::METHOD_NOT_ALLOWED,
            Self::NoUrl(_) => StatusCode::BAD_REQUEST,
            Self::Unreadable(status) => *status,
            Self::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    fn sentence(&self) -> String {
        match self {
            Self::NotFound => "there is nothing here".to_owned(),
            Self::WrongMethod => "this address cannot be asked in this way".to_owned(),
            Self::NoUrl(why) => why.to_string(),
            Self::Unreadable(_) => "send JSON, as application/json: {\"url\": \"https://…\"}".to_owned(),
            Self::Unavailable(_) => {
                "something is wrong with the database; please try again in a while".to_owned()
            }
        }
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::Unavailable(error)
    }
}

impl From<JsonRejection> for Failure {
    fn from(refusal: JsonRejection) -> Self {
        match refusal.status() {
            StatusCode::UNPROCESSABLE_ENTITY => Self::Unreadable(StatusCode::BAD_REQUEST),
            status => Self::Unreadable(status),
        }
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let (status, error) = (self.status(), self.sentence());
        // The visitor is told that it failed, whoever runs the server is told why.
        if let Self::Unavailable(error) = self {
            say(format_args!("{status}: {error:#}"));
        }
        (status, Json(Problem { error })).into_response()
    }
}
