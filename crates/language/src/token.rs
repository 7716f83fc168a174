//! Words and lines: what is left of the bytes once quotes, escapes, variables,
//! comments and line joining are resolved.

use crate::source::Span;
use std::borrow::Cow;

/// One argument of a line.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Word {
    /// Its value after quotes, escapes and variables: any bytes but NUL, and at
    /// least one (an empty word ends its line, and is not part of it).
    pub bytes: Vec<u8>,
    /// Position, including quotes. Words that come from one variable share a span.
    pub span: Span,
}

impl Word {
    /// The value when it is UTF-8, else the empty string (no keyword or number
    /// is other than ASCII, so no comparison can go wrong by it).
    pub fn str(&self) -> &str {
        std::str::from_utf8(&self.bytes).unwrap_or("")
    }

    /// The value as text for people.
    pub fn text(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.bytes)
    }

    /// Returns whether the word equals `other`.
    pub fn is(&self, other: &str) -> bool {
        self.bytes == other.as_bytes()
    }
}

/// One logical line that has at least one word.
#[derive(Clone, Debug)]
pub struct Line {
    /// Its words, never none.
    pub words: Vec<Word>,
    /// From its first word to its last.
    pub span: Span,
    /// Variables without a value that it uses, each once: nothing stands in their
    /// place, which may be what is wrong with it.
    pub unset: Vec<String>,
}

impl Line {
    /// One of these words; None where there are none.
    pub(crate) fn of(words: Vec<Word>, unset: Vec<String>) -> Option<Line> {
        let span = words.first()?.span.to(words.last()?.span);
        Some(Line { words, span, unset })
    }

    /// The n-th word, if there is one.
    pub fn word(&self, n: usize) -> Option<&Word> {
        self.words.get(n)
    }

    /// The place just behind the last word: where something is missing.
    pub fn end(&self) -> Span {
        Span {
            start: self.span.end,
            ..self.span
        }
    }
}
