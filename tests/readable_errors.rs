//! Whoever gives larder a type that lacks something reads one line that says what is lacking, instead of a page of
//! bounds. Every program in `tests/ui` makes one such mistake, and its `//~ ERROR:` is what the compiler has to say.
//!
//! Compilers word and arrange their messages anew in every version; only our own words are compared.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// A program of `tests/ui`, and what the compiler is expected to say of it.
struct Program {
    name: String,
    text: String,
    expected: Expected,
}

enum Expected {
    Compiles,
    Fails(String),
}

impl Program {
    fn read(path: &Path) -> Self {
        let name = path.file_stem().expect("a file has a name").to_string_lossy().into_owned();
        let text = fs::read_to_string(path).expect("a program is readable");
        let mut expectations = text.lines().filter_map(|line| line.strip_prefix("//~ "));
        let (Some(expected), None) = (expectations.next(), expectations.next()) else {
            panic!("tests/ui/{name}.rs has one line that begins with `//~ `");
        };
        let expected = match expected.strip_prefix("ERROR: ") {
            Some(said) => Expected::Fails(said.to_owned()),
            None if expected == "OK" => Expected::Compiles,
            None => panic!("tests/ui/{name}.rs: `//~ OK` or `//~ ERROR: …`, not `//~ {expected}`"),
        };
        Self { name, text, expected }
    }

    /// What is wrong with what the compiler said.
    fn complaint(&self, output: &Output) -> Option<String> {
        let said = String::from_utf8_lossy(&output.stderr);
        let complaint = match &self.expected {
            Expected::Compiles if output.status.success() => return None,
            Expected::Compiles => "does not compile".to_owned(),
            Expected::Fails(_) if output.status.success() => "compiles, and should not".to_owned(),
            Expected::Fails(words)
                if said.lines().any(|line| line.contains("error") && line.contains(words)) =>
            {
                return None;
            }
            Expected::Fails(words) => format!("fails, but no error says: {words}"),
        };
        Some(format!("tests/ui/{}.rs {complaint}\n{said}", self.name))
    }
}

/// A small package of its own that uses larder as a user does. It is made below the target directory, so that what it
/// has compiled once need not be compiled again.
struct Package(PathBuf);

impl Package {
    fn make(programs: &[Program]) -> io::Result<Self> {
        let larder = Path::new(env!("CARGO_MANIFEST_DIR"));
        let package = Path::new(env!("CARGO_TARGET_TMPDIR")).join("readable_errors");
        let bin = package.join("src/bin");
        if bin.exists() {
            fs::remove_dir_all(&bin)?;
        }
        fs::create_dir_all(&bin)?;
        let manifest = format!(
            "[package]\nname = \"readable_errors\"\nversion = \"0.0.0\"\nedition = \"2024\"\npublish = false\n\n\
             [dependencies]\nasync-trait = \"0.1\"\nlarder = {{ path = '{}' }}\n\n[workspace]\n",
            larder.display()
        );
        fs::write(package.join("Cargo.toml"), manifest)?;
        fs::copy(larder.join("Cargo.lock"), package.join("Cargo.lock"))?;
        for program in programs {
            fs::write(bin.join(&program.name).with_extension("rs"), &program.text)?;
        }
        Ok(Self(package))
    }

    fn check(&self, program: &Program) -> io::Result<Output> {
        Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
            .args(["check", "--offline", "--quiet", "--message-format=short", "--bin", &program.name])
            .current_dir(&self.0)
            .env("CARGO_TARGET_DIR", self.0.join("target"))
            .output()
    }
}

fn programs() -> Vec<Program> {
    let ui = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/ui");
    let files = fs::read_dir(ui).expect("tests/ui is readable");
    let mut paths: Vec<_> = files.map(|file| file.expect("a file of tests/ui is readable").path()).collect();
    paths.sort();
    paths
        .iter()
        .filter(|path| path.extension().is_some_and(|end| end == "rs"))
        .map(|path| Program::read(path))
        .collect()
}

/// Why cargo could not even begin to compile, if that is how it ended.
fn cannot_run(output: &io::Result<Output>) -> Option<String> {
    match output {
        Err(error) => Some(format!("cargo does not start: {error}")),
        Ok(output) if output.status.success() => None,
        Ok(output) => {
            let said = String::from_utf8_lossy(&output.stderr);
            let why = || said.lines().next().unwrap_or("it says nothing").to_owned();
            (!said.contains("could not compile")).then(why)
        }
    }
}

/// Says so where it is seen, past the test harness that keeps what passing tests print.
fn skip(why: &str) {
    assert!(
        std::env::var_os("LARDER_REQUIRE_ALL").is_none_or(|value| value != "1"),
        "cargo check --offline: {why}"
    );
    _ = writeln!(
        io::stderr(),
        "SKIPPED tests/readable_errors.rs: cargo check --offline cannot run here: {why}"
    );
}

#[test]
fn a_type_that_lacks_something_is_told_so_in_one_readable_line() {
    let programs = programs();
    let package = Package::make(&programs).expect("a package can be written below the target directory");
    let is_right = |program: &&Program| matches!(program.expected, Expected::Compiles);
    let control = programs.iter().find(is_right).expect("tests/ui has a program that compiles");
    if let Some(why) = cannot_run(&package.check(control)) {
        return skip(&why);
    }
    let complaints: Vec<_> = programs
        .iter()
        .filter_map(|program| program.complaint(&package.check(program).expect("cargo has started before")))
        .collect();
    assert!(complaints.is_empty(), "\n{}", complaints.join("\n"));
}
