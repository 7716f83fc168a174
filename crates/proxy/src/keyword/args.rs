//! The arguments of a line, taken one by one by the function that builds a
//! keyword. Every refusal is a diagnostic at the word that it is about.

use crate::load::codes;
use language::value::{self, IntegerError, TimeError, TimeUnit, ValueError};
use language::{Code, Diagnostic, Line, Span, Word};

/// What a builder returns: the first mistake of its line that it cannot go on
/// from. Others it hands to the loader and goes on.
pub type Built = Result<(), Box<Diagnostic>>;

/// The largest size that any keyword takes, bytes.
const SIZE_MAX: u64 = 1 << 40;

/// Whether a word can be the name of a section of its own kind.
pub(super) fn section_name(line: &Line, name: &Word) -> Built {
    let bad = |b: &&u8| !(b.is_ascii_alphanumeric() || b"._-:".contains(b));
    let Some(bad) = name.bytes.iter().find(bad) else {
        return Ok(());
    };
    let told = format!(
        "character '{}' is not permitted in '{}' name '{}'",
        char::from(*bad),
        line.words[0].text(),
        name.text()
    );
    Err(Box::new(
        Diagnostic::error(&codes::SECTION_NAME, name.span, told)
            .label("letters, digits, `.`, `_`, `-` and `:` are"),
    ))
}

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
    /// `default` stood before it.
    pub reset: bool,
    /// Warnings about words that were taken all the same.
    told: Vec<Diagnostic>,
}

impl<'l> Args<'l> {
    /// The words of a line from the n-th on.
    pub fn new(line: &'l Line, at: usize, keyword: &'static str, syntax: &'static str) -> Self {
        Args {
            line,
            at,
            keyword,
            syntax,
            negated: false,
            reset: false,
            told: Vec::new(),
        }
    }

    /// The same words for an option within the line.
    pub fn option(&self, keyword: &'static str, syntax: &'static str, words: usize) -> Args<'l> {
        Args::new(self.line, self.at + words, keyword, syntax)
    }

    /// Goes on where the arguments of an option ended.
    pub fn resume(&mut self, option: &Args<'l>) {
        self.at = option.at;
        self.told.extend(option.told.iter().cloned());
    }

    /// Keeps a warning about a word that is taken all the same, until whoever
    /// dispatched the line tells it.
    pub fn tell(&mut self, diagnostic: Diagnostic) {
        self.told.push(diagnostic);
    }

    /// The warnings kept so far.
    pub fn told(&mut self) -> Vec<Diagnostic> {
        std::mem::take(&mut self.told)
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

    /// The last word of the keyword as the file has it, with its argument in parentheses.
    pub fn option_word(&self) -> &'l Word {
        let at = self.at.saturating_sub(1).min(self.line.words.len() - 1);
        &self.line.words[at]
    }

    /// The next word, not taken.
    pub fn peek(&self) -> Option<&'l Word> {
        self.line.word(self.at)
    }

    /// Takes the next word, if there is one.
    #[allow(
        clippy::should_implement_trait,
        reason = "an iterator would borrow the line's end away"
    )]
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
    pub fn wrong(
        &self,
        code: &'static Code,
        word: &Word,
        message: impl Into<String>,
    ) -> Box<Diagnostic> {
        Box::new(Diagnostic::error(code, word.span, message))
    }

    /// What an error of a value comes to: a warning and the value that HAProxy
    /// would have taken, or the end of the line.
    fn settle<E: ValueError>(
        &mut self,
        word: &Word,
        error: &E,
        code: &'static Code,
    ) -> Result<E::Value, Box<Diagnostic>>
    where
        E::Value: Clone,
    {
        let mut diagnostic = error.diagnostic(word.span, &format!("'{}'", self.keyword));
        diagnostic.code = if error.accepted().is_some() {
            &codes::LOOSE_VALUE
        } else {
            code
        };
        if diagnostic.help.is_none() {
            diagnostic = diagnostic.help(format!("write `{}`", self.syntax));
        }
        match error.accepted() {
            Some(value) => {
                self.told.push(diagnostic);
                Ok(value.clone())
            }
            None => Err(Box::new(diagnostic)),
        }
    }

    /// Takes an integer within a range, units last in `what`: `<weight>`.
    pub fn integer(
        &mut self,
        what: &str,
        range: std::ops::RangeInclusive<i64>,
    ) -> Result<i64, Box<Diagnostic>> {
        let word = self.required(what)?;
        value::integer(word.str(), range).or_else(|error| {
            let outside = matches!(error, IntegerError::OutOfRange { .. });
            let code = if outside {
                &codes::OUT_OF_RANGE
            } else {
                &codes::NOT_A_NUMBER
            };
            self.settle(word, &error, code)
        })
    }

    /// Takes an integer that the configuration keeps as 32 bits.
    pub fn count(
        &mut self,
        what: &str,
        range: std::ops::RangeInclusive<u32>,
    ) -> Result<u32, Box<Diagnostic>> {
        let range = i64::from(*range.start())..=i64::from(*range.end());
        self.integer(what, range)
            .map(|n| u32::try_from(n).unwrap_or(u32::MAX))
    }

    /// Takes a time; a bare number counts in `unit`. Milliseconds, at most 2^31-1.
    pub fn time_ms(&mut self, unit: TimeUnit) -> Result<u32, Box<Diagnostic>> {
        let word = self.required("a time")?;
        match value::milliseconds(word.str(), unit) {
            Ok(ms) => Ok(ms),
            Err(error @ TimeError::Trailing { .. }) => {
                let value = self.settle(word, &error, &codes::BAD_TIME)?;
                Ok(u32::try_from(value.as_micros().div_ceil(1000)).unwrap_or(u32::MAX))
            }
            Err(error) => self.settle(word, &error, &codes::BAD_TIME).map(|_| 0),
        }
    }

    /// Takes a size in bytes (`k`, `m`, `g`).
    pub fn size(&mut self, what: &str) -> Result<u64, Box<Diagnostic>> {
        self.size_up_to(what, SIZE_MAX)
    }

    /// Takes a size in bytes (`k`, `m`, `g`) with a bound.
    pub fn size_up_to(&mut self, what: &str, max: u64) -> Result<u64, Box<Diagnostic>> {
        let word = self.required(what)?;
        value::size(word.str(), max).or_else(|error| self.settle(word, &error, &codes::BAD_SIZE))
    }

    /// Warns about words that are left, which HAProxy passes over without a word
    /// behind this keyword.
    pub fn surplus(&mut self) -> Built {
        if let Some(extra) = self.next() {
            let told = format!("'{}' is ignored behind '{}'", extra.text(), self.keyword);
            self.told.push(
                Diagnostic::warning(&codes::SURPLUS, extra.span, told)
                    .label("one word too many")
                    .help(format!(
                        "write `{}`; a space within a word needs quotes",
                        self.syntax
                    )),
            );
            self.rest();
        }
        Ok(())
    }

    /// Says that nothing may follow, if something does.
    pub fn end(&mut self) -> Built {
        match self.next() {
            None => Ok(()),
            Some(extra) => Err(Box::new(
                Diagnostic::error(
                    &codes::TOO_MANY_ARGUMENTS,
                    extra.span,
                    format!(
                        "'{}' cannot handle unexpected argument '{}'",
                        self.keyword,
                        extra.text()
                    ),
                )
                .label("one word too many")
                .help(format!("write `{}`", self.syntax)),
            )),
        }
    }
}
