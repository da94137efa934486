//! The command `keep`: stands between the driver and a program that does not watch its standard input.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::Args;
use tokio::process::Command;
use tokio::sync::oneshot;
use tokio::time::sleep;

use crate::stop::Stop;

/// How often a folder is tried to be removed.
const ATTEMPTS: usize = 50;

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

pub(crate) async fn keep(args: &KeepArgs) -> Result<()> {
    let mut stop = Stop::listen()?;
    let kept = match args.program.split_first() {
        Some((program, rest)) => run(program, rest, &args.folder, &mut stop).await,
        None => {
            until_let_go(&mut stop).await;
            Ok(())
        }
    };
    if args.remove {
        remove(&args.folder).await;
    }
    kept
}

async fn run(program: &OsStr, rest: &[OsString], folder: &Path, stop: &mut Stop) -> Result<()> {
    let mut command = Command::new(program);
    command.args(rest).current_dir(folder).kill_on_drop(true);
    // What it prints goes where errors go: that is the log.
    command.stdin(Stdio::null()).stdout(io::stderr());
    let name = program.display();
    let mut child = command.spawn().with_context(|| format!("{name} does not start"))?;
    tokio::select! {
        ended = child.wait() => bail!("{name} has ended: {}", ended?),
        () = until_let_go(stop) => {}
    }
    child.kill().await.with_context(|| format!("{name} cannot be killed"))
}

async fn until_let_go(stop: &mut Stop) {
    tokio::select! {
        () = end_of_input() => {}
        () = stop.asked() => {}
    }
}

/// Others who end at the same time may still be writing there, so it may take more than one attempt. Whoever started us
/// may remove it as well.
async fn remove(folder: &Path) {
    for _ in 0..ATTEMPTS {
        if fs::remove_dir_all(folder).is_ok() || !folder.exists() {
            return;
        }
        sleep(Duration::from_millis(100)).await;
    }
}

/// Answers when standard input ends: the driver has let go of us, or is no more.
pub(super) async fn end_of_input() {
    let (end, ended) = oneshot::channel::<()>();
    // Not a task: the runtime would wait for a read that may never return.
    thread::spawn(move || {
        _ = io::copy(&mut io::stdin().lock(), &mut io::sink());
        drop(end);
    });
    _ = ended.await;
}
