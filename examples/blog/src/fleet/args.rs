//! The settings of V3, and the command line of a process of it.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

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
