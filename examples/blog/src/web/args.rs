//! The command line of `serve`.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;

use crate::args::{authors, comments, posts};
use crate::content::Size;

/// Measures nothing: serves the blog with its cache (V2) as web pages, until Ctrl-C
#[derive(Args, Clone, Debug)]
#[command(after_help = "There is no login: whoever reaches the address can comment and edit every post. \
                        By default that is this machine only.")]
pub(crate) struct ServeArgs {
    /// Where to listen; with port 0 the system chooses one, and it is printed
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:3000", value_parser = listen)]
    pub(crate) listen: SocketAddr,

    /// How many posts a new blog has
    #[arg(long, value_name = "COUNT", allow_negative_numbers = true, default_value_t = 200, value_parser = posts)]
    posts: u32,

    /// How many comments it has
    #[arg(long, value_name = "COUNT", allow_negative_numbers = true, default_value_t = 2_000, value_parser = comments)]
    comments: u32,

    /// How many people have written them
    #[arg(long, value_name = "COUNT", allow_negative_numbers = true, default_value_t = 50, value_parser = authors)]
    authors: u32,

    /// Where all randomness starts: the same seed makes the same blog
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,

    /// The database file, kept at the end. A blog that is already there is served as it is, whatever its size;
    /// a file that this program did not make is refused [default: a temporary file]
    #[arg(long, value_name = "PATH")]
    pub(crate) database: Option<PathBuf>,
}

impl ServeArgs {
    pub(crate) fn size(&self) -> Size {
        Size { authors: self.authors, posts: self.posts, comments: self.comments }
    }
}

fn listen(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| "not an address with a port, such as 127.0.0.1:3000".to_owned())
}
