//! Rust source as a list of tokens: names and marks with their lines, without comments, strings,
//! characters and numbers. It knows no more of the language than the house rules need.

/// A name, or one mark of punctuation (`::` is one mark).
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Token {
    pub(crate) line: usize,
    pub(crate) text: String,
}

impl Token {
    pub(crate) fn is(&self, text: &str) -> bool {
        self.text == text
    }
}

/// The tokens of `source`.
pub(crate) fn of(source: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut rest = source;
    let mut line = 1;
    while let Some(first) = rest.chars().next() {
        let (length, kept) = match passage_length(rest) {
            Some(length) => (length, false),
            None if is_word(first) => (word_length(rest), !first.is_ascii_digit()),
            None if rest.starts_with("::") => (2, true),
            None => (first.len_utf8(), !first.is_whitespace()),
        };
        let (piece, after) = rest.split_at(length);
        if kept {
            tokens.push(Token { line, text: piece.to_owned() });
        }
        line += piece.matches('\n').count();
        rest = after;
    }
    tokens
}

/// Whether `tokens` begins with `texts`.
pub(crate) fn starts_with(tokens: &[Token], texts: &[&str]) -> bool {
    tokens.len() >= texts.len() && tokens.iter().zip(texts).all(|(token, text)| token.is(text))
}

/// `tokens` less every item under `#[cfg(test)]` or `#[cfg(all(test, …))]`.
pub(crate) fn without_tests(tokens: &[Token]) -> Vec<Token> {
    let mut kept = Vec::new();
    let mut rest = tokens;
    while let Some((first, after)) = rest.split_first() {
        if is_test_attribute(rest) {
            rest = &rest[item_length(rest)..];
        } else {
            kept.push(first.clone());
            rest = after;
        }
    }
    kept
}

fn is_test_attribute(tokens: &[Token]) -> bool {
    starts_with(tokens, &["#", "[", "cfg", "(", "test", ")"])
        || starts_with(tokens, &["#", "[", "cfg", "(", "all", "(", "test"])
}

/// The length of an item with its attributes, up to the `;` or the block that ends it.
fn item_length(tokens: &[Token]) -> usize {
    let mut depth = 0_usize;
    for (at, token) in tokens.iter().enumerate() {
        match token.text.as_str() {
            "(" | "[" | "{" => depth += 1,
            // The end of what the item stands in, as for the last field of a struct.
            ")" | "]" | "}" if depth == 0 => return at,
            ")" | "]" | "}" => depth -= 1,
            _ => {}
        }
        let goes_on = tokens.get(at + 1).is_some_and(|next| next.is(";"));
        if depth == 0 && (token.is(";") || token.is("}") && !goes_on) {
            return at + 1;
        }
    }
    tokens.len()
}

fn is_word(character: char) -> bool {
    character.is_alphanumeric() || character == '_'
}

fn word_length(rest: &str) -> usize {
    rest.find(|character| !is_word(character)).unwrap_or(rest.len())
}

/// The length of the comment, string or character that `rest` begins with, if it begins with one.
fn passage_length(rest: &str) -> Option<usize> {
    if rest.starts_with("//") {
        Some(rest.find('\n').unwrap_or(rest.len()))
    } else if rest.starts_with("/*") {
        Some(block_comment_length(rest))
    } else {
        string_length(rest).or_else(|| character_length(rest))
    }
}

fn block_comment_length(rest: &str) -> usize {
    let mut depth = 0;
    let mut at = 0;
    while at < rest.len() {
        let (step, change) = match rest.get(at..at + 2) {
            Some("/*") => (2, 1),
            Some("*/") => (2, -1),
            _ => (1, 0),
        };
        at += step;
        depth += change;
        if depth == 0 {
            return at;
        }
    }
    rest.len()
}

/// Plain, byte, C and raw strings: `"…"`, `b"…"`, `c"…"`, `r"…"`, `br#"…"#`.
fn string_length(rest: &str) -> Option<usize> {
    let prefix = rest.len() - rest.trim_start_matches(['b', 'c', 'r']).len();
    let raw = rest[..prefix].contains('r');
    let hashes = if raw { rest[prefix..].len() - rest[prefix..].trim_start_matches('#').len() } else { 0 };
    let start = prefix + hashes + 1;
    let body = rest[prefix + hashes..].strip_prefix('"')?;
    let length = if raw {
        let end = format!("\"{}", "#".repeat(hashes));
        body.find(&end).map(|at| at + end.len())
    } else {
        closing_quote(body, '"')
    };
    Some(length.map_or(rest.len(), |length| start + length))
}

/// A character has a closing quote, a lifetime has none.
fn character_length(rest: &str) -> Option<usize> {
    let body = rest.strip_prefix('\'')?;
    let first = body.chars().next()?;
    if first == '\\' {
        return closing_quote(body, '\'').map(|length| 1 + length);
    }
    body[first.len_utf8()..].starts_with('\'').then(|| first.len_utf8() + 2)
}

/// The length of `body` up to and with the first `quote` that no backslash escapes.
fn closing_quote(body: &str, quote: char) -> Option<usize> {
    let mut escaped = false;
    for (at, character) in body.char_indices() {
        match character {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            _ if character == quote => return Some(at + 1),
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(tokens: &[Token]) -> Vec<&str> {
        tokens.iter().map(|token| token.text.as_str()).collect()
    }

    #[track_caller]
    fn assert_tokens(source: &str, expected: &[&str]) {
        assert_eq!(texts(&of(source)), expected, "of {source:?}");
    }

    #[test]
    fn names_and_marks_are_tokens_and_numbers_are_not() {
        assert_tokens("use crate::a_1::B;", &["use", "crate", "::", "a_1", "::", "B", ";"]);
        assert_tokens("x.0 + 0xff_u8", &["x", ".", "+"]);
    }

    #[test]
    fn comments_are_left_out() {
        assert_tokens("a // crate::b\nc", &["a", "c"]);
        assert_tokens("/// crate::a\n//! b\nc", &["c"]);
        assert_tokens("a /* b /* c */ d */ e", &["a", "e"]);
        assert_tokens("a /* é never closed", &["a"]);
    }

    #[test]
    fn strings_are_left_out() {
        for string in [r#""b""#, r#""b\"c""#, r#"b"b""#, r#"c"b""#, r##"r"b\""##, r##"br#"b"c"#"##, r#""//""#]
        {
            assert_tokens(&format!("a {string} z"), &["a", "z"]);
        }
        assert_tokens("a \"never closed", &["a"]);
    }

    #[test]
    fn characters_are_left_out_and_lifetimes_hide_nothing() {
        for character in ["'b'", "'\"'", r"'\''", r"'\\'", r"'\u{62}'", "'é'"] {
            assert_tokens(&format!("a({character}) z"), &["a", "(", ")", "z"]);
        }
        assert_tokens("&'a str, &'static B", &["&", "'", "a", "str", ",", "&", "'", "static", "B"]);
    }

    #[test]
    fn a_token_knows_its_line() {
        let tokens = of("a\n/* two\nlines */ b \"and\nthree\" c");
        let lines: Vec<_> = tokens.iter().map(|token| token.line).collect();
        assert_eq!(lines, [1, 3, 4]);
    }

    #[test]
    fn items_of_tests_are_taken_out() {
        for tests in [
            "#[cfg(test)] mod tests { fn b() { c; } }",
            "#[cfg(test)] mod tests;",
            "#[cfg(test)] use b::{c, d};",
            "#[cfg(test)] #[allow(b)] fn c(d: [u8; 2]) {}",
            "#[cfg(test)] const B: C = C { d: [0; 2] };",
            "#[cfg(all(test, feature = \"b\"))] mod tests {}",
        ] {
            let tokens = of(&format!("a; {tests} z;"));
            assert_eq!(texts(&without_tests(&tokens)), ["a", ";", "z", ";"], "with {tests}");
        }
    }

    #[test]
    fn a_field_of_tests_ends_with_its_struct() {
        let tokens = of("struct A { #[cfg(test)] b: C } z");
        assert_eq!(texts(&without_tests(&tokens)), ["struct", "A", "{", "}", "z"]);
    }

    #[test]
    fn what_is_also_built_without_tests_stays() {
        for source in ["#[cfg(not(test))] mod a {}", "#[cfg(any(test, feature = \"a\"))] mod b {}"] {
            assert_eq!(without_tests(&of(source)), of(source));
        }
    }
}
