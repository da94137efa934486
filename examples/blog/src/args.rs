//! The command line: every setting has a default, and a wrong one is refused with a sentence.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::{CommandFactory, Parser, Subcommand, ValueEnum, error::ErrorKind};

use crate::content::Size;
use crate::web::ServeArgs;

/// More would not fit in memory: the driver keeps a record of every request.
const MOST_REQUESTS: f64 = 10_000_000.0;

/// Serves the same readers with three versions of a blog and measures what each change was worth:
/// V0 with naive queries, V1 with mended queries, V2 with a cache in front of V1.
#[derive(Clone, Debug, Parser)]
#[command(name = "blog", args_conflicts_with_subcommands = true, disable_help_subcommand = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Option<Command>,

    /// How many posts the blog has
    #[arg(long, value_name = "COUNT", allow_negative_numbers = true, default_value_t = 1_000, value_parser = posts)]
    posts: u32,

    /// How many comments it has before the first request
    #[arg(long, value_name = "COUNT", allow_negative_numbers = true, default_value_t = 40_000, value_parser = comments)]
    comments: u32,

    /// How many people write posts and comments
    #[arg(long, value_name = "COUNT", allow_negative_numbers = true, default_value_t = 200, value_parser = authors)]
    authors: u32,

    /// Requests per second, on average; readers do not wait for one another
    #[arg(long, value_name = "PER_SECOND", allow_negative_numbers = true, default_value_t = 500.0, value_parser = rate)]
    rate: f64,

    /// For how long requests arrive
    #[arg(long, allow_negative_numbers = true, default_value_t = 5.0, value_parser = seconds)]
    seconds: f64,

    /// How many requests arrive (in place of --seconds)
    #[arg(long, value_name = "COUNT", allow_negative_numbers = true, conflicts_with = "seconds", value_parser = requests)]
    requests: Option<u32>,

    /// How many seconds after the last arrival the unanswered requests are given up
    #[arg(long, value_name = "SECONDS", allow_negative_numbers = true, default_value_t = 60.0, value_parser = seconds)]
    patience: f64,

    /// Where all randomness starts: the same seed makes the same blog and the same readers
    #[arg(long, default_value_t = 1)]
    seed: u64,

    /// The database file, made anew for each version and kept at the end; a file that this program did
    /// not make is never replaced [default: a temporary file]
    #[arg(long, value_name = "PATH")]
    database: Option<PathBuf>,

    /// Runs only these versions, for example v1,v2
    #[arg(long, value_name = "VERSION", value_delimiter = ',')]
    only: Vec<Version>,

    /// Prints the figures as JSON in place of the table
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Debug, Subcommand)]
enum Command {
    Serve(ServeArgs),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum Version {
    /// Naive queries
    V0,
    /// Mended queries
    V1,
    /// Mended queries behind a cache
    V2,
}

/// What is to be done.
#[derive(Clone, Debug)]
pub(crate) enum Job {
    Measure(Settings),
    Serve(ServeArgs),
}

/// What is to be measured: the arguments, checked.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) size: Size,
    pub(crate) rate: f64,
    pub(crate) requests: usize,
    pub(crate) patience: Duration,
    pub(crate) seed: u64,
    pub(crate) database: Option<PathBuf>,
    pub(crate) versions: Vec<Version>,
    pub(crate) json: bool,
}

/// Reads the command line. Leaves the program after `--help` and after a wrong argument.
pub(crate) fn job() -> Job {
    parse(std::env::args_os()).unwrap_or_else(|refusal| refusal.exit())
}

fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Job, clap::Error> {
    let mut args = Args::try_parse_from(args)?;
    match args.command.take() {
        Some(Command::Serve(serve)) => Ok(Job::Serve(serve)),
        None => settings(args).map(Job::Measure),
    }
}

fn settings(args: Args) -> Result<Settings, clap::Error> {
    let requests =
        requests_of(&args).map_err(|refusal| Args::command().error(ErrorKind::ValueValidation, refusal))?;
    Ok(Settings {
        size: Size { authors: args.authors, posts: args.posts, comments: args.comments },
        rate: args.rate,
        requests,
        patience: Duration::from_secs_f64(args.patience),
        seed: args.seed,
        database: args.database,
        versions: versions(args.only),
        json: args.json,
    })
}

fn requests_of(args: &Args) -> Result<usize, String> {
    if let Some(requests) = args.requests {
        return Ok(requests as usize);
    }
    let requests = (args.rate * args.seconds).round();
    let wish = format!("{} requests a second for {} s", args.rate, args.seconds);
    match requests {
        ..1.0 => Err(format!("{wish} makes not even one request")),
        MOST_REQUESTS.. => Err(format!("{wish} makes more than {MOST_REQUESTS} requests")),
        _ => Ok(requests as usize),
    }
}

fn versions(mut only: Vec<Version>) -> Vec<Version> {
    if only.is_empty() {
        return Version::value_variants().to_vec();
    }
    only.sort_unstable();
    only.dedup();
    only
}

pub(crate) fn posts(text: &str) -> Result<u32, String> {
    match whole(text)? {
        0 => Err("a blog without posts has no pages to serve".to_owned()),
        posts => at_most(100_000, posts),
    }
}

pub(crate) fn comments(text: &str) -> Result<u32, String> {
    at_most(1_000_000, whole(text)?)
}

pub(crate) fn authors(text: &str) -> Result<u32, String> {
    match whole(text)? {
        0 => Err("somebody must have written the posts".to_owned()),
        authors => at_most(100_000, authors),
    }
}

fn requests(text: &str) -> Result<u32, String> {
    match whole(text)? {
        0 => Err("without requests there is nothing to measure".to_owned()),
        requests => at_most(MOST_REQUESTS as u32, requests),
    }
}

fn rate(text: &str) -> Result<f64, String> {
    match number(text)? {
        rate if rate <= 0.0 => Err("at this rate no request would ever arrive".to_owned()),
        rate if rate > 100_000.0 => {
            Err("the driver cannot send more than 100000 requests a second".to_owned())
        }
        rate => Ok(rate),
    }
}

fn seconds(text: &str) -> Result<f64, String> {
    match number(text)? {
        seconds if seconds <= 0.0 => Err("the time must be longer than nothing".to_owned()),
        seconds if seconds > 86_400.0 => Err("more than a day is too long".to_owned()),
        seconds => Ok(seconds),
    }
}

fn whole(text: &str) -> Result<u32, String> {
    text.parse().map_err(|_| "not a whole number that makes sense here".to_owned())
}

fn number(text: &str) -> Result<f64, String> {
    let number = text.parse().ok().filter(|number: &f64| number.is_finite());
    number.ok_or_else(|| "not a number".to_owned())
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
        parse(["blog"].into_iter().chain(line.split_whitespace()).map(OsString::from))
    }

    fn measure(line: &str) -> Settings {
        match parse_line(line).unwrap() {
            Job::Measure(settings) => settings,
            Job::Serve(_) => panic!("{line} serves"),
        }
    }

    fn serve(line: &str) -> ServeArgs {
        match parse_line(line).unwrap() {
            Job::Serve(args) => args,
            Job::Measure(_) => panic!("{line} measures"),
        }
    }

    fn refusal(line: &str) -> String {
        parse_line(line).unwrap_err().to_string()
    }

    #[test]
    fn the_command_line_is_well_formed() {
        Args::command().debug_assert();
    }

    #[test]
    fn everything_has_a_default() {
        let settings = measure("");
        assert_eq!(settings.requests as f64, settings.rate * 5.0);
        assert_eq!(settings.versions, [Version::V0, Version::V1, Version::V2]);
        assert_eq!(settings.database, None);
    }

    #[test]
    fn requests_are_counted_or_follow_from_the_time() {
        assert_eq!(measure("--requests 7").requests, 7);
        assert_eq!(measure("--rate 30 --seconds 1.5").requests, 45);
    }

    #[test]
    fn versions_may_be_chosen_in_any_order() {
        assert_eq!(measure("--only v2,v1 --only v2").versions, [Version::V1, Version::V2]);
    }

    #[test]
    fn serving_has_settings_of_its_own() {
        assert!(serve("serve").listen.ip().is_loopback());
        let args = serve("serve --listen [::1]:0 --posts 7 --comments 0 --authors 2");
        assert_eq!(args.listen.to_string(), "[::1]:0");
        assert_eq!((args.size().posts, args.size().comments, args.size().authors), (7, 0, 2));
    }

    #[test]
    fn nonsense_is_refused_with_a_sentence() {
        for (line, sentence) in [
            ("--posts 0", "without posts has no pages"),
            ("--posts 3000000", "is the most this program takes"),
            ("--authors 0", "somebody must have written"),
            ("--comments -1", "not a whole number"),
            ("--rate -3", "no request would ever arrive"),
            ("--rate 0", "no request would ever arrive"),
            ("--rate NaN", "not a number"),
            ("--rate fast", "not a number"),
            ("--rate 1e9", "cannot send more than"),
            ("--seconds 0", "longer than nothing"),
            ("--seconds 1e300", "more than a day"),
            ("--requests 0", "nothing to measure"),
            ("--rate 0.1 --seconds 1", "makes not even one request"),
            ("--rate 90000 --seconds 80000", "makes more than 10000000 requests"),
            ("--only v3", "[possible values: v0, v1, v2]"),
            ("--requests 5 --seconds 5", "cannot be used with"),
            ("--post 5", "unexpected argument"),
            ("--posts 5 serve", "cannot be used with"),
            ("server", "unrecognized subcommand"),
            ("serve --rate 5", "unexpected argument"),
            ("serve --posts 0", "without posts has no pages"),
            ("serve --listen 3000", "not an address with a port"),
            ("serve --listen 127.0.0.1:70000", "not an address with a port"),
        ] {
            assert!(refusal(line).contains(sentence), "{line}: {}", refusal(line));
        }
    }
}
