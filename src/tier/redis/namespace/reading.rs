//! Reading copies: one, or many of many servers at once.

use std::collections::BTreeMap;

use futures_util::future::join_all;
use redis::Value as Answer;

use super::Namespace;
use crate::bounds::Value;
use crate::codec::Codec;
use crate::coherence::Mark;
use crate::entry::Entry;
use crate::event::Event;
use crate::tier::redis::NAME;
use crate::tier::redis::fault::Fault;
use crate::tier::redis::keys::{Bucket, Name};
use crate::tier::redis::moment::Moment;

impl<V: Value, C: Codec<V>> Namespace<V, C> {
    /// The copies of some names, in their order. What one server does not tell is missing, what none tells is a fault.
    pub(super) async fn read_many(&self, names: &[Name]) -> Result<Vec<Option<Entry<V>>>, Fault> {
        let mut parts: BTreeMap<Option<Bucket>, Vec<usize>> = BTreeMap::new();
        for (at, name) in names.iter().enumerate() {
            // A cluster takes no command for keys of several slots.
            parts.entry(self.redis.0.are_many().then_some(name.bucket)).or_default().push(at);
        }
        let parts: Vec<Vec<usize>> = parts.into_values().collect();
        let answers =
            join_all(parts.iter().map(|part| self.read_part(part.iter().map(|at| &names[*at]).collect())));
        let mut copies: Vec<Option<Entry<V>>> = names.iter().map(|_| None).collect();
        for (part, answer) in parts.iter().zip(self.whatever_came(answers.await)?) {
            for (at, copy) in part.iter().zip(answer.into_iter().flatten()) {
                copies[*at] = copy;
            }
        }
        Ok(copies)
    }

    /// The copies of names that one command can ask for.
    async fn read_part(&self, names: Vec<&Name>) -> Result<Vec<Option<Entry<V>>>, Fault> {
        let mut mget = redis::cmd("MGET");
        names.iter().for_each(|name| _ = mget.arg(&name.redis));
        match self.ask_for(&names, &mget).await {
            Ok((moment, Answer::Array(answers), marks)) if answers.len() == names.len() => {
                let copies = names.iter().zip(answers).zip(marks);
                Ok(copies.map(|((name, answer), mark)| self.entry(&moment, name, answer, mark)).collect())
            }
            Ok(_) => Err(Fault::Odd),
            // They are on their way from one node to another, one after the other.
            Err(Fault::Parted) => {
                join_all(names.iter().map(|name| self.read_one(name))).await.into_iter().collect()
            }
            Err(fault) => Err(fault),
        }
    }

    /// The copy of one name: the way of every hit.
    pub(super) async fn read_one(&self, name: &Name) -> Result<Option<Entry<V>>, Fault> {
        let mut get = redis::cmd("GET");
        get.arg(&name.redis);
        match self.ask_patiently(name, &get).await {
            Ok((moment, answer, mark)) => Ok(self.entry(&moment, name, answer, mark)),
            // Another kind of value stands there. Asked for with others it would have been a miss.
            Err(Fault::Refused(code)) if code == "WRONGTYPE" => {
                self.emit(&Event::Unreadable { tier: NAME });
                Ok(None)
            }
            Err(fault) => Err(fault),
        }
    }

    /// A command that only reads, where the name is. A connection that breaks tells of the end of the server's last life,
    /// and nothing of its present one: it is asked again, at the most as often as there are connections that can break.
    pub(super) async fn ask_patiently(
        &self,
        name: &Name,
        command: &redis::Cmd,
    ) -> Result<(Moment, Answer, Mark), Fault> {
        let (moment, answer, marks) = self.ask_for(&[name], command).await?;
        Ok((moment, answer, marks.into_iter().next().unwrap_or(Mark::NONE)))
    }

    /// The same for all names that are on one server, with what their copies are marked with. Marks are taken before the
    /// question: `R: asks · S: answers v1 · W: drops, S tells · R: marks v1` would never hear of it. And before the link is
    /// chosen: of one whose listener has ended since, they are void with the next listener's flush.
    async fn ask_for(
        &self,
        names: &[&Name],
        command: &redis::Cmd,
    ) -> Result<(Moment, Answer, Vec<Mark>), Fault> {
        let mut patience = self.redis.0.patience();
        let marks = || names.iter().map(|name| self.mark_of(name)).collect::<Vec<_>>();
        // All names of one question are in one bucket, or all buckets on one server.
        let wants_tracking = self.wants_tracking(names[0]);
        let tracked = wants_tracking.then(|| names.iter().map(|name| self.tracked_mark_of(name)).collect());
        let mut own = marks();
        let mut call = self.call(names[0]).await?;
        if let Some(tracked) = tracked
            && call.track()
        {
            own = tracked;
        }
        loop {
            match call.ask::<Answer>(command).await {
                Err(Fault::Lost) if patience > 0 => {
                    patience -= 1;
                    own = marks();
                    call = self.call(names[0]).await?;
                }
                Err(Fault::Elsewhere(to)) => {
                    own = marks();
                    call = self.follow(&call, names[0], &to).await?;
                }
                answer => {
                    let marks = names.iter().zip(own).map(|(name, mark)| match call.is_heard_of() {
                        true => self.in_time(mark, name),
                        false => mark.alone(),
                    });
                    let marks = marks.collect();
                    return Ok((self.moment(call.server()), answer?, marks));
                }
            }
        }
    }

    /// What came of the parts of a batch, `None` for those that failed, which is told; the fault when all did.
    pub(super) fn whatever_came<T>(&self, answers: Vec<Result<T, Fault>>) -> Result<Vec<Option<T>>, Fault> {
        if answers.iter().all(Result::is_err) {
            return answers.into_iter().map(|answer| answer.map(Some)).collect();
        }
        let told = answers.into_iter().map(|answer| {
            answer.map_err(|fault| self.emit(&Event::TierFailed { tier: NAME, error: &fault.into() })).ok()
        });
        Ok(told.collect())
    }

    /// The copy that an answer to a look holds, if it may be used. Why not is counted.
    fn entry(&self, moment: &Moment, name: &Name, answer: Answer, mark: Mark) -> Option<Entry<V>> {
        self.copies.open(moment, name, answer, mark).unwrap_or_else(|why_not| {
            self.emit(&why_not);
            None
        })
    }
}
