//! Who wants to hear what becomes of the servers: the caches, which are told of the tier and not of its parts.

use parking_lot::Mutex;

use super::NAME;
use crate::event::Event;
use crate::tier::Host;

/// The caches over some servers, and how many of the servers are away.
#[derive(Debug, Default)]
pub(super) struct Audience(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    hosts: Vec<Host>,
    away: usize,
}

impl Audience {
    /// One more wants to hear.
    pub(super) fn join(&self, host: &Host) {
        let mut state = self.0.lock();
        state.hosts.retain(Host::is_alive);
        state.hosts.push(host.clone());
    }

    pub(super) fn announce(&self, event: &Event<'_>) {
        let hosts = self.0.lock().hosts.clone();
        hosts.iter().for_each(|host| host.emit(event));
    }

    /// A server does not answer any more. The tier is away from the first such server on.
    pub(super) fn one_left(&self) {
        let is_first = {
            let mut state = self.0.lock();
            state.away += 1;
            state.away == 1
        };
        if is_first {
            self.announce(&Event::TierAway { tier: NAME });
        }
    }

    /// A server answers again, or is needed no more. The tier is back with the last of them.
    pub(super) fn one_came_back(&self) {
        let was_last = {
            let mut state = self.0.lock();
            state.away = state.away.saturating_sub(1);
            state.away == 0
        };
        if was_last {
            self.announce(&Event::TierBack { tier: NAME });
        }
    }
}
