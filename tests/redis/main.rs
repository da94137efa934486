//! Copies, and pending writes, on real Redis servers and clusters: one behaviour in each file.

#[path = "../support/mod.rs"]
mod support;

mod away;
mod batches;
mod below_memory;
mod cluster;
#[cfg(all(
    feature = "msgpack",
    feature = "postcard",
    feature = "lz4",
    feature = "zstd",
    feature = "testing"
))]
mod codecs;
mod coherence;
mod deploy;
mod envelope;
mod given_up;
mod local_ttl;
mod partly_away;
mod races;
#[cfg(all(feature = "testing", feature = "redis"))]
mod receipts;
mod round_trips;
mod scripts;
#[cfg(all(feature = "lz4", feature = "sealing", feature = "testing"))]
mod sealed;
mod secrets;
mod sentinel;
mod settings;
#[cfg(all(feature = "redis", feature = "sqlite", feature = "testing", unix))]
mod stream;
#[cfg(all(feature = "redis", feature = "testing", unix))]
mod stream_moving;
mod stream_promises;
mod stream_scripts;
#[cfg(all(feature = "redis", feature = "testing", unix))]
mod stream_servers;
mod stream_waiting;
mod tenants;
mod tier;
