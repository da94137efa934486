//! The guides say what the code says: every kind of error has its row, every open enum is listed, every example runs.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use larder::{Error, ErrorKind};

#[test]
fn the_errors_guide_has_a_row_for_each_kind() {
    let errors = read("src/error.rs");
    let guide = read("docs/errors.md");
    for (heading, name) in [("## The kinds", "ErrorKind"), ("| outcome |", "Outcome"), ("| fault |", "Fault")]
    {
        assert_same(
            &first_column(&guide, heading),
            &variants(&errors, name),
            &format!("docs/errors.md, {name}"),
        );
    }
}

#[test]
fn the_errors_guide_says_what_is_worth_another_try_and_which_status_it_gets() {
    let guide = read("docs/errors.md");
    for kind in KINDS {
        let name = format!("{kind:?}");
        let row = rows(&guide, "## The kinds").into_iter().find(|row| row[0] == format!("`{name}`"));
        let row = row.unwrap_or_else(|| panic!("docs/errors.md has no row for {name}"));
        let error = Error::new(kind, "an example");
        let [.., code, again] = &row[..] else { panic!("docs/errors.md: the row of {name} is too short") };
        assert!(
            code.starts_with(&status(&error).to_string()),
            "{name}: the table says {code}, the code {}",
            status(&error)
        );
        assert_eq!(again != "no", error.is_retryable(), "{name}: the table says {again}");
    }
    let names: BTreeSet<String> = KINDS.iter().map(|kind| format!("{kind:?}")).collect();
    assert_same(&names, &variants(&read("src/error.rs"), "ErrorKind"), "KINDS in tests/guides.rs");
}

const KINDS: [ErrorKind; 16] = [
    ErrorKind::Store,
    ErrorKind::Tier,
    ErrorKind::Timeout,
    ErrorKind::Panicked,
    ErrorKind::Nested,
    ErrorKind::ReadOnly,
    ErrorKind::NoStore,
    ErrorKind::Closed,
    ErrorKind::NoRuntime,
    ErrorKind::Abandoned,
    ErrorKind::WrongLength,
    ErrorKind::Settings,
    ErrorKind::Full,
    ErrorKind::Journal,
    ErrorKind::DeadLetter,
    ErrorKind::Unsupported,
];

// As the guide shows it; a test below compares the two.
fn status(error: &Error) -> u16 {
    match error.kind() {
        ErrorKind::Timeout => 504,
        ErrorKind::Closed => 503,
        _ if error.is_retryable() => 503, // with a Retry-After
        _ => 500,
    }
}

#[test]
fn the_code_in_the_guides_is_the_code_that_is_tested() {
    let shown: Vec<String> = blocks(&read("docs/patterns.md")).iter().filter_map(Block::functions).collect();
    assert!(shown.len() >= 11, "docs/patterns.md shows {} functions", shown.len());
    let tested = trimmed(&read("tests/cache/patterns.rs"));
    for function in shown {
        assert!(
            tested.contains(&function),
            "docs/patterns.md and tests/cache/patterns.rs differ in\n{function}"
        );
    }
    let of_errors = blocks(&read("docs/errors.md")).iter().find_map(Block::functions).expect("a function");
    assert!(
        trimmed(&read("tests/guides.rs")).contains(&of_errors),
        "docs/errors.md has another\n{of_errors}"
    );
}

#[test]
fn every_example_of_a_guide_runs() {
    let modules = read("src/guide.rs");
    for path in files("docs", "md") {
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let included = format!("include_str!(\"../docs/{name}\")");
        assert!(
            modules.contains(&included),
            "src/guide.rs has no module for docs/{name}: nobody runs its examples"
        );
        for Block { language, .. } in blocks(&read_path(&path)) {
            let known = ["rust", "text", "toml"].contains(&language.as_str());
            assert!(
                known,
                "docs/{name}: a block is marked `{language}`: mark it `rust`, which is run, `text` or `toml`"
            );
        }
    }
}

#[test]
fn the_stability_guide_lists_what_may_grow() {
    let guide = read("docs/stability.md");
    let (_, list) =
        guide.split_once("so a `match` on them ends with `_`").expect("the list of what may grow");
    let table =
        list.lines().skip(1).skip_while(|line| line.is_empty()).take_while(|line| line.starts_with('|'));
    let listed: BTreeSet<String> = table.flat_map(quoted).collect();
    let open = files("src", "rs").iter().flat_map(|path| open_types(&read_path(path))).collect();
    assert_same(&listed, &open, "docs/stability.md, what may grow");
}

#[test]
fn the_stability_guide_lists_the_features() {
    let manifest = read("Cargo.toml");
    let (_, features) = manifest.split_once("[features]\n").expect("Cargo.toml has features");
    let lines = features.lines().take_while(|line| !line.starts_with('['));
    let features = lines.filter_map(|line| line.split_once(" = ").map(|(name, _)| name.to_owned()));
    let features = features.filter(|name| name != "default" && !name.starts_with('#')).collect();
    assert_same(
        &first_column(&read("docs/stability.md"), "| feature |"),
        &features,
        "docs/stability.md, features",
    );
}

/// A code block of a guide.
struct Block {
    language: String,
    /// The lines that a reader sees, trimmed.
    lines: Vec<String>,
}

impl Block {
    /// The block as the tests have it, if it shows a function.
    fn functions(&self) -> Option<String> {
        let is_function = |line: &String| line.starts_with("fn ") || line.starts_with("async fn ");
        let begin = self.lines.iter().position(is_function)?;
        let end = self.lines.iter().rposition(|line| line == "}")?;
        Some(self.lines[begin..=end].join("\n"))
    }
}

fn blocks(guide: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut lines = guide.lines();
    while let Some(language) = lines.by_ref().find_map(|line| line.strip_prefix("```")) {
        let block = lines.by_ref().take_while(|line| *line != "```");
        let seen = block.filter(|line| *line != "#" && !line.starts_with("# "));
        let lines = seen.map(|line| line.trim().to_owned()).filter(|line| !line.is_empty()).collect();
        blocks.push(Block { language: language.to_owned(), lines });
    }
    blocks
}

/// Every line of `text` that has something on it, trimmed.
fn trimmed(text: &str) -> String {
    text.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join("\n")
}

/// The rows of the first table at or after the line that begins with `heading`.
fn rows(guide: &str, heading: &str) -> Vec<Vec<String>> {
    let after = guide.lines().skip_while(|line| !line.starts_with(heading));
    let table = after.skip_while(|line| !line.starts_with('|')).take_while(|line| line.starts_with('|'));
    let cells = |row: &str| row.trim_matches('|').split(" | ").map(|cell| cell.trim().to_owned()).collect();
    table.skip(2).map(cells).collect()
}

fn first_column(guide: &str, heading: &str) -> BTreeSet<String> {
    let rows = rows(guide, heading);
    let names: BTreeSet<String> = rows.iter().flat_map(|row| quoted(&row[0])).collect();
    assert_eq!(names.len(), rows.len(), "the table at {heading:?} has a row twice");
    names
}

/// What stands between backticks in `line`.
fn quoted(line: &str) -> Vec<String> {
    line.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

/// The variants of the enum `name` in the source `text`.
fn variants(text: &str, name: &str) -> BTreeSet<String> {
    let (_, body) =
        text.split_once(&format!("pub enum {name} {{\n")).unwrap_or_else(|| panic!("no enum {name}"));
    let lines = body.lines().take_while(|line| *line != "}").map(str::trim);
    lines.filter(|line| line.starts_with(char::is_uppercase)).map(leading_name).collect()
}

/// The enums of the source `text` that may get variants, and the structs that may get public fields.
fn open_types(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut lines = text.lines();
    while lines.by_ref().any(|line| line == "#[non_exhaustive]") {
        let item = lines.by_ref().find(|line| !line.starts_with("#[")).unwrap_or_default();
        let is_open =
            item.starts_with("pub enum ") || item.starts_with("pub struct ") && item.ends_with(" {");
        found.extend(item.split(' ').nth(2).filter(|_| is_open).map(leading_name));
    }
    found
}

fn leading_name(text: &str) -> String {
    text.chars().take_while(|character| character.is_alphanumeric()).collect()
}

#[track_caller]
fn assert_same(guide: &BTreeSet<String>, code: &BTreeSet<String>, place: &str) {
    let missing: Vec<_> = code.difference(guide).collect();
    let too_many: Vec<_> = guide.difference(code).collect();
    assert!(missing.is_empty() && too_many.is_empty(), "{place}: missing {missing:?}, too many {too_many:?}");
}

/// The files below `folder` with this extension.
fn files(folder: &str, extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
            let path = entry.expect("an entry of a folder is readable").path();
            match path.is_dir() {
                true => folders.push(path),
                false if path.extension().is_some_and(|its| its == extension) => found.push(path),
                false => {}
            }
        }
    }
    found
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    read_path(&root().join(path))
}

fn read_path(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

mod the_check_itself {
    use super::*;

    fn set(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn variants_are_found_with_and_without_fields() {
        let text = "/// A.\n#[non_exhaustive]\npub enum Kind {\n    /// One.\n    #[default]\n    One,\n    Two(u8),\n    Three { a: u8 },\n}\n";
        assert_eq!(variants(text, "Kind"), set(&["One", "Two", "Three"]));
        assert_eq!(open_types(text), ["Kind"]);
    }

    #[test]
    fn closed_and_unit_types_are_not_open() {
        let text = "#[non_exhaustive]\npub struct Unit;\npub enum Closed {\n}\n#[non_exhaustive]\n#[derive(Debug)]\npub struct Open<V> {\n";
        assert_eq!(open_types(text), ["Open"]);
    }

    #[test]
    fn a_block_shows_what_is_not_hidden() {
        let guide = "text\n```rust\n# use a;\nfn one() {\n    two();\n\n}\n# fn main() {}\n```\n```rust\none();\n```\n```text\n# no\n```";
        let blocks = blocks(guide);
        let languages: Vec<&str> = blocks.iter().map(|block| block.language.as_str()).collect();
        assert_eq!(languages, ["rust", "rust", "text"]);
        assert_eq!(blocks[0].functions().as_deref(), Some("fn one() {\ntwo();\n}"));
        assert_eq!(blocks[1].functions(), None);
    }

    #[test]
    fn a_row_too_many_and_a_row_too_few_are_named() {
        let guide =
            "## The kinds\n\ntext\n\n| kind | x |\n|---|---|\n| `One` | a |\n| `Four` | b |\n\n| other |";
        let listed = first_column(guide, "## The kinds");
        assert_eq!(listed, set(&["One", "Four"]));
        let wrong = std::panic::catch_unwind(|| assert_same(&listed, &set(&["One", "Two"]), "here"));
        let wrong = wrong.expect_err("they differ");
        let said = wrong.downcast_ref::<String>().expect("a sentence");
        assert!(said.contains("missing [\"Two\"], too many [\"Four\"]"), "{said}");
    }
}
