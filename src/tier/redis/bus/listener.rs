//! One listener: a connection of its own to one server, on which messages come, and on which the server is asked again and
//! again whether it is still there. What was asked and answered there is the *barrier*: all messages of before the
//! question have come.

use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use futures_util::future::join_all;
use redis::Value;
use tokio::time::Instant;

use super::ear::{Ear, Place, buckets};
use super::{Bus, Member};
use crate::coherence::Coherence;
use crate::event::Event;
use crate::tier::redis::NAME;
use crate::tier::redis::fault::Fault;
use crate::tier::redis::keys;
use crate::tier::redis::lanes::{Lanes, Link};
use crate::tier::redis::nodes::Nodes;
use crate::time::{self, Timestamp};

/// The pauses before a new connection: the first, and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(1));
/// The barriers of a bound: so often it is asked within it.
const BARRIERS: u32 = 4;
/// The shortest and the longest time between two barriers.
const BEATS: (Duration, Duration) = (Duration::from_millis(5), Duration::from_secs(5));
/// How long an answer may take, where the bound is shorter.
const PATIENCE: Duration = Duration::from_millis(200);

/// Listens to one server for as long as there is anybody to listen for.
pub(super) async fn listen(nodes: Weak<Nodes>, bus: Arc<Bus>, lanes: Arc<Lanes>) {
    let mut pause = PAUSES.0;
    loop {
        let began = Instant::now();
        match attend(&nodes, &bus, &lanes).await {
            Ok(()) => return,
            Err(fault) => tell(&bus, &fault),
        }
        pause = if began.elapsed() > PAUSES.1 { PAUSES.0 } else { (pause * 2).min(PAUSES.1) };
        let Ok(timer) = time::timer(time::from_now(pause.mul_f64(0.5 + fastrand::f64() / 2.0))) else {
            return;
        };
        timer.await;
    }
}

/// Whoever wants to hear is told why nobody does: what is not heard of is asked for.
fn tell(bus: &Bus, fault: &Fault) {
    if let Fault::Refused(_) | Fault::Unfit(_) | Fault::Odd = fault {
        bus.members().iter().for_each(|member| tell_one(member, fault));
    }
}

fn tell_those_of(bus: &Bus, namespace: &str, fault: &Fault) {
    bus.members()
        .iter()
        .filter(|member| &*member.namespace == namespace)
        .for_each(|member| tell_one(member, fault));
}

fn tell_one(member: &Member, fault: &Fault) {
    let error = fault.clone().into();
    member.host.emit(&Event::TierFailed { tier: NAME, error: &error });
    member.host.emit(&Event::Coherent { tier: NAME, how: "validated" });
}

/// One connection, from its beginning to its end. `Ok`: nobody wants to hear any more.
async fn attend(nodes: &Weak<Nodes>, bus: &Arc<Bus>, lanes: &Arc<Lanes>) -> Result<(), Fault> {
    let ear = Arc::new(Ear::new(Arc::clone(bus)));
    let told = Arc::clone(&ear);
    let link = lanes.listen(move |push| told.hear(push)).await?;
    let mut listener = Listener {
        nodes,
        bus,
        lanes,
        ear: Ended(ear),
        link,
        tracks: None,
        refusals: HashMap::new(),
        clocks: Clocks::now(),
    };
    loop {
        if bus.members().is_empty() {
            return Ok(());
        }
        let bound = listener.bound();
        match time::within(time::from_now(bound.max(PATIENCE)), listener.barrier()).await {
            Ok(barrier) => barrier?,
            Err(_unanswered) => return Err(Fault::Late),
        }
        let beat = (bound / BARRIERS).clamp(BEATS.0, BEATS.1);
        let Ok(timer) = time::timer(time::from_now(beat)) else { return Ok(()) };
        tokio::select! {
            () = timer => {}
            () = listener.ear.0.ended.notified() => return Err(Fault::Lost),
        }
    }
}

struct Listener<'a> {
    nodes: &'a Weak<Nodes>,
    bus: &'a Arc<Bus>,
    lanes: &'a Arc<Lanes>,
    ear: Ended,
    link: Link,
    /// Whether the server remembers what is read here; unknown before it was asked to.
    tracks: Option<bool>,
    /// Namespaces that it does not let us listen to, and when it last said so.
    refusals: HashMap<Arc<str>, Instant>,
    clocks: Clocks,
}

/// An ear that hears nothing any more once it is dropped.
struct Ended(Arc<Ear>);

impl Drop for Ended {
    fn drop(&mut self) {
        self.0.end();
    }
}

impl Drop for Listener<'_> {
    fn drop(&mut self) {
        if self.tracks == Some(true) {
            self.lanes.track(None);
        }
    }
}

impl Listener<'_> {
    fn bound(&self) -> Duration {
        self.bus.members().iter().map(|member| member.coherence.bound()).min().unwrap_or(BEATS.1)
    }

    /// Asks, and believes for a bound from the question on what was heard until the answer.
    async fn barrier(&mut self) -> Result<(), Fault> {
        let Some(nodes) = self.nodes.upgrade() else { return Err(Fault::Lost) };
        if self.clocks.have_parted(self.bound()) {
            return Err(Fault::Lost);
        }
        let members = self.bus.members();
        let sent: Vec<(Member, Timestamp)> =
            members.into_iter().map(|member| (member.clone(), member.host.clock().now())).collect();
        // A primary that has been replaced goes on answering.
        if !self.lanes.is_same(&self.link).await? {
            return Err(Fault::Lost);
        }
        self.see_to_tracking(&sent).await?;
        let places = self.places(&sent, &nodes);
        self.ear.0.leave_all_but(&places);
        let places = self.subscribe(places, &sent, &nodes).await?;
        self.ear.0.ask();
        let numbers = places.iter().map(|place| self.number(place, self.is_counted(place, &sent)));
        let numbers = join_all(numbers).await;
        let mut told = Vec::new();
        for (place, number) in places.iter().zip(numbers) {
            match number {
                Ok(number) => {
                    if self.ear.0.answered(place, number, &sent) && !told.contains(&place.0) {
                        told.push(Arc::clone(&place.0));
                    }
                }
                Err(Fault::Elsewhere(to)) => {
                    self.ear.0.leave(place);
                    nodes.learn(self.lanes, place.1, &to);
                }
                Err(fault @ Fault::Refused(_)) => self.refused(place, &fault),
                Err(fault) => return Err(fault),
            }
        }
        if self.tracks == Some(true) {
            // Somebody's answer may have been late on it, and nobody have read there since.
            self.lanes.track(Some(self.link.clone()));
        }
        for (member, _) in sent.iter().filter(|(member, _)| told.contains(&member.namespace)) {
            let how = if self.is_tracked(member) { "tracked" } else { "bus" };
            member.host.emit(&Event::Coherent { tier: NAME, how });
        }
        Ok(())
    }

    /// Has the server remember what is read here, if anybody wants that.
    async fn see_to_tracking(&mut self, members: &[(Member, Timestamp)]) -> Result<(), Fault> {
        let is_wanted = members
            .iter()
            .any(|(member, _)| matches!(member.coherence, Coherence::Tracked(_) | Coherence::Auto(_)));
        if !is_wanted || self.tracks.is_some() {
            return Ok(());
        }
        let mut tracking = redis::cmd("CLIENT");
        tracking.arg("TRACKING").arg("ON");
        let answer = tracking.query_async::<Value>(&mut self.link.connection()).await;
        match answer.map_err(|error| Fault::of(&error)) {
            Ok(_) => {
                self.tracks = Some(true);
                self.lanes.track(Some(self.link.clone()));
            }
            Err(fault @ Fault::Refused(_)) => {
                self.tracks = Some(false);
                if members.iter().any(|(member, _)| matches!(member.coherence, Coherence::Tracked(_))) {
                    tell(self.bus, &fault);
                }
            }
            Err(fault) => return Err(fault),
        }
        Ok(())
    }

    fn is_tracked(&self, member: &Member) -> bool {
        match member.coherence {
            Coherence::Tracked(_) => true,
            Coherence::Auto(_) => self.tracks == Some(true),
            _ => false,
        }
    }

    /// The buckets that this server has, of namespaces that somebody listens for here.
    fn places(&self, members: &[(Member, Timestamp)], nodes: &Nodes) -> Vec<Place> {
        let mut namespaces: Vec<&Arc<str>> = Vec::new();
        for (member, _) in members {
            let is_heard = self.tracks == Some(true) || !matches!(member.coherence, Coherence::Tracked(_));
            if is_heard && !self.is_refused(&member.namespace) && !namespaces.contains(&&member.namespace) {
                namespaces.push(&member.namespace);
            }
        }
        let buckets = buckets().filter(|bucket| nodes.has(self.lanes, *bucket));
        buckets.flat_map(|bucket| namespaces.iter().map(move |name| (Arc::clone(name), bucket))).collect()
    }

    /// Listens to buckets that were not listened to yet; with those that are listened to.
    async fn subscribe(
        &mut self,
        places: Vec<Place>,
        members: &[(Member, Timestamp)],
        nodes: &Nodes,
    ) -> Result<Vec<Place>, Fault> {
        let new = places.iter().filter(|place| !self.ear.0.listens_to(place)).cloned();
        let command = if nodes.are_many() { "SSUBSCRIBE" } else { "SUBSCRIBE" };
        let mut asked = Vec::new();
        for place in new {
            let by_tracking = !self.is_counted(&place, members);
            self.ear.0.enter(&place, by_tracking);
            if !by_tracking {
                let mut connection = self.link.connection();
                asked.push(async move {
                    let mut subscribe = redis::cmd(command);
                    subscribe.arg(keys::channel_name(&place.0, place.1));
                    let answer = subscribe.query_async::<Value>(&mut connection).await;
                    (place, answer.map_err(|error| Fault::of(&error)))
                });
            }
        }
        for (place, answer) in join_all(asked).await {
            match answer {
                Ok(_) => {}
                Err(Fault::Elsewhere(_)) => self.ear.0.leave(&place),
                Err(fault @ Fault::Refused(_)) => self.refused(&place, &fault),
                Err(fault) => return Err(fault),
            }
        }
        Ok(places.into_iter().filter(|place| self.ear.0.listens_to(place)).collect())
    }

    /// One namespace may not be listened to; the others are.
    fn refused(&mut self, place: &Place, fault: &Fault) {
        self.ear.0.leave(place);
        let last = self.refusals.insert(Arc::clone(&place.0), Instant::now());
        if last.is_none() {
            tell_those_of(self.bus, &place.0, fault);
        }
    }

    /// Whether a namespace was refused a moment ago: nobody asks again at once.
    fn is_refused(&self, namespace: &Arc<str>) -> bool {
        self.refusals.get(namespace).is_some_and(|at| at.elapsed() < BEATS.1)
    }

    /// How many messages there have been of a bucket, as the server counts. Where it does not count yet, or has lost count, it
    /// begins with its time: no count at all would look the same twice, with messages in between.
    async fn number(&self, place: &Place, is_counted: bool) -> Result<u64, Fault> {
        if !is_counted {
            // Any answer will do; of a name that nobody writes, or the server would tell of it too.
            let nothing = keys::name_of_nothing(&place.0, place.1);
            return self.count(&nothing).await.map(|_| 0);
        }
        let name = keys::number_name(&place.0, place.1);
        match self.count(&name).await? {
            None => {
                let mut begin = redis::cmd("SET");
                let number = self.link.server().now().1.saturating_mul(1_000);
                begin.arg(&name).arg(number).arg("NX");
                let answer = begin.query_async::<Value>(&mut self.link.connection()).await;
                answer.map_err(|error| Fault::of(&error))?;
                Ok(self.count(&name).await?.unwrap_or(0))
            }
            Some(number) => Ok(number),
        }
    }

    async fn count(&self, name: &str) -> Result<Option<u64>, Fault> {
        let mut get = redis::cmd("GET");
        get.arg(name);
        let answer = get.query_async::<Option<Vec<u8>>>(&mut self.link.connection()).await;
        // Somebody else's value there is no number: the next message begins anew.
        let number = |bytes: Vec<u8>| std::str::from_utf8(&bytes).ok().and_then(|number| number.parse().ok());
        Ok(answer.map_err(|error| Fault::of(&error))?.map(|bytes| number(bytes).unwrap_or(0)))
    }

    fn is_counted(&self, place: &Place, members: &[(Member, Timestamp)]) -> bool {
        let member = members.iter().find(|(member, _)| member.namespace == place.0);
        member.is_some_and(|(member, _)| !self.is_tracked(member))
    }
}

/// Two clocks, of which one stands still while the machine sleeps and the other one does not, or is set.
struct Clocks {
    steady: Instant,
    /// Since 1970.
    wall: Duration,
}

impl Clocks {
    fn now() -> Self {
        Self { steady: Instant::now(), wall: time::since_1970() }
    }

    /// Whether one of them has gone on for longer than the other by more than half of `bound`, and [`PATIENCE`], since the last
    /// time: nobody knows for how long nothing was heard.
    fn have_parted(&mut self, bound: Duration) -> bool {
        let last = std::mem::replace(self, Self::now());
        let steady = self.steady - last.steady;
        let Some(wall) = self.wall.checked_sub(last.wall) else { return true };
        wall.abs_diff(steady) > (bound / 2).max(PATIENCE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_jumps_is_noticed() {
        let bound = Duration::from_secs(1);
        assert!(!Clocks::now().have_parted(bound));
        let slept = Clocks { wall: time::since_1970() - Duration::from_secs(60), ..Clocks::now() };
        assert!({ slept }.have_parted(bound));
        let set_back = Clocks { wall: time::since_1970() + Duration::from_secs(60), ..Clocks::now() };
        assert!({ set_back }.have_parted(bound));
    }
}
