//! HTML in the making.

use crate::render::escape;

/// Takes markup from this program's source only; whatever comes from anywhere else is escaped.
#[derive(Default)]
pub(crate) struct Markup(String);

impl Markup {
    pub(crate) fn raw(&mut self, markup: &'static str) -> &mut Self {
        self.0.push_str(markup);
        self
    }

    pub(crate) fn text(&mut self, text: &str) -> &mut Self {
        escape(text, &mut self.0);
        self
    }

    pub(crate) fn number(&mut self, number: impl Into<i64>) -> &mut Self {
        self.0.push_str(&number.into().to_string());
        self
    }

    /// What another renderer writes.
    pub(crate) fn rendered(&mut self, render: impl FnOnce(&mut String)) -> &mut Self {
        render(&mut self.0);
        self
    }

    pub(crate) fn into_string(self) -> String {
        self.0
    }
}
