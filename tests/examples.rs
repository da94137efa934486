//! Every example says at its top what it prints, prints just that, and stays short.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;

/// How many lines an example may have. The blog and the shortener are small services, `larder-journal` is a tool:
/// they may have more.
const MOST_LINES: usize = 80;
const MOST_LINES_OF_A_SERVICE: usize = 150;
const MOST_LINES_OF_A_TOOL: usize = 200;

#[test]
fn every_example_prints_what_it_says() {
    let built = built_examples();
    assert_clean(examples().iter().filter_map(|example| example.lies(&run(&built, &example.name))));
}

#[test]
fn every_example_is_short() {
    assert_clean(examples().iter().filter_map(Example::is_too_long));
}

#[test]
fn the_table_of_examples_has_a_row_for_each() {
    let table = read(&root().join("examples/README.md"));
    let rows: Vec<&str> = table.lines().filter(|line| line.contains(".rs)")).collect();
    assert_clean(examples().iter().filter_map(|Example { name, .. }| {
        let (begin, end) =
            (format!("| [`{name}.rs`]({name}.rs) |"), format!("| `cargo run --example {name}` |"));
        let listed = rows.iter().any(|row| row.starts_with(&begin) && row.ends_with(&end));
        (!listed).then(|| format!("examples/README.md has no row {begin} … {end}"))
    }));
    assert_eq!(rows.len(), examples().len(), "examples/README.md has a row too many");
}

/// One file of `examples`.
struct Example {
    name: String,
    text: String,
}

/// How a run of an example ended.
struct Run {
    succeeded: bool,
    printed: String,
    complained: String,
}

impl Example {
    /// What its top says that it prints.
    fn promised(&self) -> Option<Vec<&str>> {
        let announced = format!("`cargo run --example {}` prints:", self.name);
        let top = self.text.lines().map_while(|line| line.strip_prefix("//!"));
        let mut rest = top
            .map(|line| line.strip_prefix(' ').unwrap_or(line))
            .skip_while(|line| *line != announced)
            .skip(1)
            .skip_while(|line| line.is_empty());
        (rest.next() == Some("```text")).then(|| rest.take_while(|line| *line != "```").collect())
    }

    /// A sentence, if it did not print what it says.
    fn lies(&self, run: &Run) -> Option<String> {
        let name = &self.name;
        let Some(promised) = self.promised() else {
            return Some(format!(
                "examples/{name}.rs does not say what it prints: write \
                 \"//! `cargo run --example {name}` prints:\" at its top, and the output in a ```text block below"
            ));
        };
        if !run.succeeded {
            return Some(format!("examples/{name}.rs failed:\n{}", run.complained));
        }
        let printed: Vec<&str> = run.printed.lines().map(str::trim_end).collect();
        (printed != promised).then(|| {
            let (said, did) = (promised.join("\n"), printed.join("\n"));
            format!("examples/{name}.rs says that it prints\n\n{said}\n\nand prints\n\n{did}\n")
        })
    }

    /// A sentence, if it has too many lines.
    fn is_too_long(&self) -> Option<String> {
        let most = match self.name.as_str() {
            "blog" | "url_shortener" => MOST_LINES_OF_A_SERVICE,
            "larder-journal" => MOST_LINES_OF_A_TOOL,
            _ => MOST_LINES,
        };
        let lines = self.text.lines().count();
        (lines > most).then(|| format!("examples/{}.rs has {lines} lines, more than {most}", self.name))
    }
}

#[track_caller]
fn assert_clean(breaches: impl Iterator<Item = String>) {
    let breaches: Vec<String> = breaches.collect();
    assert!(breaches.is_empty(), "\n{}\n", breaches.join("\n"));
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Every file of `examples` that cargo makes a program of.
fn examples() -> Vec<Example> {
    let mut examples: Vec<Example> = files(&root().join("examples"), false)
        .into_iter()
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
        .map(|path| Example {
            name: path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default(),
            text: read(&path),
        })
        .collect();
    examples.sort_by(|one, other| one.name.cmp(&other.name));
    assert!(!examples.is_empty(), "there is no example");
    examples
}

/// The files in `folder`, with those in its folders if they are wanted.
fn files(folder: &Path, deep: bool) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
        let path = entry.expect("an entry of a folder is readable").path();
        match path.is_dir() {
            true if deep => found.extend(files(&path, true)),
            true => {}
            false => found.push(path),
        }
    }
    found
}

/// The folder of the examples that were built with this test: `target/debug/examples`.
///
/// A plain `cargo test` has just built them. `cargo test --test examples` has not; they are then built here.
fn built_examples() -> PathBuf {
    let profile = env::current_exe().expect("this test has a path"); // target/debug/deps/examples-1a2b3c
    let profile = profile.ancestors().nth(2).expect("cargo puts a test two folders below its profile's");
    let built = profile.join("examples");
    if oldest(&built) < newest_source() {
        let mut cargo = Command::new(env!("CARGO"));
        cargo.args(["build", "--offline", "--quiet", "--examples"]).current_dir(root());
        cargo.arg("--target-dir").arg(profile.parent().expect("a profile's folder is in the target folder"));
        if profile.ends_with("release") {
            cargo.arg("--release");
        }
        assert!(cargo.status().expect("cargo runs").success(), "the examples cannot be built");
    }
    built
}

/// When the first of the built examples was built; long ago if one of them is not there.
fn oldest(built: &Path) -> SystemTime {
    let modified = |example: &Example| modified(&program(built, &example.name));
    examples().iter().map(modified).min().flatten().unwrap_or(SystemTime::UNIX_EPOCH)
}

/// When a source of the library or of an example was changed last.
fn newest_source() -> SystemTime {
    let sources = [files(&root().join("src"), true), files(&root().join("examples"), false)].concat();
    sources.iter().filter_map(|path| modified(path)).max().unwrap_or_else(SystemTime::now)
}

fn modified(path: &Path) -> Option<SystemTime> {
    path.metadata().ok()?.modified().ok()
}

fn program(built: &Path, name: &str) -> PathBuf {
    built.join(name).with_extension(env::consts::EXE_EXTENSION)
}

fn run(built: &Path, name: &str) -> Run {
    let program = program(built, name);
    let output = Command::new(&program).current_dir(root()).output();
    let output = output.unwrap_or_else(|error| panic!("{}: {error}", program.display()));
    Run {
        succeeded: output.status.success(),
        printed: String::from_utf8_lossy(&output.stdout).into_owned(),
        complained: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

mod the_check_itself {
    use super::*;

    const TOP: &str = "//! Greets.\n//!\n//! `cargo run --example a` prints:\n//!\n//! ```text\n//! hello\n//!\n//!     you\n//! ```\n\nfn main() {}\n";

    fn example(name: &str, text: &str) -> Example {
        Example { name: name.to_owned(), text: text.to_owned() }
    }

    fn run(succeeded: bool, printed: &str) -> Run {
        Run { succeeded, printed: printed.to_owned(), complained: "no database".to_owned() }
    }

    #[track_caller]
    fn assert_sentence(sentence: Option<String>, parts: &[&str]) {
        let sentence = sentence.expect("something is wrong");
        for part in parts {
            assert!(sentence.contains(part), "{sentence:?} does not name {part:?}");
        }
    }

    #[test]
    fn what_is_promised_is_compared_line_by_line() {
        let a = example("a", TOP);
        assert_eq!(a.promised(), Some(vec!["hello", "", "    you"]));
        assert_eq!(a.lies(&run(true, "hello\n\n    you\n")), None);
        assert_sentence(
            a.lies(&run(true, "hello\n")),
            &["examples/a.rs", "says that it prints\n\nhello\n\n    you"],
        );
    }

    #[test]
    fn an_example_that_says_nothing_is_told_what_to_write() {
        for text in ["//! Greets.\nfn main() {}", "fn main() {}", &TOP.replace("```text", "```")] {
            assert_sentence(
                example("a", text).lies(&run(true, "")),
                &["examples/a.rs", "`cargo run --example a` prints:"],
            );
        }
        assert_sentence(
            example("b", TOP).lies(&run(true, "")),
            &["examples/b.rs does not say what it prints"],
        );
    }

    #[test]
    fn an_example_that_fails_is_found_whatever_it_printed() {
        assert_sentence(
            example("a", TOP).lies(&run(false, "hello\n\n    you\n")),
            &["examples/a.rs failed", "no database"],
        );
    }

    #[test]
    fn an_example_may_not_grow() {
        let long = "//\n".repeat(MOST_LINES + 1);
        assert_sentence(example("a", &long).is_too_long(), &["examples/a.rs has 81 lines, more than 80"]);
        assert_eq!(example("blog", &long).is_too_long(), None);
        assert_eq!(example("a", "//\n").is_too_long(), None);
    }
}
