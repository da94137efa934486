//! What a tier knows of the cache that it serves.

use std::fmt;
use std::sync::{Arc, Weak};

use crate::consistency::Consistency;
use crate::event::{Event, Events};
use crate::time::Clock;

/// The cache that a tier serves: its clock, and whom to tell what happens.
#[derive(Clone)]
pub struct Host {
    clock: Arc<dyn Clock>,
    events: Weak<Events>,
    consistency: Consistency,
}

impl Host {
    pub(crate) fn new(clock: Arc<dyn Clock>, events: &Arc<Events>, consistency: Consistency) -> Self {
        Self { clock, events: Arc::downgrade(events), consistency }
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
