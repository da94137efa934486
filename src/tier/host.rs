//! What a tier knows of the cache that it serves.

use std::fmt;
use std::sync::{Arc, Weak};

use crate::coherence::{Coherence, Trust};
use crate::consistency::Consistency;
use crate::event::{Event, Events};
use crate::time::Clock;

/// The cache that a tier serves: its clock, and whom to tell what happens.
#[derive(Clone)]
pub struct Host {
    clock: Arc<dyn Clock>,
    events: Weak<Events>,
    consistency: Consistency,
    agreement: Option<Agreement>,
}

/// How the cache learns what other processes drop, and what it believes of its copies.
#[doc(hidden)]
#[derive(Clone, Debug)]
#[allow(clippy::exhaustive_structs, reason = "not part of the public interface")]
pub struct Agreement {
    /// How.
    pub coherence: Coherence,
    /// What it believes.
    pub trust: Arc<Trust>,
    /// Whether there are copies of its own, in tiers of this process.
    pub has_copies: bool,
}

impl Host {
    pub(crate) fn new(clock: Arc<dyn Clock>, events: &Arc<Events>, consistency: Consistency) -> Self {
        Self { clock, events: Arc::downgrade(events), consistency, agreement: None }
    }

    /// The same, for a cache whose copies are kept in step by its shared tier.
    pub(crate) fn agreeing(self, coherence: Coherence, trust: Option<&Arc<Trust>>, has_copies: bool) -> Self {
        let agreement = trust.map(|trust| Agreement { coherence, trust: Arc::clone(trust), has_copies });
        Self { agreement, ..self }
    }

    /// How the cache's copies are to be kept in step with those of a shared tier, if the shared tier is to do anything
    /// for it.
    #[doc(hidden)]
    #[must_use]
    pub fn agreement(&self) -> Option<&Agreement> {
        self.agreement.as_ref()
    }

    /// What the cache promises.
    #[must_use]
    pub fn consistency(&self) -> Consistency {
        self.consistency
    }

    /// The clock by which the cache's entries are dated.
    #[must_use]
    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.clock
    }

    /// Something has happened in the tier.
    pub fn emit(&self, event: &Event<'_>) {
        if let Some(events) = self.events.upgrade() {
            events.emit(event);
        }
    }

    /// Whether the cache still exists.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        self.events.strong_count() > 0
    }
}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Host").field("clock", &self.clock).finish_non_exhaustive()
    }
}
