//! Where pending writes wait until they are in the store.

#[doc(hidden)]
pub mod checksum;
#[doc(hidden)]
pub mod disk;
#[doc(hidden)]
pub mod fault;
#[cfg(all(feature = "local-log", unix))]
#[doc(hidden)]
pub mod files;
#[doc(hidden)]
pub mod group_commit;
#[doc(hidden)]
pub mod local_log;
#[doc(hidden)]
pub mod record;
#[doc(hidden)]
pub mod recovery;
mod seam;
#[cfg(any(feature = "testing", test))]
#[doc(hidden)]
pub mod simulated;
mod volatile;

pub use seam::Journal;
pub(crate) use seam::{Appending, Found, FoundWrite, Log, Opened, Progress};
pub use volatile::Volatile;
