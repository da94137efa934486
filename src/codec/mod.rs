//! Values and keys as bytes, for tiers outside this process and journals that outlive it.
//!
//! A [`Codec`] turns values into bytes and back; [`Json`] is the default. A `CacheKey` (with `redis`) writes a key so that
//! no two keys of a cache are ever written alike.
//!
//! | feature | brings | |
//! |---|---|---|
//! | `redis` `local-log` | [`Json`] | readable in `redis-cli`, tolerant of added fields |
//! | `msgpack` | `MessagePack` | smaller, more than twice as fast, as tolerant |
//! | `postcard` | `Postcard` | the smallest and fastest; every change of the type needs a new schema number |
//! | `lz4` `zstd` | `Compression` | makes big values smaller |
//! | `sealing` | `KeyRing` | encrypts values, and binds them to their keys |

#[cfg(feature = "redis")]
pub(crate) mod buffer;
#[cfg(feature = "redis")]
pub(crate) mod compression;
mod json;
#[cfg(feature = "redis")]
mod key;
#[cfg(any(feature = "msgpack", feature = "postcard"))]
mod limits;
#[cfg(feature = "msgpack")]
mod msgpack;
#[cfg(feature = "postcard")]
mod postcard;
#[cfg(feature = "sealing")]
pub(crate) mod seal;

use crate::error::BoxError;

#[cfg(any(feature = "lz4", feature = "zstd"))]
pub use compression::Compression;
pub use json::Json;
#[cfg(feature = "redis")]
pub use key::{CacheKey, KeyWriter};
#[cfg(feature = "msgpack")]
pub use msgpack::MessagePack;
#[cfg(feature = "postcard")]
pub use postcard::Postcard;
#[cfg(feature = "sealing")]
pub use seal::KeyRing;

/// How values of type `V` are written for a tier outside this process, or for a journal that outlives it.
///
/// What it reads comes from outside and may be anything: a decoder must answer with an error, never panic.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot write values of type `{V}`",
    label = "not a codec for these values",
    note = "with the default codec, derive `serde::Serialize` and `serde::Deserialize` for the value"
)]
pub trait Codec<V>: Send + Sync + 'static {
    /// A number for the format, kept beside every value: bytes in another format are a miss in a tier, and put aside by a
    /// journal. Numbers below 32 are this crate's.
    fn id(&self) -> u8;

    /// Appends `value` to `bytes`.
    ///
    /// # Errors
    ///
    /// The format's own. The value is then kept nowhere outside this process, and a journal does not accept it.
    fn encode(&self, value: &V, bytes: &mut Vec<u8>) -> Result<(), BoxError>;

    /// The value that `bytes` are.
    ///
    /// # Errors
    ///
    /// The format's own. The copy is then as good as missing, and the pending write is put aside.
    fn decode(&self, bytes: &[u8]) -> Result<V, BoxError>;
}
