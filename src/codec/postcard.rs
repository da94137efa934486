//! postcard, on the crate of that name.

use postcard::Deserializer;
use postcard::ser_flavors::Flavor;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Codec, limits};
use crate::error::BoxError;

/// Values as [postcard](https://postcard.jamesmunns.com): the smallest and fastest, and nothing but the values. The bytes do
/// not say what they are: **every change of the type needs a new [schema](crate::tier::redis::Namespace::schema) number**,
/// also a field that is added, taken out, renamed into another place or given another integer type; without it copies of
/// the old form may be read as something else. Types that ask the format what comes next (`serde(flatten)`,
/// `serde(untagged)`, `serde(skip_serializing_if)`) cannot be read back. Nesting deeper than 256 is refused, every struct, collection, enum and `Some` counted.
///
/// ```
/// use larder::codec::Postcard;
/// use larder::{Redis, tier::redis::Namespace};
///
/// # #[derive(Clone, serde::Serialize, serde::Deserialize)]
/// # struct Post { title: String }
/// let redis = Redis::new("redis://127.0.0.1")?;
/// let posts: Namespace<Post, _> = redis.namespace("post").codec(Postcard::default()).schema(3);
/// # let _ = posts;
/// # Ok::<(), larder::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct Postcard;

impl<V: Serialize + DeserializeOwned> Codec<V> for Postcard {
    fn id(&self) -> u8 {
        3
    }

    fn encode(&self, value: &V, bytes: &mut Vec<u8>) -> Result<(), BoxError> {
        Ok(postcard::serialize_with_flavor(value, Behind(bytes))?)
    }

    fn decode(&self, bytes: &[u8]) -> Result<V, BoxError> {
        let mut decoder = Deserializer::from_bytes(bytes);
        let value = limits::read(&mut decoder, bytes.len())?;
        match decoder.finalize()? {
            [] => Ok(value),
            _ => Err("bytes behind the value".into()),
        }
    }
}

/// Writes behind what is there already.
struct Behind<'a>(&'a mut Vec<u8>);

impl Flavor for Behind<'_> {
    type Output = ();

    fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
        self.0.push(byte);
        Ok(())
    }

    fn try_extend(&mut self, bytes: &[u8]) -> postcard::Result<()> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }

    fn finalize(self) -> postcard::Result<()> {
        Ok(())
    }
}
