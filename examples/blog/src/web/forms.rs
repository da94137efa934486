//! What visitors type: which fields there are, what may be in them, and what is wrong with what is.

use serde::Deserialize;

use crate::page::Page;
use crate::report::grouped;

/// One thing to type.
#[derive(Debug, PartialEq)]
pub(crate) struct Field {
    pub(crate) name: &'static str,
    pub(crate) label: &'static str,
    /// How many characters it takes.
    pub(crate) most: usize,
    /// How many lines are shown; one is all that a field of one line takes.
    pub(crate) lines: u8,
}

const NAME: Field = Field { name: "name", label: "Your name", most: 60, lines: 1 };
const TEXT: Field = Field { name: "text", label: "Comment", most: 2_000, lines: 6 };
const TITLE: Field = Field { name: "title", label: "Title", most: 200, lines: 1 };
const BODY: Field = Field { name: "body", label: "Text", most: 50_000, lines: 18 };

/// A field with what was typed into it, and what is wrong with that.
#[derive(Debug, PartialEq)]
pub(crate) struct Typed {
    pub(crate) field: &'static Field,
    pub(crate) text: String,
    pub(crate) wrong: Option<String>,
}

/// A field that was not sent is an empty one.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct CommentForm {
    name: String,
    text: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct EditForm {
    title: String,
    body: String,
}

impl CommentForm {
    pub(crate) fn typed(self) -> [Typed; 2] {
        [Typed::new(&NAME, self.name), Typed::new(&TEXT, self.text)]
    }
}

impl EditForm {
    pub(crate) fn of(page: &Page) -> Self {
        Self { title: page.title.clone(), body: page.body.clone() }
    }

    pub(crate) fn typed(self) -> [Typed; 2] {
        [Typed::new(&TITLE, self.title), Typed::new(&BODY, self.body)]
    }
}

/// The texts as they are to be stored, or everything as it was typed, with complaints.
pub(crate) fn check(typed: [Typed; 2]) -> Result<[String; 2], [Typed; 2]> {
    let checked = typed.map(Typed::check);
    if checked.iter().any(|typed| typed.wrong.is_some()) {
        return Err(checked);
    }
    Ok(checked.map(|typed| typed.text))
}

impl Typed {
    fn new(field: &'static Field, text: String) -> Self {
        Self { field, text, wrong: None }
    }

    fn check(self) -> Self {
        let text = tidy(&self.text);
        let wrong = self.field.wrong(&text);
        Self { text, wrong, ..self }
    }
}

impl Field {
    fn wrong(&self, text: &str) -> Option<String> {
        let length = text.chars().count();
        if length == 0 {
            return Some("Please fill this in.".to_owned());
        }
        if length > self.most {
            let (length, most) = (grouped(length), grouped(self.most));
            return Some(format!("This is too long: {length} characters, and at most {most} fit."));
        }
        text.chars()
            .any(|character| self.refuses(character))
            .then(|| "There is an invisible control character in this. Please type it anew.".to_owned())
    }

    fn refuses(&self, character: char) -> bool {
        let layout = self.lines > 1 && matches!(character, '\n' | '\t');
        character.is_control() && !layout
    }
}

/// Browsers end lines with two characters, and people leave blanks at the ends.
fn tidy(text: &str) -> String {
    text.replace("\r\n", "\n").trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn comment(name: &str, text: &str) -> Result<[String; 2], [Typed; 2]> {
        check(CommentForm { name: name.to_owned(), text: text.to_owned() }.typed())
    }

    fn complaints(name: &str, text: &str) -> [String; 2] {
        comment(name, text).unwrap_err().map(|typed| typed.wrong.unwrap_or_default())
    }

    #[test]
    fn what_is_fine_is_tidied() {
        assert_eq!(comment(" Ada ", "one\r\ntwo\n").unwrap(), ["Ada", "one\ntwo"]);
    }

    #[test]
    fn characters_are_counted_and_not_bytes() {
        assert!(comment(&"é".repeat(60), "x").is_ok());
        let [name, text] = complaints(&"é".repeat(61), "x");
        assert!(name.starts_with("This is too long: 61 characters"), "{name}");
        assert_eq!(text, "");
    }

    #[test]
    fn nothing_is_too_little() {
        assert_eq!(complaints(" \r\n ", ""), ["Please fill this in."; 2]);
    }

    #[test]
    fn a_name_has_one_line_and_nothing_has_control_characters() {
        for (name, text) in [("A\nB", "x"), ("A\u{7}", "x"), ("A", "x\0y"), ("A", "x\u{9b}y")] {
            let complaints = complaints(name, text).concat();
            assert!(complaints.contains("control character"), "{name:?} {text:?}: {complaints}");
        }
        assert!(comment("A", "x\n\n\ty").is_ok());
    }

    #[test]
    fn what_was_typed_is_kept() {
        let long = "long ".repeat(1_000);
        let [name, text] = comment("Ada", &long).unwrap_err();
        assert_eq!((name.text.as_str(), text.text.as_str()), ("Ada", long.trim()));
    }
}
