//! What happens to the network, to the server and to the processes meanwhile.

use std::collections::BTreeMap;
use std::time::Duration;

use fastrand::Rng;
use tokio::time::{Instant, sleep};

use crate::child::now;
use crate::job::{BOUND, Process};
use crate::support::proxy::Proxy;
use crate::support::redis_cluster::{RedisCluster, TakeOver};
use crate::support::redis_server::RedisServer;

/// With the same number the troubles are the same, in the same order.
pub(crate) const SEED: &str = "LARDER_TEST_SEED";
/// The longest that anything is under way on a slow line.
const SLOWEST: Duration = Duration::from_secs(2);

pub(crate) enum Place<'a> {
    Server { server: &'a RedisServer, proxies: &'a [Proxy] },
    Cluster(&'a RedisCluster),
}

/// In which a flush that comes before the subscription leaves a hole.
pub(crate) const SLOW_RECONNECT: &str = "listeners cut on slow lines";

const ON_A_SERVER: [&str; 12] = [
    "cut",
    "half open",
    "replies lost",
    "requests lost",
    "slow",
    SLOW_RECONNECT,
    "clients killed",
    "output buffer full",
    "process stopped",
    "server restarted",
    "message lost",
    "nothing",
];
const ON_A_CLUSTER: [&str; 5] =
    ["agreed take-over", "primary killed", "clients killed", "process stopped", "nothing"];

/// What there was of them.
#[derive(Default)]
pub(crate) struct Troubles {
    pub(crate) seed: u64,
    pub(crate) times: BTreeMap<&'static str, u64>,
    /// Each of them with its time.
    pub(crate) history: Vec<String>,
    /// When primaries were killed whose replicas may not have heard everything.
    pub(crate) losses: Vec<u64>,
}

/// One trouble after the other until the time is over and the processes have read enough, `favourite` before each of them.
pub(crate) async fn troubles(
    processes: &[Process],
    place: &Place<'_>,
    duration: Duration,
    favourite: Option<&'static str>,
    have_read_enough: impl AsyncFn() -> bool,
) -> Troubles {
    let seed = std::env::var(SEED).map_or_else(|_| fastrand::u64(..), |seed| seed.parse().expect("a number"));
    println!("{SEED}={seed}");
    let (mut dice, end) = (Rng::with_seed(seed), Instant::now() + duration);
    let mut all = Troubles { seed, ..Troubles::default() };
    sleep(Duration::from_secs(2)).await; // until all have begun
    let names: &[&str] = match place {
        Place::Server { .. } => &ON_A_SERVER,
        Place::Cluster(_) => &ON_A_CLUSTER,
    };
    let mut order: Vec<&'static str> = Vec::new();
    while Instant::now() < end || !have_read_enough().await {
        // All of them in a random order, and again.
        if order.is_empty() {
            order = names.to_vec();
            dice.shuffle(&mut order);
            order = order.into_iter().flat_map(|trouble| [Some(trouble), favourite]).flatten().collect();
        }
        let trouble = order.pop().expect("some are left");
        *all.times.entry(trouble).or_default() += 1;
        let begin = now();
        match place {
            Place::Server { server, proxies } => {
                on_a_server(trouble, server, proxies, processes, &mut dice).await;
            }
            Place::Cluster(cluster) => {
                all.losses.extend(on_a_cluster(trouble, cluster, processes, &mut dice).await);
            }
        }
        all.history.push(format!("{trouble} from {begin} to {}", now()));
        sleep(BOUND.mul_f64(dice.f64())).await;
    }
    all
}

/// A while, sometimes shorter than the bound, sometimes longer.
async fn a_while(dice: &mut Rng) {
    sleep(BOUND.mul_f64(0.2 + 2.5 * dice.f64())).await;
}

async fn on_a_server(
    trouble: &str,
    server: &RedisServer,
    proxies: &[Proxy],
    processes: &[Process],
    dice: &mut Rng,
) {
    let whose = dice.usize(0..proxies.len());
    let proxy = &proxies[whose];
    match trouble {
        "cut" => proxy.cut(),
        "half open" => {
            proxy.half_open(true);
            a_while(dice).await;
            proxy.heal();
        }
        "replies lost" => {
            proxy.drop_replies(true);
            a_while(dice).await;
            proxy.heal();
        }
        "requests lost" => {
            proxy.drop_requests(true);
            a_while(dice).await;
            proxy.heal();
        }
        "slow" => {
            let delay = SLOWEST.mul_f64(dice.f64());
            proxy.delay(delay);
            a_while(dice).await;
            sleep(delay).await; // what is under way comes, as late as that
            proxy.heal();
        }
        // Those who listen are cut off, and it takes them a while, in which much is dropped, to listen again.
        SLOW_RECONNECT => {
            let delay = Duration::from_millis(dice.u64(8..16));
            proxies.iter().for_each(|proxy| proxy.delay(delay));
            for kind in ["pubsub", "pubsub", "normal"] {
                server.command(&["CLIENT", "KILL", "TYPE", kind]).await;
                sleep(3 * BOUND).await; // a copy that is wrong has to be read late enough
            }
            proxies.iter().for_each(Proxy::heal);
        }
        "clients killed" => {
            let kind = if dice.bool() { "pubsub" } else { "normal" };
            server.command(&["CLIENT", "KILL", "TYPE", kind]).await;
        }
        "output buffer full" => {
            let limit = async |limits: &str| {
                server.command(&["CONFIG", "SET", "client-output-buffer-limit", limits]).await;
            };
            limit("pubsub 16 0 0 normal 16 0 0").await;
            sleep(Duration::from_millis(50)).await;
            // The connection that asks is cut as well, as it gets an answer.
            limit("pubsub 33554432 8388608 60 normal 0 0 0").await;
        }
        "process stopped" => stop(&processes[whose], dice).await,
        "server restarted" => server.restart().await,
        "message lost" => {
            for bucket in 0..64 {
                server.command(&["INCR", &format!("n:{{b{bucket:03}}}:%number")]).await;
            }
        }
        _ => a_while(dice).await,
    }
}

/// When a primary was killed, if one was.
async fn on_a_cluster(
    trouble: &str,
    cluster: &RedisCluster,
    processes: &[Process],
    dice: &mut Rng,
) -> Option<u64> {
    let slot = dice.u16(0..16_384);
    match trouble {
        "agreed take-over" => _ = cluster.fail_over(slot, TakeOver::Agreed).await,
        "primary killed" => {
            let lost = cluster.kill_primary_of(slot).await;
            let killed = now();
            cluster.replaced(slot, lost).await;
            cluster.restart(lost).await;
            return Some(killed);
        }
        "clients killed" => {
            for node in cluster.primaries().await {
                let kind = if dice.bool() { "pubsub" } else { "normal" };
                cluster.command(node, &["CLIENT", "KILL", "TYPE", kind]).await;
            }
        }
        "process stopped" => stop(&processes[dice.usize(0..processes.len())], dice).await,
        _ => a_while(dice).await,
    }
    None
}

async fn stop(process: &Process, dice: &mut Rng) {
    process.freeze();
    a_while(dice).await;
    process.thaw();
}
