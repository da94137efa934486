//! One namespace of a server as a tier: entries to bytes and back, the slot's commands as scripts.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures_util::future::join_all;
use parking_lot::Mutex;
use redis::Value as Answer;
use tokio::runtime::Handle;
use tokio::time::Instant;

use super::envelope::Envelope;
use super::fault::Fault;
use super::keys::{self, Name};
use super::lanes::Link;
use super::recent::Recent;
use super::scripts::Name as Script;
use super::{NAME, Redis, layout};
use crate::bounds::{Key, Value};
use crate::codec::{CacheKey, Codec, Json};
use crate::consistency::Consistency;
use crate::entry::Entry;
use crate::error::{BoxError, Error, ErrorKind, Result};
use crate::event::Event;
use crate::tier::slot::{LAST, Millis};
use crate::tier::{Acquired, Filled, Hold, Host, Lease, Purpose, Tier, token};
use crate::time::{self, Clock, SystemClock, Timestamp};

/// How long a lease lives unless it is renewed.
const LEASE: Duration = Duration::from_secs(5);
/// The biggest value, in bytes as it is written.
const MAX_VALUE: usize = 1024 * 1024;
/// How long to wait before trying again to give a lease back.
const GIVE_BACK_PAUSE: Duration = Duration::from_millis(100);
/// How many keys are asked for in one message.
const BATCH: usize = 500;
/// How many scripts of one batch are under way at once: so many are answered well within a deadline.
const TOGETHER: usize = 128;

/// A tier in a [`Redis`], made by [`Redis::namespace`]. For one cache.
///
/// Values are written by a [`Codec`], [`Json`] unless another is given, in an envelope that says whose they are. A copy
/// that is damaged, another key's, too big, or of a schema that is not accepted, is a miss and a count.
pub struct Namespace<V, C = Json> {
    redis: Redis,
    name: Arc<str>,
    codec: C,
    schema: u32,
    accepted: Vec<(u32, Upgrade<V, C>)>,
    lease: Duration,
    replica_lag: Duration,
    max_value: usize,
    host: OnceLock<Host>,
    recent: Mutex<Recent>,
    /// The life of the server that was spoken to last, and one above all that it can be before that.
    life: AtomicU64,
}

/// Reads a value of an older schema.
type Upgrade<V, C> = Arc<dyn Fn(&C, &[u8]) -> Result<V, BoxError> + Send + Sync>;

impl<V> Namespace<V> {
    pub(super) fn new(redis: Redis, name: &str) -> Self {
        Self {
            redis,
            name: name.into(),
            codec: Json,
            schema: 1,
            accepted: Vec::new(),
            lease: LEASE,
            replica_lag: Duration::ZERO,
            max_value: MAX_VALUE,
            host: OnceLock::new(),
            recent: Mutex::default(),
            life: AtomicU64::new(u64::MAX),
        }
    }
}

impl<V, C> Namespace<V, C> {
    /// Writes values in another way than as JSON. Forgets what was [accepted](Self::accepts) before.
    #[must_use]
    pub fn codec<D: Codec<V>>(self, codec: D) -> Namespace<V, D> {
        Namespace {
            redis: self.redis,
            name: self.name,
            codec,
            schema: self.schema,
            accepted: Vec::new(),
            lease: self.lease,
            replica_lag: self.replica_lag,
            max_value: self.max_value,
            host: self.host,
            recent: self.recent,
            life: self.life,
        }
    }

    /// The number of the value's schema: raise it when copies of the old form can no longer be read, or would be read
    /// wrongly. Default: 1.
    #[must_use]
    pub fn schema(self, number: u32) -> Self {
        Self { schema: number, ..self }
    }

    /// Also reads copies of an older schema. While two versions of a service run side by side, the new one then serves
    /// what the old one has kept; the old one loads what the new one has kept, once for each such key.
    ///
    /// ```
    /// # use larder::{Redis, tier::redis::Namespace};
    /// #[derive(Clone, serde::Serialize, serde::Deserialize)]
    /// struct User { name: String, admin: bool }
    ///
    /// #[derive(serde::Serialize, serde::Deserialize)]
    /// struct UserV1 { name: String }
    ///
    /// let redis = Redis::new("redis://127.0.0.1")?;
    /// let users: Namespace<User> =
    ///     redis.namespace("user").schema(2).accepts(1, |old: UserV1| User { name: old.name, admin: false });
    /// # Ok::<(), larder::Error>(())
    /// ```
    #[must_use]
    pub fn accepts<Old>(mut self, schema: u32, upgrade: impl Fn(Old) -> V + Send + Sync + 'static) -> Self
    where
        C: Codec<Old>,
    {
        let upgrade: Upgrade<V, C> = Arc::new(move |codec, bytes| codec.decode(bytes).map(&upgrade));
        self.accepted.push((schema, upgrade));
        self
    }

    /// How long the right to load a key lasts unless it is renewed, which is done at half of it while a load runs. So
    /// long a key is left alone after its loader has died, and so long readers in other processes wait for a load at
    /// the most. Default: 5 seconds.
    #[must_use]
    pub fn lease(self, lease: Duration) -> Self {
        Self { lease, ..self }
    }

    /// How far what loads read from may be behind what writes write to, where that is a database replica: so long
    /// nothing is kept after a write, neither what is loaded nor what a write-through leaves. Default: not at all, loads read what was written.
    #[must_use]
    pub fn replica_lag(self, lag: Duration) -> Self {
        Self { replica_lag: lag, ..self }
    }

    /// The biggest value that is kept, in bytes as it is written. Bigger ones go to their readers only, and may be kept
    /// by the tiers above. Default: 1 MiB.
    #[must_use]
    pub fn max_value(self, bytes: usize) -> Self {
        Self { max_value: bytes, ..self }
    }
}

/// Gives a lease back when it is dropped.
struct GiveBack<'a, V: Value, C: Codec<V>> {
    namespace: &'a Namespace<V, C>,
    name: &'a Name,
    lease: Lease,
}

impl<V: Value, C: Codec<V>> Drop for GiveBack<'_, V, C> {
    fn drop(&mut self) {
        self.namespace.give_back(self.name, self.lease);
    }
}

/// A conversation with the server about some keys: one link, one deadline.
struct Call {
    link: Link,
    until: Instant,
}

/// A moment on the cache's clock and, as late as it can be, on the server's.
struct Moment {
    here: Timestamp,
    there: Millis,
    incarnation: u32,
}

impl Moment {
    /// A time of the server's on the cache's clock: rather too early than too late.
    fn here(&self, there: Millis) -> Timestamp {
        match there {
            LAST => Timestamp::NEVER,
            _ if there >= self.there => self.here.after(Duration::from_millis(there - self.there)),
            _ => self.here.before(Duration::from_millis(self.there - there)),
        }
    }
}

impl<V: Value, C: Codec<V>> Namespace<V, C> {
    fn moment(&self, call: &Call) -> Moment {
        let server = call.link.server();
        let (_, there) = server.now();
        Moment { here: self.now(), there, incarnation: server.incarnation }
    }

    async fn call(&self) -> Result<Call, Fault> {
        let until = self.redis.0.until();
        let link = self.redis.0.link(until).await?;
        self.recognise(&link);
        Ok(Call { link, until })
    }

    async fn run<A: redis::FromRedisValue>(
        &self,
        call: &Call,
        script: Script,
        name: &Name,
        arguments: &[&[u8]],
    ) -> Result<A, Fault> {
        self.redis.0.run(&call.link, script, name.redis.as_bytes(), arguments, call.until).await
    }

    fn name<K: CacheKey>(&self, key: &K) -> Name {
        Name::of(&self.name, key)
    }

    fn emit(&self, event: &Event<'_>) {
        if let Some(host) = self.host.get() {
            host.emit(event);
        }
    }

    fn now(&self) -> Timestamp {
        match self.host.get() {
            Some(host) => host.clock().now(),
            None => own_clock().now(),
        }
    }

    /// Notices when the server is another than before, and sends it the last invalidations again.
    fn recognise(&self, link: &Link) {
        let new = u64::from(link.server().life);
        let old = self.life.swap(new, Ordering::AcqRel);
        if old == new || old == u64::MAX {
            return;
        }
        let names = self.recent.lock().names(Instant::now());
        let (Ok(runtime), false) = (Handle::try_current(), names.is_empty()) else { return };
        let (redis, hold_off) = (self.redis.clone(), self.hold_off());
        runtime.spawn(async move {
            for name in names {
                let until = redis.0.until();
                let Ok(link) = redis.0.link(until).await else { return };
                let arguments: &[&[u8]] = &[&hold_off];
                let sent =
                    redis.0.run::<String>(&link, Script::Invalidate, name.as_bytes(), arguments, until);
                _ = sent.await;
            }
        });
    }

    /// The copies of some names, in their order.
    async fn read(&self, names: &[Name]) -> Result<Vec<Option<Entry<V>>>, Fault> {
        let mut mget = redis::cmd("MGET");
        names.iter().for_each(|name| _ = mget.arg(&name.redis));
        match self.ask_patiently(&mget).await? {
            (moment, Answer::Array(answers)) if answers.len() == names.len() => {
                let copies = names.iter().zip(&answers);
                Ok(copies.map(|(name, answer)| self.entry(&moment, name, answer)).collect())
            }
            _ => Err(Fault::Odd),
        }
    }

    /// The copy of one name: the way of every hit.
    async fn read_one(&self, name: &Name) -> Result<Option<Entry<V>>, Fault> {
        let mut get = redis::cmd("GET");
        get.arg(&name.redis);
        match self.ask_patiently(&get).await {
            Ok((moment, answer)) => Ok(self.entry(&moment, name, &answer)),
            // Another kind of value stands there. Asked for with others it would have been a miss.
            Err(Fault::Refused(code)) if code == "WRONGTYPE" => {
                self.emit(&Event::Unreadable { tier: NAME });
                Ok(None)
            }
            Err(fault) => Err(fault),
        }
    }

    /// A command that only reads. A connection that breaks tells of the end of the server's last life, and nothing of
    /// its present one: it is asked again, at the most as often as there are connections that can break.
    async fn ask_patiently(&self, command: &redis::Cmd) -> Result<(Moment, Answer), Fault> {
        let mut lanes = self.redis.0.count();
        loop {
            let mut call = self.call().await?;
            match self.redis.0.ask::<Answer>(&mut call.link, command, call.until).await {
                Err(Fault::Lost) if lanes > 0 => lanes -= 1,
                answer => return Ok((self.moment(&call), answer?)),
            }
        }
    }

    /// The copy that an answer to a look holds, if it may be used. Why not is counted.
    fn entry(&self, moment: &Moment, name: &Name, answer: &Answer) -> Option<Entry<V>> {
        self.open(moment, name, answer).unwrap_or_else(|why_not| {
            self.emit(&why_not);
            None
        })
    }

    /// The copy that an answer holds; what to tell if it is none of ours, or may not be used.
    fn open(
        &self,
        moment: &Moment,
        name: &Name,
        answer: &Answer,
    ) -> Result<Option<Entry<V>>, Event<'static>> {
        let bytes = match answer {
            Answer::Nil => return Ok(None),
            Answer::BulkString(bytes) => bytes,
            _ => return Err(Event::Unreadable { tier: NAME }),
        };
        let kept = match layout::copy(bytes) {
            Some(kept) => kept,
            None if layout::decode(bytes).is_some() => return Ok(None),
            None => return Err(Event::Unreadable { tier: NAME }),
        };
        // A copy of an earlier life of the server may have been invalidated in the part of it that was lost.
        if token::incarnation(kept.id.0) != moment.incarnation {
            return Err(Event::Outlived { tier: NAME });
        }
        let value = self.decode(name, &kept.body).ok_or(Event::Unreadable { tier: NAME })?;
        let here = |time| moment.here(time);
        Ok(Some(Entry::new(value, here(kept.as_of), here(kept.fresh_until), here(kept.expires_at))))
    }

    fn decode(&self, name: &Name, body: &[u8]) -> Option<Option<V>> {
        let envelope = Envelope::open(body)?;
        if envelope.key != name.echo()
            || envelope.codec != self.codec.id()
            || envelope.payload.len() > self.max_value
        {
            return None;
        }
        let upgrade = self.accepted.iter().find(|(schema, _)| *schema == envelope.schema);
        match (envelope.schema == self.schema, upgrade) {
            _ if envelope.absent => Some(None),
            (true, _) => self.codec.decode(envelope.payload).ok().map(Some),
            (false, Some((_, upgrade))) => upgrade(&self.codec, envelope.payload).ok().map(Some),
            (false, None) => None,
        }
    }

    /// The bytes of a value; `None` when they are too many, or there are none.
    fn encode(&self, name: &Name, value: Option<&V>) -> Option<Vec<u8>> {
        let write = value.map(|value| |bytes: &mut Vec<u8>| self.codec.encode(value, bytes));
        let sealed = Envelope::seal(self.schema, self.codec.id(), name.echo(), write).ok().flatten();
        let sealed = sealed
            .filter(|bytes| Envelope::open(bytes).is_some_and(|whole| whole.payload.len() <= self.max_value));
        if sealed.is_none() {
            self.emit(&Event::Unfit { tier: NAME });
        }
        sealed
    }

    /// The times of an entry as a script takes them: as of when, for how long fresh, for how long at all.
    fn life(&self, call: &Call, entry: &Entry<V>) -> [String; 3] {
        let (server_now, _) = call.link.server().now();
        // Rounded up: rather a moment too old than too young.
        let age = self.now().since(entry.as_of()).saturating_add(Duration::from_nanos(999_999));
        let as_of = server_now.saturating_sub(millis(age));
        let span = |until: Timestamp| match until {
            Timestamp::NEVER => LAST,
            _ => millis(until.since(entry.as_of())),
        };
        [as_of, span(entry.fresh_until()), span(entry.expires_at())].map(|number| number.to_string())
    }

    async fn acquire_one(&self, call: &Call, name: &Name, purpose: Purpose) -> Result<Acquired<V>, Fault> {
        match self.try_acquire(call, name, purpose).await? {
            // What the script takes for a fresh copy cannot be read here: load, and put a readable one in its place.
            None => Ok(self.try_acquire(call, name, Purpose::Renew).await?.unwrap_or(Acquired::Held)),
            Some(acquired) => Ok(acquired),
        }
    }

    async fn try_acquire(
        &self,
        call: &Call,
        name: &Name,
        purpose: Purpose,
    ) -> Result<Option<Acquired<V>>, Fault> {
        let number = token::placed(token::unique(), call.link.server().incarnation);
        let lease = millis(self.lease).max(1).to_string();
        let renew: &[u8] = if purpose == Purpose::Renew { b"1" } else { b"0" };
        let arguments: &[&[u8]] = &[&number.to_be_bytes(), lease.as_bytes(), renew];
        // Granted to somebody who has stopped listening, it would keep everybody waiting until it runs out.
        let unheard = GiveBack { namespace: self, name, lease: Lease::new(number) };
        let answer: Vec<Answer> = self.run(call, Script::Acquire, name, arguments).await?;
        std::mem::forget(unheard);
        let (Some(Answer::BulkString(word)), more) = (answer.first(), answer.get(2)) else {
            return Err(Fault::Odd);
        };
        // What is wrong with a copy was counted when it was looked at.
        let copy = || more.and_then(|more| self.open(&self.moment(call), name, &filled(more)).ok().flatten());
        Ok(match word.as_slice() {
            b"fresh" => copy().map(Acquired::Fresh),
            b"granted" => Some(Acquired::Granted(Lease::new(number), copy())),
            b"taken" => {
                self.emit(&Event::LeaseTakenOver { tier: NAME });
                Some(Acquired::Granted(Lease::new(number), copy()))
            }
            b"busy" => {
                let Some(Answer::BulkString(left)) = more else { return Err(Fault::Odd) };
                Some(Acquired::Busy(Duration::from_millis(layout::number(left).ok_or(Fault::Odd)?)))
            }
            b"held" => Some(Acquired::Held),
            _ => return Err(Fault::Odd),
        })
    }

    /// What was acquired, if all was; else the leases among it are given back, as nobody will hear of them.
    fn all_or_none(
        &self,
        names: &[Name],
        answers: Vec<Result<Acquired<V>, Fault>>,
    ) -> Result<Vec<Acquired<V>>, Fault> {
        if answers.iter().any(Result::is_err) {
            for (name, answer) in names.iter().zip(&answers) {
                if let Ok(Acquired::Granted(lease, _)) = answer {
                    self.give_back(name, *lease);
                }
            }
        }
        answers.into_iter().collect()
    }

    /// Gives a lease back in the background, as soon as the server answers, and only while it can still be in force.
    fn give_back(&self, name: &Name, lease: Lease) {
        let Ok(runtime) = Handle::try_current() else { return };
        let (redis, key, ends) = (self.redis.clone(), name.redis.clone(), time::from_now(self.lease));
        runtime.spawn(async move {
            while Instant::now() < ends {
                let until = redis.0.until();
                if let Ok(link) = redis.0.link(until).await {
                    let arguments: &[&[u8]] = &[&lease.number().to_be_bytes(), b"0"];
                    let given =
                        redis.0.run::<String>(&link, Script::Abandon, key.as_bytes(), arguments, until);
                    if given.await.is_ok() {
                        return;
                    }
                }
                let Ok(timer) = time::timer(time::from_now(GIVE_BACK_PAUSE)) else { return };
                timer.await;
            }
        });
    }

    async fn fill_one(
        &self,
        call: &Call,
        name: &Name,
        lease: Lease,
        entry: &Entry<V>,
    ) -> Result<Filled, Fault> {
        let number = lease.number();
        // A lease of an earlier life of the server may have come back with a snapshot, after the write that destroyed it.
        if token::incarnation(number) != call.link.server().incarnation {
            return Ok(Filled::Refused);
        }
        let Some(body) = self.encode(name, entry.value()) else {
            let arguments: &[&[u8]] = &[&number.to_be_bytes(), b"0"];
            let answer: String = self.run(call, Script::Abandon, name, arguments).await?;
            return Ok(if answer == "done" { Filled::Unfit } else { Filled::Refused });
        };
        let [as_of, fresh, total] = self.life(call, entry);
        let arguments: &[&[u8]] =
            &[&number.to_be_bytes(), as_of.as_bytes(), fresh.as_bytes(), total.as_bytes(), &body];
        let answer: String = self.run(call, Script::Fill, name, arguments).await?;
        Ok(if answer == "stored" { Filled::Stored } else { Filled::Refused })
    }

    /// One script for each key; every key must succeed.
    async fn for_each<K: CacheKey + Sync>(
        &self,
        keys: &[K],
        script: Script,
        arguments: impl Fn(&Link) -> Vec<Vec<u8>>,
    ) -> Result<Vec<String>, Fault> {
        let names: Vec<Name> = keys.iter().map(|key| self.name(key)).collect();
        let mut answers = Vec::with_capacity(names.len());
        for names in names.chunks(TOGETHER) {
            let _turn = self.redis.0.turn(names.len()).await;
            answers.extend(self.together(names, script, &arguments).await?);
        }
        Ok(answers)
    }

    async fn together(
        &self,
        names: &[Name],
        script: Script,
        arguments: impl Fn(&Link) -> Vec<Vec<u8>>,
    ) -> Result<Vec<String>, Fault> {
        let mut lanes = self.redis.0.count();
        loop {
            let call = self.call().await?;
            let arguments = arguments(&call.link);
            let arguments: Vec<&[u8]> = arguments.iter().map(Vec::as_slice).collect();
            let answers =
                join_all(names.iter().map(|name| self.run::<String>(&call, script, name, &arguments)));
            match answers.await.into_iter().collect() {
                // All of these scripts can be sent twice.
                Err(Fault::Lost) if lanes > 0 => lanes -= 1,
                answers => return answers,
            }
        }
    }

    async fn end_hold<K: CacheKey + Sync>(&self, keys: &[K], hold: Hold) -> Result<(), Fault> {
        let answers =
            self.for_each(keys, Script::Release, |link| vec![self.mine(hold, link), self.hold_off()]);
        for answer in answers.await? {
            if answer == "lost" {
                self.emit(&Event::HoldLost { tier: NAME });
            }
        }
        self.note(keys);
        Ok(())
    }

    /// A hold's token in the server's present life.
    fn mine(&self, hold: Hold, link: &Link) -> Vec<u8> {
        token::placed(hold.number(), link.server().incarnation).to_be_bytes().to_vec()
    }

    fn hold_off(&self) -> Vec<u8> {
        millis(self.replica_lag).to_string().into_bytes()
    }

    /// Remembers what was dropped, for a server that may forget it.
    fn note<K: CacheKey>(&self, keys: &[K]) {
        let (now, mut recent) = (Instant::now(), self.recent.lock());
        keys.iter().for_each(|key| recent.note(self.name(key).redis, now));
    }

    async fn drop_all(&self) -> Result<(), Fault> {
        let pattern = keys::pattern(&self.name);
        let mut cursor = 0_u64;
        loop {
            let mut call = self.call().await?;
            let scan =
                redis::cmd("SCAN").arg(cursor).arg("MATCH").arg(&pattern).arg("COUNT").arg(1_000).to_owned();
            let (next, names): (u64, Vec<Vec<u8>>) =
                self.redis.0.ask(&mut call.link, &scan, call.until).await?;
            let hold_off = self.hold_off();
            let arguments: &[&[u8]] = &[&hold_off];
            let drops = names.iter().map(|name| {
                self.redis.0.run::<String>(&call.link, Script::Invalidate, name, arguments, call.until)
            });
            join_all(drops).await.into_iter().collect::<Result<Vec<_>, _>>()?;
            cursor = next;
            if cursor == 0 {
                return Ok(());
            }
        }
    }
}

impl<K: Key + CacheKey, V: Value, C: Codec<V>> Tier<K, V> for Namespace<V, C> {
    fn name(&self) -> &'static str {
        NAME
    }

    fn is_shared(&self) -> bool {
        true
    }

    fn attach(&self, host: &Host) -> Result<()> {
        if !keys::is_namespace(&self.name) {
            return Err(Error::new(
                ErrorKind::Settings,
                "the name of a namespace is 1 to 64 of the characters `a-z A-Z 0-9 _ - .`",
            ));
        }
        if self.lease.is_zero() {
            return Err(Error::new(ErrorKind::Settings, "`lease` is zero: no load could ever be kept"));
        }
        if !self.replica_lag.is_zero() && host.consistency() == Consistency::Linearizable {
            return Err(Error::new(
                ErrorKind::Settings,
                "`replica_lag` and `consistency(Linearizable)` disagree: what is read from a replica can be old",
            ));
        }
        if self.host.set(host.clone()).is_err() {
            return Err(Error::new(
                ErrorKind::Settings,
                "a namespace serves one cache; make another for another",
            ));
        }
        self.redis.0.tell(host);
        Ok(())
    }

    fn lease(&self) -> Option<Duration> {
        Some(self.lease)
    }

    async fn get(&self, key: &K) -> Result<Option<Entry<V>>> {
        Ok(self.read_one(&self.name(key)).await?)
    }

    async fn get_many(&self, keys: &[K]) -> Result<Vec<Option<Entry<V>>>> {
        let names: Vec<Name> = keys.iter().map(|key| self.name(key)).collect();
        let mut copies = Vec::with_capacity(names.len());
        for names in names.chunks(BATCH) {
            copies.extend(self.read(names).await?);
        }
        Ok(copies)
    }

    async fn acquire(&self, key: &K, purpose: Purpose) -> Result<Acquired<V>> {
        let call = self.call().await?;
        Ok(self.acquire_one(&call, &self.name(key), purpose).await?)
    }

    async fn acquire_many(&self, keys: &[K], purpose: Purpose) -> Result<Vec<Acquired<V>>> {
        let names: Vec<Name> = keys.iter().map(|key| self.name(key)).collect();
        let mut answers = Vec::with_capacity(names.len());
        for names in names.chunks(TOGETHER) {
            let _turn = self.redis.0.turn(names.len()).await;
            let acquired = match self.call().await {
                Ok(call) => join_all(names.iter().map(|name| self.acquire_one(&call, name, purpose))).await,
                Err(fault) => vec![Err(fault)],
            };
            answers.extend(acquired);
        }
        Ok(self.all_or_none(&names, answers)?)
    }

    async fn fill(&self, key: &K, lease: Lease, entry: &Entry<V>) -> Result<Filled> {
        let call = self.call().await?;
        Ok(self.fill_one(&call, &self.name(key), lease, entry).await?)
    }

    async fn fill_many(&self, fills: &[(&K, Lease, &Entry<V>)]) -> Result<Vec<Filled>> {
        let mut answers = Vec::with_capacity(fills.len());
        for fills in fills.chunks(TOGETHER) {
            let _turn = self.redis.0.turn(fills.len()).await;
            let call = self.call().await?;
            let names: Vec<Name> = fills.iter().map(|(key, ..)| self.name(*key)).collect();
            let fills = names.iter().zip(fills);
            let filled =
                join_all(fills.map(|(name, (_, lease, entry))| self.fill_one(&call, name, *lease, entry)));
            answers.extend(filled.await.into_iter().collect::<Result<Vec<_>, _>>()?);
        }
        Ok(answers)
    }

    async fn renew(&self, key: &K, lease: Lease) -> Result<()> {
        let call = self.call().await?;
        let time = millis(self.lease).max(1).to_string();
        let arguments: &[&[u8]] = &[&lease.number().to_be_bytes(), time.as_bytes()];
        self.run::<String>(&call, Script::Renew, &self.name(key), arguments).await?;
        Ok(())
    }

    async fn abandon(&self, key: &K, lease: Lease, back_off: Duration) -> Result<()> {
        let call = self.call().await?;
        let time = millis(back_off).to_string();
        let arguments: &[&[u8]] = &[&lease.number().to_be_bytes(), time.as_bytes()];
        self.run::<String>(&call, Script::Abandon, &self.name(key), arguments).await?;
        Ok(())
    }

    fn abandon_now(&self, key: &K, lease: Lease) {
        self.give_back(&self.name(key), lease);
    }

    async fn invalidate_many(&self, keys: &[K]) -> Result<()> {
        self.for_each(keys, Script::Invalidate, |_| vec![self.hold_off()]).await?;
        self.note(keys);
        Ok(())
    }

    async fn hold_many(&self, keys: &[K], hold: Hold, lifetime: Duration) -> Result<()> {
        let life = millis(lifetime).max(1).to_string().into_bytes();
        let arguments = |link: &Link| vec![self.mine(hold, link), life.clone()];
        for answer in self.for_each(keys, Script::Hold, arguments).await? {
            if answer == "contended" {
                self.emit(&Event::HoldContended { tier: NAME });
            }
        }
        Ok(())
    }

    async fn release_many(&self, keys: &[K], hold: Hold) -> Result<()> {
        Ok(self.end_hold(keys, hold).await?)
    }

    async fn publish(&self, key: &K, hold: Hold, entry: &Entry<V>) -> Result<Filled> {
        let name = self.name(key);
        let Some(body) = self.encode(&name, entry.value()) else {
            self.end_hold(std::slice::from_ref(key), hold).await?;
            return Ok(Filled::Unfit);
        };
        let call = self.call().await?;
        let [as_of, fresh, total] = self.life(&call, entry);
        let (mine, hold_off) = (self.mine(hold, &call.link), self.hold_off());
        let arguments: &[&[u8]] =
            &[&mine, as_of.as_bytes(), fresh.as_bytes(), total.as_bytes(), &hold_off, &body];
        let answer: String = self.run(&call, Script::Publish, &name, arguments).await?;
        if answer == "lost" {
            self.emit(&Event::HoldLost { tier: NAME });
        }
        self.note(std::slice::from_ref(key));
        Ok(if answer == "stored" { Filled::Stored } else { Filled::Refused })
    }

    async fn clear(&self) -> Result<()> {
        Ok(self.drop_all().await?)
    }
}

impl<V, C> fmt::Debug for Namespace<V, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Namespace")
            .field("name", &self.name)
            .field("schema", &self.schema)
            .finish_non_exhaustive()
    }
}

/// An empty string in a script's answer stands for nothing.
fn filled(answer: &Answer) -> Answer {
    match answer {
        Answer::BulkString(bytes) if bytes.is_empty() => Answer::Nil,
        other => other.clone(),
    }
}

fn millis(duration: Duration) -> Millis {
    u64::try_from(duration.as_millis()).unwrap_or(LAST).min(LAST)
}

/// The clock of a tier that no cache has been built on.
fn own_clock() -> &'static SystemClock {
    static CLOCK: OnceLock<SystemClock> = OnceLock::new();
    CLOCK.get_or_init(SystemClock::new)
}
