//! The nodes of a cluster: who has which bucket, learnt from the nodes themselves, and learnt anew when one of them says
//! that it has a key no more, or says nothing any more.

use std::collections::{HashMap, HashSet};
use std::mem;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use futures_util::future::select_ok;
use parking_lot::{Mutex, RwLock};
use redis::{ConnectionInfo, Value as Answer};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::time::Instant;

use super::audience::Audience;
use super::config::Settings;
use super::fault::Fault;
use super::keys::Bucket;
use super::lanes::Lanes;
use super::route::{self, Route};
use super::slots::{self, Address, Elsewhere, Topology};
use crate::time;

/// The shortest time between two looks at who has what.
const RESPITE: Duration = Duration::from_millis(100);
/// The pauses between looks while a node is away: the first, and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(1));

/// A cluster as far as it is known.
pub(super) struct Cluster {
    seeds: Vec<ConnectionInfo>,
    settings: Settings,
    audience: Arc<Audience>,
    known: RwLock<Known>,
    look: Mutex<Look>,
    watching: AtomicBool,
    /// Nobody could say who has what, and nobody waits for it any more.
    lost: AtomicBool,
}

#[derive(Default)]
struct Known {
    /// The node of each bucket.
    owners: Vec<Option<Arc<Lanes>>>,
    /// All nodes that were named as somebody's owner.
    nodes: HashMap<Address, Arc<Lanes>>,
    /// All nodes that the cluster named last, replicas too.
    addresses: Vec<Address>,
}

/// Looks at who has what.
#[derive(Default)]
struct Look {
    /// Word of the one that is under way.
    coming: Option<Coming>,
    /// When the last one ended, and how.
    last: Option<(Instant, Result<(), Fault>)>,
}

type Coming = watch::Receiver<Option<Result<(), Fault>>>;

/// What a call has to go by.
enum Word {
    /// A look is under way: its end will tell.
    Coming(Coming),
    /// One has just ended, and so it did.
    JustNow(Result<(), Fault>),
}

impl Cluster {
    pub(super) fn new(seeds: Vec<ConnectionInfo>, settings: Settings, audience: Arc<Audience>) -> Arc<Self> {
        Arc::new(Self {
            seeds,
            settings,
            audience,
            known: RwLock::default(),
            look: Mutex::default(),
            watching: AtomicBool::new(false),
            lost: AtomicBool::new(false),
        })
    }

    /// The nodes that were named at first.
    pub(super) fn seeds(&self) -> &[ConnectionInfo] {
        &self.seeds
    }

    /// The node that has the keys of `bucket`.
    pub(super) async fn owner(self: &Arc<Self>, bucket: Bucket, until: Instant) -> Result<Arc<Lanes>, Fault> {
        if let Some(owner) = self.known_owner(bucket) {
            return Ok(owner);
        }
        if self.lost.load(Ordering::Acquire) {
            self.watch();
            return Err(Fault::Away);
        }
        if let Err(fault) = self.look_until(until).await {
            self.lose();
            return Err(fault);
        }
        self.known_owner(bucket).ok_or_else(nobodys)
    }

    /// The nodes that have any.
    pub(super) async fn owners(self: &Arc<Self>, until: Instant) -> Result<Vec<Arc<Lanes>>, Fault> {
        self.look_until(until).await?;
        let known = self.known.read();
        if known.owners.iter().any(Option::is_none) {
            return Err(nobodys());
        }
        Ok(known.nodes.values().cloned().collect())
    }

    /// Takes word of a node at `host` that a key is elsewhere: where that is.
    pub(super) fn learn(
        self: &Arc<Self>,
        host: &str,
        bucket: Option<Bucket>,
        to: &Elsewhere,
    ) -> Option<Arc<Lanes>> {
        let address = Address::parse(&to.to, host)?;
        let mut known = self.known.write();
        let lanes = self.node(&mut known, &address);
        if !to.once {
            if let Some(place) = bucket.and_then(|bucket| known.owners.get_mut(usize::from(bucket))) {
                *place = Some(Arc::clone(&lanes));
            }
            drop(known);
            // A node that lost one slot has often lost others.
            _ = self.begin_look();
        }
        Some(lanes)
    }

    /// Looks again and again who has what, until nobody that has anything is away: others take over from a node that
    /// died, and nobody says so.
    pub(super) fn watch(self: &Arc<Self>) {
        let Ok(runtime) = Handle::try_current() else { return };
        if self.watching.swap(true, Ordering::AcqRel) {
            return;
        }
        let watch = Watch(Arc::downgrade(self));
        runtime.spawn(async move {
            let mut pause = PAUSES.0;
            loop {
                let Ok(timer) = time::timer(time::from_now(pause)) else { return };
                timer.await;
                let Some(cluster) = watch.0.upgrade() else { return };
                _ = cluster.look_until(time::from_now(cluster.settings.connect_deadline)).await;
                if cluster.is_well() {
                    return;
                }
                pause = (pause * 2).min(PAUSES.1);
            }
        });
    }

    fn is_well(&self) -> bool {
        !self.lost.load(Ordering::Acquire)
            && !self.known.read().owners.iter().flatten().any(|owner| owner.is_away())
    }

    fn lose(self: &Arc<Self>) {
        self.audience.one_left(|| !self.lost.swap(true, Ordering::AcqRel));
        self.watch();
    }

    pub(super) fn known_owner(&self, bucket: Bucket) -> Option<Arc<Lanes>> {
        self.known.read().owners.get(usize::from(bucket)).cloned().flatten()
    }

    fn node(&self, known: &mut Known, address: &Address) -> Arc<Lanes> {
        let new = || {
            let route = Route::Straight(route::at(&self.seeds[0], address));
            Lanes::new(route, self.settings.clone(), Arc::clone(&self.audience))
        };
        Arc::clone(known.nodes.entry(address.clone()).or_insert_with(new))
    }

    async fn look_until(self: &Arc<Self>, until: Instant) -> Result<(), Fault> {
        let mut coming = match self.begin_look()? {
            Word::Coming(coming) => coming,
            Word::JustNow(result) => return result,
        };
        match time::within(until, coming.wait_for(Option::is_some)).await {
            Ok(Ok(answer)) => answer.clone().unwrap_or(Err(Fault::Lost)),
            Ok(Err(_runtime_gone)) => {
                self.look.lock().coming = None;
                Err(Fault::Lost)
            }
            Err(_unanswered) => Err(Fault::Late),
        }
    }

    /// Begins a look, unless one is under way or has just ended.
    fn begin_look(self: &Arc<Self>) -> Result<Word, Fault> {
        let mut look = self.look.lock();
        if let Some(coming) = &look.coming
            && coming.has_changed().is_ok()
        {
            return Ok(Word::Coming(coming.clone()));
        }
        if let Some((at, result)) = &look.last
            && at.elapsed() < RESPITE
        {
            return Ok(Word::JustNow(result.clone()));
        }
        let runtime = Handle::try_current().map_err(|_| Fault::NoRuntime)?;
        let (word, coming) = watch::channel(None);
        look.coming = Some(coming.clone());
        let cluster = Arc::clone(self);
        runtime.spawn(async move {
            let result = cluster.look_now().await;
            *cluster.look.lock() = Look { coming: None, last: Some((Instant::now(), result.clone())) };
            word.send_replace(Some(result));
        });
        Ok(Word::Coming(coming))
    }

    /// Asks the nodes that answer, or else all that were ever heard of.
    async fn look_now(&self) -> Result<(), Fault> {
        let (nodes, addresses) = {
            let known = self.known.read();
            let awake = known.nodes.values().filter(|lanes| !lanes.is_away());
            (awake.cloned().collect::<Vec<_>>(), known.addresses.clone())
        };
        if let Ok(topology) = first_answer(nodes).await {
            self.install(topology);
            return Ok(());
        }
        let told = addresses.iter().map(|address| route::at(&self.seeds[0], address));
        let scouts = told.chain(self.seeds.iter().cloned()).map(|info| {
            // Nobody needs to hear that one of them is away.
            Lanes::new(Route::Straight(info), Settings { lanes: 1, ..self.settings.clone() }, Arc::default())
        });
        self.install(first_answer(scouts.collect()).await?);
        Ok(())
    }

    /// From now on that is who has what; nodes that have nothing are forgotten.
    fn install(&self, Topology { primaries, nodes }: Topology) {
        let mut known = self.known.write();
        let owners = primaries.iter().map(|primary| Some(self.node(&mut known, primary.as_ref()?))).collect();
        let still: HashSet<&Address> = primaries.iter().flatten().collect();
        let (nodes_now, gone) =
            mem::take(&mut known.nodes).into_iter().partition(|(at, _)| still.contains(at));
        known.nodes = nodes_now;
        let gone: (HashMap<_, _>, Vec<_>) = (gone, mem::replace(&mut known.owners, owners));
        known.addresses = nodes;
        drop(known);
        // Who goes with them may be away, and its end is told: not while everybody waits for the lock.
        drop(gone);
        self.audience.one_came_back(|| self.lost.swap(false, Ordering::AcqRel));
    }
}

/// What the first of some nodes says that answers.
async fn first_answer(nodes: Vec<Arc<Lanes>>) -> Result<Topology, Fault> {
    let asked: Vec<_> = nodes.into_iter().map(|lanes| Box::pin(topology_of(lanes))).collect();
    if asked.is_empty() {
        return Err(Fault::Away);
    }
    Ok(select_ok(asked).await?.0)
}

async fn topology_of(lanes: Arc<Lanes>) -> Result<Topology, Fault> {
    // At leisure: whoever waits for the answer has a deadline of its own.
    let until = lanes.until_connected();
    let mut link = lanes.link(until).await?;
    let mut question = redis::cmd("CLUSTER");
    question.arg("SLOTS");
    let answer: Answer = lanes.ask(&mut link, &question, until).await?;
    slots::topology(&answer, lanes.host()).ok_or(Fault::Odd)
}

fn nobodys() -> Fault {
    Fault::Unable("CLUSTERDOWN".to_owned())
}

/// The watch that is kept. With its runtime it may go before its time, and another must then begin.
struct Watch(Weak<Cluster>);

impl Drop for Watch {
    fn drop(&mut self) {
        if let Some(cluster) = self.0.upgrade() {
            cluster.watching.store(false, Ordering::Release);
        }
    }
}
