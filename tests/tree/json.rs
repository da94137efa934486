//! As much JSON as reading `cargo metadata` takes, so that the tests need no crate for it.

use std::iter::Peekable;
use std::str::Chars;

#[derive(Debug, PartialEq)]
pub(crate) enum Json {
    Text(String),
    List(Vec<Self>),
    Map(Vec<(String, Self)>),
    /// A number, `true`, `false` or `null`, as written.
    Plain(String),
}

impl Json {
    /// Reads `text`, which a program wrote: anything but JSON panics.
    pub(crate) fn parse(text: &str) -> Self {
        Parser { rest: text.chars().peekable() }.value()
    }

    /// The value under `key` of a map.
    pub(crate) fn get(&self, key: &str) -> Option<&Self> {
        let Self::Map(members) = self else { return None };
        members.iter().find(|(name, _)| name == key).map(|(_, value)| value)
    }

    /// The names of a map's members.
    pub(crate) fn keys(&self) -> Vec<&str> {
        let Self::Map(members) = self else { return Vec::new() };
        members.iter().map(|(name, _)| name.as_str()).collect()
    }

    pub(crate) fn items(&self) -> &[Self] {
        if let Self::List(items) = self { items } else { &[] }
    }

    pub(crate) fn text(&self) -> Option<&str> {
        if let Self::Text(text) = self { Some(text) } else { None }
    }
}

struct Parser<'a> {
    rest: Peekable<Chars<'a>>,
}

impl Parser<'_> {
    fn value(&mut self) -> Json {
        match self.peek() {
            '"' => Json::Text(self.string()),
            '[' => Json::List(self.between('[', ']', Self::value)),
            '{' => Json::Map(self.between('{', '}', Self::member)),
            _ => Json::Plain(self.plain()),
        }
    }

    fn member(&mut self) -> (String, Json) {
        let name = self.string();
        self.expect(':');
        (name, self.value())
    }

    fn between<T>(&mut self, open: char, close: char, item: fn(&mut Self) -> T) -> Vec<T> {
        let mut items = Vec::new();
        self.expect(open);
        while self.peek() != close {
            items.push(item(self));
            if self.peek() == ',' {
                self.expect(',');
            }
        }
        self.expect(close);
        items
    }

    fn string(&mut self) -> String {
        let mut text = String::new();
        self.expect('"');
        loop {
            match self.next() {
                '"' => return text,
                '\\' => text.push(self.escaped()),
                character => text.push(character),
            }
        }
    }

    fn escaped(&mut self) -> char {
        match self.next() {
            'n' => '\n',
            't' => '\t',
            'r' => '\r',
            'b' => '\u{8}',
            'f' => '\u{c}',
            'u' => {
                let digits: String = (0..4).map(|_| self.next()).collect();
                let code = u32::from_str_radix(&digits, 16).expect("four hexadecimal digits after \\u");
                // Halves of a pair do not occur in what is read here.
                char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER)
            }
            itself => itself,
        }
    }

    fn plain(&mut self) -> String {
        let mut text = String::new();
        while let Some(next) = self.rest.next_if(|next| next.is_ascii_alphanumeric() || "+-.".contains(*next))
        {
            text.push(next);
        }
        assert!(!text.is_empty(), "no JSON value at {:?}", self.peek());
        text
    }

    fn expect(&mut self, expected: char) {
        self.peek();
        assert_eq!(self.next(), expected, "in JSON");
    }

    /// The next character that is no space.
    fn peek(&mut self) -> char {
        while self.rest.next_if(|next| next.is_ascii_whitespace()).is_some() {}
        *self.rest.peek().expect("JSON ends too early")
    }

    fn next(&mut self) -> char {
        self.rest.next().expect("JSON ends too early")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Json {
        Json::Text(text.to_owned())
    }

    #[test]
    fn values_of_every_kind_are_read() {
        let json = Json::parse(r#" { "a" : [ "b", -1.5e+3, null ], "c": {}, "d": [], "e": true } "#);
        let plain = |text: &str| Json::Plain(text.to_owned());
        assert_eq!(
            json.get("a").map(Json::items),
            Some([text("b"), plain("-1.5e+3"), plain("null")].as_slice())
        );
        assert_eq!(json.get("c"), Some(&Json::Map(Vec::new())));
        assert_eq!(json.get("d"), Some(&Json::List(Vec::new())));
        assert_eq!(json.get("e"), Some(&plain("true")));
        assert_eq!(json.get("f"), None);
    }

    #[test]
    fn escapes_are_undone() {
        assert_eq!(Json::parse(r#""a\"b\\\n\u00e9 {[""#), text("a\"b\\\né {["));
    }

    #[test]
    #[should_panic(expected = "JSON ends too early")]
    fn half_a_document_panics() {
        Json::parse(r#"{"a": ["#);
    }
}
