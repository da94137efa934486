//! A PostgreSQL server of one test's own, which it may kill and start again on the same data.

use std::fs::{self, File, Permissions};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, getuid, kill_process};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions, PgSslMode};
use sqlx::{Connection, PgConnection, PgPool};

use super::aside;
use super::redis_process::{Folder, skipped};
use super::resp::PATIENCE;

/// The folder of the programs to run instead of those in PATH or where Debian has them.
const OVERRIDE: &str = "LARDER_POSTGRES_BIN";

/// As whom the server runs when the test is root, whom it refuses.
const USER: &str = "postgres";

/// Listens on 127.0.0.1, keeps its files in a folder of its own, and is killed when dropped.
pub struct Postgres {
    programs: PathBuf,
    /// Settings beside the usual ones.
    settings: &'static [&'static str],
    port: u16,
    // Before the folder, as it is to be dead when that is removed.
    running: Mutex<Option<Running>>,
    folder: Folder,
}

impl Postgres {
    /// A server, unless PostgreSQL is missing: then a line says that `test` was skipped, or a panic if
    /// LARDER_REQUIRE_ALL=1.
    pub async fn start_or_skip(test: &str) -> Option<Self> {
        Self::start_with_or_skip(test, &[]).await
    }

    /// The same with settings of its own, such as `fsync=on`: the usual ones survive a kill, and no power loss.
    pub async fn start_with_or_skip(test: &str, settings: &'static [&'static str]) -> Option<Self> {
        if let Some(programs) = programs() {
            return Some(Self::start(programs, settings).await);
        }
        assert!(
            std::env::var_os("LARDER_REQUIRE_ALL").is_none_or(|value| value != "1"),
            "{test}: no PostgreSQL; install it, on Debian or Ubuntu with: apt-get install postgresql"
        );
        skipped(test, "no initdb and postgres, in PATH or where Debian has them");
        None
    }

    async fn start(programs: PathBuf, settings: &'static [&'static str]) -> Self {
        let folder = Folder::make("postgres");
        own(folder.path());
        let server = Self { programs, settings, port: free_port(), running: Mutex::default(), folder };
        let (program, data) = (server.programs.join("initdb"), server.data());
        let mut initdb = unprivileged(&program);
        initdb.args(["-A", "trust", "-N", "-E", "UTF8", "--locale=C", "-U", "larder", "-D"]).arg(&data);
        let made = initdb.stdin(Stdio::null()).output().expect("initdb starts");
        assert!(made.status.success(), "initdb: {}", String::from_utf8_lossy(&made.stderr));
        server.start_again().await;
        server
    }

    /// Starts what was killed, on its port, with the files that it has.
    pub async fn start_again(&self) {
        let since = Instant::now();
        self.ensure_it_runs();
        while let Err(error) = PgConnection::connect_with(&self.options()).await {
            assert!(since.elapsed() < PATIENCE, "postgres does not answer: {error}\n{}", self.log());
            aside(|| thread::sleep(Duration::from_millis(20))).await;
            self.ensure_it_runs();
        }
    }

    /// It refuses to start as long as a session of the server before it is not quite dead.
    fn ensure_it_runs(&self) {
        let mut running = self.running.lock().expect("no panic");
        let runs = running.as_mut().is_some_and(|running| matches!(running.0.try_wait(), Ok(None)));
        if !runs {
            *running = Some(self.spawn());
        }
    }

    fn spawn(&self) -> Running {
        let log =
            File::options().create(true).append(true).open(self.log_file()).expect("a log can be written");
        let errors = log.try_clone().expect("there are file descriptors left");
        let mut command = unprivileged(&self.programs.join("postgres"));
        command.arg("-D").arg(self.data()).args(["-p", &self.port.to_string(), "-h", "127.0.0.1", "-k", ""]);
        // A crash of the server is tested, none of the machine. A commit can wait for a standby only where there may be one.
        for setting in ["fsync=off", "max_connections=40", "shared_buffers=16MB", "max_wal_senders=1"] {
            command.args(["-c", setting]);
        }
        self.settings.iter().for_each(|setting| _ = command.args(["-c", setting]));
        let process = command.stdin(Stdio::null()).stdout(log).stderr(errors).spawn();
        Running(process.expect("postgres starts"))
    }

    /// Kills it as a crash would, with SIGKILL, and waits until its sessions are gone, too.
    pub async fn kill(&self) {
        let sessions = self.sessions();
        drop(self.running.lock().expect("no panic").take());
        for session in sessions {
            // It may have noticed by itself that the server is dead.
            _ = kill_process(session, Signal::KILL);
        }
        self.until_quiet().await;
    }

    /// Stops it as an administrator does who does not wait: sessions are told, and transactions undone.
    pub async fn stop(&self) {
        if let Some(running) = &*self.running.lock().expect("no panic") {
            kill_process(Pid::from_child(&running.0), Signal::INT).expect("the server runs");
        }
        self.until_quiet().await;
        drop(self.running.lock().expect("no panic").take());
    }

    async fn until_quiet(&self) {
        let port = self.port;
        aside(move || {
            let since = Instant::now();
            while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok() {
                assert!(since.elapsed() < PATIENCE, "a killed server still listens");
                thread::sleep(Duration::from_millis(5));
            }
        })
        .await;
    }

    /// The server's child processes.
    fn sessions(&self) -> Vec<Pid> {
        let running = self.running.lock().expect("no panic");
        let Some(running) = &*running else { return Vec::new() };
        // Stopped, so that it does not start another one meanwhile.
        _ = kill_process(Pid::from_child(&running.0), Signal::STOP);
        children(running.0.id())
    }

    /// How to connect to it.
    pub fn options(&self) -> PgConnectOptions {
        PgConnectOptions::new_without_pgpass()
            .host("127.0.0.1")
            .port(self.port)
            .username("larder")
            .database("postgres")
            .ssl_mode(PgSslMode::Disable)
    }

    /// A pool that does not wait long.
    pub fn pool(&self) -> PgPool {
        PgPoolOptions::new()
            .max_connections(8)
            .acquire_timeout(Duration::from_secs(5))
            .connect_lazy_with(self.options())
    }

    /// What it has printed.
    pub fn log(&self) -> String {
        fs::read_to_string(self.log_file()).unwrap_or_default()
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn log_file(&self) -> PathBuf {
        self.folder.path().join("postgres.log")
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        let sessions = self.sessions();
        drop(self.running.get_mut().expect("no panic").take());
        for session in sessions {
            _ = kill_process(session, Signal::KILL);
        }
    }
}

/// Killed when dropped. Its sessions end by themselves when they notice; who is in a hurry kills them, too.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // Either fails only if the process is dead already.
        _ = self.0.kill();
        _ = self.0.wait();
    }
}

/// Where `initdb` and `postgres` are: Debian has only wrappers of its own in PATH.
fn programs() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<_> = std::env::var_os(OVERRIDE).map(PathBuf::from).into_iter().collect();
    folders.extend(std::env::split_paths(&path));
    let mut versions: Vec<_> = fs::read_dir("/usr/lib/postgresql")
        .map(|entries| entries.flatten().map(|entry| entry.path().join("bin")).collect())
        .unwrap_or_default();
    versions.sort();
    folders.extend(versions.into_iter().rev());
    folders.into_iter().find(|folder| folder.join("initdb").exists() && folder.join("postgres").exists())
}

/// `program`, as an unprivileged user: PostgreSQL refuses to run as root. On Linux it is killed when the thread that starts
/// it ends, however that ends; a thread of a test lives as long as the test.
fn unprivileged(program: &Path) -> Command {
    if !cfg!(target_os = "linux") {
        return Command::new(program);
    }
    // `setpriv` becomes the program, so that its process id is the server's.
    let mut command = Command::new("setpriv");
    if getuid().is_root() {
        command.args(["--reuid", USER, "--regid", USER, "--clear-groups"]);
    }
    command.args(["--pdeathsig", "KILL", "--"]).arg(program).current_dir("/");
    command
}

/// Gives `folder` to whom the server runs as.
fn own(folder: &Path) {
    fs::set_permissions(folder, Permissions::from_mode(0o700)).expect("it is our own");
    if getuid().is_root() {
        let id = |what: &str| -> Option<u32> {
            let said = Command::new("id").args([what, USER]).output().ok()?;
            String::from_utf8(said.stdout).ok()?.trim().parse().ok()
        };
        let (user, group) = (id("-u"), id("-g"));
        assert!(user.is_some(), "PostgreSQL does not run as root, and there is no user `{USER}`");
        chown(folder, user, group).expect("root may give a folder away");
    }
}

/// The processes that `parent` has started.
fn children(parent: u32) -> Vec<Pid> {
    let said = Command::new("ps").args(["-o", "pid=", "--ppid", &parent.to_string()]).output();
    let said = said.map(|output| output.stdout).unwrap_or_default();
    let pids = String::from_utf8_lossy(&said).into_owned();
    pids.split_whitespace().filter_map(|pid| Pid::from_raw(pid.parse().ok()?)).collect()
}

fn free_port() -> u16 {
    loop {
        let port = fastrand::u16(20_000..30_000);
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return port;
        }
    }
}
