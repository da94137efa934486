//! One process of redis-server, in any role, which a test may kill, freeze and start again on its port.

use std::ffi::{OsStr, OsString};
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
use super::resp::{self, Connection, Endpoint, PATIENCE, Reply, Road};
use super::rights;

/// The program to run instead of the `redis-server` in PATH.
const OVERRIDE: &str = "LARDER_REDIS_SERVER";

/// What a process is to be, and how it is started every time.
#[derive(Clone, Debug, Default)]
pub struct Recipe {
    pub role: Role,
    /// More words for the command line. They win over the usual ones, which keep nothing on disk.
    pub options: Vec<String>,
    /// Of the default user, who is the harness itself.
    pub password: Option<String>,
}

impl Recipe {
    /// With the user as whom the tests run the library. A replica gives its primary the `password`, too. The `options` win
    /// over both.
    pub fn with_user(role: Role, password: Option<String>, options: Vec<String>) -> Self {
        let mut words = rights::on_the_command_line("~*", matches!(role, Role::ClusterNode));
        if let Some(password) = &password {
            words.extend(["--masterauth".to_owned(), password.clone()]);
        }
        Self { role, options: [words, options].concat(), password }
    }
}

#[derive(Clone, Debug, Default)]
pub enum Role {
    /// A server on a plain port.
    #[default]
    Server,
    /// A node that belongs to a cluster, and takes no other node on by itself.
    ClusterNode,
    /// A server on a port that speaks TLS; the harness comes by a socket file.
    TlsServer(TlsFiles),
    /// A sentinel with these lines in its file, which it rewrites.
    Sentinel(Vec<String>),
}

/// What a server shows, and asks for.
#[derive(Clone, Debug)]
pub struct TlsFiles {
    pub certificate: PathBuf,
    pub key: PathBuf,
    /// Who must have signed what clients show.
    pub authority: PathBuf,
    pub asks_clients: bool,
}

/// Listens on 127.0.0.1, keeps its files in a folder of its own, and is killed when dropped.
pub struct RedisProcess {
    launch: Launch,
    // Before the folder, as it is to be dead when that is removed.
    running: Mutex<Option<Running>>,
    _folder: Folder,
    _claims: [UdpSocket; 2],
}

impl RedisProcess {
    pub async fn start(recipe: Recipe) -> Self {
        let folder = Folder::make("redis");
        for _ in 0..20 {
            let ((port, claim), (bus_port, bus_claim)) = (claim_port(), claim_port());
            let launch = Launch { recipe: recipe.clone(), folder: folder.path().to_owned(), port, bus_port };
            if let Some(running) = launch.run().await {
                let running = Mutex::new(Some(running));
                return Self { launch, running, _folder: folder, _claims: [claim, bus_claim] };
            }
        }
        panic!("every port that was tried is taken:\n{}", read_log(folder.path()));
    }

    pub fn address(&self) -> SocketAddr {
        self.launch.address()
    }

    /// Where the nodes of a cluster talk to it.
    pub fn bus_port(&self) -> u16 {
        self.launch.bus_port
    }

    pub fn password(&self) -> Option<&str> {
        self.launch.recipe.password.as_deref()
    }

    pub fn endpoint(&self) -> Endpoint {
        self.launch.endpoint()
    }

    /// Kills it as a crash would, with SIGKILL: its port refuses connections until it is started again.
    pub fn kill(&self) {
        drop(self.running.lock().expect("no panic").take());
    }

    /// Freezes it with SIGSTOP: it takes connections, since the kernel does, and never answers.
    pub fn freeze(&self) {
        let mut running = self.running.lock().expect("no panic");
        running.as_mut().expect("the server was not killed").freeze();
    }

    /// Thaws it with SIGCONT: it answers all that it was asked meanwhile.
    pub fn resume(&self) {
        let mut running = self.running.lock().expect("no panic");
        running.as_mut().expect("the server was not killed").resume();
    }

    /// Whether it is neither killed nor frozen.
    pub fn answers(&self) -> bool {
        self.running.lock().expect("no panic").as_ref().is_some_and(|running| !running.is_frozen)
    }

    /// Starts what was killed, on its port, with the files that it has.
    pub async fn start_again(&self) {
        let started = self.launch.run().await;
        assert!(started.is_some(), "the port was taken meanwhile:\n{}", self.log());
        *self.running.lock().expect("no panic") = started;
    }

    /// Kills it, if it still runs, and starts it empty on the same port. A node of a cluster still is one.
    pub async fn restart(&self) {
        self.kill();
        self.launch.forget_data();
        self.start_again().await;
    }

    /// Keeps its present state for `restart_from_snapshot`.
    pub async fn snapshot(&self) {
        let keeps_a_journal = self.launch.recipe.options.iter().any(|option| option == "--appendonly");
        assert!(!keeps_a_journal, "with --appendonly Redis starts from its journal, and reads no snapshot");
        assert_eq!(self.command(&["SAVE"]).await, Reply::ok(), "SAVE");
        fs::copy(self.launch.dump(), self.launch.snapshot()).expect("SAVE has written a dump");
    }

    /// Kills it, and starts it on the same port with the state of the last `snapshot`: a server that forgot its
    /// latest writes, as after a failover. What has expired meanwhile is gone.
    pub async fn restart_from_snapshot(&self) {
        assert!(self.launch.snapshot().exists(), "take a snapshot before you restart from it");
        self.kill();
        self.launch.forget_data();
        fs::copy(self.launch.snapshot(), self.launch.dump()).expect("a copied dump can be copied back");
        self.start_again().await;
    }

    /// Runs a command over a connection of its own, so that no state of a connection (SELECT, MULTI) outlives it.
    pub async fn command(&self, arguments: &[impl AsRef<[u8]>]) -> Reply {
        match resp::ask(self.endpoint(), arguments).await {
            Ok(reply) => reply,
            Err(error) => {
                let name = arguments.first().map(|name| name.as_ref().escape_ascii().to_string());
                panic!("{}: {error}; the server's log:\n{}", name.unwrap_or_default(), self.log())
            }
        }
    }

    /// As `command`, and the answer is no refusal.
    pub async fn order(&self, arguments: &[impl AsRef<[u8]>]) -> Reply {
        let reply = self.command(arguments).await;
        if let Reply::Error(refusal) = &reply {
            let words: Vec<_> =
                arguments.iter().map(|word| word.as_ref().escape_ascii().to_string()).collect();
            panic!("{}: {refusal}", words.join(" "));
        }
        reply
    }

    /// What it says to a command that is answered with a text; nothing, if it cannot be asked.
    pub async fn text(&self, arguments: &[&str]) -> String {
        let answer = resp::ask(self.endpoint(), arguments).await;
        answer.ok().and_then(|reply| reply.text()).unwrap_or_default()
    }

    /// A connection that blocks, past every client.
    pub fn connection(&self) -> Connection {
        Connection::open(self.endpoint(), PATIENCE).expect("the server takes connections")
    }

    /// A log of every command from now on.
    pub async fn monitor(&self) -> CommandLog {
        CommandLog::of(self.endpoint()).await
    }

    /// Where its files are, while it is there.
    pub fn folder(&self) -> &Path {
        &self.launch.folder
    }

    /// What it has printed.
    pub fn log(&self) -> String {
        read_log(&self.launch.folder)
    }
}

/// What it takes to start a process, again and again.
#[derive(Clone)]
struct Launch {
    recipe: Recipe,
    folder: PathBuf,
    port: u16,
    bus_port: u16,
}

impl Launch {
    /// Starts the process and waits until it answers; `None` when somebody else has its port.
    async fn run(&self) -> Option<Running> {
        let launch = self.clone();
        aside(move || launch.run_blocking()).await
    }

    fn run_blocking(&self) -> Option<Running> {
        let mut running = self.spawn();
        let since = Instant::now();
        loop {
            if self.is_answered_by(&running).is_ok_and(|answers| answers) {
                return Some(running);
            }
            let log = || read_log(&self.folder);
            if let Some(status) = running.process.try_wait().expect("a child can be asked whether it runs") {
                let log = log();
                assert!(log.contains("Address already in use"), "redis-server ended with {status}:\n{log}");
                return None;
            }
            assert!(since.elapsed() < PATIENCE, "redis-server does not answer:\n{}", log());
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// All that it prints goes to the log, as it complains about its options before it opens a log of its own.
    fn spawn(&self) -> Running {
        fs::create_dir_all(self.data()).expect("the folder can be written to");
        let log = File::create(log_of(&self.folder)).expect("the folder can be written to");
        let errors = log.try_clone().expect("there are file descriptors left");
        let mut command = Command::new(program());
        command.args(self.arguments()).args(&self.recipe.options);
        command.stdin(Stdio::null()).stdout(log).stderr(errors);
        let process = command.spawn();
        Running {
            process: process
                .unwrap_or_else(|error| panic!("{} does not start: {error}", program().display())),
            is_frozen: false,
        }
    }

    fn arguments(&self) -> Vec<OsString> {
        let mut words = Words::default();
        if let Role::Sentinel(lines) = &self.recipe.role {
            words.add([self.sentinel_file(lines).as_os_str()]).add(["--sentinel"]);
        }
        words.add(["--bind", "127.0.0.1", "--loglevel", "warning", "--dir"]).add([self.data()]);
        if let Some(password) = &self.recipe.password {
            words.add(["--requirepass", password]);
        }
        match &self.recipe.role {
            Role::Sentinel(_) => words.add(["--port", &self.port.to_string()]),
            Role::TlsServer(files) => words.add(["--save", "", "--port", "0"]).add(self.tls(files)),
            Role::Server => words.add(["--save", "", "--port", &self.port.to_string()]),
            Role::ClusterNode => {
                words.add(["--save", "", "--port", &self.port.to_string()]).add(self.cluster())
            }
        };
        words.0
    }

    fn cluster(&self) -> Vec<OsString> {
        let mut words = Words::default();
        words.add(["--cluster-enabled", "yes", "--cluster-port", &self.bus_port.to_string()]);
        // Not among the data: a node that restarts empty is a member all the same.
        words.add(["--cluster-config-file"]).add([self.folder.join("nodes.conf")]);
        words.add(["--cluster-node-timeout", "1000", "--cluster-replica-validity-factor", "0"]);
        words.add(["--cluster-allow-replica-migration", "no", "--repl-diskless-sync-delay", "0"]);
        words.0
    }

    fn tls(&self, files: &TlsFiles) -> Vec<OsString> {
        let mut words = Words::default();
        words.add(["--tls-port", &self.port.to_string(), "--unixsocket"]).add([self.back_door()]);
        words.add(["--tls-cert-file"]).add([&files.certificate]).add(["--tls-key-file"]).add([&files.key]);
        words.add(["--tls-ca-cert-file"]).add([&files.authority]);
        words.add(["--tls-auth-clients", if files.asks_clients { "yes" } else { "no" }]);
        words.0
    }

    /// Written once: the sentinel keeps in it what it learns.
    fn sentinel_file(&self, lines: &[String]) -> PathBuf {
        let path = self.folder.join("sentinel.conf");
        if !path.exists() {
            fs::write(&path, lines.join("\n")).expect("the folder can be written to");
        }
        path
    }

    /// Whether it is this process that answers, and not a server that was first to take the port.
    fn is_answered_by(&self, running: &Running) -> io::Result<bool> {
        let mut connection = Connection::open(self.endpoint(), Duration::from_secs(1))?;
        let is_up = connection.ask(&["PING"])? == Reply::Simple("PONG".to_owned());
        let about = connection.ask(&["INFO", "server"])?.text().unwrap_or_default();
        let own = format!("process_id:{}", running.process.id());
        Ok(is_up && about.lines().any(|line| line == own))
    }

    fn endpoint(&self) -> Endpoint {
        let road = match self.recipe.role {
            Role::TlsServer(_) => Road::Unix(self.back_door()),
            Role::Server | Role::ClusterNode | Role::Sentinel(_) => Road::Tcp(self.address()),
        };
        Endpoint { road, password: self.recipe.password.clone() }
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

    fn back_door(&self) -> PathBuf {
        self.folder.join("door")
    }
}

/// A command line, as texts and paths.
#[derive(Default)]
struct Words(Vec<OsString>);

impl Words {
    fn add<W: AsRef<OsStr>>(&mut self, words: impl IntoIterator<Item = W>) -> &mut Self {
        self.0.extend(words.into_iter().map(|word| word.as_ref().to_owned()));
        self
    }
}

/// Killed when dropped, frozen or not.
struct Running {
    process: Child,
    is_frozen: bool,
}

impl Running {
    fn freeze(&mut self) {
        self.is_frozen = true;
        kill_process(self.pid(), Signal::STOP).expect("the server runs");
        // The signal takes effect after the call: wait for that, and leave the news for whoever stops it twice.
        waitid(WaitId::Pid(self.pid()), WaitIdOptions::STOPPED | WaitIdOptions::NOWAIT)
            .expect("the server is a child of this process");
    }

    fn resume(&mut self) {
        kill_process(self.pid(), Signal::CONT).expect("the server runs");
        self.is_frozen = false;
    }

    fn pid(&self) -> Pid {
        Pid::from_child(&self.process)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Either fails only if the process is dead already.
        _ = self.process.kill();
        _ = self.process.wait();
    }
}

/// A folder for one test's files, removed when dropped.
pub struct Folder(PathBuf);

impl Folder {
    pub fn make(what: &str) -> Self {
        let path = std::env::temp_dir().join(format!("larder-{what}-{:016x}", fastrand::u64(..)));
        fs::create_dir(&path).expect("the folder for temporary files can be written to");
        Self(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // A folder left behind is no reason to fail a test, and a panic here would hide why one failed.
        _ = fs::remove_dir_all(&self.0);
    }
}

/// Whether Redis can be started; where it is not installed, a line says that `test` was skipped, or a panic if
/// LARDER_REQUIRE_ALL=1.
pub fn is_installed_or_skip(test: &str) -> bool {
    if is_installed() {
        return true;
    }
    assert!(
        std::env::var_os("LARDER_REQUIRE_ALL").is_none_or(|value| value != "1"),
        "{test}: no redis-server in PATH; install it, on Debian or Ubuntu with: apt-get install redis-server"
    );
    skipped(test, "no redis-server in PATH");
    false
}

/// Past the test harness, which keeps what passing tests print.
pub fn skipped(test: &str, why: &str) {
    _ = writeln!(io::stderr(), "SKIPPED {test}: {why}");
}

/// Waiting for what a deployment comes to in its own time: `while !it_has_come { waiting.a_moment().await }`.
///
/// A paused clock of tokio's stands still meanwhile.
pub struct Waiting {
    what: &'static str,
    since: Instant,
}

impl Waiting {
    pub fn until(what: &'static str) -> Self {
        Self { what, since: Instant::now() }
    }

    pub async fn a_moment(&self) {
        assert!(self.since.elapsed() < PATIENCE, "{}: it does not come", self.what);
        aside(|| thread::sleep(Duration::from_millis(10))).await;
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
