//! A real Redis server for one test, which may kill it, freeze it, and bring it back empty or with an old state.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Write};
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, waitid};

use super::aside;
use super::command_log::CommandLog;
use super::resp::{self, Connection, PATIENCE, Reply};

/// The program to run instead of the `redis-server` in PATH.
const OVERRIDE: &str = "LARDER_REDIS_SERVER";

/// Listens on 127.0.0.1, keeps its files in a folder of its own, and is killed when dropped.
pub struct RedisServer {
    launch: Launch,
    // Before the folder, as it is to be dead when that is removed.
    process: Mutex<Option<Process>>,
    folder: Folder,
    _claim: UdpSocket,
}

impl RedisServer {
    pub async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// With more options for its command line, as `&["--maxmemory", "8mb"]`. They win over the usual ones, which
    /// keep nothing on disk.
    pub async fn start_with(options: &[&str]) -> Self {
        let folder = Folder::make();
        let options: Vec<_> = options.iter().map(|&option| option.to_owned()).collect();
        for _ in 0..20 {
            let (port, claim) = claim_port();
            let launch = Launch { folder: folder.0.clone(), port, options: options.clone() };
            if let Some(process) = launch.run().await {
                return Self { launch, process: Mutex::new(Some(process)), folder, _claim: claim };
            }
        }
        panic!("every port that was tried is taken:\n{}", read_log(&folder.0));
    }

    /// `None`, and a line that says so, where no Redis is installed; a panic if LARDER_REQUIRE_ALL=1.
    pub async fn start_or_skip(test: &str) -> Option<Self> {
        Self::start_or_skip_with(test, &[]).await
    }

    pub async fn start_or_skip_with(test: &str, options: &[&str]) -> Option<Self> {
        if is_installed() {
            return Some(Self::start_with(options).await);
        }
        assert!(
            std::env::var_os("LARDER_REQUIRE_ALL").is_none_or(|value| value != "1"),
            "{test}: no redis-server in PATH; install it, on Debian or Ubuntu with: apt-get install redis-server"
        );
        // Past the test harness, which keeps what passing tests print.
        _ = writeln!(io::stderr(), "SKIPPED {test}: no redis-server in PATH");
        None
    }

    pub fn port(&self) -> u16 {
        self.launch.port
    }

    pub fn address(&self) -> SocketAddr {
        self.launch.address()
    }

    pub fn url(&self) -> String {
        format!("redis://{}", self.address())
    }

    /// Kills it as a crash would, with SIGKILL: its port refuses connections until it is restarted.
    pub fn kill(&self) {
        drop(self.process.lock().expect("no panic").take());
    }

    /// Freezes it with SIGSTOP: it takes connections, since the kernel does, and never answers.
    pub fn stop(&self) {
        let process = self.process.lock().expect("no panic");
        process.as_ref().expect("the server was not killed").stop();
    }

    /// Thaws it with SIGCONT: it answers all that it was asked meanwhile.
    pub fn resume(&self) {
        let process = self.process.lock().expect("no panic");
        process.as_ref().expect("the server was not killed").resume();
    }

    /// Kills it, if it still runs, and starts it empty on the same port.
    pub async fn restart(&self) {
        self.kill();
        self.launch.forget_data();
        self.launch_again().await;
    }

    /// Keeps its present state for `restart_from_snapshot`.
    pub async fn snapshot(&self) {
        let keeps_a_journal = self.launch.options.iter().any(|option| option == "--appendonly");
        assert!(!keeps_a_journal, "with --appendonly Redis starts from its journal, and reads no snapshot");
        let saved = self.command(&["SAVE"]).await;
        assert_eq!(saved, Reply::Simple("OK".to_owned()), "SAVE");
        fs::copy(self.launch.dump(), self.launch.snapshot()).expect("SAVE has written a dump");
    }

    /// Kills it, and starts it on the same port with the state of the last `snapshot`: a server that forgot its
    /// latest writes, as after a failover. What has expired meanwhile is gone.
    pub async fn restart_from_snapshot(&self) {
        assert!(self.launch.snapshot().exists(), "take a snapshot before you restart from it");
        self.kill();
        self.launch.forget_data();
        fs::copy(self.launch.snapshot(), self.launch.dump()).expect("a copied dump can be copied back");
        self.launch_again().await;
    }

    /// Runs a command over a connection of its own, so that no state of a connection (SELECT, MULTI) outlives it.
    pub async fn command(&self, arguments: &[impl AsRef<[u8]>]) -> Reply {
        match resp::ask(self.address(), arguments).await {
            Ok(reply) => reply,
            Err(error) => {
                let name = arguments.first().map(|name| name.as_ref().escape_ascii().to_string());
                panic!(
                    "{}: {error}; the server's log:\n{}",
                    name.unwrap_or_default(),
                    read_log(&self.folder.0)
                )
            }
        }
    }

    /// A log of every command from now on.
    pub async fn monitor(&self) -> CommandLog {
        CommandLog::of(self.address()).await
    }

    async fn launch_again(&self) {
        let started = self.launch.run().await;
        assert!(started.is_some(), "the port was taken meanwhile:\n{}", read_log(&self.folder.0));
        *self.process.lock().expect("no panic") = started;
    }
}

/// What it takes to start a server, again and again.
#[derive(Clone)]
struct Launch {
    folder: PathBuf,
    port: u16,
    options: Vec<String>,
}

impl Launch {
    /// Starts the server and waits until it answers; `None` when somebody else has its port.
    async fn run(&self) -> Option<Process> {
        let launch = self.clone();
        aside(move || launch.run_blocking()).await
    }

    fn run_blocking(&self) -> Option<Process> {
        let mut process = self.spawn();
        let since = Instant::now();
        loop {
            if self.is_answered_by(&process).is_ok_and(|answers| answers) {
                return Some(process);
            }
            let log = || read_log(&self.folder);
            if let Some(status) = process.0.try_wait().expect("a child can be asked whether it runs") {
                let log = log();
                assert!(log.contains("Address already in use"), "redis-server ended with {status}:\n{log}");
                return None;
            }
            assert!(since.elapsed() < PATIENCE, "redis-server does not answer:\n{}", log());
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// All that it prints goes to the log, as it complains about its options before it opens a log of its own.
    fn spawn(&self) -> Process {
        fs::create_dir_all(self.data()).expect("the folder can be written to");
        let log = File::create(log_of(&self.folder)).expect("the folder can be written to");
        let errors = log.try_clone().expect("there are file descriptors left");
        let mut command = Command::new(program());
        command.args(["--bind", "127.0.0.1", "--port", &self.port.to_string(), "--loglevel", "warning"]);
        command.args(["--save", "", "--appendonly", "no", "--dir"]).arg(self.data()).args(&self.options);
        command.stdin(Stdio::null()).stdout(log).stderr(errors);
        Process(
            command.spawn().unwrap_or_else(|error| panic!("{} does not start: {error}", program().display())),
        )
    }

    /// Whether it is this process that answers, and not a server that was first to take the port.
    fn is_answered_by(&self, process: &Process) -> io::Result<bool> {
        let mut connection = Connection::open(self.address(), Duration::from_secs(1))?;
        let is_up = connection.ask(&["PING"])? == Reply::Simple("PONG".to_owned());
        let about = connection.ask(&["INFO", "server"])?.text().unwrap_or_default();
        let own = format!("process_id:{}", process.0.id());
        Ok(is_up && about.lines().any(|line| line == own))
    }

    fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    fn forget_data(&self) {
        fs::remove_dir_all(self.data()).expect("a dead server's files can be removed");
        fs::create_dir(self.data()).expect("the folder can be written to");
    }

    fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    fn dump(&self) -> PathBuf {
        self.data().join("dump.rdb")
    }

    fn snapshot(&self) -> PathBuf {
        self.folder.join("snapshot.rdb")
    }
}

/// Killed when dropped, frozen or not.
struct Process(Child);

impl Process {
    fn stop(&self) {
        kill_process(self.pid(), Signal::STOP).expect("the server runs");
        // The signal takes effect after the call: wait for that, and leave the news for whoever stops it twice.
        waitid(WaitId::Pid(self.pid()), WaitIdOptions::STOPPED | WaitIdOptions::NOWAIT)
            .expect("the server is a child of this process");
    }

    fn resume(&self) {
        kill_process(self.pid(), Signal::CONT).expect("the server runs");
    }

    fn pid(&self) -> Pid {
        Pid::from_child(&self.0)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Either fails only if the process is dead already.
        _ = self.0.kill();
        _ = self.0.wait();
    }
}

/// A folder for one server, removed when dropped.
struct Folder(PathBuf);

impl Folder {
    fn make() -> Self {
        let path = std::env::temp_dir().join(format!("larder-redis-{:016x}", fastrand::u64(..)));
        fs::create_dir(&path).expect("the folder for temporary files can be written to");
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // A folder left behind is no reason to fail a test, and a panic here would hide why one failed.
        _ = fs::remove_dir_all(&self.0);
    }
}

/// A port that no other test takes, even while this one's server is down: each claims the UDP port of the same
/// number, which Redis does not use.
///
/// It lies below the ports that systems give to outgoing connections. While a server on one of those is down, a
/// client that tries to reconnect may be given that very port, and then it is connected to itself.
fn claim_port() -> (u16, UdpSocket) {
    loop {
        let port = fastrand::u16(20_000..30_000);
        if let Ok(claim) = UdpSocket::bind((Ipv4Addr::LOCALHOST, port)) {
            return (port, claim);
        }
    }
}

fn program() -> OsString {
    std::env::var_os(OVERRIDE).unwrap_or_else(|| "redis-server".into())
}

fn is_installed() -> bool {
    match Command::new(program()).arg("--version").stdin(Stdio::null()).output() {
        Ok(_) => true,
        Err(error) if error.kind() == io::ErrorKind::NotFound && std::env::var_os(OVERRIDE).is_none() => {
            false
        }
        Err(error) => panic!("{} does not start: {error}", program().display()),
    }
}

fn log_of(folder: &Path) -> PathBuf {
    folder.join("redis.log")
}

fn read_log(folder: &Path) -> String {
    fs::read(log_of(folder))
        .map_or_else(|error| format!("(no log: {error})"), |log| String::from_utf8_lossy(&log).into_owned())
}
