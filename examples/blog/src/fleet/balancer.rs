//! What spreads the readers over the processes: nginx or HAProxy, run for us alone.

use std::fmt::Write;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use tokio::time::sleep;

use super::args::BalancerChoice;
use super::child::Child;
use super::door::Door;
use super::scratch::Scratch;
use super::{path, port};

/// How long it may take to start.
const STARTING: Duration = Duration::from_secs(20);

/// Where programs for services may lie that are not in the PATH of everybody.
const FOR_SERVICES: [&str; 3] = ["/usr/local/sbin", "/usr/sbin", "/opt/homebrew/sbin"];

/// A program that balances, and how it is told to.
#[derive(Clone, Copy, Debug)]
struct Kind {
    program: &'static str,
    args: &'static [&'static str],
    settings: fn(SocketAddr, &[SocketAddr]) -> String,
}

const NGINX: Kind = Kind { program: "nginx", args: &["-p", ".", "-c", SETTINGS], settings: nginx };
const HAPROXY: Kind = Kind { program: "haproxy", args: &["-db", "-f", SETTINGS], settings: haproxy };

/// The name of the file.
const SETTINGS: &str = "balancer.conf";

impl BalancerChoice {
    /// Refuses a program that is not there, before anything is measured.
    pub(crate) fn check(self) -> Result<()> {
        self.program().map(drop)
    }

    /// In words, for the report.
    pub(crate) fn name(self) -> &'static str {
        match self.program() {
            Ok(Some((kind, _))) => kind.program,
            _ => "the driver's own round robin",
        }
    }

    /// `None`: the driver takes turns by itself.
    fn program(self) -> Result<Option<(Kind, PathBuf)>> {
        let find = |kind: &Kind| installed(kind.program).map(|path| (*kind, path));
        match self {
            Self::None => Ok(None),
            Self::Auto => Ok([NGINX, HAPROXY].iter().find_map(find)),
            Self::Nginx => demanded(NGINX).map(Some),
            Self::Haproxy => demanded(HAPROXY).map(Some),
        }
    }
}

fn demanded(kind: Kind) -> Result<(Kind, PathBuf)> {
    let Some(path) = installed(kind.program) else {
        bail!(
            "{0} is not installed: install it (Debian, Ubuntu: apt-get install {0}), or choose --balancer none",
            kind.program
        );
    };
    Ok((kind, path))
}

fn installed(program: &str) -> Option<PathBuf> {
    path::find(program).or_else(|| path::find_in(FOR_SERVICES.map(PathBuf::from), program))
}

pub(super) struct Balancer {
    address: SocketAddr,
    _process: Child,
}

impl Balancer {
    /// `None`, where the driver takes turns by itself.
    pub(super) async fn start(
        choice: BalancerChoice,
        apps: &[SocketAddr],
        scratch: &Scratch,
    ) -> Result<Option<Self>> {
        let Some((kind, program)) = choice.program()? else {
            return Ok(None);
        };
        for _ in 0..port::TRIES {
            if let Some(balancer) = Self::try_start(kind, &program, apps, scratch).await? {
                return Ok(Some(balancer));
            }
        }
        bail!("{} found every port taken that was tried", kind.program)
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// `None`: somebody else has taken the port.
    async fn try_start(
        kind: Kind,
        program: &Path,
        apps: &[SocketAddr],
        scratch: &Scratch,
    ) -> Result<Option<Self>> {
        let folder = scratch.folder(kind.program)?;
        let address = port::free()?;
        fs::write(folder.join(SETTINGS), (kind.settings)(address, apps))
            .with_context(|| format!("cannot write the settings of {}", kind.program))?;
        let mut process = Child::keep(program, kind.args, &folder)?;
        let (door, since) = (Door::to(address), Instant::now());
        loop {
            let answer = door.tally().await;
            if let Some(trouble) = process.trouble() {
                return if is_about_the_port(&trouble) { Ok(None) } else { Err(trouble) };
            }
            match answer {
                Ok(_) => return Ok(Some(Self { address, _process: process })),
                Err(error) if since.elapsed() > STARTING => {
                    return Err(error.context(format!("{} does not pass requests on", kind.program)));
                }
                Err(_) => sleep(Duration::from_millis(10)).await,
            }
        }
    }
}

fn is_about_the_port(trouble: &anyhow::Error) -> bool {
    let said = trouble.to_string();
    said.contains("Address already in use") || said.contains("cannot bind socket")
}

/// A single process, which dies when it is killed and leaves no workers behind. All that it writes stays in its folder.
fn nginx(address: SocketAddr, apps: &[SocketAddr]) -> String {
    let servers = lines(apps, |_, app| format!("        server {app};"));
    format!(
        "daemon off;
master_process off;
pid nginx.pid;
error_log stderr;
events {{
    worker_connections 2048;
}}
http {{
    access_log off;
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    keepalive_timeout 1h;
    keepalive_requests 100000000;
    proxy_buffers 16 64k;
    upstream apps {{
{servers}        keepalive 256;
        keepalive_requests 100000000;
    }}
    server {{
        listen {address};
        location / {{
            proxy_pass http://apps;
            proxy_http_version 1.1;
            proxy_set_header Connection \"\";
        }}
    }}
}}
"
    )
}

fn haproxy(address: SocketAddr, apps: &[SocketAddr]) -> String {
    let servers = lines(apps, |number, app| format!("    server app{number} {app}"));
    format!(
        "global
    maxconn 2048
defaults
    mode http
    http-reuse always
    timeout connect 5s
    timeout client 1h
    timeout server 1h
frontend readers
    bind {address}
    default_backend apps
backend apps
    balance roundrobin
{servers}"
    )
}

fn lines(apps: &[SocketAddr], line: fn(usize, &SocketAddr) -> String) -> String {
    apps.iter().enumerate().fold(String::new(), |mut lines, (at, app)| {
        _ = writeln!(lines, "{}", line(at + 1, app));
        lines
    })
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[test]
    fn every_process_is_named_to_the_balancer() {
        let at = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        for settings in [nginx, haproxy] {
            let text = settings(at(80), &[at(81), at(82)]);
            for address in ["127.0.0.1:80", "127.0.0.1:81", "127.0.0.1:82"] {
                assert_eq!(text.matches(address).count(), 1, "{text}");
            }
        }
    }

    #[test]
    fn nobody_is_always_there() {
        assert!(BalancerChoice::None.check().is_ok());
        assert_eq!(BalancerChoice::None.name(), "the driver's own round robin");
    }
}
