//! Below all tiers: asks the loader, and dates its answers once for every level above.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::FutureExt;

use super::{Answers, Context, Found, Levels, Question, Search};
use crate::bounds::{Key, Value};
use crate::entry::Entry;
use crate::error::{Error, ErrorKind, Result, StoreError};
use crate::event::Event;
use crate::store::{Finding, LoadRequest, Loaded};
use crate::tier::{Hold, Lookup};
use crate::time::Timestamp;

/// Where a search ends.
pub(crate) struct Bottom(pub(crate) Arc<Context>);

impl Bottom {
    /// Asks for a batch. When there is no answer at all, every question gets the same error.
    async fn ask<K: Key, V: Value>(
        &self,
        questions: &[Question<K, V>],
        search: &Search<'_, K, V>,
    ) -> Vec<Result<Found<V>>> {
        // Taken before the load: an answer is as old as its question.
        let as_of = self.0.clock.now();
        let covered: Vec<_> = questions.iter().map(|question| self.0.covered(&question.place)).collect();
        match load(questions, search).await {
            Ok(answers) => answers
                .into_iter()
                .zip(questions.iter().zip(covered))
                .map(|(answer, (question, covers))| {
                    let entry = self.date(answer, question.previous.as_ref(), as_of, search.ttl)?;
                    let keep = entry.expires_at() > as_of;
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
        Ok(self.0.date(value, as_of, own.or(ttl)))
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
impl<K: Key, V: Value> Levels<K, V> for Bottom {
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

    fn has_copies(&self) -> bool {
        false
    }

    async fn find(&self, questions: Vec<Question<K, V>>, search: &Search<'_, K, V>) -> Vec<Result<Found<V>>> {
        let mut answers = Vec::with_capacity(questions.len());
        for batch in questions.chunks(self.0.batch) {
            answers.extend(self.ask(batch, search).await);
        }
        for answer in &answers {
            self.0.events.emit(&match answer {
                Ok(_) => Event::Loaded,
                Err(error) => Event::LoadFailed { error },
            });
        }
        answers
    }

    async fn invalidate(&self, _keys: &[K]) -> Result<()> {
        Ok(())
    }

    fn invalidate_now(&self, _keys: &[K]) {}

    async fn hold(&self, _keys: &[K], _hold: Hold, _lifetime: Duration) -> Result<()> {
        Ok(())
    }

    async fn release(&self, _keys: &[K], _hold: Hold) -> Result<()> {
        Ok(())
    }

    async fn publish(&self, _key: &K, _hold: Hold, _entry: &Entry<V>) -> Result<bool> {
        Ok(true)
    }

    async fn clear(&self) -> Result<()> {
        Ok(())
    }

    async fn close(&self) -> Result<()> {
        Ok(())
    }
}
