//! A journal in Redis that the processes of a service share.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::form::Form;
use super::seam::{Found, Members, Opened, Opens, Stream, Waiting};
use crate::bounds::{Key, Value};
use crate::change::{Change, JournalId, Seq};
use crate::codec::{CacheKey, Codec, Json};
use crate::error::{Error, ErrorKind, Outcome, Result};
use crate::stream::{Appended, Collect, Collected, Limits, Number, Standing};
use crate::tier::redis::{Place, Redis, StreamServer, StreamWrite};

pub use crate::tier::redis::Durability;

const SHARDS: u16 = 8;
const LEASE: Duration = Duration::from_secs(5);
/// The longest lease.
const A_DAY: Duration = Duration::from_secs(24 * 3600);
/// The longest record.
const LONGEST: usize = 16 << 20;

/// Pending writes wait in a Redis or Valkey server, in streams that all processes of a service share.
///
/// Any process appends, and any reads what another has written before it is in the store. Keys are spread over
/// [`shards`](Self::shards); each has one owner among the processes, who brings its writes to the store, in their order. Who
/// that is stands in the store, with the offset, in the row of the shard: so it asks for
/// [`exactly_once`](crate::store::WriteBehindBuilder::exactly_once). When the owner goes, or dies, another takes over within the
/// [`lease`](Self::lease); processes that come and go share the shards out evenly.
///
/// ```
/// use larder::Redis;
/// use larder::journal::RedisStream;
///
/// let redis = Redis::new("redis://journal.internal")?;
/// let journal: RedisStream<u64, String> = RedisStream::new(&redis, "profiles");
/// # let _ = journal;
/// # Ok::<(), larder::Error>(())
/// ```
///
/// # The server
///
/// **A journal needs a server that keeps what it is given, and a cache one that drops what is old: give it a server of its
/// own.** With `appendonly yes`, `appendfsync always` and `maxmemory-policy noeviction` nothing that was answered is lost when
/// it is killed. What it is set to is looked at before the first write and whenever it has been restarted or replaced; a
/// [durability](Self::durability) that it does not have is refused. Its user needs `EVAL EVALSHA PING INFO TIME`,
/// `CONFIG GET`, and what scripts run: `HMGET HSET RPUSH LTRIM LREM LRANGE XADD XRANGE XDEL XTRIM XLEN ZADD ZREM ZRANGE ZREMRANGEBYSCORE ZCARD GET SET`,
/// on the keys `NAME:journal:*`; with [`replicas`](Self::replicas) also `WAIT`, from Redis 7.2 on without `appendfsync always` also `WAITAOF`, in a cluster
/// also `CLUSTER SLOTS`, `CLUSTER INFO` and `ASKING`.
///
/// In a cluster the shards are spread over its nodes. While the slot of one is moved, its writes and reads wait until all of
/// it is on one node, or fail at the deadline; none is lost.
///
/// **A server that takes over from one that failed may not have the last writes: Redis passes them on when it gets to it.**
/// That is noticed, and told as [`JournalRegressed`](crate::Event::JournalRegressed); nothing that is there is passed over.
/// [`replicas`](Self::replicas) makes it rarer.
///
/// Numbers of writes are times of the server's clock. The name is what the store knows the stream by: two servers must not
/// hold streams of one name for one store.
///
/// # What it cannot read
///
/// As [`LocalLog`](super::LocalLog): by codec and [`schema`](Self::schema), else with [`upgrade`](Self::upgrade), else put
/// aside as it is. Reading a key for which something unreadable waits is an error.
pub struct RedisStream<K, V, C = Json> {
    server: StreamServer,
    shards: u16,
    lease: Duration,
    form: Form<V, C>,
    keys: PhantomData<fn(K) -> K>,
}

impl<K, V> RedisStream<K, V> {
    /// The stream `name` in `redis`. Nothing is connected before the first write or read. Keys and values are written as
    /// JSON.
    ///
    /// The name is 1 to 64 of the characters `a-z A-Z 0-9 _ - .`; all processes that write the same things to the same store
    /// use the same one, and no others.
    #[must_use]
    pub fn new(redis: &Redis, name: &str) -> Self {
        Self {
            server: StreamServer::new(redis.clone(), name),
            shards: SHARDS,
            lease: LEASE,
            form: Form::new(Json),
            keys: PhantomData,
        }
    }
}

impl<K, V, C> RedisStream<K, V, C> {
    /// Writes values with `codec`; keys stay JSON. Default: [`Json`].
    #[must_use]
    pub fn codec<D: Codec<V>>(self, codec: D) -> RedisStream<K, V, D> {
        let Self { server, shards, lease, form, keys } = self;
        RedisStream { server, shards, lease, form: form.with_codec(codec), keys }
    }

    /// The version of the type `V`, kept beside every value. Give a new one whenever old bytes would be read wrongly, or not
    /// at all. Default: 0.
    #[must_use]
    pub fn schema(self, schema: u32) -> Self {
        Self { form: self.form.with_schema(schema), ..self }
    }

    /// Reads values of another schema, or of another codec: is given the schema and the bytes, and answers `None` for those
    /// that it does not know.
    #[must_use]
    pub fn upgrade(self, upgrade: impl Fn(u32, &[u8]) -> Option<V> + Send + Sync + 'static) -> Self {
        Self { form: self.form.with_upgrade(upgrade), ..self }
    }

    /// How many sequences of writes there are, from 1 to 64: so many processes can bring writes to the store at once. The
    /// order of writes is kept for each key, not between keys. **All processes must say the same, and as long as anything
    /// waits it must stay what it is:** another number is refused. Default: 8.
    #[must_use]
    pub fn shards(self, shards: u16) -> Self {
        Self { shards, ..self }
    }

    /// For how long an owner that says nothing any more still counts; it renews several times within it. From 10 milliseconds to a
    /// day. Default: 5 seconds.
    #[must_use]
    pub fn lease(self, lease: Duration) -> Self {
        Self { lease, ..self }
    }

    /// How long Redis may take for one write, syncing included. Default: 1 second.
    ///
    /// The [`deadline`](crate::tier::redis::RedisBuilder::deadline) of the `Redis` itself, 100 milliseconds unless set, is for
    /// signs of life, and whoever does not give one in time counts as away: a server that is slow at syncing wants a longer
    /// one there, too.
    ///
    /// From Redis 7.2 on, a server without `appendfsync always` is asked to sync each write for [`Durability::Always`]: that can take
    /// two seconds, so a deadline below two and a half is refused before anything is written.
    #[must_use]
    pub fn deadline(self, deadline: Duration) -> Self {
        Self { server: self.server.with_deadline(deadline), ..self }
    }

    /// What the server must do before a write is answered. Default: [`Durability::Always`].
    #[must_use]
    pub fn durability(self, durability: Durability) -> Self {
        Self { server: self.server.with_durability(durability), ..self }
    }

    /// How many replicas must have a write before it is answered (`WAIT`). A server that takes over may still be another one.
    /// Default: 0.
    #[must_use]
    pub fn replicas(self, replicas: u8) -> Self {
        Self { server: self.server.with_replicas(replicas), ..self }
    }

    /// Looks whether the server of every shard is there and keeps what it is given: for the start of a service. The same is
    /// looked at before the first write.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Settings`]; [`ErrorKind::Journal`], with what to set in the server.
    pub async fn check(&self) -> Result<()> {
        self.check_settings()?;
        self.server.check(self.shards).await
    }

    fn check_settings(&self) -> Result<()> {
        let wrong = |detail: String| Err(Error::new(ErrorKind::Settings, detail));
        if let Some(complaint) = self.server.complaint() {
            return wrong(complaint.to_owned());
        }
        if !(1..=StreamServer::MOST_SHARDS).contains(&self.shards) {
            return wrong(format!(
                "`shards({})`: a stream has from 1 to {}",
                self.shards,
                StreamServer::MOST_SHARDS
            ));
        }
        if self.lease < Duration::from_millis(10) {
            return wrong("`lease` is shorter than 10 milliseconds: nobody could keep a shard".to_owned());
        }
        if self.lease > A_DAY {
            return wrong(
                "`lease` is longer than a day: nobody would take over from a process that has died"
                    .to_owned(),
            );
        }
        Ok(())
    }
}

impl<K, V, C> Opens<K, V> for RedisStream<K, V, C>
where
    K: Key + CacheKey + Serialize + DeserializeOwned,
    V: Value,
    C: Codec<V>,
{
    fn is_shared(&self) -> bool {
        true
    }

    fn open(self) -> Result<Opened<K, V>> {
        self.check_settings()?;
        let Self { server, shards, lease, form, .. } = self;
        let id = JournalId::from_bytes(server.id());
        let seen = (0..shards).map(|_| Mutex::default()).collect();
        let stream = OpenStream { server, shards, lease, form, seen };
        Ok(Opened { id, shards, log: None, found: Found::nothing(), stream: Some(Arc::new(stream)) })
    }
}

/// An open stream.
struct OpenStream<V, C> {
    server: StreamServer,
    shards: u16,
    lease: Duration,
    form: Form<V, C>,
    /// What is known of each shard.
    seen: Box<[Mutex<Seen>]>,
}

/// What this process knows of a shard.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    /// The largest number, and the life of the server that has given it.
    seq: Seq,
    life: u32,
    /// How often a server has turned out not to have what this process knows of.
    regressed: u64,
}

impl<V, C> OpenStream<V, C> {
    fn seen(&self, shard: u16) -> Seq {
        self.seen.get(usize::from(shard)).map_or(0, |seen| seen.lock().seq)
    }

    /// Takes note of a number; a server that is in another life, and does not have what the one before it had, has lost it.
    fn note(&self, shard: u16, seq: Seq, (life, boundary): (u32, Seq)) {
        let Some(seen) = self.seen.get(usize::from(shard)) else { return };
        let mut seen = seen.lock();
        if seen.life != life {
            seen.regressed += u64::from(seen.seq > boundary);
            seen.life = life;
        }
        seen.seq = seen.seq.max(seq);
    }
}

#[async_trait]
impl<K, V, C> Stream<K, V> for OpenStream<V, C>
where
    K: Key + CacheKey + Serialize + DeserializeOwned,
    V: Value,
    C: Codec<V>,
{
    fn encode(&self, change: &Change<K, V>) -> Result<Vec<u8>> {
        let refused = |detail| Error::new(ErrorKind::Journal, detail).with_outcome(Outcome::NotApplied);
        let unwritten =
            |source| refused("the key or the value cannot be written to the journal").with_source(source);
        let record = self.form.write(change).map_err(unwritten)?;
        match record.len() {
            0..=LONGEST => Ok(record),
            _ => Err(refused("the write is longer than 16 MiB, which is more than a stream takes")),
        }
    }

    fn decode(&self, record: &[u8]) -> Result<Change<K, V>, String> {
        self.form.read(record)
    }

    fn shard_of(&self, key: &K) -> u16 {
        Place::of(key, self.shards).shard
    }

    fn lease(&self) -> Duration {
        self.lease
    }

    async fn append(&self, change: &Change<K, V>, record: &[u8], limits: Limits) -> Result<Option<Number>> {
        let place = Place::of(change.key(), self.shards);
        let seen = self.seen(place.shard);
        let write = StreamWrite { seen, replaces: change.replaces(), place: &place, record, limits };
        match self.server.append(write).await? {
            (Appended::At { seq, boundary, .. }, life) => {
                self.note(place.shard, seq, (life, boundary));
                Ok(Some(Number { seq, life }))
            }
            (Appended::Full, _) => Ok(None),
        }
    }

    async fn waiting(&self, keys: &[K]) -> Vec<Result<Option<Vec<Waiting<K, V>>>>> {
        let places: Vec<_> = keys.iter().map(|key| Place::of(key, self.shards)).collect();
        let answers = self.server.pending(&places).await;
        let read = |(key, answer): (&K, Result<Option<_>>)| {
            answer?.map(|records| self.read_waiting(key, records)).transpose()
        };
        keys.iter().zip(answers).map(read).collect()
    }

    async fn life(&self, shard: u16) -> Result<u32> {
        self.server.life(shard).await
    }

    async fn collect(&self, shard: u16, collect: Collect) -> Result<Option<Collected>> {
        let collected = self.server.collect(shard, collect).await?;
        if let Some(Collected::Nothing(met) | Collected::Later(met, _) | Collected::Due(met, _)) = &collected
        {
            self.note(shard, collect.offset, (collect.life, met.boundary));
        }
        Ok(collected)
    }

    async fn look(&self, shard: u16, want: Seq, number: Number) -> Result<Standing> {
        self.server.look(shard, want, number).await
    }

    async fn beat(&self, process: u64, lease: Duration) -> Result<Members> {
        let (all, place) = self.server.beat(process, lease, self.shards).await?;
        Ok(Members { all, place })
    }

    fn take_regressed(&self) -> u64 {
        self.seen.iter().map(|seen| std::mem::take(&mut seen.lock().regressed)).sum()
    }
}

impl<V, C: Codec<V>> OpenStream<V, C> {
    fn read_waiting<K: Key + DeserializeOwned>(
        &self,
        key: &K,
        records: Vec<(Seq, Vec<u8>)>,
    ) -> Result<Vec<Waiting<K, V>>> {
        let mut waiting = Vec::with_capacity(records.len());
        for (seq, record) in records {
            let change = self.form.read(&record).map_err(|why| {
                Error::new(ErrorKind::Journal, format!("what waits for the key cannot be read: {why}"))
            })?;
            // Two long keys may be called alike.
            if change.key() == key {
                waiting.push(Waiting { seq, change });
            }
        }
        Ok(waiting)
    }
}

impl<K, V, C> fmt::Debug for RedisStream<K, V, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisStream").field("name", &self.server.name()).finish_non_exhaustive()
    }
}
