//! The arguments of a line, taken one by one by the function that builds a keyword;
//! every refusal is a diagnostic at the word that it is about.
//!
//! Which codes those have is said by whoever has the keywords ([`ArgumentCodes`]).
//! What only one crate's keywords take is read there.

use crate::value::{self, TimeUnit, ValueError};
use crate::{Code, Diagnostic, Line, Severity, Span, Word};
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::time::Duration;

/// What a builder returns: the mistake that it cannot go on from.
pub type Built = Result<(), Box<Diagnostic>>;

/// Under which codes refusals of one crate's keywords are explained.
#[derive(Clone, Copy, Debug)]
pub struct ArgumentCodes {
    /// Too few words, or too many.
    pub count: &'static Code,
    /// A word that is no such value.
    pub value: &'static Code,
}

/// The words of a line behind its keyword.
#[derive(Debug)]
pub struct Args<'l> {
    line: &'l Line,
    at: usize,
    /// The keyword, as its row names it.
    pub keyword: &'static str,
    syntax: &'static str,
    codes: ArgumentCodes,
}

impl<'l> Args<'l> {
    /// The words of a line from this one on.
    pub fn new(
        line: &'l Line,
        at: usize,
        keyword: &'static str,
        syntax: &'static str,
        codes: ArgumentCodes,
    ) -> Self {
        Args {
            line,
            at,
            keyword,
            syntax,
            codes,
        }
    }

    /// From the first word of the line to the last.
    pub fn span(&self) -> Span {
        self.line.span
    }

    /// Where the keyword itself stands.
    pub fn keyword_span(&self) -> Span {
        let words = self.keyword.split(' ').count();
        match (self.line.word(0), self.line.word(words.saturating_sub(1))) {
            (Some(first), Some(last)) => first.span.to(last.span),
            _ => self.line.span,
        }
    }

    /// The next word, not taken.
    pub fn peek(&self) -> Option<&'l Word> {
        self.line.word(self.at)
    }

    /// Takes the next word, if there is one.
    pub fn take_any(&mut self) -> Option<&'l Word> {
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

    /// Takes the next word, or says that `what` is missing.
    pub fn required(&mut self, what: &str) -> Result<&'l Word, Box<Diagnostic>> {
        self.take_any().ok_or_else(|| {
            let told = format!("'{}' expects {what}", self.keyword);
            let told = self.refused(self.codes.count, self.line.end(), told);
            Box::new(told.label(format!("{what} is missing here")))
        })
    }

    /// An error with the syntax of the line.
    pub fn refused(&self, code: &'static Code, span: Span, told: String) -> Diagnostic {
        Diagnostic::error(code, span, told).help(self.syntax_help())
    }

    /// An error about what stands there, in words of its own.
    pub fn wrong(&self, code: &'static Code, span: Span, what: &str) -> Box<Diagnostic> {
        Box::new(self.refused(code, span, format!("'{}': {what}", self.keyword)))
    }

    /// An error about a value: what the word is not.
    pub fn unfit(&self, word: &Word, what: &str) -> Box<Diagnostic> {
        let told = format!("'{}' is {what}", word.text());
        self.wrong(self.codes.value, word.span, &told)
    }

    fn syntax_help(&self) -> String {
        format!("write `{}`", self.syntax)
    }

    fn value<T, E: ValueError>(
        &self,
        word: &Word,
        value: Result<T, E>,
    ) -> Result<T, Box<Diagnostic>> {
        value.map_err(|error| {
            let told = format!("'{}': {error}", self.keyword);
            let told = Diagnostic::error(self.codes.value, word.span, told);
            Box::new(told.help(error.help().unwrap_or_else(|| self.syntax_help())))
        })
    }

    /// Takes an address without a prefix.
    pub fn address(&mut self) -> Result<(IpAddr, Span), Box<Diagnostic>> {
        let word = self.required("an address")?;
        match word.str().parse() {
            Ok(address) => Ok((address, word.span)),
            Err(_) => Err(self.unfit(word, "no IP address")),
        }
    }

    /// Takes a time; what a bare number counts is said.
    pub fn time(&mut self, unit: TimeUnit) -> Result<(Duration, Span), Box<Diagnostic>> {
        let word = self.required("a time")?;
        let time = value::time(word.str(), unit);
        Ok((self.value(word, time)?, word.span))
    }

    /// Takes an integer within a range.
    pub fn integer(
        &mut self,
        what: &str,
        range: RangeInclusive<u32>,
    ) -> Result<(u32, Span), Box<Diagnostic>> {
        let word = self.required(what)?;
        let range = i64::from(*range.start())..=i64::from(*range.end());
        let number = self.value(word, value::integer(word.str(), range))?;
        Ok((u32::try_from(number).unwrap_or(u32::MAX), word.span))
    }

    /// Says that nothing may follow, if something does.
    pub fn end(&mut self) -> Built {
        let Some(extra) = self.take_any() else {
            return Ok(());
        };
        let told = format!(
            "'{}' cannot handle unexpected argument '{}'",
            self.keyword,
            extra.text()
        );
        let told = self.refused(self.codes.count, extra.span, told);
        Err(Box::new(told.label("one word too many")))
    }
}

/// What is wrong with a line may be that a variable has no value.
pub fn unset_named(line: &Line, told: Diagnostic) -> Diagnostic {
    if told.severity != Severity::Error || line.unset.is_empty() {
        return told;
    }
    let names: Vec<String> = line.unset.iter().map(|name| format!("'{name}'")).collect();
    told.note(match &names[..] {
        [name] => {
            format!("the environment variable {name} is not set: nothing stands in its place")
        }
        names => format!(
            "the environment variables {} are not set: nothing stands in their place",
            names.join(", ")
        ),
    })
}
