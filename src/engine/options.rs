//! What one call may want otherwise than its cache.

use std::time::Duration;

use crate::levels::Since;
use crate::receipt::Receipt;
use crate::time::Timestamp;

/// Options of one read.
///
/// ```
/// use larder::ReadOptions;
/// use std::time::Duration;
/// let briefly = ReadOptions::new().ttl(Duration::from_secs(5));
/// # let _ = briefly;
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReadOptions {
    ttl: Option<Duration>,
    reload: bool,
    newest_known: Option<Since>,
    looked: bool,
    skipped: Option<&'static str>,
    receipt: Option<Receipt>,
}

impl ReadOptions {
    /// What the cache is set to.
    #[must_use]
    pub const fn new() -> Self {
        Self { ttl: None, reload: false, newest_known: None, looked: false, skipped: None, receipt: None }
    }

    /// If this read loads, the value is kept for `ttl`; zero keeps it nowhere. Of several reads that share a load the
    /// one that began it decides.
    #[must_use]
    pub const fn ttl(mut self, ttl: Duration) -> Self {
        self.ttl = Some(ttl);
        self
    }

    /// Load whatever copies there are, and replace them.
    #[must_use]
    pub const fn reload(mut self) -> Self {
        self.reload = true;
        self
    }

    /// Pass the tier of this name over, as if it were not there: neither read it nor fill it.
    #[must_use]
    pub const fn skip_tier(mut self, name: &'static str) -> Self {
        self.skipped = Some(name);
        self
    }

    /// Answer with nothing older than the write that `receipt` is of, in whichever process it was made: a copy serves only if
    /// it is surely newer, or the write's own; else the store is asked. When that fails, so does the read.
    ///
    /// Of a write that waits in a journal only its own process can read ([`Reached::Journal`](crate::Reached), not in a
    /// `journal::RedisStream`) the receipt is good there; elsewhere the read fails with
    /// [`ErrorKind::Unsupported`](crate::ErrorKind). Wait until it is [`stored`](crate::Written::stored), and take
    /// [another](crate::LayeredCache::receipt).
    ///
    /// See [`Written::receipt`](crate::Written::receipt).
    #[must_use]
    pub fn covering(self, receipt: &Receipt) -> Self {
        Self { receipt: Some(receipt.clone()), ..self }
    }

    /// Loads anew, unless there is a copy that was asked for after `moment`.
    pub(crate) fn reload_unless_newer(self, moment: Timestamp) -> Self {
        self.reload_unless(Since::moment(moment))
    }

    /// Loads anew, unless there is a copy that is new enough.
    pub(crate) fn reload_unless(self, since: Since) -> Self {
        Self { reload: true, newest_known: Some(since), receipt: None, ..self }
    }

    /// The same without the receipt: nothing that can be found is older.
    pub(crate) fn whatever_the_receipt(self) -> Self {
        Self { receipt: None, ..self }
    }

    pub(crate) const fn receipt(&self) -> Option<&Receipt> {
        self.receipt.as_ref()
    }

    /// The copies of the key have just been looked at, and there is none to serve.
    pub(crate) fn looked(self) -> Self {
        Self { looked: true, ..self }
    }

    pub(crate) fn not_looked(self) -> Self {
        Self { looked: false, ..self }
    }

    pub(crate) const fn has_looked(&self) -> bool {
        self.looked
    }

    pub(crate) const fn newest_known(&self) -> Option<&Since> {
        self.newest_known.as_ref()
    }

    pub(crate) const fn own_ttl(&self) -> Option<Duration> {
        self.ttl
    }

    /// Whether the copy at hand may not be what is wanted.
    pub(crate) const fn is_special(&self) -> bool {
        self.wants_reload() || self.skipped.is_some()
    }

    pub(crate) const fn skipped(&self) -> Option<&'static str> {
        self.skipped
    }

    /// Whether copies are to be passed over, unless the engine knows them to be new enough: for strategies.
    #[must_use]
    pub const fn wants_reload(&self) -> bool {
        self.reload || self.receipt.is_some()
    }

    /// Whether the caller wants a load, whatever copies there are.
    pub(crate) const fn is_reload(&self) -> bool {
        self.reload
    }
}

/// Options of one write.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WriteOptions {
    ttl: Option<Duration>,
}

impl WriteOptions {
    /// What the cache is set to.
    #[must_use]
    pub const fn new() -> Self {
        Self { ttl: None }
    }

    /// If this write keeps a copy, it is kept for `ttl`; zero keeps none.
    #[must_use]
    pub const fn ttl(self, ttl: Duration) -> Self {
        Self { ttl: Some(ttl) }
    }

    pub(crate) const fn own_ttl(&self) -> Option<Duration> {
        self.ttl
    }
}
