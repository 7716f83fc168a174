//! Defines the words and lines that remain after quotes, escapes, variables and comments are
//! resolved.

use crate::source::Span;
use std::borrow::Cow;

/// An argument of a line.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ConfigWord {
    /// The value after quotes, escapes and variables: any bytes but NUL, and at least one (an empty
    /// word ends its line and is not part of it).
    pub bytes: Vec<u8>,
    /// Position, including quotes. Words that come from one variable share a span.
    pub span: Span,
}

impl ConfigWord {
    /// Returns the value when it is UTF-8, otherwise the empty string (every keyword and number is
    /// ASCII, so comparisons stay correct).
    pub fn str(&self) -> &str {
        std::str::from_utf8(&self.bytes).unwrap_or("")
    }

    pub fn text(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.bytes)
    }

    pub fn is(&self, other: &str) -> bool {
        self.bytes == other.as_bytes()
    }
}

/// A logical line with at least one word.
#[derive(Clone, Debug)]
pub struct ConfigLine {
    /// The words of the line, never empty.
    pub words: Vec<ConfigWord>,
    pub span: Span,
    /// Unset variables that the line uses, each once: they expand to nothing, which may be the
    /// cause of an error.
    pub unset: Vec<String>,
}

impl ConfigLine {
    /// Creates a line from these words; returns `None` without words.
    pub(crate) fn of(words: Vec<ConfigWord>, unset: Vec<String>) -> Option<ConfigLine> {
        let span = words.first()?.span.to(words.last()?.span);
        Some(ConfigLine { words, span, unset })
    }

    pub fn word(&self, n: usize) -> Option<&ConfigWord> {
        self.words.get(n)
    }

    /// Returns the position after the last word, for errors about missing words.
    pub fn end(&self) -> Span {
        Span {
            start: self.span.end,
            ..self.span
        }
    }
}
