//! Building a cache: where the truth is, where copies are, how long they live.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::LayeredCache;
use super::behind::{Behind, MakeBehind};
use crate::bounds::{Key, Value};
use crate::coherence::{Coherence, Trust};
use crate::consistency::Consistency;
use crate::engine::{Engine, Setup};
use crate::error::{Error, ErrorKind, Operation, Result};
use crate::event::{Events, Observer};
use crate::levels::{Bottom, Context, Level, Levels, Owed, Quota};
use crate::lifetime::Lifetime;
use crate::store::{Entries, EntryLoader, Loader, Store};
use crate::strategy::{
    CopiesOnly, ReadOnly, ReadStrategy, ReadThrough, RefreshAhead, WriteAround, WriteStrategy, WriteThrough,
};
use crate::tenant::OfTenant;
use crate::tier::{Host, Tier};
use crate::time::{Clock, SystemClock};

/// How long a load may take before its flight is given up.
const LOAD_DEADLINE: Duration = Duration::from_secs(30);
/// How long a write of the store may take before its outcome counts as unknown.
const WRITE_DEADLINE: Duration = Duration::from_secs(10);
/// How long a key is left alone after its refresh has failed.
const REFRESH_BACK_OFF: Duration = Duration::from_secs(10);
/// How many keys the store is asked for, or written, at once.
const MAX_BATCH: usize = 500;
/// For how long a tier of this process serves a copy without asking the shared tier below it.
const LOCAL_TTL: Duration = Duration::from_secs(1);
/// A shorter bound is over before an answer of the shared tier is here.
const SHORTEST_BOUND: Duration = Duration::from_millis(50);
/// By how much a life may be shortened.
const JITTER: f64 = 0.1;

/// A cache over `store`: a miss loads from the store and keeps the answer; a write saves to the store and then drops
/// the copies. It plays the part that the application plays in textbook cache-aside.
pub fn cache_aside<K: Key, V: Value>(store: impl Store<K, V>) -> Builder<K, V> {
    Builder::over_store(store, WriteAround::new())
}

/// The same as [`cache_aside`], under the name of its write strategy.
pub fn write_around<K: Key, V: Value>(store: impl Store<K, V>) -> Builder<K, V> {
    cache_aside(store)
}

/// A cache over `store`: a miss loads; a write saves to the store and then replaces the copies.
pub fn write_through<K: Key, V: Value>(store: impl Store<K, V>) -> Builder<K, V> {
    Builder::over_store(store, WriteThrough::new())
}

/// A cache over something that can only be read: a miss loads, `put` and `delete` are refused.
pub fn read_through<K: Key, V: Value>(loader: impl Loader<K, V>) -> Builder<K, V> {
    read_through_entries(Entries(Arc::new(loader)))
}

/// The same as [`read_through`], over a loader that decides the ttl of each answer.
pub fn read_through_entries<K: Key, V: Value>(loader: impl EntryLoader<K, V>) -> Builder<K, V> {
    Builder { loader: Some(Arc::new(loader)), ..Builder::new(ReadThrough::new(), ReadOnly::new()) }
}

/// A cache over nothing: `get_or_load` brings its load along, `put` only keeps copies, `delete` only drops them.
pub fn cache<K: Key, V: Value>() -> Builder<K, V> {
    Builder::new(CopiesOnly::new(), CopiesOnly::new())
}

/// Settings of a cache. Made by [`cache_aside`], [`write_through`], [`write_around`], [`read_through`] or [`cache`].
///
/// Two questions have no default and must be answered: at least one [`tier`](Self::tier), and a [`ttl`](Self::ttl).
#[must_use = "a builder does nothing until `build`"]
pub struct Builder<K, V> {
    name: Option<String>,
    tiers: Vec<LaidTier<K, V>>,
    top: Option<&'static str>,
    tier_names: Vec<(&'static str, bool)>,
    loader: Option<Arc<dyn EntryLoader<K, V>>>,
    store: Option<Arc<dyn Store<K, V>>>,
    read: Box<dyn ReadStrategy<K, V>>,
    write: Box<dyn WriteStrategy<K, V>>,
    /// Whether the read strategy is the caller's own.
    own_read: bool,
    refresh_ahead: Option<f64>,
    stale_while_revalidate: Option<Duration>,
    refresh_back_off: Duration,
    max_batch: usize,
    ttl: Option<Duration>,
    absent_ttl: Option<Duration>,
    jitter: f64,
    consistency: Consistency,
    coherence: Coherence,
    quota: Option<Quota<K>>,
    sole_writer: bool,
    load_deadline: Duration,
    write_deadline: Duration,
    clock: Option<Arc<dyn Clock>>,
    observer: Option<Arc<dyn Observer>>,
    turns: bool,
    behind: Option<MakeBehind<K, V>>,
    /// How long a write may wait for room in the journal.
    patience: Option<Duration>,
    /// Whether other processes read what waits here.
    shared_journal: bool,
}

/// A tier that waits to be laid on what will be below it. Its type is forgotten here, so that the type of a cache
/// says what it caches and not what it is made of.
type LaidTier<K, V> =
    Box<dyn FnOnce(Box<dyn Levels<K, V>>, &Ground<K>) -> Result<Box<dyn Levels<K, V>>> + Send>;

/// What all levels of a cache have in common.
struct Ground<K> {
    context: Arc<Context>,
    owed: Arc<Owed<K>>,
    coherence: Coherence,
    /// Whether there is a tier of this process.
    has_local: bool,
}

impl<K: Key, V: Value> Builder<K, V> {
    fn new(read: impl ReadStrategy<K, V>, write: impl WriteStrategy<K, V>) -> Self {
        Self {
            name: None,
            tiers: Vec::new(),
            top: None,
            tier_names: Vec::new(),
            loader: None,
            store: None,
            read: Box::new(read),
            write: Box::new(write),
            own_read: false,
            refresh_ahead: None,
            stale_while_revalidate: None,
            refresh_back_off: REFRESH_BACK_OFF,
            max_batch: MAX_BATCH,
            ttl: None,
            absent_ttl: None,
            jitter: JITTER,
            consistency: Consistency::default(),
            coherence: Coherence::TtlOnly(LOCAL_TTL),
            quota: None,
            sole_writer: false,
            load_deadline: LOAD_DEADLINE,
            write_deadline: WRITE_DEADLINE,
            clock: None,
            observer: None,
            turns: true,
            behind: None,
            patience: None,
            shared_journal: false,
        }
    }

    fn over_store(store: impl Store<K, V>, write: impl WriteStrategy<K, V>) -> Self {
        let store = Arc::new(store);
        Self {
            loader: Some(Arc::new(Entries(Arc::clone(&store)))),
            store: Some(store),
            ..Self::new(ReadThrough::new(), write)
        }
    }

    pub(super) fn over_write_behind(
        make: MakeBehind<K, V>,
        patience: Option<Duration>,
        shared_journal: bool,
    ) -> Self {
        Self {
            behind: Some(make),
            patience,
            shared_journal,
            ..Self::new(ReadThrough::new(), WriteThrough::new())
        }
    }

    /// What errors, statistics and [`Caches`](super::Caches) call it. Default: `cache`.
    pub fn name(self, name: impl Into<String>) -> Self {
        Self { name: Some(name.into()), ..self }
    }

    /// A place to keep copies. Call it once for each, the fastest first. There is no default.
    pub fn tier(mut self, tier: impl Tier<K, V>) -> Self {
        self.top.get_or_insert(tier.name());
        self.tier_names.push((tier.name(), tier.is_shared()));
        self.tiers.push(Box::new(|below, ground| {
            let Context { clock, events, consistency, trust, .. } = &*ground.context;
            let host = Host::new(Arc::clone(clock), events, *consistency);
            tier.attach(&host.agreeing(ground.coherence, trust.as_ref(), ground.has_local))?;
            let (context, owed) = (Arc::clone(&ground.context), Arc::clone(&ground.owed));
            Ok(Box::new(Level::new(tier, below, context, owed)))
        }));
        self
    }

    /// How long a value is served after the store was asked for it. There is no default. Zero keeps nothing: every
    /// read loads, readers of the same moment together. [`Duration::MAX`] is for ever.
    pub fn ttl(self, ttl: Duration) -> Self {
        Self { ttl: Some(ttl), ..self }
    }

    /// How long it is remembered that the store has no value for a key. Default: not at all.
    pub fn absent_ttl(self, ttl: Duration) -> Self {
        Self { absent_ttl: Some(ttl), ..self }
    }

    /// By which part of itself each life is shortened at random, at the most, so that what was filled together does
    /// not expire together. From 0 to 1; default: 0.1.
    pub fn jitter(self, part: f64) -> Self {
        Self { jitter: part, ..self }
    }

    /// Renews a copy behind its readers' backs once this part of its ttl is over: 0.8 leaves the last fifth for it.
    /// Readers of a hot key then never wait. Above 0 and below 1; default: not before it is stale. Needs a loader.
    pub fn refresh_ahead(self, part: f64) -> Self {
        Self { refresh_ahead: Some(part), ..self }
    }

    /// For how long after its ttl a value may still be served while it is renewed (RFC 5861). What was invalidated is
    /// never served so, and neither is an absence. Default: not at all.
    ///
    /// With a loader, the first read of a stale copy is answered by it and begins a refresh. Without one the load is
    /// the caller's: of those who `get_or_load`, one loads and the others are answered by the copy.
    pub fn stale_while_revalidate(self, window: Duration) -> Self {
        Self { stale_while_revalidate: Some(window), ..self }
    }

    /// What a read may see while writes are under way. Default: [`Consistency::NoStaleSet`].
    pub fn consistency(self, consistency: Consistency) -> Self {
        Self { consistency, ..self }
    }

    /// For how long a tier of this process serves a copy without asking the shared tier below it: so much later than in
    /// the shared tier a write of another process may be seen here. It also bounds what is kept while the shared tier
    /// does not answer. Never longer than the copy's own life. Without a shared tier it means nothing. Default: 1
    /// second.
    pub fn local_ttl(self, ttl: Duration) -> Self {
        self.coherence(Coherence::TtlOnly(ttl))
    }

    /// How tiers of this process learn what other processes drop from the shared tier below them, and how far behind it
    /// they are at the most. While that is not certain they ask it, or, within
    /// [`stale_while_revalidate`](Self::stale_while_revalidate) and if it does not answer, serve copies as stale ones. What
    /// no message reaches, since the shared tier did not keep it, is served for the bound. Without a shared tier it means nothing.
    /// Default: [`Coherence::TtlOnly`] of 1 second.
    pub fn coherence(self, coherence: Coherence) -> Self {
        Self { coherence, ..self }
    }

    /// How many copies one tenant has at the most. What is above goes to its readers only, and counts as
    /// [`over_quota`](crate::Stats::over_quota). For caches whose keys are [`TenantKey`](crate::TenantKey)s. Default: as
    /// many as there is room for.
    ///
    /// Counted are the keys of which a load or a write of this process has had a copy kept, each until the copy's life
    /// ends or it is dropped; one that a tier has evicted counts until then. Each process counts for itself: in a
    /// shared tier a tenant has so many copies from each of them at the most. What other processes have kept there, and
    /// a tier of this one takes over, is not counted, and leaves after the [`local_ttl`](Self::local_ttl), or with
    /// [`coherence`](Self::coherence) at its own end. It takes some 40 bytes for each copy.
    pub fn tenant_quota(self, copies: usize) -> Self
    where
        K: OfTenant,
    {
        Self { quota: Some(Quota::of(copies)), ..self }
    }

    /// Promises that no other process writes what this cache keeps. With a shared tier,
    /// [`update`](LayeredCache::update) asks for it: it is atomic within this process only.
    pub fn sole_writer(self) -> Self {
        Self { sole_writer: true, ..self }
    }

    /// How long a key is left alone after its refresh has failed; a random part, up to half, is taken off. Default: 10
    /// seconds.
    pub fn refresh_back_off(self, pause: Duration) -> Self {
        Self { refresh_back_off: pause, ..self }
    }

    /// How many keys the store is asked for, or written, at once. Default: 500.
    pub fn max_batch(self, keys: usize) -> Self {
        Self { max_batch: keys, ..self }
    }

    /// How long a load may take. After that its callers get [`ErrorKind::Timeout`], the next caller begins another,
    /// and a late answer is not kept. Default: 30 seconds.
    pub fn load_deadline(self, deadline: Duration) -> Self {
        Self { load_deadline: deadline, ..self }
    }

    /// How long a write of the store may take, and how long a writer waits for another one of the same key. After
    /// that nobody knows whether the store has it: the copies are dropped, and once more when the same time has
    /// passed again. Default: 10 seconds.
    pub fn write_deadline(self, deadline: Duration) -> Self {
        Self { write_deadline: deadline, ..self }
    }

    /// Loads with `loader` instead of the store's own load: for loaders that decide the ttl of each answer. Not for a
    /// [`write_behind`](crate::write_behind) cache, whose pending writes it would not see.
    pub fn entry_loader(self, loader: impl EntryLoader<K, V>) -> Self {
        Self { loader: Some(Arc::new(loader)), ..self }
    }

    /// A read strategy of your own.
    pub fn read(self, strategy: impl ReadStrategy<K, V>) -> Self {
        Self { read: Box::new(strategy), own_read: true, ..self }
    }

    /// A write strategy of your own.
    pub fn write(self, strategy: impl WriteStrategy<K, V>) -> Self {
        Self { write: Box::new(strategy), ..self }
    }

    /// Who is told what happens. Default: nobody; [`stats`](LayeredCache::stats) counts in any case.
    pub fn observer(self, observer: impl Observer) -> Self {
        Self { observer: Some(Arc::new(observer)), ..self }
    }

    /// The clock that decides what is fresh. Default: the machine's monotonic one, [`SystemClock`].
    pub fn clock(self, clock: impl Clock) -> Self {
        Self { clock: Some(Arc::new(clock)), ..self }
    }

    /// Lets writers of one key overtake each other, so that tests can show what turns are for.
    #[cfg(feature = "testing")]
    #[doc(hidden)]
    pub fn without_turns(self) -> Self {
        Self { turns: false, ..self }
    }

    /// Builds the cache.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Settings`], naming everything that is missing and every pair of settings that disagree.
    pub fn build(mut self) -> Result<LayeredCache<K, V>> {
        let name: Arc<str> = self.name.as_deref().unwrap_or("cache").into();
        let ttl = self.check().map_err(|error| error.at(&name, Operation::Build))?;
        let behind = self.open_behind().map_err(|error| error.at(&name, Operation::Build))?;
        let (behind, backing) = behind.unzip();
        let renews = self.refresh_ahead.is_some() || self.stale_while_revalidate.is_some();
        let read: Box<dyn ReadStrategy<K, V>> = match renews && self.loader.is_some() && !self.own_read {
            true => Box::new(RefreshAhead::after(self.refresh_ahead.unwrap_or(1.0))),
            false => self.read,
        };
        let shared = self.tier_names.iter().any(|(_, shared)| *shared);
        let context = Arc::new(Context {
            clock: self.clock.unwrap_or_else(|| Arc::new(SystemClock::new())),
            lifetime: Lifetime {
                ttl,
                absent_ttl: self.absent_ttl,
                stale: self.stale_while_revalidate.unwrap_or_default(),
                jitter: self.jitter,
            },
            batch: self.max_batch,
            consistency: self.consistency,
            shared,
            local_ttl: self.coherence.bound(),
            trust: (shared && self.coherence.marks()).then(|| Arc::new(Trust::default())),
            events: Arc::new(Events::new(Arc::clone(&name), self.observer)),
        });
        let bottom: Box<dyn Levels<K, V>> =
            Box::new(Bottom { context: Arc::clone(&context), quota: self.quota });
        let ground = Ground {
            context: Arc::clone(&context),
            owed: Arc::new(Owed::new()),
            coherence: self.coherence,
            has_local: self.tier_names.iter().any(|(_, shared)| !shared),
        };
        let levels = self.tiers.into_iter().rev().try_fold(bottom, |below, lay| lay(below, &ground));
        let levels = levels.map_err(|error| error.at(&name, Operation::Build))?;
        if let Some(trust) = &context.trust
            && !trust.is_adopted()
        {
            let error = Error::new(
                ErrorKind::Settings,
                format!(
                    "`coherence({:?})` and the shared tier disagree: it does not tell what others drop; settle for \
                     `Coherence::TtlOnly`",
                    self.coherence
                ),
            );
            return Err(error.at(&name, Operation::Build));
        }
        let engine = Engine::new(Setup {
            name,
            levels,
            owed: ground.owed,
            updates: !shared || self.sole_writer,
            top: self.top.unwrap_or_default(),
            loader: self.loader,
            store: self.store,
            context,
            load_deadline: self.load_deadline,
            write_deadline: self.write_deadline,
            refresh_back_off: self.refresh_back_off,
            turns: self.turns,
            backing,
        });
        Ok(LayeredCache::new(engine, read, self.write, behind))
    }

    /// Opens the journal of a write-behind cache, and reads and writes through it.
    fn open_behind(&mut self) -> Result<Option<Behind<K, V>>> {
        let Some(make) = self.behind.take() else { return Ok(None) };
        let (store, behind, backing) = make()?;
        self.loader = Some(Arc::new(Entries(Arc::clone(&store))));
        self.store = Some(store);
        Ok(Some((behind, backing)))
    }

    /// The ttl, if nothing is wrong.
    fn check(&self) -> Result<Duration> {
        let mut wrong = Vec::new();
        if self.tiers.is_empty() {
            wrong.push("there is no tier: add `.tier(Memory::with_capacity(10_000))`".to_owned());
        }
        if self.ttl.is_none() {
            wrong.push(
                "there is no ttl: add `.ttl(Duration::from_secs(60))`, or how old a value may be".to_owned(),
            );
        }
        if !(0.0..=1.0).contains(&self.jitter) {
            wrong.push(format!("`jitter({})` is not a part: give a number from 0 to 1", self.jitter));
        }
        if let Some(part) = self.refresh_ahead {
            if !(part > 0.0 && part < 1.0) {
                wrong.push(format!(
                    "`refresh_ahead({part})` is not a part: give a number above 0 and below 1"
                ));
            }
            if self.loader.is_none() && self.behind.is_none() {
                wrong.push(
                    "`refresh_ahead` needs something to load with, and `cache()` has no loader".to_owned(),
                );
            }
            if self.own_read {
                wrong.push(
                    "`refresh_ahead` and `read` both choose the read strategy: give one of them".to_owned(),
                );
            }
        }
        if self.coherence.listens() && self.coherence.bound() < SHORTEST_BOUND {
            wrong.push(format!(
                "`coherence({:?})` could hardly ever be kept: give a bound of {SHORTEST_BOUND:?} or more, or \
                 `Coherence::Validated`",
                self.coherence
            ));
        }
        if self.max_batch == 0 {
            wrong.push("`max_batch` is zero: nothing could ever be asked for".to_owned());
        }
        if self.quota.as_ref().is_some_and(Quota::is_zero) {
            wrong.push("`tenant_quota` is zero: nothing could ever be kept".to_owned());
        }
        let names = |shared: bool| {
            let names = self.tier_names.iter().filter(move |(_, is_shared)| *is_shared == shared);
            names.map(|(name, _)| *name).collect::<Vec<_>>()
        };
        if let [first, second, ..] = names(true)[..] {
            wrong.push(format!("`tier({first})` and `tier({second})` are both shared: only one tier can be"));
        }
        if let (Consistency::Linearizable, [shared, ..], [local, ..]) =
            (self.consistency, &names(true)[..], &names(false)[..])
        {
            wrong.push(format!(
                "`consistency(Linearizable)` and `tier({local})` beside the shared `tier({shared})` disagree: copies in \
                 this process cannot know of another's write; leave `{local}` out, or settle for `NoStaleSet`"
            ));
        }
        let is_known_here_only = self.behind.is_some() && !self.shared_journal && !self.sole_writer;
        if let (true, [shared, ..]) = (is_known_here_only, &names(true)[..]) {
            wrong.push(format!(
                "`write_behind` and `tier({shared})` disagree: what waits here, other processes know nothing of, and would \
                 write over it; take a journal that they share, such as `RedisStream`, add `sole_writer()` if no other \
                 process writes these keys, or leave `{shared}` out"
            ));
        }
        if self.behind.is_some() && self.loader.is_some() {
            wrong.push(
                "`write_behind` and `entry_loader` disagree: the loader does not see what waits, and would answer with \
                 what the store had before; leave it out"
                    .to_owned(),
            );
        }
        if let Some(patience) = self.patience.filter(|patience| *patience >= self.write_deadline) {
            wrong.push(format!(
                "`at_limit(Block({patience:?}))` and `write_deadline({:?})` disagree: a write that waits for room would be \
                 given up first, and nobody would know what became of it",
                self.write_deadline
            ));
        }
        for (setting, deadline) in
            [("load_deadline", self.load_deadline), ("write_deadline", self.write_deadline)]
        {
            if deadline.is_zero() {
                wrong.push(format!("`{setting}` is zero: nothing could ever finish"));
            }
        }
        match (self.ttl, wrong.is_empty()) {
            (Some(ttl), true) => Ok(ttl),
            _ => Err(Error::new(ErrorKind::Settings, wrong.join("; "))),
        }
    }
}

impl<K, V> fmt::Debug for Builder<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("name", &self.name)
            .field("tiers", &self.tiers.len())
            .field("ttl", &self.ttl)
            .finish_non_exhaustive()
    }
}
