//! Who may send a form, and what a browser may do with a page.

use axum::extract::Request;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, HOST, HeaderName, ORIGIN, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, HeaderValue};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::failure::Failure;

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Nothing but our own markup and its style: no script, no image, no frame, even if one slipped into a page.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; base-uri 'none'; \
                      frame-ancestors 'none'";

/// Lets reads pass, and refuses a form that a page of another site has sent. There is no cookie such a page could
/// borrow, but where the server can be reached from this machine only, the visitor's browser is the way in.
pub(crate) async fn refuse_strangers(request: Request, next: Next) -> Response {
    if request.method().is_safe() || is_ours(request.headers()) {
        return next.run(request).await;
    }
    Failure::Stranger.into_response()
}

/// Browsers say where a form comes from: in `Sec-Fetch-Site`, and where that is not sent, in `Origin`. Who sends
/// neither is no browser, and nobody's way in.
fn is_ours(headers: &HeaderMap) -> bool {
    if let Some(site) = headers.get(SEC_FETCH_SITE) {
        return site == "same-origin" || site == "none";
    }
    let Some(origin) = headers.get(ORIGIN) else {
        return true;
    };
    let host = headers.get(HOST).and_then(|host| host.to_str().ok());
    let origin = origin.to_str().ok().and_then(|origin| origin.split_once("://"));
    matches!((host, origin), (Some(host), Some((_, origin))) if host == origin)
}

pub(crate) async fn seal(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    // Not `no-referrer`: our own forms would then come from the origin `null`.
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("same-origin"));
    // A browser's copy would outlive the next comment.
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent_with(headers: &[(HeaderName, &'static str)]) -> bool {
        let header =
            |(name, value): &(HeaderName, &'static str)| (name.clone(), HeaderValue::from_static(value));
        is_ours(&headers.iter().map(header).collect())
    }

    #[test]
    fn our_own_pages_may_send_forms() {
        let host = (HOST, "127.0.0.1:3000");
        assert!(sent_with(&[host.clone(), (SEC_FETCH_SITE, "same-origin")]));
        assert!(sent_with(&[host.clone(), (ORIGIN, "http://127.0.0.1:3000")]));
        assert!(sent_with(&[host]));
    }

    #[test]
    fn pages_of_others_may_not() {
        let host = (HOST, "127.0.0.1:3000");
        for other in [
            (SEC_FETCH_SITE, "cross-site"),
            (SEC_FETCH_SITE, "same-site"),
            (ORIGIN, "http://127.0.0.1:4000"),
            (ORIGIN, "http://evil.example"),
            (ORIGIN, "null"),
            (ORIGIN, ""),
        ] {
            assert!(!sent_with(&[host.clone(), other.clone()]), "{other:?}");
        }
        assert!(!sent_with(&[(ORIGIN, "http://127.0.0.1:3000")]), "without a host nothing can be compared");
    }
}
