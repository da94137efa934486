//! Entries as the bytes that stand in a server, and back.

use std::sync::Arc;

use redis::Value as Answer;

use super::envelope::Envelope;
use super::keys::Name;
use super::moment::{Moment, Stamp};
use super::{NAME, layout};
use crate::bounds::Value;
use crate::codec::Codec;
use crate::entry::Entry;
use crate::error::BoxError;
use crate::event::Event;
use crate::tier::token;

/// The biggest value, in bytes as it is written.
const MAX_VALUE: usize = 1024 * 1024;

/// How the values of one cache are written, and which ones are read.
pub(super) struct Copies<V, C> {
    codec: C,
    pub(super) schema: u32,
    accepted: Vec<(u32, Upgrade<V, C>)>,
    pub(super) max_value: usize,
}

/// Reads a value of an older schema.
type Upgrade<V, C> = Arc<dyn Fn(&C, &[u8]) -> Result<V, BoxError> + Send + Sync>;

impl<V, C> Copies<V, C> {
    pub(super) fn new(codec: C) -> Self {
        Self { codec, schema: 1, accepted: Vec::new(), max_value: MAX_VALUE }
    }

    /// The same with another codec, and nothing accepted.
    pub(super) fn with_codec<D>(self, codec: D) -> Copies<V, D> {
        Copies { codec, schema: self.schema, accepted: Vec::new(), max_value: self.max_value }
    }

    /// Also reads what was written as `schema`.
    pub(super) fn accept<Old>(&mut self, schema: u32, upgrade: impl Fn(Old) -> V + Send + Sync + 'static)
    where
        C: Codec<Old>,
    {
        self.accepted.push((schema, Arc::new(move |codec, bytes| codec.decode(bytes).map(&upgrade))));
    }
}

impl<V: Value, C: Codec<V>> Copies<V, C> {
    /// The copy that an answer holds; what to tell if it is none of ours, or may not be used.
    pub(super) fn open(
        &self,
        moment: &Moment,
        name: &Name,
        answer: Answer,
    ) -> Result<Option<Entry<V>>, Event<'static>> {
        let bytes = match answer {
            Answer::Nil => return Ok(None),
            Answer::BulkString(bytes) => bytes,
            _ => return Err(Event::Unreadable { tier: NAME }),
        };
        let kept = match layout::copy(&bytes) {
            Some(kept) => kept,
            None if layout::decode(&bytes).is_some() => return Ok(None),
            None => return Err(Event::Unreadable { tier: NAME }),
        };
        // A copy of an earlier life of the server may have been invalidated in the part of it that was lost.
        if token::incarnation(kept.id.0) != moment.incarnation {
            return Err(Event::Outlived { tier: NAME });
        }
        let value = self.decode(name, &kept.body).ok_or(Event::Unreadable { tier: NAME })?;
        let here = |time| moment.here(time);
        Ok(Some(Entry::new(value, here(kept.as_of), here(kept.fresh_until), here(kept.expires_at))))
    }

    fn decode(&self, name: &Name, body: &[u8]) -> Option<Option<V>> {
        let envelope = Envelope::open(body)?;
        if envelope.key != name.echo()
            || envelope.codec != self.codec.id()
            || envelope.payload.len() > self.max_value
        {
            return None;
        }
        let upgrade = self.accepted.iter().find(|(schema, _)| *schema == envelope.schema);
        match (envelope.schema == self.schema, upgrade) {
            _ if envelope.absent => Some(None),
            (true, _) => self.codec.decode(envelope.payload).ok().map(Some),
            (false, Some((_, upgrade))) => upgrade(&self.codec, envelope.payload).ok().map(Some),
            (false, None) => None,
        }
    }

    /// The bytes of a value, or of an absence, that will stand in its slot as `stamp` says; `None` when they are too
    /// many, or there are none.
    pub(super) fn write(&self, name: &Name, stamp: &Stamp, value: Option<&V>) -> Option<Vec<u8>> {
        _ = stamp;
        let write = value.map(|value| |bytes: &mut Vec<u8>| self.codec.encode(value, bytes));
        let sealed = Envelope::seal(self.schema, self.codec.id(), name.echo(), write).ok().flatten();
        sealed
            .filter(|bytes| Envelope::open(bytes).is_some_and(|whole| whole.payload.len() <= self.max_value))
    }
}
