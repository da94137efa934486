//! The rows of a declared table.

use ::sqlx::postgres::{PgArguments, PgRow};
use ::sqlx::query::Query;
use ::sqlx::{PgConnection, Postgres, Row as _, query};
use async_trait::async_trait;

use super::PostgresRows;
use crate::bounds::{Key, Value};
use crate::error::StoreError;
use crate::store::Change;
use crate::store::sqlx::cell::{Cell, FromCell, Kind, ToCell};
use crate::store::sqlx::error::{for_each, store_error};
use crate::store::sqlx::ledger::Text;
use crate::store::sqlx::row::{Row, key_cell, refused, row_cells, value_of};
use crate::store::sqlx::table::{Column, Shape};
use crate::store::sqlx::work::parted;

/// The rows of a [`Table`](crate::sqlx::Table) in a PostgreSQL database.
///
/// Every statement has one text, however many rows it is about: columns travel as arrays. So the server plans it once.
#[derive(Clone, Debug)]
pub struct PostgresTable {
    shape: Shape,
    load: Text,
    load_many: Text,
    load_locked: Text,
    put: Text,
    delete: Text,
}

impl PostgresTable {
    pub(in crate::store::sqlx) fn new(shape: Shape) -> Self {
        let Shape { name, key, columns } = &shape;
        let key_type = sql_type(key.kind);
        let read: String = columns
            .iter()
            .map(|column| format!(", had.{}::{}", column.name, sql_type(column.kind)))
            .collect();
        let arrays: Vec<_> = std::iter::once(key)
            .chain(columns)
            .enumerate()
            .map(|(at, column)| format!("${}::{}[]", at + 1, sql_type(column.kind)))
            .collect();
        let load = format!("SELECT 1::bigint{read} FROM {name} AS had WHERE had.{} = $1", key.name);
        let load_many = format!(
            "SELECT wanted.at{read} FROM UNNEST($1::{key_type}[]) WITH ORDINALITY AS wanted(key, at) \
             JOIN {name} AS had ON had.{} = wanted.key",
            key.name
        );
        let load_locked = format!("{load_many} FOR UPDATE OF had");
        let put = format!(
            "INSERT INTO {name} ({}) SELECT * FROM UNNEST({}) {}",
            shape.names(),
            arrays.join(", "),
            shape.on_conflict()
        );
        let delete = format!("DELETE FROM {name} WHERE {} = ANY($1::{key_type}[])", key.name);
        let texts = [load, load_many, load_locked, put, delete].map(Text::new);
        let [load, load_many, load_locked, put, delete] = texts;
        Self { shape, load, load_many, load_locked, put, delete }
    }

    async fn put<K: ToCell, V: Row<K>>(
        &self,
        connection: &mut PgConnection,
        puts: &[(&K, &V)],
    ) -> Result<(), StoreError> {
        let mut columns: Vec<Vec<Cell>> = vec![Vec::with_capacity(puts.len()); self.shape.columns.len() + 1];
        for (key, value) in puts {
            for (column, cell) in columns.iter_mut().zip(row_cells(&self.shape, *key, *value)?) {
                column.push(cell);
            }
        }
        let mut statement = query(self.put.sql());
        let kinds = std::iter::once(&self.shape.key).chain(&self.shape.columns).map(|column| column.kind);
        for (kind, column) in kinds.zip(columns) {
            statement = bind_array(statement, kind, column)?;
        }
        statement.execute(connection).await.map(drop).map_err(store_error)
    }

    async fn delete<K: ToCell>(&self, connection: &mut PgConnection, keys: &[&K]) -> Result<(), StoreError> {
        let statement = bind_array(query(self.delete.sql()), self.shape.key.kind, self.keys(keys)?)?;
        statement.execute(connection).await.map(drop).map_err(store_error)
    }

    async fn find<K: ToCell>(
        &self,
        connection: &mut PgConnection,
        keys: &[&K],
        text: &Text,
    ) -> Result<Vec<PgRow>, StoreError> {
        let statement = bind_array(query(text.sql()), self.shape.key.kind, self.keys(keys)?)?;
        statement.fetch_all(connection).await.map_err(store_error)
    }

    async fn load_by<K: ToCell, V: Row<K>>(
        &self,
        connection: &mut PgConnection,
        keys: &[K],
        text: &Text,
    ) -> Vec<Result<Option<V>, StoreError>> {
        let asked: Vec<&K> = keys.iter().collect();
        let rows = match self.find(connection, &asked, text).await {
            Ok(rows) => rows,
            Err(error) => return for_each(error, keys.len()),
        };
        let mut answers: Vec<_> = keys.iter().map(|_| Ok(None)).collect();
        for row in rows {
            let at = row.try_get::<i64, _>(0).ok().and_then(|at| usize::try_from(at - 1).ok());
            if let Some((answer, key)) = at.and_then(|at| Some((answers.get_mut(at)?, keys.get(at)?))) {
                *answer = self.read(key, &row).map(Some);
            }
        }
        answers
    }

    fn keys<K: ToCell>(&self, keys: &[&K]) -> Result<Vec<Cell>, StoreError> {
        keys.iter().map(|key| key_cell(&self.shape, *key)).collect()
    }

    fn read<K, V: Row<K>>(&self, key: &K, row: &PgRow) -> Result<V, StoreError> {
        let cells = self.shape.columns.iter().zip(1..).map(|(column, at)| cell_at(row, at, column));
        value_of(key, cells.collect::<Result<_, _>>()?)
    }
}

#[async_trait]
impl<K: Key + ToCell, V: Value + Row<K>> PostgresRows<K, V> for PostgresTable {
    async fn load(&self, connection: &mut PgConnection, key: &K) -> Result<Option<V>, StoreError> {
        let statement = bind(query(self.load.sql()), key_cell(&self.shape, key)?);
        let row = statement.fetch_optional(connection).await.map_err(store_error)?;
        row.map(|row| self.read(key, &row)).transpose()
    }

    async fn load_many(
        &self,
        connection: &mut PgConnection,
        keys: &[K],
    ) -> Vec<Result<Option<V>, StoreError>> {
        self.load_by(connection, keys, &self.load_many).await
    }

    async fn load_to_merge(
        &self,
        connection: &mut PgConnection,
        keys: &[K],
    ) -> Vec<Result<Option<V>, StoreError>> {
        self.load_by(connection, keys, &self.load_locked).await
    }

    async fn apply(&self, connection: &mut PgConnection, changes: &[Change<K, V>]) -> Result<(), StoreError> {
        let (puts, deletes) = parted(changes)?;
        if !puts.is_empty() {
            self.put(connection, &puts).await?;
        }
        if !deletes.is_empty() {
            self.delete(connection, &deletes).await?;
        }
        Ok(())
    }

    fn is_one_statement(&self, changes: &[Change<K, V>]) -> bool {
        let puts = changes.iter().filter(|change| matches!(change, Change::Put(..))).count();
        puts == 0 || puts == changes.len()
    }

    fn passes_errors_on(&self) -> bool {
        true
    }
}

type Statement<'q> = Query<'q, Postgres, PgArguments>;

const fn sql_type(kind: Kind) -> &'static str {
    match kind {
        Kind::Int => "bigint",
        Kind::Real => "double precision",
        Kind::Text => "text",
        Kind::Bytes => "bytea",
        Kind::Bool => "boolean",
    }
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

/// All that a column gets, as one parameter.
fn bind_array(statement: Statement<'_>, kind: Kind, cells: Vec<Cell>) -> Result<Statement<'_>, StoreError> {
    fn array<T: FromCell>(cells: Vec<Cell>) -> Result<Vec<Option<T>>, StoreError> {
        cells.into_iter().map(|cell| Option::from_cell(cell).map_err(refused)).collect()
    }
    Ok(match kind {
        Kind::Int => statement.bind(array::<i64>(cells)?),
        Kind::Real => statement.bind(array::<f64>(cells)?),
        Kind::Text => statement.bind(array::<String>(cells)?),
        Kind::Bytes => statement.bind(array::<Vec<u8>>(cells)?),
        Kind::Bool => statement.bind(array::<bool>(cells)?),
    })
}

fn cell_at(row: &PgRow, at: usize, column: &Column) -> Result<Cell, StoreError> {
    let cell = match column.kind {
        Kind::Int => row.try_get::<Option<i64>, _>(at).map(|it| it.map(Cell::Int)),
        Kind::Real => row.try_get::<Option<f64>, _>(at).map(|it| it.map(Cell::Real)),
        Kind::Text => row.try_get::<Option<String>, _>(at).map(|it| it.map(Cell::Text)),
        Kind::Bytes => row.try_get::<Option<Vec<u8>>, _>(at).map(|it| it.map(Cell::Bytes)),
        Kind::Bool => row.try_get::<Option<bool>, _>(at).map(|it| it.map(Cell::Bool)),
    };
    cell.map(|cell| cell.unwrap_or(Cell::Null)).map_err(store_error)
}
