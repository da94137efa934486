//! What an error of a database says of a write: whether it was done, and whether trying again can help.

use std::time::Duration;

use crate::support::aside;
use crate::support::postgres::Postgres;
use crate::support::sqlite::Sqlite;
use async_trait::async_trait;
use larder::sqlx::{Kind, PostgresRows, PostgresStore, SqliteStore, Table, store_error};
use larder::store::{Committed, JournalId, ShardId, TransactionalStore};
use larder::testing::batch;
use larder::{Change, Fault, Loader, Outcome, Store, StoreError};
use sqlx::postgres::PgPoolOptions;
use sqlx::sqlite::SqlitePoolOptions;
use sqlx::{PgConnection, SqlitePool, raw_sql};

const SHARD: ShardId = ShardId::new(JournalId::from_bytes([1; 16]), 0);

const CREATE: &str =
    "CREATE TABLE texts (id BIGINT PRIMARY KEY, value TEXT UNIQUE NOT NULL CHECK (value <> 'bad'))";

fn texts() -> Table {
    Table::new("texts").key("id", Kind::Int).column("value", Kind::Text)
}

#[track_caller]
fn assert_says<T>(result: Result<T, StoreError>, outcome: Outcome, fault: Fault) {
    let error = result.map(drop).expect_err("it fails");
    assert_eq!((error.outcome(), error.fault()), (outcome, fault), "{error:?}");
    assert!(error.downcast_ref::<sqlx::Error>().is_some(), "the database's own error can be asked for");
}

async fn what_is_refused_is_permanent(store: &impl Store<u64, Option<String>>) -> Result<(), StoreError> {
    let text = |text: &str| Some(text.to_owned());
    store.save(&1, &text("one")).await?;
    assert_says(store.save(&2, &text("one")).await, Outcome::NotApplied, Fault::Permanent);
    assert_says(store.save(&2, &text("bad")).await, Outcome::NotApplied, Fault::Permanent);
    assert_says(store.save(&2, &None).await, Outcome::NotApplied, Fault::Permanent);
    let batch = [Change::Put(1, text("two")), Change::Put(2, text("bad")), Change::Delete(1)];
    assert_says(store.apply(&batch).await, Outcome::NotApplied, Fault::Permanent);
    assert_eq!(store.load(&1).await?, Some(text("one")));
    Ok(())
}

#[tokio::test]
async fn what_a_database_refuses_it_refuses_for_good() -> Result<(), StoreError> {
    let file = Sqlite::make();
    raw_sql(CREATE).execute(&file.pool()).await?;
    what_is_refused_is_permanent(&SqliteStore::new(file.pool(), texts().sqlite()?)).await?;

    let test = "what_a_database_refuses_it_refuses_for_good";
    let Some(server) = Postgres::start_or_skip(test).await else { return Ok(()) };
    raw_sql(CREATE).execute(&server.pool()).await?;
    let store = PostgresStore::new(server.pool(), texts().postgres()?);
    what_is_refused_is_permanent(&store).await?;
    // PostgreSQL has no text with a zero byte.
    let odd = store.save(&7, &Some("a\0b".to_owned())).await;
    assert_says(odd, Outcome::NotApplied, Fault::Permanent);
    Ok(())
}

#[tokio::test]
async fn a_missing_table_is_no_reason_to_put_writes_aside() -> Result<(), StoreError> {
    let file = Sqlite::make();
    let store = SqliteStore::<u64, String>::new(file.pool(), texts().sqlite()?);
    assert_says(store.save(&1, &"one".to_owned()).await, Outcome::NotApplied, Fault::Transient);
    assert_says(store.claim(SHARD).await, Outcome::NotApplied, Fault::Transient);

    let test = "a_missing_table_is_no_reason_to_put_writes_aside";
    let Some(server) = Postgres::start_or_skip(test).await else { return Ok(()) };
    let store = PostgresStore::<u64, String>::new(server.pool(), texts().postgres()?);
    assert_says(store.save(&1, &"one".to_owned()).await, Outcome::NotApplied, Fault::Transient);
    assert_says(store.claim(SHARD).await, Outcome::NotApplied, Fault::Transient);
    Ok(())
}

#[tokio::test]
async fn a_database_that_is_busy_may_be_free_later() -> Result<(), StoreError> {
    let file = Sqlite::make();
    raw_sql(CREATE).execute(&file.pool()).await?;
    let impatient = file.options().busy_timeout(Duration::from_millis(50));
    let pool: SqlitePool = SqlitePoolOptions::new().connect_lazy_with(impatient);
    let store = SqliteStore::<u64, String>::new(pool, texts().sqlite()?);
    store.migrate().await?;
    let busy = file.pool().begin_with("BEGIN IMMEDIATE").await?;
    assert_says(store.save(&1, &"one".to_owned()).await, Outcome::NotApplied, Fault::Transient);
    let commit = batch(SHARD, 1, 0, vec![Change::Put(1, "one".to_owned())], vec![]);
    assert_says(store.commit(&commit).await, Outcome::NotApplied, Fault::Transient);
    // Who holds the database may be about to move the offset.
    assert_says(store.offset(SHARD).await, Outcome::NotApplied, Fault::Transient);
    busy.rollback().await?;
    store.save(&1, &"one".to_owned()).await.map(drop)
}

#[tokio::test]
async fn a_server_that_is_away_has_written_nothing() -> Result<(), StoreError> {
    let Some(server) = Postgres::start_or_skip("a_server_that_is_away_has_written_nothing").await else {
        return Ok(());
    };
    const PASSWORD: &str = "open-sesame";
    raw_sql(CREATE).execute(&server.pool()).await?;
    let pool = PgPoolOptions::new()
        .acquire_timeout(Duration::from_millis(500))
        .connect_lazy_with(server.options().password(PASSWORD));
    let store = PostgresStore::<u64, String>::new(pool, texts().postgres()?);
    store.migrate().await?;
    store.claim(SHARD).await?;
    server.stop().await;

    // Connections that were in the pool are found to be broken before anything is sent.
    let one = "one".to_owned();
    let commit = batch(SHARD, 1, 0, vec![Change::Put(1, one.clone())], vec![]);
    for result in [store.commit(&commit).await.map(drop), store.save(&1, &one).await.map(drop)] {
        let told = format!("{:?}{store:?}", result.as_ref().err());
        assert!(!told.contains(PASSWORD), "{told}");
        assert_says(result, Outcome::NotApplied, Fault::Transient);
    }
    assert!(store.load(&1).await.is_err());
    assert_eq!(store.load_many(&[1, 2]).await.iter().filter(|answer| answer.is_err()).count(), 2);

    server.start_again().await;
    assert_eq!(store.commit(&commit).await?, Committed::Done);
    assert_eq!(store.load(&1).await?, Some(one));
    Ok(())
}

/// Rows whose statement takes its time: in a transaction, or alone, with none to be rolled back around it.
struct Asleep {
    is_alone: bool,
}

#[async_trait]
impl PostgresRows<u64, String> for Asleep {
    async fn load(&self, _connection: &mut PgConnection, _key: &u64) -> Result<Option<String>, StoreError> {
        Ok(None)
    }

    async fn apply(
        &self,
        connection: &mut PgConnection,
        _changes: &[Change<u64, String>],
    ) -> Result<(), StoreError> {
        sqlx::query("SELECT pg_sleep(30)").execute(connection).await?;
        Ok(())
    }

    fn is_one_statement(&self, _changes: &[Change<u64, String>]) -> bool {
        self.is_alone
    }
}

/// How both fare when the server dies in the middle.
async fn deaths(server: &Postgres, how: impl AsyncFn()) -> Result<[StoreError; 2], StoreError> {
    let [store, alone] = [false, true].map(|is_alone| PostgresStore::new(server.pool(), Asleep { is_alone }));
    store.migrate().await?;
    store.claim(SHARD).await?;
    let write = Change::Put(1, "one".to_owned());
    let commit = batch(SHARD, 1, 0, vec![write.clone()], vec![]);
    let kill = async {
        aside(|| std::thread::sleep(Duration::from_millis(500))).await;
        how().await;
    };
    let writes = [write];
    let (committed, applied, ()) = tokio::join!(store.commit(&commit), alone.apply(&writes), kill);
    Ok([committed.map(drop).expect_err("the server is dead"), applied.expect_err("the server is dead")])
}

#[tokio::test]
async fn a_server_that_dies_before_the_commit_has_written_nothing() -> Result<(), StoreError> {
    let test = "a_server_that_dies_before_the_commit_has_written_nothing";
    let Some(server) = Postgres::start_or_skip(test).await else { return Ok(()) };
    let [in_transaction, alone] = deaths(&server, async || server.kill().await).await?;
    assert_says(Err::<(), _>(in_transaction), Outcome::NotApplied, Fault::Transient);
    assert_says(Err::<(), _>(alone), Outcome::Unknown, Fault::Transient);
    Ok(())
}

#[tokio::test]
async fn a_server_that_is_stopped_before_the_commit_has_written_nothing() -> Result<(), StoreError> {
    let test = "a_server_that_is_stopped_before_the_commit_has_written_nothing";
    let Some(server) = Postgres::start_or_skip(test).await else { return Ok(()) };
    let [in_transaction, alone] = deaths(&server, async || server.stop().await).await?;
    assert_says(Err::<(), _>(in_transaction), Outcome::NotApplied, Fault::Transient);
    assert_says(Err::<(), _>(alone), Outcome::Unknown, Fault::Transient);
    Ok(())
}

/// A constraint that is looked at with the commit: what sleeps there is the commit itself.
const SLOW_COMMIT: &str = "
    CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(30); RETURN NULL; END $$;
    CREATE CONSTRAINT TRIGGER slow AFTER INSERT ON texts DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION slow()";

#[tokio::test]
async fn nobody_knows_what_a_commit_has_done_that_was_cut_off() -> Result<(), StoreError> {
    let test = "nobody_knows_what_a_commit_has_done_that_was_cut_off";
    let Some(server) = Postgres::start_or_skip(test).await else { return Ok(()) };
    let store = PostgresStore::<u64, String>::new(server.pool(), texts().postgres()?);
    raw_sql(CREATE).execute(&server.pool()).await?;
    raw_sql(SLOW_COMMIT).execute(&server.pool()).await?;
    store.migrate().await?;
    store.claim(SHARD).await?;
    let commit = batch(SHARD, 1, 0, vec![Change::Put(1, "one".to_owned())], vec![]);
    let kill = async {
        aside(|| std::thread::sleep(Duration::from_millis(500))).await;
        server.kill().await;
    };
    let (committed, ()) = tokio::join!(store.commit(&commit), kill);
    assert_says(committed, Outcome::Unknown, Fault::Transient);
    server.start_again().await;
    // The row tells; here it was not done.
    assert_eq!(store.offset(SHARD).await?.map(|claim| claim.offset()), Some(0));
    Ok(())
}

#[tokio::test]
async fn a_constraint_that_is_checked_late_undoes_the_commit() -> Result<(), StoreError> {
    let test = "a_constraint_that_is_checked_late_undoes_the_commit";
    let Some(server) = Postgres::start_or_skip(test).await else { return Ok(()) };
    let create = "CREATE TABLE parents (id BIGINT PRIMARY KEY);
        CREATE TABLE texts (id BIGINT PRIMARY KEY REFERENCES parents DEFERRABLE INITIALLY DEFERRED, value TEXT)";
    raw_sql(create).execute(&server.pool()).await?;
    let store = PostgresStore::<u64, String>::new(server.pool(), texts().postgres()?);
    store.migrate().await?;
    store.claim(SHARD).await?;
    let commit = batch(SHARD, 1, 0, vec![Change::Put(1, "orphan".to_owned())], vec![]);
    assert_says(store.commit(&commit).await, Outcome::NotApplied, Fault::Permanent);
    assert_eq!(store.offset(SHARD).await?.map(|claim| claim.offset()), Some(0));
    Ok(())
}

#[test]
fn an_error_is_judged_for_stores_of_ones_own_too() {
    let error = store_error(sqlx::Error::PoolTimedOut);
    assert_eq!((error.outcome(), error.fault()), (Outcome::NotApplied, Fault::Transient));
}
