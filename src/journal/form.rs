//! How the writes of a journal become records, and records writes again.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::payload::{self, Payload};
use crate::change::Change;
use crate::codec::Codec;
use crate::error::{BoxError, Result};
use crate::time::since_1970;

/// How values are written and read.
pub(super) struct Form<V, C> {
    codec: C,
    schema: u32,
    upgrade: Option<Box<Upgrade<V>>>,
}

type Upgrade<V> = dyn Fn(u32, &[u8]) -> Option<V> + Send + Sync;

impl<V, C> Form<V, C> {
    pub(super) const fn new(codec: C) -> Self {
        Self { codec, schema: 0, upgrade: None }
    }

    pub(super) fn with_codec<D>(self, codec: D) -> Form<V, D> {
        Form { codec, schema: self.schema, upgrade: self.upgrade }
    }

    pub(super) fn with_schema(self, schema: u32) -> Self {
        Self { schema, ..self }
    }

    pub(super) fn with_upgrade(
        self,
        upgrade: impl Fn(u32, &[u8]) -> Option<V> + Send + Sync + 'static,
    ) -> Self {
        Self { upgrade: Some(Box::new(upgrade)), ..self }
    }
}

impl<V, C: Codec<V>> Form<V, C> {
    /// The record of a change.
    pub(super) fn write<K: Serialize>(&self, change: &Change<K, V>) -> Result<Vec<u8>, BoxError> {
        let key = serde_json::to_vec(change.key())?;
        let mut bytes = Vec::new();
        let value = match change {
            Change::Put(_, value) | Change::Merge(_, value) => {
                self.codec.encode(value, &mut bytes)?;
                Some(&bytes[..])
            }
            Change::Delete(_) => None,
        };
        let accepted = u64::try_from(since_1970().as_millis()).unwrap_or(u64::MAX);
        let payload = Payload {
            codec: self.codec.id(),
            schema: self.schema,
            accepted,
            key: &key,
            value,
            is_merge: !change.replaces(),
        };
        Ok(payload::encode(&payload))
    }

    /// What a record says, or why it cannot be read: not in the words of the codec, which may hold what it read.
    pub(super) fn read<K: DeserializeOwned>(&self, record: &[u8]) -> Result<Change<K, V>, String> {
        let payload = payload::decode(record).map_err(|wrong| wrong.to_string())?;
        let key = serde_json::from_slice(payload.key)
            .map_err(|_| "the key is no JSON of the type that keys have now".to_owned())?;
        match payload.value {
            None => Ok(Change::Delete(key)),
            Some(value) => {
                let value = self.read_value(&payload, value).ok_or_else(|| self.why_not(&payload))?;
                Ok(if payload.is_merge { Change::Merge(key, value) } else { Change::Put(key, value) })
            }
        }
    }

    fn read_value(&self, payload: &Payload<'_>, value: &[u8]) -> Option<V> {
        let is_ours = (payload.schema, payload.codec) == (self.schema, self.codec.id());
        let read = is_ours.then(|| self.codec.decode(value).ok()).flatten();
        read.or_else(|| self.upgrade.as_ref()?(payload.schema, value))
    }

    fn why_not(&self, payload: &Payload<'_>) -> String {
        let tried = if self.upgrade.is_some() {
            "and the upgrade did not take it"
        } else {
            "and there is no upgrade"
        };
        format!(
            "a value of schema {} and codec {} cannot be read as one of schema {} and codec {}, {tried}",
            payload.schema,
            payload.codec,
            self.schema,
            self.codec.id()
        )
    }
}
