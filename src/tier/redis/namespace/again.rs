//! What is tried again in the background while servers are away.

use std::time::Duration;

use tokio::time::Instant;

use crate::time;

/// How long to wait before trying again.
const PAUSE: Duration = Duration::from_millis(100);

/// Hands what is `left` to `attempt`, which returns what it has not done, until nothing is left. After `ends` it gives up.
pub(super) async fn until_done<T>(
    mut left: Vec<T>,
    ends: Instant,
    mut attempt: impl AsyncFnMut(Vec<T>) -> Vec<T>,
) {
    while !left.is_empty() && Instant::now() < ends {
        left = attempt(left).await;
        if left.is_empty() {
            return;
        }
        let Ok(timer) = time::timer(time::from_now(PAUSE)) else { return };
        timer.await;
    }
}
