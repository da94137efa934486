//! A declared table keeps what it is given, in SQLite and in PostgreSQL: every kind of cell, under any name, one key or
//! thousands.

use std::collections::HashSet;
use std::sync::Arc;

use crate::support::postgres::Postgres;
use crate::support::sqlite::Sqlite;
use async_trait::async_trait;
use larder::sqlx::{
    Cell, Cells, Kind, PostgresRows, PostgresStore, Row, SqliteRows, SqliteStore, Table, ToCell,
};
use larder::testing::store_contract;
use larder::{BoxError, Change, Fault, Outcome, Store, StoreError};
use sqlx::{AssertSqlSafe, PgConnection, SqliteConnection, raw_sql};

/// A row with a column of every kind, and one that may be null.
#[derive(Clone, Debug, PartialEq)]
struct Everything {
    key: i64,
    text: String,
    int: i64,
    real: f64,
    bytes: Vec<u8>,
    is: bool,
    note: Option<String>,
}

impl Everything {
    fn of(key: i64) -> Self {
        let text = format!("it's \"{key}\"; DROP TABLE rows -- \u{1f980}");
        Self { key, text, int: -key, real: 0.5, bytes: vec![0, 0xff, 1], is: key % 2 == 0, note: None }
    }
}

impl Row<i64> for Everything {
    fn to_cells(&self) -> Result<Vec<Cell>, BoxError> {
        let Self { text, int, real, bytes, is, note, .. } = self;
        Ok(vec![
            text.to_cell()?,
            int.to_cell()?,
            real.to_cell()?,
            bytes.to_cell()?,
            is.to_cell()?,
            note.to_cell()?,
        ])
    }

    fn from_cells(&key: &i64, mut cells: Cells) -> Result<Self, BoxError> {
        let (text, int, real) = (cells.take()?, cells.take()?, cells.take()?);
        Ok(Self { key, text, int, real, bytes: cells.take()?, is: cells.take()?, note: cells.take()? })
    }
}

/// With names that SQL has other uses for.
const CREATE: &str = "CREATE TABLE \"order\" (\"group\" BIGINT PRIMARY KEY, \"Select\" TEXT, \"1int\" INTEGER,
    \"real\" DOUBLE PRECISION, bytes BYTEA, \"is\" BOOLEAN, \"null\" TEXT, untouched TEXT DEFAULT 'as it was')";

fn everything() -> Table {
    let table =
        Table::new("order").key("group", Kind::Int).column("Select", Kind::Text).column("1int", Kind::Int);
    let table = table.column("real", Kind::Real).column("bytes", Kind::Bytes);
    table.column("is", Kind::Bool).column("null", Kind::Text)
}

/// As wide as [`everything`], and a value that has what it is told to have.
#[derive(Clone, Debug)]
struct Odd(Vec<Cell>);

impl Row<i64> for Odd {
    fn to_cells(&self) -> Result<Vec<Cell>, BoxError> {
        Ok(self.0.clone())
    }

    fn from_cells(_key: &i64, mut cells: Cells) -> Result<Self, BoxError> {
        Ok(Self(vec![cells.take::<String>()?.to_cell()?]))
    }
}

async fn everything_comes_back(store: impl Store<i64, Arc<Everything>>) -> Result<(), StoreError> {
    let mut one = Everything::of(1);
    let two = Arc::new(Everything { note: Some(String::new()), real: f64::MAX, ..Everything::of(2) });
    store.save(&1, &Arc::new(one.clone())).await?;
    store.save(&2, &two).await?;
    one.text = "another".to_owned();
    store.save(&1, &Arc::new(one.clone())).await?;
    assert_eq!(store.load(&1).await?.as_deref(), Some(&one));
    assert_eq!(store.load(&3).await?, None);

    let mut many = Vec::new();
    for answer in store.load_many(&[3, 2, 1, 2]).await {
        many.push(answer?);
    }
    assert_eq!(many, [None, Some(Arc::clone(&two)), Some(Arc::new(one)), Some(two)]);
    store.delete(&1).await?;
    store.delete(&1).await?;
    assert_eq!(store.load(&1).await?, None);
    store.apply(&[]).await
}

async fn thousands_are_one_batch(store: impl Store<i64, Arc<Everything>>) -> Result<(), StoreError> {
    let put = |key| Change::Put(key, Arc::new(Everything::of(key)));
    store.apply(&(0..5_000).map(put).collect::<Vec<_>>()).await?;
    let keys: Vec<i64> = (0..6_000).collect();
    let answers = store.load_many(&keys).await;
    for (key, answer) in keys.iter().zip(answers) {
        let expected = (*key < 5_000).then(|| Everything::of(*key));
        assert_eq!(answer?.as_deref(), expected.as_ref());
    }
    let halves = (0..5_000).map(|key| if key % 2 == 0 { Change::Delete(key) } else { put(key) });
    store.apply(&halves.collect::<Vec<_>>()).await?;
    let left =
        store.load_many(&keys).await.into_iter().filter(|answer| matches!(answer, Ok(Some(_)))).count();
    assert_eq!(left, 2_500);
    Ok(())
}

async fn odd_rows_are_refused(store: impl Store<i64, Odd>) -> Result<(), StoreError> {
    let cells = || Everything::of(1).to_cells().expect("cells");
    let refused = |result: Result<_, StoreError>| {
        let error = result.map(drop).expect_err("the row does not fit");
        assert_eq!((error.outcome(), error.fault()), (Outcome::NotApplied, Fault::Permanent), "{error}");
        assert!(!format!("{error} {error:?}").contains("secret"), "{error:?}");
    };
    refused(store.save(&1, &Odd(cells()[1..].to_vec())).await);
    refused(store.save(&1, &Odd([cells(), vec![Cell::Null]].concat())).await);
    let mut wrong = cells();
    wrong[1] = Cell::Text("secret".to_owned());
    refused(store.save(&1, &Odd(wrong.clone())).await);
    let good = || Change::Put(2, Odd(cells()));
    refused(store.apply(&[good(), Change::Put(1, Odd(wrong))]).await.map(Into::into));
    assert!(store.load(&2).await?.is_none(), "a batch with a row that does not fit has no effect");

    // A row that cannot be read does not harm the others.
    store.apply(&[good(), Change::Put(3, Odd([vec![Cell::Null], cells()[1..].to_vec()].concat()))]).await?;
    let answers = store.load_many(&[2, 3, 4]).await;
    assert!(matches!(&answers[..], [Ok(Some(_)), Err(_), Ok(None)]), "{answers:?}");
    Ok(())
}

async fn keys_are_compared_as_the_database_does(store: impl Store<String, bool>) -> Result<(), StoreError> {
    let keys = ["", "a", "A", "' OR 1=1", "\u{1f980}"].map(str::to_owned);
    store.apply(&keys.clone().map(|key| Change::Put(key, true))).await?;
    let found = store.load_many(&keys).await;
    assert!(found.iter().all(|answer| matches!(answer, Ok(Some(true)))), "{found:?}");
    store.delete(&"a".to_owned()).await?;
    assert_eq!(store.load(&"A".to_owned()).await?, Some(true));
    assert_eq!(store.load(&"a".to_owned()).await?, None);
    Ok(())
}

async fn a_number_beyond_the_column_is_refused(store: impl Store<u64, bool>) {
    let error = store.save(&u64::MAX, &true).await.expect_err("no column holds it");
    assert_eq!((error.outcome(), error.fault()), (Outcome::NotApplied, Fault::Permanent));
    assert!(store.load(&u64::MAX).await.is_err());
    assert!(store.load_many(&[1, u64::MAX]).await.iter().all(Result::is_err));
}

#[tokio::test]
async fn sqlite_keeps_what_it_is_given() -> Result<(), StoreError> {
    let file = Sqlite::make();
    let pool = file.pool();
    raw_sql(CREATE).execute(&pool).await?;
    raw_sql("CREATE TABLE words (word TEXT PRIMARY KEY, is_one BOOLEAN); CREATE TABLE flags (id INTEGER PRIMARY KEY, flag BOOLEAN)")
        .execute(&pool)
        .await?;
    let table = || everything().sqlite();
    everything_comes_back(SqliteStore::new(pool.clone(), table()?)).await?;
    thousands_are_one_batch(SqliteStore::new(pool.clone(), table()?)).await?;
    raw_sql("DELETE FROM \"order\"").execute(&pool).await?;
    odd_rows_are_refused(SqliteStore::new(pool.clone(), table()?)).await?;
    let words = Table::new("words").key("word", Kind::Text).column("is_one", Kind::Bool).sqlite()?;
    keys_are_compared_as_the_database_does(SqliteStore::new(pool.clone(), words)).await?;
    let flags = Table::new("flags").key("id", Kind::Int).column("flag", Kind::Bool).sqlite()?;
    a_number_beyond_the_column_is_refused(SqliteStore::new(pool.clone(), flags)).await;
    let untouched: String =
        sqlx::query_scalar("SELECT untouched FROM \"order\" LIMIT 1").fetch_one(&pool).await?;
    assert_eq!(untouched, "as it was", "columns that are not declared are left alone");
    Ok(())
}

#[tokio::test]
async fn postgres_keeps_what_it_is_given() -> Result<(), StoreError> {
    let Some(server) = Postgres::start_or_skip("postgres_keeps_what_it_is_given").await else {
        return Ok(());
    };
    let pool = server.pool();
    raw_sql(CREATE).execute(&pool).await?;
    raw_sql(
        "CREATE SCHEMA \"App\"; CREATE TABLE \"App\".words (word VARCHAR(40) PRIMARY KEY, is_one BOOLEAN)",
    )
    .execute(&pool)
    .await?;
    raw_sql("CREATE TABLE flags (id SMALLINT PRIMARY KEY, flag BOOLEAN)").execute(&pool).await?;
    let table = || everything().postgres();
    everything_comes_back(PostgresStore::new(pool.clone(), table()?)).await?;
    thousands_are_one_batch(PostgresStore::new(pool.clone(), table()?)).await?;
    raw_sql("DELETE FROM \"order\"").execute(&pool).await?;
    odd_rows_are_refused(PostgresStore::new(pool.clone(), table()?)).await?;
    let words = Table::new("App.words").key("word", Kind::Text).column("is_one", Kind::Bool).postgres()?;
    keys_are_compared_as_the_database_does(PostgresStore::new(pool.clone(), words)).await?;
    let flags = Table::new("flags").key("id", Kind::Int).column("flag", Kind::Bool).postgres()?;
    a_number_beyond_the_column_is_refused(PostgresStore::new(pool.clone(), flags)).await;
    let untouched: String =
        sqlx::query_scalar("SELECT untouched FROM \"order\" LIMIT 1").fetch_one(&pool).await?;
    assert_eq!(untouched, "as it was", "columns that are not declared are left alone");
    Ok(())
}

/// Of the columns `id` and `value`.
fn texts(name: &str) -> Table {
    Table::new(name).key("id", Kind::Int).column("value", Kind::Text)
}

#[tokio::test]
async fn tables_keep_the_contract_of_a_store() -> Result<(), StoreError> {
    let file = Sqlite::make();
    let make = async || {
        let name = format!("t{:x}", fastrand::u64(..));
        let create = format!("CREATE TABLE {name} (id INTEGER PRIMARY KEY, value TEXT)");
        raw_sql(AssertSqlSafe(create)).execute(&file.pool()).await.expect("a table");
        SqliteStore::<u64, String>::new(file.pool(), texts(&name).sqlite().expect("a name"))
    };
    store_contract(make).await?;

    let Some(server) = Postgres::start_or_skip("tables_keep_the_contract_of_a_store").await else {
        return Ok(());
    };
    let make = async || {
        let name = format!("t{:x}", fastrand::u64(..));
        let create = format!("CREATE TABLE {name} (id BIGINT PRIMARY KEY, value TEXT)");
        raw_sql(AssertSqlSafe(create)).execute(&server.pool()).await.expect("a table");
        PostgresStore::<u64, String>::new(server.pool(), texts(&name).postgres().expect("a name"))
    };
    store_contract(make).await?;
    Ok(())
}

/// Statements of one's own: two tables that change together, and the second refuses `bad`.
struct TwoTables;

const FIND: &str = "SELECT value FROM first WHERE id = $1";
const INSERTS: [&str; 2] = ["INSERT INTO first VALUES ($1, $2)", "INSERT INTO second VALUES ($1, $2)"];

/// What the puts among `changes` insert: each statement with the key and the value of its row.
fn inserts(changes: &[Change<u64, String>]) -> Vec<(&'static str, i64, &str)> {
    let puts = changes.iter().filter_map(|change| match change {
        Change::Put(key, value) => Some((key.cast_signed(), value.as_str())),
        _ => None,
    });
    puts.flat_map(|(key, value)| INSERTS.map(|insert| (insert, key, value))).collect()
}

#[async_trait]
impl SqliteRows<u64, String> for TwoTables {
    async fn load(&self, connection: &mut SqliteConnection, key: &u64) -> Result<Option<String>, StoreError> {
        Ok(sqlx::query_scalar(FIND).bind(key.cast_signed()).fetch_optional(connection).await?)
    }

    async fn apply(
        &self,
        connection: &mut SqliteConnection,
        changes: &[Change<u64, String>],
    ) -> Result<(), StoreError> {
        for (insert, key, value) in inserts(changes) {
            sqlx::query(insert).bind(key).bind(value).execute(&mut *connection).await?;
        }
        Ok(())
    }
}

#[async_trait]
impl PostgresRows<u64, String> for TwoTables {
    async fn load(&self, connection: &mut PgConnection, key: &u64) -> Result<Option<String>, StoreError> {
        Ok(sqlx::query_scalar(FIND).bind(key.cast_signed()).fetch_optional(connection).await?)
    }

    async fn apply(
        &self,
        connection: &mut PgConnection,
        changes: &[Change<u64, String>],
    ) -> Result<(), StoreError> {
        for (insert, key, value) in inserts(changes) {
            sqlx::query(insert).bind(key).bind(value).execute(&mut *connection).await?;
        }
        Ok(())
    }
}

const TWO_TABLES: &str = "CREATE TABLE first (id BIGINT PRIMARY KEY, value TEXT);
    CREATE TABLE second (id BIGINT PRIMARY KEY, value TEXT CHECK (value <> 'bad'))";

async fn both_tables_or_none(store: impl Store<u64, String>) -> Result<(), StoreError> {
    store.save(&1, &"good".to_owned()).await?;
    assert_eq!(store.load(&1).await?.as_deref(), Some("good"));
    let error = store.save(&2, &"bad".to_owned()).await.map(drop).expect_err("the check refuses it");
    assert_eq!((error.outcome(), error.fault()), (Outcome::NotApplied, Fault::Permanent), "{error}");
    assert_eq!(store.load(&2).await?, None, "the first table has been undone");
    let unique: HashSet<_> =
        store.load_many(&[1, 2, 1]).await.into_iter().map(|answer| answer.ok()).collect();
    assert_eq!(unique, HashSet::from([Some(Some("good".to_owned())), Some(None)]));
    Ok(())
}

#[tokio::test]
async fn statements_of_ones_own_are_one_transaction() -> Result<(), StoreError> {
    let file = Sqlite::make();
    raw_sql(TWO_TABLES).execute(&file.pool()).await?;
    both_tables_or_none(SqliteStore::new(file.pool(), TwoTables)).await?;

    let test = "statements_of_ones_own_are_one_transaction";
    let Some(server) = Postgres::start_or_skip(test).await else { return Ok(()) };
    raw_sql(TWO_TABLES).execute(&server.pool()).await?;
    both_tables_or_none(PostgresStore::new(server.pool(), TwoTables)).await?;
    Ok(())
}
