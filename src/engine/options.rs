//! What one call may want otherwise than its cache.

use std::time::Duration;

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
}

impl ReadOptions {
    /// What the cache is set to.
    #[must_use]
    pub const fn new() -> Self {
        Self { ttl: None, reload: false }
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

    pub(crate) const fn own_ttl(&self) -> Option<Duration> {
        self.ttl
    }

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
