//! Stores on real databases: one behaviour in each file.

#[path = "../support/mod.rs"]
mod support;

#[cfg(all(feature = "postgres", feature = "sqlite", feature = "testing"))]
mod errors;
#[cfg(all(feature = "postgres", feature = "sqlite", feature = "testing"))]
mod exactly_once;
#[cfg(all(feature = "local-log", feature = "postgres", feature = "sqlite", feature = "testing", unix))]
mod merges;
#[cfg(all(feature = "postgres", feature = "sqlite", feature = "testing"))]
mod tables;
