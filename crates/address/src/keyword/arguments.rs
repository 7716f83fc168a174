//! The arguments of a line, taken one by one; every refusal is a diagnostic at the
//! word that it is about.

use super::codes;
use language::value::{self, TimeUnit, ValueError};
use language::{Diagnostic, Line, Span, Word};
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::time::Duration;

/// What a builder returns: the mistake that it cannot go on from.
pub(super) type Built = Result<(), Box<Diagnostic>>;

/// The words of a line behind its keyword.
#[derive(Debug)]
pub(super) struct Args<'l> {
    line: &'l Line,
    at: usize,
    /// The keyword, as its row names it.
    pub(super) keyword: &'static str,
    syntax: &'static str,
}

impl<'l> Args<'l> {
    pub(super) fn new(
        line: &'l Line,
        at: usize,
        keyword: &'static str,
        syntax: &'static str,
    ) -> Self {
        Args {
            line,
            at,
            keyword,
            syntax,
        }
    }

    /// Where the keyword itself stands.
    pub(super) fn keyword_span(&self) -> Span {
        let words = self.keyword.split(' ').count();
        match (self.line.word(0), self.line.word(words.saturating_sub(1))) {
            (Some(first), Some(last)) => first.span.to(last.span),
            _ => self.line.span,
        }
    }

    /// The next word, not taken.
    pub(super) fn peek(&self) -> Option<&'l Word> {
        self.line.word(self.at)
    }

    /// Takes the next word, if there is one.
    pub(super) fn take_any(&mut self) -> Option<&'l Word> {
        let word = self.line.word(self.at)?;
        self.at += 1;
        Some(word)
    }

    /// Takes the next word if it is this one.
    pub(super) fn take(&mut self, word: &str) -> bool {
        let found = self.peek().is_some_and(|w| w.is(word));
        self.at += usize::from(found);
        found
    }

    /// Takes the next word, or says that `what` is missing.
    pub(super) fn required(&mut self, what: &str) -> Result<&'l Word, Box<Diagnostic>> {
        self.take_any().ok_or_else(|| {
            let told = format!("'{}' expects {what}", self.keyword);
            Box::new(
                Diagnostic::error(&codes::ARGUMENTS, self.line.end(), told)
                    .label(format!("{what} is missing here"))
                    .help(format!("write `{}`", self.syntax)),
            )
        })
    }

    /// An error about a value.
    pub(super) fn wrong(&self, word: &Word, what: &str) -> Box<Diagnostic> {
        let told = format!("'{}': '{}' is {what}", self.keyword, word.text());
        Box::new(
            Diagnostic::error(&codes::VALUE, word.span, told)
                .help(format!("write `{}`", self.syntax)),
        )
    }

    fn value<T, E: ValueError>(
        &self,
        word: &Word,
        value: Result<T, E>,
    ) -> Result<T, Box<Diagnostic>> {
        value.map_err(|error| {
            let told = format!("'{}': {error}", self.keyword);
            let told = Diagnostic::error(&codes::VALUE, word.span, told);
            let help = error.help();
            Box::new(told.help(help.unwrap_or_else(|| format!("write `{}`", self.syntax))))
        })
    }

    /// Takes an address without a prefix.
    pub(super) fn address(&mut self) -> Result<(IpAddr, Span), Box<Diagnostic>> {
        let word = self.required("an address")?;
        match word.str().parse() {
            Ok(address) => Ok((address, word.span)),
            Err(_) => Err(self.wrong(word, "no IP address")),
        }
    }

    /// Takes a time; a bare number counts milliseconds.
    pub(super) fn time(&mut self) -> Result<(Duration, Span), Box<Diagnostic>> {
        let word = self.required("a time")?;
        let time = value::time(word.str(), TimeUnit::Milliseconds);
        Ok((self.value(word, time)?, word.span))
    }

    /// Takes a time within a range.
    pub(super) fn time_within(
        &mut self,
        range: RangeInclusive<Duration>,
    ) -> Result<(Duration, Span), Box<Diagnostic>> {
        let (time, span) = self.time()?;
        if range.contains(&time) {
            return Ok((time, span));
        }
        let told = format!(
            "'{}' takes a time from {} to {}",
            self.keyword,
            written(*range.start()),
            written(*range.end())
        );
        Err(Box::new(
            Diagnostic::error(&codes::VALUE, span, told).help(format!("write `{}`", self.syntax)),
        ))
    }

    /// Takes an integer within a range.
    pub(super) fn integer(
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
    pub(super) fn end(&mut self) -> Built {
        let Some(extra) = self.take_any() else {
            return Ok(());
        };
        let told = format!(
            "'{}' cannot handle unexpected argument '{}'",
            self.keyword,
            extra.text()
        );
        Err(Box::new(
            Diagnostic::error(&codes::ARGUMENTS, extra.span, told)
                .label("one word too many")
                .help(format!("write `{}`", self.syntax)),
        ))
    }
}

/// A time as a file has it.
pub(super) fn written(time: Duration) -> String {
    let ms = time.as_millis();
    match ms {
        0 => "0".to_owned(),
        ms if ms % 60_000 == 0 => format!("{}m", ms / 60_000),
        ms if ms % 1_000 == 0 => format!("{}s", ms / 1_000),
        ms => format!("{ms}ms"),
    }
}
