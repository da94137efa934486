//! Stores on a SQLite or a PostgreSQL database, through [sqlx]: [`SqliteStore`] with the feature `sqlite`,
//! [`PostgresStore`] with the feature `postgres`. They need Rust 1.94, as sqlx does.
//!
//! A [`Table`] says how keys and values are kept:
//!
//! ```
//! # #[cfg(feature = "sqlite")]
//! # async fn demo() -> Result<(), larder::StoreError> {
//! use larder::sqlx::{Cell, Cells, Kind, Row, SqliteStore, Table, ToCell};
//! use larder::{BoxError, Store};
//!
//! #[derive(Clone, Debug, PartialEq)]
//! struct Page {
//!     id: u64,
//!     title: String,
//!     views: u64,
//! }
//!
//! impl Row<u64> for Page {
//!     fn to_cells(&self) -> Result<Vec<Cell>, BoxError> {
//!         Ok(vec![self.title.to_cell()?, self.views.to_cell()?])
//!     }
//!
//!     fn from_cells(&id: &u64, mut cells: Cells) -> Result<Self, BoxError> {
//!         Ok(Self { id, title: cells.take()?, views: cells.take()? })
//!     }
//! }
//!
//! let pool = sqlx::sqlite::SqlitePoolOptions::new().max_connections(1).connect("sqlite::memory:").await?;
//! sqlx::query("CREATE TABLE pages (id INTEGER PRIMARY KEY, title TEXT, views INTEGER)").execute(&pool).await?;
//!
//! let table = Table::new("pages").key("id", Kind::Int).column("title", Kind::Text).column("views", Kind::Int);
//! let pages: SqliteStore<u64, Page> = SqliteStore::new(pool, table.sqlite()?);
//! let page = Page { id: 1, title: "Larder".to_owned(), views: 0 };
//! pages.save(&1, &page).await?;
//!
//! let pages = larder::write_through(pages).name("pages").ttl(std::time::Duration::from_secs(60));
//! # let _ = pages;
//! # Ok(())
//! # }
//! # #[cfg(feature = "sqlite")]
//! # tokio::runtime::Runtime::new().unwrap().block_on(demo()).unwrap();
//! ```
//!
//! Whoever needs other statements (several tables, a history, a key of two columns) writes them: the traits
//! `SqliteRows` and `PostgresRows` are handed a connection, in a transaction where one is due.
//!
//! # Exactly once
//!
//! Both are a [`TransactionalStore`](crate::store::TransactionalStore). For that they keep two tables beside yours, which
//! `migrate()` creates. Whoever has migrations of their own takes [`SQLITE_TABLES`] or [`POSTGRES_TABLES`] over.
//!
//! - `larder_shard` has a row for each shard of a journal: how often it was claimed, and how far its writes have come.
//!   A volatile journal gets a new id with every start of its process, so the row that it leaves behind is read by nobody.
//!   Rows of volatile journals whose `updated_at` is longer ago than any process runs may be deleted. The row of a
//!   journal on disk may not: without it, its writes would be written once more.
//! - `larder_dead_letter` has the writes that were put aside. `at` is in nanoseconds since 1970, in UTC.
//!
//! # What an error means
//!
//! [`store_error`] says what is known of a write after an error of sqlx, and whether trying again can help. It is there
//! for stores of your own, too.

mod cell;
mod error;
mod ledger;
#[cfg(feature = "postgres")]
mod postgres;
mod row;
#[cfg(feature = "sqlite")]
mod sqlite;
mod table;
mod work;

pub use cell::{Cell, Cells, FromCell, Kind, ToCell, WrongCell};
pub use error::store_error;
pub use ledger::{POSTGRES_TABLES, SQLITE_TABLES};
#[cfg(feature = "postgres")]
pub use postgres::{PostgresRows, PostgresStore, PostgresTable};
pub use row::Row;
#[cfg(feature = "sqlite")]
pub use sqlite::{SqliteRows, SqliteStore, SqliteTable};
pub use table::Table;
