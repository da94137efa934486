//! A real Redis cluster for one test, which may kill and freeze its nodes, have replicas take over, and move slots.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use futures_util::future::join_all;
use larder::Redis;
use larder::tier::redis::RedisBuilder;

use super::redis_process::{Recipe, RedisProcess, Role, Waiting, is_installed_or_skip};
use super::resp::{Connection, Reply};
use super::rights;

const SLOTS: u16 = 16_384;

/// What a cluster is to be.
#[derive(Clone, Debug)]
pub struct Plan {
    pub primaries: usize,
    /// Of all primaries together: the first replica is the first primary's, and so on, round after round.
    pub replicas: usize,
    /// More words for the command line of every node. They win over the usual ones.
    pub options: Vec<String>,
    /// Of the default user, on every node.
    pub password: Option<String>,
}

impl Default for Plan {
    /// Three primaries with a replica each: the smallest in which a replica takes over by itself.
    fn default() -> Self {
        Self { primaries: 3, replicas: 3, options: Vec::new(), password: None }
    }
}

/// How a replica takes over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TakeOver {
    /// By agreement with the primary, of which nothing is lost.
    Agreed,
    /// The other primaries vote; its own, which may be away, is not asked.
    Forced,
    /// Nobody is asked.
    Unasked,
}

/// Nodes are known by their number. At first 0 is a primary, as are the next ones, and the replicas follow. All are
/// killed when dropped.
pub struct RedisCluster {
    nodes: Vec<RedisProcess>,
    ids: Vec<String>,
}

impl RedisCluster {
    pub async fn start() -> Self {
        Self::start_with(Plan::default()).await
    }

    pub async fn start_with(plan: Plan) -> Self {
        let starting = (0..plan.primaries + plan.replicas).map(|_| RedisProcess::start(plan.recipe()));
        let nodes = join_all(starting).await;
        let mut ids = Vec::new();
        for node in &nodes {
            ids.push(node.text(&["CLUSTER", "MYID"]).await);
        }
        let cluster = Self { nodes, ids };
        cluster.form(&plan).await;
        cluster
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

    // --- the nodes ---

    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    pub fn node(&self, node: usize) -> &RedisProcess {
        &self.nodes[node]
    }

    pub fn nodes(&self) -> &[RedisProcess] {
        &self.nodes
    }

    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.nodes.iter().map(RedisProcess::address).collect()
    }

    /// Of all nodes, for the user as whom the library runs.
    pub fn urls(&self) -> Vec<String> {
        self.addresses().into_iter().map(rights::url).collect()
    }

    /// Which node listens there.
    pub fn node_at(&self, address: SocketAddr) -> usize {
        let at = self.nodes.iter().position(|node| node.address() == address);
        at.unwrap_or_else(|| panic!("{address} is no node of this cluster"))
    }

    /// The node that owns the slot and says so itself; waits while there is none that can be asked.
    pub async fn primary_of(&self, slot: u16) -> usize {
        let waiting = Waiting::until("a primary of the slot");
        loop {
            if let Some(primary) = self.owner_of(slot).await {
                return primary;
            }
            waiting.a_moment().await;
        }
    }

    /// Of the key's slot.
    pub async fn primary_of_key(&self, key: impl AsRef<[u8]>) -> usize {
        self.primary_of(slot_of(key)).await
    }

    /// The replicas of the slot's primary that can be asked.
    pub async fn replicas_of(&self, slot: u16) -> Vec<usize> {
        let primary = &self.ids[self.primary_of(slot).await];
        let mut replicas = Vec::new();
        for node in self.answering() {
            if self.itself(node).await.is_some_and(|itself| itself.primary.as_ref() == Some(primary)) {
                replicas.push(node);
            }
        }
        replicas
    }

    /// All nodes that can be asked and own slots.
    pub async fn primaries(&self) -> Vec<usize> {
        let mut primaries = Vec::new();
        for node in self.answering() {
            if self.itself(node).await.is_some_and(|itself| !itself.slots.is_empty()) {
                primaries.push(node);
            }
        }
        primaries
    }

    // --- commands ---

    /// Runs a command on one node, over a connection of its own.
    pub async fn command(&self, node: usize, arguments: &[impl AsRef<[u8]>]) -> Reply {
        self.nodes[node].command(arguments).await
    }

    /// Runs a command where the key lives.
    pub async fn command_for(&self, key: impl AsRef<[u8]>, arguments: &[impl AsRef<[u8]>]) -> Reply {
        self.nodes[self.primary_of_key(key).await].command(arguments).await
    }

    /// Runs a command on every node that can be asked, one after the other.
    pub async fn command_on_all(&self, arguments: &[impl AsRef<[u8]>]) -> Vec<Reply> {
        let mut replies = Vec::new();
        for node in self.answering() {
            replies.push(self.nodes[node].command(arguments).await);
        }
        replies
    }

    /// Runs a command as a single server would: where its key lives, or everywhere, if it has none.
    pub async fn command_where_it_belongs(&self, arguments: &[impl AsRef<[u8]>]) -> Reply {
        match Place::of(arguments) {
            Place::Key(key) => self.command_for(key, arguments).await,
            Place::Everyone => {
                let replies = self.command_on_all(arguments).await;
                let refusal = replies.iter().find(|reply| matches!(reply, Reply::Error(_)));
                refusal.or(replies.first()).expect("a node that can be asked").clone()
            }
            Place::Primaries => {
                let mut replies = Vec::new();
                for node in self.primaries().await {
                    replies.push(self.nodes[node].command(arguments).await);
                }
                replies.into_iter().reduce(together).expect("a primary that can be asked")
            }
        }
    }

    /// What a test makes its handle of.
    pub fn builder(&self) -> RedisBuilder {
        let addresses: Vec<String> = self.addresses().iter().map(ToString::to_string).collect();
        Redis::builder(self.urls()[0].clone()).cluster(addresses[1..].iter().map(String::as_str))
    }

    /// Whether a node, primary or replica, has as many keys of a slot as the slot's primary.
    pub async fn has(&self, node: usize, slot: u16) -> bool {
        let slot_text = slot.to_string();
        let count = ["CLUSTER", "COUNTKEYSINSLOT", &slot_text];
        self.command(node, &count).await == self.command(self.primary_of(slot).await, &count).await
    }

    /// The names of all keys that fit, wherever they live.
    pub async fn keys(&self, pattern: &str) -> Vec<String> {
        let mut keys = Vec::new();
        for node in self.primaries().await {
            let Reply::Array(names) = self.nodes[node].order(&["KEYS", pattern]).await else {
                panic!("KEYS answers with a list")
            };
            keys.extend(names.iter().map(|name| name.text().expect("a name")));
        }
        keys.sort();
        // While its slot moves, a key may be in two places for a moment.
        keys.dedup();
        keys
    }

    pub fn connection(&self, node: usize) -> Connection {
        self.nodes[node].connection()
    }

    // --- what happens to nodes ---

    pub fn kill(&self, node: usize) {
        self.nodes[node].kill();
    }

    /// Which node it was.
    pub async fn kill_primary_of(&self, slot: u16) -> usize {
        let primary = self.primary_of(slot).await;
        self.kill(primary);
        primary
    }

    pub fn freeze(&self, node: usize) {
        self.nodes[node].freeze();
    }

    /// The cluster may have gone on without it: wait for `settled` before it is counted on.
    pub fn resume(&self, node: usize) {
        self.nodes[node].resume();
    }

    /// Starts a node empty on its port, and waits until it is what the others think it is.
    pub async fn restart(&self, node: usize) {
        self.nodes[node].restart().await;
        self.settled().await;
    }

    /// Waits until another node has the slots of `lost`, and all agree; which node it is.
    pub async fn replaced(&self, slot: u16, lost: usize) -> usize {
        let waiting = Waiting::until("a replica takes over");
        while !self.is_replaced(slot, lost).await {
            waiting.a_moment().await;
        }
        self.settled().await;
        self.primary_of(slot).await
    }

    /// Has a replica of the slot's primary take over, and waits until all know; which node it is.
    pub async fn fail_over(&self, slot: u16, how: TakeOver) -> usize {
        let lost = self.primary_of(slot).await;
        let replicas = self.replicas_of(slot).await;
        let replica = *replicas.first().expect("a replica that can be asked");
        self.take_over(replica, slot, lost, how).await
    }

    /// The same by this replica: while the primary of the slot cannot be asked, nobody else knows who that is.
    pub async fn take_over(&self, replica: usize, slot: u16, lost: usize, how: TakeOver) -> usize {
        let order: &[&str] = match how {
            TakeOver::Agreed => &["CLUSTER", "FAILOVER"],
            TakeOver::Forced => &["CLUSTER", "FAILOVER", "FORCE"],
            TakeOver::Unasked => &["CLUSTER", "FAILOVER", "TAKEOVER"],
        };
        // An election can fail, and one that hangs is given up after five seconds.
        let (waiting, mut asked) = (Waiting::until("a replica takes over when it is told to"), 0_u32);
        while !self.is_replaced(slot, lost).await {
            if asked % 100 == 0 {
                self.nodes[replica].command(order).await;
            }
            asked += 1;
            waiting.a_moment().await;
        }
        self.settled().await;
        self.primary_of(slot).await
    }

    // --- slots that move ---

    /// Moves a slot with all its keys, as operators do.
    pub async fn migrate(&self, slot: u16, to: usize) {
        self.open(slot, to).await.finish().await;
    }

    /// Opens a slot for moving, and moves nothing yet.
    pub async fn open(&self, slot: u16, to: usize) -> Migration<'_> {
        let from = self.primary_of(slot).await;
        assert_ne!(from, to, "the slot is there already");
        let migration = Migration { cluster: self, slot, from, to };
        migration.set_slot(to, &["IMPORTING", &self.ids[from]]).await;
        migration.set_slot(from, &["MIGRATING", &self.ids[to]]).await;
        migration
    }

    // --- how the cluster is ---

    /// Waits until all nodes that can be asked serve all slots, agree on whose they are, and follow their primaries.
    pub async fn settled(&self) {
        let waiting = Waiting::until("the cluster settles");
        while !self.is_settled().await {
            waiting.a_moment().await;
        }
    }

    async fn is_settled(&self) -> bool {
        let mut tables = Vec::new();
        for node in self.answering() {
            if !self.is_well(node).await {
                return false;
            }
            tables.push(Table::of(&self.nodes[node]).await);
        }
        let answering: Vec<_> = self.answering().into_iter().map(|node| &self.ids[node]).collect();
        let agree = tables.windows(2).all(|pair| pair[0].ownership() == pair[1].ownership());
        agree && tables.iter().all(|table| table.is_complete(&self.ids, &answering))
    }

    async fn is_well(&self, node: usize) -> bool {
        let info = self.nodes[node].text(&["CLUSTER", "INFO"]).await;
        let has = |line: &str| info.lines().any(|has| has == line);
        let replication = self.nodes[node].text(&["INFO", "replication"]).await;
        let is_primary = replication.lines().any(|line| line == "role:master");
        let follows = is_primary || replication.lines().any(|line| line == "master_link_status:up");
        has("cluster_state:ok") && has("cluster_slots_ok:16384") && follows
    }

    fn answering(&self) -> Vec<usize> {
        (0..self.nodes.len()).filter(|node| self.nodes[*node].answers()).collect()
    }

    /// What a node says of itself.
    async fn itself(&self, node: usize) -> Option<Member> {
        Table::of(&self.nodes[node]).await.0.remove(&self.ids[node])
    }

    async fn is_replaced(&self, slot: u16, lost: usize) -> bool {
        self.owner_of(slot).await.is_some_and(|owner| owner != lost)
    }

    /// Of several that say so the latest: the others have not yet heard of it.
    async fn owner_of(&self, slot: u16) -> Option<usize> {
        let mut owner = None;
        for node in self.answering() {
            if let Some(itself) = self.itself(node).await.filter(|itself| itself.owns(slot)) {
                owner = owner.max(Some((itself.epoch, node)));
            }
        }
        owner.map(|(_, node)| node)
    }

    // --- how it is made ---

    async fn form(&self, plan: &Plan) {
        for (at, node) in self.nodes.iter().enumerate() {
            // Different ones from the start: otherwise nodes settle that among themselves, later.
            node.order(&["CLUSTER", "SET-CONFIG-EPOCH", &(at + 1).to_string()]).await;
        }
        self.share_out(plan.primaries).await;
        self.introduce().await;
        for replica in 0..plan.replicas {
            let primary = &self.ids[replica % plan.primaries];
            self.nodes[plan.primaries + replica].order(&["CLUSTER", "REPLICATE", primary]).await;
        }
        self.settled().await;
    }

    async fn share_out(&self, primaries: usize) {
        let begin = |at: usize| usize::from(SLOTS) * at / primaries;
        for at in 0..primaries {
            let (first, last) = (begin(at).to_string(), (begin(at + 1) - 1).to_string());
            self.nodes[at].order(&["CLUSTER", "ADDSLOTSRANGE", &first, &last]).await;
        }
    }

    /// Everybody to everybody: gossip would do it too, and take its time.
    async fn introduce(&self) {
        for (at, one) in self.nodes.iter().enumerate() {
            for other in &self.nodes[at + 1..] {
                let (port, bus) = (other.address().port().to_string(), other.bus_port().to_string());
                one.order(&["CLUSTER", "MEET", "127.0.0.1", &port, &bus]).await;
            }
        }
        let waiting = Waiting::until("all nodes know one another");
        for node in &self.nodes {
            while !Table::of(node).await.knows(&self.ids) {
                waiting.a_moment().await;
            }
        }
    }
}

impl Plan {
    fn recipe(&self) -> Recipe {
        Recipe::with_user(Role::ClusterNode, self.password.clone(), self.options.clone())
    }
}

/// Where a command is to be run.
enum Place {
    Key(Vec<u8>),
    /// On every primary: the answers make one.
    Primaries,
    /// On every node, replicas too, as one of them may take over: the answers are alike.
    Everyone,
}

impl Place {
    fn of(arguments: &[impl AsRef<[u8]>]) -> Self {
        let word = |at: usize| arguments.get(at).map(|word| word.as_ref().to_vec()).unwrap_or_default();
        match String::from_utf8_lossy(&word(0)).to_uppercase().as_str() {
            "DBSIZE" | "KEYS" | "FLUSHALL" | "FLUSHDB" => Self::Primaries,
            "ACL" | "CLIENT" | "CONFIG" | "PING" | "SCRIPT" => Self::Everyone,
            "EVAL" | "EVALSHA" => Self::Key(word(3)),
            // They ask one process, or need the answers of several, and no test has needed that.
            unknown @ ("INFO" | "SCAN" | "RANDOMKEY" | "TIME") => panic!("{unknown} belongs nowhere"),
            _ => Self::Key(word(1)),
        }
    }
}

/// What several nodes answer, as one server would.
fn together(one: Reply, other: Reply) -> Reply {
    match (one, other) {
        (Reply::Int(one), Reply::Int(other)) => Reply::Int(one + other),
        (Reply::Array(one), Reply::Array(other)) => Reply::Array([one, other].concat()),
        (refusal @ Reply::Error(_), _) | (_, refusal) => refusal,
    }
}

/// A slot that is open: it belongs to `from`, which sends whoever asks for a key that it no longer has to `to`. Dropped,
/// it stays as it is.
pub struct Migration<'c> {
    cluster: &'c RedisCluster,
    pub slot: u16,
    pub from: usize,
    pub to: usize,
}

impl Migration<'_> {
    /// Moves some keys; how many there were to move.
    pub async fn move_keys(&self, at_most: usize) -> usize {
        let keys = self.keys_left(at_most).await;
        if !keys.is_empty() {
            let mut order = self.order_to_migrate();
            order.extend(keys.iter().cloned());
            // The answer is NOKEY when all have expired meanwhile.
            self.cluster.nodes[self.from].order(&order).await;
        }
        keys.len()
    }

    /// Names of keys that have not moved yet.
    pub async fn keys_left(&self, at_most: usize) -> Vec<Vec<u8>> {
        let (slot, at_most) = (self.slot.to_string(), at_most.to_string());
        let names = ["CLUSTER", "GETKEYSINSLOT", &slot, &at_most];
        let Reply::Array(names) = self.cluster.nodes[self.from].order(&names).await else {
            panic!("GETKEYSINSLOT answers with a list")
        };
        names
            .into_iter()
            .map(|name| if let Reply::Bulk(Some(name)) = name { name } else { panic!("a name") })
            .collect()
    }

    /// Moves what is left, and closes the slot in its new place.
    pub async fn finish(self) {
        while self.move_keys(100).await > 0 {}
        self.hand_over().await;
        self.cluster.settled().await;
    }

    /// Closes the slot where it was. What has moved is lost to everybody, as it would be to an operator.
    pub async fn abandon(self) {
        self.set_slot(self.from, &["STABLE"]).await;
        self.set_slot(self.to, &["STABLE"]).await;
    }

    /// The new owner first: should the others hear of it before, nobody would take the slot's keys.
    async fn hand_over(&self) {
        let others =
            self.cluster.primaries().await.into_iter().filter(|node| ![self.from, self.to].contains(node));
        for node in [self.to, self.from].into_iter().chain(others) {
            self.set_slot(node, &["NODE", &self.cluster.ids[self.to]]).await;
        }
    }

    async fn set_slot(&self, node: usize, state: &[&str]) {
        let slot = self.slot.to_string();
        self.cluster.nodes[node].order(&[&["CLUSTER", "SETSLOT", &slot], state].concat()).await;
    }

    /// All but the keys.
    fn order_to_migrate(&self) -> Vec<Vec<u8>> {
        let to = &self.cluster.nodes[self.to];
        let (port, password) = (to.address().port().to_string(), to.password());
        let mut order = vec!["MIGRATE", "127.0.0.1", &port, "", "0", "30000", "REPLACE"];
        order.extend(password.into_iter().flat_map(|password| ["AUTH", password]));
        order.push("KEYS");
        order.into_iter().map(|word| word.as_bytes().to_vec()).collect()
    }
}

/// What one node knows of all, by their ids.
struct Table(BTreeMap<String, Member>);

/// A line of CLUSTER NODES.
struct Member {
    flags: Vec<String>,
    primary: Option<String>,
    epoch: u64,
    slots: Vec<(u16, u16)>,
}

impl Table {
    /// Empty, if the node cannot be asked.
    async fn of(node: &RedisProcess) -> Self {
        let lines = node.text(&["CLUSTER", "NODES"]).await;
        Self(lines.lines().filter_map(Member::read).collect())
    }

    /// Whose the slots are, and who follows whom.
    fn ownership(&self) -> impl PartialEq {
        let of =
            |(id, member): (&String, &Member)| (id.clone(), member.primary.clone(), member.slots.clone());
        self.0.iter().map(of).collect::<Vec<_>>()
    }

    fn knows(&self, ids: &[String]) -> bool {
        self.0.len() == ids.len()
            && ids.iter().all(|id| self.0.get(id).is_some_and(|member| !member.is("handshake")))
    }

    /// Whether it knows all, and holds none of those `answering` for lost.
    fn is_complete(&self, ids: &[String], answering: &[&String]) -> bool {
        let is_lost = |member: &Member| member.is("fail") || member.is("fail?") || member.is("noaddr");
        self.knows(ids) && answering.iter().all(|id| self.0.get(*id).is_some_and(|member| !is_lost(member)))
    }
}

impl Member {
    /// Reads `id address flags primary pinged ponged epoch link slots…`; slots on the move are in brackets.
    fn read(line: &str) -> Option<(String, Self)> {
        let words: Vec<_> = line.split(' ').collect();
        let (id, flags, primary, epoch) = (words.first()?, words.get(2)?, words.get(3)?, words.get(6)?);
        let slots = words.iter().skip(8).filter(|word| !word.starts_with('['));
        let member = Self {
            flags: flags.split(',').map(str::to_owned).collect(),
            primary: (*primary != "-").then(|| (*primary).to_owned()),
            epoch: epoch.parse().ok()?,
            slots: slots.filter_map(|range| read_range(range)).collect(),
        };
        Some(((*id).to_owned(), member))
    }

    fn is(&self, flag: &str) -> bool {
        self.flags.iter().any(|has| has == flag)
    }

    fn owns(&self, slot: u16) -> bool {
        self.slots.iter().any(|(first, last)| (*first..=*last).contains(&slot))
    }
}

fn read_range(range: &str) -> Option<(u16, u16)> {
    let (first, last) = range.split_once('-').unwrap_or((range, range));
    Some((first.parse().ok()?, last.parse().ok()?))
}

/// Where a key lives: what stands in its first braces decides, or all of it where there is nothing in them.
pub fn slot_of(key: impl AsRef<[u8]>) -> u16 {
    let key = key.as_ref();
    let tag = key.iter().position(|byte| *byte == b'{').and_then(|open| {
        let inside = &key[open + 1..];
        inside.iter().position(|byte| *byte == b'}').map(|close| &inside[..close])
    });
    crc16(tag.filter(|tag| !tag.is_empty()).unwrap_or(key)) % SLOTS
}

/// CRC-16/XMODEM.
fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc: u16, byte| {
        (0..8).fold(crc ^ (u16::from(*byte) << 8), |crc, _| match crc & 0x8000 {
            0 => crc << 1,
            _ => (crc << 1) ^ 0x1021,
        })
    })
}
