//! Cache-aside at a glance: read a post twice, comment on it, read it again.
//!
//! `cargo run --example blog` prints:
//!
//! ```text
//! saved: the store has it, its copies are Dropped
//! the first reader gets "Hello", queries: 1
//! the second reader gets "Hello", queries: 0
//! a comment is in the database, number 1
//! the next reader sees ["Nice!"]
//! a comment on a post that is not there: cache `posts`: write: the store failed
//! 3 reads, 1 of them hits; 2 loads
//! ```
//!
//! Here the database is a map that counts its queries; `cargo run -p blog` does the same on SQLite, and measures it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use larder::{Loader, Memory, Saved, Store, StoreError};

type PostId = u64;

#[derive(Clone, Debug, PartialEq)]
struct Post {
    title: String,
    comments: Vec<String>,
}

/// The database. Two tables, as far as it matters here: posts, and comments that belong to them.
#[derive(Clone, Default)]
struct Database {
    posts: Arc<Mutex<HashMap<PostId, Post>>>,
    queries: Arc<AtomicU64>,
}

impl Database {
    /// One query, whatever it does.
    fn query<A>(&self, run: impl FnOnce(&mut HashMap<PostId, Post>) -> A) -> A {
        self.queries.fetch_add(1, Ordering::Relaxed);
        run(&mut self.posts.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn queries(&self) -> u64 {
        self.queries.load(Ordering::Relaxed)
    }

    /// A write that larder knows nothing of: it touches another table than the cached posts.
    async fn insert_comment(&self, id: PostId, text: &str) -> Result<usize, StoreError> {
        self.query(|posts| match posts.get_mut(&id) {
            Some(post) => {
                post.comments.push(text.to_owned());
                Ok(post.comments.len())
            }
            None => Err(StoreError::new("no such post").not_applied()),
        })
    }
}

/// How larder reads and writes posts.
struct Posts(Database);

#[async_trait]
impl Loader<PostId, Arc<Post>> for Posts {
    async fn load(&self, id: &PostId) -> Result<Option<Arc<Post>>, StoreError> {
        Ok(self.0.query(|posts| posts.get(id).cloned().map(Arc::new)))
    }
}

#[async_trait]
impl Store<PostId, Arc<Post>> for Posts {
    async fn save(&self, id: &PostId, post: &Arc<Post>) -> Result<Saved<Arc<Post>>, StoreError> {
        self.0.query(|posts| posts.insert(*id, Post::clone(post)));
        Ok(().into())
    }

    async fn delete(&self, id: &PostId) -> Result<(), StoreError> {
        self.0.query(|posts| posts.remove(id));
        Ok(())
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> larder::Result<()> {
    let db = Database::default();
    let posts = larder::cache_aside(Posts(db.clone()))
        .name("posts")
        .tier(Memory::with_capacity(10_000))
        .ttl(Duration::from_secs(3600))
        .build()?;

    let hello = Post { title: "Hello".to_owned(), comments: Vec::new() };
    let written = posts.put(&1, Arc::new(hello)).await?;
    println!("saved: the store has it, its copies are {:?}", written.copies());

    for reader in ["first", "second"] {
        let before = db.queries();
        let post = posts.get(&1).await?.map_or_else(String::new, |post| post.title.clone());
        println!("the {reader} reader gets {post:?}, queries: {}", db.queries() - before);
    }

    // Your own SQL: the named key is dropped after it, never before.
    let count = posts.write(&[1], || db.insert_comment(1, "Nice!")).await?.into_output();
    println!("a comment is in the database, number {count}");

    let post = posts.get(&1).await?;
    println!("the next reader sees {:?}", post.map(|post| post.comments.clone()).unwrap_or_default());

    let refused = posts.write(&[2], || db.insert_comment(2, "Hm?")).await.map(|_| ());
    println!("a comment on a post that is not there: {}", refused.expect_err("there is no post 2"));

    let stats = posts.stats();
    println!("{} reads, {} of them hits; {} loads", stats.hits + stats.misses, stats.hits, stats.loads);
    Ok(())
}
