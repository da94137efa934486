//! V3: several processes of the blog behind a load balancer, sharing one Redis.
//!
//! | part | is |
//! |---|---|
//! | [`mod@app`] | a process of the blog, this program run as `blog app`; it answers over HTTP on this machine |
//! | [`redis`] | the server they share: the one whose URL is given, or a private one |
//! | [`balancer`] | nginx or HAProxy in front of them, or the driver taking turns |
//! | [`door`] | an HTTP client of one address, whose connections are kept open |
//! | [`remote`] | the blog as the driver meets it, through one door or several |
//! | [`child`], [`mod@keep`] | how all of these processes end with the driver, however that ends |
//! | [`scratch`] | the folder that everything is written to, and that goes with the driver as well |
//!
//! A fleet of one without a Redis is V2 over HTTP: what V3 is compared with. On one machine V3 is the slower of the two: a
//! reader meets a copy in the memory of one process out of three, and a miss costs Redis its round trips before it costs
//! the database its queries. What it is for are more machines than one, and processes that come and go; what is shown
//! here is that its answers stay right meanwhile, and what it costs.
//!
//! When Redis dies, the blog goes on: each process with its memory, for as long as `local_ttl`, and the database. A
//! process that cannot drop a copy says so with its answer, and tries again; until it has, processes that do reach Redis
//! may serve that copy. This is within larder's word, and not counted as stale.

mod app;
mod args;
mod balancer;
mod child;
mod door;
mod keep;
mod path;
mod port;
mod redis;
mod remote;
mod scratch;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use larder::Redis;

pub(crate) use app::app;
pub(crate) use args::{AppArgs, BalancerChoice};
pub(crate) use keep::{KeepArgs, keep};
pub(crate) use redis::{RedisChoice, RedisServer, RedisUrl};
pub(crate) use scratch::Scratch;

use crate::blog::Blog;
use crate::cached::{LOCAL_TTL, Shelf};
use app::App;
use balancer::Balancer;
use door::Door;
use remote::Remote;

/// What a fleet is to be.
pub(crate) struct Plan<'a> {
    pub(crate) processes: usize,
    /// `None`: each process has its memory only.
    pub(crate) redis: Option<&'a RedisServer>,
    pub(crate) balancer: BalancerChoice,
    pub(crate) scratch: &'a Scratch,
}

/// Processes at work. Dropped, it ends them all.
pub(crate) struct Fleet {
    // In the order in which they are to end.
    balancer: Option<Balancer>,
    apps: Vec<App>,
    shelf: Option<Shelf>,
}

impl Fleet {
    pub(crate) async fn start(plan: &Plan<'_>, database: &Path) -> Result<Self> {
        let logs = plan.scratch.folder("logs")?;
        let shelf = plan.redis.map(shelf).transpose()?;
        let mut apps = Vec::new();
        // One after the other: the first adds the index to the database, the others find it.
        for number in 1..=plan.processes {
            let share = plan.redis.zip(shelf.as_ref());
            apps.push(App::start(number, database, share, &logs).await?);
        }
        let addresses: Vec<_> = apps.iter().map(App::address).collect();
        let balancer = Balancer::start(plan.balancer, &addresses, plan.scratch).await?;
        Ok(Self { balancer, apps, shelf })
    }

    /// All processes as one blog, as readers meet it.
    pub(crate) fn blog(&self) -> Arc<dyn Blog> {
        let every: Vec<_> = self.apps.iter().map(|app| Arc::new(Door::to(app.address()))).collect();
        match &self.balancer {
            Some(balancer) => Arc::new(Remote::new(vec![Arc::new(Door::to(balancer.address()))], every)),
            None => Arc::new(Remote::new(every.clone(), every)),
        }
    }

    /// Each process by itself.
    pub(crate) fn each(&self) -> Vec<Arc<dyn Blog>> {
        let alone = |app: &App| -> Arc<dyn Blog> {
            let door = Arc::new(Door::to(app.address()));
            Arc::new(Remote::new(vec![Arc::clone(&door)], vec![door]))
        };
        self.apps.iter().map(alone).collect()
    }

    /// How much later than one process another may show a comment.
    pub(crate) fn lag(&self) -> Duration {
        if self.shelf.is_some() { LOCAL_TTL } else { Duration::ZERO }
    }

    /// Why it cannot be what it was: a process that has ended by itself.
    pub(crate) fn trouble(&mut self) -> Option<anyhow::Error> {
        self.apps.iter_mut().find_map(App::trouble)
    }

    /// Ends all processes in good order, so that the database file can be replaced.
    pub(crate) async fn close(mut self) -> Result<()> {
        drop(self.balancer.take());
        for app in self.apps.drain(..) {
            app.close().await?;
        }
        if let Some(shelf) = &self.shelf
            && shelf.clear().await.is_err()
        {
            // Redis may well have gone: that is one of the things V3 is to live with.
            eprintln!(
                "the copies in Redis could not be removed; what is there lasts for an hour at the most"
            );
        }
        Ok(())
    }
}

/// A place on the server that nobody else uses.
fn shelf(server: &RedisServer) -> Result<Shelf> {
    let redis = Redis::new(server.url())?;
    Ok(Shelf { redis, namespace: format!("larder-blog-{:016x}", fastrand::u64(..)) })
}
