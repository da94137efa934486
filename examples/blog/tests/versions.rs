//! The whole program, run small: what it serves is what the database holds, and each version asks the database
//! less than the one before. Nothing here looks at a clock.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

fn command(args: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_blog"));
    command.args(args.split_whitespace());
    command
}

fn blog(args: &str) -> Output {
    command(args).output().expect("the program starts")
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).expect("text")
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("text")
}

fn with_database(args: &str, path: &Path) -> Output {
    command(args).arg("--database").arg(path).output().expect("the program starts")
}

#[test]
fn every_page_is_true_and_every_version_asks_less_than_the_one_before() {
    let output = blog("--posts 20 --comments 400 --authors 10 --requests 600 --rate 1000 --json");
    assert!(output.status.success(), "{}", stderr(&output));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let versions = report["versions"].as_array().unwrap();
    let figure = |version: usize, name: &str| versions[version][name].as_u64().unwrap();
    assert_eq!(versions.len(), 3);
    for version in versions {
        assert_eq!(version["faults"], Value::Array(Vec::new()));
        assert_eq!((&version["failed"], &version["unanswered"]), (&0.into(), &0.into()));
    }

    let comments = figure(1, "comments_checked");
    let views = 600 - comments;
    assert!(comments > 0);
    for version in 0..3 {
        assert_eq!(figure(version, "comments_checked"), comments);
        assert_eq!(figure(version, "pages_checked"), views + 20, "each view, and each post once more");
    }

    let queries = [0, 1, 2].map(|version| figure(version, "queries"));
    assert_eq!(queries[1], 2 * views + comments);
    assert!(queries[0] > queries[1], "{queries:?}");
    assert!(queries[1] > queries[2], "{queries:?}");
    let hit_ratio = versions[2]["hit_ratio"].as_f64().unwrap();
    assert!(hit_ratio > 0.0 && hit_ratio < 1.0, "{hit_ratio}");
    assert!(versions[0]["hit_ratio"].is_null());
}

#[test]
fn a_pipe_gets_plain_lines() {
    let output = blog("--posts 5 --comments 20 --authors 3 --requests 50 --rate 1000");
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(stdout(&output).contains(", 0 differ"), "{}", stdout(&output));
    assert!(stdout(&output).contains("V1 is "), "{}", stdout(&output));
    assert!(stderr(&output).contains("V2 cached, requests: 50 in "), "{}", stderr(&output));
    assert!(!(stdout(&output) + &stderr(&output)).contains('\x1b'));
}

#[test]
fn a_blog_without_comments_and_a_single_post_is_a_blog() {
    let output = blog("--posts 1 --comments 0 --authors 1 --requests 20 --rate 1000");
    assert!(output.status.success(), "{}", stderr(&output));
}

#[test]
fn the_database_is_kept_where_it_was_asked_for_and_may_be_replaced() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("blog.db");
    for _ in 0..2 {
        let output = with_database("--posts 2 --comments 5 --requests 5 --rate 1000 --only v1", &path);
        assert!(output.status.success(), "{}", stderr(&output));
        assert!(path.is_file());
    }
}

#[test]
fn a_database_of_somebody_else_is_not_touched() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("theirs.db");
    fs::write(&path, "theirs").unwrap();
    let output = with_database("--requests 5", &path);
    assert!(!output.status.success());
    assert!(
        stderr(&output).contains("was not made by this program; it is left alone"),
        "{}",
        stderr(&output)
    );
    assert_eq!(fs::read(&path).unwrap(), b"theirs");
}

#[test]
fn nonsense_is_refused_without_a_panic() {
    for args in ["--rate 0", "--posts 0", "--requests 0", "--only v9", "--seconds never"] {
        let output = blog(args);
        assert_eq!(output.status.code(), Some(2), "{args}");
        assert!(stderr(&output).starts_with("error: "), "{args}: {}", stderr(&output));
        assert!(!stderr(&output).contains("panicked"), "{args}: {}", stderr(&output));
    }
    assert!(stdout(&blog("--help")).contains("--database <PATH>"));
}
