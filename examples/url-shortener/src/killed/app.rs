//! A process that serves until its standard input ends, and then closes in good order; or is killed.

use std::io::{self, BufRead, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;

use anyhow::{Context, Result};
use clap::Args;
use larder::Redis;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::pipe::{Answer, Asked, Request, Said, Start};
use crate::service::make;
use crate::shortener::{CLOSING, Shortener};

/// The service in a process of its own, as --crash starts it
#[derive(Args, Clone, Debug)]
#[command(
    after_help = "Reads requests from its standard input, a line of JSON for each, and answers on its output."
)]
pub(crate) struct AppArgs {
    /// Where its database and its journals are
    #[arg(long, value_name = "PATH")]
    folder: PathBuf,

    /// How many links it keeps in memory
    #[arg(long, value_name = "COUNT")]
    memory: u64,
}

pub(crate) async fn app(args: &AppArgs) -> Result<()> {
    let mut lines = lines();
    let start = lines.recv().await.context("nothing was said")?;
    let start: Start = serde_json::from_str(&start).context("cannot read what was said first")?;
    let ended = match open(args, start).await {
        Ok(shortener) => serve(Arc::new(shortener), &mut lines).await,
        Err(error) => Err(error),
    };
    if let Err(error) = &ended {
        say(&Said::Failed(format!("{error:#}")));
    }
    ended
}

async fn open(args: &AppArgs, start: Start) -> Result<Shortener> {
    let redis = start.redis.map(Redis::new).transpose()?;
    Shortener::open(&args.folder, args.memory, redis.as_ref()).await
}

async fn serve(shortener: Arc<Shortener>, lines: &mut mpsc::UnboundedReceiver<String>) -> Result<()> {
    say(&Said::Ready);
    let mut under_way = JoinSet::new();
    while let Some(line) = lines.recv().await {
        let asked: Asked = serde_json::from_str(&line).context("cannot read what was asked")?;
        let shortener = Arc::clone(&shortener);
        under_way.spawn(async move {
            let answer = answer(&shortener, asked.request).await;
            say(&Said::Answered { number: asked.number, answer });
        });
        while under_way.try_join_next().is_some() {}
    }
    while under_way.join_next().await.is_some() {}
    say(&Said::Closed(shortener.close(CLOSING).await?));
    Ok(())
}

async fn answer(shortener: &Shortener, request: Request) -> Answer {
    let answer = match request {
        Request::Create { url } => make(shortener, &url).await.map(Answer::Created),
        Request::Follow { id } => shortener.follow(id, None).await.map(Answer::Followed),
    };
    answer.unwrap_or_else(|error| Answer::Failed(format!("{error:#}")))
}

/// Those of standard input. A thread of its own reads them, since it may wait for ever.
fn lines() -> mpsc::UnboundedReceiver<String> {
    let (say, said) = mpsc::unbounded_channel();
    thread::spawn(move || {
        for line in io::stdin().lock().lines().map_while(Result::ok) {
            if say.send(line).is_err() {
                return;
            }
        }
    });
    said
}

/// In one piece, so that lines do not mix. That nobody listens any more is no concern of ours.
fn say(said: &Said) {
    if let Ok(mut line) = serde_json::to_string(said) {
        line.push('\n');
        let mut out = io::stdout().lock();
        _ = out.write_all(line.as_bytes()).and_then(|()| out.flush());
    }
}
