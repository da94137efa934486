//! The connections to one server: a few long-held ones that everybody shares, made when they are needed, replaced
//! when they break, left alone while the server does not answer.
//!
//! A pooled connection would cost a round trip at every checkout. A lane is taken out of the pool for good instead, and
//! carries the commands of many tasks at once.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use deadpool_redis::{Manager, Pool, PoolConfig, Runtime, Timeouts};
use futures_util::future::select_ok;
use parking_lot::Mutex;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Cmd, ConnectionInfo, FromRedisValue, ProtocolVersion, PushInfo, Value};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::time::Instant;

use super::audience::Audience;
use super::breaker::Breaker;
use super::config::{Credentials, Settings};
use super::fault::Fault;
use super::route::{self, Route};
use super::scripts::Name;
use super::server_clock::ServerClock;
#[cfg(feature = "redis-rustls")]
use super::tls;
use crate::event::Event;
use crate::time::{self, Unanswered, micros};

/// How often a connection is asked for the time, and the server for its role, while nothing is wrong.
const HEARTBEAT: Duration = Duration::from_secs(5);

/// For how long the node of a cluster counts as who it was; the next call then asks. Other servers are asked at every
/// heartbeat.
const CONFIRMED: Duration = Duration::from_millis(500);

/// The lane of a link that is on none.
const NO_LANE: usize = usize::MAX;

/// All connections to one server.
pub(super) struct Lanes {
    settings: Settings,
    route: Route,
    pool: Mutex<Option<(ConnectionInfo, Option<Credentials>, Pool)>>,
    lanes: Box<[Mutex<Lane>]>,
    next: AtomicUsize,
    /// How many connections have been made; each has its number among them.
    made: AtomicU64,
    breaker: Breaker,
    probing: AtomicBool,
    server: Mutex<Option<Arc<Server>>>,
    /// A link on which the server remembers what is read, and tells when it changes.
    tracked: Mutex<Option<Link>>,
    /// Of which life of the server it is heard what is dropped; nothing before anybody has listened.
    heard: Mutex<Option<u32>>,
    audience: Arc<Audience>,
}

/// One place for a connection.
enum Lane {
    Empty,
    Dialling(watch::Receiver<Option<Result<Link, Fault>>>),
    Up(Link),
}

/// A connection and the server at its other end.
#[derive(Clone)]
pub(super) struct Link {
    number: u64,
    lane: usize,
    connection: MultiplexedConnection,
    server: Arc<Server>,
    asking: bool,
}

/// One life of a server, from its start to its end.
#[derive(Debug)]
pub(super) struct Server {
    /// Which life it is.
    pub(super) life: u32,
    /// What is written into tokens for it: nothing, where restarts are trusted.
    pub(super) incarnation: u32,
    clock: Mutex<ServerClock>,
    confirmed: Confirmed,
}

/// When a server was last known to be in this life of its.
#[derive(Debug, Default)]
struct Confirmed {
    at: AtomicI64,
    asking: AtomicBool,
}

impl Confirmed {
    fn note(&self) {
        self.at.store(micros(), Ordering::Release);
        self.asking.store(false, Ordering::Release);
    }

    /// Whether it is time to ask. Of many who call at the same time one is told so, and all when that one comes to nothing.
    fn is_due(&self) -> bool {
        let age = micros() - self.at.load(Ordering::Acquire);
        let span = CONFIRMED.as_micros() as i64;
        age > 2 * span || (age > span && !self.asking.swap(true, Ordering::AcqRel))
    }
}

impl Server {
    /// Its time now, the earliest and the latest that it can be.
    pub(super) fn now(&self) -> (u64, u64) {
        let (clock, now) = (*self.clock.lock(), micros());
        (clock.earliest(now), clock.latest(now))
    }
}

impl Link {
    pub(super) fn server(&self) -> &Server {
        &self.server
    }

    /// Which of all connections to the server it is.
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// The connection itself, for whoever [listens](Lanes::listen) on it.
    pub(super) fn connection(&self) -> MultiplexedConnection {
        self.connection.clone()
    }

    /// The same link, to a node that has a key only in part: it is told before every command that the other one sent us.
    pub(super) fn asking(self) -> Self {
        Self { asking: true, ..self }
    }

    async fn send(&mut self, command: &Cmd) -> redis::RedisResult<Value> {
        if !self.asking {
            return command.query_async(&mut self.connection).await;
        }
        // As one message: in between, another task's command would be taken for the one that was meant.
        let mut both = redis::pipe();
        both.cmd("ASKING").ignore().add_command(command.clone());
        let answers: Vec<Value> = both.query_async(&mut self.connection).await?;
        Ok(answers.into_iter().next().unwrap_or(Value::Nil))
    }
}

impl Lanes {
    pub(super) fn new(route: Route, settings: Settings, audience: Arc<Audience>) -> Arc<Self> {
        Arc::new(Self {
            route,
            pool: Mutex::default(),
            lanes: (0..settings.lanes).map(|_| Mutex::new(Lane::Empty)).collect(),
            settings,
            next: AtomicUsize::new(0),
            made: AtomicU64::new(0),
            breaker: Breaker::default(),
            probing: AtomicBool::new(false),
            server: Mutex::default(),
            tracked: Mutex::default(),
            heard: Mutex::default(),
            audience,
        })
    }

    /// Whether nobody asks the server, as it did not answer.
    pub(super) fn is_away(&self) -> bool {
        self.breaker.is_open()
    }

    /// The way to the server.
    pub(super) fn route(&self) -> &Route {
        &self.route
    }

    /// The host of the server's address.
    pub(super) fn host(&self) -> &str {
        self.route.host()
    }

    /// The server as it was last met, if it ever was.
    pub(super) fn met(&self) -> Option<Arc<Server>> {
        self.server.lock().clone()
    }

    /// Until when a call that begins now must have its answer.
    pub(super) fn until(&self) -> Instant {
        time::from_now(self.settings.deadline)
    }

    /// Until when a connection that is made now must be up.
    pub(super) fn until_connected(&self) -> Instant {
        time::from_now(self.settings.connect_deadline)
    }

    /// A connection that is up, or that comes up before `until`.
    pub(super) async fn link(self: &Arc<Self>, until: Instant) -> Result<Link, Fault> {
        let link = self.some_link(until).await?;
        if !self.settings.in_cluster || !link.server.confirmed.is_due() {
            return Ok(link);
        }
        match self.is_who_it_was(link.clone(), until).await? {
            true => Ok(link),
            false => self.some_link(until).await,
        }
    }

    /// Whether the node at the other end has been a primary, or a replica, all the time.
    ///
    /// `W: invalidates at P · P hangs, and R takes over without that · P follows R, and takes over again`: all that under
    /// one connection, on which P's old copy would be one of its present life.
    async fn is_who_it_was(self: &Arc<Self>, mut link: Link, until: Instant) -> Result<bool, Fault> {
        match time::within(until, self.life(&mut link.connection)).await {
            Ok(Ok(life)) if life == link.server.life => {
                link.server.confirmed.note();
                Ok(true)
            }
            // What is wrong with it, if anything, shows when it is dialled.
            Ok(_) => {
                self.give_up(|_| true);
                Ok(false)
            }
            Err(unanswered) => {
                self.vacate(link.lane, Some(link.number));
                Err(self.silent(unanswered))
            }
        }
    }

    async fn some_link(self: &Arc<Self>, until: Instant) -> Result<Link, Fault> {
        if self.breaker.is_open() {
            self.see_to_probe();
            return Err(Fault::Away);
        }
        let lane = self.next.fetch_add(1, Ordering::Relaxed) % self.lanes.len();
        let mut coming = match self.look(lane)? {
            Ok(link) => return Ok(link),
            Err(coming) => coming,
        };
        match time::within(until, coming.wait_for(Option::is_some)).await {
            Ok(Ok(answer)) => answer.clone().unwrap_or(Err(Fault::Lost)),
            Ok(Err(_runtime_gone)) => {
                self.vacate(lane, None);
                Err(Fault::Lost)
            }
            Err(unanswered) => Err(self.silent(unanswered)),
        }
    }

    /// The lane's link, or word of the one that is being made.
    #[allow(clippy::type_complexity, reason = "a link, or what to wait for")]
    fn look(
        self: &Arc<Self>,
        lane: usize,
    ) -> Result<Result<Link, watch::Receiver<Option<Result<Link, Fault>>>>, Fault> {
        let mut place = self.lanes[lane].lock();
        match &*place {
            Lane::Up(link) => return Ok(Ok(link.clone())),
            Lane::Dialling(coming) => return Ok(Err(coming.clone())),
            Lane::Empty => {}
        }
        let runtime = Handle::try_current().map_err(|_| Fault::NoRuntime)?;
        let (word, coming) = watch::channel(None);
        *place = Lane::Dialling(coming.clone());
        let lanes = Arc::clone(self);
        runtime.spawn(async move {
            let answer = lanes.dial(lane).await;
            match &answer {
                Ok(link) => lanes.install(link),
                Err(_) => {
                    lanes.vacate(lane, None);
                    lanes.trip();
                }
            }
            word.send_replace(Some(answer));
        });
        Ok(Err(coming))
    }

    /// One command. The answer must be here before `until`; without one the server becomes suspect.
    pub(super) async fn ask<A: FromRedisValue>(
        self: &Arc<Self>,
        link: &mut Link,
        command: &Cmd,
        until: Instant,
    ) -> Result<A, Fault> {
        let made = self.made.load(Ordering::Acquire);
        let answer = match time::within(until, link.send(command)).await {
            Ok(answer) => answer.map_err(|error| Fault::of(&error)),
            Err(unanswered) => {
                // It may have been cut off without a word, and would stay silent for many minutes.
                self.vacate(link.lane, Some(link.number));
                return Err(self.silent(unanswered));
            }
        };
        match &answer {
            // A connection seldom breaks alone: none that was there before is asked again.
            Err(Fault::Lost | Fault::Late) => self.give_up(|link| link.number < made),
            // It answers a PING all the same: only a new connection, to a server that can serve, is a good sign.
            Err(fault) if !fault.is_about_this_call() => {
                self.give_up(|_| true);
                self.trip();
            }
            _ => {}
        }
        redis::from_redis_value(answer?).map_err(|_| Fault::Odd)
    }

    /// One script. A server that does not know it gets the text: `EVAL` cannot fail as a `SCRIPT LOAD` and
    /// another try can, with somebody flushing scripts in between.
    pub(super) async fn run<A: FromRedisValue>(
        self: &Arc<Self>,
        link: &Link,
        name: Name,
        keys: &[&[u8]],
        arguments: &[&[u8]],
        until: Instant,
    ) -> Result<A, Fault> {
        let script = name.script();
        let mut link = link.clone();
        match self.ask(&mut link, &call("EVALSHA", &script.hash, keys, arguments), until).await {
            Err(Fault::NoScript) => {
                self.ask(&mut link, &call("EVAL", &script.source, keys, arguments), until).await
            }
            answer => answer,
        }
    }

    fn silent(self: &Arc<Self>, unanswered: Unanswered) -> Fault {
        match unanswered {
            Unanswered::Late => {
                self.trip();
                Fault::Late
            }
            Unanswered::NoTimer => Fault::NoRuntime,
        }
    }

    /// Nobody asks the server any more, until a probe has had an answer.
    fn trip(self: &Arc<Self>) {
        self.audience.one_left(|| self.breaker.trip());
        self.see_to_probe();
    }

    fn heal(&self) {
        self.audience.one_came_back(|| self.breaker.heal());
    }

    /// One task asks for a sign of life, and tries to connect until it can, or nobody is left to want it.
    fn see_to_probe(self: &Arc<Self>) {
        let Ok(runtime) = Handle::try_current() else { return };
        if self.probing.swap(true, Ordering::AcqRel) {
            return;
        }
        let probe = Probe(Arc::downgrade(self));
        runtime.spawn(async move {
            match probe.0.upgrade() {
                Some(lanes) if lanes.gives_a_sign().await => return lanes.heal(),
                Some(lanes) => lanes.give_up(|_| true),
                None => return,
            }
            while let Some(lanes) = probe.0.upgrade() {
                let pause = lanes.breaker.next_probe(fastrand::f64());
                drop(lanes);
                let Ok(timer) = time::timer(time::from_now(pause)) else { return };
                timer.await;
                let Some(lanes) = probe.0.upgrade() else { return };
                if let Ok(link) = lanes.dial(0).await {
                    return lanes.install(&link);
                }
            }
        });
    }

    /// Whether any connection that was made before still answers within the deadline for commands.
    async fn gives_a_sign(&self) -> bool {
        let up = |lane: &Mutex<Lane>| match &*lane.lock() {
            Lane::Up(link) => Some(link.connection.clone()),
            _ => None,
        };
        let connections: Vec<MultiplexedConnection> = self.lanes.iter().filter_map(up).collect();
        let signs = connections.into_iter().map(|mut connection| {
            Box::pin(async move {
                let ping = redis::cmd("PING");
                let pong = ping.query_async::<Value>(&mut connection);
                time::within(self.until(), pong).await.ok().and_then(Result::ok).ok_or(())
            })
        });
        let mut signs = signs.peekable();
        signs.peek().is_some() && select_ok(signs).await.is_ok()
    }

    /// Empties the lanes of some links.
    fn give_up(&self, which: impl Fn(&Link) -> bool) {
        for lane in &self.lanes {
            let mut lane = lane.lock();
            if matches!(&*lane, Lane::Up(link) if which(link)) {
                *lane = Lane::Empty;
            }
        }
    }

    /// Makes a connection and gets to know the server at its other end.
    async fn dial(self: &Arc<Self>, lane: usize) -> Result<Link, Fault> {
        match time::within(time::from_now(self.settings.connect_deadline), self.dial_at_leisure(lane)).await {
            Ok(link) => link,
            Err(Unanswered::Late) => Err(Fault::Unreachable("it took too long".to_owned())),
            Err(Unanswered::NoTimer) => Err(Fault::NoRuntime),
        }
    }

    async fn dial_at_leisure(self: &Arc<Self>, lane: usize) -> Result<Link, Fault> {
        // Half of the time: when most sentinels say nothing, there must be some left for who the others name.
        let pool = self.pool(self.route.find(self.settings.connect_deadline / 2).await?).await?;
        let pooled = pool.get().await.map_err(|error| unreachable(&error))?;
        self.greeted(deadpool_redis::Connection::take(pooled), lane).await
    }

    /// A link of somebody's own, outside the lanes, which tells `hear` what the server sends unasked. It does so in the order in
    /// which things come: what was sent before an answer is told before the answer is.
    pub(super) async fn listen(
        self: &Arc<Self>,
        hear: impl Fn(PushInfo) + Send + Sync + 'static,
    ) -> Result<Link, Fault> {
        let patience = self.settings.connect_deadline;
        let made = async {
            let info = self.route.find(patience / 2).await?;
            let credentials = self.ask_credentials().await?;
            let info = self.checked(info, credentials.as_ref())?;
            let settings = info.redis_settings().clone().set_protocol(ProtocolVersion::RESP3);
            let client = redis::Client::open(info.set_redis_settings(settings));
            let client = client.map_err(|error| Fault::of(&error))?;
            let config = self.connection_config().set_push_sender(move |push| {
                hear(push);
                Ok::<(), redis::aio::SendError>(())
            });
            let made = client.get_multiplexed_async_connection_with_config(&config).await;
            let link = self.greeted(made.map_err(|error| Fault::of(&error))?, NO_LANE).await?;
            *self.heard.lock() = Some(link.server.life);
            self.give_up(|old| old.server.life != link.server.life);
            Ok(link)
        };
        match time::within(time::from_now(patience), made).await {
            Ok(link) => link,
            Err(Unanswered::Late) => Err(Fault::Late),
            Err(Unanswered::NoTimer) => Err(Fault::NoRuntime),
        }
    }

    /// A question on a link that [listens](Self::listen): whether the server is still in the same life, and a server for us.
    /// When it is answered, all that the server had sent before it was asked has been told.
    pub(super) async fn is_same(self: &Arc<Self>, link: &Link) -> Result<bool, Fault> {
        match self.life(&mut link.connection.clone()).await {
            Ok(life) if life == link.server.life => Ok(true),
            // It answers on, on all its connections.
            Ok(_) | Err(Fault::Unable(_)) => {
                self.give_up(|_| true);
                Ok(false)
            }
            Err(fault) => Err(fault),
        }
    }

    /// Whether what is dropped at the other end of `link` is heard of, if anything is: `R listens to Q, who has taken over ·
    /// W: drops at Q, and R hears · R: asks P, who does not know yet, and keeps v1`, and nobody says anything of it again.
    pub(super) fn hears_of(&self, link: &Link) -> bool {
        self.heard.lock().is_none_or(|life| life == link.server.life)
    }

    /// From now on tracked reads go over this link; or over none.
    pub(super) fn track(&self, link: Option<Link>) {
        *self.tracked.lock() = link;
    }

    /// The link that tracked reads go over.
    pub(super) fn tracked(&self) -> Option<Link> {
        self.tracked.lock().clone()
    }

    async fn greeted(
        self: &Arc<Self>,
        mut connection: MultiplexedConnection,
        lane: usize,
    ) -> Result<Link, Fault> {
        // A server that is still loading its data refuses this, and is not there yet.
        let pong = redis::cmd("PING").query_async::<Value>(&mut connection).await;
        pong.map_err(|error| Fault::of(&error))?;
        let life = self.life(&mut connection).await?;
        // A server that is too slow for commands, though not for connecting, is as good as none.
        let sample = match time::within(self.until(), sample(&mut connection)).await {
            Ok(sample) => sample?,
            Err(_unanswered) => return Err(Fault::Late),
        };
        let server = self.meet(life, sample);
        server.confirmed.note();
        let number = self.made.fetch_add(1, Ordering::AcqRel);
        Ok(Link { number, lane, connection, server, asking: false })
    }

    /// Which life of its the server at the other end is in, if it is a server for us.
    async fn life(&self, connection: &mut MultiplexedConnection) -> Result<u32, Fault> {
        let about = match About::ask(connection).await {
            Err(Fault::Refused(_)) if self.settings.trust_restarts => {
                if self.settings.in_cluster {
                    in_service(connection).await?;
                }
                return Ok(0);
            }
            about => about?,
        };
        match (self.settings.in_cluster, about.in_cluster) {
            // A replica in a cluster names the primary for every key, and may be one itself at any time.
            (true, true) => {
                in_service(connection).await?;
                Ok(about.life)
            }
            (true, false) => Err(Fault::Unfit(NO_CLUSTER)),
            (false, true) => Err(Fault::Unfit(A_CLUSTER)),
            // A replica takes no writes, and what it has may be old.
            (false, false) if about.is_replica => Err(Fault::Unable("READONLY".to_owned())),
            (false, false) => Ok(about.life),
        }
    }

    /// The pool for a server and the credentials of the hour. It only makes connections: lanes are taken out of it for
    /// good.
    async fn pool(&self, info: ConnectionInfo) -> Result<Pool, Fault> {
        let credentials = self.ask_credentials().await?;
        let mut current = self.pool.lock();
        if let Some((there, theirs, pool)) = &*current
            && (there.addr(), theirs) == (info.addr(), &credentials)
        {
            return Ok(pool.clone());
        }
        let pool = self.new_pool(info.clone(), credentials.as_ref())?;
        *current = Some((info, credentials, pool.clone()));
        Ok(pool)
    }

    async fn ask_credentials(&self) -> Result<Option<Credentials>, Fault> {
        match &self.settings.credentials {
            Some(ask) => Ok(Some(ask().await.map_err(|_| Fault::Credentials)?)),
            None => Ok(None),
        }
    }

    /// Where to connect to and as whom, if that may be.
    fn checked(
        &self,
        mut info: ConnectionInfo,
        credentials: Option<&Credentials>,
    ) -> Result<ConnectionInfo, Fault> {
        if let Some(credentials) = credentials {
            let settings = credentials.put_into(info.redis_settings().clone());
            info = info.set_redis_settings(settings);
        }
        if route::is_exposed(&info)
            && info.redis_settings().password().is_some()
            && !self.settings.allow_plaintext
        {
            return Err(Fault::Unfit(PLAINTEXT));
        }
        #[cfg(feature = "redis-rustls")]
        if !tls::has_provider(&info) {
            return Err(Fault::Unfit(tls::NO_PROVIDER));
        }
        Ok(info)
    }

    fn connection_config(&self) -> AsyncConnectionConfig {
        // Every call has a deadline of its own.
        let patience = Some(self.settings.connect_deadline);
        AsyncConnectionConfig::new().set_connection_timeout(patience).set_response_timeout(None)
    }

    fn new_pool(&self, info: ConnectionInfo, credentials: Option<&Credentials>) -> Result<Pool, Fault> {
        let (info, patience) = (self.checked(info, credentials)?, Some(self.settings.connect_deadline));
        let manager = Manager::new_with_config(info, self.connection_config());
        let manager = manager.map_err(|error| Fault::of(&error))?;
        let limits = PoolConfig {
            max_size: self.lanes.len() + 2,
            timeouts: Timeouts { wait: patience, create: patience, recycle: patience },
            ..PoolConfig::default()
        };
        Pool::builder(manager).config(limits).runtime(Runtime::Tokio1).build().map_err(|_| Fault::NoRuntime)
    }

    /// The server of a new connection: the one that the other lanes know, or a new life of it.
    fn meet(&self, life: u32, (before, at, after): (i64, i64, i64)) -> Arc<Server> {
        let mut known = self.server.lock();
        match &*known {
            Some(server) if server.life == life => {
                let mut clock = server.clock.lock();
                *clock = clock.with(before, at, after);
                Arc::clone(server)
            }
            _ => {
                let clock = Mutex::new(ServerClock::new(before, at, after));
                let incarnation = if self.settings.trust_restarts { 0 } else { life };
                let server = Arc::new(Server { life, incarnation, clock, confirmed: Confirmed::default() });
                let changed = known.replace(Arc::clone(&server)).is_some();
                drop(known);
                if changed {
                    self.audience.announce(&Event::Restarted { tier: super::NAME });
                }
                server
            }
        }
    }

    /// A link is up. Those to an earlier life of the server are broken, whether that has shown or not.
    fn install(self: &Arc<Self>, link: &Link) {
        self.give_up(|old| old.server.life != link.server.life);
        *self.lanes[link.lane].lock() = Lane::Up(link.clone());
        self.heal();
        self.keep_time(link.lane, link.number);
    }

    /// Empties a lane, if the link of this `number` is still on it; without one, if no link has come.
    fn vacate(&self, lane: usize, number: Option<u64>) {
        let Some(lane) = self.lanes.get(lane) else {
            let mut tracked = self.tracked.lock();
            if tracked.as_ref().map(|link| link.number) == number {
                *tracked = None;
            }
            return;
        };
        let mut lane = lane.lock();
        let is_it = match &*lane {
            Lane::Up(link) => Some(link.number) == number,
            Lane::Dialling(_) => number.is_none(),
            Lane::Empty => false,
        };
        if is_it {
            *lane = Lane::Empty;
        }
    }

    /// Asks for the server's time now and then, as long as the link is in use, and whether it is still the server that
    /// it was: one that has been made a replica goes on answering reads, with what may be old.
    fn keep_time(self: &Arc<Self>, lane: usize, number: u64) {
        let Ok(runtime) = Handle::try_current() else { return };
        let lanes = Arc::downgrade(self);
        runtime.spawn(async move {
            loop {
                let Ok(timer) = time::timer(time::from_now(HEARTBEAT)) else { return };
                timer.await;
                let Some(lanes) = lanes.upgrade() else { return };
                let Some(mut link) = lanes.still_up(lane, number) else { return };
                let before = micros();
                let asked = redis::cmd("TIME");
                if let Ok((secs, micro)) = lanes.ask::<(i64, i64)>(&mut link, &asked, lanes.until()).await {
                    let mut clock = link.server.clock.lock();
                    *clock = clock.with(before, secs * 1_000_000 + micro, micros());
                }
                lanes.look_after(link).await;
            }
        });
    }

    async fn look_after(self: &Arc<Self>, mut link: Link) {
        match time::within(self.until(), self.life(&mut link.connection)).await {
            Ok(Ok(life)) if life == link.server.life => {}
            // What is wrong with it, if anything, shows when it is dialled.
            Ok(Ok(_) | Err(Fault::Unable(_))) => self.give_up(|_| true),
            _ => {}
        }
    }

    fn still_up(&self, lane: usize, number: u64) -> Option<Link> {
        match &*self.lanes[lane].lock() {
            Lane::Up(link) if link.number == number => Some(link.clone()),
            _ => None,
        }
    }
}

/// The probe that is under way. With its runtime it may go before its time, and another must then begin.
struct Probe(Weak<Lanes>);

impl Drop for Probe {
    fn drop(&mut self) {
        if let Some(lanes) = self.0.upgrade() {
            lanes.probing.store(false, Ordering::Release);
        }
    }
}

const NO_CLUSTER: &str = "it is no node of a cluster: build it without `cluster`";
pub(super) const A_CLUSTER: &str = "it is a node of a cluster: build it with `RedisBuilder::cluster`";
const PLAINTEXT: &str =
    "its password would go to another machine in plain text: use `rediss://`, or say `allow_plaintext`";

impl Drop for Lanes {
    /// A node that left its cluster while it was away keeps nobody waiting for it.
    fn drop(&mut self) {
        self.audience.one_came_back(|| self.breaker.heal());
    }
}

fn call(command: &str, script: &str, keys: &[&[u8]], arguments: &[&[u8]]) -> Cmd {
    let mut command = redis::cmd(command);
    command.arg(script).arg(keys.len()).arg(keys).arg(arguments);
    command
}

fn unreachable(error: &deadpool_redis::PoolError) -> Fault {
    match error {
        #[cfg(feature = "redis-rustls")]
        deadpool_redis::PoolError::Backend(error) if tls::reason(error).is_some() => {
            Fault::Unreachable(tls::reason(error).unwrap_or_default().to_owned())
        }
        deadpool_redis::PoolError::Backend(error) => match Fault::of(error) {
            Fault::Lost => Fault::Unreachable(match error.is_connection_refusal() {
                true => "it was refused".to_owned(),
                false => error.category().to_owned(),
            }),
            fault => fault,
        },
        _ => Fault::Unreachable("it took too long".to_owned()),
    }
}

/// What a server tells about itself.
struct About {
    life: u32,
    is_replica: bool,
    in_cluster: bool,
}

impl About {
    async fn ask(connection: &mut MultiplexedConnection) -> Result<Self, Fault> {
        let mut info = redis::pipe();
        info.cmd("INFO").arg("server").cmd("INFO").arg("replication");
        let about = info.query_async::<(String, String)>(connection).await;
        let (server, replication) = about.map_err(|error| Fault::of(&error))?;
        Self::read(&format!("{server}\n{replication}")).ok_or(Fault::Odd)
    }

    /// A server gives itself a number when it starts, and its data another one when it becomes a primary: one that was
    /// a replica for a while has lost writes of its own, and is not who it was.
    fn read(about: &str) -> Option<Self> {
        let value = |name: &str| about.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        let number = |name| u32::from_str_radix(value(name)?.get(..8)?, 16).ok();
        Some(Self {
            life: number("run_id")? ^ number("master_replid").unwrap_or(0).rotate_left(16),
            is_replica: value("role") == Some("slave"),
            in_cluster: value("redis_mode") == Some("cluster"),
        })
    }
}

/// Whether a node's cluster can serve: one that cannot answers `PING` all the same.
async fn in_service(connection: &mut MultiplexedConnection) -> Result<(), Fault> {
    let mut info = redis::cmd("CLUSTER");
    info.arg("INFO");
    match info.query_async::<String>(connection).await.map_err(|error| Fault::of(&error)) {
        Ok(state) if state.contains("cluster_state:fail") => Err(Fault::Unable("CLUSTERDOWN".to_owned())),
        Ok(_) | Err(Fault::Refused(_)) => Ok(()),
        Err(fault) => Err(fault),
    }
}

/// Our time before, the server's, ours after, in microseconds.
async fn sample(connection: &mut MultiplexedConnection) -> Result<(i64, i64, i64), Fault> {
    let before = micros();
    let time = redis::cmd("TIME").query_async::<(i64, i64)>(connection).await;
    let (secs, micro) = time.map_err(|error| Fault::of(&error))?;
    Ok((before, secs * 1_000_000 + micro, micros()))
}
