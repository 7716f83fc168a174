//! The arguments of a line, taken one by one by the function that builds a
//! keyword. Every refusal is a diagnostic at the word that it is about.

use crate::load::codes;
use language::value;
use language::{Code, Diagnostic, Line, Span, Word};

/// What a builder returns: the first mistake of its line that it cannot go on
/// from. Others it hands to the loader and goes on.
pub type Built = Result<(), Box<Diagnostic>>;

/// The words of a line behind its keyword.
#[derive(Debug)]
pub struct Args<'l> {
    line: &'l Line,
    at: usize,
    /// The keyword, as its row names it.
    pub keyword: &'static str,
    /// The syntax line of its row, for help.
    pub syntax: &'static str,
    /// `no` stood before it.
    pub negated: bool,
}

impl<'l> Args<'l> {
    /// The words of a line from the n-th on.
    pub fn new(line: &'l Line, at: usize, keyword: &'static str, syntax: &'static str) -> Self {
        Args { line, at, keyword, syntax, negated: false }
    }

    /// The same words for an option within the line.
    pub fn option(&self, keyword: &'static str, syntax: &'static str, words: usize) -> Args<'l> {
        Args { line: self.line, at: self.at + words, keyword, syntax, negated: false }
    }

    /// Goes on where the arguments of an option ended.
    pub fn resume(&mut self, option: &Args<'l>) {
        self.at = option.at;
    }

    /// The whole line.
    pub fn line(&self) -> &'l Line {
        self.line
    }

    /// The words of the keyword itself.
    pub fn keyword_span(&self) -> Span {
        let first = self.line.words[0].span;
        match self.at.checked_sub(1).and_then(|n| self.line.word(n)) {
            Some(last) => first.to(last.span),
            None => first,
        }
    }

    /// The next word, not taken.
    pub fn peek(&self) -> Option<&'l Word> {
        self.line.word(self.at)
    }

    /// Takes the next word, if there is one.
    #[allow(clippy::should_implement_trait, reason = "an iterator would borrow the line's end away")]
    pub fn next(&mut self) -> Option<&'l Word> {
        let word = self.line.word(self.at)?;
        self.at += 1;
        Some(word)
    }

    /// Takes the next word if it is this one.
    pub fn take(&mut self, word: &str) -> bool {
        let found = self.peek().is_some_and(|w| w.is(word));
        self.at += usize::from(found);
        found
    }

    /// All words that are left; they count as taken.
    pub fn rest(&mut self) -> &'l [Word] {
        let rest = &self.line.words[self.at.min(self.line.words.len())..];
        self.at = self.line.words.len();
        rest
    }

    /// Words that are left, not taken.
    pub fn left(&self) -> &'l [Word] {
        &self.line.words[self.at.min(self.line.words.len())..]
    }

    /// Takes so many words as taken by somebody else (a condition's parser).
    pub fn skip(&mut self, words: usize) {
        self.at = (self.at + words).min(self.line.words.len());
    }

    /// Takes the next word, or says that `what` (`<timeout>`) is missing.
    pub fn required(&mut self, what: &str) -> Result<&'l Word, Box<Diagnostic>> {
        self.next().ok_or_else(|| {
            Box::new(
                Diagnostic::error(
                    &codes::MISSING_ARGUMENT,
                    self.line.end(),
                    format!("'{}' expects {what}", self.keyword),
                )
                .label(format!("{what} is missing here"))
                .help(format!("write `{}`", self.syntax)),
            )
        })
    }

    /// An error about a word.
    pub fn wrong(&self, code: &'static Code, word: &Word, message: impl Into<String>) -> Box<Diagnostic> {
        Box::new(Diagnostic::error(code, word.span, message))
    }

    /// Takes an integer within a range, units last in `what`: `<weight>`.
    pub fn integer(&mut self, what: &str, range: std::ops::RangeInclusive<i64>) -> Result<i64, Box<Diagnostic>> {
        let word = self.required(what)?;
        match word.str().parse::<i64>() {
            Ok(n) if range.contains(&n) => Ok(n),
            Ok(_) => Err(Box::new(
                Diagnostic::error(
                    &codes::OUT_OF_RANGE,
                    word.span,
                    format!("'{}' wants a number from {} to {}", self.keyword, range.start(), range.end()),
                )
                .label("outside of it"),
            )),
            Err(_) => Err(Box::new(
                Diagnostic::error(
                    &codes::NOT_A_NUMBER,
                    word.span,
                    format!("'{}' expects an integer argument, got '{}'", self.keyword, word.text()),
                )
                .label("not a number")
                .help(format!("write `{}`", self.syntax)),
            )),
        }
    }

    /// Takes a time; a bare number counts in `unit`. Milliseconds, at most 2^31-1.
    pub fn time_ms(&mut self, unit: value::TimeUnit) -> Result<u32, Box<Diagnostic>> {
        let word = self.required("a time")?;
        value::time_ms(word.str(), unit).map_err(|error| {
            Box::new(
                Diagnostic::error(
                    &codes::BAD_TIME,
                    word.span,
                    format!("'{}' in '{}': {error}", word.text(), self.keyword),
                )
                .label("not a time")
                .help("a time is a number with a unit of us, ms, s, m, h or d: 500ms, 30s, 2m"),
            )
        })
    }

    /// Takes a size in bytes (`k`, `m`, `g`).
    pub fn size(&mut self, what: &str) -> Result<u64, Box<Diagnostic>> {
        let word = self.required(what)?;
        value::size(word.str()).map_err(|error| {
            Box::new(
                Diagnostic::error(
                    &codes::BAD_SIZE,
                    word.span,
                    format!("'{}' in '{}': {error}", word.text(), self.keyword),
                )
                .label("not a size")
                .help("a size is a number of bytes, with k, m or g for its multiples: 64k"),
            )
        })
    }

    /// Says that nothing may follow, if something does.
    pub fn end(&mut self) -> Built {
        match self.next() {
            None => Ok(()),
            Some(extra) => Err(Box::new(
                Diagnostic::error(
                    &codes::TOO_MANY_ARGUMENTS,
                    extra.span,
                    format!("'{}' cannot handle unexpected argument '{}'", self.keyword, extra.text()),
                )
                .label("one word too many")
                .help(format!("write `{}`", self.syntax)),
            )),
        }
    }
}
