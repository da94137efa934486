//! Entries as the bytes that stand in a server, and back.

use std::sync::Arc;

use redis::Value as Answer;

use super::envelope::Envelope;
use super::keys::Name;
use super::moment::{Moment, Stamp};
use super::packing::Packing;
use super::{NAME, layout};
use crate::bounds::Value;
use crate::codec::Codec;
use crate::codec::buffer::Buffer;
use crate::coherence::Mark;
use crate::entry::Entry;
use crate::error::BoxError;
use crate::event::Event;
use crate::tier::token;

/// The biggest value, in bytes as its codec writes it.
const MAX_VALUE: usize = 1024 * 1024;

/// How the values of one cache are written, and which ones are read.
pub(super) struct Copies<V, C> {
    codec: C,
    pub(super) schema: u32,
    accepted: Vec<(u32, Upgrade<V, C>)>,
    pub(super) max_value: usize,
    pub(super) packing: Packing,
}

/// Reads a value of an older schema.
type Upgrade<V, C> = Arc<dyn Fn(&C, &[u8]) -> Result<V, BoxError> + Send + Sync>;

impl<V, C> Copies<V, C> {
    pub(super) fn new(codec: C) -> Self {
        Self { codec, schema: 1, accepted: Vec::new(), max_value: MAX_VALUE, packing: Packing::default() }
    }

    /// The same with another codec, and nothing accepted.
    pub(super) fn with_codec<D>(self, codec: D) -> Copies<V, D> {
        Copies {
            codec,
            accepted: Vec::new(),
            schema: self.schema,
            max_value: self.max_value,
            packing: self.packing,
        }
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
    /// The copy that an answer holds, with the mark of before the question; what to tell if it is none of ours, or may not be used.
    pub(super) fn open(
        &self,
        moment: &Moment,
        name: &Name,
        answer: Answer,
        mark: Mark,
    ) -> Result<Option<Entry<V>>, Event<'static>> {
        let mut bytes = match answer {
            Answer::Nil => return Ok(None),
            Answer::BulkString(bytes) => bytes,
            _ => return Err(Event::Unreadable { tier: NAME }),
        };
        let (stamp, begin) = match layout::copy(&bytes) {
            // The body is at the end, whatever the slot's state.
            Some(kept) => (Stamp::of(&kept), bytes.len() - kept.body.len()),
            None if layout::decode(&bytes).is_some() => return Ok(None),
            None => return Err(Event::Unreadable { tier: NAME }),
        };
        // A copy of an earlier life of the server may have been invalidated in the part of it that was lost.
        if token::incarnation(stamp.id) != moment.incarnation {
            return Err(Event::Outlived { tier: NAME });
        }
        let value = self.decode(name, &stamp, &mut bytes[begin..]).ok_or(Event::Unreadable { tier: NAME })?;
        let here = |time| moment.here(time);
        let entry = Entry::new(value, here(stamp.as_of), here(stamp.fresh_until), here(stamp.expires_at));
        Ok(Some(entry.marked(mark.of_copy(stamp.id))))
    }

    fn decode(&self, name: &Name, stamp: &Stamp, body: &mut [u8]) -> Option<Option<V>> {
        let Envelope { schema, codec, form, key, payload } = Envelope::open(body)?;
        if key != name.echo() || codec != self.codec.id() {
            return None;
        }
        let begin = body.len() - payload.len();
        let payload = self.packing.open(body, begin, form.sealed, name, stamp)?;
        if form.absent {
            return Some(None);
        }
        let bytes = form.compression.expand(payload, self.max_value)?;
        let upgrade = self.accepted.iter().find(|(older, _)| *older == schema);
        match upgrade {
            _ if schema == self.schema => self.codec.decode(&bytes).ok().map(Some),
            Some((_, upgrade)) => upgrade(&self.codec, &bytes).ok().map(Some),
            None => None,
        }
    }

    /// The bytes of a value, or of an absence, that will stand in its slot as `stamp` says; `None` when they are too
    /// many, or cannot be made.
    pub(super) fn write(&self, name: &Name, stamp: &Stamp, value: Option<&V>) -> Option<Buffer> {
        let mut bytes = Buffer::take();
        let begin = Envelope::begin(&mut bytes, self.schema, self.codec.id(), name.echo())?;
        self.packing.begin(&mut bytes);
        let before = bytes.len();
        if let Some(value) = value {
            self.codec.encode(value, &mut bytes).ok()?;
        }
        // Readers refuse what is bigger, however small it was made on the way.
        if bytes.len().checked_sub(before)? > self.max_value {
            return None;
        }
        self.packing.finish(&mut bytes, begin, value.is_none(), name, stamp)?;
        Some(bytes)
    }
}
