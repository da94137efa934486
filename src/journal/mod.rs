//! Where pending writes wait until they are in the store.
//!
//! | journal | what survives | |
//! |---|---|---|
//! | [`Volatile`] | nothing | the memory of this process |
//! | `LocalLog` | the process, and the machine | files of this machine; feature `local-log`, on Unix |
//! | `RedisStream` | the process and the machine; Redis, as far as that keeps what it is given | a Redis that all processes share; feature `redis` |
//!
//! A log of this process has one owner, who reads it when it begins; a stream has one for each of its shards, who asks it what
//! is due. The guide on [write-behind](crate::guide::write_behind) says when to take which.

#[doc(hidden)]
pub mod checksum;
#[doc(hidden)]
pub mod disk;
#[doc(hidden)]
pub mod fault;
#[cfg(all(feature = "local-log", unix))]
#[doc(hidden)]
pub mod files;
#[cfg(any(all(feature = "local-log", unix), feature = "redis"))]
mod form;
#[doc(hidden)]
pub mod group_commit;
#[cfg(all(feature = "local-log", unix))]
mod inspection;
#[doc(hidden)]
pub mod letters;
#[cfg(all(feature = "local-log", unix))]
mod local_log;
#[doc(hidden)]
pub mod mark;
#[doc(hidden)]
pub mod payload;
#[cfg(all(feature = "local-log", feature = "testing", unix))]
#[doc(hidden)]
pub mod raw;
#[doc(hidden)]
pub mod record;
#[doc(hidden)]
pub mod recovery;
#[cfg(feature = "redis")]
mod redis_stream;
mod seam;
#[doc(hidden)]
pub mod segments;
#[cfg(any(feature = "testing", test))]
#[doc(hidden)]
pub mod simulated;
mod volatile;

#[cfg(all(feature = "local-log", unix))]
pub use inspection::{InspectedWrite, Inspection, WriteParts, inspect};
#[cfg(all(feature = "local-log", unix))]
pub use local_log::LocalLog;
#[cfg(feature = "redis")]
pub use redis_stream::{Durability, RedisStream};
pub use seam::Journal;
#[cfg(feature = "testing")]
pub(crate) use seam::Opens;
pub(crate) use seam::{Appending, Found, FoundWrite, Log, Members, Opened, Progress, Stream, Waiting};
pub use volatile::Volatile;

#[doc(hidden)]
pub use crate::stream;
