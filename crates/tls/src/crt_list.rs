//! Parses the lines of crt-lists (certificate, options in brackets, host names), and holds the
//! lists as operators display and change them. The keywords of `bind` define the options in the
//! brackets.

use super::sni::SniFilter;
use crate::settings::TlsLine;
use std::fmt;
use std::ops::Range;

/// Tokens of a line in a crt-list, as byte ranges of the text.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct CrtListTokens {
    pub certificate: Range<usize>,
    pub options: Vec<Range<usize>>,
    pub filters: Vec<Range<usize>>,
    /// True if filters precede the brackets; these are ignored.
    pub misplaced: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum LineError {
    #[error("file must start with a cert")]
    NoCertificate,
    #[error("too many '['")]
    TooManyBrackets,
}

/// Splits a line of a text into tokens. None for an empty line or a comment.
///
/// # Errors
/// `NoCertificate` if the line begins with a bracket. `TooManyBrackets` at a second opening
/// bracket.
pub fn words(text: &[u8], line: Range<usize>) -> Result<Option<CrtListTokens>, LineError> {
    let mut words = CrtListTokens::default();
    let (mut seen, mut brackets, mut inside) = (false, false, false);
    let mut at = line.start;
    while at < line.end {
        match text[at] {
            b if b.is_ascii_whitespace() => at += 1,
            b'#' => break,
            b'[' if !seen => return Err(LineError::NoCertificate),
            b'[' if brackets => return Err(LineError::TooManyBrackets),
            b'[' => {
                (brackets, inside) = (true, true);
                words.misplaced = !words.filters.is_empty();
                words.filters.clear();
                at += 1;
            }
            b']' if inside => {
                inside = false;
                at += 1;
            }
            _ => {
                let end = |b: &u8| b.is_ascii_whitespace() || matches!(b, b'[' | b']');
                let rest = &text[at..line.end];
                let length = rest.iter().position(end).unwrap_or(rest.len()).max(1);
                let word = at..at + length;
                at = word.end;
                if !seen {
                    (seen, words.certificate) = (true, word);
                } else if inside {
                    words.options.push(word);
                } else {
                    words.filters.push(word);
                }
            }
        }
    }
    Ok(seen.then_some(words))
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    pub certificate: Box<str>,
    /// Number of the line, from 1. Lines that operators add continue the numbering.
    pub line: u32,
    pub options: TlsLine,
    /// The options in brackets, as written.
    pub option_words: Box<str>,
    pub filters: Vec<SniFilter>,
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.certificate)?;
        self.fmt_options_and_filters(f)
    }
}

impl Entry {
    fn fmt_options_and_filters(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.option_words.is_empty() {
            write!(f, " [{}]", self.option_words)?;
        }
        self.filters.iter().try_for_each(|one| write!(f, " {one}"))
    }

    /// Formats the line with its number after the name of the certificate.
    pub fn numbered(&self) -> String {
        struct Rest<'e>(&'e Entry);
        impl fmt::Display for Rest<'_> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt_options_and_filters(f)
            }
        }
        format!("{}:{}{}", self.certificate, self.line, Rest(self))
    }
}

/// A crt-list: a file, or a directory of certificates.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct List {
    pub entries: Vec<Entry>,
    /// Number of the last line.
    pub lines: u32,
    /// True for a directory: added certificates must be in it.
    pub is_directory: bool,
}

/// Sorts the options of a line into the order in which HAProxy prints them.
pub fn option_words(words: &[&str]) -> String {
    const ORDER: &[&str] = &[
        "npn",
        "alpn",
        "no-alpn",
        "verify",
        "no-ca-names",
        "allow-0rtt",
        "ca-file",
        "ca-verify-file",
        "crl-file",
        "ciphers",
        "ciphersuites",
        "curves",
        "ecdhe",
        "ssl-min-ver",
        "ssl-max-ver",
    ];
    const ALONE: &[&str] = &["no-alpn", "no-ca-names", "allow-0rtt"];
    let mut options: Vec<&[&str]> = Vec::new();
    let mut rest = words;
    while let Some(first) = rest.first() {
        let length = if ALONE.contains(first) { 1 } else { 2 };
        let (one, behind) = rest.split_at(length.min(rest.len()));
        options.push(one);
        rest = behind;
    }
    let place = |option: &&[&str]| {
        let known = ORDER.iter().position(|name| *name == option[0]);
        known.unwrap_or(ORDER.len())
    };
    options.sort_by_key(place);
    options.concat().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    type Cut<'t> = (&'t str, Vec<&'t str>, Vec<&'t str>);

    #[test]
    fn options_are_shown_in_one_order() {
        assert_eq!(
            option_words(&[
                "ssl-min-ver",
                "TLSv1.2",
                "allow-0rtt",
                "sigalgs",
                "x",
                "alpn",
                "h2"
            ]),
            "alpn h2 allow-0rtt ssl-min-ver TLSv1.2 sigalgs x"
        );
        assert_eq!(option_words(&["verify"]), "verify");
    }

    fn cut(text: &str) -> Result<Option<Cut<'_>>, LineError> {
        let of = |all: &[Range<usize>]| all.iter().map(|w| &text[w.clone()]).collect();
        let found = words(text.as_bytes(), 0..text.len())?;
        Ok(found.map(|w| (&text[w.certificate.clone()], of(&w.options), of(&w.filters))))
    }

    #[test]
    fn a_line_is_a_certificate_options_and_filters() {
        assert_eq!(cut("  a.pem \r"), Ok(Some(("a.pem", vec![], vec![]))));
        assert_eq!(
            cut("a.pem [alpn h2 verify none] *.x.com !y.x.com"),
            Ok(Some((
                "a.pem",
                vec!["alpn", "h2", "verify", "none"],
                vec!["*.x.com", "!y.x.com"]
            )))
        );
        assert_eq!(
            cut("a.pem[ alpn h2 ]x"),
            Ok(Some(("a.pem", vec!["alpn", "h2"], vec!["x"])))
        );
        assert_eq!(cut("a.pem []#x"), Ok(Some(("a.pem", vec![], vec![]))));
        assert_eq!(cut(" # a.pem"), Ok(None));
        assert_eq!(cut(""), Ok(None));
    }

    #[test]
    fn brackets_follow_the_certificate_once() {
        assert_eq!(cut("[alpn h2] a.pem"), Err(LineError::NoCertificate));
        assert_eq!(cut("a.pem [] []"), Err(LineError::TooManyBrackets));
        let text = "a.pem x.com [alpn h2] y.com";
        let found = words(text.as_bytes(), 0..text.len()).unwrap().unwrap();
        assert!(found.misplaced);
        assert_eq!(found.filters.len(), 1);
    }
}
