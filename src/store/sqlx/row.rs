//! What a value is as a row of a table.

use std::sync::Arc;

use super::cell::{Cell, Cells, FromCell, ToCell, WrongCell};
use super::table::Shape;
use crate::error::{BoxError, StoreError};

/// A value that is a row of a [`Table`](super::Table) whose keys are `K`s.
///
/// A number, a text, bytes, or nothing are rows of a table of one column beside the key; an `Arc` of a row is one, too.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no row of a table with keys `{K}`",
    label = "not a `Row<{K}>`",
    note = "implement `Row<{K}>`, which says how the value becomes the cells of a row, or use statements of your own"
)]
pub trait Row<K>: Sized {
    /// The cells of all columns but the key's, in the order of the table's declaration.
    ///
    /// # Errors
    ///
    /// When the table cannot hold it; the write has then failed for good.
    fn to_cells(&self) -> Result<Vec<Cell>, BoxError>;

    /// What the row of `key` holds: `cells` has as many cells as the table has columns beside the key, each of the
    /// column's kind or null.
    ///
    /// # Errors
    ///
    /// When they are no such value; the read has then failed.
    fn from_cells(key: &K, cells: Cells) -> Result<Self, BoxError>;
}

macro_rules! rows_of_one_cell {
    ($($type:ty)*) => {$(
        impl<K> Row<K> for $type {
            fn to_cells(&self) -> Result<Vec<Cell>, BoxError> {
                Ok(vec![self.to_cell()?])
            }

            fn from_cells(_key: &K, mut cells: Cells) -> Result<Self, BoxError> {
                Ok(cells.take()?)
            }
        }
    )*};
}

rows_of_one_cell!(i8 i16 i32 i64 isize u8 u16 u32 u64 usize f64 bool String Arc<str> Vec<u8> Arc<[u8]>);

impl<K, T: ToCell + FromCell> Row<K> for Option<T> {
    fn to_cells(&self) -> Result<Vec<Cell>, BoxError> {
        Ok(vec![self.to_cell()?])
    }

    fn from_cells(_key: &K, mut cells: Cells) -> Result<Self, BoxError> {
        Ok(cells.take()?)
    }
}

impl<K, T: Row<K>> Row<K> for Arc<T> {
    fn to_cells(&self) -> Result<Vec<Cell>, BoxError> {
        T::to_cells(self)
    }

    fn from_cells(key: &K, cells: Cells) -> Result<Self, BoxError> {
        T::from_cells(key, cells).map(Self::new)
    }
}

/// The cell of a key. Nothing is no key: in SQL it equals nothing, itself included.
pub(super) fn key_cell<K: ToCell>(shape: &Shape, key: &K) -> Result<Cell, StoreError> {
    let cell = key.to_cell().and_then(|cell| cell.of(shape.key.kind)).map_err(refused)?;
    if cell == Cell::Null { Err(refused(WrongCell::new("a key is null"))) } else { Ok(cell) }
}

/// The cells of a whole row, its key first.
pub(super) fn row_cells<K: ToCell, V: Row<K>>(
    shape: &Shape,
    key: &K,
    value: &V,
) -> Result<Vec<Cell>, StoreError> {
    let mut cells = vec![key_cell(shape, key)?];
    let others = value.to_cells().map_err(refused)?;
    if others.len() != shape.columns.len() {
        let (has, wants) = (others.len(), shape.columns.len());
        return Err(refused(WrongCell::new(format!(
            "a row has {has} cells beside its key, and its table {wants}"
        ))));
    }
    for (cell, column) in others.into_iter().zip(&shape.columns) {
        cells.push(cell.of(column.kind).map_err(refused)?);
    }
    Ok(cells)
}

/// What the cells beside the key come to.
pub(super) fn value_of<K, V: Row<K>>(key: &K, cells: Vec<Cell>) -> Result<V, StoreError> {
    V::from_cells(key, Cells::new(cells)).map_err(refused)
}

/// A row that cannot be made never reaches the database, now or later.
pub(super) fn refused(error: impl Into<BoxError>) -> StoreError {
    StoreError::new(error).not_applied().permanent()
}
