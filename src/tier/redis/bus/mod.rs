//! How the processes of a service tell one another what to drop. There is one listener for each server, and it listens
//! for all caches of a [`Redis`](super::Redis).

mod ear;
mod listener;
mod word;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::sync::futures::OwnedNotified;
use tokio_util::task::AbortOnDropHandle;

use super::keys::Bucket;
use super::lanes::Lanes;
use super::nodes::Nodes;
use crate::coherence::{Coherence, Trust};
use crate::tier::Host;
use crate::time;

pub(super) use word::Word;

/// How often it is looked whether there are servers that nobody listens to.
const ROUND: Duration = Duration::from_millis(500);

/// The caches that want to hear.
#[derive(Default)]
pub(super) struct Bus {
    members: Mutex<Vec<Member>>,
    /// Whether there are any: asked on every call.
    wanted: AtomicBool,
    watching: AtomicBool,
    /// Where reads wait for loads of other processes.
    rooms: Mutex<HashMap<Room, Arc<Notify>>>,
    flaw: AtomicU8,
}

/// Where reads of one stripe wait: its namespace, its bucket, and which it is.
type Room = (Arc<str>, Bucket, u8);

/// A cache that wants to hear what is dropped of its namespace.
#[derive(Clone)]
pub(super) struct Member {
    pub(super) namespace: Arc<str>,
    pub(super) coherence: Coherence,
    pub(super) trust: Arc<Trust>,
    pub(super) host: Host,
}

/// What a test leaves out, to show what it is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(not(feature = "testing"), allow(dead_code, unreachable_pub, reason = "production has no flaws"))]
#[allow(clippy::exhaustive_enums, reason = "for tests of larder itself")]
pub enum Flaw {
    /// Copies count for ever once somebody has listened, whatever becomes of the connection.
    NoBarrier,
    /// Copies are flushed when the connection is lost, and not once the next subscription is in force.
    EarlyFlush,
    /// Copies are marked when they have come, and not before they were asked for.
    LateMark,
}

impl Bus {
    /// One more wants to hear.
    pub(super) fn join(&self, member: Member) {
        self.members.lock().push(member);
        self.wanted.store(true, Ordering::Release);
    }

    /// Who wants to hear, and is still there.
    pub(super) fn members(&self) -> Vec<Member> {
        let mut members = self.members.lock();
        members.retain(|member| member.host.is_alive());
        self.wanted.store(!members.is_empty(), Ordering::Release);
        members.clone()
    }

    /// Sees to it that somebody listens.
    pub(super) fn see_to(self: &Arc<Self>, nodes: &Arc<Nodes>) {
        if !self.wanted.load(Ordering::Acquire) || self.watching.load(Ordering::Acquire) {
            return;
        }
        let Ok(runtime) = Handle::try_current() else { return };
        if !self.watching.swap(true, Ordering::AcqRel) {
            runtime.spawn(watch(Arc::downgrade(nodes), Watch(Arc::clone(self))));
        }
    }

    /// Word of a key of the stripe, from now on.
    pub(super) fn word_of(&self, namespace: &Arc<str>, bucket: Bucket, stripe: u8) -> OwnedNotified {
        let place = (Arc::clone(namespace), bucket, stripe);
        Arc::clone(self.rooms.lock().entry(place).or_default()).notified_owned()
    }

    /// Something has become of keys of the stripe.
    fn wake(&self, namespace: &str, bucket: Bucket, stripe: u8) {
        let mut rooms = self.rooms.lock();
        if !rooms.is_empty()
            && let Some(room) = rooms.remove(&(namespace.into(), bucket, stripe))
        {
            room.notify_waiters();
        }
    }

    #[cfg(feature = "testing")]
    pub(super) fn leave_out(&self, flaw: Flaw) {
        self.flaw.store(flaw as u8 + 1, Ordering::Release);
    }

    pub(super) fn has(&self, flaw: Flaw) -> bool {
        self.flaw.load(Ordering::Acquire) == flaw as u8 + 1
    }
}

/// Whoever keeps listeners. With its runtime it may go before its time, and another must then begin.
struct Watch(Arc<Bus>);

impl Drop for Watch {
    fn drop(&mut self) {
        self.0.watching.store(false, Ordering::Release);
    }
}

/// Keeps a listener for each server that has keys, as long as anybody wants to hear.
async fn watch(nodes: Weak<Nodes>, watch: Watch) {
    let bus = &watch.0;
    let mut listeners: Vec<(Arc<Lanes>, AbortOnDropHandle<()>)> = Vec::new();
    while let Some(there) = nodes.upgrade() {
        if bus.members().is_empty() {
            return;
        }
        if let Ok(servers) = there.all().await {
            listeners.retain(|(lanes, task)| {
                !task.is_finished() && servers.iter().any(|server| Arc::ptr_eq(server, lanes))
            });
            for server in servers {
                if !listeners.iter().any(|(lanes, _)| Arc::ptr_eq(lanes, &server)) {
                    let task = listener::listen(Weak::clone(&nodes), Arc::clone(bus), Arc::clone(&server));
                    listeners.push((server, AbortOnDropHandle::new(tokio::spawn(task))));
                }
            }
        }
        drop(there);
        let Ok(timer) = time::timer(time::from_now(ROUND)) else { return };
        timer.await;
    }
}
