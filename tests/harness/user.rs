//! The library's tests run as a user who may do what the library needs, and no more; the harness may do everything.

use super::support::redis_server::RedisServer;
use super::support::resp::{Connection, Reply};
use super::support::rights;
use super::{get, set};

fn ask(connection: &mut Connection, words: &[&str]) -> Reply {
    connection.ask(words).expect("the server answers")
}

fn logged_in(server: &RedisServer) -> Connection {
    let mut connection = server.connection();
    assert_eq!(ask(&mut connection, &["AUTH", rights::USER, rights::PASSWORD]), Reply::ok());
    connection
}

fn is_forbidden(reply: &Reply) -> bool {
    matches!(reply, Reply::Error(why) if why.starts_with("NOPERM"))
}

#[tokio::test]
async fn a_server_has_a_user_for_the_library_and_still_after_a_restart() {
    let name = "a_server_has_a_user_for_the_library_and_still_after_a_restart";
    let Some(server) = RedisServer::start_or_skip(name).await else { return };
    let login = format!("redis://{}:{}@{}", rights::USER, rights::PASSWORD, server.address());
    assert!(server.url().starts_with(&login), "{}", server.url());
    for _ in 0..2 {
        set(&server, "k", "v").await;
        let mut user = logged_in(&server);
        assert_eq!(ask(&mut user, &["GET", "k"]), Reply::bulk("v"));
        for forbidden in [&["FLUSHALL"][..], &["KEYS", "*"], &["CONFIG", "GET", "dir"], &["APPEND", "k", "v"]]
        {
            assert!(is_forbidden(&ask(&mut user, forbidden)), "{forbidden:?}");
        }
        let script = ["EVAL", "return redis.call('APPEND', KEYS[1], 'v')", "1", "n"];
        assert!(matches!(ask(&mut user, &script), Reply::Error(_)), "in a script neither");
        server.restart().await;
        assert_eq!(get(&server, "k").await, None);
    }
}

#[tokio::test]
async fn the_user_can_be_kept_to_one_namespace() {
    let Some(server) = RedisServer::start_or_skip("the_user_can_be_kept_to_one_namespace").await else {
        return;
    };
    assert_eq!(server.command(&["ACL", "DELUSER", rights::USER]).await, Reply::Int(1));
    let words = [vec!["ACL".to_owned(), "SETUSER".to_owned()], server.rights("~posts:*")].concat();
    assert_eq!(server.command(&words).await, Reply::ok());
    let mut user = logged_in(&server);
    assert_eq!(ask(&mut user, &["SET", "posts:1", "v"]), Reply::ok());
    assert!(is_forbidden(&ask(&mut user, &["GET", "users:1"])));
}

#[tokio::test]
async fn a_handle_of_the_server_works() {
    let Some(server) = RedisServer::start_or_skip("a_handle_of_the_server_works").await else { return };
    server.redis().ping().await.expect("it is up, and lets the user in");
}
