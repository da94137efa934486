//! A cluster that changes while the fleet runs on it: slots move from node to node, and replicas take over by command.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use crate::support::redis_cluster::{RedisCluster, TakeOver, slot_of};

/// Nodes of a busy machine that are late are not taken over from: what happens to the cluster is told it. Nor are they
/// given much longer, as nobody votes on the same primary twice in twice that time.
pub(crate) const PATIENT_NODES: [&str; 2] = ["--cluster-node-timeout", "2000"];
/// A slot of each primary that stays where it is: no key is there.
const PLACES: [u16; 3] = [0, 5_461, 10_923];
/// How many slots move before a replica takes over.
const MOVES: u64 = 4;
/// How long a move takes its time, and how long the fleet goes on as it is until the next one, at the most.
const AT_LEISURE: Duration = Duration::from_millis(30);
const PEACE: Duration = Duration::from_millis(400);
/// How often a replica takes over before the fleet may stop, and after how often it stops anyway.
const TAKE_OVERS: std::ops::Range<u64> = 4..16;
/// How many copies that another node has written must have been met.
const OUTLIVED: u64 = 5;

/// What has been done to a cluster.
#[derive(Default)]
pub(crate) struct Upheaval {
    moved: AtomicU64,
    took_over: AtomicU64,
    is_enough: AtomicBool,
}

impl Upheaval {
    /// One change after the other, until all is over. Without a cluster there is nothing to do. `outlived` copies are
    /// what the fleet has met of it so far.
    pub(crate) async fn go_on(
        &self,
        cluster: Option<&RedisCluster>,
        outlived: impl Fn() -> u64,
        over: &AtomicBool,
    ) {
        let Some(cluster) = cluster else { return self.is_enough.store(true, Ordering::Relaxed) };
        for place in PLACES.into_iter().cycle() {
            for _ in 0..MOVES {
                if over.load(Ordering::Relaxed) {
                    return;
                }
                self.move_some_slot(cluster).await;
                a_while(PEACE).await;
            }
            cluster.fail_over(place, TakeOver::Agreed).await;
            let took_over = self.took_over.fetch_add(1, Ordering::Relaxed) + 1;
            let is_enough = took_over >= TAKE_OVERS.start && outlived() >= OUTLIVED;
            self.is_enough.store(is_enough || took_over >= TAKE_OVERS.end, Ordering::Relaxed);
        }
    }

    /// Whether so much has happened that the fleet may stop.
    pub(crate) fn is_enough(&self) -> bool {
        self.is_enough.load(Ordering::Relaxed)
    }

    /// Says what has been done, and fails if that was hardly anything.
    pub(crate) fn judge(&self, name: &str, outlived: u64) {
        let (moved, took_over) = (self.moved.load(Ordering::Relaxed), self.took_over.load(Ordering::Relaxed));
        println!("{name}: {moved} slots moved, {took_over} replicas took over");
        assert!(took_over >= TAKE_OVERS.start && moved >= MOVES * 2, "{name}: hardly anything changed");
        assert!(outlived >= OUTLIVED, "{name}: hardly ever was a copy another node's: {outlived}");
    }

    /// In between, readers and writers meet the slot half open: before its keys have gone, and after.
    async fn move_some_slot(&self, cluster: &RedisCluster) {
        let names = cluster.keys("race:*").await;
        // Everything may just have been removed.
        let Some(slot) = names.get(fastrand::usize(..names.len().max(1))).map(slot_of) else { return };
        let from = cluster.primary_of(slot).await;
        let others: Vec<usize> = cluster.primaries().await.into_iter().filter(|node| *node != from).collect();
        let moving = cluster.open(slot, others[fastrand::usize(..others.len())]).await;
        a_while(AT_LEISURE).await;
        moving.move_keys(100).await;
        a_while(AT_LEISURE).await;
        moving.finish().await;
        self.moved.fetch_add(1, Ordering::Relaxed);
    }
}

async fn a_while(at_most: Duration) {
    tokio::time::sleep(at_most.mul_f64(fastrand::f64())).await;
}
