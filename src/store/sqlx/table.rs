//! The declaration of a table.

use std::collections::HashSet;

use super::cell::Kind;
use crate::error::{Error, ErrorKind, Result};

/// The longest name that PostgreSQL does not cut off.
const LONGEST_NAME: usize = 63;

/// A table in which each key has a row: its name, the column of the key, and the other columns that are read and written.
///
/// Columns that are not declared keep what they have, and get their default in a new row. The key must be the table's
/// primary key, or have a unique constraint.
///
/// ```
/// use larder::sqlx::{Kind, Table};
///
/// let views = Table::new("views").key("id", Kind::Int).column("title", Kind::Text).column("hits", Kind::Int);
/// # let _ = views;
/// ```
#[derive(Clone, Debug)]
pub struct Table {
    name: String,
    keys: Vec<Column>,
    columns: Vec<Column>,
}

/// A name and what is under it.
#[derive(Clone, Debug)]
pub(super) struct Column {
    pub(super) name: String,
    pub(super) kind: Kind,
}

/// A table whose names have been looked at, and stand in quotes.
#[derive(Clone, Debug)]
pub(super) struct Shape {
    pub(super) name: String,
    pub(super) key: Column,
    pub(super) columns: Vec<Column>,
}

impl Table {
    /// The table `name`; in PostgreSQL also `schema.name`. Names are of letters, digits and underscores. They are
    /// quoted, so that a name such as `order` is one, and capitals count.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), keys: Vec::new(), columns: Vec::new() }
    }

    /// The column of the key. There is exactly one.
    #[must_use]
    pub fn key(mut self, name: impl Into<String>, kind: Kind) -> Self {
        self.keys.push(Column { name: name.into(), kind });
        self
    }

    /// One more column: the next cell of a [`Row`](super::Row).
    #[must_use]
    pub fn column(mut self, name: impl Into<String>, kind: Kind) -> Self {
        self.columns.push(Column { name: name.into(), kind });
        self
    }

    /// The rows of this table in a SQLite database.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Settings`] when a name is none, or there is not one key.
    #[cfg(feature = "sqlite")]
    pub fn sqlite(self) -> Result<super::SqliteTable> {
        if self.name.contains('.') {
            return Err(wrong("a table of SQLite is named without a schema"));
        }
        Ok(super::SqliteTable::new(self.shape()?))
    }

    /// The rows of this table in a PostgreSQL database.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Settings`] when a name is none, or there is not one key.
    #[cfg(feature = "postgres")]
    pub fn postgres(self) -> Result<super::PostgresTable> {
        Ok(super::PostgresTable::new(self.shape()?))
    }

    fn shape(self) -> Result<Shape> {
        let Ok([key]) = <[Column; 1]>::try_from(self.keys) else {
            return Err(wrong("a table has one key: `key` is called once"));
        };
        if key.kind == Kind::Real {
            return Err(wrong("a number with a fraction is no key: two that print alike may differ"));
        }
        let mut seen = HashSet::from([key.name.clone()]);
        if !self.columns.iter().all(|column| seen.insert(column.name.clone())) {
            return Err(wrong("a column of a table is declared twice"));
        }
        let columns = self.columns.into_iter().map(Column::quoted).collect::<Result<_>>()?;
        Ok(Shape { name: quoted_path(&self.name)?, key: key.quoted()?, columns })
    }
}

impl Column {
    fn quoted(self) -> Result<Self> {
        Ok(Self { name: quoted(&self.name)?, ..self })
    }
}

impl Shape {
    /// The names of the key and of all others, as a list.
    pub(super) fn names(&self) -> String {
        let others = self.columns.iter().map(|column| column.name.as_str());
        std::iter::once(self.key.name.as_str()).chain(others).collect::<Vec<_>>().join(", ")
    }

    /// What becomes of a row that is there already.
    pub(super) fn on_conflict(&self) -> String {
        let replaced: Vec<_> =
            self.columns.iter().map(|Column { name, .. }| format!("{name} = excluded.{name}")).collect();
        let key = &self.key.name;
        if replaced.is_empty() {
            return format!("ON CONFLICT ({key}) DO NOTHING");
        }
        format!("ON CONFLICT ({key}) DO UPDATE SET {}", replaced.join(", "))
    }
}

/// `schema.name` or `name`, each part in quotes.
fn quoted_path(path: &str) -> Result<String> {
    match path.split_once('.') {
        Some((schema, name)) => Ok(format!("{}.{}", quoted(schema)?, quoted(name)?)),
        None => quoted(path),
    }
}

/// A name in quotes, if it is one.
pub(super) fn quoted(name: &str) -> Result<String> {
    let is_name = name.chars().all(|it| it.is_ascii_alphanumeric() || it == '_');
    if !is_name || name.is_empty() || name.len() > LONGEST_NAME {
        return Err(wrong("a name in a database has letters, digits and underscores, and 1 to 63 of them"));
    }
    Ok(format!("\"{name}\""))
}

fn wrong(what: &'static str) -> Error {
    Error::new(ErrorKind::Settings, what)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_settings<T>(result: Result<T>) -> bool {
        result.is_err_and(|error| error.kind() == ErrorKind::Settings)
    }

    #[test]
    fn a_name_is_quoted_or_refused() {
        assert_eq!(quoted_path("app.order").expect("two names"), "\"app\".\"order\"");
        for odd in ["", "a b", "a\"b", "a;b", "a.b.c", ".", "é", "a\0", &"x".repeat(64)] {
            assert!(is_settings(quoted_path(odd)), "{odd:?}");
        }
    }

    #[test]
    fn a_table_has_one_key_and_each_column_once() {
        let table = || Table::new("t").key("id", Kind::Int);
        assert!(table().column("a", Kind::Text).shape().is_ok());
        assert!(is_settings(Table::new("t").shape()));
        assert!(is_settings(table().key("other", Kind::Int).shape()));
        assert!(is_settings(table().column("id", Kind::Int).shape()));
        assert!(is_settings(table().column("a", Kind::Int).column("a", Kind::Int).shape()));
        assert!(is_settings(Table::new("t").key("id", Kind::Real).shape()));
    }
}
