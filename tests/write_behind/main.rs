//! Writes that are answered at once and stored later: one behaviour in each file.

#[path = "../support/mod.rs"]
mod support;

#[cfg(feature = "testing")]
mod answers;
mod close;
mod corners;
#[cfg(all(feature = "local-log", feature = "postgres", feature = "sqlite", feature = "testing", unix))]
mod databases;
mod failures;
mod in_doubt;
mod letters;
mod limits;
#[cfg(all(feature = "local-log", feature = "sqlite", feature = "testing", unix))]
mod log;
mod order;
mod pace;
mod poison;
mod races;
mod reads;
mod restart;
mod watched;
