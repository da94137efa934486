//! The whole program, run small: what was answered is what is stored. Nothing here looks at a clock.

#[allow(dead_code, reason = "the blog's tests use more of it")]
#[path = "../../blog/tests/fleet/redis_server.rs"]
mod redis_server;

use std::process::{Command, Output};

use serde_json::Value;

fn run(args: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_url-shortener"));
    command.args(args.split_whitespace()).env("TMPDIR", env!("CARGO_TARGET_TMPDIR"));
    command.output().expect("the program starts")
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).expect("text")
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("text")
}

fn report(args: &str) -> Value {
    let output = run(args);
    assert!(output.status.success(), "{}{}", stdout(&output), stderr(&output));
    serde_json::from_slice(&output.stdout).expect("JSON")
}

fn figure(report: &Value, path: &str) -> u64 {
    report.pointer(path).and_then(Value::as_u64).unwrap_or_else(|| panic!("no {path} in {report}"))
}

#[test]
fn every_click_is_a_row_and_every_count_is_exact() {
    let report = report("--links 300 --redirects 3000 --json");
    assert_eq!(report["books"]["exact"], true);
    let made = figure(&report, "/books/clicks_made");
    let unknown = figure(&report, "/unknown/answers");
    // What is not an unknown id is a click, the one of whoever has just made a link too.
    assert_eq!(made + unknown, 3_000);
    assert_eq!(figure(&report, "/books/clicks_stored"), made);
    assert_eq!(figure(&report, "/books/clicks_counted"), made);
    assert_eq!(figure(&report, "/books/unanswered"), 0);
    assert_eq!(figure(&report, "/written/rows"), made);
    assert_eq!(figure(&report, "/books/links_made"), 30);
    // Of 300 links the first look at each is at the database, and there are 50 ids that nobody has.
    assert!(figure(&report, "/tiers/memory/answers") > figure(&report, "/tiers/database/answers"));
    assert!(figure(&report, "/unknown_asked_of_database") <= 50);
    assert!(report["redis_hit_ratio"].is_null());
}

#[test]
fn redis_answers_what_memory_has_no_room_for() {
    if redis_server::is_missing("redis_answers_what_memory_has_no_room_for") {
        return;
    }
    let report = report("--links 300 --memory 20 --redirects 3000 --redis --json");
    assert_eq!(report["books"]["exact"], true);
    // How many depends on how busy the machine is: a Redis that is late is passed by.
    assert!(figure(&report, "/tiers/redis/answers") > 0, "{report}");
    assert!(report["redis_hit_ratio"].as_f64().is_some_and(|ratio| ratio > 0.0), "{report}");
}

#[test]
fn a_kill_in_the_middle_loses_nothing_that_was_answered() {
    for seed in 1..=2 {
        let report =
            report(&format!("--links 100 --redirects 3000 --visitors 32 --crash --json --seed {seed}"));
        assert_eq!(report["books"]["exact"], true, "{report}");
        let (made, unanswered) =
            (figure(&report, "/books/clicks_made"), figure(&report, "/books/unanswered"));
        assert_eq!(figure(&report, "/books/clicks_stored"), made);
        let counted = figure(&report, "/books/clicks_counted");
        assert_eq!(counted, made + figure(&report, "/books/unanswered_stored"));
        // At the moment of the kill no more than that many had asked.
        assert!((1..=32).contains(&unanswered), "{report}");
    }
}

#[test]
fn a_pipe_gets_plain_lines() {
    let output = run("--links 20 --redirects 200");
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(stdout(&output).contains("EXACT: "), "{}", stdout(&output));
    assert!(stderr(&output).contains("redirects: 200 in "), "{}", stderr(&output));
    assert!(!(stdout(&output) + &stderr(&output)).contains('\x1b'));
}

#[test]
fn nonsense_is_refused_without_a_panic() {
    for args in ["--links 0", "--redirects never", "--visitors 0", "--no-such-flag", "--crash maybe"] {
        let output = run(args);
        assert_eq!(output.status.code(), Some(2), "{args}");
        assert!(stderr(&output).starts_with("error: "), "{args}: {}", stderr(&output));
    }
    let output = run("--redirects 10 --redis redis://:secret@127.0.0.1:1");
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("does not serve"), "{}", stderr(&output));
    assert!(!stderr(&output).contains("secret"), "{}", stderr(&output));
    assert!(stdout(&run("--help")).contains("--crash"));
}
