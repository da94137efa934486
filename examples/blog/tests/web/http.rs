//! As much of an HTTP client as the tests need: one request to a connection.

use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::time::Duration;

/// Only for a server that hangs: an answer comes at once.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.iter().find(|(key, _)| key == name).map_or("", |(_, value)| value)
    }

    #[track_caller]
    pub(crate) fn shows(&self, text: &str) {
        assert!(self.body.contains(text), "{text:?} is not in {self:?}");
    }

    #[track_caller]
    pub(crate) fn hides(&self, text: &str) {
        assert!(!self.body.contains(text), "{text:?} is in {self:?}");
    }
}

/// A request, and whatever it is to be sent with.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) method: &'static str,
    pub(crate) path: String,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: String,
}

impl Request {
    pub(crate) fn get(path: &str) -> Self {
        Self { method: "GET", path: path.to_owned(), headers: Vec::new(), body: String::new() }
    }

    /// A form as a browser sends it.
    pub(crate) fn form(path: &str, fields: &[(&str, &str)]) -> Self {
        let headers = vec![("content-type", "application/x-www-form-urlencoded".to_owned())];
        Self { method: "POST", path: path.to_owned(), headers, body: encoded(fields) }
    }

    pub(crate) fn header(mut self, name: &'static str, value: &str) -> Self {
        self.headers.push((name, value.to_owned()));
        self
    }

    pub(crate) fn send(&self, address: &str) -> Answer {
        let mut stream = connect(address);
        stream.write_all(self.head(address).as_bytes()).expect("the server reads");
        stream.write_all(self.body.as_bytes()).expect("the server reads");
        answer(BufReader::new(stream))
    }

    pub(crate) fn head(&self, address: &str) -> String {
        let mut head =
            format!("{} {} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n", self.method, self.path);
        for (name, value) in &self.headers {
            _ = write!(head, "{name}: {value}\r\n");
        }
        _ = write!(head, "content-length: {}\r\n\r\n", self.body.len());
        head
    }
}

pub(crate) fn connect(address: &str) -> TcpStream {
    let stream = TcpStream::connect(address).expect("the server listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a time-out can be set");
    stream
}

pub(crate) fn answer(mut from: impl BufRead) -> Answer {
    let status = line(&mut from).split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
    let mut headers = Vec::new();
    while let Some((name, value)) = line(&mut from).split_once(": ") {
        headers.push((name.to_owned(), value.to_owned()));
    }
    let mut body = String::new();
    from.read_to_string(&mut body).expect("the whole answer");
    Answer { status, headers, body }
}

pub(crate) fn line(from: &mut impl BufRead) -> String {
    let mut line = String::new();
    from.read_line(&mut line).expect("a line");
    line.trim_end().to_owned()
}

fn encoded(fields: &[(&str, &str)]) -> String {
    let mut encoded = String::new();
    for (at, (name, value)) in fields.iter().enumerate() {
        encoded.push_str(if at > 0 { "&" } else { "" });
        _ = write!(encoded, "{name}=");
        for byte in value.bytes() {
            _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}
