//! As much of Redis's protocol (RESP2) as tests need to talk to a server past the client that is under test.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use super::aside;

/// How long a server may be silent before a test fails instead of hanging.
pub const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    Simple(String),
    Error(String),
    Int(i64),
    /// A missing array is `Bulk(None)` too.
    Bulk(Option<Vec<u8>>),
    Array(Vec<Self>),
}

impl Reply {
    pub fn ok() -> Self {
        Self::Simple("OK".to_owned())
    }

    pub fn bulk(bytes: impl AsRef<[u8]>) -> Self {
        Self::Bulk(Some(bytes.as_ref().to_vec()))
    }

    /// What a simple string or a bulk says, as text.
    pub fn text(&self) -> Option<String> {
        match self {
            Self::Simple(text) => Some(text.clone()),
            Self::Bulk(bytes) => bytes.as_ref().map(|bytes| String::from_utf8_lossy(bytes).into_owned()),
            Self::Error(_) | Self::Int(_) | Self::Array(_) => None,
        }
    }
}

/// Where a server listens, and with which password the default user is let in.
#[derive(Clone, Debug)]
pub struct Endpoint {
    pub road: Road,
    pub password: Option<String>,
}

#[derive(Clone, Debug)]
pub enum Road {
    Tcp(SocketAddr),
    /// The back door of a server whose only port speaks TLS.
    Unix(PathBuf),
}

impl From<SocketAddr> for Endpoint {
    fn from(address: SocketAddr) -> Self {
        Self { road: Road::Tcp(address), password: None }
    }
}

/// One command over a connection of its own.
pub async fn ask(server: impl Into<Endpoint>, arguments: &[impl AsRef<[u8]>]) -> io::Result<Reply> {
    let (server, request) = (server.into(), encode(arguments));
    aside(move || Connection::open(server, PATIENCE)?.exchange(&request)).await
}

/// A connection that blocks.
pub struct Connection(BufReader<Stream>);

impl Connection {
    /// Connects, and logs in where that takes a password; nothing that is done over the connection takes longer than
    /// `patience`.
    pub fn open(server: impl Into<Endpoint>, patience: Duration) -> io::Result<Self> {
        let Endpoint { road, password } = server.into();
        let stream = Stream::open(&road, patience)?;
        stream.set_read_timeout(Some(patience))?;
        let mut connection = Self(BufReader::new(stream));
        match password.map(|password| connection.ask(&["AUTH", &password])).transpose()? {
            Some(Reply::Error(refusal)) => Err(io::Error::other(refusal)),
            Some(_) | None => Ok(connection),
        }
    }

    pub fn ask(&mut self, arguments: &[impl AsRef<[u8]>]) -> io::Result<Reply> {
        self.exchange(&encode(arguments))
    }

    /// Sends all of `requests` before it reads a reply: one round trip for the lot.
    pub fn ask_all(&mut self, requests: &[Vec<Vec<u8>>]) -> io::Result<Vec<Reply>> {
        let bytes: Vec<u8> = requests.iter().flat_map(|request| encode(request)).collect();
        self.0.get_mut().write_all(&bytes)?;
        requests.iter().map(|_| self.read()).collect()
    }

    /// The next reply, whether or not it was asked for.
    pub fn read(&mut self) -> io::Result<Reply> {
        read_reply(&mut self.0)
    }

    pub fn stream(&self) -> &Stream {
        self.0.get_ref()
    }

    fn exchange(&mut self, request: &[u8]) -> io::Result<Reply> {
        self.0.get_mut().write_all(request)?;
        self.read()
    }
}

/// The bytes of a connection, over either road.
pub enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Stream {
    fn open(road: &Road, patience: Duration) -> io::Result<Self> {
        match road {
            Road::Tcp(address) => {
                let stream = TcpStream::connect_timeout(address, patience)?;
                stream.set_nodelay(true)?;
                stream.set_write_timeout(Some(patience))?;
                Ok(Self::Tcp(stream))
            }
            Road::Unix(path) => {
                let stream = UnixStream::connect(path)?;
                stream.set_write_timeout(Some(patience))?;
                Ok(Self::Unix(stream))
            }
        }
    }

    pub fn set_read_timeout(&self, patience: Option<Duration>) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.set_read_timeout(patience),
            Self::Unix(stream) => stream.set_read_timeout(patience),
        }
    }

    pub fn try_clone(&self) -> io::Result<Self> {
        match self {
            Self::Tcp(stream) => stream.try_clone().map(Self::Tcp),
            Self::Unix(stream) => stream.try_clone().map(Self::Unix),
        }
    }

    pub fn close(&self) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.shutdown(Shutdown::Both),
            Self::Unix(stream) => stream.shutdown(Shutdown::Both),
        }
    }
}

impl Read for Stream {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.read(bytes),
            Self::Unix(stream) => stream.read(bytes),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.write(bytes),
            Self::Unix(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.flush(),
            Self::Unix(stream) => stream.flush(),
        }
    }
}

fn encode(arguments: &[impl AsRef<[u8]>]) -> Vec<u8> {
    let mut request = format!("*{}\r\n", arguments.len()).into_bytes();
    for argument in arguments {
        let argument = argument.as_ref();
        request.extend_from_slice(format!("${}\r\n", argument.len()).as_bytes());
        request.extend_from_slice(argument);
        request.extend_from_slice(b"\r\n");
    }
    request
}

fn read_reply(stream: &mut impl BufRead) -> io::Result<Reply> {
    let line = read_line(stream)?;
    let rest = line.get(1..).unwrap_or_default();
    match line.as_bytes().first() {
        Some(b'+') => Ok(Reply::Simple(rest.to_owned())),
        Some(b'-') => Ok(Reply::Error(rest.to_owned())),
        Some(b':') => Ok(Reply::Int(number(rest)?)),
        Some(b'$') => Ok(Reply::Bulk(length(rest)?.map(|length| read_bulk(stream, length)).transpose()?)),
        Some(b'*') => match length(rest)? {
            Some(length) => {
                Ok(Reply::Array((0..length).map(|_| read_reply(stream)).collect::<Result<_, _>>()?))
            }
            None => Ok(Reply::Bulk(None)),
        },
        _ => Err(io::Error::other(format!("not a reply of RESP2: {line:?}"))),
    }
}

fn read_line(stream: &mut impl BufRead) -> io::Result<String> {
    let mut line = Vec::new();
    stream.read_until(b'\n', &mut line)?;
    match line.strip_suffix(b"\r\n") {
        Some(line) => Ok(String::from_utf8_lossy(line).into_owned()),
        None => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

fn read_bulk(stream: &mut impl Read, length: usize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; length + 2];
    stream.read_exact(&mut bytes)?;
    bytes.truncate(length);
    Ok(bytes)
}

/// `None` stands for what Redis calls nil.
fn length(text: &str) -> io::Result<Option<usize>> {
    Ok(usize::try_from(number(text)?).ok())
}

fn number(text: &str) -> io::Result<i64> {
    text.parse().map_err(io::Error::other)
}
