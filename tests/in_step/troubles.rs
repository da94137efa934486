//! What happens to the network, to the server and to the processes meanwhile.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::child::now;
use crate::job::{BOUND, Process};
use crate::support::proxy::Proxy;
use crate::support::redis_cluster::{RedisCluster, TakeOver};
use crate::support::redis_server::RedisServer;

pub(crate) enum Place<'a> {
    Server { server: &'a RedisServer, proxies: &'a [Proxy] },
    Cluster(&'a RedisCluster),
}

/// In which a flush that comes before the subscription leaves a hole.
pub(crate) const SLOW_RECONNECT: &str = "listeners cut on slow lines";

const ON_A_SERVER: [&str; 11] = [
    "cut",
    "half open",
    "replies lost",
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

/// One trouble after the other until the time is over, `favourite` before each of them. How often each came, and when.
pub(crate) async fn troubles(
    processes: &[Process],
    place: &Place<'_>,
    duration: Duration,
    favourite: Option<&'static str>,
) -> (BTreeMap<&'static str, u64>, Vec<String>) {
    let end = Instant::now() + duration;
    let (mut times, mut history) = (BTreeMap::new(), Vec::new());
    sleep(Duration::from_secs(2)).await; // until all have begun
    let names: &[&str] = match place {
        Place::Server { .. } => &ON_A_SERVER,
        Place::Cluster(_) => &ON_A_CLUSTER,
    };
    let mut order: Vec<&'static str> = Vec::new();
    while Instant::now() < end {
        // All of them in a random order, and again.
        if order.is_empty() {
            order = names.to_vec();
            fastrand::shuffle(&mut order);
            order = order.into_iter().flat_map(|trouble| [Some(trouble), favourite]).flatten().collect();
        }
        let trouble = order.pop().expect("some are left");
        *times.entry(trouble).or_default() += 1;
        let begin = now();
        match place {
            Place::Server { server, proxies } => on_a_server(trouble, server, proxies, processes).await,
            Place::Cluster(cluster) => on_a_cluster(trouble, cluster, processes).await,
        }
        history.push(format!("{trouble} from {begin} to {}", now()));
        sleep(BOUND.mul_f64(fastrand::f64())).await;
    }
    (times, history)
}

/// A while, sometimes shorter than the bound, sometimes longer.
async fn a_while() {
    sleep(BOUND.mul_f64(0.2 + 2.5 * fastrand::f64())).await;
}

async fn on_a_server(trouble: &str, server: &RedisServer, proxies: &[Proxy], processes: &[Process]) {
    let whose = fastrand::usize(0..proxies.len());
    let proxy = &proxies[whose];
    match trouble {
        "cut" => proxy.cut(),
        "half open" => {
            proxy.half_open(true);
            a_while().await;
            proxy.heal();
        }
        "replies lost" => {
            proxy.drop_replies(true);
            a_while().await;
            proxy.heal();
        }
        "slow" => {
            proxy.delay(Duration::from_millis(fastrand::u64(0..2_000)));
            a_while().await;
            proxy.heal();
        }
        // Those who listen are cut off, and it takes them a while, in which much is dropped, to listen again.
        SLOW_RECONNECT => {
            let delay = Duration::from_millis(fastrand::u64(8..16));
            proxies.iter().for_each(|proxy| proxy.delay(delay));
            for kind in ["pubsub", "pubsub", "normal"] {
                server.command(&["CLIENT", "KILL", "TYPE", kind]).await;
                sleep(3 * BOUND).await; // a copy that is wrong has to be read late enough
            }
            proxies.iter().for_each(Proxy::heal);
        }
        "clients killed" => {
            let kind = if fastrand::bool() { "pubsub" } else { "normal" };
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
        "process stopped" => stop(&processes[whose]).await,
        "server restarted" => server.restart().await,
        "message lost" => {
            for bucket in 0..64 {
                server.command(&["INCR", &format!("n:{{b{bucket:03}}}:%number")]).await;
            }
        }
        _ => a_while().await,
    }
}

async fn on_a_cluster(trouble: &str, cluster: &RedisCluster, processes: &[Process]) {
    let slot = fastrand::u16(0..16_384);
    match trouble {
        "agreed take-over" => _ = cluster.fail_over(slot, TakeOver::Agreed).await,
        "primary killed" => {
            let lost = cluster.kill_primary_of(slot).await;
            cluster.replaced(slot, lost).await;
            cluster.restart(lost).await;
        }
        "clients killed" => {
            for node in cluster.primaries().await {
                let kind = if fastrand::bool() { "pubsub" } else { "normal" };
                cluster.command(node, &["CLIENT", "KILL", "TYPE", kind]).await;
            }
        }
        "process stopped" => stop(&processes[fastrand::usize(0..processes.len())]).await,
        _ => a_while().await,
    }
}

async fn stop(process: &Process) {
    process.freeze();
    a_while().await;
    process.thaw();
}
