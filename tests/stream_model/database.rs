//! The database: what it has been made to do, in its order, and the row that moves in the same transactions.

use larder::store::Seq;
use larder::store::write_behind::flusher::Batch;

use crate::row::{Lack, Row};
use crate::server::Operation;

#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub(crate) struct Database {
    pub(crate) epoch: u64,
    pub(crate) offset: Seq,
    pub(crate) done: Vec<u8>,
    /// What was put aside for somebody to look at: a bit for each.
    pub(crate) letters: u8,
}

impl Database {
    /// The transaction of a batch: whether it was committed.
    pub(crate) fn commit(&mut self, row: &Row, epoch: u64, batch: &Batch<Operation>) -> bool {
        let is_guarded = !row.lacks(Lack::EpochInTheStore) && !row.lacks(Lack::Owner);
        if is_guarded && (self.epoch != epoch || self.offset != batch.after) {
            return false;
        }
        batch.operations.iter().for_each(|waiting| self.take(waiting.operation));
        self.offset = batch.upto;
        true
    }

    pub(crate) fn take(&mut self, operation: Operation) {
        match operation.is_doubtful {
            true => self.letters |= 1 << operation.write,
            false => self.done.push(operation.write),
        }
    }

    /// The last write that it has; 0 is none.
    pub(crate) fn value(&self) -> u8 {
        self.done.last().copied().unwrap_or(0)
    }
}
