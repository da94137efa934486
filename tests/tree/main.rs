//! What larder costs those who build it: how many crates, and how new a Rust.
//!
//! The figures are cargo's own, for the machine at hand, without build and development dependencies.

mod json;

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use json::Json;

/// The most crates, larder among them, that its default features may bring.
const MOST_CRATES: usize = 45;

/// The Rust that larder promises to build with, unless one of its features brings sqlx.
const RUST_VERSION: &str = "1.88";

/// The features that bring sqlx.
const SQLX: [&str; 2] = ["postgres", "sqlite"];

/// The Rust that it promises to build with then.
const RUST_VERSION_OF_SQLX: &str = "1.94";

/// A crate's name and version.
type Crate = (String, String);

#[test]
fn default_features_stay_within_the_promised_number_of_crates() {
    let crates = tree("default");
    println!("{} crates with default features, at most {MOST_CRATES}", crates.len());
    assert!(
        crates.len() <= MOST_CRATES,
        "{} crates, more than {MOST_CRATES}: {}",
        crates.len(),
        names(&crates)
    );
}

#[test]
fn the_promised_rust_version_is_the_stated_one() {
    assert_eq!(env!("CARGO_PKG_RUST_VERSION"), RUST_VERSION, "in Cargo.toml");
}

#[test]
fn no_dependency_asks_for_a_newer_rust_with_default_features() {
    assert_none_newer(&tree("default"), RUST_VERSION);
}

#[test]
fn no_dependency_asks_for_a_newer_rust_with_all_features_but_those_of_sqlx() {
    let crates = tree(&features_without_sqlx());
    assert!(crates.is_superset(&tree("default")), "more features bring at least what the default ones bring");
    assert!(crates.iter().all(|(name, _)| !name.starts_with("sqlx")), "{}", names(&crates));
    assert_none_newer(&crates, RUST_VERSION);
}

#[test]
fn no_dependency_asks_for_a_newer_rust_than_sqlx_with_all_features() {
    let crates = tree("all");
    assert!(crates.is_superset(&tree("default")), "all features bring at least what the default ones bring");
    assert!(crates.iter().any(|(name, _)| name == "sqlx"), "{}", names(&crates));
    assert_none_newer(&crates, RUST_VERSION_OF_SQLX);
    let stated = format!("rust-version-of-sqlx = \"{RUST_VERSION_OF_SQLX}\"");
    assert!(include_str!("../../Cargo.toml").contains(&stated), "Cargo.toml says it, too");
}

#[test]
fn versions_compare_by_number() {
    assert!(number("1.100") > number("1.88"));
    assert!(number("1.88.1") > number("1.88"));
    assert_eq!(number("1.88.0"), number("1.88"));
}

#[test]
fn a_crate_that_asks_for_a_newer_rust_is_found() {
    let [old, new, silent] = ["old", "new", "silent"].map(|name| (name.to_owned(), "0.1.0".to_owned()));
    let version = |version: &str| Some(version.to_owned());
    let stated = BTreeMap::from([
        (old.clone(), version("1.88.0")),
        (new.clone(), version("1.89")),
        (silent.clone(), None),
    ]);
    let crates = BTreeSet::from([old, new.clone(), silent]);
    assert_eq!(newer(&crates, &stated, "1.88"), BTreeSet::from([new]));
    assert_eq!(newer(&crates, &stated, "1.89"), BTreeSet::new());
}

#[track_caller]
fn assert_none_newer(crates: &BTreeSet<Crate>, promised: &str) {
    let newer = newer(crates, &stated_rust_versions(), promised);
    assert!(
        newer.is_empty(),
        "larder promises Rust {promised}; a newer one is asked for by {}",
        names(&newer)
    );
}

/// Those of `crates` that state a newer Rust than the promised one.
fn newer(
    crates: &BTreeSet<Crate>,
    stated: &BTreeMap<Crate, Option<String>>,
    promised: &str,
) -> BTreeSet<Crate> {
    let is_newer = |it: &&Crate| {
        let version = stated.get(*it).unwrap_or_else(|| panic!("cargo metadata lacks {it:?}"));
        version.as_ref().is_some_and(|version| number(version) > number(promised))
    };
    crates.iter().filter(is_newer).cloned().collect()
}

/// All features but those that bring sqlx.
fn features_without_sqlx() -> String {
    let metadata = Json::parse(&cargo(&["metadata", "--no-deps", "--format-version", "1"]));
    let packages = metadata.get("packages").map(Json::items).unwrap_or_default();
    let own = packages.iter().find(|it| it.get("name").and_then(Json::text) == Some(env!("CARGO_PKG_NAME")));
    let features = own.and_then(|own| own.get("features")).map(Json::keys).unwrap_or_default();
    features.into_iter().filter(|feature| !SQLX.contains(feature)).collect::<Vec<_>>().join(",")
}

/// larder and the crates it is built from, with its `default` features, `all`, or the others that are named.
fn tree(features: &str) -> BTreeSet<Crate> {
    let mut arguments = vec!["tree", "--package", env!("CARGO_PKG_NAME"), "--edges", "normal"];
    arguments.extend(["--prefix", "none", "--no-dedupe", "--format", "{p}"]);
    match features {
        "default" => {}
        "all" => arguments.push("--all-features"),
        named => arguments.extend(["--features", named]),
    }
    // A line is `name v1.2.3`, and then, in brackets, what else there is to say.
    let crates: BTreeSet<Crate> = cargo(&arguments)
        .lines()
        .filter_map(|line| {
            let (name, rest) = line.split_once(" v")?;
            let version = rest.split_whitespace().next()?;
            Some((name.to_owned(), version.to_owned()))
        })
        .collect();
    assert!(crates.iter().any(|(name, _)| name == "tokio"), "`cargo tree` is understood, as it names tokio");
    crates
}

/// The `rust-version` that every crate of the lock file states, if it states one.
fn stated_rust_versions() -> BTreeMap<Crate, Option<String>> {
    let metadata = Json::parse(&cargo(&[
        "metadata",
        "--all-features",
        "--format-version",
        "1",
        "--filter-platform",
        &host(),
    ]));
    let packages = metadata.get("packages").map(Json::items).unwrap_or_default();
    packages
        .iter()
        .filter_map(|package| {
            let text = |key| package.get(key).and_then(Json::text).map(str::to_owned);
            Some(((text("name")?, text("version")?), text("rust_version")))
        })
        .collect()
}

fn host() -> String {
    let version = cargo(&["-vV"]);
    let host = version.lines().find_map(|line| line.strip_prefix("host: "));
    host.expect("`cargo -vV` names the host").to_owned()
}

/// What `cargo` prints, asked without the network and without a change to the lock file.
fn cargo(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO"))
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .args(["--locked", "--offline"])
        .args(arguments)
        .output()
        .expect("cargo starts");
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "cargo {} failed: {complaint}", arguments.join(" "));
    String::from_utf8(output.stdout).expect("cargo prints UTF-8")
}

/// `1.88.1` as numbers that compare.
fn number(version: &str) -> (u32, u32, u32) {
    let mut parts = version.split('.').map(|part| part.parse().expect("a version is made of numbers"));
    let mut next = || parts.next().unwrap_or(0);
    (next(), next(), next())
}

fn names(crates: &BTreeSet<Crate>) -> String {
    crates.iter().map(|(name, version)| format!("{name} {version}")).collect::<Vec<_>>().join(", ")
}
