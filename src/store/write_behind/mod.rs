//! Writes that are answered before the store has them. So far the parts that decide, without I/O: [`flusher`] what is
//! written when, [`coalesce`] what a batch comes to, [`pending`] what readers see meanwhile.

#![allow(clippy::exhaustive_enums, clippy::exhaustive_structs, reason = "not part of the public interface")]

pub mod coalesce;
pub mod flusher;
pub mod pending;

/// The number of an operation in its shard, counted from 1 in the order of acceptance.
pub type Seq = u64;
