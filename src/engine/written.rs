//! What a write answers.

use crate::error::{Error, ErrorKind, Result};
use crate::receipt::Receipt;
use crate::store::Ticket;

/// What came of a write: where it is, what became of the copies, and what the write itself answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written<T = ()> {
    output: T,
    reached: Reached,
    copies: Copies,
    ticket: Option<Ticket>,
    receipt: Receipt,
}

/// How far a write has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Reached {
    /// The store has it.
    Store,
    /// The journal has it; the store will. [`stored`](Written::stored) tells when.
    Journal,
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
        Self { output: (), reached, copies, ticket: None, receipt: Receipt::UNKNOWN }
    }

    /// The journal has it, and there is something to wait for.
    pub(crate) fn with_ticket(self, ticket: Option<Ticket>) -> Self {
        Self { ticket, ..self }
    }

    pub(crate) fn with_receipt(self, receipt: Receipt) -> Self {
        Self { receipt, ..self }
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

    /// The proof of the write, for reads elsewhere: one that is given it answers with nothing older, in whichever process.
    /// As a string it goes wherever the next request comes from.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use larder::{Memory, ReadOptions, Receipt, testing::FakeStore};
    /// use std::time::Duration;
    ///
    /// let store = FakeStore::with([(7, "old")]);
    /// let process = || {
    ///     let builder = larder::cache_aside(store.clone()).tier(Memory::with_capacity(100));
    ///     builder.ttl(Duration::from_secs(60)).build()
    /// };
    /// let (here, elsewhere) = (process()?, process()?);
    /// assert_eq!(elsewhere.get(&7).await?, Some("old")); // and keeps it for a minute
    ///
    /// let sent: String = here.put(&7, "new").await?.receipt().to_string();
    ///
    /// let receipt: Receipt = sent.parse()?;
    /// assert_eq!(elsewhere.get(&7).await?, Some("old"));
    /// assert_eq!(elsewhere.get_with(&7, ReadOptions::new().covering(&receipt)).await?, Some("new"));
    /// # Ok(())
    /// # }
    /// ```
    pub const fn receipt(&self) -> &Receipt {
        &self.receipt
    }

    /// Resolves when the write outlives this process: at once, unless it waits in a
    /// [`Volatile`](crate::journal::Volatile) journal, which nothing outlives; then when the store has it.
    ///
    /// # Errors
    ///
    /// As [`stored`](Self::stored).
    pub async fn durable(&self) -> Result<()> {
        match &self.ticket {
            Some(ticket) => ticket.durable().await,
            None => self.has_store(),
        }
    }

    /// Resolves when the write is in the store, or a newer one of the same key in its place. As long as the store fails it
    /// does not resolve; dropping it is harmless.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::DeadLetter`]: the store will never take it. [`ErrorKind::Closed`]: this process will not bring it
    /// there. [`ErrorKind::NoStore`]: there is none. [`ErrorKind::Journal`]: the journal failed; if its
    /// [`outcome`](crate::Error::outcome) is unknown, its server was replaced, and the write may be lost.
    pub async fn stored(&self) -> Result<()> {
        match &self.ticket {
            Some(ticket) => ticket.stored().await,
            None => self.has_store(),
        }
    }

    fn has_store(&self) -> Result<()> {
        match self.reached {
            Reached::CopiesOnly => Err(Error::new(ErrorKind::NoStore, "this cache has no store")),
            _ => Ok(()),
        }
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
        let Self { output: _, reached, copies, ticket, receipt } = self;
        Written { output, reached, copies, ticket, receipt }
    }
}
