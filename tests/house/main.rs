//! The house rules of `src`: who may import whom, where the clock is read, what no file contains.
//!
//! The rules are checked on the source text, so a breach is found before anyone has to review it. Each
//! rule has tests of its own, on small sources that break it and on look-alikes that do not.

mod floors;
mod habits;
mod tokens;

use std::fs;
use std::path::{Path, PathBuf};

use tokens::Token;

/// One file of `src`, split into tokens.
struct Source {
    /// The path below `src`, written with `/`: `tier/memory.rs`.
    path: String,
    /// Every token, tests included.
    all: Vec<Token>,
    /// The tokens that are compiled without `cfg(test)`.
    shipped: Vec<Token>,
}

impl Source {
    fn new(path: &str, text: &str) -> Self {
        let all = tokens::of(text);
        let shipped = tokens::without_tests(&all);
        Self { path: path.to_owned(), all, shipped }
    }
}

#[test]
fn every_file_imports_only_from_lower_floors() {
    assert_clean(&floors::breaches(&sources(), floors::NEIGHBOURS));
}

#[test]
fn every_file_keeps_the_habits() {
    assert_clean(&habits::breaches(&sources()));
}

fn assert_clean(breaches: &[String]) {
    assert!(breaches.is_empty(), "\n{}\n", breaches.join("\n"));
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut paths = rust_files(&root);
    paths.sort();
    assert!(!paths.is_empty(), "no Rust file below {}", root.display());
    paths.iter().map(|path| read(&root, path)).collect()
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder of src is readable") {
        let path = entry.expect("an entry of src is readable").path();
        if path.is_dir() {
            found.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found
}

fn read(root: &Path, path: &Path) -> Source {
    let text = fs::read_to_string(path).expect("a file of src is UTF-8 text");
    let below = path.strip_prefix(root).expect("the file was found below src");
    let parts: Vec<_> = below.iter().map(|part| part.to_string_lossy()).collect();
    Source::new(&parts.join("/"), &text)
}
