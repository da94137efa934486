//! What an answered write can be asked later.

use std::fmt;
use std::sync::Arc;

use super::shard::Place;
use crate::error::{ErrorKind, Result};
use crate::stream::Number;

/// The places of writes that have been answered, to wait for what becomes of them.
#[derive(Clone)]
pub(crate) struct Ticket(Vec<Spot>);

/// A place, and the number there.
type Spot = (Arc<dyn Place>, Number);

impl Ticket {
    /// `None` if there is nothing to wait for.
    pub(super) fn of(places: Vec<Spot>) -> Option<Self> {
        (!places.is_empty()).then_some(Self(places))
    }

    /// Resolves when they outlive this process.
    pub(crate) async fn durable(&self) -> Result<()> {
        for (place, number) in &self.0 {
            place.durable(*number).await?;
        }
        Ok(())
    }

    /// Resolves when none of them waits any more: what has been put aside does not, and the others are waited for all the
    /// same.
    pub(super) async fn settled(&self) -> Result<()> {
        for (place, number) in &self.0 {
            match place.settled(*number).await {
                Err(error) if error.kind() == ErrorKind::DeadLetter => {}
                other => other?,
            }
        }
        Ok(())
    }

    /// Resolves when they are in the store.
    pub(crate) async fn stored(&self) -> Result<()> {
        for (place, number) in &self.0 {
            place.settled(*number).await?;
        }
        Ok(())
    }
}

impl PartialEq for Ticket {
    fn eq(&self, other: &Self) -> bool {
        let same = |(one, other): (&Spot, &Spot)| Arc::ptr_eq(&one.0, &other.0) && one.1 == other.1;
        self.0.len() == other.0.len() && self.0.iter().zip(&other.0).all(same)
    }
}

impl Eq for Ticket {}

impl fmt::Debug for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Ticket({} writes)", self.0.len())
    }
}
