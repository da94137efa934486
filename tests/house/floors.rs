//! The floors: a file imports only from modules on lower floors, or from its own.

use crate::Source;
use crate::tokens::Token;

/// Every top-level module of `src` with its floor. `lib.rs` stands on the top floor and re-exports.
const FLOORS: &[(&str, u8)] = &[
    ("bounds", 0),
    ("consistency", 0),
    ("error", 0),
    ("sync", 0),
    ("time", 0),
    ("coherence", 1),
    ("entry", 1),
    ("lifetime", 1),
    ("receipt", 1),
    ("event", 1),
    ("tenant", 1),
    ("change", 1),
    ("stream", 1),
    ("tier", 2),
    ("store", 2),
    ("codec", 2),
    ("journal", 2),
    ("levels", 3),
    ("engine", 4),
    ("strategy", 5),
    ("cache", 6),
    ("testing", 7),
    ("guide", 7),
];

/// A module of the same floor that another may import, and why: `(importer, imported, reason)`.
pub(crate) type Neighbour = (&'static str, &'static str, &'static str);

/// The exceptions to the floors. Few is best.
pub(crate) const NEIGHBOURS: &[Neighbour] = &[
    ("entry", "coherence", "an entry carries the mark by which others can take it back"),
    ("lifetime", "entry", "a lifetime dates the entries it is asked about"),
    ("stream", "change", "what is in a stream is numbered as pending writes are"),
    ("tier", "codec", "a tier outside this process keeps keys and values as bytes"),
    ("journal", "codec", "a journal that outlives the process keeps values as bytes"),
    ("journal", "tier", "a journal in Redis goes over the same connections as a tier there"),
    ("store", "journal", "write-behind is a store, and what waits for it is in a journal"),
];

/// One sentence for each breach of the floors in `sources`.
pub(crate) fn breaches(sources: &[Source], neighbours: &[Neighbour]) -> Vec<String> {
    let mut found = Vec::new();
    let mut used = Vec::new();
    for source in sources {
        let Some(own) = top_module(&source.path) else { continue };
        let Some(floor) = floor_of(&own) else {
            found.push(format!(
                "src/{}: the module `{own}` has no floor: give it one in tests/house/floors.rs",
                source.path
            ));
            continue;
        };
        for import in imports(source) {
            if let Some(neighbour) =
                neighbours.iter().find(|(from, to, _)| *from == own && *to == import.module)
            {
                used.push(neighbour);
            } else if import.module != own {
                found.extend(breach(source, &own, floor, &import));
            }
        }
    }
    for unused in neighbours.iter().filter(|neighbour| !used.contains(neighbour)) {
        found.push(format!("`{}` no longer imports `{}`: take the exception out", unused.0, unused.1));
    }
    found
}

fn breach(source: &Source, own: &str, floor: u8, import: &Import) -> Option<String> {
    let Import { line, module } = import;
    let place = format!("src/{}:{line}: `crate::{module}`", source.path);
    match floor_of(module) {
        Some(below) if below < floor => None,
        Some(other) => Some(format!(
            "{place} is on floor {other}, but `{own}` is on floor {floor} and imports only from lower floors"
        )),
        None => Some(format!(
            "{place} is found only through lib.rs on floor 7, but `{own}` is on floor {floor}: name the module it lives in"
        )),
    }
}

fn floor_of(module: &str) -> Option<u8> {
    FLOORS.iter().find(|(name, _)| *name == module).map(|(_, floor)| *floor)
}

/// The top-level module that the file at `path` belongs to; `lib.rs` belongs to none.
fn top_module(path: &str) -> Option<String> {
    module_path(path).into_iter().next()
}

/// `tier/redis/mod.rs` is `tier::redis`, `tier/memory.rs` is `tier::memory`, `lib.rs` is the root.
fn module_path(path: &str) -> Vec<String> {
    let path = path.trim_end_matches(".rs").trim_end_matches("/mod");
    if path == "lib" { Vec::new() } else { path.split('/').map(str::to_owned).collect() }
}

/// A name taken from the root of the crate.
#[derive(Debug, PartialEq)]
struct Import {
    line: usize,
    module: String,
}

/// Every `crate::…`, and every `super::…` that climbs to the root, in what `source` ships.
fn imports(source: &Source) -> Vec<Import> {
    let tokens = &source.shipped;
    let mut place = Place::of_file(&source.path);
    let mut found = Vec::new();
    for (at, token) in tokens.iter().enumerate() {
        place.pass(&tokens[at..]);
        if matches!(token.text.as_str(), "crate" | "self" | "super") {
            follow(&tokens[at..], place.module.clone(), &mut found);
        }
    }
    found
}

/// The module that a token stands in: the file's own, or one written inside it.
struct Place {
    module: Vec<String>,
    depth: usize,
    /// The depths at which the inner modules were opened.
    opened: Vec<usize>,
}

impl Place {
    fn of_file(path: &str) -> Self {
        Self { module: module_path(path), depth: 0, opened: Vec::new() }
    }

    fn pass(&mut self, tokens: &[Token]) {
        if let [keyword, name, open, ..] = tokens
            && keyword.is("mod")
            && open.is("{")
        {
            self.module.push(name.text.clone());
            self.opened.push(self.depth);
        }
        if tokens[0].is("{") {
            self.depth += 1;
        } else if tokens[0].is("}") {
            self.depth = self.depth.saturating_sub(1);
            if self.opened.last() == Some(&self.depth) {
                self.opened.pop();
                self.module.pop();
            }
        }
    }
}

/// Follows the path at the start of `tokens`, written in `module`, to the name it takes from the root.
fn follow(mut tokens: &[Token], mut module: Vec<String>, found: &mut Vec<Import>) {
    while let [step, separator, rest @ ..] = tokens
        && separator.is("::")
        && matches!(step.text.as_str(), "crate" | "self" | "super")
    {
        match step.text.as_str() {
            "crate" => module.clear(),
            "super" => drop(module.pop()),
            _ => {}
        }
        tokens = rest;
        if module.is_empty() {
            found.extend(first_names(tokens));
            return;
        }
    }
}

/// The name at the start of `tokens`, or the first names of all members of the group there.
fn first_names(tokens: &[Token]) -> Vec<Import> {
    let import = |token: &Token| Import { line: token.line, module: token.text.clone() };
    let Some((first, members)) = tokens.split_first() else { return Vec::new() };
    if !first.is("{") {
        return vec![import(first)];
    }
    let mut names = Vec::new();
    let mut depth = 0_usize;
    let mut starts = true;
    for token in members {
        match token.text.as_str() {
            "}" if depth == 0 => break,
            "}" => depth -= 1,
            "," if depth == 0 => starts = true,
            "{" => depth += 1,
            _ if starts => {
                names.push(import(token));
                starts = false;
            }
            _ => {}
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    fn breaches_of(path: &str, text: &str) -> Vec<String> {
        breaches(&[Source::new(path, text)], &[])
    }

    #[track_caller]
    fn assert_breach(path: &str, text: &str, expected: &[&str]) {
        let found = breaches_of(path, text);
        let [sentence] = found.as_slice() else { panic!("one breach expected in {text:?}, found {found:?}") };
        for part in expected {
            assert!(sentence.contains(part), "{sentence:?} does not name {part:?}");
        }
    }

    #[track_caller]
    fn assert_allowed(path: &str, text: &str) {
        assert_eq!(breaches_of(path, text), Vec::<String>::new(), "in {text:?}");
    }

    #[test]
    fn lower_floors_and_the_own_module_are_allowed() {
        assert_allowed("tier/memory.rs", "use crate::{bounds::Key, entry::{Entry, Age}};");
        assert_allowed(
            "tier/memory.rs",
            "use crate::tier::Lease; use super::{Tier, fenced}; use self::a::B;",
        );
        assert_allowed(
            "engine/mod.rs",
            "pub(crate) fn a() { crate::levels::find() } pub(in crate::engine) struct B;",
        );
    }

    #[test]
    fn an_upward_import_names_file_line_import_and_both_floors() {
        assert_breach(
            "tier/memory.rs",
            "use std::fmt;\nuse crate::engine::Engine;",
            &["src/tier/memory.rs:2", "`crate::engine`", "floor 4", "`tier`", "floor 2"],
        );
    }

    #[test]
    fn a_neighbour_on_the_same_floor_is_a_breach() {
        assert_breach("codec/mod.rs", "use crate::tier::Tier;", &["`crate::tier`", "`codec`", "floor 2"]);
    }

    #[test]
    fn a_group_is_read_member_by_member() {
        assert_breach(
            "levels/level.rs",
            "use crate::{\n  entry::{Entry, cache},\n  strategy::{Read},\n};",
            &[":3", "`crate::strategy`"],
        );
        assert_breach("levels/level.rs", "use crate::{error::Error, cache};", &["`crate::cache`"]);
        assert_breach(
            "levels/level.rs",
            "use std::{fmt, mem}; use {std::io, crate::cache::Cache};",
            &["`crate::cache`"],
        );
    }

    #[test]
    fn a_path_in_the_code_counts_as_an_import() {
        assert_breach(
            "entry.rs",
            "fn a() -> u8 {\n    crate::cache::b()\n}",
            &["src/entry.rs:2", "`crate::cache`"],
        );
        assert_breach("entry.rs", "impl From<crate::tier::Lease> for A {}", &["`crate::tier`"]);
        assert_breach("entry.rs", "macro_rules! a { () => { $crate::store::B } }", &["`crate::store`"]);
        assert_breach("entry.rs", "#[cfg(not(test))] use crate::store::B;", &["`crate::store`"]);
    }

    #[test]
    fn climbing_by_super_counts_as_an_import() {
        assert_breach("entry.rs", "use super::tier::Tier;", &["`crate::tier`"]);
        assert_breach("tier/memory.rs", "use super::super::engine;", &["`crate::engine`"]);
        assert_breach("tier/mod.rs", "mod a { use super::super::engine::B; }", &["`crate::engine`"]);
        assert_breach("tier/mod.rs", "mod a { fn b() {} } use super::engine::C;", &["`crate::engine`"]);
        assert_allowed("tier/mod.rs", "mod engine {} mod a { use super::engine::B; } mod b { fn c() {} }");
    }

    #[test]
    fn a_name_that_lib_rs_re_exports_is_a_breach() {
        assert_breach("strategy/mod.rs", "use crate::Error;", &["`crate::Error`", "lib.rs", "floor 5"]);
        assert_breach("strategy/mod.rs", "use crate::*;", &["`crate::*`", "lib.rs"]);
    }

    #[test]
    fn lib_rs_may_name_everything() {
        assert_allowed("lib.rs", "pub use crate::cache::Cache; pub use testing::Fake;");
    }

    #[test]
    fn comments_strings_and_tests_are_not_imports() {
        assert_allowed(
            "entry.rs",
            "/// See [`crate::cache`].\n//! use crate::cache;\n/* crate::cache */ // crate::cache",
        );
        assert_allowed(
            "entry.rs",
            r##"const A: &str = "crate::cache"; const B: &str = r#"crate::"cache"#;"##,
        );
        assert_allowed("entry.rs", "#[cfg(test)]\nmod tests { use crate::{cache::A, testing}; }");
    }

    #[test]
    fn a_module_without_a_floor_is_asked_to_take_one() {
        assert_breach("attic/mod.rs", "", &["src/attic/mod.rs", "`attic` has no floor"]);
        assert_breach("attic.rs", "", &["src/attic.rs", "`attic` has no floor"]);
    }

    #[test]
    fn a_neighbour_with_a_reason_is_let_through_and_no_other() {
        let exception = ("codec", "tier", "a codec tells its tier what to drop");
        let source = Source::new("codec/mod.rs", "use crate::tier::Tier;");
        assert!(breaches(&[source], &[exception]).is_empty());

        let other = Source::new("codec/mod.rs", "use crate::tier::Tier; use crate::store::Store;");
        assert_eq!(breaches(&[other], &[exception]).len(), 1);
    }

    #[test]
    fn an_exception_that_nobody_needs_is_a_breach() {
        let found = breaches(&[Source::new("codec/mod.rs", "")], &[("codec", "tier", "")]);
        assert_eq!(found, ["`codec` no longer imports `tier`: take the exception out"]);
    }
}
