//! V3 as a whole: the real program with its processes, on a real Redis. What is measured is not looked at, only what
//! is true: that the answers are right, that it lives on without Redis, and that nothing is left behind.

#[cfg(target_os = "linux")]
mod processes;
mod redis_server;
mod run;

use std::fs;

use redis_server::{RedisServer, is_missing};
use run::{Run, command, finished, text};
use serde_json::Value;

/// A small blog, and traffic for about a second.
const SMALL: &str = "--posts 20 --comments 200 --authors 5 --requests 300 --rate 300";

fn versions(report: &Value) -> &Vec<Value> {
    report["versions"].as_array().expect("versions")
}

/// All readers were answered, and rightly.
#[track_caller]
fn served_well(version: &Value) {
    assert_eq!(version["faults"], Value::Array(Vec::new()), "{version}");
    assert_eq!((&version["failed"], &version["unanswered"]), (&0.into(), &0.into()), "{version}");
}

#[test]
fn three_processes_share_a_redis_and_no_answer_is_stale() {
    if is_missing("three_processes_share_a_redis_and_no_answer_is_stale") {
        return;
    }
    let report = finished(command(&format!("{SMALL} --redis --balancer none --only v2,v3 --json")));
    let v3 = &versions(&report)[1];
    served_well(v3);
    assert_eq!((&v3["version"], &v3["processes"]), (&"V3 shared".into(), &3.into()));
    assert_eq!(v3["pages_checked"], 300 - v3["comments_checked"].as_u64().unwrap() + 3 * 20);
    let ratio = |tier: &str| v3[tier].as_f64().expect("a ratio");
    assert!(ratio("memory_hit_ratio") > 0.0 && ratio("memory_hit_ratio") < 1.0, "{v3}");
    assert!(ratio("redis_hit_ratio") > 0.0, "what one process loads the others find: {v3}");
    assert!(versions(&report)[0]["processes"].is_null(), "V2 is measured as it always was");
}

#[test]
fn v2_meets_v3_at_ten_times_the_traffic() {
    if is_missing("v2_meets_v3_at_ten_times_the_traffic") {
        return;
    }
    let report = finished(command(&format!("{SMALL} --redis --balancer none --only v3 --json")));
    let tenfold = &report["tenfold"];
    assert_eq!((&tenfold["requests"], &tenfold["rate"]), (&3_000.into(), &3_000.0.into()));
    let [one, three] = &tenfold["versions"].as_array().expect("versions")[..] else {
        panic!("two versions: {tenfold}");
    };
    assert_eq!((&one["processes"], &three["processes"]), (&1.into(), &3.into()));
    assert_eq!((&one["pages_behind"], &one["redis_hit_ratio"]), (&0.into(), &Value::Null));
    for version in [one, three] {
        served_well(version);
        assert_eq!(version["requests"], 3_000);
    }
}

#[test]
fn a_balancer_passes_everything_on() {
    if is_missing("a_balancer_passes_everything_on") {
        return;
    }
    for balancer in ["nginx", "haproxy"] {
        let mut blog = command(&format!("{SMALL} --redis --only v3 --json --balancer {balancer}"));
        let output = blog.output().expect("the program starts");
        if text(&output.stderr).contains("is not installed") {
            println!("SKIPPED {balancer}: it is not installed");
            continue;
        }
        assert!(output.status.success(), "{balancer}: {}", text(&output.stderr));
        let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        assert_eq!(report["tenfold"]["balancer"], balancer);
        served_well(&versions(&report)[0]);
    }
}

#[test]
fn a_redis_that_dies_half_way_is_done_without() {
    let Some(mut redis) = RedisServer::start_or_skip("a_redis_that_dies_half_way_is_done_without") else {
        return;
    };
    let size = "--posts 20 --comments 200 --authors 5 --requests 600 --rate 200";
    let mut run = Run::start(&format!("{size} --only v3 --balancer none --json --redis {}", redis.url("")));
    run.said("V3 shared, requests: ");
    redis.wait_for_keys();
    redis.kill();
    let report: Value = serde_json::from_str(&run.succeeded()).expect("JSON");
    let v3 = &versions(&report)[0];
    served_well(v3);
    assert!(v3["redis_outages"].as_u64().expect("a number") >= 3, "each process noticed: {v3}");
    served_well(&report["tenfold"]["versions"][1]);
}

#[test]
fn a_redis_of_no_use_is_told_at_once_and_its_url_is_not_shown() {
    let nobody = "redis://reader:sekret@127.0.0.1:1/0";
    for (url, sentence) in [
        (nobody, "no connection to Redis can be made"),
        ("redis://reader:sekret@127.0.0.1:port", "is not understood"),
        ("rediss://reader:sekret@127.0.0.1", "TLS"),
        ("sekret", "is not understood"),
    ] {
        refused(url, sentence);
    }
}

#[test]
fn a_wrong_password_is_told_and_not_shown() {
    let Some(redis) = RedisServer::start_or_skip("a_wrong_password_is_told_and_not_shown") else {
        return;
    };
    refused(&redis.url(":sekret@"), "did not take the credentials");
}

#[track_caller]
fn refused(url: &str, sentence: &str) {
    let output = command(SMALL).arg("--redis").arg(url).output().expect("the program starts");
    let said = text(&output.stderr);
    assert!(!output.status.success() && said.starts_with("error: "), "{said}");
    assert!(said.contains(sentence), "{said}");
    assert!(!said.contains("sekret") && !said.contains("reader") && !said.contains("panicked"), "{said}");
    assert!(!said.contains("requests"), "nothing is measured first: {said}");
}

#[test]
fn where_no_redis_is_installed_the_remedy_is_told() {
    let output = command(SMALL).arg("--redis").env("PATH", "/nowhere").output().expect("the program starts");
    let said = text(&output.stderr);
    assert!(!output.status.success(), "{said}");
    assert!(said.contains("there is no redis-server to start: install it"), "{said}");
}

#[test]
fn an_app_leaves_a_file_alone_that_is_no_blog() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("theirs.db");
    fs::write(&path, "theirs").expect("it can be written");
    let output = command("app --database").arg(&path).output().expect("the program starts");
    let said = text(&output.stderr);
    assert!(!output.status.success() && said.contains("does not hold a blog"), "{said}");
    assert_eq!(fs::read(&path).expect("it is there"), b"theirs");
}

/// Those who look for processes know Linux only.
#[cfg(target_os = "linux")]
mod leftovers {
    use super::*;
    use processes::{wait_until_gone, with};

    /// Longer than any of these tests.
    const LONG: &str = "--posts 20 --comments 200 --authors 5 --requests 6000 --rate 100 --only v3 --redis";

    #[test]
    fn a_run_leaves_nothing_behind() {
        if is_missing("a_run_leaves_nothing_behind") {
            return;
        }
        let run = Run::start(&format!("{SMALL} --redis --only v3"));
        let folder = run.folder();
        assert!(run.succeeded().contains("Ten times the traffic"));
        assert_eq!(with(&folder), Vec::<String>::new());
        assert!(folder.is_empty());
    }

    #[test]
    fn who_is_asked_to_stop_leaves_nothing_behind() {
        if is_missing("who_is_asked_to_stop_leaves_nothing_behind") {
            return;
        }
        let mut run = Run::start(LONG);
        run.said("V3 shared, requests: ");
        let folder = run.folder();
        assert!(with(&folder).len() >= 5, "three apps, Redis and its keeper: {:?}", with(&folder));
        run.signal("TERM");
        assert!(run.failed().contains("interrupted"));
        assert_eq!(with(&folder), Vec::<String>::new());
        assert!(folder.is_empty());
    }

    #[test]
    fn who_is_killed_leaves_nothing_behind() {
        if is_missing("who_is_killed_leaves_nothing_behind") {
            return;
        }
        let mut run = Run::start(LONG);
        run.said("V3 shared, requests: ");
        let folder = run.folder();
        assert!(with(&folder).len() >= 5, "three apps, Redis and its keeper: {:?}", with(&folder));
        run.signal("KILL");
        run.failed();
        wait_until_gone(&folder);
    }

    #[test]
    fn an_app_that_dies_is_named() {
        if is_missing("an_app_that_dies_is_named") {
            return;
        }
        let size = SMALL.replace("--rate 300", "--rate 100");
        let mut run = Run::start(&format!("{size} --only v3 --balancer none --redis"));
        run.said("V3 shared, requests: ");
        processes::kill_one(&run.folder(), "app");
        let said = run.failed();
        assert!(said.contains("has not lived through its run: app process"), "{said}");
    }
}
