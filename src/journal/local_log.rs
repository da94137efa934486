//! A journal in files of this machine.

use std::fmt;
use std::marker::PhantomData;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use parking_lot::Mutex;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::fault::Fault;
use super::files::Files;
use super::form::Form;
use super::group_commit::{GroupCommit, NotAppended};
use super::letters::{LONGEST_WRITE, Letters};
use super::record::Record;
use super::seam::{Appending, Found, FoundWrite, Log, Opened, Opens, Progress};
use super::segments::{Recovered, Segments};
use crate::bounds::{Key, Value};
use crate::change::{Change, DeadLetter, JournalId, Seq};
use crate::codec::{Codec, Json};
use crate::error::{Error, ErrorKind, Outcome, Result};

/// The directory of the dead letters, in that of the log.
pub(super) const LETTERS: &str = "dead-letters";

const SEGMENT_BYTES: u64 = 64 << 20;
const LEAST_SEGMENT: u64 = 4 << 10;
/// The newest segment is written anew by every opening.
const MOST_SEGMENT: u64 = 1 << 30;

/// Pending writes wait in files of this machine, on Unix: they survive the process, and a loss of power.
///
/// A write is answered when its record is on stable storage: it is synced, together with those of all others who wrote
/// meanwhile. How long that takes is the disk's affair, from a tenth of a millisecond to ten. Writes reach the store in the
/// order in which they were accepted, all keys alike.
///
/// The directory belongs to one cache of one process at a time: a second one is refused. It is made for its owner only, and
/// so are the files, for they hold keys and values. **It must be on a disk of this machine that keeps what it has synced**,
/// and must outlive the process: in a container, a volume. Network file systems make other promises.
///
/// Building the cache opens the log. This reads all of it, writes the newest of its files anew and waits for the disk: it
/// blocks the thread, for as long as it takes to read what was pending.
///
/// ```
/// use larder::journal::LocalLog;
///
/// #[derive(Clone, serde::Serialize, serde::Deserialize)]
/// struct Profile { name: String, languages: Vec<String> }
///
/// // What the service before this one wrote: `schema(0)`.
/// #[derive(serde::Deserialize)]
/// struct OldProfile { name: String, language: String }
///
/// let journal: LocalLog<u64, Profile> = LocalLog::at("/var/lib/profiles/journal").schema(1).upgrade(|schema, bytes| {
///     let old: OldProfile = (schema == 0).then(|| serde_json::from_slice(bytes).ok())??;
///     Some(Profile { name: old.name, languages: vec![old.language] })
/// });
/// # let _ = journal;
/// ```
///
/// # What it cannot read
///
/// Pending writes may be older than the program that finds them. One is read in this order:
///
/// 1. with the codec, if it was written with this [`schema`](Self::schema) and by a codec of this id,
/// 2. else, or if that fails, with [`upgrade`](Self::upgrade).
///
/// What can be read by neither is put aside as a dead letter, as it is in the log. Nothing is passed over.
///
/// # When the disk fails
///
/// A write or a sync that fails is final: what is on the disk is known to nobody then, and the next sync may lie about it.
/// The log takes nothing more, every write is answered with [`ErrorKind::Journal`], and the cache has to be built anew.
/// Of a write that was under way the [outcome](Error::outcome) is unknown; those that came later are surely not accepted.
///
/// Where the log is damaged, other than at its very end, opening refuses and names the file and the place: something that
/// was accepted would be lost. [`inspect`](super::inspect) shows what is there.
pub struct LocalLog<K, V, C = Json> {
    path: PathBuf,
    segment_bytes: u64,
    form: Form<V, C>,
    keys: PhantomData<fn(K) -> K>,
}

impl<K, V> LocalLog<K, V> {
    /// The log in the directory at `path`. If there is none it is made; the one above must be there. Keys and values are
    /// written as JSON.
    #[must_use]
    pub fn at(path: impl Into<PathBuf>) -> Self {
        let form = Form::new(Json);
        Self { path: path.into(), segment_bytes: SEGMENT_BYTES, form, keys: PhantomData }
    }
}

impl<K, V, C> LocalLog<K, V, C> {
    /// Writes values with `codec`; keys stay JSON. Default: [`Json`].
    #[must_use]
    pub fn codec<D: Codec<V>>(self, codec: D) -> LocalLog<K, V, D> {
        let form = self.form.with_codec(codec);
        LocalLog { path: self.path, segment_bytes: self.segment_bytes, form, keys: PhantomData }
    }

    /// How long a file becomes before the next is begun, from 4 KiB to 1 GiB. Files go as a whole, when all writes in them
    /// are in the store. Default: 64 MiB.
    #[must_use]
    pub fn segment_bytes(self, bytes: u64) -> Self {
        Self { segment_bytes: bytes, ..self }
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

    fn check(&self) -> Result<()> {
        if (LEAST_SEGMENT..=MOST_SEGMENT).contains(&self.segment_bytes) {
            return Ok(());
        }
        let detail = format!("segment_bytes({}): must be from 4 KiB to 1 GiB", self.segment_bytes);
        Err(Error::new(ErrorKind::Settings, detail))
    }
}

impl<K, V, C> Opens<K, V> for LocalLog<K, V, C>
where
    K: Key + Serialize + DeserializeOwned,
    V: Value,
    C: Codec<V>,
{
    fn open(self) -> Result<Opened<K, V>> {
        self.check()?;
        let Self { path, segment_bytes, form, .. } = self;
        let (log, records, recovered) = Files::open(&path)
            .and_then(|files| Segments::open(files, segment_bytes))
            .map_err(|fault| failed(&path, fault))?;
        let letters = path.join(LETTERS);
        let letters = Files::open(&letters)
            .and_then(|files| Letters::open(files, segment_bytes))
            .map_err(|fault| failed(&letters, fault))?;
        let found = found(&form, &recovered, log.next(), records);
        let log = GroupCommit::start(log).map_err(|fault| failed(&path, fault))?;
        let letters = Arc::new(Mutex::new(Some(letters)));
        let id = recovered.log;
        let log = OpenLog { path: path.into(), id, log, letters, form };
        Ok(Opened { id, shards: 1, log: Some(Arc::new(log)), found, stream: None })
    }
}

fn found<K: DeserializeOwned, V, C: Codec<V>>(
    form: &Form<V, C>,
    recovered: &Recovered,
    next: Seq,
    records: Vec<Record>,
) -> Found<K, V> {
    let found = |Record { sequence, payload }| FoundWrite {
        seq: sequence,
        change: form.read(&payload),
        record: payload,
    };
    let writes = records.into_iter().map(found).collect();
    Found { first: recovered.first, writes, next, settled: recovered.settled }
}

/// An open log.
struct OpenLog<V, C> {
    path: Arc<Path>,
    id: JournalId,
    log: GroupCommit,
    /// None when it is closed. Used on the log's thread only, for it waits for the disk.
    letters: Arc<Mutex<Option<Letters<Files>>>>,
    form: Form<V, C>,
}

impl<V, C> OpenLog<V, C> {
    async fn with_letters<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Letters<Files>) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T> {
        let letters = Arc::clone(&self.letters);
        let work = move || letters.lock().as_mut().map_or(Err(Fault::Closed), work);
        let done = self.log.run(work).await.unwrap_or(Err(Fault::Closed));
        done.map_err(|fault| failed(&self.path.join(LETTERS), fault))
    }
}

#[async_trait]
impl<K, V, C> Log<K, V> for OpenLog<V, C>
where
    K: Key + Serialize + DeserializeOwned,
    V: Value,
    C: Codec<V>,
{
    fn encode(&self, change: &Change<K, V>) -> Result<Vec<u8>> {
        let refused = |detail| Error::new(ErrorKind::Journal, detail).with_outcome(Outcome::NotApplied);
        let unwritten =
            |source| refused("the key or the value cannot be written to the journal").with_source(source);
        let record = self.form.write(change).map_err(unwritten)?;
        if record.len() > LONGEST_WRITE {
            let fault = Fault::TooLong { bytes: record.len(), most: LONGEST_WRITE };
            return Err(failed(&self.path, fault).with_outcome(Outcome::NotApplied));
        }
        Ok(record)
    }

    fn decode(&self, record: &[u8]) -> Result<Change<K, V>, String> {
        self.form.read(record)
    }

    fn append(&self, record: Vec<u8>) -> Appending {
        let appended = self.log.append(record);
        let path = Arc::clone(&self.path);
        Box::pin(async move {
            appended
                .await
                .map_err(|NotAppended { fault, outcome }| failed(&path, fault).with_outcome(outcome))
        })
    }

    fn watch(&self, hear: Box<dyn Fn(Progress) + Send + Sync>) {
        let path = Arc::clone(&self.path);
        self.log.watch(move |progress| {
            hear(match progress {
                Ok(durable) => Progress::Durable(durable),
                Err(fault) => Progress::Failed(failed(&path, fault.clone())),
            });
        });
    }

    fn settle(&self, upto: Seq) {
        self.log.settle(upto);
    }

    async fn put_aside(&self, letters: &[DeadLetter]) -> Result<()> {
        let letters = letters.to_vec();
        self.with_letters(move |kept| kept.put_aside(&letters)).await
    }

    async fn letters(&self, after: Option<Seq>, most: usize) -> Result<Vec<DeadLetter>> {
        let journal = self.id;
        self.with_letters(move |kept| Ok(kept.list(journal, after, most))).await
    }

    async fn discard(&self, seq: Seq) -> Result<bool> {
        let journal = self.id;
        self.with_letters(move |kept| kept.discard(journal, seq)).await
    }

    async fn close(&self) {
        let letters = Arc::clone(&self.letters);
        // Before the log, whose lock is the one that another waits for.
        self.log.run(move || drop(letters.lock().take())).await;
        self.log.close().await;
    }
}

/// The error of a fault, with the directory that it is about.
pub(super) fn failed(path: &Path, fault: Fault) -> Error {
    let detail = format!("the journal in {}: {fault}", path.display());
    Error::new(ErrorKind::Journal, detail).with_source(fault)
}

impl<K, V, C> fmt::Debug for LocalLog<K, V, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalLog").field("path", &self.path).finish_non_exhaustive()
    }
}
