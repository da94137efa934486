//! Why a server did not do what it was asked, in words that hold no key, no value and no credential.

use std::fmt;

use redis::{ErrorKind as Kind, RedisError, ServerErrorKind};

use super::slots::Elsewhere;
use crate::error::Error;

/// Why a command failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// The breaker is open: it was not asked.
    Away,
    /// It did not answer in time.
    Late,
    /// The connection broke before the answer was here.
    Lost,
    /// No connection could be made.
    Unreachable(String),
    /// The callback gave no credentials, or the server did not take them.
    Credentials,
    /// There is no tokio runtime here, or it has no timers.
    NoRuntime,
    /// It answered, and cannot serve: it is loading its data, or it is no primary.
    Unable(String),
    /// It answered with an error.
    Refused(String),
    /// It answered with something else than was asked for.
    Odd,
    /// It does not know the script; never seen outside `lanes`.
    NoScript,
    /// The key is on another node.
    Elsewhere(Elsewhere),
    /// The keys of one command are on two nodes at the moment.
    Parted,
    /// It is no server of the kind that was asked for.
    Unfit(&'static str),
}

impl Fault {
    pub(super) fn of(error: &RedisError) -> Self {
        // Never the text of the error: a server may repeat what it was sent.
        let code = || error.code().unwrap_or("an error without a code").to_owned();
        match error.kind() {
            Kind::AuthenticationFailed => Self::Credentials,
            Kind::Server(ServerErrorKind::NoScript) => Self::NoScript,
            Kind::Server(kind @ (ServerErrorKind::Moved | ServerErrorKind::Ask)) => {
                match error.redirect_node() {
                    Some((to, _slot)) => {
                        Self::Elsewhere(Elsewhere { to: to.to_owned(), once: kind == ServerErrorKind::Ask })
                    }
                    None => Self::Odd,
                }
            }
            Kind::Server(ServerErrorKind::TryAgain | ServerErrorKind::CrossSlot) => Self::Parted,
            Kind::Server(
                ServerErrorKind::BusyLoading
                | ServerErrorKind::ReadOnly
                | ServerErrorKind::MasterDown
                | ServerErrorKind::ClusterDown,
            ) => Self::Unable(code()),
            Kind::Server(_) | Kind::Extension if matches!(error.code(), Some("WRONGPASS" | "NOAUTH")) => {
                Self::Credentials
            }
            Kind::Server(_) | Kind::Extension => Self::Refused(code()),
            Kind::UnexpectedReturnType | Kind::Parse => Self::Odd,
            _ if error.is_timeout() => Self::Late,
            _ => Self::Lost,
        }
    }

    /// Whether the server can be expected to serve other calls.
    pub(super) fn is_about_this_call(&self) -> bool {
        matches!(self, Self::Refused(_) | Self::Odd | Self::NoScript | Self::Elsewhere(_) | Self::Parted)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Away => f.write_str("Redis has not been answering; it is asked again as soon as it does"),
            Self::Late => f.write_str("Redis did not answer within the deadline"),
            Self::Lost => f.write_str("the connection to Redis broke before it had answered"),
            Self::Unreachable(why) => write!(f, "no connection to Redis can be made: {why}"),
            Self::Credentials => f.write_str("Redis did not take the credentials, or none were given"),
            Self::NoRuntime => f.write_str("there is no tokio runtime with timers here"),
            Self::Unable(code) => write!(f, "Redis cannot serve now: {code}"),
            Self::Refused(code) => write!(f, "Redis answered {code}"),
            Self::Odd => f.write_str("Redis answered something else than was asked for"),
            Self::Elsewhere(_) | Self::Parted => {
                f.write_str("the nodes of the cluster do not agree on who has a key")
            }
            Self::Unfit(why) => write!(f, "this Redis cannot be used: {why}"),
            Self::NoScript => f.write_str("Redis does not know a script, even though it was sent along"),
        }
    }
}

impl std::error::Error for Fault {}

impl From<Fault> for Error {
    fn from(fault: Fault) -> Self {
        Self::tier(fault)
    }
}
