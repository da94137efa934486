//! Below all tiers: asks the loader, and dates its answers once for every level above.

use std::panic::AssertUnwindSafe;
use std::slice;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::FutureExt;

use super::{Answers, Context, Found, Levels, Question, Quota, Search};
use crate::bounds::{Key, Value};
use crate::coherence::Mark;
use crate::entry::Entry;
use crate::error::{Error, ErrorKind, Result, StoreError};
use crate::event::Event;
use crate::receipt::Reading;
use crate::store::{Finding, LoadRequest, Loaded};
use crate::tier::{Hold, Lookup, Scope};
use crate::time::Timestamp;

/// Where a search ends.
pub(crate) struct Bottom<K> {
    pub(crate) context: Arc<Context>,
    pub(crate) quota: Option<Quota<K>>,
}

impl<K: Key> Bottom<K> {
    /// Asks for a batch. When there is no answer at all, every question gets the same error.
    async fn ask<V: Value>(
        &self,
        questions: &[Question<K, V>],
        search: &Search<'_, K, V>,
    ) -> Vec<Result<Found<V>>> {
        // Taken before the load: an answer is as old as its question.
        let as_of = self.context.clock.now();
        questions.iter().for_each(|question| question.place.ask(as_of));
        let covered: Vec<_> =
            questions.iter().map(|question| self.context.covered(&question.place)).collect();
        match load(questions, search).await {
            Ok(answers) => answers
                .into_iter()
                .zip(questions.iter().zip(covered))
                .map(|(answer, (question, covers))| {
                    let entry = self.date(answer, question.previous.as_ref(), as_of, search.ttl)?;
                    let keep = self.may_keep(&question.key, &entry, as_of);
                    Ok(Found { entry, tier: None, keep, covers })
                })
                .collect(),
            Err(error) => questions.iter().map(|_| Err(error.clone())).collect(),
        }
    }

    fn date<V: Value>(
        &self,
        answer: Result<Loaded<V>, StoreError>,
        previous: Option<&Entry<V>>,
        as_of: Timestamp,
        ttl: Option<Duration>,
    ) -> Result<Entry<V>> {
        let Loaded { found, ttl: own } = answer.map_err(Error::store)?;
        let value = match (found, previous) {
            (Finding::Value(value), _) => Some(value),
            (Finding::Absent, _) => None,
            (Finding::NotModified, Some(previous)) => previous.value().cloned(),
            (Finding::NotModified, None) => return Err(nothing_to_keep()),
        };
        Ok(self.context.date(value, as_of, own.or(ttl)))
    }

    /// Whether there is anything to keep, and the key's tenant has room for it. Where not, no level above keeps it
    /// either, and a copy that it was to replace is dropped.
    fn may_keep<V: Value>(&self, key: &K, entry: &Entry<V>, now: Timestamp) -> bool {
        let ends = entry.expires_at();
        let Some(quota) = &self.quota else { return ends > now };
        if ends <= now {
            quota.forget(slice::from_ref(key));
            return false;
        }
        let admitted = quota.admits(key, ends, now);
        if !admitted {
            self.context.events.emit(&Event::OverQuota);
        }
        admitted
    }

    fn dropped(&self, keys: &[K]) {
        if let Some(quota) = &self.quota {
            quota.forget(keys);
        }
    }
}

/// One call of the loader. A panic is caught here, so that the levels above give their leases back.
async fn load<K: Key, V: Value>(
    questions: &[Question<K, V>],
    search: &Search<'_, K, V>,
) -> Result<Answers<V>> {
    let requests: Vec<_> = questions
        .iter()
        .map(|question| LoadRequest::new(&question.key, question.previous.as_ref()))
        .collect();
    let load = AssertUnwindSafe(search.load.load(&requests)).catch_unwind();
    let answers = load.await.map_err(|_panic| Error::panicked())??;
    if answers.len() == questions.len() {
        Ok(answers)
    } else {
        Err(wrong_length(questions.len(), answers.len()))
    }
}

fn wrong_length(asked: usize, answered: usize) -> Error {
    Error::new(
        ErrorKind::WrongLength,
        format!(
            "the loader was asked for {asked} keys and gave {answered} answers; give one for each, in order"
        ),
    )
}

fn nothing_to_keep() -> Error {
    Error::store(StoreError::new("the loader said `not modified`, and there is no previous copy").permanent())
}

#[async_trait]
impl<K: Key, V: Value> Levels<K, V> for Bottom<K> {
    fn local(&self, _key: &K) -> Option<Entry<V>> {
        None
    }

    fn local_by(&self, _key: &Lookup<'_, K>) -> Option<Entry<V>> {
        None
    }

    async fn copy(&self, _key: &K, _skipped: Option<&'static str>) -> Option<Found<V>> {
        None
    }

    async fn copies(&self, keys: &[K], _skipped: Option<&'static str>) -> Vec<Option<Found<V>>> {
        keys.iter().map(|_| None).collect()
    }

    fn mark(&self, _key: &K) -> Mark {
        Mark::NONE
    }

    async fn revalidate(&self, copies: &[(K, Mark)]) -> Result<Vec<Option<Mark>>> {
        Ok(vec![None; copies.len()])
    }

    fn readings(&self, _keys: &[K]) -> Vec<Reading> {
        Vec::new()
    }

    async fn moment_of(&self, _keys: &[K], _readings: &[Reading]) -> Option<Timestamp> {
        None
    }

    fn has_copies(&self) -> bool {
        false
    }

    async fn find(&self, questions: Vec<Question<K, V>>, search: &Search<'_, K, V>) -> Vec<Result<Found<V>>> {
        let mut answers = Vec::with_capacity(questions.len());
        for batch in questions.chunks(self.context.batch) {
            answers.extend(self.ask(batch, search).await);
        }
        for answer in &answers {
            self.context.events.emit(&match answer {
                Ok(_) => Event::Loaded,
                Err(error) => Event::LoadFailed { error },
            });
        }
        answers
    }

    async fn invalidate(&self, keys: &[K]) -> Result<()> {
        self.dropped(keys);
        Ok(())
    }

    async fn invalidate_each(&self, keys: &[K]) -> Vec<Result<()>> {
        keys.iter().map(|_| Ok(())).collect()
    }

    fn invalidate_now(&self, keys: &[K]) {
        self.dropped(keys);
    }

    async fn hold(&self, keys: &[K], _hold: Hold, _lifetime: Duration) -> Result<()> {
        self.dropped(keys);
        Ok(())
    }

    async fn release(&self, keys: &[K], _hold: Hold) -> Result<()> {
        self.dropped(keys);
        Ok(())
    }

    async fn publish(&self, key: &K, _hold: Hold, entry: &Entry<V>) -> Result<bool> {
        Ok(self.may_keep(key, entry, self.context.clock.now()))
    }

    async fn clear(&self) -> Result<()> {
        if let Some(quota) = &self.quota {
            quota.forget_all();
        }
        Ok(())
    }

    async fn clear_where(&self, scope: &Scope<K>) -> Result<()> {
        if let Some(quota) = &self.quota {
            quota.forget_where(scope);
        }
        Ok(())
    }

    async fn close(&self) -> Result<()> {
        Ok(())
    }
}
