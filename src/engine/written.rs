//! What a write answers.

/// What came of a write: where it is, what became of the copies, and what the write itself answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written<T = ()> {
    output: T,
    reached: Reached,
    copies: Copies,
}

/// How far a write has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Reached {
    /// The store has it.
    Store,
    /// There is no store: only copies were changed.
    CopiesOnly,
}

/// What became of the copies of the written keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Copies {
    /// Every tier has the new value, as far as it has room.
    Kept,
    /// No tier has a copy: the next read loads.
    Dropped,
    /// A tier failed and may still serve an older value, at most for its ttl; dropping it is tried again and again in
    /// the background.
    Pending,
}

impl Written {
    pub(crate) const fn new(reached: Reached, copies: Copies) -> Self {
        Self { output: (), reached, copies }
    }

    /// What a [`Cache`](crate::Cache) of your own answers that has no store behind it.
    pub const fn copies_only() -> Self {
        Self::new(Reached::CopiesOnly, Copies::Kept)
    }

    /// After a write of the caller's own through some other [`Cache`](crate::Cache).
    pub(crate) const fn after_write(copies_dropped: bool) -> Self {
        Self::new(Reached::Store, if copies_dropped { Copies::Dropped } else { Copies::Pending })
    }
}

impl<T> Written<T> {
    /// How far the write has come.
    pub const fn reached(&self) -> Reached {
        self.reached
    }

    /// What became of the copies.
    pub const fn copies(&self) -> Copies {
        self.copies
    }

    /// What the write itself answered: for `write` the closure's answer, for `update` the new value.
    pub const fn output(&self) -> &T {
        &self.output
    }

    /// What the write itself answered.
    pub fn into_output(self) -> T {
        self.output
    }

    pub(crate) fn with_output<U>(self, output: U) -> Written<U> {
        Written { output, reached: self.reached, copies: self.copies }
    }
}
