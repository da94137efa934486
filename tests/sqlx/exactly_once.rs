//! What a batch does to a database and the offset that says so are one transaction: on real databases, with owners that
//! come too late and transactions that are still under way.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::support::aside;
use crate::support::postgres::Postgres;
use crate::support::redis_process::Waiting;
use crate::support::sqlite::Sqlite;
use async_trait::async_trait;
use futures_util::FutureExt;
use larder::sqlx::{Kind, PostgresRows, PostgresStore, SqliteStore, Table};
use larder::store::{
    Batch, Claim, Committed, DeadLetter, JournalId, PendingWrite, Seq, ShardId, TransactionalStore,
};
use larder::testing::{FakeStore, batch, merge_store_contract, transactional_store_contract};
use larder::{Change, ErrorKind, Fault, Loader, Outcome, StoreError};
use sqlx::{AssertSqlSafe, Connection, PgConnection, PgPool, SqlitePool, raw_sql};

const SHARD: ShardId = ShardId::new(JournalId::from_bytes([1; 16]), 0);

fn texts(name: &str) -> Table {
    Table::new(name).key("id", Kind::Int).column("value", Kind::Text)
}

async fn sqlite(pool: SqlitePool) -> SqliteStore<u64, String> {
    let create = "CREATE TABLE texts (id INTEGER PRIMARY KEY, value TEXT CHECK (value <> 'bad'))";
    raw_sql(create).execute(&pool).await.expect("a new database");
    let store = SqliteStore::new(pool, texts("texts").sqlite().expect("names"));
    store.migrate().await.expect("a new database");
    store
}

/// In a schema of its own, so that several can share a server.
async fn postgres(pool: PgPool) -> PostgresStore<u64, String> {
    let schema = format!("s{:x}", fastrand::u64(..));
    let create = format!(
        "CREATE SCHEMA {schema}; CREATE TABLE {schema}.texts (id BIGINT PRIMARY KEY, value TEXT CHECK (value <> 'bad'))"
    );
    raw_sql(AssertSqlSafe(create)).execute(&pool).await.expect("a new schema");
    let table = texts(&format!("{schema}.texts")).postgres().expect("names");
    let store = PostgresStore::new(pool, table).schema(&schema).expect("a name");
    store.migrate().await.expect("a new schema");
    store
}

fn put(key: u64, value: &str) -> Change<u64, String> {
    Change::Put(key, value.to_owned())
}

fn one(epoch: u64, after: Seq, value: &str) -> Batch<u64, String> {
    batch(SHARD, epoch, after, vec![put(1, value)], vec![])
}

#[tokio::test]
async fn sqlite_keeps_the_contract() -> Result<(), StoreError> {
    let files = std::sync::Mutex::new(Vec::new());
    transactional_store_contract(async || {
        let file = Sqlite::make();
        let store = sqlite(file.pool()).await;
        files.lock().expect("no panic").push(file);
        store
    })
    .await
}

#[tokio::test]
async fn postgres_keeps_the_contract() -> Result<(), StoreError> {
    let Some(server) = Postgres::start_or_skip("postgres_keeps_the_contract").await else { return Ok(()) };
    let pool = server.pool();
    transactional_store_contract(async || postgres(pool.clone()).await).await
}

#[tokio::test]
async fn sqlite_lends_shards_and_merges() -> Result<(), StoreError> {
    let files = std::sync::Mutex::new(Vec::new());
    merge_store_contract(async || {
        let file = Sqlite::make();
        let pool = file.pool();
        raw_sql("CREATE TABLE numbers (id INTEGER PRIMARY KEY, value INTEGER)")
            .execute(&pool)
            .await
            .expect("a table");
        let store: SqliteStore<u64, i64> =
            SqliteStore::new(pool, numbers("numbers").sqlite().expect("names"));
        store.migrate().await.expect("larder's own tables");
        files.lock().expect("no panic").push(file);
        store
    })
    .await
}

#[tokio::test]
async fn postgres_lends_shards_and_merges() -> Result<(), StoreError> {
    let Some(server) = Postgres::start_or_skip("postgres_lends_shards_and_merges").await else {
        return Ok(());
    };
    let (pool, next) = (server.pool(), std::sync::atomic::AtomicU64::new(0));
    merge_store_contract(async || {
        let schema = format!("counting{}", next.fetch_add(1, std::sync::atomic::Ordering::Relaxed));
        let create = format!(
            "CREATE SCHEMA {schema}; CREATE TABLE {schema}.numbers (id BIGINT PRIMARY KEY, value BIGINT)"
        );
        raw_sql(AssertSqlSafe(create)).execute(&pool).await.expect("a new schema");
        let table = numbers(&format!("{schema}.numbers")).postgres().expect("names");
        let store: PostgresStore<u64, i64> =
            PostgresStore::new(pool.clone(), table).schema(&schema).expect("a name");
        store.migrate().await.expect("a new schema");
        store
    })
    .await
}

#[tokio::test]
async fn the_fake_store_lends_shards_and_merges() -> Result<(), StoreError> {
    merge_store_contract(async || FakeStore::<u64, i64>::new()).await
}

fn numbers(name: &str) -> Table {
    Table::new(name).key("id", Kind::Int).column("value", Kind::Int)
}

/// A row that the database refuses takes the offset, the letters and the other rows with it.
async fn a_refused_row_undoes_all(store: impl TransactionalStore<u64, String>) -> Result<(), StoreError> {
    store.claim(SHARD).await?;
    store.commit(&one(1, 0, "before")).await?;
    let letter = DeadLetter::new(SHARD, 5, SystemTime::UNIX_EPOCH, "no", vec![]);
    let changes = vec![put(1, "after"), put(2, "bad"), Change::Delete(1)];
    let error = store.commit(&batch(SHARD, 1, 1, changes, vec![letter])).await.expect_err("a row is refused");
    assert_eq!((error.outcome(), error.fault()), (Outcome::NotApplied, Fault::Permanent), "{error}");
    assert_eq!(store.offset(SHARD).await?, Some(Claim::new(1, 1)));
    assert_eq!(store.load(&1).await?.as_deref(), Some("before"));
    assert!(store.letters(SHARD.journal(), None, 9).await?.is_empty());
    // The connection that failed is of use again.
    assert_eq!(store.commit(&one(1, 1, "after")).await?, Committed::Done);
    Ok(())
}

/// A batch of an owner who is no more arrives late: the story of a process that was paused.
async fn a_zombie_changes_nothing(store: impl TransactionalStore<u64, String>) -> Result<(), StoreError> {
    let zombie = store.claim(SHARD).await?.epoch();
    store.commit(&one(zombie, 0, "old")).await?;
    let owner = store.claim(SHARD).await?.epoch();
    store.commit(&one(owner, 1, "new")).await?;
    for after in 0..3 {
        let late = batch(SHARD, zombie, after, vec![put(1, "zombie"), Change::Delete(1)], vec![]);
        assert_eq!(store.commit(&late).await?, Committed::Refused);
    }
    assert_eq!(store.load(&1).await?.as_deref(), Some("new"));
    assert_eq!(store.offset(SHARD).await?, Some(Claim::new(owner, 2)));
    Ok(())
}

#[tokio::test]
async fn nothing_is_left_of_what_is_refused_in_sqlite() -> Result<(), StoreError> {
    let (one, other) = (Sqlite::make(), Sqlite::make());
    a_refused_row_undoes_all(sqlite(one.pool()).await).await?;
    a_zombie_changes_nothing(sqlite(other.pool()).await).await
}

#[tokio::test]
async fn nothing_is_left_of_what_is_refused_in_postgres() -> Result<(), StoreError> {
    let test = "nothing_is_left_of_what_is_refused_in_postgres";
    let Some(server) = Postgres::start_or_skip(test).await else { return Ok(()) };
    a_refused_row_undoes_all(postgres(server.pool()).await).await?;
    a_zombie_changes_nothing(postgres(server.pool()).await).await
}

/// Owners that compete for one shard: of all batches that come after the same offset exactly one is done.
async fn one_of_many_wins(store: impl TransactionalStore<u64, String>) -> Result<(), StoreError> {
    let store = Arc::new(store);
    store.claim(SHARD).await?;
    for after in 0..20 {
        let rivals = (0..4).map(|rival| {
            let store = Arc::clone(&store);
            tokio::spawn(async move { store.commit(&one(1, after, &format!("{after} {rival}"))).await })
        });
        let mut done = 0;
        for rival in rivals.collect::<Vec<_>>() {
            done += u32::from(rival.await?? == Committed::Done);
        }
        assert_eq!(done, 1);
    }
    assert_eq!(store.offset(SHARD).await?, Some(Claim::new(1, 20)));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn of_batches_that_race_one_is_done() -> Result<(), StoreError> {
    let file = Sqlite::make();
    one_of_many_wins(sqlite(file.pool()).await).await?;
    let Some(server) = Postgres::start_or_skip("of_batches_that_race_one_is_done").await else {
        return Ok(());
    };
    one_of_many_wins(postgres(server.pool()).await).await
}

/// Rows that wait in their transaction until they may go on.
struct Slow {
    table: larder::sqlx::PostgresTable,
    reached: Arc<tokio::sync::Semaphore>,
    go_on: Arc<tokio::sync::Semaphore>,
}

#[async_trait]
impl PostgresRows<u64, String> for Slow {
    async fn load(&self, connection: &mut PgConnection, key: &u64) -> Result<Option<String>, StoreError> {
        self.table.load(connection, key).await
    }

    async fn apply(
        &self,
        connection: &mut PgConnection,
        changes: &[Change<u64, String>],
    ) -> Result<(), StoreError> {
        self.table.apply(connection, changes).await?;
        self.reached.add_permits(1);
        self.go_on.acquire().await?.forget();
        Ok(())
    }
}

async fn slow(pool: PgPool) -> Result<(Slow, PostgresStore<u64, String>), StoreError> {
    let create = "CREATE TABLE texts (id BIGINT PRIMARY KEY, value TEXT)";
    raw_sql(create).execute(&pool).await?;
    let table = texts("texts").postgres()?;
    let [reached, go_on] = [(); 2].map(|()| Arc::new(tokio::sync::Semaphore::new(0)));
    let plain = PostgresStore::new(pool, table.clone());
    plain.migrate().await?;
    Ok((Slow { table, reached, go_on }, plain))
}

#[tokio::test]
async fn the_offset_waits_for_a_transaction_under_way() -> Result<(), StoreError> {
    let test = "the_offset_waits_for_a_transaction_under_way";
    let Some(server) = Postgres::start_or_skip(test).await else { return Ok(()) };
    let (slow, plain) = slow(server.pool()).await?;
    let (reached, go_on) = (Arc::clone(&slow.reached), Arc::clone(&slow.go_on));
    let store = PostgresStore::new(server.pool(), slow);
    plain.claim(SHARD).await?;
    let commit = tokio::spawn(async move { store.commit(&one(1, 0, "slow")).await });
    reached.acquire().await?.forget();

    let offset = tokio::spawn(async move { plain.offset(SHARD).await });
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(!offset.is_finished(), "nobody can say what the offset will be");
    go_on.add_permits(1);
    assert_eq!(offset.await??, Some(Claim::new(1, 1)));
    assert_eq!(commit.await??, Committed::Done);
    Ok(())
}

#[tokio::test]
async fn a_dropped_commit_leaves_nothing_open() -> Result<(), StoreError> {
    let Some(server) = Postgres::start_or_skip("a_dropped_commit_leaves_nothing_open").await else {
        return Ok(());
    };
    let (slow, plain) = slow(server.pool()).await?;
    let reached = Arc::clone(&slow.reached);
    let store = PostgresStore::new(server.pool(), slow);
    plain.claim(SHARD).await?;
    let dropped = one(1, 0, "dropped");
    tokio::select! {
        _ = store.commit(&dropped) => unreachable!("it may not go on"),
        permit = reached.acquire() => permit?.forget(),
    }
    assert_eq!(plain.offset(SHARD).await?, Some(Claim::new(1, 0)));
    assert_eq!(plain.load(&1).await?, None);
    assert_eq!(plain.commit(&one(1, 0, "again")).await?, Committed::Done);
    Ok(())
}

/// A commit that is dropped at any moment whatever, such as after `BEGIN` is sent and before it is answered, leaves no
/// connection in the pool that has a transaction open: what is then written with it would never be committed.
#[tokio::test]
async fn a_commit_dropped_anywhere_leaves_nothing_open() -> Result<(), StoreError> {
    let test = "a_commit_dropped_anywhere_leaves_nothing_open";
    let Some(server) = Postgres::start_or_skip(test).await else { return Ok(()) };
    let store = postgres(server.pool()).await;
    let mut observer = PgConnection::connect_with(&server.options()).await?;
    store.claim(SHARD).await?;
    for polls in 1..30 {
        let claim = store.offset(SHARD).await?.expect("it was claimed");
        let batch = one(claim.epoch(), claim.offset(), "dropped");
        let mut commit = Box::pin(store.commit(&batch));
        for _ in 0..polls {
            if commit.as_mut().now_or_never().is_some() {
                break;
            }
            // In which the answer arrives.
            aside(|| std::thread::sleep(Duration::from_millis(1))).await;
        }
        drop(commit);
        let waiting = Waiting::until("every transaction has ended");
        while are_open(&mut observer).await? {
            waiting.a_moment().await;
        }
    }
    Ok(())
}

async fn are_open(observer: &mut PgConnection) -> Result<bool, sqlx::Error> {
    let query = "SELECT count(*) > 0 FROM pg_stat_activity WHERE state LIKE 'idle in transaction%'";
    sqlx::query_scalar(query).fetch_one(observer).await
}

/// Rows that keep an error to themselves. PostgreSQL answers the COMMIT of such a transaction with a rollback, and sqlx
/// takes that for a success.
struct Hushed;

#[async_trait]
impl PostgresRows<u64, String> for Hushed {
    async fn load(&self, _connection: &mut PgConnection, _key: &u64) -> Result<Option<String>, StoreError> {
        Ok(None)
    }

    async fn apply(
        &self,
        connection: &mut PgConnection,
        _changes: &[Change<u64, String>],
    ) -> Result<(), StoreError> {
        _ = sqlx::query("INSERT INTO nowhere VALUES (1)").execute(connection).await;
        Ok(())
    }
}

#[tokio::test]
async fn an_error_that_is_hushed_up_is_no_commit() -> Result<(), StoreError> {
    let Some(server) = Postgres::start_or_skip("an_error_that_is_hushed_up_is_no_commit").await else {
        return Ok(());
    };
    let store = PostgresStore::new(server.pool(), Hushed);
    store.migrate().await?;
    store.claim(SHARD).await?;
    let error = store.commit(&one(1, 0, "hushed")).await.expect_err("the transaction is spoilt");
    assert_eq!(error.outcome(), Outcome::NotApplied, "{error}");
    assert_eq!(store.offset(SHARD).await?, Some(Claim::new(1, 0)));
    Ok(())
}

/// A history: every write leaves a row, under the id that no other write has.
struct History;

#[async_trait]
impl PostgresRows<u64, String> for History {
    async fn load(&self, connection: &mut PgConnection, key: &u64) -> Result<Option<String>, StoreError> {
        let query = sqlx::query_scalar("SELECT value FROM history WHERE id = $1 ORDER BY seq DESC LIMIT 1");
        Ok(query.bind(key.cast_signed()).fetch_optional(connection).await?)
    }

    async fn apply(&self, _: &mut PgConnection, _: &[Change<u64, String>]) -> Result<(), StoreError> {
        Err(StoreError::new("a history is of pending writes"))
    }

    async fn apply_writes(
        &self,
        connection: &mut PgConnection,
        writes: &[PendingWrite<u64, String>],
    ) -> Result<(), StoreError> {
        for write in writes {
            let Change::Put(key, value) = write.change() else { continue };
            let insert =
                sqlx::query("INSERT INTO history VALUES ($1, $2, $3)").bind(write.seq().cast_signed());
            insert.bind(key.cast_signed()).bind(value.as_str()).execute(&mut *connection).await?;
        }
        Ok(())
    }

    fn keeps_every_write(&self) -> bool {
        true
    }
}

#[tokio::test]
async fn a_history_gets_every_write() -> Result<(), StoreError> {
    let Some(server) = Postgres::start_or_skip("a_history_gets_every_write").await else { return Ok(()) };
    let pool = server.pool();
    raw_sql("CREATE TABLE history (seq BIGINT PRIMARY KEY, id BIGINT, value TEXT)").execute(&pool).await?;
    let store = PostgresStore::new(pool.clone(), History);
    store.migrate().await?;
    store.claim(SHARD).await?;
    let writes = vec![put(1, "a"), put(1, "b"), put(2, "c"), put(1, "d")];
    assert_eq!(store.commit(&batch(SHARD, 1, 0, writes, vec![])).await?, Committed::Done);
    let rows: Vec<(i64, String)> =
        sqlx::query_as("SELECT seq, value FROM history ORDER BY seq").fetch_all(&pool).await?;
    let rows: Vec<_> = rows.iter().map(|(seq, value)| (*seq, value.as_str())).collect();
    assert_eq!(rows, [(1, "a"), (2, "b"), (3, "c"), (4, "d")]);
    assert_eq!(store.load(&1).await?.as_deref(), Some("d"));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_are_made_once_by_many_and_not_below_a_later_version() -> Result<(), StoreError> {
    let test = "tables_are_made_once_by_many_and_not_below_a_later_version";
    let Some(server) = Postgres::start_or_skip(test).await else { return Ok(()) };
    let pool = server.pool();
    let file = Sqlite::make();
    let postgres = || PostgresStore::<u64, String>::new(pool.clone(), texts("t").postgres().expect("names"));
    let sqlite = || SqliteStore::<u64, String>::new(file.pool(), texts("t").sqlite().expect("names"));
    // The first connection to a file switches it to its journal, and nobody waits for another who does the same.
    drop(file.pool().acquire().await?);
    let made: Vec<_> = (0..6)
        .map(|_| {
            let (postgres, sqlite) = (postgres(), sqlite());
            tokio::spawn(async move { postgres.migrate().await.and(sqlite.migrate().await) })
        })
        .collect();
    for made in made {
        made.await??;
    }
    let versions: i64 = sqlx::query_scalar("SELECT count(*) FROM larder_version").fetch_one(&pool).await?;
    assert_eq!(versions, 1);
    raw_sql("UPDATE larder_version SET version = 2").execute(&pool).await?;
    raw_sql("UPDATE larder_version SET version = 2").execute(&file.pool()).await?;
    for refusal in [postgres().migrate().await, sqlite().migrate().await] {
        let refusal = refusal.expect_err("a later version");
        assert_eq!(refusal.kind(), ErrorKind::Store);
    }
    let mut connection = PgConnection::connect_with(&server.options()).await?;
    raw_sql("SELECT journal, shard, epoch, last, updated_at FROM larder_shard")
        .execute(&mut connection)
        .await?;
    Ok(())
}
