//! Building write-behind: what the store promises, where writes wait, how many, and when they are written.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use super::destination::{Destination, Merges};
use super::settings::{AtLimit, Settings};
use super::{Weigh, WriteBehind};
use crate::bounds::{Key, Value};
use crate::error::{Error, ErrorKind, Result};
use crate::event::{Events, Observer};
use crate::journal::{Journal, Opened};
use crate::store::{Change, IdempotentStore, Merge, MergeStore, Merging, Store, TransactionalStore};

/// Writes to `store` later, in batches, and answers now.
///
/// The [`journal`](WriteBehindBuilder::journal) has no default: it says what survives what. The settings of write-behind
/// come first; [`tier`](WriteBehindBuilder::tier) goes on to those of a cache, and
/// [`store`](WriteBehindBuilder::store) makes a store of it, to be used by itself.
///
/// ```
/// # async fn demo() -> larder::Result<()> {
/// use larder::{Memory, journal::Volatile, store_fn};
/// use std::{io, time::Duration};
///
/// # let load = |_: u64| async { Ok::<Option<u64>, io::Error>(None) };
/// # let save = |_: u64, _: u64| async { Ok::<_, io::Error>(()) };
/// # let delete = |_: u64| async { Ok::<_, io::Error>(()) };
/// let positions = larder::write_behind(store_fn(load, save, delete))
///     .journal(Volatile::new())
///     .flush_every(Duration::from_secs(1))
///     .tier(Memory::with_capacity(10_000))
///     .ttl(Duration::from_secs(3600))
///     .build()?;
///
/// let written = positions.put(&7, 42).await?; // answered at once
/// assert_eq!(positions.get(&7).await?, Some(42));
/// written.stored().await?; // the store has it
/// # Ok(())
/// # }
/// # tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap().block_on(demo()).unwrap();
/// ```
pub fn write_behind<K: Key + Ord, V: Value, S: Store<K, V>>(store: S) -> WriteBehindBuilder<K, V, S> {
    let store = Arc::new(store);
    WriteBehindBuilder {
        destination: Destination::AtLeastOnce(Arc::clone(&store) as Arc<dyn Store<K, V>>),
        merges: None,
        store,
        promises: 0,
        open: None,
        is_shared: false,
        settings: Settings::default(),
        weigh: None,
        observer: None,
        kinds: PhantomData,
    }
}

/// Settings of write-behind over a store of type `S`. Made by [`write_behind`].
#[must_use = "a builder does nothing until `store` or `build`"]
pub struct WriteBehindBuilder<K, V, S> {
    store: Arc<S>,
    destination: Destination<K, V>,
    /// On their way into the destination.
    merges: Option<Merges<K, V>>,
    /// How often it was said what the store promises.
    promises: u8,
    open: Option<Open<K, V>>,
    /// Whether other processes write to the journal as well.
    is_shared: bool,
    settings: Settings,
    weigh: Option<Weigh<K, V>>,
    observer: Option<Arc<dyn Observer>>,
    kinds: PhantomData<fn() -> (K, V)>,
}

type Open<K, V> = Box<dyn FnOnce() -> Result<Opened<K, V>> + Send>;

impl<K: Key + Ord, V: Value, S: Store<K, V>> WriteBehindBuilder<K, V, S> {
    /// Each write has its effect exactly once: the store moves an offset in the same transaction. Default: at least once,
    /// which for puts and deletes of whole values differs by what other processes have written in between.
    pub fn exactly_once(self) -> Self
    where
        S: TransactionalStore<K, V>,
    {
        if let Destination::ExactlyOnce(..) = self.destination {
            return self;
        }
        Self {
            promises: self.promises + 1,
            destination: Destination::ExactlyOnce(
                Arc::clone(&self.store) as Arc<dyn TransactionalStore<K, V>>,
                self.merges,
            ),
            merges: None,
            ..self
        }
    }

    /// Writes may merge into what a key has, as `merge` says: [`increment`](crate::LayeredCache::increment) counts, with
    /// [`Sum`](crate::store::Sum). They are written [`exactly_once`](Self::exactly_once), which need not be said.
    ///
    /// ```
    /// # #[cfg(feature = "sqlite")]
    /// # async fn demo() -> Result<(), Box<dyn std::error::Error>> {
    /// use larder::sqlx::{Kind, SqliteStore, Table};
    /// use larder::{Memory, journal::Volatile, store::Sum};
    ///
    /// # let pool = sqlx::sqlite::SqlitePoolOptions::new().max_connections(1).connect("sqlite::memory:").await?;
    /// # sqlx::query("CREATE TABLE views (page INTEGER PRIMARY KEY, views INTEGER)").execute(&pool).await?;
    /// let views: SqliteStore<u64, u64> =
    ///     SqliteStore::new(pool, Table::new("views").key("page", Kind::Int).column("views", Kind::Int).sqlite()?);
    /// views.migrate().await?;
    /// let views = larder::write_behind(views)
    ///     .merge(Sum)
    ///     .journal(Volatile::new()) // or one that outlives the process
    ///     .tier(Memory::with_capacity(10_000))
    ///     .ttl(std::time::Duration::from_secs(60))
    ///     .build()?;
    ///
    /// assert_eq!(views.increment(&7, 1).await?.into_output(), 1);
    /// assert_eq!(views.increment(&7, 2).await?.into_output(), 3);
    /// # Ok(())
    /// # }
    /// # #[cfg(feature = "sqlite")]
    /// # tokio::runtime::Runtime::new().unwrap().block_on(demo()).unwrap();
    /// ```
    pub fn merge(self, merge: impl Merge<V>) -> Self
    where
        S: MergeStore<K, V>,
    {
        let store = Arc::clone(&self.store) as Arc<dyn MergeStore<K, V>>;
        let merges = Some(Merges { store, merging: Merging::new(merge) });
        match self.destination {
            Destination::ExactlyOnce(store, _) => {
                Self { destination: Destination::ExactlyOnce(store, merges), ..self }
            }
            _ => Self { merges, ..self }.exactly_once(),
        }
    }

    /// The store passes over writes that it has seen, by their id.
    pub fn once_by_id(self) -> Self
    where
        S: IdempotentStore<K, V>,
    {
        Self {
            promises: self.promises + 1,
            destination: Destination::OnceById(Arc::clone(&self.store) as Arc<dyn IdempotentStore<K, V>>),
            ..self
        }
    }

    /// Where writes wait. There is no default. It is opened when the cache or the store is built.
    pub fn journal(self, journal: impl Journal<K, V>) -> Self {
        Self { is_shared: journal.is_shared(), open: Some(Box::new(move || journal.open())), ..self }
    }

    /// How long the oldest write waits for others to join it. A key that is written all the time is stored as often.
    /// Default: 200 milliseconds.
    pub fn flush_every(mut self, delay: Duration) -> Self {
        self.settings.delay = delay;
        self
    }

    /// How many writes make a batch that does not wait any longer, and are written at once at the most. Default: 500.
    pub fn batch(mut self, writes: usize) -> Self {
        self.settings.batch = writes;
        self
    }

    /// How many writes may wait. Default: 100,000.
    pub fn max_pending(mut self, writes: usize) -> Self {
        self.settings.pending = writes;
        self
    }

    /// How many bytes may wait: of their records in the journal, or as [`weigh`](Self::weigh) says. Default: 64 MiB.
    pub fn max_pending_bytes(mut self, bytes: usize) -> Self {
        self.settings.pending_bytes = bytes;
        self
    }

    /// How long the oldest write may have waited before no more are accepted. Default: for ever.
    pub fn max_age(mut self, age: Duration) -> Self {
        self.settings.max_age = Some(age);
        self
    }

    /// How long the oldest write may have been due when an [`Overdue`](crate::Event::Overdue) is told: once, and once more
    /// only after all that was overdue has been written. Default: 1 minute.
    pub fn alarm_after(mut self, age: Duration) -> Self {
        self.settings.alarm_after = age;
        self
    }

    /// What happens to a write when as many wait as may. Default: it waits 5 seconds for room.
    pub fn at_limit(mut self, at_limit: AtLimit) -> Self {
        self.settings.at_limit = at_limit;
        self
    }

    /// What a write weighs that has no record in a journal, in bytes. Default: the size of its key and its value, without
    /// what they point to.
    pub fn weigh(mut self, weigh: impl Fn(&Change<K, V>) -> usize + Send + Sync + 'static) -> Self {
        self.weigh = Some(Box::new(weigh));
        self
    }

    /// How often a failure is tried again of which the store has not said whether it may pass; after that it is taken for
    /// one that will not. One that may pass is tried again for ever. Default: 5.
    pub fn tries(mut self, tries: u32) -> Self {
        self.settings.tries = tries;
        self
    }

    /// The pauses after failures: the first, and the longest that they grow to; up to half is taken off at random. Default:
    /// 100 milliseconds to 30 seconds.
    pub fn pauses(mut self, first: Duration, longest: Duration) -> Self {
        self.settings.pauses = (first, longest);
        self
    }

    /// How long the store may take for a batch. After that it has failed, and nobody knows how far it had come. Default: 30
    /// seconds.
    pub fn store_deadline(mut self, deadline: Duration) -> Self {
        self.settings.store_deadline = deadline;
        self
    }

    /// How many writes a second the store is given at the most, on average. Default: as many as it takes.
    pub fn rate(mut self, writes_per_second: f64) -> Self {
        self.settings.rate = Some(writes_per_second);
        self
    }

    /// How many batches are under way at once, each of another shard. Default: 1.
    pub fn concurrency(mut self, batches: usize) -> Self {
        self.settings.concurrency = batches;
        self
    }

    /// Who is told what happens, if no cache is built on it: a cache has an observer of its own.
    pub fn observer(mut self, observer: impl Observer) -> Self {
        self.observer = Some(Arc::new(observer));
        self
    }

    /// The store in front of the store, to be used by itself or under decorators of your own.
    ///
    /// Opens the journal, which reads it: for one in files that takes as long as its files are long.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Settings`], naming everything that is missing or wrong; [`ErrorKind::Journal`], if the journal cannot be
    /// opened.
    pub fn store(self) -> Result<WriteBehind<K, V>> {
        let observer = self.observer.clone();
        let behind = self.behind()?;
        behind.attach(Arc::new(Events::new("write-behind".into(), observer)));
        behind.begin();
        Ok(behind)
    }

    /// Whether other processes write to the journal as well.
    pub(crate) const fn is_shared(&self) -> bool {
        self.is_shared
    }

    /// How long a writer may wait for room.
    pub(crate) const fn patience(&self) -> Option<Duration> {
        match self.settings.at_limit {
            AtLimit::Block(patience) => Some(patience),
            _ => None,
        }
    }

    /// The same; whoever calls this attaches the events, and has it begin.
    pub(crate) fn behind(self) -> Result<WriteBehind<K, V>> {
        self.settings.check()?;
        let Some(open) = self.open else {
            return Err(Error::new(
                ErrorKind::Settings,
                "there is no journal: add `.journal(LocalLog::at(\"…\"))`, or `.journal(Volatile::new())` for what may be \
                 lost",
            ));
        };
        if self.promises > 1 {
            return Err(Error::new(
                ErrorKind::Settings,
                "`exactly_once` and `once_by_id` both say how the store tells what it has: give one of them",
            ));
        }
        let shallow = size_of::<K>() + size_of::<V>();
        let weigh = self.weigh.unwrap_or_else(|| Box::new(move |_: &Change<K, V>| shallow));
        let opened = open()?;
        if opened.shards == 0 || opened.shards > 1024 {
            return Err(Error::new(ErrorKind::Settings, "a journal has from 1 to 1,024 shards"));
        }
        let (concurrency, shards) = (self.settings.concurrency, opened.shards);
        if concurrency > usize::from(shards) {
            let why = format!(
                "`concurrency({concurrency})` and a journal of {shards} shards disagree: each has one batch under way"
            );
            return Err(Error::new(ErrorKind::Settings, why));
        }
        if opened.stream.is_some() && !self.destination.keeps_offsets() {
            return Err(Error::new(
                ErrorKind::Settings,
                "a journal that processes share needs a store that says which of them owns what: add `exactly_once()`",
            ));
        }
        if opened.stream.is_some() && self.settings.at_limit == AtLimit::WriteThrough {
            return Err(Error::new(
                ErrorKind::Settings,
                "`at_limit(WriteThrough)` and a journal that processes share disagree: what another process has waiting \
                 would be written over what went past it; take `Block` or `Reject`",
            ));
        }
        if self.destination.merges().is_some() && self.settings.at_limit == AtLimit::WriteThrough {
            return Err(Error::new(
                ErrorKind::Settings,
                "`at_limit(WriteThrough)` and `merge` disagree: past the journal nothing is merged; take `Block` or `Reject`",
            ));
        }
        if opened.log.is_some()
            && self.settings.at_limit == AtLimit::WriteThrough
            && self.destination.may_write_again()
        {
            return Err(Error::new(
                ErrorKind::Settings,
                "`at_limit(WriteThrough)` and a journal that outlives the process disagree: after a crash it would write \
                 older values over those that were written past it; add `exactly_once()` or `once_by_id()`",
            ));
        }
        WriteBehind::new(self.destination, opened, self.settings, weigh)
    }
}

impl<K, V, S> fmt::Debug for WriteBehindBuilder<K, V, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WriteBehindBuilder").field("settings", &self.settings).finish_non_exhaustive()
    }
}
