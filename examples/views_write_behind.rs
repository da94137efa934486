//! Views: counted by a thousand visitors at once, each of whom hears the exact total; the database gets a row for each page.
//!
//! `cargo run --example views_write_behind` prints:
//!
//! ```text
//! 1000 views of 10 pages; those of page 7 were each told another total: true
//! page 7 has Some(100) views, while the database still says None
//! the database says Some(100); it was given 10 rows in 1 transaction
//! two views that were read, added to and put come to Some(101), not to 102
//! without `merge(Sum)`: Unsupported
//! ```
//!
//! The database is the fake one of `larder::testing`. Yours is one that has value and offset in one transaction:
//! `larder::sqlx` with PostgreSQL or SQLite, or your own `MergeStore`.

use std::time::Duration;

use larder::journal::Volatile;
use larder::store::Sum;
use larder::testing::{Call, FakeStore};
use larder::{LayeredCache, Memory};

const HOUR: Duration = Duration::from_secs(3600);

#[tokio::main]
async fn main() -> larder::Result<()> {
    let database = FakeStore::<u64, u64>::new();
    let views = larder::write_behind(database.clone())
        .merge(Sum)
        .journal(Volatile::new()) // counts may be lost with the process; else `LocalLog`
        .flush_every(HOUR)
        .batch(5_000)
        .tier(Memory::with_capacity(1_000))
        .ttl(HOUR)
        .build()?;

    let visitors: Vec<_> =
        (0..1_000).map(|visitor| tokio::spawn(view(views.clone(), visitor % 10))).collect();
    let mut totals = Vec::new();
    for (visitor, visit) in visitors.into_iter().enumerate() {
        let total = visit.await.expect("no visitor panics")?;
        if visitor % 10 == 7 {
            totals.push(total);
        }
    }
    totals.sort_unstable();
    println!(
        "1000 views of 10 pages; those of page 7 were each told another total: {}",
        totals == Vec::from_iter(1..=100)
    );
    println!(
        "page 7 has {:?} views, while the database still says {:?}",
        views.get(&7).await?,
        database.row(&7)
    );

    views.flush().await?;
    println!(
        "the database says {:?}; it was given {} rows in {} transaction",
        database.row(&7),
        database.history().len(),
        database.count(Call::Commit)
    );

    // What a counter replaces: two who read, add one and write lose one of the two.
    let (ann, ben) = (views.get(&7).await?.unwrap_or(0), views.get(&7).await?.unwrap_or(0));
    let _ = views.put(&7, ann + 1).await?;
    let _ = views.put(&7, ben + 1).await?;
    println!("two views that were read, added to and put come to {:?}, not to 102", views.get(&7).await?);

    let plain = larder::cache_aside(database).tier(Memory::with_capacity(1_000)).ttl(HOUR).build()?;
    let refused = view(plain, 7).await.expect_err("nobody said how to merge");
    println!("without `merge(Sum)`: {:?}", refused.kind());
    Ok(())
}

async fn view(views: LayeredCache<u64, u64>, page: u64) -> larder::Result<u64> {
    Ok(views.increment(&page, 1).await?.into_output())
}
