//! The command line: every setting has a default, and a wrong one is refused with a sentence.

use std::ffi::OsString;

use clap::{CommandFactory, Parser, Subcommand};

use crate::killed::AppArgs;
use crate::processes::{KeepArgs, RedisChoice, RedisUrl};
use crate::web::ServeArgs;

/// More would not fit in memory: the driver keeps a record of every request.
const MOST_REDIRECTS: u32 = 10_000_000;

const MOST_LINKS: u32 = 1_000_000;

/// Of the links, one in so many fits in memory: by the rule of thumb those get most of the clicks.
const MEMORY_PART: u32 = 5;

/// Plays a load of a hundred redirects to one new link against a URL shortener, says how fast each tier answered, and
/// compares the clicks that were made with those that are stored
#[derive(Clone, Debug, Parser)]
#[command(name = "url-shortener", args_conflicts_with_subcommands = true, disable_help_subcommand = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Option<Command>,

    /// How many links there are before the first request
    #[arg(long, value_name = "COUNT", allow_negative_numbers = true, default_value_t = 10_000, value_parser = links)]
    links: u32,

    /// How many redirects are asked for
    #[arg(long, value_name = "COUNT", allow_negative_numbers = true, default_value_t = 50_000, value_parser = redirects)]
    redirects: u32,

    /// How many links fit in memory [default: a fifth of all]
    #[arg(long, value_name = "COUNT", allow_negative_numbers = true, value_parser = memory)]
    memory: Option<u32>,

    /// How many visitors there are at a time, each of whom waits for an answer before asking again
    #[arg(long, value_name = "COUNT", allow_negative_numbers = true, default_value_t = 64, value_parser = visitors)]
    visitors: u32,

    /// Where all randomness starts: the same seed asks for the same links
    #[arg(long, default_value_t = 1)]
    seed: u64,

    /// Keeps copies in a Redis as well, below memory. Starts a private redis-server, unless the URL of a Redis is given
    #[arg(long, value_name = "URL")]
    redis: Option<Option<String>>,

    /// Runs the service in a process of its own, kills it with SIGKILL in the middle of the load, and starts it again on
    /// its journals
    #[arg(long)]
    crash: bool,

    /// Prints the figures as JSON in place of the table
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Debug, Subcommand)]
enum Command {
    Serve(ServeArgs),
    App(AppArgs),
    Keep(KeepArgs),
}

/// What is to be done.
#[derive(Clone, Debug)]
pub(crate) enum Job {
    Load(Settings),
    Serve(ServeArgs),
    App(AppArgs),
    Keep(KeepArgs),
}

/// What is to be played: the arguments, checked.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) links: u32,
    pub(crate) redirects: usize,
    pub(crate) memory: u64,
    pub(crate) visitors: usize,
    pub(crate) seed: u64,
    pub(crate) redis: Option<RedisChoice>,
    pub(crate) crash: bool,
    pub(crate) json: bool,
}

/// Reads the command line. Leaves the program after `--help` and after a wrong argument.
pub(crate) fn job() -> Job {
    parse(std::env::args_os()).unwrap_or_else(|refusal| refusal.exit())
}

fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Job, clap::Error> {
    let given: Vec<_> = args.into_iter().collect();
    let mut args = Args::try_parse_from(&given).map_err(|refusal| without_urls(refusal, &given))?;
    Ok(match args.command.take() {
        Some(Command::Serve(serve)) => Job::Serve(serve),
        Some(Command::App(app)) => Job::App(app),
        Some(Command::Keep(keep)) => Job::Keep(keep),
        None => Job::Load(settings(args)),
    })
}

/// A refusal repeats what was wrong, and in a URL there may be a password.
fn without_urls(refusal: clap::Error, given: &[OsString]) -> clap::Error {
    let text = refusal.to_string();
    let mut urls = given.iter().map(|arg| arg.to_string_lossy()).filter(|arg| arg.contains("://"));
    if urls.any(|url| text.contains(&*url)) {
        let sentence = "there is a URL where none is expected; that of a Redis follows --redis";
        return Args::command().error(refusal.kind(), sentence);
    }
    refusal
}

fn settings(args: Args) -> Settings {
    Settings {
        links: args.links,
        redirects: args.redirects as usize,
        memory: u64::from(args.memory.unwrap_or_else(|| (args.links / MEMORY_PART).max(1))),
        visitors: args.visitors as usize,
        seed: args.seed,
        redis: args.redis.map(redis),
        crash: args.crash,
        json: args.json,
    }
}

/// What `--redis` asks for, with a URL or without.
pub(crate) fn redis(url: Option<String>) -> RedisChoice {
    url.map_or(RedisChoice::Private, |url| RedisChoice::At(RedisUrl(url)))
}

fn links(text: &str) -> Result<u32, String> {
    match whole(text)? {
        0 => Err("without links there is nothing to follow".to_owned()),
        links => at_most(MOST_LINKS, links),
    }
}

fn redirects(text: &str) -> Result<u32, String> {
    match whole(text)? {
        0 => Err("without redirects there is nothing to measure".to_owned()),
        redirects => at_most(MOST_REDIRECTS, redirects),
    }
}

pub(crate) fn memory(text: &str) -> Result<u32, String> {
    match whole(text)? {
        0 => Err("without room for a link memory is of no use".to_owned()),
        links => at_most(100_000_000, links),
    }
}

fn visitors(text: &str) -> Result<u32, String> {
    match whole(text)? {
        0 => Err("somebody must ask".to_owned()),
        visitors => at_most(10_000, visitors),
    }
}

fn whole(text: &str) -> Result<u32, String> {
    text.parse().map_err(|_| "not a whole number that makes sense here".to_owned())
}

fn at_most(most: u32, value: u32) -> Result<u32, String> {
    if value > most {
        return Err(format!("{most} is the most this program takes"));
    }
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse_line(line: &str) -> Result<Job, clap::Error> {
        parse(["url-shortener"].into_iter().chain(line.split_whitespace()).map(OsString::from))
    }

    fn load(line: &str) -> Settings {
        match parse_line(line).unwrap() {
            Job::Load(settings) => settings,
            other => panic!("{line} is another job: {other:?}"),
        }
    }

    #[test]
    fn the_command_line_is_well_formed() {
        Args::command().debug_assert();
    }

    #[test]
    fn everything_has_a_default() {
        let settings = load("");
        assert_eq!(settings.memory, u64::from(settings.links) / 5);
        assert_eq!((settings.redis, settings.crash), (None, false));
        assert_eq!(load("--links 3").memory, 1);
    }

    #[test]
    fn a_redis_may_be_named_or_left_to_us() {
        assert_eq!(load("--redis --crash").redis, Some(RedisChoice::Private));
        let named = RedisChoice::At(RedisUrl("redis://cache.internal".to_owned()));
        assert_eq!(load("--redis redis://cache.internal").redis, Some(named));
    }

    #[test]
    fn a_url_in_the_wrong_place_is_not_repeated() {
        for line in
            ["redis://:secret@host", "--links redis://:secret@host", "serve --no=redis://:secret@host"]
        {
            let refusal = parse_line(line).unwrap_err().to_string();
            assert!(!refusal.contains("secret") && refusal.starts_with("error: "), "{line}: {refusal}");
        }
    }

    #[test]
    fn nonsense_is_refused_with_a_sentence() {
        for (line, sentence) in [
            ("--links 0", "nothing to follow"),
            ("--links 3000000", "is the most this program takes"),
            ("--redirects 0", "nothing to measure"),
            ("--redirects -1", "not a whole number"),
            ("--memory 0", "memory is of no use"),
            ("--visitors 0", "somebody must ask"),
            ("--no-such-flag", "--no-such-flag"),
            ("serve --listen here", "not an address"),
        ] {
            let refusal = parse_line(line).unwrap_err().to_string();
            assert!(refusal.contains(sentence), "{line}: {refusal}");
        }
    }
}
