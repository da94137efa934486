//! What no file of `src` contains: a second clock, unsafe code, printing.

use crate::Source;
use crate::tokens::{self, Token};

/// One sentence for each breach of the habits in `sources`.
pub(crate) fn breaches(sources: &[Source]) -> Vec<String> {
    sources
        .iter()
        .flat_map(|source| [clocks(source), unsafe_code(source), printing(source)].concat())
        .collect()
}

/// Freshness is judged by the clock of `src/time.rs`. tokio's `Instant` is free: deadlines and timers follow it.
fn clocks(source: &Source) -> Vec<String> {
    if source.path == "time.rs" || source.path.starts_with("testing") {
        return Vec::new();
    }
    let bare_is_tokio = imports_tokio_instant(&source.shipped);
    let reads = |before: &[Token], rest: &[Token]| {
        let is_path = before.last().is_some_and(|token| token.is("::"));
        let is_tokio = if is_path { ends_in_tokio_time(before) } else { bare_is_tokio };
        tokens::starts_with(rest, &["SystemTime", "::", "now"])
            || tokens::starts_with(rest, &["Instant", "::", "now"]) && !is_tokio
    };
    sentences(source, &source.shipped, reads, "reads a clock of its own: ask src/time.rs for the time")
}

fn imports_tokio_instant(tokens: &[Token]) -> bool {
    (0..tokens.len()).map(|at| &tokens[at..]).any(|rest| {
        tokens::starts_with(rest, &["use", "tokio", "::"])
            && rest.iter().take_while(|token| !token.is(";")).any(|token| token.is("Instant"))
    })
}

fn ends_in_tokio_time(before: &[Token]) -> bool {
    let path = ["tokio", "::", "time", "::"];
    before.len().checked_sub(path.len()).is_some_and(|start| tokens::starts_with(&before[start..], &path))
}

/// The compiler forbids it too, but only in what is compiled on this machine.
fn unsafe_code(source: &Source) -> Vec<String> {
    sentences(source, &source.all, |_, rest| rest[0].is("unsafe"), "is not for larder: it has no unsafe code")
}

/// A library has no terminal: what happens becomes an event or an error.
fn printing(source: &Source) -> Vec<String> {
    let prints = |_: &[Token], rest: &[Token]| {
        let macros = ["print", "println", "eprint", "eprintln", "dbg"];
        macros.iter().any(|name| tokens::starts_with(rest, &[name, "!"]))
    };
    sentences(source, &source.shipped, prints, "prints: return an error or record an event")
}

/// A sentence for every place in `tokens` of which `breaks(before, from there on)` is true.
fn sentences(
    source: &Source,
    tokens: &[Token],
    breaks: impl Fn(&[Token], &[Token]) -> bool,
    sentence: &str,
) -> Vec<String> {
    let places = (0..tokens.len()).filter(|at| breaks(&tokens[..*at], &tokens[*at..]));
    places
        .map(|at| format!("src/{}:{}: `{}` {sentence}", source.path, tokens[at].line, tokens[at].text))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn breaches_of(path: &str, text: &str) -> Vec<String> {
        breaches(&[Source::new(path, text)])
    }

    #[test]
    fn a_second_clock_is_found() {
        for text in [
            "let a = Instant::now();",
            "std::time::SystemTime::now()",
            "a.map(Instant::now)",
            "use tokio::time::Instant; std::time::Instant::now()",
            "use tokio::time::Instant; SystemTime::now()",
            "use tokio::time::sleep; Instant::now()",
        ] {
            let found = breaches_of("engine/mod.rs", text);
            assert_eq!(found.len(), 1, "in {text:?}");
            assert!(found[0].starts_with("src/engine/mod.rs:1: "), "{found:?}");
        }
    }

    #[test]
    fn the_clock_may_be_read_in_time_rs_testing_and_tests() {
        for path in ["time.rs", "testing/clock.rs", "testing.rs"] {
            assert!(breaches_of(path, "Instant::now()").is_empty(), "in {path}");
        }
        assert!(
            breaches_of("engine/mod.rs", "#[cfg(test)] mod tests { fn a() { Instant::now(); } }").is_empty()
        );
        assert!(
            breaches_of("engine/mod.rs", "// Instant::now()\nclock.now(); \"Instant::now()\"").is_empty()
        );
    }

    #[test]
    fn the_instant_of_tokio_is_not_a_second_clock() {
        for text in [
            "tokio::time::Instant::now()",
            "use tokio::time::Instant; Instant::now()",
            "use tokio::{sync::Notify, time::{Instant, Sleep}}; Instant::now()",
        ] {
            assert_eq!(breaches_of("tier/fenced.rs", text), Vec::<String>::new(), "in {text:?}");
        }
    }

    #[test]
    fn unsafe_code_is_found_also_in_tests() {
        assert_eq!(breaches_of("entry.rs", "unsafe impl Send for A {}").len(), 1);
        assert_eq!(breaches_of("entry.rs", "#[cfg(test)] mod tests { fn a() { unsafe { b() } } }").len(), 1);
        assert!(breaches_of("lib.rs", "#![forbid(unsafe_code)] // unsafe").is_empty());
    }

    #[test]
    fn printing_is_found() {
        for text in ["println!(\"a\")", "eprintln!(\"a\")", "dbg!(a)", "print!(\"a\")", "std::eprint!(\"a\")"]
        {
            assert_eq!(breaches_of("entry.rs", text).len(), 1, "in {text:?}");
        }
        assert!(breaches_of("entry.rs", "/// println!(\"a\")\nwriteln!(f, \"println!\")").is_empty());
    }
}
