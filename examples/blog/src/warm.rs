//! Before the clock starts, every version reads its whole database on every connection: no version is
//! measured while the disk or the connections warm up. The cache of V2 is *not* warmed; it earns its hits.

use sqlx::SqlitePool;

pub(crate) async fn read_everything(pool: &SqlitePool) -> sqlx::Result<()> {
    const EVERYTHING: &str = "
        SELECT (SELECT sum(length(name) + length(bio)) FROM authors)
             + (SELECT sum(length(title) + length(body)) FROM posts)
             + coalesce((SELECT sum(length(body) + length(written_at)) FROM comments), 0)";
    let mut connections = Vec::new();
    for _ in 0..pool.options().get_max_connections() {
        let mut connection = pool.acquire().await?;
        sqlx::query(EVERYTHING).execute(&mut *connection).await?;
        // Kept until all are open, or the pool would hand out the same one again.
        connections.push(connection);
    }
    Ok(())
}
