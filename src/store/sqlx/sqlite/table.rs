//! The rows of a declared table.

use ::sqlx::query::Query;
use ::sqlx::sqlite::{SqliteArguments, SqliteRow};
use ::sqlx::{AssertSqlSafe, Row as _, Sqlite, SqliteConnection, query};
use async_trait::async_trait;

use super::SqliteRows;
use crate::bounds::{Key, Value};
use crate::error::StoreError;
use crate::store::Change;
use crate::store::sqlx::cell::{Cell, Kind, ToCell};
use crate::store::sqlx::error::{for_each, store_error};
use crate::store::sqlx::row::{Row, key_cell, row_cells, value_of};
use crate::store::sqlx::table::{Column, Shape};
use crate::store::sqlx::work::parted;

/// As many parameters as a statement of SQLite takes.
const MOST_PARAMETERS: usize = 32_766;

/// As many rows as a statement is about: more do not make it faster.
const MOST_ROWS: usize = 1_024;

/// The rows of a [`Table`](crate::sqlx::Table) in a SQLite database.
///
/// A statement is about 1, 2, 4, …, or 1,024 rows, and a batch is cut to these sizes. A statement for each row would pay
/// for its way to SQLite's thread and back; one for every length of a batch would have to be prepared anew each time.
#[derive(Clone, Debug)]
pub struct SqliteTable {
    shape: Shape,
}

impl SqliteTable {
    pub(in crate::store::sqlx) const fn new(shape: Shape) -> Self {
        Self { shape }
    }

    async fn put<K: ToCell, V: Row<K>>(
        &self,
        connection: &mut SqliteConnection,
        puts: &[(&K, &V)],
    ) -> Result<(), StoreError> {
        let Shape { name, columns, .. } = &self.shape;
        let width = columns.len() + 1;
        let row = tuple(width);
        for rows in cut(puts, width) {
            let values = vec![row.as_str(); rows.len()].join(", ");
            let (names, rest) = (self.shape.names(), self.shape.on_conflict());
            let mut statement = statement(format!("INSERT INTO {name} ({names}) VALUES {values} {rest}"));
            for (key, value) in rows {
                statement = row_cells(&self.shape, *key, *value)?.into_iter().fold(statement, bind);
            }
            statement.execute(&mut *connection).await.map_err(store_error)?;
        }
        Ok(())
    }

    async fn delete<K: ToCell>(
        &self,
        connection: &mut SqliteConnection,
        keys: &[&K],
    ) -> Result<(), StoreError> {
        let Shape { name, key, .. } = &self.shape;
        for keys in cut(keys, 1) {
            let wanted = tuple(keys.len());
            let statement = statement(format!("DELETE FROM {name} WHERE {} IN {wanted}", key.name));
            self.bind_keys(statement, keys)?.execute(&mut *connection).await.map_err(store_error)?;
        }
        Ok(())
    }

    /// The rows of `keys`, each with the place of its key among them.
    async fn find<K: ToCell>(
        &self,
        connection: &mut SqliteConnection,
        keys: &[&K],
    ) -> Result<Vec<(usize, SqliteRow)>, StoreError> {
        let Shape { name, key, columns } = &self.shape;
        let read: String = columns.iter().map(|column| format!(", had.{}", column.name)).collect();
        let mut found = Vec::new();
        let mut before = 0;
        for keys in cut(keys, 1) {
            let values: Vec<_> = (0..keys.len()).map(|at| format!("({at}, ?)")).collect();
            // A cross join is not turned round: the keys that are wanted come first, and their rows are looked up.
            let statement = statement(format!(
                "WITH wanted(at, key) AS (VALUES {}) SELECT wanted.at{read} FROM wanted CROSS JOIN {name} AS had \
                 WHERE had.{} = wanted.key",
                values.join(", "),
                key.name
            ));
            let rows =
                self.bind_keys(statement, keys)?.fetch_all(&mut *connection).await.map_err(store_error)?;
            for row in rows {
                let at: i64 = row.try_get(0).map_err(store_error)?;
                found.push((before + usize::try_from(at)?, row));
            }
            before += keys.len();
        }
        Ok(found)
    }

    fn bind_keys<'q, K: ToCell>(
        &self,
        mut statement: Statement<'q>,
        keys: &[&K],
    ) -> Result<Statement<'q>, StoreError> {
        for key in keys {
            statement = bind(statement, key_cell(&self.shape, *key)?);
        }
        Ok(statement)
    }

    fn read<K, V: Row<K>>(&self, key: &K, row: &SqliteRow) -> Result<V, StoreError> {
        let cells = self.shape.columns.iter().zip(1..).map(|(column, at)| cell_at(row, at, column));
        value_of(key, cells.collect::<Result<_, _>>()?)
    }
}

#[async_trait]
impl<K: Key + ToCell, V: Value + Row<K>> SqliteRows<K, V> for SqliteTable {
    async fn load(&self, connection: &mut SqliteConnection, key: &K) -> Result<Option<V>, StoreError> {
        let found = self.find(connection, &[key]).await?;
        found.first().map(|(_, row)| self.read(key, row)).transpose()
    }

    async fn load_many(
        &self,
        connection: &mut SqliteConnection,
        keys: &[K],
    ) -> Vec<Result<Option<V>, StoreError>> {
        let asked: Vec<&K> = keys.iter().collect();
        let rows = match self.find(connection, &asked).await {
            Ok(rows) => rows,
            Err(error) => return for_each(error, keys.len()),
        };
        let mut answers: Vec<_> = keys.iter().map(|_| Ok(None)).collect();
        for (at, row) in rows {
            if let (Some(answer), Some(key)) = (answers.get_mut(at), keys.get(at)) {
                *answer = self.read(key, &row).map(Some);
            }
        }
        answers
    }

    async fn apply(
        &self,
        connection: &mut SqliteConnection,
        changes: &[Change<K, V>],
    ) -> Result<(), StoreError> {
        let (puts, deletes) = parted(changes)?;
        self.put(connection, &puts).await?;
        self.delete(connection, &deletes).await
    }

    fn is_one_statement(&self, changes: &[Change<K, V>]) -> bool {
        changes.len() == 1
    }
}

type Statement<'q> = Query<'q, Sqlite, SqliteArguments>;

/// `sql` has names that were checked, and no values.
fn statement(sql: String) -> Statement<'static> {
    query(AssertSqlSafe(sql))
}

/// `(?, ?, ?)`.
fn tuple(width: usize) -> String {
    format!("({})", vec!["?"; width].join(", "))
}

/// Cuts `rows` of `width` parameters each into as few parts as there are sizes of statements.
fn cut<T>(mut rows: &[T], width: usize) -> impl Iterator<Item = &[T]> {
    let most = MOST_ROWS.min(MOST_PARAMETERS / width).max(1);
    std::iter::from_fn(move || {
        let size = 1 << rows.len().min(most).checked_ilog2()?;
        let (part, rest) = rows.split_at(size);
        rows = rest;
        Some(part)
    })
}

fn bind(statement: Statement<'_>, cell: Cell) -> Statement<'_> {
    match cell {
        Cell::Null => statement.bind(None::<i64>),
        Cell::Int(number) => statement.bind(number),
        Cell::Real(number) => statement.bind(number),
        Cell::Text(text) => statement.bind(text),
        Cell::Bytes(bytes) => statement.bind(bytes),
        Cell::Bool(is) => statement.bind(is),
    }
}

fn cell_at(row: &SqliteRow, at: usize, column: &Column) -> Result<Cell, StoreError> {
    let cell = match column.kind {
        Kind::Int => row.try_get::<Option<i64>, _>(at).map(|it| it.map(Cell::Int)),
        Kind::Real => row.try_get::<Option<f64>, _>(at).map(|it| it.map(Cell::Real)),
        Kind::Text => row.try_get::<Option<String>, _>(at).map(|it| it.map(Cell::Text)),
        Kind::Bytes => row.try_get::<Option<Vec<u8>>, _>(at).map(|it| it.map(Cell::Bytes)),
        Kind::Bool => row.try_get::<Option<bool>, _>(at).map(|it| it.map(Cell::Bool)),
    };
    cell.map(|cell| cell.unwrap_or(Cell::Null)).map_err(store_error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_is_cut_to_few_sizes() {
        let sizes = |rows: usize, width| cut(&vec![(); rows], width).map(<[()]>::len).collect::<Vec<_>>();
        assert_eq!(sizes(0, 3), [0_usize; 0]);
        assert_eq!(sizes(500, 3), [256, 128, 64, 32, 16, 4]);
        assert_eq!(sizes(2_049, 3), [1_024, 1_024, 1]);
        assert_eq!(sizes(40, 2_000), [16, 16, 8]);
        assert_eq!(sizes(3, 40_000), [1, 1, 1]);
    }
}
