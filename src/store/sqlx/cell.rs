//! One value of one column, and what it may be.

use std::borrow::Cow;
use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;
use std::vec;

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// Whole numbers that fit an `i64`: `INTEGER`, and in PostgreSQL `BIGINT` or smaller.
    Int,
    /// An `f64`: `REAL`, and in PostgreSQL `DOUBLE PRECISION`.
    Real,
    /// `TEXT`, and in PostgreSQL also `VARCHAR`.
    Text,
    /// `BLOB`, and in PostgreSQL `BYTEA`.
    Bytes,
    /// `BOOLEAN`; in SQLite that is 0 or 1.
    Bool,
}

/// One value of one column. What it prints in errors and for debugging is its kind, never what it holds.
#[derive(Clone, PartialEq)]
#[non_exhaustive]
pub enum Cell {
    /// Nothing. Every kind of column may hold it, unless the database forbids it.
    Null,
    /// For a column of [`Kind::Int`].
    Int(i64),
    /// For a column of [`Kind::Real`].
    Real(f64),
    /// For a column of [`Kind::Text`].
    Text(String),
    /// For a column of [`Kind::Bytes`].
    Bytes(Vec<u8>),
    /// For a column of [`Kind::Bool`].
    Bool(bool),
}

impl Cell {
    /// Its kind; `None` of nothing.
    #[must_use]
    pub const fn kind(&self) -> Option<Kind> {
        match self {
            Self::Null => None,
            Self::Int(_) => Some(Kind::Int),
            Self::Real(_) => Some(Kind::Real),
            Self::Text(_) => Some(Kind::Text),
            Self::Bytes(_) => Some(Kind::Bytes),
            Self::Bool(_) => Some(Kind::Bool),
        }
    }

    /// Itself, if a column of `kind` can hold it.
    pub(super) fn of(self, kind: Kind) -> Result<Self, WrongCell> {
        if self.kind().is_none_or(|own| own == kind) { Ok(self) } else { Err(self.wrong(kind)) }
    }

    fn wrong(&self, wanted: Kind) -> WrongCell {
        WrongCell::new(format!("a cell is {self:?} where {wanted:?} belongs"))
    }
}

impl fmt::Debug for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind() {
            None => f.write_str("Null"),
            Some(kind) => fmt::Debug::fmt(&kind, f),
        }
    }
}

/// The cells of a row, to be taken one after the other in the order of the table's columns.
#[derive(Debug)]
pub struct Cells(vec::IntoIter<Cell>);

impl Cells {
    pub(super) fn new(cells: Vec<Cell>) -> Self {
        Self(cells.into_iter())
    }

    /// The next cell, as a `T`.
    ///
    /// # Errors
    ///
    /// When there is none left, or it is no `T`.
    pub fn take<T: FromCell>(&mut self) -> Result<T, WrongCell> {
        T::from_cell(self.0.next().ok_or_else(|| WrongCell::new("the row has no more cells"))?)
    }
}

/// A cell is not what it should be. Says which kinds are at odds, and no value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WrongCell(Cow<'static, str>);

impl WrongCell {
    /// A sentence that says what is wrong. Write no value into it.
    pub fn new(what: impl Into<Cow<'static, str>>) -> Self {
        Self(what.into())
    }
}

impl fmt::Display for WrongCell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl StdError for WrongCell {}

/// A type that can be written into one column. What is one can be a key.
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not go into one column: it is no `ToCell`",
    label = "not a value of a column",
    note = "implement `ToCell`: most types call `to_cell` of a number, a text or bytes that they hold"
)]
pub trait ToCell {
    /// Itself as a cell.
    ///
    /// # Errors
    ///
    /// When no cell can hold it, such as a `u64` beyond `i64::MAX`.
    fn to_cell(&self) -> Result<Cell, WrongCell>;
}

/// A type that can be read from one column.
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not come out of one column: it is no `FromCell`",
    label = "not a value of a column",
    note = "implement `FromCell`: most types are made of what `from_cell` of a number, a text or bytes answers"
)]
pub trait FromCell: Sized {
    /// What `cell` holds.
    ///
    /// # Errors
    ///
    /// When it holds something else.
    fn from_cell(cell: Cell) -> Result<Self, WrongCell>;
}

macro_rules! integers {
    ($($type:ty)*) => {$(
        impl ToCell for $type {
            fn to_cell(&self) -> Result<Cell, WrongCell> {
                let number = i64::try_from(*self);
                number.map(Cell::Int).map_err(|_| WrongCell::new("a number does not fit an i64"))
            }
        }

        impl FromCell for $type {
            fn from_cell(cell: Cell) -> Result<Self, WrongCell> {
                let Cell::Int(number) = cell else { return Err(cell.wrong(Kind::Int)) };
                Self::try_from(number)
                    .map_err(|_| WrongCell::new(concat!("a number does not fit ", stringify!($type))))
            }
        }
    )*};
}

integers!(i8 i16 i32 i64 isize u8 u16 u32 u64 usize);

macro_rules! kinds {
    ($($kind:ident $type:ty)*) => {$(
        impl ToCell for $type {
            fn to_cell(&self) -> Result<Cell, WrongCell> {
                Ok(Cell::$kind(self.clone()))
            }
        }

        impl FromCell for $type {
            fn from_cell(cell: Cell) -> Result<Self, WrongCell> {
                match cell {
                    Cell::$kind(value) => Ok(value),
                    other => Err(other.wrong(Kind::$kind)),
                }
            }
        }
    )*};
}

kinds!(Real f64 Text String Bytes Vec<u8> Bool bool);

macro_rules! shared {
    ($($kind:ident $type:ty)*) => {$(
        impl ToCell for $type {
            fn to_cell(&self) -> Result<Cell, WrongCell> {
                Ok(Cell::$kind(self.as_ref().into()))
            }
        }

        impl FromCell for $type {
            fn from_cell(cell: Cell) -> Result<Self, WrongCell> {
                match cell {
                    Cell::$kind(value) => Ok(value.into()),
                    other => Err(other.wrong(Kind::$kind)),
                }
            }
        }
    )*};
}

shared!(Text Arc<str> Text Box<str> Bytes Arc<[u8]> Bytes Box<[u8]>);

impl ToCell for str {
    fn to_cell(&self) -> Result<Cell, WrongCell> {
        Ok(Cell::Text(self.to_owned()))
    }
}

impl ToCell for [u8] {
    fn to_cell(&self) -> Result<Cell, WrongCell> {
        Ok(Cell::Bytes(self.to_owned()))
    }
}

impl ToCell for Cell {
    fn to_cell(&self) -> Result<Cell, WrongCell> {
        Ok(self.clone())
    }
}

impl FromCell for Cell {
    fn from_cell(cell: Cell) -> Result<Self, WrongCell> {
        Ok(cell)
    }
}

impl<T: ToCell> ToCell for Option<T> {
    fn to_cell(&self) -> Result<Cell, WrongCell> {
        self.as_ref().map_or(Ok(Cell::Null), T::to_cell)
    }
}

impl<T: FromCell> FromCell for Option<T> {
    fn from_cell(cell: Cell) -> Result<Self, WrongCell> {
        match cell {
            Cell::Null => Ok(None),
            cell => T::from_cell(cell).map(Some),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_that_does_not_fit_is_refused_and_not_told() {
        let refusal = u64::MAX.to_cell().expect_err("no i64 is that large").to_string();
        assert!(!refusal.contains(&u64::MAX.to_string()), "{refusal}");
        assert!(u8::from_cell(Cell::Int(256)).is_err());
        assert_eq!(u8::from_cell(Cell::Int(255)), Ok(255));
    }

    #[test]
    fn a_cell_of_another_kind_is_refused_and_not_told() {
        let refusal = i64::from_cell(Cell::Text("secret".to_owned())).expect_err("a text is no number");
        assert_eq!(refusal.to_string(), "a cell is Text where Int belongs");
        assert_eq!(format!("{:?}", Cell::Text("secret".to_owned())), "Text");
        assert!(Cell::Null.of(Kind::Bytes).is_ok());
        assert!(Cell::Bool(true).of(Kind::Int).is_err());
    }

    #[test]
    fn nothing_is_an_option_and_no_value() {
        assert_eq!(Option::<String>::from_cell(Cell::Null), Ok(None));
        assert!(String::from_cell(Cell::Null).is_err());
        assert_eq!(None::<String>.to_cell(), Ok(Cell::Null));
    }
}
