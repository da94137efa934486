//! How it ends: with SIGTERM, as from `kill` and from service managers.

use std::fs;
use std::io::{BufReader, Write};

use tempfile::TempDir;

use crate::http::{Request, answer as answered, connect, line};
use crate::server::{Server, command};

#[test]
fn a_request_under_way_is_finished_before_the_end() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("blog.db");
    let mut server = Server::start_on(&path);
    let _silent = connect(&server.address);
    let form = Request::form("/posts/7/comments", &[("name", "Ada"), ("text", "the last word")]);
    let mut stream = connect(&server.address);
    let form = form.header("expect", "100-continue");
    stream.write_all(form.head(&server.address).as_bytes()).unwrap();
    let mut answer = BufReader::new(stream.try_clone().unwrap());
    assert_eq!(line(&mut answer), "HTTP/1.1 100 Continue", "the form is being read");
    assert_eq!(line(&mut answer), "");

    server.terminate();
    loop {
        let said = line(&mut server.stderr);
        assert_ne!(said, "", "it has ended without a word");
        if said.starts_with("stopping") {
            break;
        }
    }
    stream.write_all(form.body.as_bytes()).unwrap();
    assert_eq!(answered(answer).status, 303);
    let (status, said) = server.ended();
    assert!(status.success(), "{status}: {said}");
    assert!(said.contains("cache posts: closed, nothing left to do"), "{said}");
    assert!(said.contains("cache lists: closed, nothing left to do"), "{said}");
    assert!(!said.contains("given up"), "{said}");

    let again = Server::start_on(&path);
    again.get("/posts/7").shows("the last word");
    assert!(again.stopped().contains("is served as it is"));
}

#[test]
fn a_temporary_database_goes_with_the_server() {
    let directory = TempDir::new().unwrap();
    let mut command = command("serve --listen 127.0.0.1:0 --posts 3 --comments 3 --authors 1");
    let server = Server::start_with(command.env("TMPDIR", directory.path()));
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    server.get("/posts/3").shows("<article>");
    server.stopped();
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
}
