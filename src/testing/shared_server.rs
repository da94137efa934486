//! A shared tier without a server: what Redis does, in this process and on tokio's clock.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::bounds::{Key, Value};
use crate::entry::Entry;
use crate::error::{Error, ErrorKind, Result};
use crate::event::Event;
use crate::tier::slot::{Command, Effect, Kept, LAST, Life, Millis, Reply, Slot, Token, step};
use crate::tier::{Acquired, Filled, Hold, Host, Lease, Purpose, Scope, Tier};
use crate::time::Timestamp;

const NAME: &str = "shared";
const LEASE: Duration = Duration::from_secs(5);

/// A server that several caches of a test share, as processes share a Redis. It runs the same slots as the Redis tier
/// does, on tokio's clock: under `start_paused` a fleet of processes lives in one deterministic test.
///
/// ```
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> larder::Result<()> {
/// use larder::testing::{FakeStore, SharedServer, TestClock};
/// use std::time::Duration;
///
/// let server = SharedServer::new();
/// let store = FakeStore::with([(1, "one")]);
/// let process = || {
///     larder::cache_aside(store.clone())
///         .tier(server.tier())
///         .ttl(Duration::from_secs(60))
///         .clock(TestClock::new())
///         .build()
/// };
/// let (one, other) = (process()?, process()?);
/// one.get(&1).await?;
/// other.get(&1).await?;
/// assert_eq!(store.loads(), 1);
/// # Ok(())
/// # }
/// ```
pub struct SharedServer<K, V>(Arc<Mutex<Keys<K, V>>>);

struct Keys<K, V> {
    began: Instant,
    tokens: u128,
    slots: HashMap<K, (Slot<Option<V>>, Millis)>,
}

/// A process' way to a [`SharedServer`]: a tier for one cache.
pub struct SharedTier<K, V> {
    server: SharedServer<K, V>,
    lease: Duration,
    host: OnceLock<Host>,
    guards: Guards,
}

/// What keeps old answers out. Only tests take one away, to show what it is for.
#[derive(Clone, Copy)]
struct Guards {
    leases: bool,
    holds: bool,
}

impl<K: Key, V: Value> SharedServer<K, V> {
    /// An empty server.
    #[must_use]
    pub fn new() -> Self {
        Self(Arc::new(Mutex::new(Keys { began: Instant::now(), tokens: 0, slots: HashMap::new() })))
    }

    /// A tier for one more cache.
    #[must_use]
    pub fn tier(&self) -> SharedTier<K, V> {
        let guards = Guards { leases: true, holds: true };
        SharedTier { server: self.clone(), lease: LEASE, host: OnceLock::new(), guards }
    }

    /// Forgets a key with all that is known of it, as a server does that has no room left.
    pub fn evict(&self, key: &K) {
        self.0.lock().slots.remove(key);
    }

    /// Forgets everything, as a server does that is started anew.
    pub fn restart(&self) {
        self.0.lock().slots.clear();
    }

    fn ask(&self, key: &K, command: Command<Option<V>>) -> Reply<Option<V>> {
        let mut keys = self.0.lock();
        let now = keys.now();
        let slot = keys.slots.remove(key).filter(|(_, gone_at)| now < *gone_at);
        let (effect, reply) = step(slot.as_ref().map(|(slot, _)| slot.clone()), now, command);
        let slot = match effect {
            Effect::Left => slot,
            Effect::Emptied => None,
            Effect::Written(slot, gone_at) => Some((slot, gone_at)),
        };
        if let Some(slot) = slot {
            keys.slots.insert(key.clone(), slot);
        }
        reply
    }
}

impl<K, V> Keys<K, V> {
    fn now(&self) -> Millis {
        millis(self.began.elapsed())
    }

    fn token(&mut self) -> Token {
        self.tokens += 1;
        Token(self.tokens)
    }
}

impl<K: Key, V: Value> Default for SharedServer<K, V> {
    fn default() -> Self {
        Self::new()
    }
}

impl<K, V> Clone for SharedServer<K, V> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<K, V> fmt::Debug for SharedServer<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedServer").field("keys", &self.0.lock().slots.len()).finish()
    }
}

impl<K, V> fmt::Debug for SharedTier<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedTier").field("server", &self.server).finish_non_exhaustive()
    }
}

impl<K: Key, V: Value> SharedTier<K, V> {
    /// How long the right to load a key lasts unless it is renewed. Default: 5 seconds.
    #[must_use]
    pub fn lease(self, lease: Duration) -> Self {
        Self { lease, ..self }
    }

    /// Fills whatever has become of the lease, so that tests can show what leases are for.
    #[doc(hidden)]
    #[must_use]
    pub fn without_leases(self) -> Self {
        Self { guards: Guards { leases: false, ..self.guards }, ..self }
    }

    /// Publishes whoever else was there, so that tests can show what holds are for.
    #[doc(hidden)]
    #[must_use]
    pub fn without_holds(self) -> Self {
        Self { guards: Guards { holds: false, ..self.guards }, ..self }
    }

    fn emit(&self, event: &Event<'_>) {
        if let Some(host) = self.host.get() {
            host.emit(event);
        }
    }

    fn now(&self) -> Timestamp {
        self.host.get().map_or(Timestamp::ZERO, |host| host.clock().now())
    }

    fn entry(&self, kept: Kept<Option<V>>) -> Entry<V> {
        let (now, server_now) = (self.now(), self.server.0.lock().now());
        let here = |moment: Millis| match moment {
            LAST => Timestamp::NEVER,
            _ if moment >= server_now => now.after(Duration::from_millis(moment - server_now)),
            _ => now.before(Duration::from_millis(server_now - moment)),
        };
        Entry::new(kept.body, here(kept.as_of), here(kept.fresh_until), here(kept.expires_at))
    }

    fn life(&self, entry: &Entry<V>) -> Life {
        let server_now = self.server.0.lock().now();
        // Rounded up: rather a moment too old than too young.
        let age = millis(self.now().since(entry.as_of()) + Duration::from_nanos(999_999));
        let span = |until: Timestamp| match until {
            Timestamp::NEVER => LAST,
            _ => millis(until.since(entry.as_of())),
        };
        Life {
            as_of: server_now.saturating_sub(age),
            fresh: span(entry.fresh_until()),
            total: span(entry.expires_at()),
        }
    }

    fn copy(&self, key: &K) -> Option<Entry<V>> {
        let keys = self.server.0.lock();
        let now = keys.now();
        let kept = match keys.slots.get(key).filter(|(_, gone_at)| now < *gone_at)? {
            (Slot::Kept(kept) | Slot::Leased { kept: Some(kept), .. }, _) => kept.clone(),
            _ => return None,
        };
        drop(keys);
        Some(self.entry(kept))
    }

    fn overwrite(&self, key: &K, entry: &Entry<V>) {
        let life = self.life(entry);
        let token = self.server.0.lock().token();
        self.server.evict(key);
        _ = self.server.ask(key, Command::Acquire { token, lease: 1, renew: true });
        _ = self.server.ask(key, Command::Fill { token, life, body: entry.value().cloned() });
    }
}

impl<K: Key, V: Value> Tier<K, V> for SharedTier<K, V> {
    fn name(&self) -> &'static str {
        NAME
    }

    fn is_shared(&self) -> bool {
        true
    }

    fn attach(&self, host: &Host) -> Result<()> {
        self.host.set(host.clone()).map_err(|_| {
            Error::new(ErrorKind::Settings, "a shared tier serves one cache; take another for another")
        })
    }

    fn lease(&self) -> Option<Duration> {
        Some(self.lease)
    }

    async fn get_many(&self, keys: &[K]) -> Result<Vec<Option<Entry<V>>>> {
        Ok(keys.iter().map(|key| self.copy(key)).collect())
    }

    async fn acquire(&self, key: &K, purpose: Purpose) -> Result<Acquired<V>> {
        let token = self.server.0.lock().token();
        let renew = purpose == Purpose::Renew;
        Ok(match self.server.ask(key, Command::Acquire { token, lease: millis(self.lease), renew }) {
            Reply::Fresh(kept) => Acquired::Fresh(self.entry(kept)),
            Reply::Granted { taken_over, kept, .. } => {
                if taken_over {
                    self.emit(&Event::LeaseTakenOver { tier: NAME });
                }
                Acquired::Granted(Lease::new(token.0), kept.map(|kept| self.entry(kept)))
            }
            Reply::Busy(left) => Acquired::Busy(Duration::from_millis(left)),
            _ => Acquired::Held,
        })
    }

    async fn fill(&self, key: &K, lease: Lease, entry: &Entry<V>) -> Result<Filled> {
        let (token, life, body) = (Token(lease.number()), self.life(entry), entry.value().cloned());
        Ok(match self.server.ask(key, Command::Fill { token, life, body }) {
            Reply::Stored => Filled::Stored,
            _ if !self.guards.leases => {
                self.overwrite(key, entry);
                Filled::Stored
            }
            _ => Filled::Refused,
        })
    }

    async fn renew(&self, key: &K, lease: Lease) -> Result<()> {
        let token = Token(lease.number());
        _ = self.server.ask(key, Command::Renew { token, lease: millis(self.lease) });
        Ok(())
    }

    async fn abandon(&self, key: &K, lease: Lease, back_off: Duration) -> Result<()> {
        let token = Token(lease.number());
        _ = self.server.ask(key, Command::Abandon { token, back_off: millis(back_off) });
        Ok(())
    }

    fn abandon_now(&self, key: &K, lease: Lease) {
        _ = self.server.ask(key, Command::Abandon { token: Token(lease.number()), back_off: 0 });
    }

    async fn invalidate_many(&self, keys: &[K]) -> Result<()> {
        for key in keys {
            _ = self.server.ask(key, Command::Invalidate { hold_off: 0 });
        }
        Ok(())
    }

    async fn hold_many(&self, keys: &[K], hold: Hold, lifetime: Duration) -> Result<()> {
        for key in keys {
            let hold = Command::Hold { token: writer(hold), life: millis(lifetime) };
            if matches!(self.server.ask(key, hold), Reply::Contended) {
                self.emit(&Event::HoldContended { tier: NAME });
            }
        }
        Ok(())
    }

    async fn release_many(&self, keys: &[K], hold: Hold) -> Result<()> {
        for key in keys {
            let release = Command::Release { token: writer(hold), hold_off: 0 };
            if matches!(self.server.ask(key, release), Reply::Lost) {
                self.emit(&Event::HoldLost { tier: NAME });
            }
        }
        Ok(())
    }

    async fn publish(&self, key: &K, hold: Hold, entry: &Entry<V>) -> Result<Filled> {
        let (life, body) = (self.life(entry), entry.value().cloned());
        Ok(match self.server.ask(key, Command::Publish { token: writer(hold), life, body, hold_off: 0 }) {
            Reply::Stored => Filled::Stored,
            _ if !self.guards.holds => {
                self.overwrite(key, entry);
                Filled::Stored
            }
            Reply::Lost => {
                self.emit(&Event::HoldLost { tier: NAME });
                Filled::Refused
            }
            _ => Filled::Refused,
        })
    }

    async fn clear(&self) -> Result<()> {
        let keys: Vec<K> = self.server.0.lock().slots.keys().cloned().collect();
        self.invalidate_many(&keys).await
    }

    async fn clear_where(&self, scope: &Scope<K>) -> Result<()> {
        let meant = |key: &&K| scope.holds(key);
        let keys: Vec<K> = self.server.0.lock().slots.keys().filter(meant).cloned().collect();
        self.invalidate_many(&keys).await
    }
}

/// Writers' tokens, apart from those of loads.
fn writer(hold: Hold) -> Token {
    Token(hold.number() | 1 << 127)
}

fn millis(duration: Duration) -> Millis {
    u64::try_from(duration.as_millis()).unwrap_or(LAST).min(LAST)
}
