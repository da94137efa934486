//! What the tests of the Redis tier stand on does what it says: the servers, alone, in clusters, under sentinels and
//! behind TLS, their command logs, and the network between that fails on demand.

#[path = "harness/cluster.rs"]
mod cluster;
#[path = "harness/sentinels.rs"]
mod sentinels;
mod support;
#[path = "harness/tls.rs"]
mod tls;
#[path = "harness/user.rs"]
mod user;

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use support::proxy::Proxy;
use support::redis_server::RedisServer;
use support::resp::Reply;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

/// Long enough for what comes at once to have come, on a busy machine too.
const AWHILE: Duration = Duration::from_millis(200);
const SECOND: Duration = Duration::from_secs(1);

/// A client with one lasting connection.
struct Client(TcpStream);

impl Client {
    async fn connect(address: SocketAddr) -> Self {
        Self(TcpStream::connect(address).await.expect("connections are taken"))
    }

    async fn ask(&mut self, request: &str, reply: &str) -> io::Result<()> {
        self.0.write_all(format!("{request}\r\n").as_bytes()).await?;
        self.hears(reply).await
    }

    async fn hears(&mut self, word: &str) -> io::Result<()> {
        let mut bytes = vec![0; word.len() + 2];
        self.0.read_exact(&mut bytes).await?;
        assert_eq!(String::from_utf8_lossy(&bytes), format!("{word}\r\n"));
        Ok(())
    }

    async fn ping(&mut self) -> io::Result<()> {
        self.ask("PING", "+PONG").await
    }

    async fn is_closed(&mut self) -> bool {
        let read = timeout(10 * SECOND, self.0.read(&mut [0])).await.expect("the connection is closed soon");
        read.is_err() || read.is_ok_and(|size| size == 0)
    }
}

async fn set(server: &RedisServer, key: &str, value: &str) {
    assert_eq!(server.command(&["SET", key, value]).await, ok());
}

async fn get(server: &RedisServer, key: &str) -> Option<String> {
    server.command(&["GET", key]).await.text()
}

fn ok() -> Reply {
    Reply::Simple("OK".to_owned())
}

// --- the server ---

#[tokio::test]
async fn a_server_answers_with_every_kind_of_reply() {
    let Some(server) = RedisServer::start_or_skip("a_server_answers_with_every_kind_of_reply").await else {
        return;
    };
    let binary = b"\r\n\0\xff";
    assert_eq!(server.command(&[b"SET".as_slice(), b"k", binary]).await, ok());
    assert_eq!(server.command(&["GET", "k"]).await, Reply::bulk(binary));
    assert_eq!(server.command(&["GET", "nothing"]).await, Reply::Bulk(None));
    assert_eq!(server.command(&["INCR", "n"]).await, Reply::Int(1));
    let both = vec![Reply::bulk("1"), Reply::Bulk(None)];
    assert_eq!(server.command(&["MGET", "n", "nothing"]).await, Reply::Array(both));
    assert!(matches!(server.command(&["INCR", "k"]).await, Reply::Error(why) if why.starts_with("ERR")));
    assert_eq!(server.address().to_string(), format!("127.0.0.1:{}", server.port()));
}

#[tokio::test]
async fn a_server_takes_options_and_keeps_nothing_on_disk() {
    let name = "a_server_takes_options_and_keeps_nothing_on_disk";
    let Some(server) = RedisServer::start_or_skip_with(name, &["--maxmemory", "8mb"]).await else { return };
    let setting = async |name: &str| match server.command(&["CONFIG", "GET", name]).await {
        Reply::Array(pair) => pair[1].text().expect("a setting has a value"),
        other => panic!("{other:?}"),
    };
    assert_eq!(setting("maxmemory").await, (8 << 20).to_string());
    assert_eq!(setting("save").await, "");
    assert_eq!(setting("appendonly").await, "no");
    let folder = setting("dir").await;
    assert!(Path::new(&folder).exists());
    drop(server);
    assert!(!Path::new(&folder).exists());
}

#[tokio::test]
async fn a_server_that_cannot_start_is_quoted() {
    if RedisServer::start_or_skip("a_server_that_cannot_start_is_quoted").await.is_none() {
        return;
    }
    let started = tokio::spawn(async { drop(RedisServer::start_with(&["--no-such-option", "1"]).await) });
    let panic = started.await.expect_err("the option does not exist").into_panic();
    let message = panic.downcast_ref::<String>().expect("a panic has a text");
    assert!(message.contains("no-such-option"), "{message}");
}

#[tokio::test]
async fn a_killed_server_refuses_and_comes_back_empty_on_its_port() {
    let name = "a_killed_server_refuses_and_comes_back_empty_on_its_port";
    let Some(server) = RedisServer::start_or_skip(name).await else { return };
    set(&server, "k", "v").await;
    let address = server.address();
    server.kill();
    assert!(TcpStream::connect(address).await.is_err());
    server.restart().await;
    assert_eq!(server.address(), address);
    assert_eq!(get(&server, "k").await, None);
}

#[tokio::test]
async fn a_server_forgets_its_journal_at_a_restart() {
    let name = "a_server_forgets_its_journal_at_a_restart";
    let Some(server) = RedisServer::start_or_skip_with(name, &["--appendonly", "yes"]).await else { return };
    set(&server, "k", "v").await;
    server.restart().await;
    assert_eq!(get(&server, "k").await, None);
}

#[tokio::test]
async fn a_server_comes_back_with_the_state_of_its_snapshot() {
    let name = "a_server_comes_back_with_the_state_of_its_snapshot";
    let Some(server) = RedisServer::start_or_skip(name).await else { return };
    set(&server, "k", "old").await;
    server.snapshot().await;
    for _ in 0..2 {
        set(&server, "k", "new").await;
        set(&server, "later", "v").await;
        server.restart_from_snapshot().await;
        assert_eq!(get(&server, "k").await.as_deref(), Some("old"));
        assert_eq!(get(&server, "later").await, None);
    }
}

#[tokio::test]
async fn a_stopped_server_hangs_until_it_is_resumed() {
    let Some(server) = RedisServer::start_or_skip("a_stopped_server_hangs_until_it_is_resumed").await else {
        return;
    };
    let mut client = Client::connect(server.address()).await;
    server.stop();
    server.stop();
    assert!(timeout(AWHILE, client.ping()).await.is_err(), "nobody answers");
    assert!(TcpStream::connect(server.address()).await.is_ok());
    server.resume();
    assert!(timeout(10 * SECOND, client.0.read_exact(&mut [0; 7])).await.is_ok(), "the answer comes late");
    client.ping().await.expect("the server is back");
    server.stop();
    server.restart().await;
    assert_eq!(get(&server, "k").await, None);
}

#[tokio::test(start_paused = true)]
async fn a_paused_clock_stands_still_while_a_test_talks_to_a_server() {
    let name = "a_paused_clock_stands_still_while_a_test_talks_to_a_server";
    let start = Instant::now();
    let Some(server) = RedisServer::start_or_skip(name).await else { return };
    let alarm = tokio::spawn(tokio::time::sleep(SECOND));
    let log = server.monitor().await;
    set(&server, "k", "v").await;
    server.restart().await;
    drop(log);
    assert_eq!(start.elapsed(), Duration::ZERO);
    assert!(!alarm.is_finished());
}

// --- the command log ---

#[tokio::test]
async fn a_log_has_exactly_the_commands_since_the_last_look() {
    let name = "a_log_has_exactly_the_commands_since_the_last_look";
    let Some(server) = RedisServer::start_or_skip(name).await else { return };
    let log = server.monitor().await;
    assert!(log.take().await.is_empty());
    set(&server, "k", "\"quoted\\\" \r\n] \"é").await;
    get(&server, "k").await;
    assert_eq!(log.take().await, [vec!["SET", "k", "\"quoted\\\" \r\n] \"é"], vec!["GET", "k"]]);
    assert!(log.take().await.is_empty());
    for n in 0..100 {
        server.command(&["INCRBY", "n", &n.to_string()]).await;
    }
    assert_eq!(log.take().await.len(), 100);
}

#[tokio::test]
async fn a_log_tells_what_clients_sent_from_what_scripts_ran() {
    let name = "a_log_tells_what_clients_sent_from_what_scripts_ran";
    let Some(server) = RedisServer::start_or_skip(name).await else { return };
    let log = server.monitor().await;
    let script = ["EVAL", "return redis.call('INCR', KEYS[1])", "1", "n"];
    assert_eq!(server.command(&script).await, Reply::Int(1));
    assert_eq!(log.take().await, [script.to_vec(), vec!["INCR", "n"]]);
    assert_eq!(server.command(&script).await, Reply::Int(2));
    assert_eq!(log.take_sent().await, [script.to_vec()]);
}

#[tokio::test]
#[should_panic(expected = "this log ended with its server")]
async fn a_log_whose_server_is_gone_does_not_pass_for_complete() {
    let name = "a_log_whose_server_is_gone_does_not_pass_for_complete";
    let Some(server) = RedisServer::start_or_skip(name).await else {
        panic!("this log ended with its server, which is not installed");
    };
    let log = server.monitor().await;
    server.restart().await;
    log.take().await;
}

// --- the proxy ---

#[tokio::test]
async fn a_proxy_passes_everything_on() {
    let Some(server) = RedisServer::start_or_skip("a_proxy_passes_everything_on").await else { return };
    let proxy = Proxy::to(server.address()).await;
    let large = "v".repeat(1 << 20);
    set(&server, "large", &large).await;
    let got = support::resp::ask(proxy.address(), &["GET", "large"]).await.expect("the network is well");
    assert_eq!(got, Reply::bulk(large));
    let mut client = Client::connect(proxy.address()).await;
    client.ping().await.expect("the network is well");
    assert_eq!(proxy.url(), format!("redis://127.0.0.1:{}", proxy.port()));
    server.kill();
    assert!(client.is_closed().await);
    assert!(Client::connect(proxy.address()).await.is_closed().await, "there is no server behind");
    server.restart().await;
    Client::connect(proxy.address()).await.ping().await.expect("the server is back");
}

#[tokio::test]
async fn a_delay_is_for_each_direction_and_ends_when_healed() {
    let Some(server) = RedisServer::start_or_skip("a_delay_is_for_each_direction_and_ends_when_healed").await
    else {
        return;
    };
    let proxy = Proxy::to(server.address()).await;
    let mut client = Client::connect(proxy.address()).await;
    proxy.delay(AWHILE / 2);
    let start = Instant::now();
    client.ping().await.expect("slow is not broken");
    assert!(start.elapsed() >= AWHILE);
    proxy.delay(1000 * SECOND);
    assert!(timeout(AWHILE, client.ping()).await.is_err());
    proxy.heal();
    let late = timeout(10 * SECOND, client.0.read_exact(&mut [0; 7])).await;
    assert!(late.is_ok(), "what was held up comes through");
    client.ping().await.expect("the network is well");
}

#[tokio::test]
async fn a_throttled_connection_takes_its_time() {
    let Some(server) = RedisServer::start_or_skip("a_throttled_connection_takes_its_time").await else {
        return;
    };
    let proxy = Proxy::to(server.address()).await;
    set(&server, "k", &"v".repeat(10_000)).await;
    proxy.throttle(20_000);
    let start = Instant::now();
    let got = support::resp::ask(proxy.address(), &["GET", "k"]).await.expect("slow is not broken");
    assert!(start.elapsed() >= SECOND / 2);
    assert_eq!(got, Reply::bulk("v".repeat(10_000)));
}

#[tokio::test]
async fn a_cut_closes_what_is_open_and_lets_new_ones_in() {
    let Some(server) = RedisServer::start_or_skip("a_cut_closes_what_is_open_and_lets_new_ones_in").await
    else {
        return;
    };
    let proxy = Proxy::to(server.address()).await;
    assert_eq!(proxy.connections(), 0);
    let (mut one, mut other) =
        (Client::connect(proxy.address()).await, Client::connect(proxy.address()).await);
    one.ping().await.expect("the network is well");
    other.ping().await.expect("the network is well");
    assert_eq!(proxy.connections(), 2);
    proxy.cut();
    assert_eq!(proxy.connections(), 0);
    assert!(one.is_closed().await && other.is_closed().await);
    Client::connect(proxy.address()).await.ping().await.expect("new connections are welcome");
}

#[tokio::test]
async fn refusing_closes_only_new_connections() {
    let Some(server) = RedisServer::start_or_skip("refusing_closes_only_new_connections").await else {
        return;
    };
    let proxy = Proxy::to(server.address()).await;
    let mut early = Client::connect(proxy.address()).await;
    early.ping().await.expect("the network is well");
    proxy.refuse(true);
    assert!(Client::connect(proxy.address()).await.is_closed().await);
    early.ping().await.expect("it was open before");
    proxy.refuse(false);
    Client::connect(proxy.address()).await.ping().await.expect("new connections are welcome again");
}

#[tokio::test]
async fn a_half_open_connection_swallows_everything_even_its_end() {
    let Some(server) =
        RedisServer::start_or_skip("a_half_open_connection_swallows_everything_even_its_end").await
    else {
        return;
    };
    let proxy = Proxy::to(server.address()).await;
    let mut client = Client::connect(proxy.address()).await;
    client.ping().await.expect("the network is well");
    proxy.half_open(true);
    assert!(timeout(AWHILE, client.ask("SET k v", "+OK")).await.is_err());
    assert_eq!(get(&server, "k").await, None);
    server.kill();
    assert!(timeout(AWHILE, client.0.read(&mut [0])).await.is_err(), "the client does not hear of it");
    assert_eq!(proxy.connections(), 1);
    server.restart().await;
    proxy.half_open(false);
    assert!(client.is_closed().await, "the connection has lost bytes");
    Client::connect(proxy.address()).await.ping().await.expect("the network is well");
}

#[tokio::test]
async fn dropped_replies_are_to_requests_that_arrived() {
    let Some(server) = RedisServer::start_or_skip("dropped_replies_are_to_requests_that_arrived").await
    else {
        return;
    };
    let proxy = Proxy::to(server.address()).await;
    let mut client = Client::connect(proxy.address()).await;
    client.ping().await.expect("the network is well");
    proxy.drop_replies(true);
    assert!(timeout(AWHILE, client.ask("SET k v", "+OK")).await.is_err());
    assert_eq!(get(&server, "k").await.as_deref(), Some("v"));
    proxy.heal();
    assert!(client.is_closed().await, "the connection has lost bytes");
    Client::connect(proxy.address()).await.ping().await.expect("the network is well");
}

#[tokio::test]
async fn dropped_requests_leave_the_other_direction_open() {
    let test = "dropped_requests_leave_the_other_direction_open";
    let Some(server) = RedisServer::start_or_skip(test).await else { return };
    let proxy = Proxy::to(server.address()).await;
    let mut client = Client::connect(proxy.address()).await;
    client.ask("SUBSCRIBE c", "*3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1").await.expect("the network is well");
    proxy.drop_requests(true);
    assert!(timeout(AWHILE, client.ask("PING", "pong")).await.is_err(), "what it asks is swallowed");
    server.command(&["PUBLISH", "c", "m"]).await;
    client.hears("*3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$1\r\nm").await.expect("what it is told comes");
    proxy.heal();
    assert!(client.is_closed().await, "the connection has lost bytes");
    Client::connect(proxy.address()).await.ping().await.expect("the network is well");
}

#[tokio::test]
async fn a_dropped_proxy_is_gone() {
    let Some(server) = RedisServer::start_or_skip("a_dropped_proxy_is_gone").await else { return };
    let proxy = Proxy::to(server.address()).await;
    let address = proxy.address();
    let mut client = Client::connect(address).await;
    client.ping().await.expect("the network is well");
    drop(proxy);
    assert!(client.is_closed().await);
    // Not at once: a server that another test starts just now holds copies of all sockets until its program runs.
    let refused = async { while TcpStream::connect(address).await.is_ok() {} };
    timeout(10 * SECOND, refused).await.expect("nobody listens any more");
}

// --- without a server ---

/// Runs one test of this file where PATH leads nowhere.
fn run_without_redis(require_all: &str) -> Output {
    let mut test = Command::new(std::env::current_exe().expect("a test knows its program"));
    test.args(["--exact", "a_server_answers_with_every_kind_of_reply"]);
    test.env("PATH", "/nowhere").env("LARDER_REQUIRE_ALL", require_all).env_remove("LARDER_REDIS_SERVER");
    test.output().expect("the program of this test can be run")
}

#[test]
fn where_no_server_is_installed_a_test_says_that_it_was_skipped() {
    let ran = run_without_redis("0");
    assert!(ran.status.success());
    let line = "SKIPPED a_server_answers_with_every_kind_of_reply: no redis-server in PATH\n";
    assert!(String::from_utf8_lossy(&ran.stderr).contains(line));
}

#[test]
fn where_all_is_required_a_missing_server_fails_the_test() {
    let ran = run_without_redis("1");
    assert!(!ran.status.success());
    assert!(String::from_utf8_lossy(&ran.stdout).contains("install it"));
}
