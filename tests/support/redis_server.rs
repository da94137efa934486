//! A real Redis server for one test, which may kill it, freeze it, and bring it back empty or with an old state.

use std::net::SocketAddr;

use futures_util::future::join_all;
use larder::Redis;
use larder::tier::redis::RedisBuilder;

use super::command_log::CommandLog;
use super::proxy::Proxy;
use super::redis_cluster::{Plan, RedisCluster};
use super::redis_process::{Recipe, RedisProcess, Role, Waiting, is_installed_or_skip, skipped};
use super::resp::{Connection, Reply};
use super::rights;

/// Says `cluster` to have all tests run on a cluster of one node, and `cluster33` on one of three primaries and three
/// replicas.
const DEPLOYMENT: &str = "LARDER_TEST_REDIS";

/// Listens on 127.0.0.1, keeps its files in a folder of its own, and is killed when dropped. What a test calls its server
/// may be a whole cluster: then every command goes to the node that has its key, and what happens to the server happens
/// to all nodes.
pub struct RedisServer(Running);

enum Running {
    One(RedisProcess),
    Cluster(RedisCluster),
}

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

    /// For a test of one process: what happens to that, or is counted of it, is another matter where there are six. Where
    /// all is to run on so many, the test is skipped.
    pub async fn start_one_or_skip(test: &str) -> Option<Self> {
        Self::start_one_or_skip_with(test, &[]).await
    }

    pub async fn start_one_or_skip_with(test: &str, options: &[&str]) -> Option<Self> {
        if Deployment::wanted() != Deployment::Cluster {
            return Self::start_or_skip_with(test, options).await;
        }
        skipped(test, "it needs a server that is one process");
        None
    }

    async fn start_as(deployment: Deployment, options: &[&str]) -> Self {
        let options: Vec<String> = options.iter().map(|&option| option.to_owned()).collect();
        let server = Self(match deployment {
            Deployment::Alone => Running::One(start_process(Role::Server, options).await),
            Deployment::ClusterOfOne => {
                let node = start_process(Role::ClusterNode, options).await;
                node.order(&["CLUSTER", "ADDSLOTSRANGE", "0", "16383"]).await;
                Running::One(node)
            }
            Deployment::Cluster => {
                Running::Cluster(RedisCluster::start_with(Plan { options, ..Plan::default() }).await)
            }
        });
        server.serves().await;
        server
    }

    // --- how it is reached ---

    /// What follows `ACL SETUSER` to let the library come at these `keys`.
    pub fn rights(&self, keys: &str) -> Vec<String> {
        rights::user(keys, self.is_in_a_cluster())
    }

    pub fn port(&self) -> u16 {
        self.address().port()
    }

    /// Of a cluster the first node's.
    pub fn address(&self) -> SocketAddr {
        self.addresses()[0]
    }

    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.processes().iter().map(RedisProcess::address).collect()
    }

    /// Whether it is a node of a cluster or a whole one, as all are to be where the environment says so.
    pub fn is_in_a_cluster(&self) -> bool {
        Deployment::wanted() != Deployment::Alone
    }

    /// The cluster that it is, if it has several nodes.
    pub fn cluster(&self) -> Option<&RedisCluster> {
        match &self.0 {
            Running::One(_) => None,
            Running::Cluster(cluster) => Some(cluster),
        }
    }

    /// For the user as whom the library runs.
    pub fn url(&self) -> String {
        rights::url(self.address())
    }

    /// For the default user, who may do everything.
    pub fn url_of_default_user(&self) -> String {
        url_of_default_user(self.address())
    }

    /// Of all nodes.
    pub fn urls_of_default_user(&self) -> Vec<String> {
        self.addresses().into_iter().map(url_of_default_user).collect()
    }

    /// What a test makes its handle of.
    pub fn builder(&self) -> RedisBuilder {
        match &self.0 {
            Running::One(_) => builder(&self.url()),
            Running::Cluster(cluster) => cluster.builder(),
        }
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

    /// A connection that blocks, past every client; to the first node of a cluster.
    pub fn connection(&self) -> Connection {
        self.processes()[0].connection()
    }

    // --- what happens to it ---

    /// Kills it as a crash would, with SIGKILL: its port refuses connections until it is restarted.
    pub fn kill(&self) {
        self.processes().iter().for_each(RedisProcess::kill);
    }

    /// Freezes it with SIGSTOP: it takes connections, since the kernel does, and never answers.
    pub fn stop(&self) {
        self.processes().iter().for_each(RedisProcess::freeze);
    }

    /// Thaws it with SIGCONT: it answers all that it was asked meanwhile.
    pub fn resume(&self) {
        self.processes().iter().for_each(RedisProcess::resume);
    }

    /// Kills it, if it still runs, and starts it on the same port with the files that it has.
    pub async fn start_again(&self) {
        self.kill();
        join_all(self.processes().iter().map(RedisProcess::start_again)).await;
        self.serves().await;
    }

    /// Kills it, if it still runs, and starts it empty on the same port.
    pub async fn restart(&self) {
        self.kill();
        join_all(self.processes().iter().map(RedisProcess::restart)).await;
        self.serves().await;
    }

    /// Keeps its present state for `restart_from_snapshot`.
    pub async fn snapshot(&self) {
        join_all(self.processes().iter().map(RedisProcess::snapshot)).await;
    }

    /// Kills it, and starts it on the same port with the state of the last `snapshot`: a server that forgot its
    /// latest writes, as after a failover. What has expired meanwhile is gone.
    pub async fn restart_from_snapshot(&self) {
        self.kill();
        join_all(self.processes().iter().map(RedisProcess::restart_from_snapshot)).await;
        self.serves().await;
    }

    // --- what it is asked ---

    /// Runs a command over a connection of its own, so that no state of a connection (SELECT, MULTI) outlives it.
    pub async fn command(&self, arguments: &[impl AsRef<[u8]>]) -> Reply {
        match &self.0 {
            Running::One(process) => process.command(arguments).await,
            Running::Cluster(cluster) => cluster.command_where_it_belongs(arguments).await,
        }
    }

    /// What the process that has this key tells about itself.
    pub async fn info_for(&self, key: &str) -> String {
        let info = match &self.0 {
            Running::One(process) => process.command(&["INFO"]).await,
            Running::Cluster(cluster) => cluster.command_for(key, &["INFO"]).await,
        };
        info.text().expect("a text")
    }

    /// A log of every command from now on.
    pub async fn monitor(&self) -> ServerLog {
        ServerLog(match &self.0 {
            Running::One(process) => vec![process.monitor().await],
            Running::Cluster(cluster) => {
                let primaries = cluster.primaries().await.into_iter();
                join_all(primaries.map(|node| cluster.node(node).monitor())).await
            }
        })
    }

    fn processes(&self) -> &[RedisProcess] {
        match &self.0 {
            Running::One(process) => std::slice::from_ref(process),
            Running::Cluster(cluster) => cluster.nodes(),
        }
    }

    /// A primary of a cluster takes two seconds after its start before it does.
    async fn serves(&self) {
        if let Running::Cluster(cluster) = &self.0 {
            return cluster.settled().await;
        }
        let waiting = Waiting::until("the server serves");
        while matches!(self.command(&["GET", "k"]).await, Reply::Error(why) if why.starts_with("CLUSTERDOWN"))
        {
            waiting.a_moment().await;
        }
    }
}

/// Which commands a server ran; of a cluster those of all primaries, one after the other, each in its own order.
pub struct ServerLog(Vec<CommandLog>);

impl ServerLog {
    /// See [`CommandLog::take`].
    pub async fn take(&self) -> Vec<Vec<String>> {
        join_all(self.0.iter().map(CommandLog::take)).await.concat()
    }

    /// See [`CommandLog::take_sent`].
    pub async fn take_sent(&self) -> Vec<Vec<String>> {
        join_all(self.0.iter().map(CommandLog::take_sent)).await.concat()
    }
}

async fn start_process(role: Role, options: Vec<String>) -> RedisProcess {
    RedisProcess::start(Recipe::with_user(role, None, options)).await
}

fn url_of_default_user(address: SocketAddr) -> String {
    format!("redis://{address}{}", rights::protocol())
}

/// What a test makes its handle of, for a server that it knows by its URL: another process of the same test. Of a cluster
/// the URL of any node will do.
pub fn builder(url: &str) -> RedisBuilder {
    let builder = Redis::builder(url);
    match Deployment::wanted() {
        Deployment::Alone => builder,
        Deployment::ClusterOfOne | Deployment::Cluster => builder.cluster([]),
    }
}

/// What all tests run on.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Deployment {
    Alone,
    ClusterOfOne,
    /// Three primaries with a replica each.
    Cluster,
}

impl Deployment {
    fn wanted() -> Self {
        match std::env::var(DEPLOYMENT).as_deref() {
            Err(_) | Ok("") => Self::Alone,
            Ok("cluster") => Self::ClusterOfOne,
            Ok("cluster33") => Self::Cluster,
            Ok(other) => panic!("{DEPLOYMENT}={other}: nothing, `cluster`, or `cluster33`"),
        }
    }
}
