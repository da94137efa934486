//! A real Redis server for one test, which may kill it, freeze it, and bring it back empty or with an old state.

use std::net::SocketAddr;

use larder::Redis;
use larder::tier::redis::RedisBuilder;

use super::command_log::CommandLog;
use super::proxy::Proxy;
use super::redis_process::{Recipe, RedisProcess, Role, Waiting, is_installed_or_skip, skipped};
use super::resp::{Connection, Reply};
use super::rights;

/// Says `cluster` to have all tests run on a cluster of one node.
const DEPLOYMENT: &str = "LARDER_TEST_REDIS";

/// Listens on 127.0.0.1, keeps its files in a folder of its own, and is killed when dropped.
pub struct RedisServer(RedisProcess);

impl RedisServer {
    pub async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// With more options for its command line, as `&["--maxmemory", "8mb"]`. They win over the usual ones, which
    /// keep nothing on disk.
    pub async fn start_with(options: &[&str]) -> Self {
        Self::start_as(Deployment::wanted(), options).await
    }

    /// `None`, and a line that says so, where no Redis is installed; a panic if LARDER_REQUIRE_ALL=1.
    pub async fn start_or_skip(test: &str) -> Option<Self> {
        Self::start_or_skip_with(test, &[]).await
    }

    pub async fn start_or_skip_with(test: &str, options: &[&str]) -> Option<Self> {
        match is_installed_or_skip(test) {
            true => Some(Self::start_with(options).await),
            false => None,
        }
    }

    /// For a test that needs a way to the server which a cluster does not have, as through a proxy: a cluster tells
    /// its clients the addresses of its nodes, and they go there. Where all is to run on one, the test is skipped.
    pub async fn start_alone_or_skip(test: &str) -> Option<Self> {
        if Deployment::wanted() == Deployment::Alone {
            return Self::start_or_skip(test).await;
        }
        skipped(test, "it needs a server that is no cluster");
        None
    }

    async fn start_as(deployment: Deployment, options: &[&str]) -> Self {
        let is_cluster = deployment == Deployment::ClusterOfOne;
        let mut all = rights::on_the_command_line("~*", is_cluster);
        all.extend(options.iter().map(|&option| option.to_owned()));
        let role = if is_cluster { Role::ClusterNode } else { Role::Server };
        let server = Self(RedisProcess::start(Recipe { role, options: all, password: None }).await);
        if is_cluster {
            server.0.order(&["CLUSTER", "ADDSLOTSRANGE", "0", "16383"]).await;
        }
        server.serves().await;
        server
    }

    // --- how it is reached ---

    /// What follows `ACL SETUSER` to let the library come at these `keys`.
    pub fn rights(&self, keys: &str) -> Vec<String> {
        rights::user(keys, Deployment::wanted() == Deployment::ClusterOfOne)
    }

    pub fn port(&self) -> u16 {
        self.address().port()
    }

    pub fn address(&self) -> SocketAddr {
        self.0.address()
    }

    /// Whether it is a node of a cluster, as all are to be where the environment says so.
    pub fn is_in_a_cluster(&self) -> bool {
        Deployment::wanted() == Deployment::ClusterOfOne
    }

    /// For the user as whom the library runs.
    pub fn url(&self) -> String {
        rights::url(self.address())
    }

    /// For the default user, who may do everything.
    pub fn url_of_default_user(&self) -> String {
        format!("redis://{}{}", self.address(), rights::protocol())
    }

    /// What a test makes its handle of.
    pub fn builder(&self) -> RedisBuilder {
        builder(&self.url())
    }

    /// The same for who reaches it through a proxy. Not on a cluster, which sends everybody straight to its nodes.
    pub fn builder_through(&self, proxy: &Proxy) -> RedisBuilder {
        assert!(Deployment::wanted() == Deployment::Alone, "this test is for `start_alone_or_skip`");
        builder(&rights::url(proxy.address()))
    }

    /// The handle of a test that has no wishes.
    pub fn redis(&self) -> Redis {
        self.builder().build().expect("a URL")
    }

    /// A connection that blocks, past every client.
    pub fn connection(&self) -> Connection {
        self.0.connection()
    }

    // --- what happens to it ---

    /// Kills it as a crash would, with SIGKILL: its port refuses connections until it is restarted.
    pub fn kill(&self) {
        self.0.kill();
    }

    /// Freezes it with SIGSTOP: it takes connections, since the kernel does, and never answers.
    pub fn stop(&self) {
        self.0.freeze();
    }

    /// Thaws it with SIGCONT: it answers all that it was asked meanwhile.
    pub fn resume(&self) {
        self.0.resume();
    }

    /// Kills it, if it still runs, and starts it empty on the same port.
    pub async fn restart(&self) {
        self.0.restart().await;
        self.serves().await;
    }

    /// Keeps its present state for `restart_from_snapshot`.
    pub async fn snapshot(&self) {
        self.0.snapshot().await;
    }

    /// Kills it, and starts it on the same port with the state of the last `snapshot`: a server that forgot its
    /// latest writes, as after a failover. What has expired meanwhile is gone.
    pub async fn restart_from_snapshot(&self) {
        self.0.restart_from_snapshot().await;
        self.serves().await;
    }

    // --- what it is asked ---

    /// Runs a command over a connection of its own, so that no state of a connection (SELECT, MULTI) outlives it.
    pub async fn command(&self, arguments: &[impl AsRef<[u8]>]) -> Reply {
        self.0.command(arguments).await
    }

    /// A log of every command from now on.
    pub async fn monitor(&self) -> CommandLog {
        self.0.monitor().await
    }

    /// A primary of a cluster takes two seconds after its start before it does.
    async fn serves(&self) {
        let waiting = Waiting::until("the server serves");
        while matches!(self.command(&["GET", "k"]).await, Reply::Error(why) if why.starts_with("CLUSTERDOWN"))
        {
            waiting.a_moment().await;
        }
    }
}

/// What a test makes its handle of, for a server that it knows by its URL: another process of the same test.
pub fn builder(url: &str) -> RedisBuilder {
    let builder = Redis::builder(url);
    match Deployment::wanted() {
        Deployment::Alone => builder,
        Deployment::ClusterOfOne => builder.cluster([]),
    }
}

/// What all tests run on.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Deployment {
    Alone,
    ClusterOfOne,
}

impl Deployment {
    fn wanted() -> Self {
        match std::env::var(DEPLOYMENT).as_deref() {
            Err(_) | Ok("") => Self::Alone,
            Ok("cluster") => Self::ClusterOfOne,
            Ok(other) => panic!("{DEPLOYMENT}={other}: nothing, or `cluster`"),
        }
    }
}
