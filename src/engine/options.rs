//! What one call may want otherwise than its cache.

use std::time::Duration;

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
    newest_known: Option<Timestamp>,
    looked: bool,
    skipped: Option<&'static str>,
}

impl ReadOptions {
    /// What the cache is set to.
    #[must_use]
    pub const fn new() -> Self {
        Self { ttl: None, reload: false, newest_known: None, looked: false, skipped: None }
    }

    /// If this read loads, the value is kept for `ttl`; zero keeps it nowhere. Of several reads that share a load the
    /// one that began it decides.
    #[must_use]
    pub const fn ttl(self, ttl: Duration) -> Self {
        Self { ttl: Some(ttl), ..self }
    }

    /// Load whatever copies there are, and replace them.
    #[must_use]
    pub const fn reload(self) -> Self {
        Self { reload: true, ..self }
    }

    /// Pass the tier of this name over, as if it were not there: neither read it nor fill it.
    #[must_use]
    pub const fn skip_tier(self, name: &'static str) -> Self {
        Self { skipped: Some(name), ..self }
    }

    /// Loads anew, unless there is a copy that was asked for after `moment`.
    pub(crate) const fn reload_unless_newer(self, moment: Timestamp) -> Self {
        Self { reload: true, newest_known: Some(moment), ..self }
    }

    /// The copies of the key have just been looked at, and there is none to serve.
    pub(crate) const fn looked(self) -> Self {
        Self { looked: true, ..self }
    }

    pub(crate) const fn not_looked(self) -> Self {
        Self { looked: false, ..self }
    }

    pub(crate) const fn has_looked(&self) -> bool {
        self.looked
    }

    pub(crate) const fn newest_known(&self) -> Option<Timestamp> {
        self.newest_known
    }

    pub(crate) const fn own_ttl(&self) -> Option<Duration> {
        self.ttl
    }

    /// Whether the copy at hand may not be what is wanted.
    pub(crate) const fn is_special(&self) -> bool {
        self.reload || self.skipped.is_some()
    }

    pub(crate) const fn skipped(&self) -> Option<&'static str> {
        self.skipped
    }

    /// Whether copies are to be passed over: for strategies.
    #[must_use]
    pub const fn wants_reload(&self) -> bool {
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
