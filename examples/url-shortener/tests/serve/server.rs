//! The program itself, serving at an address of its own.

use std::io::{BufReader, Read};
use std::path::Path;
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};

use serde_json::{Value, json};

use crate::http::{Answer, Request, line};

#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    address: String,
    stderr: BufReader<ChildStderr>,
}

impl Server {
    pub(crate) fn start(folder: &Path) -> Self {
        Self::try_start(folder).unwrap_or_else(|(status, said)| panic!("{status}: {said}"))
    }

    pub(crate) fn try_start(folder: &Path) -> Result<Self, (ExitStatus, String)> {
        Self::try_start_with(folder, &[])
    }

    pub(crate) fn try_start_with(folder: &Path, args: &[&str]) -> Result<Self, (ExitStatus, String)> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_url-shortener"));
        command.args(["serve", "--listen", "127.0.0.1:0", "--folder"]).arg(folder).args(args);
        // A test kills the program, which then leaves its folder behind: where nobody minds.
        command.env("TMPDIR", env!("CARGO_TARGET_TMPDIR"));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
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

    pub(crate) fn head(&self, path: &str) -> Answer {
        Request { method: "HEAD", ..Request::get(path) }.send(&self.address)
    }

    pub(crate) fn post(&self, body: &str) -> Answer {
        let headers = vec![("content-type", "application/json".to_owned())];
        let (method, path, body) = ("POST", "/api/links".to_owned(), body.to_owned());
        Request { method, path, headers, body }.send(&self.address)
    }

    /// The id of a new link.
    pub(crate) fn create(&self, url: &str) -> String {
        let answer = self.post(&json!({ "url": url }).to_string());
        assert_eq!(answer.status, 201, "{answer:?}");
        let made: Value = serde_json::from_str(&answer.body).expect("JSON");
        let id = made["id"].as_str().expect("an id").to_owned();
        assert_eq!(answer.header("location"), format!("/{id}"));
        id
    }

    pub(crate) fn clicks(&self, id: &str) -> u64 {
        let stats: Value =
            serde_json::from_str(&self.get(&format!("/api/links/{id}/stats")).body).expect("JSON");
        stats["clicks"].as_u64().expect("a number")
    }

    /// As `kill -9` does.
    pub(crate) fn killed(mut self) {
        self.child.kill().expect("it is ours");
        self.child.wait().expect("it is ours");
    }

    /// Asks it to stop with `signal`, and answers with the rest of what it said.
    pub(crate) fn stopped(self, signal: &str) -> String {
        let kill = Command::new("kill").args([signal, &self.child.id().to_string()]).status();
        assert!(kill.expect("there is a `kill`").success());
        let (status, said) = self.ended();
        assert!(status.success(), "{status}: {said}");
        said
    }

    fn ended(mut self) -> (ExitStatus, String) {
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
