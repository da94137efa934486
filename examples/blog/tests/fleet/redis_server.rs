//! A Redis for one test, which may kill it.

use std::io::{self, BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// Only for a server that hangs.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) struct RedisServer {
    child: Child,
    address: SocketAddr,
    _folder: TempDir,
}

/// Whether a test cannot be run, which is said; a panic if LARDER_REQUIRE_ALL=1.
pub(crate) fn is_missing(test: &str) -> bool {
    if Command::new("redis-server").arg("--version").stdin(Stdio::null()).output().is_ok() {
        return false;
    }
    assert!(
        std::env::var_os("LARDER_REQUIRE_ALL").is_none_or(|value| value != "1"),
        "{test}: no redis-server in PATH; install it, on Debian or Ubuntu with: apt-get install redis-server"
    );
    // Past the test harness, which keeps what passing tests print.
    _ = writeln!(io::stderr(), "SKIPPED {test}: no redis-server in PATH");
    true
}

impl RedisServer {
    pub(crate) fn start_or_skip(test: &str) -> Option<Self> {
        if is_missing(test) {
            return None;
        }
        let server = (0..20).find_map(|_| Self::try_start());
        Some(server.expect("a port that nobody has"))
    }

    /// `None`: the port is taken.
    fn try_start() -> Option<Self> {
        let folder = TempDir::new().expect("a folder");
        // Below the ports of outgoing connections: one that was just freed could be given to a client of ours.
        let port = fastrand::u16(20_000..30_000);
        let mut command = Command::new("redis-server");
        command.args([
            "--bind",
            "127.0.0.1",
            "--port",
            &port.to_string(),
            "--save",
            "",
            "--appendonly",
            "no",
        ]);
        command.arg("--dir").arg(folder.path()).stdin(Stdio::null()).stdout(Stdio::null());
        let child = command.spawn().expect("it starts");
        let mut server = Self { child, address: (Ipv4Addr::LOCALHOST, port).into(), _folder: folder };
        let own = format!("process_id:{}", server.child.id());
        let since = Instant::now();
        // Asked for its number, since another server may have the port.
        while !server.ask("INFO server").is_ok_and(|lines| lines.contains(&own)) {
            if server.child.try_wait().expect("it is ours").is_some() {
                return None;
            }
            assert!(since.elapsed() < PATIENCE, "redis-server does not answer");
            thread::sleep(Duration::from_millis(5));
        }
        Some(server)
    }

    /// With credentials as in `user:password@`.
    pub(crate) fn url(&self, credentials: &str) -> String {
        format!("redis://{credentials}{}", self.address)
    }

    pub(crate) fn wait_for_keys(&self) {
        let since = Instant::now();
        while self.ask("DBSIZE").expect("it answers") == [":0"] {
            assert!(since.elapsed() < PATIENCE, "nobody has stored anything");
            thread::sleep(Duration::from_millis(5));
        }
    }

    pub(crate) fn kill(&mut self) {
        // Either fails only if it is dead already.
        _ = self.child.kill();
        _ = self.child.wait();
    }

    /// The lines of an answer.
    fn ask(&self, command: &str) -> io::Result<Vec<String>> {
        let mut stream = TcpStream::connect(self.address)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        // It closes the connection after the second, so that there is an end to read.
        write!(stream, "{command}\r\nQUIT\r\n")?;
        let lines: io::Result<Vec<_>> = BufReader::new(stream).lines().collect();
        Ok(lines?.into_iter().filter(|line| line != "+OK").collect())
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.kill();
    }
}
