//! Holds what was served against the database. Two questions:
//!
//! 1. Was every page served during the run true while its reader waited? (See [`Ledger`].)
//! 2. Now that all is quiet, is every post's page, asked of this version once more, the one that simple
//!    queries of our own find in the database? Where several processes answer, each of them is asked.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use indicatif::ProgressBar;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Connection, SqliteConnection};
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::blog::{AuthorId, Blog, CommentId, PostId};
use crate::content::{Author, Comment, Content, Post};
use crate::driver::{Answer, Visit};
use crate::ledger::{Judgement, Ledger};
use crate::{cores, render};

#[derive(Debug, Default)]
pub(crate) struct Findings {
    pub(crate) pages: usize,
    pub(crate) comments: usize,
    /// How many pages were behind the database, and no longer than they may be.
    pub(crate) behind: usize,
    /// After how many comments an old copy was left in Redis.
    pub(crate) copies_left: usize,
    pub(crate) faults: Vec<String>,
}

/// `blogs` are the processes that answered the visits; a page may be behind by `lag`.
pub(crate) async fn check(
    blogs: &[Arc<dyn Blog>],
    lag: Duration,
    path: &Path,
    content: &Content,
    visits: &[Visit],
    progress: &ProgressBar,
) -> Result<Findings> {
    let stored = stored(path).await.context("cannot read the database for the check")?;
    let mut findings = Findings::default();
    served(content, visits, &stored.comments, lag, &mut findings);
    let pages = Arc::new(pages(&stored)?);
    // Until then a process may rightly be behind.
    sleep(lag).await;
    for blog in blogs {
        settled(blog, &pages, &mut findings, progress).await?;
    }
    Ok(findings)
}

fn served(content: &Content, visits: &[Visit], stored: &[Comment], lag: Duration, findings: &mut Findings) {
    let mut ledger = Ledger::new(content, visits, stored, lag, &mut findings.faults);
    for visit in visits {
        findings.pages += usize::from(matches!(visit.answer, Answer::Page(_) | Answer::NoPage));
        findings.comments += usize::from(visit.answer.comment().is_some());
        findings.copies_left += usize::from(matches!(visit.answer, Answer::CommentWithCopyLeft(_)));
        match ledger.judge(visit) {
            Judgement::True => {}
            Judgement::Behind => findings.behind += 1,
            Judgement::Wrong(fault) => findings.faults.push(fault),
        }
    }
}

async fn settled(
    blog: &Arc<dyn Blog>,
    pages: &Arc<Vec<(PostId, String)>>,
    findings: &mut Findings,
    progress: &ProgressBar,
) -> Result<()> {
    findings.pages += pages.len();
    let share = pages.len().div_ceil(cores());
    let mut checks = JoinSet::new();
    for from in (0..pages.len()).step_by(share) {
        let (blog, pages, progress) = (Arc::clone(blog), Arc::clone(pages), progress.clone());
        checks.spawn(async move {
            let mut faults = Vec::new();
            for (post, expected) in pages.iter().skip(from).take(share) {
                if blog.page(*post).await?.as_ref() != Some(expected) {
                    faults.push(format!(
                        "when all was quiet, the page of post {} was not the database's",
                        post.0
                    ));
                }
                progress.inc(1);
            }
            anyhow::Ok(faults)
        });
    }
    while let Some(faults) = checks.join_next().await {
        findings.faults.extend(faults??);
    }
    Ok(())
}

/// The page of every post, from the stored rows alone.
fn pages(stored: &Content) -> Result<Vec<(PostId, String)>> {
    let mut comments: HashMap<PostId, Vec<&Comment>> = HashMap::new();
    for comment in &stored.comments {
        comments.entry(comment.post).or_default().push(comment);
    }
    let page = |post: &Post| {
        let page = stored.page(post.id, comments.get(&post.id).into_iter().flatten().copied());
        let page = page.with_context(|| format!("the database lacks a row that post {} needs", post.id.0))?;
        Ok((post.id, render::html(&page)))
    };
    stored.posts.iter().map(page).collect()
}

/// All rows as they lie in the database, each table by one plain query over a connection of our own.
async fn stored(path: &Path) -> sqlx::Result<Content> {
    let mut connection = SqliteConnectOptions::new().filename(path).read_only(true).connect().await?;
    let stored = Content {
        authors: authors(&mut connection).await?,
        posts: posts(&mut connection).await?,
        comments: comments(&mut connection).await?,
    };
    connection.close().await?;
    Ok(stored)
}

async fn authors(connection: &mut SqliteConnection) -> sqlx::Result<Vec<Author>> {
    let rows: Vec<(i64, String, String)> =
        sqlx::query_as("SELECT id, name, bio FROM authors ORDER BY id").fetch_all(connection).await?;
    Ok(rows.into_iter().map(|(id, name, bio)| Author { id: AuthorId(id), name, bio }).collect())
}

async fn posts(connection: &mut SqliteConnection) -> sqlx::Result<Vec<Post>> {
    let rows: Vec<(i64, i64, String, String, String)> =
        sqlx::query_as("SELECT id, author_id, title, body, published_at FROM posts ORDER BY id")
            .fetch_all(connection)
            .await?;
    let post = |(id, author, title, body, published_at)| Post {
        id: PostId(id),
        author: AuthorId(author),
        title,
        body,
        published_at,
    };
    Ok(rows.into_iter().map(post).collect())
}

async fn comments(connection: &mut SqliteConnection) -> sqlx::Result<Vec<Comment>> {
    let rows: Vec<(i64, i64, i64, String, String)> =
        sqlx::query_as("SELECT id, post_id, author_id, body, written_at FROM comments ORDER BY id")
            .fetch_all(connection)
            .await?;
    let comment = |(id, post, author, text, written_at)| Comment {
        id: CommentId(id),
        post: PostId(post),
        author: AuthorId(author),
        text,
        written_at,
    };
    Ok(rows.into_iter().map(comment).collect())
}

#[cfg(test)]
mod tests {
    use async_trait::async_trait;
    use tempfile::TempDir;

    use super::*;
    use crate::blog::Stored;
    use crate::content::Size;
    use crate::mended::Mended;
    use crate::meter::Meter;
    use crate::schema;

    /// Serves the page of post 1 whatever post is asked for.
    struct Confused(Mended);

    #[async_trait]
    impl Blog for Confused {
        async fn page(&self, _post: PostId) -> Result<Option<String>> {
            self.0.page(PostId(1)).await
        }

        async fn comment(&self, post: PostId, author: AuthorId, text: &str) -> Result<Stored> {
            self.0.comment(post, author, text).await
        }

        async fn close(&self) -> Result<()> {
            self.0.close().await
        }
    }

    #[tokio::test]
    async fn a_blog_that_serves_something_else_than_the_database_is_found_out() {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("blog.db");
        let content = Content::generate(Size { authors: 3, posts: 5, comments: 30 }, 1);
        let hidden = ProgressBar::hidden();
        schema::create(&path, &content, &hidden).await.unwrap();

        let honest = Mended::open(&path, Arc::new(Meter::default())).await.unwrap();
        let confused: [Arc<dyn Blog>; 1] = [Arc::new(Confused(honest))];
        let asked = async || check(&confused, Duration::ZERO, &path, &content, &[], &hidden).await.unwrap();
        let findings = asked().await;
        assert_eq!((findings.pages, findings.faults.len()), (5, 4), "{:?}", findings.faults);

        // A comment that no request of the trace wrote.
        confused[0].comment(PostId(2), AuthorId(1), "who is this?").await.unwrap();
        let findings = asked().await;
        assert_eq!(findings.faults.len(), 5, "{:?}", findings.faults);
        confused[0].close().await.unwrap();
    }
}
