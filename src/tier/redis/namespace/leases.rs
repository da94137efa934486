//! The right to fill a key: taking it, filling with it, giving it back when nobody is left to fill.

use std::time::Duration;

use futures_util::future::join_all;
use parking_lot::Mutex;
use redis::Value as Answer;
use tokio::runtime::Handle;

use super::again::until_done;
use super::dropping::anywhere;
use super::{Namespace, TOGETHER};
use crate::bounds::Value;
use crate::codec::Codec;
use crate::entry::Entry;
use crate::event::Event;
use crate::tier::redis::fault::Fault;
use crate::tier::redis::keys::Name;
use crate::tier::redis::moment::millis;
use crate::tier::redis::nodes::Call;
use crate::tier::redis::scripts::Name as Script;
use crate::tier::redis::{NAME, Redis, layout};
use crate::tier::{Acquired, Filled, Lease, Purpose, token};
use crate::time;

impl<V: Value, C: Codec<V>> Namespace<V, C> {
    pub(super) async fn acquire_one(
        &self,
        mut call: Call,
        name: &Name,
        mut purpose: Purpose,
    ) -> Result<Acquired<V>, Fault> {
        loop {
            match self.try_acquire(&call, name, purpose).await {
                Err(Fault::Elsewhere(to)) => call = self.follow(&call, name, &to).await?,
                // What the script takes for a fresh copy cannot be read here: load, and put a readable one in its place.
                Ok(None) if purpose != Purpose::Renew => purpose = Purpose::Renew,
                acquired => return Ok(acquired?.unwrap_or(Acquired::Held)),
            }
        }
    }

    async fn try_acquire(
        &self,
        call: &Call,
        name: &Name,
        purpose: Purpose,
    ) -> Result<Option<Acquired<V>>, Fault> {
        let mark = self.mark_of(name);
        let number = token::placed(token::unique(), call.server().incarnation);
        let lease = millis(self.lease).max(1).to_string();
        let renew: &[u8] = if purpose == Purpose::Renew { b"1" } else { b"0" };
        let arguments: &[&[u8]] = &[&number.to_be_bytes(), lease.as_bytes(), renew];
        // Granted to somebody who has stopped listening, it would keep everybody waiting until it runs out.
        let unheard = GiveBack { namespace: self, name, lease: Lease::new(number) };
        let answer = call.run::<Vec<Answer>>(Script::Acquire, name.redis.as_bytes(), arguments).await;
        if answer.is_ok() || matches!(answer, Err(Fault::Elsewhere(_))) {
            std::mem::forget(unheard);
        }
        let mut answer = answer?.into_iter();
        let (Some(Answer::BulkString(word)), more) = (answer.next(), answer.nth(1)) else {
            return Err(Fault::Odd);
        };
        // What is wrong with a copy was counted when it was looked at.
        let copy = |more: Option<Answer>| {
            self.copies.open(&self.moment(call.server()), name, filled(more?), mark).ok().flatten()
        };
        Ok(match word.as_slice() {
            b"fresh" => copy(more).map(Acquired::Fresh),
            b"granted" => Some(Acquired::Granted(Lease::new(number), copy(more))),
            b"taken" => {
                self.emit(&Event::LeaseTakenOver { tier: NAME });
                Some(Acquired::Granted(Lease::new(number), copy(more)))
            }
            b"busy" => {
                let Some(Answer::BulkString(left)) = more else { return Err(Fault::Odd) };
                Some(Acquired::Busy(Duration::from_millis(layout::number(&left).ok_or(Fault::Odd)?)))
            }
            b"held" => Some(Acquired::Held),
            _ => return Err(Fault::Odd),
        })
    }

    /// Gives a lease back in the background, as soon as the server answers, and only while it can still be in force.
    pub(super) fn give_back(&self, name: &Name, lease: Lease) {
        self.give_all_back(vec![(name.clone(), lease)]);
    }

    /// The same for many, some at a time: thousands at once would make the server look away.
    pub(super) fn give_all_back(&self, leases: Vec<(Name, Lease)>) {
        if leases.is_empty() {
            return;
        }
        let Ok(runtime) = Handle::try_current() else { return };
        let (redis, ends) = (self.redis.clone(), time::from_now(self.lease));
        runtime.spawn(until_done(leases, ends, async move |leases| abandon(&redis, leases).await));
    }

    pub(super) async fn fill_one(
        &self,
        mut call: Call,
        name: &Name,
        lease: Lease,
        entry: &Entry<V>,
    ) -> Result<Filled, Fault> {
        loop {
            match self.try_fill(&call, name, lease, entry).await {
                Err(Fault::Elsewhere(to)) => call = self.follow(&call, name, &to).await?,
                filled => return filled,
            }
        }
    }

    async fn try_fill(
        &self,
        call: &Call,
        name: &Name,
        lease: Lease,
        entry: &Entry<V>,
    ) -> Result<Filled, Fault> {
        let (number, key) = (lease.number(), name.redis.as_bytes());
        // A lease of an earlier life of the server may have come back with a snapshot, after the write that destroyed
        // it; and one that has moved here from another node says nothing of this one.
        let counts_here = token::incarnation(number) == call.server().incarnation;
        let stamp = self.moment(call.server()).stamp(number, entry);
        let body = if counts_here { self.written(name, &stamp, entry) } else { None };
        let Some(body) = body else {
            let given_back = call.run::<String>(Script::Abandon, key, &[&number.to_be_bytes(), b"0"]).await?;
            let unfit = counts_here && given_back == "done";
            return Ok(if unfit { Filled::Unfit } else { Filled::Refused });
        };
        let [as_of, fresh, total] = stamp.arguments();
        let arguments: &[&[u8]] =
            &[&number.to_be_bytes(), as_of.as_bytes(), fresh.as_bytes(), total.as_bytes(), &body];
        let word = self.word_of_load(name);
        let answer: String = call.run_and_tell(Script::Fill, key, arguments, word.as_ref()).await?;
        Ok(if answer == "stored" { Filled::Stored } else { Filled::Refused })
    }
}

/// Tries once to give `leases` back, and returns those whose server did not answer.
async fn abandon(redis: &Redis, leases: Vec<(Name, Lease)>) -> Vec<(Name, Lease)> {
    let mut left = Vec::new();
    for leases in leases.chunks(TOGETHER) {
        let given = leases.iter().map(|(name, lease)| async {
            let (call, number) = (redis.0.call(name.bucket).await, lease.number().to_be_bytes());
            let arguments: &[&[u8]] = &[&number, b"0"];
            anywhere::<String>(redis, call, Script::Abandon, name.redis.as_bytes(), arguments, None).await
        });
        let given = leases.iter().zip(join_all(given).await);
        left.extend(given.filter(|(_, given)| given.is_err()).map(|(lease, _)| lease.clone()));
    }
    left
}

/// Gives a lease back when it is dropped.
struct GiveBack<'a, V: Value, C: Codec<V>> {
    namespace: &'a Namespace<V, C>,
    name: &'a Name,
    lease: Lease,
}

impl<V: Value, C: Codec<V>> Drop for GiveBack<'_, V, C> {
    fn drop(&mut self) {
        self.namespace.give_back(self.name, self.lease);
    }
}

/// Leases of a batch that is still being asked for: whoever wanted it may have stopped listening.
pub(super) struct Unheard<'a, V: Value, C: Codec<V>> {
    pub(super) namespace: &'a Namespace<V, C>,
    pub(super) leases: Mutex<Vec<(&'a Name, Lease)>>,
}

impl<V: Value, C: Codec<V>> Drop for Unheard<'_, V, C> {
    fn drop(&mut self) {
        let leases = self.leases.get_mut().drain(..).map(|(name, lease)| (name.clone(), lease));
        self.namespace.give_all_back(leases.collect());
    }
}

/// An empty string in a script's answer stands for nothing.
fn filled(answer: Answer) -> Answer {
    match answer {
        Answer::BulkString(bytes) if bytes.is_empty() => Answer::Nil,
        other => other,
    }
}
