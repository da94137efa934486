//! MessagePack, on rmp-serde.

use rmp_serde::decode::Error as Wrong;
use rmp_serde::{Deserializer, Serializer};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::{Codec, limits};
use crate::error::BoxError;

/// Values as [MessagePack](https://msgpack.org): binary, and as tolerant of added fields as JSON, since fields go by their
/// names. Nesting deeper than 256 is refused, every struct, collection, enum and `Some` counted.
///
/// ```
/// use larder::codec::MessagePack;
/// use larder::{Redis, tier::redis::Namespace};
///
/// # #[derive(Clone, serde::Serialize, serde::Deserialize)]
/// # struct Post { title: String }
/// let redis = Redis::new("redis://127.0.0.1")?;
/// let posts: Namespace<Post, _> = redis.namespace("post").codec(MessagePack::default());
/// # let _ = posts;
/// # Ok::<(), larder::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct MessagePack;

impl<V: Serialize + DeserializeOwned> Codec<V> for MessagePack {
    fn id(&self) -> u8 {
        2
    }

    fn encode(&self, value: &V, bytes: &mut Vec<u8>) -> Result<(), BoxError> {
        Ok(value.serialize(&mut Serializer::new(bytes).with_struct_map())?)
    }

    fn decode(&self, bytes: &[u8]) -> Result<V, BoxError> {
        let mut decoder = Deserializer::from_read_ref(bytes);
        let value = limits::read(&mut decoder, bytes.len())?;
        // The decoder does not tell what it has left. A number would begin with a marker: only at the very end there is none.
        match u8::deserialize(&mut decoder) {
            Err(Wrong::InvalidMarkerRead(_)) => Ok(value),
            _ => Err("bytes behind the value".into()),
        }
    }
}
