//! What a journal asks of a server: the scripts of `stream.rs` on the shards of one stream, and whether the server
//! keeps what it is given.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use parking_lot::Mutex;
use redis::{FromRedisValue, Value as Answer};
use tokio::time::Instant;

use super::Redis;
use super::assured::{Assured, Wish};
use super::fault::Fault;
use super::keys::{self, BUCKETS, Bucket, Name};
use super::nodes::{Call, Nodes};
use super::scripts::Name as Script;
use crate::change::Seq;
use crate::codec::CacheKey;
use crate::error::{Error, ErrorKind, Outcome, Result};
use crate::stream::{Appended, Collect, Collected, Given, Limits, Met, Number, Standing};
use crate::time;

/// After so long a cluster is asked again where the keys of a shard are.
const A_MOMENT: Duration = Duration::from_millis(5);
/// A server that syncs about once a second may take two until it has a write, and is then not late.
const TWO_SYNCS: Duration = Duration::from_millis(2_500);

/// What the server must do before a write is answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Durability {
    /// It has synced the write to its disk: `appendonly yes` with `appendfsync always`, or, from Redis 7.2 on, `WAITAOF`.
    /// Nothing that was answered is lost when the server is killed or loses its power. The default.
    #[default]
    Always,
    /// It syncs to its disk about once a second: `appendonly yes` with `appendfsync everysec`. **When the server is killed,
    /// writes of up to the last two seconds are lost that have been answered.**
    EverySecond,
    /// It has the write in its memory. Whatever ends the server takes all that waits with it.
    Memory,
}

/// One stream in a Redis.
pub(crate) struct StreamServer {
    redis: Redis,
    name: Arc<str>,
    deadline: Duration,
    durability: Durability,
    replicas: u8,
    /// The lives of servers that were found to be fit, and what they have to be asked for.
    fit: Mutex<HashMap<u32, Wish>>,
    /// The connections of shards on which is waited, made when they are needed.
    assured: Mutex<HashMap<u16, Arc<Assured>>>,
}

/// Where the writes of a key are: its shard, and what the key is called there.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Place {
    pub(crate) shard: u16,
    pub(crate) key: String,
}

impl Place {
    /// Of so many shards. A key longer than a kibibyte is called by a hash.
    pub(crate) fn of<K: CacheKey + ?Sized>(key: &K, shards: u16) -> Self {
        let name = Name::of("", key);
        Self { shard: u16::from(name.bucket) % shards.max(1), key: name.bare().to_owned() }
    }
}

/// Records with their numbers.
pub(crate) type Numbered = Vec<(Seq, Vec<u8>)>;

/// What is appended, but for what the server knows.
pub(crate) struct Write<'a> {
    pub(crate) seen: Seq,
    pub(crate) replaces: bool,
    pub(crate) place: &'a Place,
    pub(crate) record: &'a [u8],
    pub(crate) limits: Limits,
}

impl StreamServer {
    /// The most shards that a stream can have.
    pub(crate) const MOST_SHARDS: u16 = BUCKETS as u16;

    pub(crate) fn new(redis: Redis, name: &str) -> Self {
        Self {
            redis,
            name: name.into(),
            deadline: Duration::from_secs(1),
            durability: Durability::default(),
            replicas: 0,
            fit: Mutex::default(),
            assured: Mutex::default(),
        }
    }

    pub(crate) fn with_deadline(self, deadline: Duration) -> Self {
        Self { deadline, ..self }
    }

    pub(crate) fn with_durability(self, durability: Durability) -> Self {
        Self { durability, ..self }
    }

    pub(crate) fn with_replicas(self, replicas: u8) -> Self {
        Self { replicas, ..self }
    }

    /// What is wrong with its settings.
    pub(crate) fn complaint(&self) -> Option<&'static str> {
        if !keys::is_namespace(&self.name) {
            return Some("the name of a stream is 1 to 64 of the characters `a-z A-Z 0-9 _ - .`");
        }
        self.deadline.is_zero().then_some("`deadline` is zero: nothing could ever be appended")
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// What it is known by in the store. The same in every process, with no server being asked.
    pub(crate) fn id(&self) -> [u8; 16] {
        keys::fnv_1a(format!("larder stream {}", self.name).as_bytes()).to_be_bytes()
    }

    /// Whether the server of every shard keeps what it is given.
    pub(crate) async fn check(&self, shards: u16) -> Result<()> {
        for shard in 0..shards {
            let call = self.call(shard).await.map_err(not_done)?;
            self.is_fit(call).await?;
        }
        Ok(())
    }

    /// Appends a write; with the life of the server that has it.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Journal`], with what is known of the outcome.
    pub(crate) async fn append(&self, write: Write<'_>) -> Result<(Appended, u32)> {
        let until = time::from_now(self.deadline);
        let call = self.call(write.place.shard).await.map_err(not_done)?;
        let (call, wish) = self.is_fit(call).await?;
        if !wish.is_none() {
            return self.append_assured(&write, until).await;
        }
        let (call, appended) = self.append_on(&self.redis.0, call, &write).await?;
        Ok((appended, call.server().life))
    }

    /// Appends a write on the connection of its shard, and waits there.
    async fn append_assured(&self, write: &Write<'_>, until: Instant) -> Result<(Appended, u32)> {
        let shard = write.place.shard;
        let assured = self.assured(shard);
        let turn = assured.turn(until).await.map_err(not_done)?;
        let left = until.saturating_duration_since(Instant::now());
        let call = assured.nodes().call_within(bucket(shard), left).await.map_err(not_done)?;
        let (call, wish) = self.is_fit(call).await?;
        let (mut call, appended) = self.append_on(assured.nodes(), call, write).await?;
        let (number, life) = (assured.appended(turn), call.server().life);
        if wish.is_none() || appended == Appended::Full {
            return Ok((appended, life));
        }
        // The write is there, whatever is said of the wait.
        match assured.wait(&mut call, number, wish).await.map_err(|fault| failed(fault, Outcome::Unknown))? {
            true => Ok((appended, life)),
            false => Err(Error::new(
                ErrorKind::Journal,
                "Redis has the write, and did not get it to as many disks or replicas as it should within the deadline",
            )
            .with_outcome(Outcome::Unknown)),
        }
    }

    async fn append_on(&self, nodes: &Nodes, call: Call, write: &Write<'_>) -> Result<(Call, Appended)> {
        let arguments = |life: u32| {
            let Limits { writes, bytes, age } = write.limits;
            let replaces = if write.replaces { "1" } else { "0" };
            vec![
                life.to_string().into_bytes(),
                write.seen.to_string().into_bytes(),
                replaces.into(),
                write.place.key.clone().into_bytes(),
                write.record.to_vec(),
                writes.to_string().into_bytes(),
                bytes.to_string().into_bytes(),
                age.to_string().into_bytes(),
            ]
        };
        let shard = write.place.shard;
        let keys = self.keys(shard, Some(write.place));
        let (call, answer) =
            run(nodes, call, shard, Script::Append, &keys, arguments).await.map_err(perhaps_done)?;
        let appended = read_appended(&answer).ok_or(Fault::Odd).map_err(perhaps_done)?;
        Ok((call, appended))
    }

    /// The connection of a shard on which is waited.
    fn assured(&self, shard: u16) -> Arc<Assured> {
        let mut assured = self.assured.lock();
        let new = || Arc::new(Assured::new(self.redis.0.beside(self.deadline)));
        Arc::clone(assured.entry(shard).or_insert_with(new))
    }

    /// In which of its lives the server of a shard is.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Journal`].
    pub(crate) async fn life(&self, shard: u16) -> Result<u32> {
        Ok(self.call(shard).await.map_err(not_done)?.server().life)
    }

    /// What `collect` asks; `None` where the server is in another life than it says.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Journal`].
    pub(crate) async fn collect(&self, shard: u16, collect: Collect) -> Result<Option<Collected>> {
        let Collect { life, epoch, offset, most, delay } = collect;
        let arguments = [u64::from(life), epoch, offset, most as u64, delay].map(|number| number.to_string());
        let arguments = arguments.each_ref().map(String::as_bytes);
        let keys = self.keys(shard, None);
        let keys: Vec<&[u8]> = keys.iter().map(String::as_bytes).collect();
        let mut call = self.call(shard).await.map_err(not_done)?;
        let answer = loop {
            if call.server().life != life {
                return Ok(None);
            }
            match call.run_on(Script::Collect, &keys, &arguments).await {
                Err(Fault::Elsewhere(to)) => {
                    let bucket = Some(bucket(shard));
                    call = self.redis.0.follow(&call, bucket, &to).await.map_err(not_done)?;
                }
                answer => break answer.map_err(perhaps_done)?,
            }
        };
        read_collected(answer).ok_or(Fault::Odd).map_err(perhaps_done).map(Some)
    }

    /// How a shard stands, and whether it has kept the write of a `number`.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Journal`].
    pub(crate) async fn look(&self, shard: u16, want: Seq, number: Number) -> Result<Standing> {
        let call = self.call(shard).await.map_err(not_done)?;
        // As far as a number of Lua is exact.
        let numbers = [want.min(1 << 53), u64::from(number.life), number.seq];
        let arguments = |_| numbers.map(|number| number.to_string().into_bytes()).into();
        let keys = self.keys(shard, None);
        let (_, answer) =
            self.run(call, shard, Script::Look, &keys, arguments).await.map_err(perhaps_done)?;
        let (last, floor, writes, bytes, age, is_kept) =
            redis::from_redis_value(answer).map_err(|_| perhaps_done(Fault::Odd))?;
        Ok(Standing { last, floor, writes, bytes, age, is_kept })
    }

    /// What waits for each of `places`: numbers and records, in their order. `None` where the server may know less than the
    /// store, until an owner has met it.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Journal`], for those that it could not be found out of.
    pub(crate) async fn pending(&self, places: &[Place]) -> Vec<Result<Option<Numbered>>> {
        join_all(places.iter().map(|place| async { self.pending_of(place).await.map_err(perhaps_done) }))
            .await
    }

    async fn pending_of(&self, place: &Place) -> Result<Option<Numbered>, Fault> {
        let arguments = |life: u32| vec![life.to_string().into_bytes(), place.key.clone().into_bytes()];
        let keys = self.keys(place.shard, Some(place));
        let mut patience = self.redis.0.patience();
        loop {
            let call = self.call(place.shard).await?;
            match self.run(call, place.shard, Script::Read, &keys, arguments).await {
                // It changes nothing, and can be asked again on another connection.
                Err(Fault::Lost) if patience > 0 => patience -= 1,
                answer => return read_waiting(&answer?.1).ok_or(Fault::Odd),
            }
        }
    }

    /// Says that process `id` is there for `lease` from now on, or not any more if that is zero: how many are, and the place
    /// of this one among them, from 1. It must know as many `shards` as the others do.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Journal`]; [`ErrorKind::Settings`] where the stream has another number of shards, and somebody uses it, or
    /// something waits in it.
    pub(crate) async fn beat(&self, id: u64, lease: Duration, shards: u16) -> Result<(usize, usize)> {
        let (all, place, known) = self.try_beat(id, lease, shards, false).await?;
        if known == shards {
            return Ok((all, place));
        }
        if all > 0 || !self.is_empty(known).await? {
            return Err(other_shards(shards, known));
        }
        match self.try_beat(id, lease, shards, true).await? {
            (all, place, known) if known == shards => Ok((all, place)),
            (.., known) => Err(other_shards(shards, known)),
        }
    }

    async fn try_beat(
        &self,
        id: u64,
        lease: Duration,
        shards: u16,
        replaces: bool,
    ) -> Result<(usize, usize, u16)> {
        let call = self.call(0).await.map_err(not_done)?;
        let lease = u64::try_from(lease.as_micros()).unwrap_or(u64::MAX).min(1 << 52);
        let arguments = |_| {
            let numbers = [lease.to_string(), shards.to_string(), u8::from(replaces).to_string()];
            std::iter::once(format!("{id:016x}")).chain(numbers).map(String::into_bytes).collect()
        };
        let names = ["members", "shards"].map(|name| format!("{}{name}", self.prefix(0)));
        let (_, answer) = self.run(call, 0, Script::Beat, &names, arguments).await.map_err(perhaps_done)?;
        redis::from_redis_value(answer).map_err(|_| perhaps_done(Fault::Odd))
    }

    async fn is_empty(&self, shards: u16) -> Result<bool> {
        for shard in 0..shards {
            if self.look(shard, 0, Number::default()).await?.writes > 0 {
                return Ok(false);
            }
        }
        Ok(true)
    }

    async fn call(&self, shard: u16) -> Result<Call, Fault> {
        self.redis.0.call_within(bucket(shard), self.deadline).await
    }

    /// Runs a script where all of `keys` are.
    async fn run(
        &self,
        call: Call,
        shard: u16,
        script: Script,
        keys: &[String],
        arguments: impl Fn(u32) -> Vec<Vec<u8>>,
    ) -> Result<(Call, Answer), Fault> {
        run(&self.redis.0, call, shard, script, keys, arguments).await
    }

    /// What a script on a shard names: whatever it is about must be where the rest is.
    fn keys(&self, shard: u16, place: Option<&Place>) -> Vec<String> {
        let prefix = self.prefix(shard);
        let mut keys = vec![format!("{prefix}meta"), format!("{prefix}log")];
        keys.extend(place.map(|place| format!("{prefix}p:{}", place.key)));
        keys
    }

    /// What all names of a shard begin with: in braces its number, so that they are in one slot.
    fn prefix(&self, shard: u16) -> String {
        format!("{}:journal:{{{}}}:", self.name, keys::bucket_name(bucket(shard)))
    }

    /// Asks a server that is new, or in a new life, how it keeps what it is given; what it has to be asked for.
    async fn is_fit(&self, mut call: Call) -> Result<(Call, Wish)> {
        let life = call.server().life;
        let known = self.fit.lock().get(&life).copied();
        if let Some(wish) = known {
            return Ok((call, wish));
        }
        let unfit = |why: String| {
            Error::new(ErrorKind::Journal, format!("this Redis cannot hold the journal: {why}"))
                .with_outcome(Outcome::NotApplied)
        };
        let keeping = Keeping::ask(&mut call).await.map_err(not_done)?;
        let must_sync = keeping.judge(self.durability, self.deadline).map_err(unfit)?;
        let wish = Wish { must_sync, replicas: self.replicas };
        if let Some(command) = wish.is_forbidden(&mut call).await.map_err(not_done)? {
            let right = command.to_lowercase();
            return Err(unfit(format!("its user may not run `{command}`: grant it (in an ACL: `+{right}`)")));
        }
        self.fit.lock().insert(life, wish);
        Ok((call, wish))
    }
}

/// The name says nothing that is secret, and the connection is nobody's business.
impl fmt::Debug for StreamServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamServer").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Runs a script where all of `keys` are. While they are on their way from one node to another, one after the other, it
/// runs nowhere, and waits for that until its deadline.
async fn run(
    nodes: &Nodes,
    mut call: Call,
    shard: u16,
    script: Script,
    keys: &[String],
    arguments: impl Fn(u32) -> Vec<Vec<u8>>,
) -> Result<(Call, Answer), Fault> {
    let keys: Vec<&[u8]> = keys.iter().map(String::as_bytes).collect();
    loop {
        let arguments = arguments(call.server().life);
        let arguments: Vec<&[u8]> = arguments.iter().map(Vec::as_slice).collect();
        match call.run_on(script, &keys, &arguments).await {
            Err(Fault::Elsewhere(to)) => {
                call = nodes.follow(&call, Some(bucket(shard)), &to).await?;
            }
            Err(Fault::Parted) if call.left() > A_MOMENT => {
                let left = call.left() - A_MOMENT;
                time::timer(time::from_now(A_MOMENT)).map_err(|_| Fault::NoRuntime)?.await;
                call = nodes.call_within(bucket(shard), left).await?;
            }
            answer => return Ok((call, answer?)),
        }
    }
}

/// A shard is in the bucket of its number.
fn bucket(shard: u16) -> Bucket {
    (shard % StreamServer::MOST_SHARDS) as Bucket
}

/// How a server keeps what it is given, as far as it says so.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Keeping {
    version: (u32, u32),
    append_only: bool,
    /// `always`, `everysec` or `no`; `None` where nobody may ask.
    fsync: Option<String>,
    pauses_on_rewrite: bool,
    eviction: String,
}

impl Keeping {
    async fn ask(call: &mut Call) -> Result<Self, Fault> {
        let mut about = String::new();
        for section in ["server", "persistence", "memory"] {
            let mut info = redis::cmd("INFO");
            info.arg(section);
            about.push_str(&call.ask::<String>(&info).await?);
            about.push('\n');
        }
        let mut keeping = Self::read(&about).ok_or(Fault::Odd)?;
        keeping.fsync = configured(call, "appendfsync").await?;
        let pauses = configured(call, "no-appendfsync-on-rewrite").await?;
        keeping.pauses_on_rewrite = pauses.is_some_and(|pauses| pauses == "yes");
        Ok(keeping)
    }

    fn read(about: &str) -> Option<Self> {
        let value = |name: &str| about.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        let mut numbers = value("redis_version")?.split('.').map_while(|number| number.trim().parse().ok());
        Some(Self {
            version: (numbers.next()?, numbers.next().unwrap_or(0)),
            append_only: value("aof_enabled").is_some_and(|is| is.trim() == "1"),
            eviction: value("maxmemory_policy").unwrap_or("noeviction").trim().to_owned(),
            ..Self::default()
        })
    }

    /// Whether it has to be told to sync; or why it will not do.
    fn judge(&self, wanted: Durability, deadline: Duration) -> Result<bool, String> {
        if self.eviction.starts_with("allkeys") {
            return Err(format!(
                "its `maxmemory-policy` is `{}`, which drops what waits when memory is short: give the journal a server of \
                 its own, with `noeviction`",
                self.eviction
            ));
        }
        if wanted != Durability::Memory && !self.append_only {
            return Err("it has no append-only file: set `appendonly yes`, or say `durability(Durability::Memory)`, which \
                        loses what waits whenever the server ends"
                .to_owned());
        }
        let can_be_told = self.version >= (7, 2);
        match (wanted, self.fsync.as_deref()) {
            (Durability::Memory, _) => Ok(false),
            (Durability::Always, Some("always")) if !self.pauses_on_rewrite => Ok(false),
            (Durability::Always | Durability::EverySecond, Some("no")) => {
                Err("its `appendfsync` is `no`: nobody says when it syncs; set it to `always`".to_owned())
            }
            (Durability::Always, _) if can_be_told && deadline < TWO_SYNCS => Err(format!(
                "it syncs about once a second, each write has to wait for that, and its `deadline` of {deadline:?} is shorter \
                 than that may take: set `appendfsync always`, or give the stream a `deadline(...)` of {TWO_SYNCS:?} or more"
            )),
            (Durability::Always, _) if can_be_told => Ok(true),
            (Durability::Always, Some("always")) => Err(
                "its `no-appendfsync-on-rewrite` is `yes`: while it rewrites its file it does not sync; set it to `no`"
                    .to_owned(),
            ),
            (Durability::Always, Some(fsync)) => Err(format!(
                "its `appendfsync` is `{fsync}`, which loses writes that have been answered: set it to `always`, or say \
                 `durability(Durability::EverySecond)`"
            )),
            (Durability::EverySecond, Some(_)) => Ok(false),
            (_, None) => Err(
                "it does not say how it syncs: let its user run `CONFIG GET` (in an ACL: `+config|get`)".to_owned(),
            ),
        }
    }
}

/// A setting of the server; `None` where nobody may ask, or it has none of that name.
async fn configured(call: &mut Call, name: &str) -> Result<Option<String>, Fault> {
    let mut question = redis::cmd("CONFIG");
    question.arg("GET").arg(name);
    match call.ask::<HashMap<String, String>>(&question).await {
        Ok(mut found) => Ok(found.remove(name)),
        Err(Fault::Refused(_) | Fault::Odd) => Ok(None),
        Err(fault) => Err(fault),
    }
}

fn other_shards(wanted: u16, known: u16) -> Error {
    let what = format!(
        "`shards({wanted})` and the stream disagree: it has {known}, and other processes use it, or something waits in it; \
         take {known}, or close all of them, have it flushed, and try again"
    );
    Error::new(ErrorKind::Settings, what).with_outcome(Outcome::NotApplied)
}

/// Of what failed before anything was asked to change.
fn not_done(fault: Fault) -> Error {
    failed(fault, Outcome::NotApplied)
}

/// Of what failed while a script was asked for: the server may have run it.
fn perhaps_done(fault: Fault) -> Error {
    let outcome = match &fault {
        Fault::Late | Fault::Lost | Fault::Odd => Outcome::Unknown,
        // Said before a script has written anything; of any other error nobody knows how far it had come. Rights are looked
        // at for each command that it runs.
        Fault::Refused(code) if !["OOM", "MISCONF", "NOREPLICAS", "READONLY"].contains(&code.as_str()) => {
            Outcome::Unknown
        }
        _ => Outcome::NotApplied,
    };
    failed(fault, outcome)
}

fn failed(fault: Fault, outcome: Outcome) -> Error {
    let is_passing = !matches!(fault, Fault::Unfit(_) | Fault::NoRuntime);
    let failed = Error::new(ErrorKind::Journal, "the journal in Redis failed").with_source(fault);
    let failed = failed.with_outcome(outcome);
    if is_passing { failed.that_passes() } else { failed }
}

fn read_appended(answer: &Answer) -> Option<Appended> {
    let Answer::Array(parts) = answer else { return None };
    match (word(parts.first()?)?, &parts[1..]) {
        ("at", [seq, boundary, writes]) => {
            Some(Appended::At { seq: number(seq)?, boundary: number(boundary)?, writes: number(writes)? })
        }
        ("full", []) => Some(Appended::Full),
        _ => None,
    }
}

fn read_collected(answer: Answer) -> Option<Collected> {
    let Answer::Array(parts) = answer else { return None };
    match (word(parts.first()?)?, &parts[1..]) {
        ("superseded", []) => Some(Collected::Superseded),
        ("behind", [floor]) => Some(Collected::Behind(number(floor)?)),
        ("nothing", [met]) => Some(Collected::Nothing(read_met(met)?)),
        ("later", [met, wait]) => Some(Collected::Later(read_met(met)?, number(wait)?)),
        ("due", [met, Answer::Array(batch)]) => {
            let entries = batch.chunks(3).map(|entry| match entry {
                [seq, Answer::BulkString(record), doubt] => Some(Given {
                    seq: number(seq)?,
                    record: record.clone(),
                    is_doubtful: number::<u8>(doubt)? == 1,
                }),
                _ => None,
            });
            Some(Collected::Due(read_met(met)?, entries.collect::<Option<_>>()?))
        }
        _ => None,
    }
}

fn read_waiting(answer: &Answer) -> Option<Option<Numbered>> {
    let Answer::Array(parts) = answer else { return None };
    match (word(parts.first()?)?, &parts[1..]) {
        ("unmet", []) => Some(None),
        ("met", [Answer::Array(waiting)]) => {
            let numbered = waiting.chunks(2).map(|entry| match entry {
                [seq, Answer::BulkString(record)] => Some((number(seq)?, record.clone())),
                _ => None,
            });
            Some(Some(numbered.collect::<Option<_>>()?))
        }
        _ => None,
    }
}

fn read_met(answer: &Answer) -> Option<Met> {
    let Answer::Array(parts) = answer else { return None };
    let [lost, moved, boundary] = &parts[..] else { return None };
    Some(Met { lost_its_end: number::<u64>(lost)? == 1, moved: number(moved)?, boundary: number(boundary)? })
}

fn word(answer: &Answer) -> Option<&str> {
    match answer {
        Answer::BulkString(bytes) => std::str::from_utf8(bytes).ok(),
        Answer::SimpleString(text) => Some(text),
        _ => None,
    }
}

fn number<N: FromRedisValue>(answer: &Answer) -> Option<N> {
    redis::from_redis_value(answer.clone()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keeping(fsync: Option<&str>) -> Keeping {
        Keeping {
            version: (7, 0),
            append_only: true,
            fsync: fsync.map(str::to_owned),
            pauses_on_rewrite: false,
            eviction: "noeviction".to_owned(),
        }
    }

    #[test]
    fn what_a_server_says_of_itself_is_read() {
        let about = "# Server\r\nredis_version:7.0.15\r\n\n# Persistence\r\naof_enabled:1\r\n\nmaxmemory_policy:allkeys-lru\r\n";
        let read = Keeping::read(about).expect("it says its version");
        assert_eq!((read.version, read.append_only, read.eviction.as_str()), ((7, 0), true, "allkeys-lru"));
    }

    #[test]
    fn a_durability_that_the_server_does_not_have_is_refused() {
        assert_eq!(keeping(Some("always")).judge(Durability::Always, TWO_SYNCS), Ok(false));
        assert!(
            keeping(Some("everysec"))
                .judge(Durability::Always, TWO_SYNCS)
                .unwrap_err()
                .contains("appendfsync")
        );
        assert_eq!(keeping(Some("everysec")).judge(Durability::EverySecond, TWO_SYNCS), Ok(false));
        assert!(keeping(Some("no")).judge(Durability::EverySecond, TWO_SYNCS).is_err());
        assert!(keeping(None).judge(Durability::Always, TWO_SYNCS).unwrap_err().contains("CONFIG GET"));
        let no_file = Keeping { append_only: false, ..keeping(Some("always")) };
        assert!(no_file.judge(Durability::Always, TWO_SYNCS).unwrap_err().contains("appendonly"));
        assert!(no_file.judge(Durability::EverySecond, TWO_SYNCS).is_err());
        assert_eq!(no_file.judge(Durability::Memory, TWO_SYNCS), Ok(false));
        let pauses = Keeping { pauses_on_rewrite: true, ..keeping(Some("always")) };
        assert!(pauses.judge(Durability::Always, TWO_SYNCS).is_err());
        let evicts = Keeping { eviction: "allkeys-lru".to_owned(), ..keeping(Some("always")) };
        assert!(evicts.judge(Durability::Memory, TWO_SYNCS).unwrap_err().contains("noeviction"));
    }

    #[test]
    fn a_server_that_can_be_told_to_sync_is() {
        let newer = |fsync| Keeping { version: (7, 2), ..keeping(fsync) };
        assert_eq!(newer(Some("everysec")).judge(Durability::Always, TWO_SYNCS), Ok(true));
        assert_eq!(newer(None).judge(Durability::Always, TWO_SYNCS), Ok(true));
        assert_eq!(newer(Some("always")).judge(Durability::Always, TWO_SYNCS), Ok(false));
        let never = newer(Some("no")).judge(Durability::Always, TWO_SYNCS).unwrap_err();
        assert!(never.contains("`appendfsync` is `no`"), "{never}");
    }

    #[test]
    fn a_deadline_that_is_over_before_the_server_syncs_is_refused() {
        let newer = Keeping { version: (7, 2), ..keeping(Some("everysec")) };
        let hasty = newer.judge(Durability::Always, Duration::from_secs(1)).unwrap_err();
        assert!(hasty.contains("`deadline(...)`") && hasty.contains("`appendfsync always`"), "{hasty}");
        assert_eq!(newer.judge(Durability::EverySecond, Duration::from_secs(1)), Ok(false));
    }

    #[test]
    fn keys_are_spread_over_the_shards_and_stay_apart() {
        let places: Vec<_> = (0..1_000_u64).map(|key| Place::of(&key, 8)).collect();
        for shard in 0..8 {
            assert!(places.iter().filter(|place| place.shard == shard).count() > 50);
        }
        assert_eq!(Place::of(&42_u64, 8), Place { shard: 2, key: "42".to_owned() });
        assert!(Place::of("k".repeat(2_000).as_str(), 8).key.starts_with('#'));
    }
}
