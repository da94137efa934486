//! A link as the database and the cache keep it.

use std::sync::Arc;

use larder::BoxError;
use larder::sqlx::{Cell, Cells, Kind, Row, Table, ToCell};
use serde::{Deserialize, Serialize};

use crate::link_id::LinkId;

/// Never changed once it is made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Link {
    pub(crate) url: Arc<str>,
    /// In seconds since 1970.
    pub(crate) created_at: u64,
}

impl Row<LinkId> for Link {
    fn to_cells(&self) -> Result<Vec<Cell>, BoxError> {
        Ok(vec![self.url.to_cell()?, self.created_at.to_cell()?])
    }

    fn from_cells(_id: &LinkId, mut cells: Cells) -> Result<Self, BoxError> {
        Ok(Self { url: cells.take()?, created_at: cells.take()? })
    }
}

pub(crate) fn table() -> Table {
    Table::new("urls").key("id", Kind::Int).column("long_url", Kind::Text).column("created_at", Kind::Int)
}
