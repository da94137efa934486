//! Requests that cannot be answered as asked.

use axum::extract::rejection::FormRejection;
use axum::http::StatusCode;
use axum::response::{Html, IntoResponse, Response};

use super::{pages, say};

#[derive(Debug)]
pub(crate) enum Failure {
    NotFound,
    WrongMethod,
    /// A page of another site sent the form.
    Stranger,
    Unreadable(StatusCode),
    Unavailable(larder::Error),
}

impl Failure {
    fn status(&self) -> StatusCode {
        match self {
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::WrongMethod => StatusCode::METHOD_NOT_ALLOWED,
            Self::Stranger => StatusCode::FORBIDDEN,
            Self::Unreadable(status) => *status,
            Self::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    fn sentence(&self) -> &'static str {
        match self {
            Self::NotFound => "There is no such page here.",
            Self::WrongMethod => "This address cannot be asked in this way.",
            Self::Stranger => "This form was sent by a page of another site. Nothing was changed.",
            Self::Unreadable(StatusCode::PAYLOAD_TOO_LARGE) => {
                "That is more than this server takes. Nothing was changed."
            }
            Self::Unreadable(_) => "This does not look like one of the forms here. Nothing was changed.",
            Self::Unavailable(_) => "Something is wrong with the database. Please try again in a while.",
        }
    }
}

impl From<larder::Error> for Failure {
    fn from(error: larder::Error) -> Self {
        Self::Unavailable(error)
    }
}

impl From<FormRejection> for Failure {
    fn from(refusal: FormRejection) -> Self {
        match refusal.status() {
            StatusCode::UNPROCESSABLE_ENTITY => Self::Unreadable(StatusCode::BAD_REQUEST),
            status => Self::Unreadable(status),
        }
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let (status, sentence) = (self.status(), self.sentence());
        // The visitor is told that it failed, whoever runs the server is told why.
        if let Self::Unavailable(error) = self {
            say(format_args!("{status}: {:#}", anyhow::Error::from(error)));
        }
        (status, Html(pages::problem(status, sentence))).into_response()
    }
}
