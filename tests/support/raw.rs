//! Redis without a cache in front of it, for tests that do to a server what no cache would.

use redis::AsyncConnectionConfig;
use redis::aio::MultiplexedConnection;

/// A connection that waits for every answer: how long a busy machine takes is not what is tested.
pub async fn connect(url: &str) -> MultiplexedConnection {
    let client = redis::Client::open(url).expect("a URL");
    let patient = AsyncConnectionConfig::new().set_connection_timeout(None).set_response_timeout(None);
    client.get_multiplexed_async_connection_with_config(&patient).await.expect("the server is up")
}
