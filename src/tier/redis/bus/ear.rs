//! What comes on a listener's connection without being asked for. It is acted upon by the task that reads the connection,
//! so that an answer never overtakes what was sent before it.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use parking_lot::Mutex;
use redis::{PushInfo, PushKind, Value};
use tokio::sync::Notify;

use super::{Bus, Flaw, Member, word};
use crate::coherence::{Act, BUCKETS, Follower, Said};
use crate::event::Event;
use crate::tier::redis::NAME;
use crate::tier::redis::keys::{self, Bucket};
use crate::time::Timestamp;

/// A bucket of a namespace.
pub(super) type Place = (Arc<str>, Bucket);

/// What one connection has heard, and who wants to know.
pub(super) struct Ear {
    bus: Arc<Bus>,
    heard: Mutex<Heard>,
    pub(super) ended: Notify,
}

#[derive(Default)]
struct Heard {
    /// The buckets that are listened to, and how: by messages, or by what was read.
    places: HashMap<Place, Listening>,
    is_over: bool,
}

enum Listening {
    Bus(Follower),
    Tracking { confirmed: bool },
}

impl Ear {
    pub(super) fn new(bus: Arc<Bus>) -> Self {
        Self { bus, heard: Mutex::default(), ended: Notify::new() }
    }

    /// No copy counts any more.
    pub(super) fn flush_all(&self) {
        for (member, bucket) in
            self.bus.members().iter().flat_map(|member| buckets().map(move |b| (member, b)))
        {
            obey(member, bucket, Act::Flush);
            tell(member, Act::Flush);
        }
    }

    /// Something has come.
    pub(super) fn hear(&self, PushInfo { kind, data }: PushInfo) {
        match kind {
            PushKind::Message | PushKind::SMessage => self.word(&data),
            PushKind::Invalidate => self.changed(&data),
            PushKind::SUnsubscribe => {
                if let Some(Value::BulkString(channel)) = data.first()
                    && let Some((namespace, bucket)) = word::place_of_channel(channel)
                {
                    self.leave(&(namespace.into(), bucket));
                }
            }
            PushKind::Disconnection => self.end(),
            _ => {}
        }
    }

    fn word(&self, data: &[Value]) {
        let Some((namespace, bucket, heard)) = word::heard(data) else { return };
        let (number, said) = match heard {
            word::Heard::Dropped(number, said) => (number, said),
            word::Heard::Filled(stripe) => return self.bus.wake(namespace, bucket, stripe),
        };
        if let Said::Stripe(stripe) = said {
            self.bus.wake(namespace, bucket, stripe);
        }
        let mut heard = self.heard.lock();
        let Some(Listening::Bus(follower)) = heard.places.get_mut(&(namespace.into(), bucket)) else {
            return;
        };
        let act = follower.hear(number, said);
        self.each(namespace, |member| obey(member, bucket, act));
        drop(heard);
        self.each(namespace, |member| tell(member, act));
    }

    /// Keys that were read on this connection have changed; or all of them may have.
    fn changed(&self, data: &[Value]) {
        let Some(Value::Array(names)) = data.first() else {
            return self.flush_all();
        };
        for name in names {
            if let Value::BulkString(name) = name
                && let Some((namespace, bucket, stripe)) = keys::place_of(name)
            {
                self.each(namespace, |member| obey(member, bucket, Act::Drop(stripe)));
                self.bus.wake(namespace, bucket, stripe);
            }
        }
    }

    /// Begins to listen to a bucket. What is heard counts from the first answer on.
    pub(super) fn enter(&self, place: &Place, by_tracking: bool) {
        let listening = match by_tracking {
            true => Listening::Tracking { confirmed: false },
            false => Listening::Bus(Follower::default()),
        };
        self.heard.lock().places.insert(place.clone(), listening);
    }

    /// Whether a bucket is listened to.
    pub(super) fn listens_to(&self, place: &Place) -> bool {
        self.heard.lock().places.contains_key(place)
    }

    /// Other buckets are somebody else's by now. One that comes back meanwhile begins anew: what was told elsewhere was not
    /// heard here.
    pub(super) fn leave_all_but(&self, places: &[Place]) {
        let left: HashSet<&Place> = places.iter().collect();
        let gone: Vec<Place> = {
            let heard = self.heard.lock();
            heard.places.keys().filter(|place| !left.contains(place)).cloned().collect()
        };
        gone.iter().for_each(|place| self.leave(place));
    }

    /// The bucket is somebody else's by now.
    pub(super) fn leave(&self, place: &Place) {
        if self.heard.lock().places.remove(place).is_some() {
            self.each(&place.0, |member| self.distrust(member, place.1));
        }
    }

    /// The server is being asked how far it is.
    pub(super) fn ask(&self) {
        for listening in self.heard.lock().places.values_mut() {
            if let Listening::Bus(follower) = listening {
                follower.ask();
            }
        }
    }

    /// The server has said how far a bucket is, to a question that `member` sent at the moment from which its bound counts.
    /// Whether that was the first time.
    pub(super) fn answered(&self, place: &Place, number: u64, sent: &[(Member, Timestamp)]) -> bool {
        let mut heard = self.heard.lock();
        if heard.is_over {
            return false;
        }
        let (act, first, by_tracking) = match heard.places.get_mut(place) {
            Some(Listening::Bus(follower)) => {
                let first = !follower.is_following();
                (follower.answered(number), first, false)
            }
            Some(Listening::Tracking { confirmed }) => match std::mem::replace(confirmed, true) {
                true => (Act::None, false, true),
                false => (Act::Flush, true, true),
            },
            None => return false,
        };
        let act = if first && self.bus.has(Flaw::EarlyFlush) { Act::None } else { act };
        let mut obeyed = Vec::new();
        for (member, sent) in sent.iter().filter(|(member, _)| *member.namespace == *place.0) {
            // Marks of before the flush are void, whatever was told of when they were taken.
            let news = member.trust.set_tracked(usize::from(place.1), by_tracking);
            let act = if news && act == Act::None { Act::Flush } else { act };
            obey(member, place.1, act);
            obeyed.push((member, act));
            let until = match self.bus.has(Flaw::NoBarrier) {
                true => Timestamp::NEVER,
                false => sent.after(member.coherence.bound()),
            };
            member.trust.trust(usize::from(place.1), until);
        }
        // Whoever observes may take its time, and messages wait for the lock.
        drop(heard);
        obeyed.into_iter().for_each(|(member, act)| tell(member, act));
        first
    }

    /// The connection is gone, and with it whatever is told from now on.
    pub(super) fn end(&self) {
        let mut heard = self.heard.lock();
        if std::mem::replace(&mut heard.is_over, true) {
            return;
        }
        let mut doubtful: Vec<Arc<str>> = Vec::new();
        for (place, _) in heard.places.drain() {
            self.each(&place.0, |member| self.distrust(member, place.1));
            if self.bus.has(Flaw::EarlyFlush) {
                self.each(&place.0, |member| obey(member, place.1, Act::Flush));
            }
            if !doubtful.contains(&place.0) {
                doubtful.push(place.0);
            }
        }
        drop(heard);
        for namespace in doubtful {
            self.each(&namespace, |member| member.host.emit(&Event::InStepNoMore { tier: NAME }));
        }
        self.ended.notify_one();
    }

    fn distrust(&self, member: &Member, bucket: Bucket) {
        if !self.bus.has(Flaw::NoBarrier) {
            member.trust.distrust(usize::from(bucket));
        }
    }

    fn each(&self, namespace: &str, act: impl FnMut(&Member)) {
        let members = self.bus.members();
        members.iter().filter(|member| &*member.namespace == namespace).for_each(act);
    }
}

pub(super) fn buckets() -> impl Iterator<Item = Bucket> {
    0..BUCKETS as Bucket
}

/// Does what follows from a message or an answer.
fn obey(member: &Member, bucket: Bucket, act: Act) {
    let place = usize::from(bucket);
    match act {
        Act::None => {}
        Act::Drop(stripe) => member.trust.drop_stripe(place, usize::from(stripe)),
        Act::Flush | Act::FlushForGap => member.trust.flush(place),
    }
}

/// Tells whoever observes what was done.
fn tell(member: &Member, act: Act) {
    if let Act::Flush | Act::FlushForGap = act {
        member.host.emit(&Event::LocalFlush { tier: NAME });
    }
    if act == Act::FlushForGap {
        member.host.emit(&Event::MessageMissed { tier: NAME });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listened_to(ear: &Ear, place: &Place) -> bool {
        ear.enter(place, true);
        ear.answered(place, 0, &[])
    }

    /// `A has a bucket · B has it, and W drops there · A has it again`: A has not told of that.
    #[test]
    fn a_bucket_that_comes_back_begins_anew() {
        let ear = Ear::new(Arc::default());
        let (stays, goes): (Place, Place) = (("n".into(), 1), ("n".into(), 2));
        assert!(listened_to(&ear, &stays) && listened_to(&ear, &goes));
        ear.leave_all_but(std::slice::from_ref(&stays));
        assert!(!ear.answered(&stays, 0, &[]), "nothing has become of it");
        assert!(!ear.listens_to(&goes));
        assert!(listened_to(&ear, &goes), "it begins with a flush");
    }
}
