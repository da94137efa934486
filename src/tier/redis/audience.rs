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
    /// Whether it was told last that the tier is away.
    told: bool,
    /// Whether somebody is telling.
    telling: bool,
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

    /// A server does not answer any more, if `leaves` says so. The tier is away from the first such server on.
    ///
    /// Whether it left and that it counts are one step: it could otherwise come back in between, and count for ever.
    pub(super) fn one_left(&self, leaves: impl FnOnce() -> bool) {
        let mut state = self.0.lock();
        if leaves() {
            state.away += 1;
            drop(state);
            self.tell();
        }
    }

    /// A server answers again, or is needed no more, if `comes` says so. The tier is back with the last of them.
    pub(super) fn one_came_back(&self, comes: impl FnOnce() -> bool) {
        let mut state = self.0.lock();
        if comes() {
            state.away = state.away.saturating_sub(1);
            drop(state);
            self.tell();
        }
    }

    /// Tells what has changed, one word after the other: the last one is what is.
    fn tell(&self) {
        loop {
            let (hosts, away) = {
                let mut state = self.0.lock();
                let away = state.away > 0;
                if state.telling || state.told == away {
                    return;
                }
                (state.told, state.telling) = (away, true);
                (state.hosts.clone(), away)
            };
            let event = if away { Event::TierAway { tier: NAME } } else { Event::TierBack { tier: NAME } };
            hosts.iter().for_each(|host| host.emit(&event));
            self.0.lock().telling = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::super::breaker::Breaker;
    use super::*;

    /// `L: the breaker opens · D: the breaker closes, one came back · L: one left`: nobody is away, and one counts.
    #[test]
    fn who_comes_back_while_it_leaves_does_not_count_as_away() {
        let (audience, breaker, goes_on) = (Audience::default(), Breaker::default(), AtomicBool::new(true));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for _ in 0..1_000_000 {
                    audience.one_left(|| breaker.trip());
                }
                goes_on.store(false, Ordering::Release);
            });
            while goes_on.load(Ordering::Acquire) {
                audience.one_came_back(|| breaker.heal());
            }
        });
        audience.one_came_back(|| breaker.heal());
        let state = audience.0.lock();
        assert_eq!((state.away, state.told), (0, false));
    }
}
