//! The tables, filled with the content: the same for all versions. What a version adds (V1 its index)
//! it adds itself when it opens the file.

use std::path::Path;

use anyhow::{Context, Result};
use indicatif::ProgressBar;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, QueryBuilder, SqliteConnection};

use crate::content::{Author, Comment, Content, Post};
use crate::file::{FILLED, OURS};

const TABLES: &str = "
    CREATE TABLE authors (
        id   INTEGER PRIMARY KEY,
        name TEXT NOT NULL,
        bio  TEXT NOT NULL
    );
    CREATE TABLE posts (
        id           INTEGER PRIMARY KEY,
        author_id    INTEGER NOT NULL REFERENCES authors (id),
        title        TEXT NOT NULL,
        body         TEXT NOT NULL,
        published_at TEXT NOT NULL
    );
    CREATE TABLE comments (
        id         INTEGER PRIMARY KEY,
        post_id    INTEGER NOT NULL REFERENCES posts (id),
        author_id  INTEGER NOT NULL REFERENCES authors (id),
        body       TEXT NOT NULL,
        written_at TEXT NOT NULL DEFAULT (datetime('now'))
    );
";

/// Rows to a statement: enough that the statements hardly count, few enough that the bar moves.
const BATCH: usize = 500;

pub(crate) async fn create(path: &Path, content: &Content, progress: &ProgressBar) -> Result<()> {
    fill(path, content, progress)
        .await
        .with_context(|| format!("cannot fill the database {}", path.display()))
}

async fn fill(path: &Path, content: &Content, progress: &ProgressBar) -> sqlx::Result<()> {
    // A half-filled file is worth nothing, so nothing is spent on keeping it safe meanwhile.
    let mut connection = SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Off)
        .synchronous(SqliteSynchronous::Off)
        .connect()
        .await?;
    let mark = AssertSqlSafe(format!("PRAGMA application_id = {OURS}"));
    sqlx::raw_sql(mark).execute(&mut connection).await?;
    sqlx::raw_sql(TABLES).execute(&mut connection).await?;
    let mut filling = connection.begin().await?;
    for batch in content.authors.chunks(BATCH) {
        authors(batch, &mut filling).await?;
        progress.inc(batch.len() as u64);
    }
    for batch in content.posts.chunks(BATCH) {
        posts(batch, &mut filling).await?;
        progress.inc(batch.len() as u64);
    }
    for batch in content.comments.chunks(BATCH) {
        comments(batch, &mut filling).await?;
        progress.inc(batch.len() as u64);
    }
    filling.commit().await?;
    let mark = AssertSqlSafe(format!("PRAGMA user_version = {FILLED}"));
    sqlx::raw_sql(mark).execute(&mut connection).await?;
    connection.close().await
}

async fn authors(batch: &[Author], connection: &mut SqliteConnection) -> sqlx::Result<()> {
    let mut insert = QueryBuilder::new("INSERT INTO authors (id, name, bio) ");
    insert.push_values(batch, |mut row, author| {
        row.push_bind(author.id.0).push_bind(&author.name).push_bind(&author.bio);
    });
    insert.build().execute(connection).await?;
    Ok(())
}

async fn posts(batch: &[Post], connection: &mut SqliteConnection) -> sqlx::Result<()> {
    let mut insert = QueryBuilder::new("INSERT INTO posts (id, author_id, title, body, published_at) ");
    insert.push_values(batch, |mut row, post| {
        row.push_bind(post.id.0).push_bind(post.author.0);
        row.push_bind(&post.title).push_bind(&post.body).push_bind(&post.published_at);
    });
    insert.build().execute(connection).await?;
    Ok(())
}

async fn comments(batch: &[Comment], connection: &mut SqliteConnection) -> sqlx::Result<()> {
    let mut insert = QueryBuilder::new("INSERT INTO comments (id, post_id, author_id, body, written_at) ");
    insert.push_values(batch, |mut row, comment| {
        row.push_bind(comment.id.0).push_bind(comment.post.0).push_bind(comment.author.0);
        row.push_bind(&comment.text).push_bind(&comment.written_at);
    });
    insert.build().execute(connection).await?;
    Ok(())
}
