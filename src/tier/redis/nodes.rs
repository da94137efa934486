//! Which server has which key: the only one there is, or a node of a cluster.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared, ready};
use redis::{Cmd, ConnectionInfo, FromRedisValue};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::Instant;

use super::audience::Audience;
use super::bus::{Bus, Word};
use super::cluster::Cluster;
use super::config::Settings;
use super::fault::Fault;
use super::keys::Bucket;
use super::lanes::{A_CLUSTER, Lanes, Link, Server};
use super::route::Route;
use super::scripts::Name as Script;
use super::slots::Elsewhere;
use crate::tier::Host;
use crate::time;

/// How many batches are being sent at the same time.
const TURNS: usize = 4;
/// How often a call follows word that its key is elsewhere.
const HOPS: u8 = 5;

/// All servers behind one [`Redis`](super::Redis).
pub(super) struct Nodes {
    settings: Settings,
    kind: Kind,
    turns: Semaphore,
    audience: Arc<Audience>,
    bus: Arc<Bus>,
}

enum Kind {
    One(Arc<Lanes>),
    Many(Arc<Cluster>),
}

/// A conversation with the server that has some keys: one link, one deadline.
#[derive(Clone)]
pub(super) struct Call {
    lanes: Arc<Lanes>,
    link: Link,
    until: Instant,
    hops: u8,
}

/// A call that is being made, for everybody who has a key on its server.
pub(super) type Calling<'a> = Shared<BoxFuture<'a, Result<Call, Fault>>>;

impl Nodes {
    /// The only server.
    pub(super) fn one(route: Route, settings: Settings) -> Self {
        let audience = Arc::<Audience>::default();
        let lanes = Lanes::new(route, settings.clone(), Arc::clone(&audience));
        Self { settings, kind: Kind::One(lanes), turns: Semaphore::new(TURNS), audience, bus: Arc::default() }
    }

    /// A cluster, of which some nodes are known.
    pub(super) fn cluster(seeds: Vec<ConnectionInfo>, settings: Settings) -> Self {
        let audience = Arc::<Audience>::default();
        let cluster = Cluster::new(seeds, settings.clone(), Arc::clone(&audience));
        Self {
            settings,
            kind: Kind::Many(cluster),
            turns: Semaphore::new(TURNS),
            audience,
            bus: Arc::default(),
        }
    }

    /// The same servers over one more connection each, which nobody else uses or hears of, and on which a sign of life may take
    /// longer by `patience`.
    pub(super) fn beside(&self, patience: Duration) -> Self {
        let deadline = self.settings.deadline.saturating_add(patience);
        let settings = Settings { lanes: 1, deadline, ..self.settings.clone() };
        match &self.kind {
            Kind::One(lanes) => Self::one(lanes.route().clone(), settings),
            Kind::Many(cluster) => Self::cluster(cluster.seeds().to_vec(), settings),
        }
    }

    /// Who wants to hear when a server goes away and comes back.
    pub(super) fn tell(&self, host: &Host) {
        self.audience.join(host);
    }

    /// How often a command can be asked again because its connection broke: once for each that there is.
    pub(super) fn patience(&self) -> usize {
        self.settings.lanes
    }

    /// Whether keys of different buckets cannot be asked for in one command.
    pub(super) fn are_many(&self) -> bool {
        matches!(self.kind, Kind::Many(_))
    }

    /// A turn to send `scripts` of a batch. Thousands at once would wait for each other longer than the deadline of each,
    /// and a server that does its best would count as away. A single one does not queue behind them.
    pub(super) async fn turn(&self, scripts: usize) -> Option<SemaphorePermit<'_>> {
        if scripts > 1 { self.turns.acquire().await.ok() } else { None }
    }

    /// The server that has the keys of `bucket`, if it was met before.
    pub(super) fn met(&self, bucket: Bucket) -> Option<Arc<Server>> {
        match &self.kind {
            Kind::One(lanes) => lanes.met(),
            Kind::Many(cluster) => cluster.known_owner(bucket)?.met(),
        }
    }

    /// A call to the server that has the keys of `bucket`.
    pub(super) async fn call(&self, bucket: Bucket) -> Result<Call, Fault> {
        self.call_within(bucket, self.settings.deadline).await
    }

    /// The same, with a deadline of its own.
    pub(super) async fn call_within(&self, bucket: Bucket, deadline: Duration) -> Result<Call, Fault> {
        let until = time::from_now(deadline);
        let lanes = match &self.kind {
            Kind::One(lanes) => Arc::clone(lanes),
            Kind::Many(cluster) => cluster.owner(bucket, until).await?,
        };
        self.call_until(lanes, until).await
    }

    /// A call to each server that has some of these buckets, in their order: one link for all that one server has.
    /// None waits for another: a server that takes all the time there is leaves that of the others to them.
    pub(super) async fn calls(&self, buckets: impl Iterator<Item = Bucket>) -> Vec<Calling<'_>> {
        let Kind::Many(cluster) = &self.kind else {
            let call = self.call(0).boxed().shared();
            return buckets.map(|_| call.clone()).collect();
        };
        let until = self.until();
        let mut made: Vec<(Arc<Lanes>, Calling<'_>)> = Vec::new();
        let mut calls = Vec::new();
        for bucket in buckets {
            let lanes = match cluster.owner(bucket, until).await {
                Ok(lanes) => lanes,
                Err(fault) => {
                    calls.push(ready(Err(fault)).boxed().shared());
                    continue;
                }
            };
            let known = made.iter().find(|(theirs, _)| Arc::ptr_eq(theirs, &lanes));
            let call = known.map(|(_, call)| call.clone()).unwrap_or_else(|| {
                let call = self.call_until(Arc::clone(&lanes), until).boxed().shared();
                made.push((lanes, call.clone()));
                call
            });
            calls.push(call);
        }
        calls
    }

    /// A call to one server, whatever it has.
    pub(super) async fn call_to(&self, lanes: Arc<Lanes>) -> Result<Call, Fault> {
        self.call_until(lanes, self.until()).await
    }

    async fn call_until(&self, lanes: Arc<Lanes>, until: Instant) -> Result<Call, Fault> {
        match lanes.link(until).await {
            Ok(link) => Ok(Call { lanes, link, until, hops: HOPS }),
            Err(fault) => {
                // Somebody else may have its keys by now.
                if let Kind::Many(cluster) = &self.kind {
                    cluster.watch();
                }
                Err(fault)
            }
        }
    }

    /// Goes on where `call` was told that the key is.
    pub(super) async fn follow(
        &self,
        call: &Call,
        bucket: Option<Bucket>,
        to: &Elsewhere,
    ) -> Result<Call, Fault> {
        let Kind::Many(cluster) = &self.kind else { return Err(Fault::Unfit(A_CLUSTER)) };
        let Some(hops) = call.hops.checked_sub(1) else { return Err(Fault::Elsewhere(to.clone())) };
        let lanes = cluster.learn(call.lanes.host(), bucket, to).ok_or(Fault::Odd)?;
        let link = lanes.link(call.until).await?;
        let link = if to.once { link.asking() } else { link };
        Ok(Call { lanes, link, until: call.until, hops })
    }

    /// Every server that has keys.
    pub(super) async fn all(&self) -> Result<Vec<Arc<Lanes>>, Fault> {
        match &self.kind {
            Kind::One(lanes) => Ok(vec![Arc::clone(lanes)]),
            Kind::Many(cluster) => cluster.owners(self.until()).await,
        }
    }

    /// Where processes tell one another what to drop.
    pub(super) fn bus(&self) -> &Arc<Bus> {
        &self.bus
    }

    /// What a node has, as far as it is known; the only server has everything.
    pub(super) fn has(&self, lanes: &Arc<Lanes>, bucket: Bucket) -> bool {
        match &self.kind {
            Kind::One(_) => true,
            Kind::Many(cluster) => {
                cluster.known_owner(bucket).is_some_and(|owner| Arc::ptr_eq(&owner, lanes))
            }
        }
    }

    /// A node has said that it has a bucket no more.
    pub(super) fn learn(&self, lanes: &Arc<Lanes>, bucket: Bucket, to: &Elsewhere) {
        if let Kind::Many(cluster) = &self.kind {
            cluster.learn(lanes.host(), Some(bucket), to);
        }
    }

    fn until(&self) -> Instant {
        time::from_now(self.settings.deadline)
    }
}

impl Call {
    /// All connections to the server that is spoken to.
    pub(super) fn lanes(&self) -> &Arc<Lanes> {
        &self.lanes
    }

    /// The server that is spoken to.
    pub(super) fn server(&self) -> &Server {
        self.link.server()
    }

    /// Whether it is heard what is dropped by the server that is spoken to, if anybody listens.
    pub(super) fn is_heard_of(&self) -> bool {
        self.lanes.hears_of(&self.link)
    }

    /// Goes on over the link on which the server tells what changes, if there is one. Whether there is.
    pub(super) fn track(&mut self) -> bool {
        let tracked = self.lanes.tracked();
        tracked.map(|link| self.link = link).is_some()
    }

    /// One command.
    pub(super) async fn ask<A: FromRedisValue>(&mut self, command: &Cmd) -> Result<A, Fault> {
        self.lanes.ask(&mut self.link, command, self.until).await
    }

    /// One script on one key.
    pub(super) async fn run<A: FromRedisValue>(
        &self,
        script: Script,
        key: &[u8],
        arguments: &[&[u8]],
    ) -> Result<A, Fault> {
        self.run_on(script, &[key], arguments).await
    }

    /// The same with the word that goes with it, if it is to be told.
    pub(super) async fn run_and_tell<A: FromRedisValue>(
        &self,
        script: Script,
        key: &[u8],
        arguments: &[&[u8]],
        word: Option<&Word>,
    ) -> Result<A, Fault> {
        let Some(word) = word else { return self.run(script, key, arguments).await };
        let arguments: Vec<&[u8]> = arguments.iter().copied().chain(word.arguments()).collect();
        self.run_on(script, &[key, word.key.as_bytes()], &arguments).await
    }

    /// One script on several keys, which are in one slot.
    pub(super) async fn run_on<A: FromRedisValue>(
        &self,
        script: Script,
        keys: &[&[u8]],
        arguments: &[&[u8]],
    ) -> Result<A, Fault> {
        self.lanes.run(&self.link, script, keys, arguments, self.until).await
    }

    /// Whether it goes over the same link as another.
    pub(super) fn is_on_the_link_of(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.lanes, &other.lanes) && self.link.number() == other.link.number()
    }

    /// Its deadline.
    pub(super) fn until(&self) -> Instant {
        self.until
    }

    /// How much time is left.
    pub(super) fn left(&self) -> Duration {
        self.until.saturating_duration_since(Instant::now())
    }
}
