//! The database: what it has been made to do, in its order, and the row that moves in the same transactions.

use larder::store::Seq;
use larder::store::write_behind::flusher::Batch;

use crate::row::{Lack, Row};

#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub(crate) struct Database {
    pub(crate) epoch: u64,
    pub(crate) offset: Seq,
    pub(crate) done: Vec<u8>,
}

impl Database {
    /// The transaction of a batch: whether it was committed.
    pub(crate) fn commit(&mut self, row: &Row, epoch: u64, batch: &Batch<u8>) -> bool {
        let is_guarded = !row.lacks(Lack::EpochInTheStore) && !row.lacks(Lack::Owner);
        if is_guarded && (self.epoch != epoch || self.offset != batch.after) {
            return false;
        }
        self.done.extend(batch.operations.iter().map(|waiting| waiting.operation));
        self.offset = batch.upto;
        true
    }

    /// The last write that it has; 0 is none.
    pub(crate) fn value(&self) -> u8 {
        self.done.last().copied().unwrap_or(0)
    }
}
