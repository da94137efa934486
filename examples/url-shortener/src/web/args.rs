//! The command line of `serve`.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;

use crate::args::memory;

/// Measures nothing: serves the shortener over HTTP, until Ctrl-C
#[derive(Args, Clone, Debug)]
#[command(
    after_help = "There is no login: whoever reaches the address can make links to anywhere. By default that is \
                        this machine only."
)]
pub(crate) struct ServeArgs {
    /// Where to listen; with port 0 the system chooses one, and it is printed
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:3000", value_parser = listen)]
    pub(crate) listen: SocketAddr,

    /// Where the database and the journals are, made if there is none, and kept at the end. One process at a time
    /// [default: a temporary folder]
    #[arg(long, value_name = "PATH")]
    pub(crate) folder: Option<PathBuf>,

    /// How many links fit in memory
    #[arg(long, value_name = "COUNT", allow_negative_numbers = true, default_value_t = 100_000, value_parser = memory)]
    pub(crate) memory: u32,

    /// Keeps copies in a Redis as well, below memory. Starts a private redis-server, unless the URL of a Redis is given
    #[arg(long, value_name = "URL")]
    pub(crate) redis: Option<Option<String>>,
}

fn listen(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| "not an address with a port, such as 127.0.0.1:3000".to_owned())
}
