//! The program itself, serving at an address of its own.

use std::ffi::OsStr;
use std::io::{BufReader, Read};
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};

use serde_json::Value;

use crate::http::{Answer, Request, line};

/// A small blog: 45 posts are three pages of the list.
const SIZE: &str = "--posts 45 --comments 90 --authors 5";

pub(crate) struct Server {
    child: Child,
    pub(crate) address: String,
    pub(crate) stderr: BufReader<ChildStderr>,
}

/// What the statistics say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Figures {
    pub(crate) queries: u64,
    pub(crate) hits: u64,
    pub(crate) loads: u64,
    pub(crate) writes: u64,
}

pub(crate) fn command(args: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_blog"));
    command.args(args.split_whitespace());
    // A test kills the program, which then leaves its folder behind: where nobody minds.
    command.env("TMPDIR", env!("CARGO_TARGET_TMPDIR"));
    command
}

impl Server {
    pub(crate) fn start() -> Self {
        Self::start_with(&mut command(&format!("serve --listen 127.0.0.1:0 {SIZE}")))
    }

    pub(crate) fn start_on(database: impl AsRef<OsStr>) -> Self {
        let mut command = command(&format!("serve --listen 127.0.0.1:0 {SIZE}"));
        Self::start_with(command.arg("--database").arg(database))
    }

    pub(crate) fn start_with(command: &mut Command) -> Self {
        Self::try_start(command).unwrap_or_else(|(status, said)| panic!("{status}: {said}"))
    }

    /// Why it does not start.
    pub(crate) fn refused(command: &mut Command) -> (ExitStatus, String) {
        match Self::try_start(command) {
            Ok(server) => panic!("it serves at {}", server.address),
            Err(refusal) => refusal,
        }
    }

    fn try_start(command: &mut Command) -> Result<Self, (ExitStatus, String)> {
        let command = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the program starts");
        let stderr = BufReader::new(child.stderr.take().expect("a pipe"));
        let said = line(&mut BufReader::new(child.stdout.take().expect("a pipe")));
        let address = said.split("http://").nth(1).and_then(|rest| rest.split('/').next());
        let server = Self { child, address: address.unwrap_or_default().to_owned(), stderr };
        if server.address.is_empty() { Err(server.ended()) } else { Ok(server) }
    }

    pub(crate) fn get(&self, path: &str) -> Answer {
        Request::get(path).send(&self.address)
    }

    pub(crate) fn post(&self, path: &str, fields: &[(&str, &str)]) -> Answer {
        Request::form(path, fields).header("sec-fetch-site", "same-origin").send(&self.address)
    }

    /// Of the cache with this name.
    pub(crate) fn figures(&self, cache: &str) -> Figures {
        let stats: Value = serde_json::from_str(&self.get("/stats.json").body).expect("JSON");
        let figure = |name: &str| stats["caches"][cache][name].as_u64().expect("a number");
        Figures {
            queries: stats["queries"].as_u64().expect("a number"),
            hits: figure("hits"),
            loads: figure("loads"),
            writes: figure("writes"),
        }
    }

    /// Asks it to stop, as `kill` and a service manager do.
    #[cfg(unix)]
    pub(crate) fn terminate(&self) {
        let kill = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status();
        assert!(kill.expect("there is a `kill`").success());
    }

    /// Asks it to stop, and answers with the rest of what it said.
    #[cfg(unix)]
    pub(crate) fn stopped(self) -> String {
        self.terminate();
        let (status, said) = self.ended();
        assert!(status.success(), "{status}: {said}");
        said
    }

    /// Waits until it has ended, and answers with the rest of what it said on standard error.
    pub(crate) fn ended(mut self) -> (ExitStatus, String) {
        let mut said = String::new();
        self.stderr.read_to_string(&mut said).expect("text");
        (self.child.wait().expect("it was ours"), said)
    }
}

/// A test that fails leaves no server behind.
impl Drop for Server {
    fn drop(&mut self) {
        _ = self.child.kill();
        _ = self.child.wait();
    }
}
