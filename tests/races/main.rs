//! What many do to a cache at once, in this process and in others: readers, loads and writers that overtake each other. A program
//! of its own, so that it is optimised without all the other behaviours of a cache.

#[path = "../support/mod.rs"]
mod support;

mod fleet;
mod increment;
mod invalidate_during_load;
mod one_load;
mod other_processes;
mod quiet;
mod update;
