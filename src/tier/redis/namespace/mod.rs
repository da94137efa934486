//! One namespace of a server as a tier: entries to bytes and back, the slot's commands as scripts.

mod again;
mod agreeing;
mod dropping;
mod leases;
mod reading;
mod receipts;

use std::fmt;
use std::slice;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures_util::future::{BoxFuture, join_all};
use parking_lot::Mutex;

use self::leases::Unheard;
use super::copies::Copies;
use super::fault::Fault;
use super::keys::{self, Name};
use super::lanes::Server;
use super::moment::{Moment, Stamp, millis};
use super::nodes::{Call, Calling};
use super::recent::{Met, Recent};
use super::scripts::Name as Script;
use super::slots::Elsewhere;
use super::{NAME, Redis};
use crate::bounds::{Key, Value};
#[cfg(any(feature = "lz4", feature = "zstd"))]
use crate::codec::Compression;
#[cfg(feature = "sealing")]
use crate::codec::KeyRing;
use crate::codec::buffer::Buffer;
use crate::codec::{CacheKey, Codec, Json};
use crate::coherence::Mark;
use crate::consistency::Consistency;
use crate::entry::Entry;
use crate::error::{Error, ErrorKind, Result};
use crate::event::Event;
use crate::receipt::Reading;
use crate::tier::{Acquired, Filled, Hold, Host, Lease, Purpose, Scope, Tier, token};
use crate::time::{Clock, SystemClock, Timestamp};

/// How long a lease lives unless it is renewed.
const LEASE: Duration = Duration::from_secs(5);
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
    pub(super) copies: Copies<V, C>,
    lease: Duration,
    replica_lag: Duration,
    host: OnceLock<Host>,
    recent: Mutex<Recent>,
    met: Met,
}

impl<V> Namespace<V> {
    pub(super) fn new(redis: Redis, name: &str) -> Self {
        Self {
            redis,
            name: name.into(),
            copies: Copies::new(Json),
            lease: LEASE,
            replica_lag: Duration::ZERO,
            host: OnceLock::new(),
            recent: Mutex::default(),
            met: Met::default(),
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
            copies: self.copies.with_codec(codec),
            lease: self.lease,
            replica_lag: self.replica_lag,
            host: self.host,
            recent: self.recent,
            met: self.met,
        }
    }

    /// The number of the value's schema: raise it when copies of the old form can no longer be read, or would be read
    /// wrongly. Default: 1.
    #[must_use]
    pub fn schema(mut self, number: u32) -> Self {
        self.copies.schema = number;
        self
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
        self.copies.accept(schema, upgrade);
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

    /// Makes values smaller before they are kept. Default: not done. What others have compressed is read in any case, as far
    /// as the feature for it is there.
    #[cfg(any(feature = "lz4", feature = "zstd"))]
    #[must_use]
    pub fn compress(mut self, compression: Compression) -> Self {
        self.copies.packing.compression = Some(compression);
        self
    }

    /// Encrypts values, and binds them to what they stand for: nobody without a key of the ring can read one, make one, or
    /// put one where or when it does not belong. A copy that is not sealed, or was sealed for another key, namespace,
    /// schema or time, is a miss and a count; that a key has no value is sealed as well. Default: not sealed.
    ///
    /// What it does not do: hide keys, which stand in names and copies in clear text, nor how long a value is, nor whether
    /// there is one; prevent that copies are deleted, or that an earlier copy of the same key is put back before its own
    /// time is over. Times are judged by the server's clock: who can set that, prolongs copies by it.
    #[cfg(feature = "sealing")]
    #[must_use]
    pub fn sealed(mut self, keys: KeyRing) -> Self {
        self.copies.packing.keys = Some(keys);
        self
    }

    /// The biggest value that is kept, in bytes as its codec writes it. Bigger ones go to their readers only, and may be kept
    /// by the tiers above. Default: 1 MiB.
    #[must_use]
    pub fn max_value(mut self, bytes: usize) -> Self {
        self.copies.max_value = bytes;
        self
    }
}

impl<V: Value, C: Codec<V>> Namespace<V, C> {
    fn moment(&self, server: &Server) -> Moment {
        Moment::new(server, || self.now())
    }

    /// A call to the server that has a name.
    async fn call(&self, name: &Name) -> Result<Call, Fault> {
        self.listen();
        let call = self.redis.0.call(name.bucket).await?;
        self.recognise(call.server());
        Ok(call)
    }

    /// A call for each name, those of one server on one link.
    async fn calls(&self, names: &[Name]) -> Vec<Calling<'_>> {
        self.listen();
        self.redis.0.calls(names.iter().map(|name| name.bucket)).await
    }

    async fn made(&self, call: Calling<'_>) -> Result<Call, Fault> {
        let call = call.await?;
        self.recognise(call.server());
        Ok(call)
    }

    async fn follow(&self, call: &Call, name: &Name, to: &Elsewhere) -> Result<Call, Fault> {
        let call = self.redis.0.follow(call, Some(name.bucket), to).await?;
        self.recognise(call.server());
        Ok(call)
    }

    /// One script where the name is. The `arguments` are made anew for every server that is asked.
    async fn run<A: redis::FromRedisValue>(
        &self,
        mut call: Call,
        name: &Name,
        script: Script,
        arguments: impl Fn(&Server) -> Vec<Vec<u8>>,
    ) -> Result<A, Fault> {
        let word = match script {
            _ if script.drops() => self.word(name),
            _ if script.ends_a_load() => self.word_of_load(name),
            _ => None,
        };
        loop {
            let arguments = arguments(call.server());
            let arguments: Vec<&[u8]> = arguments.iter().map(Vec::as_slice).collect();
            match call.run_and_tell(script, name.redis.as_bytes(), &arguments, word.as_ref()).await {
                Err(Fault::Elsewhere(to)) => call = self.follow(&call, name, &to).await?,
                answer => return answer,
            }
        }
    }

    pub(super) fn name<K: CacheKey>(&self, key: &K) -> Name {
        Name::of(&self.name, key)
    }

    fn emit(&self, event: &Event<'_>) {
        if let Some(host) = self.host.get() {
            host.emit(event);
        }
    }

    /// The bytes of an entry that is to stand under `name`; `None`, and a count, when it cannot.
    fn written(&self, name: &Name, stamp: &Stamp, entry: &Entry<V>) -> Option<Buffer> {
        let written = self.copies.write(name, stamp, entry.value());
        if written.is_none() {
            self.emit(&Event::Unfit { tier: NAME });
        }
        written
    }

    pub(super) fn now(&self) -> Timestamp {
        match self.host.get() {
            Some(host) => host.clock().now(),
            None => own_clock().now(),
        }
    }

    /// One script for each key; every key must succeed.
    async fn for_each<K: CacheKey + Sync>(
        &self,
        keys: &[K],
        script: Script,
        arguments: impl Fn(&Server) -> Vec<Vec<u8>>,
    ) -> Result<Vec<String>, Fault> {
        self.each(keys, script, arguments).await.into_iter().collect()
    }

    /// One script for each key. What fails for some keys need not fail for others: they may be on other servers.
    async fn each<K: CacheKey + Sync>(
        &self,
        keys: &[K],
        script: Script,
        arguments: impl Fn(&Server) -> Vec<Vec<u8>>,
    ) -> Vec<Result<String, Fault>> {
        let names: Vec<Name> = keys.iter().map(|key| self.name(key)).collect();
        let mut answers = Vec::with_capacity(names.len());
        for names in names.chunks(TOGETHER) {
            let _turn = self.redis.0.turn(names.len()).await;
            answers.extend(self.together(names, script, &arguments).await);
        }
        answers
    }

    async fn together(
        &self,
        names: &[Name],
        script: Script,
        arguments: impl Fn(&Server) -> Vec<Vec<u8>>,
    ) -> Vec<Result<String, Fault>> {
        let mut patience = self.redis.0.patience();
        loop {
            let calls = names.iter().zip(self.calls(names).await);
            let answers = join_all(calls.map(|(name, call)| async {
                self.run::<String>(self.made(call).await?, name, script, &arguments).await
            }));
            let answers = answers.await;
            // All of these scripts can be sent twice.
            if patience == 0 || !answers.contains(&Err(Fault::Lost)) {
                return answers;
            }
            patience -= 1;
        }
    }

    async fn end_hold<K: CacheKey + Sync>(&self, keys: &[K], hold: Hold) -> Result<(), Fault> {
        let answers =
            self.for_each(keys, Script::Release, |server| vec![self.mine(hold, server), self.hold_off()]);
        for answer in answers.await? {
            if answer == "lost" {
                self.emit(&Event::HoldLost { tier: NAME });
            }
        }
        self.note(keys);
        Ok(())
    }

    /// A hold's token in the server's present life.
    fn mine(&self, hold: Hold, server: &Server) -> Vec<u8> {
        token::placed(hold.number(), server.incarnation).to_be_bytes().to_vec()
    }

    fn hold_off(&self) -> Vec<u8> {
        millis(self.replica_lag).to_string().into_bytes()
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
        if let Some(complaint) = self.copies.packing.complaint() {
            return Err(Error::new(ErrorKind::Settings, complaint));
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
        self.agree(host);
        Ok(())
    }

    fn mark(&self, key: &K) -> Mark {
        self.mark_of(&self.name(key))
    }

    async fn word_of_end(&self, key: &K) -> Option<BoxFuture<'static, ()>> {
        Self::word_of_end(self, &self.name(key)).await
    }

    async fn revalidate_many(&self, copies: &[(K, Mark)]) -> Result<Vec<Option<Mark>>> {
        let copies: Vec<(Name, Mark)> = copies.iter().map(|(key, mark)| (self.name(key), *mark)).collect();
        let mut marks = Vec::with_capacity(copies.len());
        for copies in copies.chunks(TOGETHER) {
            let _turn = self.redis.0.turn(copies.len()).await;
            let asked = copies.iter().map(|(name, mark)| self.revalidate(name, *mark));
            marks.extend(join_all(asked).await.into_iter().collect::<Result<Vec<_>, Fault>>()?);
        }
        Ok(marks)
    }

    fn readings(&self, keys: &[K]) -> Vec<Reading> {
        self.readings_of(self.buckets(keys))
    }

    async fn moment_of(&self, keys: &[K], readings: &[Reading]) -> Option<Timestamp> {
        self.moment_at(self.buckets(keys), readings).await
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
            copies.extend(self.read_many(names).await?);
        }
        Ok(copies)
    }

    async fn acquire(&self, key: &K, purpose: Purpose) -> Result<Acquired<V>> {
        let name = self.name(key);
        Ok(self.acquire_one(self.call(&name).await?, &name, purpose).await?)
    }

    async fn acquire_many(&self, keys: &[K], purpose: Purpose) -> Result<Vec<Acquired<V>>> {
        let names: Vec<Name> = keys.iter().map(|key| self.name(key)).collect();
        let mut answers = Vec::with_capacity(names.len());
        let unheard = Unheard { namespace: self, leases: Mutex::default() };
        for names in names.chunks(TOGETHER) {
            let _turn = self.redis.0.turn(names.len()).await;
            let calls = names.iter().zip(self.calls(names).await);
            let acquired = calls.map(|(name, call)| async {
                let acquired = self.acquire_one(self.made(call).await?, name, purpose).await?;
                if let Acquired::Granted(lease, _) = &acquired {
                    unheard.leases.lock().push((name, *lease));
                }
                Ok(acquired)
            });
            answers.extend(join_all(acquired).await);
        }
        unheard.leases.lock().clear();
        // One whose server does not answer is loaded, and kept nowhere.
        let acquired = self.whatever_came(answers)?.into_iter();
        Ok(acquired.map(|acquired| acquired.unwrap_or(Acquired::Held)).collect())
    }

    async fn fill(&self, key: &K, lease: Lease, entry: &Entry<V>) -> Result<Filled> {
        let name = self.name(key);
        Ok(self.fill_one(self.call(&name).await?, &name, lease, entry).await?)
    }

    async fn fill_many(&self, fills: &[(&K, Lease, &Entry<V>)]) -> Result<Vec<Filled>> {
        let mut answers = Vec::with_capacity(fills.len());
        for fills in fills.chunks(TOGETHER) {
            let _turn = self.redis.0.turn(fills.len()).await;
            let names: Vec<Name> = fills.iter().map(|(key, ..)| self.name(*key)).collect();
            let calls = names.iter().zip(fills).zip(self.calls(&names).await);
            let filled = calls.map(|((name, (_, lease, entry)), call)| async {
                self.fill_one(self.made(call).await?, name, *lease, entry).await
            });
            answers.extend(join_all(filled).await);
        }
        let filled = self.whatever_came(answers)?;
        // Their leases may be in force, and others would wait for them.
        let lost = filled.iter().zip(fills).filter(|(filled, _)| filled.is_none());
        self.give_all_back(lost.map(|(_, (key, lease, _))| (self.name(*key), *lease)).collect());
        Ok(filled.into_iter().map(|filled| filled.unwrap_or(Filled::Refused)).collect())
    }

    async fn renew(&self, key: &K, lease: Lease) -> Result<()> {
        let name = self.name(key);
        let (number, time) = (lease.number().to_be_bytes().to_vec(), millis(self.lease).max(1).to_string());
        let arguments = |_: &Server| vec![number.clone(), time.clone().into_bytes()];
        self.run::<String>(self.call(&name).await?, &name, Script::Renew, arguments).await?;
        Ok(())
    }

    async fn abandon(&self, key: &K, lease: Lease, back_off: Duration) -> Result<()> {
        let name = self.name(key);
        let (number, time) = (lease.number().to_be_bytes().to_vec(), millis(back_off).to_string());
        let arguments = |_: &Server| vec![number.clone(), time.clone().into_bytes()];
        self.run::<String>(self.call(&name).await?, &name, Script::Abandon, arguments).await?;
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

    async fn invalidate_each(&self, keys: &[K]) -> Vec<Result<()>> {
        let answers = self.each(keys, Script::Invalidate, |_| vec![self.hold_off()]).await;
        let dropped = keys.iter().zip(&answers).filter(|(_, answer)| answer.is_ok());
        self.note(&dropped.map(|(key, _)| key).collect::<Vec<_>>());
        answers.into_iter().map(|answer| Ok(answer.map(|_done| ())?)).collect()
    }

    async fn hold_many(&self, keys: &[K], hold: Hold, lifetime: Duration) -> Result<()> {
        let life = millis(lifetime).max(1).to_string().into_bytes();
        let arguments = |server: &Server| vec![self.mine(hold, server), life.clone()];
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
        let mut call = self.call(&name).await?;
        let word = self.word(&name);
        let answer: String = loop {
            let number = token::placed(hold.number(), call.server().incarnation);
            let stamp = self.moment(call.server()).stamp(number, entry);
            let Some(body) = self.written(&name, &stamp, entry) else {
                self.end_hold(slice::from_ref(key), hold).await?;
                return Ok(Filled::Unfit);
            };
            let [as_of, fresh, total] = stamp.arguments();
            let hold_off = self.hold_off();
            let arguments: &[&[u8]] = &[
                &number.to_be_bytes(),
                as_of.as_bytes(),
                fresh.as_bytes(),
                total.as_bytes(),
                &hold_off,
                &body,
            ];
            match call.run_and_tell(Script::Publish, name.redis.as_bytes(), arguments, word.as_ref()).await {
                Err(Fault::Elsewhere(to)) => call = self.follow(&call, &name, &to).await?,
                answer => break answer?,
            }
        };
        if answer == "lost" {
            self.emit(&Event::HoldLost { tier: NAME });
        }
        if answer == "stored" {
            // What this process keeps of it was marked before.
            self.remember(&name);
            return Ok(Filled::Stored);
        }
        self.note(slice::from_ref(key));
        Ok(Filled::Refused)
    }

    async fn clear(&self) -> Result<()> {
        self.drop_and_tell(&keys::pattern(&self.name)).await
    }

    async fn clear_where(&self, scope: &Scope<K>) -> Result<()> {
        let pattern = match scope.written() {
            Some(tenant) => keys::pattern_of_tenant(&self.name, &tenant),
            None => keys::pattern(&self.name),
        };
        self.drop_and_tell(&pattern).await
    }
}

impl<V, C> fmt::Debug for Namespace<V, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Namespace")
            .field("name", &self.name)
            .field("schema", &self.copies.schema)
            .finish_non_exhaustive()
    }
}

/// The clock of a tier that no cache has been built on.
fn own_clock() -> &'static SystemClock {
    static CLOCK: OnceLock<SystemClock> = OnceLock::new();
    CLOCK.get_or_init(SystemClock::new)
}
