//! The command line: every setting has a default, and a wrong one is refused with a sentence.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::{CommandFactory, Parser, Subcommand, ValueEnum, error::ErrorKind};

use crate::content::Size;
use crate::fleet::{AppArgs, BalancerChoice, KeepArgs, RedisChoice, RedisUrl};
use crate::web::ServeArgs;

/// More would not fit in memory: the driver keeps a record of every request.
const MOST_REQUESTS: f64 = 10_000_000.0;

/// The driver has one thread that sends.
const MOST_RATE: f64 = 100_000.0;

/// How much more traffic V2 and V3 are compared at.
pub(crate) const TENFOLD: usize = 10;

/// Serves the same readers with versions of a blog and measures what each change was worth: V0 with naive queries,
/// V1 with mended queries, V2 with a cache in front of V1; and with --redis V3, three processes that share their copies.
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

    /// Measures V3 as well: three processes of the blog behind a load balancer, sharing one Redis; and then V2 against V3
    /// at ten times the traffic. Starts a private redis-server, unless the URL of a Redis is given. On one machine the three
    /// share what the one has to itself: expect to see what they cost, not what several machines would gain
    #[arg(long, value_name = "URL")]
    redis: Option<Option<String>>,

    /// What stands before the processes of V3
    #[arg(long, value_enum, requires = "redis", default_value_t = BalancerChoice::Auto)]
    balancer: BalancerChoice,

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
    App(AppArgs),
    Keep(KeepArgs),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum Version {
    /// Naive queries
    V0,
    /// Mended queries
    V1,
    /// Mended queries behind a cache
    V2,
    /// Three processes sharing their copies in a Redis; needs --redis
    V3,
}

/// What is to be done.
#[derive(Clone, Debug)]
pub(crate) enum Job {
    Measure(Settings),
    Serve(ServeArgs),
    App(AppArgs),
    Keep(KeepArgs),
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
    /// Chosen whenever V3 is among the versions.
    pub(crate) redis: Option<RedisChoice>,
    pub(crate) balancer: BalancerChoice,
    pub(crate) json: bool,
}

/// Reads the command line. Leaves the program after `--help` and after a wrong argument.
pub(crate) fn job() -> Job {
    parse(std::env::args_os()).unwrap_or_else(|refusal| refusal.exit())
}

fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Job, clap::Error> {
    let given: Vec<_> = args.into_iter().collect();
    let mut args = Args::try_parse_from(&given).map_err(|refusal| without_urls(refusal, &given))?;
    match args.command.take() {
        Some(Command::Serve(serve)) => Ok(Job::Serve(serve)),
        Some(Command::App(app)) => Ok(Job::App(app)),
        Some(Command::Keep(keep)) => Ok(Job::Keep(keep)),
        None => settings(args).map(Job::Measure),
    }
}

/// A refusal repeats what was wrong, and in a URL there may be a password.
fn without_urls(refusal: clap::Error, given: &[OsString]) -> clap::Error {
    let text = refusal.to_string();
    let urls = given.iter().map(|arg| arg.to_string_lossy()).filter(|arg| arg.contains("://"));
    if urls.into_iter().any(|url| text.contains(&*url)) {
        let sentence = "there is a URL where none is expected; that of a Redis follows --redis";
        return Args::command().error(refusal.kind(), sentence);
    }
    refusal
}

fn settings(args: Args) -> Result<Settings, clap::Error> {
    check(args).map_err(|refusal| Args::command().error(ErrorKind::ValueValidation, refusal))
}

fn check(args: Args) -> Result<Settings, String> {
    let requests = requests_of(&args)?;
    let versions = versions(&args)?;
    if args.redis.is_some() {
        ten_times(requests, args.rate)?;
    }
    Ok(Settings {
        size: Size { authors: args.authors, posts: args.posts, comments: args.comments },
        rate: args.rate,
        requests,
        patience: Duration::from_secs_f64(args.patience),
        seed: args.seed,
        database: args.database,
        versions,
        redis: args.redis.map(|url| url.map_or(RedisChoice::Private, |url| RedisChoice::At(RedisUrl(url)))),
        balancer: args.balancer,
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

fn versions(args: &Args) -> Result<Vec<Version>, String> {
    let mut only = args.only.clone();
    if only.is_empty() {
        let all = Version::value_variants().iter().copied();
        return Ok(all.filter(|&version| version != Version::V3 || args.redis.is_some()).collect());
    }
    only.sort_unstable();
    only.dedup();
    match (only.contains(&Version::V3), args.redis.is_some()) {
        (true, false) => Err("the processes of V3 share a Redis: add --redis".to_owned()),
        (false, true) => Err("--redis is for V3, which --only leaves out".to_owned()),
        _ => Ok(only),
    }
}

/// With --redis the same limits hold for the comparison at ten times the traffic.
fn ten_times(requests: usize, rate: f64) -> Result<(), String> {
    if rate * TENFOLD as f64 > MOST_RATE {
        return Err(format!("with --redis {} requests a second is the most", MOST_RATE / TENFOLD as f64));
    }
    if (requests * TENFOLD) as f64 > MOST_REQUESTS {
        return Err(format!("with --redis {} requests is the most", MOST_REQUESTS / TENFOLD as f64));
    }
    Ok(())
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
        rate if rate > MOST_RATE => {
            Err(format!("the driver cannot send more than {MOST_RATE} requests a second"))
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
            other => panic!("{line} is another job: {other:?}"),
        }
    }

    fn serve(line: &str) -> ServeArgs {
        match parse_line(line).unwrap() {
            Job::Serve(args) => args,
            other => panic!("{line} is another job: {other:?}"),
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
    fn a_redis_may_be_named_or_left_to_us() {
        assert_eq!(measure("").redis, None);
        let all = [Version::V0, Version::V1, Version::V2, Version::V3];
        assert_eq!(
            (measure("--redis").redis, &measure("--redis").versions[..]),
            (Some(RedisChoice::Private), &all[..])
        );
        let named = measure("--redis redis://cache.internal --only v3 --balancer none");
        assert_eq!(named.redis, Some(RedisChoice::At(RedisUrl("redis://cache.internal".to_owned()))));
        assert_eq!((&named.versions[..], named.balancer), (&[Version::V3][..], BalancerChoice::None));
    }

    #[test]
    fn a_url_in_the_wrong_place_is_not_repeated() {
        for line in ["redis://:secret@host", "--posts redis://:secret@host", "--no=redis://:secret@host"] {
            let refusal = refusal(line);
            assert!(!refusal.contains("secret") && refusal.starts_with("error: "), "{line}: {refusal}");
        }
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
            ("--only v4", "[possible values: v0, v1, v2, v3]"),
            ("--only v3", "add --redis"),
            ("--only v2 --redis", "is for V3, which --only leaves out"),
            ("--balancer none", "--redis"),
            ("--redis --balancer apache", "[possible values: auto, nginx, haproxy, none]"),
            ("--redis --rate 10001", "with --redis 10000 requests a second is the most"),
            ("--redis --requests 1000001", "with --redis 1000000 requests is the most"),
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
