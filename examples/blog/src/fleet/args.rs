//! The settings of V3, and the command lines of the processes that it starts.

use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;

use clap::{Args, ValueEnum};

/// Which Redis the processes of V3 share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum RedisChoice {
    /// One of their own, started for the run.
    Private,
    At(RedisUrl),
}

/// Where a Redis is. It may hold a password, so it is never shown.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct RedisUrl(pub(crate) String);

impl fmt::Debug for RedisUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RedisUrl(…)")
    }
}

/// What stands before the processes of V3.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum BalancerChoice {
    /// nginx or HAProxy, whichever is installed, or else none
    Auto,
    /// nginx
    Nginx,
    /// HAProxy
    Haproxy,
    /// No program: the driver asks the processes in turn
    None,
}

/// One process of V3, as --redis starts them: serves the posts of a database on a free port of this machine
#[derive(Args, Clone, Debug)]
#[command(
    after_help = "Prints its address, and stops when its standard input ends. With --namespace it reads the URL \
                        of a Redis from the first line of it: on a command line a password could be seen."
)]
pub(crate) struct AppArgs {
    /// A database that this program has made
    #[arg(long, value_name = "PATH")]
    pub(crate) database: PathBuf,

    /// Shares its copies with other processes under this name, in a Redis [default: keeps them in memory only]
    #[arg(long, value_name = "NAME")]
    pub(crate) namespace: Option<String>,
}

/// Keeps a program, a folder or both until standard input ends, as --redis does with Redis and the balancer
#[derive(Args, Clone, Debug)]
#[command(after_help = "Whoever started it may end in any way: what it keeps goes as well.")]
pub(crate) struct KeepArgs {
    /// Where the program runs
    #[arg(long, value_name = "PATH")]
    pub(crate) folder: PathBuf,

    /// Removes the folder at the end, with all that is in it
    #[arg(long)]
    pub(crate) remove: bool,

    /// The program and its arguments [default: none]
    #[arg(last = true, value_name = "PROGRAM")]
    pub(crate) program: Vec<OsString>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_never_shown() {
        let choice = RedisChoice::At(RedisUrl("redis://:secret@cache.internal".to_owned()));
        assert_eq!(format!("{choice:?}"), "At(RedisUrl(…))");
    }
}
