//! The shortener over HTTP: what it answers, and what it still knows after it has stopped, or was killed.

#[allow(dead_code, reason = "the blog's tests use more of it")]
#[path = "../../../blog/tests/web/http.rs"]
mod http;
#[allow(dead_code, reason = "the same")]
#[path = "../../../blog/tests/fleet/redis_server.rs"]
mod redis_server;
mod server;

use server::Server;
use tempfile::tempdir;

const URL: &str = "https://example.com/a?b=c#d";

#[test]
fn a_link_is_made_followed_and_counted() {
    let folder = tempdir().unwrap();
    let server = Server::start(folder.path());
    let id = server.create(URL);
    assert_eq!(id, "1000000");
    for clicks in 1..=3 {
        let answer = server.get(&format!("/{id}"));
        assert_eq!((answer.status, answer.header("location")), (302, URL));
        assert_eq!(answer.header("cache-control"), "no-store");
        assert_eq!(server.clicks(&id), clicks, "it is told at once, whoever has it");
    }
    let answer = server.head(&format!("/{id}"));
    assert_eq!((answer.status, answer.header("location")), (302, URL));
    assert_eq!(server.clicks(&id), 3, "whoever only looks has not clicked");
}

#[test]
fn what_is_no_link_is_not_found_until_there_is_one() {
    let folder = tempdir().unwrap();
    let server = Server::start(folder.path());
    // The next to be given: its absence is remembered, and is over when it is made.
    for path in ["/1000000", "/1000000", "/api/links/1000000/stats", "/0001", "/no-id", "/"] {
        assert_eq!(server.get(path).status, 404, "{path}");
    }
    assert_eq!(server.create(URL), "1000000");
    assert_eq!(server.get("/1000000").status, 302);
    assert_eq!(server.get("/api/links").status, 405);
}

#[test]
fn only_a_url_makes_a_link() {
    let folder = tempdir().unwrap();
    let server = Server::start(folder.path());
    let too_long = format!(r#"{{"url":"https://example.com/{}"}}"#, "a".repeat(2_048));
    for (body, why) in [
        (r#"{"url":"javascript:alert(1)"}"#, "begins with http:// or https://"),
        (r#"{"url":"https://"}"#, "names a host"),
        (r#"{"url":"https://a\r\nset-cookie: b"}"#, "no spaces"),
        (&too_long, "2048 characters"),
        (r#"{"address":"https://example.com"}"#, "send JSON"),
        ("{", "send JSON"),
    ] {
        let answer = server.post(body);
        assert_eq!(answer.status, 400, "{body}");
        answer.shows(why);
    }
}

#[test]
fn a_stop_brings_every_click_to_the_database() {
    for signal in ["-TERM", "-INT"] {
        let folder = tempdir().unwrap();
        let server = Server::start(folder.path());
        let id = server.create(URL);
        for _ in 0..5 {
            server.get(&format!("/{id}"));
        }
        let said = server.stopped(signal);
        assert!(said.contains("are in the database now"), "{said}");
        let server = Server::start(folder.path());
        assert_eq!((server.clicks(&id), server.create(URL) > id), (5, true));
    }
}

#[test]
fn a_killed_process_loses_neither_links_nor_clicks() {
    let folder = tempdir().unwrap();
    let mut ids = Vec::new();
    for round in 1..=3 {
        let server = Server::start(folder.path());
        ids.push(server.create(URL));
        for id in &ids {
            assert_eq!(server.get(&format!("/{id}")).status, 302);
        }
        for (clicks, id) in (1..=round).rev().zip(&ids) {
            assert_eq!(server.clicks(id), clicks);
        }
        server.killed();
    }
}

#[test]
fn a_folder_belongs_to_one_process() {
    let folder = tempdir().unwrap();
    let server = Server::start(folder.path());
    let id = server.create(URL);
    let Err((status, said)) = Server::try_start(folder.path()) else { panic!("two serve one folder") };
    assert!(!status.success() && said.starts_with("error: "), "{said}");
    assert_eq!(server.get(&format!("/{id}")).status, 302);
}

#[test]
fn with_a_redis_of_its_own_it_serves_the_same() {
    if redis_server::is_missing("with_a_redis_of_its_own_it_serves_the_same") {
        return;
    }
    let folder = tempdir().unwrap();
    let with_redis =
        || Server::try_start_with(folder.path(), &["--redis", "--memory", "1"]).expect("it starts");
    let server = with_redis();
    let ids: Vec<_> = (0..20).map(|number| (server.create(&format!("{URL}{number}")), number)).collect();
    for (id, number) in &ids {
        assert_eq!(server.get(&format!("/{id}")).header("location"), format!("{URL}{number}"));
    }
    server.stopped("-TERM");
    let server = with_redis();
    assert!(ids.iter().all(|(id, _)| server.clicks(id) == 1));
}
