//! Takes the arguments of a configuration line one by one, for the function that builds a
//! keyword. Every refusal is a diagnostic at the word that caused it.
//!
//! The crate that defines the keywords supplies the codes of these refusals ([`ArgumentCodes`]).
//! Values that only one crate's keywords accept are parsed in that crate.

use crate::value::{self, IntegerError, TimeError, TimeUnit, ValueError};
use crate::{Code, ConfigLine, ConfigWord, Diagnostic, Severity, Span};
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::time::Duration;

/// The result of a builder: the first error of its line that it cannot recover from. It
/// reports others with `Args::add_warning` and continues.
pub type Built = Result<(), Diagnostic>;

/// Maximum size that any keyword accepts, in bytes.
const SIZE_MAX: u64 = 1 << 40;
const SHOWN_LETTERS: usize = 200;

/// The codes that explain refusals of one crate's keywords.
#[derive(Clone, Copy, Debug)]
pub struct ArgumentCodes {
    pub missing: &'static Code,
    pub surplus: &'static Code,
    pub number: &'static Code,
    pub range: &'static Code,
    pub time: &'static Code,
    pub size: &'static Code,
    pub value: &'static Code,
    /// Codes for words that HAProxy accepts against its manual; with these codes the keywords
    /// accept them, too.
    pub lenient: Option<LenientCodes>,
}

impl ArgumentCodes {
    /// Returns the codes of keywords that distinguish only two errors: the number of words, and an
    /// invalid word.
    pub const fn plain(number: &'static Code, word: &'static Code) -> ArgumentCodes {
        ArgumentCodes {
            missing: number,
            surplus: number,
            number: word,
            range: word,
            time: word,
            size: word,
            value: word,
            lenient: None,
        }
    }
}

/// The codes of warnings about invalid words that are accepted.
#[derive(Clone, Copy, Debug)]
pub struct LenientCodes {
    pub value: &'static Code,
    pub surplus: &'static Code,
}

/// Returns the name of a section, if all its characters are valid.
///
/// # Errors
/// The name contains an invalid character.
pub fn section_name<'w>(
    section: &str,
    name: &'w ConfigWord,
    code: &'static Code,
) -> Result<&'w str, Diagnostic> {
    let bad = |one: &char| !(one.is_ascii_alphanumeric() || "._-:".contains(*one));
    let text = name.text();
    // Refuses invalid UTF-8, too, which appears as the replacement character.
    let Some(bad) = text.chars().find(bad) else {
        return Ok(name.str());
    };
    let told = format!("character '{bad}' is not permitted in '{section}' name '{text}'");
    Err(Diagnostic::error(code, name.span, told)
        .label("letters, digits, `.`, `_`, `-` and `:` are"))
}

/// The words of a line after its keyword.
#[derive(Debug)]
pub struct Args<'l> {
    line: &'l ConfigLine,
    at: usize,
    pub keyword: &'static str,
    pub syntax: &'static str,
    /// Example of the keyword's row, for help texts about a value; empty without an example.
    pub example: &'static str,
    pub negated: bool,
    pub reset: bool,
    codes: &'static ArgumentCodes,
    warnings: Vec<Diagnostic>,
}

impl<'l> Args<'l> {
    /// Creates the arguments from the words of a line, starting at the n-th.
    pub fn new(
        line: &'l ConfigLine,
        at: usize,
        keyword: &'static str,
        syntax: &'static str,
        codes: &'static ArgumentCodes,
    ) -> Self {
        Args {
            line,
            at,
            keyword,
            syntax,
            example: "",
            negated: false,
            reset: false,
            codes,
            warnings: Vec::new(),
        }
    }

    /// Returns the arguments of an option within the line, under the name of the option.
    pub fn option(&self, keyword: &'static str, syntax: &'static str, words: usize) -> Args<'l> {
        Args::new(self.line, self.at + words, keyword, syntax, self.codes)
    }

    pub fn resume(&mut self, option: &Args<'l>) {
        self.at = option.at;
        self.warnings.extend(option.warnings.iter().cloned());
    }

    /// Stores a warning about an accepted word, until the caller that dispatched the line collects
    /// it.
    pub fn add_warning(&mut self, diagnostic: Diagnostic) {
        self.warnings.push(diagnostic);
    }

    pub fn take_warnings(&mut self) -> Vec<Diagnostic> {
        std::mem::take(&mut self.warnings)
    }

    pub fn line(&self) -> &'l ConfigLine {
        self.line
    }

    /// Returns the span from the first word of the line to the last one taken.
    pub fn keyword_span(&self) -> Span {
        let first = self.line.words[0].span;
        match self.at.checked_sub(1).and_then(|n| self.line.word(n)) {
            Some(last) => first.to(last.span),
            None => first,
        }
    }

    /// Returns the last word of the keyword as written in the file, with its argument in
    /// parentheses.
    pub fn option_word(&self) -> &'l ConfigWord {
        let at = self.at.saturating_sub(1).min(self.line.words.len() - 1);
        &self.line.words[at]
    }

    pub fn peek(&self) -> Option<&'l ConfigWord> {
        self.line.word(self.at)
    }

    #[allow(
        clippy::should_implement_trait,
        reason = "an iterator would borrow the line's end away"
    )]
    pub fn next(&mut self) -> Option<&'l ConfigWord> {
        let word = self.line.word(self.at)?;
        self.at += 1;
        Some(word)
    }

    pub fn take_if(&mut self, word: &str) -> bool {
        let found = self.peek().is_some_and(|w| w.is(word));
        self.at += usize::from(found);
        found
    }

    pub fn rest(&mut self) -> &'l [ConfigWord] {
        let rest = self.remaining_words();
        self.at = self.line.words.len();
        rest
    }

    pub fn remaining_words(&self) -> &'l [ConfigWord] {
        &self.line.words[self.at.min(self.line.words.len())..]
    }

    /// Skips words that another parser (of a condition) has read.
    pub fn skip(&mut self, words: usize) {
        self.at = (self.at + words).min(self.line.words.len());
    }

    fn syntax_help(&self) -> String {
        format!("write `{}`", self.syntax)
    }

    /// Returns an example of the line, because the syntax does not show which values are valid.
    fn value_help(&self) -> String {
        match self.example {
            "" => self.syntax_help(),
            example if example.contains('\n') => self.syntax_help(),
            example => format!("for example `{example}`"),
        }
    }

    /// Takes the next word; an error reports `what` (`<timeout>`) as missing.
    ///
    /// # Errors
    /// Fails if no word is left.
    pub fn required(&mut self, what: &str) -> Result<&'l ConfigWord, Diagnostic> {
        self.next().ok_or_else(|| {
            let told = format!("'{}' expects {what}", self.keyword);
            let told = self.refused(self.codes.missing, self.line.end(), told);
            let verb = if what.contains(" and ") { "are" } else { "is" };
            told.label(format!("{what} {verb} missing here"))
        })
    }

    pub fn word_error(
        &self,
        code: &'static Code,
        word: &ConfigWord,
        message: impl Into<String>,
    ) -> Diagnostic {
        Diagnostic::error(code, word.span, message)
    }

    /// Returns an error with the syntax of the line as its help.
    pub fn refused(&self, code: &'static Code, span: Span, told: String) -> Diagnostic {
        Diagnostic::error(code, span, told).help(self.syntax_help())
    }

    /// Returns an error about a value, with the example of the line as its help.
    pub fn refused_value(&self, code: &'static Code, span: Span, told: String) -> Diagnostic {
        Diagnostic::error(code, span, told).help(self.value_help())
    }

    /// Returns an error about a value whose message begins with the keyword.
    pub fn value_error(&self, code: &'static Code, span: Span, what: &str) -> Diagnostic {
        self.refused_value(code, span, format!("'{}': {what}", self.keyword))
    }

    /// Returns the error for a keyword that the section has already.
    pub fn duplicate_keyword(&self, code: &'static Code, first: Span) -> Diagnostic {
        let told = format!("'{}' may appear only once in a section", self.keyword);
        Diagnostic::error(code, self.line.span, told).duplicate_of(first)
    }

    pub fn unexpected_value(&self, word: &ConfigWord, what: &str) -> Diagnostic {
        let mut text = word.text().to_string();
        if let Some((at, _)) = text.char_indices().nth(SHOWN_LETTERS) {
            text.truncate(at);
            text.push_str("...");
        }
        let told = format!("'{text}' is {what}");
        self.value_error(self.codes.value, word.span, &told)
    }

    /// Handles the error of a value. In a lenient language the error becomes a warning, and the
    /// value is the one that HAProxy uses; otherwise the line is refused.
    fn accept_or_warn<E: ValueError>(
        &mut self,
        word: &ConfigWord,
        error: &E,
        code: &'static Code,
    ) -> Result<E::Value, Diagnostic>
    where
        E::Value: Clone,
    {
        let mut diagnostic = error.diagnostic(word.span, &format!("'{}'", self.keyword));
        if diagnostic.help.is_none() {
            diagnostic = diagnostic.help(self.value_help());
        }
        match (error.accepted(), self.codes.lenient) {
            (Some(value), Some(lenient)) => {
                diagnostic.code = lenient.value;
                self.warnings.push(diagnostic);
                Ok(value.clone())
            }
            _ => {
                diagnostic.code = code;
                diagnostic.severity = Severity::Error;
                Err(diagnostic)
            }
        }
    }

    /// Takes an address without a prefix.
    ///
    /// # Errors
    /// The word is missing, or not an IP address.
    pub fn address(&mut self) -> Result<(IpAddr, Span), Diagnostic> {
        let word = self.required("an address")?;
        match word.str().parse() {
            Ok(address) => Ok((address, word.span)),
            Err(_) => Err(self.unexpected_value(word, "not an IP address")),
        }
    }

    /// Takes an integer within a range. `what` is its name with the unit: `<megabytes>`.
    ///
    /// # Errors
    /// The word is missing, not a number, or out of range.
    pub fn integer(&mut self, what: &str, range: RangeInclusive<i64>) -> Result<i64, Diagnostic> {
        let word = self.required(what)?;
        value::integer(word.str(), range).or_else(|error| {
            let code = match error {
                IntegerError::OutOfRange { .. } => self.codes.range,
                _ => self.codes.number,
            };
            self.accept_or_warn(word, &error, code)
        })
    }

    /// Takes an integer that the configuration stores in 32 bits.
    ///
    /// # Errors
    /// The same as those of [`Args::integer`].
    pub fn count(&mut self, what: &str, range: RangeInclusive<u32>) -> Result<u32, Diagnostic> {
        let range = i64::from(*range.start())..=i64::from(*range.end());
        self.integer(what, range)
            .map(|n| u32::try_from(n).unwrap_or(u32::MAX))
    }

    /// Takes a time; `unit` applies to a number without a unit.
    ///
    /// # Errors
    /// The word is missing, not a time, or too large.
    pub fn time(&mut self, unit: TimeUnit) -> Result<(Duration, Span), Diagnostic> {
        let word = self.required("a time")?;
        let time = value::time(word.str(), unit)
            .or_else(|error| self.accept_or_warn(word, &error, self.codes.time))?;
        Ok((time, word.span))
    }

    /// Takes a time in milliseconds, at most 2^31-1; `unit` applies to a number without a unit.
    ///
    /// # Errors
    /// The word is missing, not a time, or too large.
    pub fn time_ms(&mut self, unit: TimeUnit) -> Result<u32, Diagnostic> {
        let word = self.required("a time")?;
        match value::milliseconds(word.str(), unit) {
            Ok(ms) => Ok(ms),
            Err(error @ TimeError::Trailing { .. }) => {
                let value = self.accept_or_warn(word, &error, self.codes.time)?;
                Ok(u32::try_from(value.as_micros().div_ceil(1000)).unwrap_or(u32::MAX))
            }
            Err(error) => self
                .accept_or_warn(word, &error, self.codes.time)
                .map(|_| 0),
        }
    }

    /// Takes a time in seconds, rounded up; a number without a unit is in seconds.
    ///
    /// # Errors
    /// The word is missing, not a time, or too large.
    pub fn time_s(&mut self) -> Result<u32, Diagnostic> {
        let word = self.required("a time")?;
        match value::seconds(word.str()) {
            Ok(seconds) => Ok(seconds),
            Err(error) => {
                let value = self.accept_or_warn(word, &error, self.codes.time)?;
                Ok(value::rounded_up_to_seconds(value).unwrap_or(u32::MAX))
            }
        }
    }

    /// Takes a size in bytes (`k`, `m`, `g`).
    ///
    /// # Errors
    /// The word is missing, not a size, or too large.
    pub fn size(&mut self, what: &str) -> Result<u64, Diagnostic> {
        self.size_at_most(what, SIZE_MAX)
    }

    /// Takes a size of at most `max` bytes (`k`, `m`, `g`).
    ///
    /// # Errors
    /// The word is missing, not a size, or too large.
    pub fn size_at_most(&mut self, what: &str, max: u64) -> Result<u64, Diagnostic> {
        let word = self.required(what)?;
        value::size(word.str(), max)
            .or_else(|error| self.accept_or_warn(word, &error, self.codes.size))
    }

    /// Warns about surplus words, which HAProxy ignores after this keyword.
    ///
    /// # Errors
    /// The language is not lenient, and a word is left.
    pub fn warn_of_surplus(&mut self) -> Built {
        let Some(lenient) = self.codes.lenient else {
            return self.end();
        };
        if let Some(extra) = self.next() {
            let told = format!("'{}' is ignored after '{}'", extra.text(), self.keyword);
            let help = format!("{}; a space within a word needs quotes", self.syntax_help());
            self.warnings.push(
                Diagnostic::warning(lenient.surplus, extra.span, told)
                    .label("one word too many")
                    .help(help),
            );
            self.rest();
        }
        Ok(())
    }

    /// Checks that no word is left.
    ///
    /// # Errors
    /// Fails if a word is left.
    pub fn end(&mut self) -> Built {
        let Some(extra) = self.next() else {
            return Ok(());
        };
        let told = format!(
            "'{}' cannot handle unexpected argument '{}'",
            self.keyword,
            extra.text()
        );
        let told = self.refused(self.codes.surplus, extra.span, told);
        Err(told.label("one word too many"))
    }
}

/// Adds a note to the error of a line if a variable of the line has no value, which may be the
/// cause.
pub fn unset_named(line: &ConfigLine, told: Diagnostic) -> Diagnostic {
    if told.severity != Severity::Error || line.unset.is_empty() {
        return told;
    }
    let names: Vec<String> = line.unset.iter().map(|name| format!("'{name}'")).collect();
    told.note(match &names[..] {
        [name] => {
            format!("the environment variable {name} is not set and expands to an empty string")
        }
        names => format!(
            "the environment variables {} are not set and expand to empty strings",
            names.join(", ")
        ),
    })
}
