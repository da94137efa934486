//! Where a link may lead.

use std::fmt::{self, Display, Formatter};
use std::str::FromStr;
use std::sync::Arc;

const LONGEST: usize = 2_048;

/// An address that a browser can be sent to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LongUrl(pub(crate) Arc<str>);

/// Why a text is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoLongUrl {
    TooLong,
    /// Neither http nor https: `javascript:` would run in whoever follows it.
    Scheme,
    NoHost,
    /// It goes into a header as it is.
    Stranger,
}

impl FromStr for LongUrl {
    type Err = NoLongUrl;

    fn from_str(text: &str) -> Result<Self, NoLongUrl> {
        if text.chars().count() > LONGEST {
            return Err(NoLongUrl::TooLong);
        }
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(NoLongUrl::Stranger);
        }
        let (scheme, rest) = text.split_once("://").ok_or(NoLongUrl::Scheme)?;
        if !["http", "https"].iter().any(|known| scheme.eq_ignore_ascii_case(known)) {
            return Err(NoLongUrl::Scheme);
        }
        if rest.is_empty() || rest.starts_with(['/', '?', '#', ':', '@']) {
            return Err(NoLongUrl::NoHost);
        }
        Ok(Self(text.into()))
    }
}

impl Display for NoLongUrl {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong => write!(f, "a URL has {LONGEST} characters at the most"),
            Self::Scheme => f.write_str("a URL begins with http:// or https://"),
            Self::NoHost => f.write_str("a URL names a host"),
            Self::Stranger => f.write_str(
                "a URL has no spaces, and what is not ASCII is written with %, in the host as xn--",
            ),
        }
    }
}

impl std::error::Error for NoLongUrl {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_browser_follows_is_taken_as_it_is() {
        let longest = format!("https://e.com/{}", "a".repeat(LONGEST - 14));
        for url in ["http://a", "https://example.com/a?b=%20c#d", "HTTPS://EXAMPLE.COM:8443/", &longest] {
            assert_eq!(url.parse::<LongUrl>().as_ref().map(|url| &*url.0), Ok(url));
        }
    }

    #[test]
    fn anything_else_is_refused_with_a_reason() {
        let too_long = format!("https://e.com/{}", "a".repeat(LONGEST - 13));
        for (text, why) in [
            ("", NoLongUrl::Scheme),
            ("example.com", NoLongUrl::Scheme),
            ("javascript://alert(1)", NoLongUrl::Scheme),
            ("ftp://example.com", NoLongUrl::Scheme),
            ("https://", NoLongUrl::NoHost),
            ("https:///path", NoLongUrl::NoHost),
            ("https://a b", NoLongUrl::Stranger),
            ("https://a\r\nset-cookie: b", NoLongUrl::Stranger),
            ("https://bücher.example", NoLongUrl::Stranger),
            (&too_long, NoLongUrl::TooLong),
        ] {
            assert_eq!(text.parse::<LongUrl>(), Err(why), "{text}");
        }
    }
}
