//! A real primary with replicas, and the sentinels that watch over them: for tests of whoever asks those who the
//! primary is.

use std::net::SocketAddr;

use futures_util::future::join_all;

use super::redis_process::{Recipe, RedisProcess, Role, Waiting, is_installed_or_skip};
use super::resp::Reply;

/// As what the sentinels know the primary.
pub const SERVICE: &str = "cache";

/// What is watched, and how.
#[derive(Clone, Debug)]
pub struct Plan {
    pub replicas: usize,
    pub sentinels: usize,
    /// Of the default user of the servers.
    pub password: Option<String>,
    /// Of the default user of the sentinels.
    pub sentinel_password: Option<String>,
}

impl Default for Plan {
    fn default() -> Self {
        Self { replicas: 1, sentinels: 3, password: None, sentinel_password: None }
    }
}

/// Servers and sentinels are known by their number; server 0 is the primary at first. All are killed when dropped.
pub struct Sentinels {
    servers: Vec<RedisProcess>,
    sentinels: Vec<RedisProcess>,
}

impl Sentinels {
    pub async fn start() -> Self {
        Self::start_with(Plan::default()).await
    }

    pub async fn start_with(plan: Plan) -> Self {
        let servers = join_all((0..=plan.replicas).map(|_| RedisProcess::start(plan.server()))).await;
        let primary = servers[0].address();
        for replica in &servers[1..] {
            replica.order(&["REPLICAOF", "127.0.0.1", &primary.port().to_string()]).await;
        }
        // A sentinel asks for the replicas when it first meets the primary, and then not for a while.
        let waiting = Waiting::until("the replicas follow");
        while replicas_of(&servers[0]).await != plan.replicas {
            waiting.a_moment().await;
        }
        let sentinels =
            join_all((0..plan.sentinels).map(|at| RedisProcess::start(plan.sentinel(at, primary)))).await;
        let deployment = Self { servers, sentinels };
        deployment.hurry().await;
        deployment.settled().await;
        deployment
    }

    /// `None`, and a line that says so, where no Redis is installed; a panic if LARDER_REQUIRE_ALL=1.
    pub async fn start_or_skip(test: &str) -> Option<Self> {
        Self::start_or_skip_with(test, Plan::default()).await
    }

    pub async fn start_or_skip_with(test: &str, plan: Plan) -> Option<Self> {
        match is_installed_or_skip(test) {
            true => Some(Self::start_with(plan).await),
            false => None,
        }
    }

    // --- who there is ---

    /// Of the sentinels.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.sentinels.iter().map(RedisProcess::address).collect()
    }

    pub fn sentinel(&self, sentinel: usize) -> &RedisProcess {
        &self.sentinels[sentinel]
    }

    pub fn server(&self, server: usize) -> &RedisProcess {
        &self.servers[server]
    }

    /// Which server the sentinels hold for the primary; waits while they differ.
    pub async fn primary(&self) -> usize {
        let waiting = Waiting::until("the sentinels agree on a primary");
        loop {
            if let Some(primary) = self.agreed_primary().await {
                return primary;
            }
            waiting.a_moment().await;
        }
    }

    // --- what happens to the primary ---

    /// Which server it was.
    pub async fn kill_primary(&self) -> usize {
        let primary = self.primary().await;
        self.servers[primary].kill();
        primary
    }

    /// Which server it was.
    pub async fn freeze_primary(&self) -> usize {
        let primary = self.primary().await;
        self.servers[primary].freeze();
        primary
    }

    /// Waits until all sentinels name another primary than `lost`, and that one is; which server it is.
    pub async fn switched(&self, lost: usize) -> usize {
        let waiting = Waiting::until("the sentinels switch over");
        loop {
            let primary = self.agreed_primary().await.filter(|primary| *primary != lost);
            match primary {
                Some(primary) if role(&self.servers[primary]).await == "master" => return primary,
                Some(_) | None => waiting.a_moment().await,
            }
        }
    }

    /// Has a sentinel replace the primary, which need not be lost; which server it is then.
    pub async fn fail_over(&self) -> usize {
        let lost = self.primary().await;
        let asked = self.answering_sentinels().next().expect("a sentinel that can be asked");
        // Refused while it knows of no replica that is fit, or of a switch that is under way.
        let waiting = Waiting::until("a sentinel takes the order");
        while asked.command(&["SENTINEL", "FAILOVER", SERVICE]).await != Reply::ok() {
            waiting.a_moment().await;
        }
        self.switched(lost).await
    }

    // --- how they are ---

    /// Waits until every sentinel that can be asked knows the others, the primary and the replicas, and holds none of
    /// them for lost.
    pub async fn settled(&self) {
        let waiting = Waiting::until("the sentinels know one another");
        for sentinel in self.answering_sentinels() {
            while !self.knows_all(sentinel).await {
                waiting.a_moment().await;
            }
        }
    }

    async fn knows_all(&self, sentinel: &RedisProcess) -> bool {
        let primary = about(sentinel, "MASTER").await;
        let (replicas, others) = (list(sentinel, "REPLICAS").await, list(sentinel, "SENTINELS").await);
        let is_well = |known: &About| !is_lost(&says(known, "flags"));
        let follows = |replica: &About| is_well(replica) && says(replica, "master-link-status") == "ok";
        is_well(&primary)
            && (replicas.len(), others.len()) == (self.servers.len() - 1, self.sentinels.len() - 1)
            && replicas.iter().all(follows)
            && others.iter().all(is_well)
    }

    async fn agreed_primary(&self) -> Option<usize> {
        let mut named = Vec::new();
        for sentinel in self.answering_sentinels() {
            let port = primary_port(sentinel).await;
            let is_named = |server: &RedisProcess| Some(server.address().port().to_string()) == port;
            named.push(self.servers.iter().position(is_named));
        }
        let first = named.first().copied().flatten();
        first.filter(|_| named.iter().all(|primary| *primary == first))
    }

    fn answering_sentinels(&self) -> impl Iterator<Item = &RedisProcess> {
        self.sentinels.iter().filter(|sentinel| sentinel.answers())
    }

    /// Sentinels take ten seconds to look around, and thirty off when a busy machine made them late. Those before 7.0
    /// cannot be told, and are slower. Not the period of their pings: a replica whose last word is older than five of
    /// those is not promoted, and INFO does not come that often.
    async fn hurry(&self) {
        for sentinel in &self.sentinels {
            for setting in [
                ["info-period", "500"],
                ["publish-period", "200"],
                ["ask-period", "200"],
                ["tilt-period", "1000"],
            ] {
                sentinel.command(&[&["SENTINEL", "DEBUG"], &setting[..]].concat()).await;
            }
        }
    }
}

impl Plan {
    fn server(&self) -> Recipe {
        let options = ["--repl-diskless-sync-delay", "0"].map(str::to_owned).to_vec();
        Recipe::with_user(Role::Server, self.password.clone(), options)
    }

    /// As many as it takes notice soon, and the others later: if all stood for election at once, each would vote for
    /// itself, again and again.
    fn sentinel(&self, at: usize, primary: SocketAddr) -> Recipe {
        let quorum = self.sentinels / 2 + 1;
        let patience = if at < quorum { 500 } else { 1_500 };
        let mut lines = vec![
            format!("sentinel monitor {SERVICE} 127.0.0.1 {} {quorum}", primary.port()),
            format!("sentinel down-after-milliseconds {SERVICE} {patience}"),
            format!("sentinel failover-timeout {SERVICE} 2000"),
        ];
        lines.extend(
            self.password.iter().map(|password| format!("sentinel auth-pass {SERVICE} \"{password}\"")),
        );
        // Among themselves.
        lines.extend(
            self.sentinel_password.iter().map(|password| format!("sentinel sentinel-pass \"{password}\"")),
        );
        Recipe { role: Role::Sentinel(lines), options: Vec::new(), password: self.sentinel_password.clone() }
    }
}

async fn role(server: &RedisProcess) -> String {
    match server.command(&["ROLE"]).await {
        Reply::Array(words) => words.first().and_then(Reply::text).unwrap_or_default(),
        other => panic!("ROLE: {other:?}"),
    }
}

/// As it tells those who ask for the primary.
async fn primary_port(sentinel: &RedisProcess) -> Option<String> {
    match sentinel.command(&["SENTINEL", "GET-MASTER-ADDR-BY-NAME", SERVICE]).await {
        Reply::Array(address) => address.get(1).and_then(Reply::text),
        _ => None,
    }
}

/// How many follow this primary and have all that it has.
async fn replicas_of(primary: &RedisProcess) -> usize {
    let about = primary.text(&["INFO", "replication"]).await;
    about.lines().filter(|line| line.starts_with("slave") && line.contains("state=online")).count()
}

/// What a sentinel says of somebody, by name.
type About = Vec<(String, String)>;

async fn about(sentinel: &RedisProcess, whom: &str) -> About {
    read(&sentinel.command(&["SENTINEL", whom, SERVICE]).await)
}

async fn list(sentinel: &RedisProcess, whom: &str) -> Vec<About> {
    match sentinel.command(&["SENTINEL", whom, SERVICE]).await {
        Reply::Array(list) => list.iter().map(read).collect(),
        other => panic!("SENTINEL {whom}: {other:?}"),
    }
}

fn read(pairs: &Reply) -> About {
    let Reply::Array(words) = pairs else { panic!("a sentinel answers with names and values: {pairs:?}") };
    let text = |word: &Reply| word.text().unwrap_or_default();
    words.chunks_exact(2).map(|pair| (text(&pair[0]), text(&pair[1]))).collect()
}

fn says(about: &[(String, String)], name: &str) -> String {
    about.iter().find(|(has, _)| has == name).map(|(_, value)| value.clone()).unwrap_or_default()
}

fn is_lost(flags: &str) -> bool {
    flags.is_empty() || flags.split(',').any(|flag| ["s_down", "o_down", "disconnected"].contains(&flag))
}
