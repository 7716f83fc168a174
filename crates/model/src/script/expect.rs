//! Defines the configured expectation of a health check: which response is a success, and what is
//! reported.

use crate::compiled::{Expression, Format};
use crate::sample::regular::Regular;
use crate::state::CheckStatus;

/// A status or a range of statuses.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct StatusRange {
    pub first: u16,
    pub last: u16,
}

#[derive(Clone, Debug)]
pub enum Matcher {
    Exact(Format),
    Begin(Format),
    End(Format),
    Contains(Format),
    Regex(Regular),
}

/// Expected property of a response.
#[derive(Clone, Debug)]
pub enum Pattern {
    Status(Vec<StatusRange>),
    StatusText(Regular),
    /// `hdr` (each comma-separated value) and `fhdr` (whole fields).
    Header {
        /// Comparison of field names; a plain name ignores case.
        name: Matcher,
        /// Comparison of values; None accepts any value.
        value: Option<Matcher>,
        /// `fhdr`: the whole field is compared, and commas do not separate values.
        full: bool,
    },
    /// `string`: the bytes, or the body of an HTTP response, contain this.
    Text(Box<[u8]>),
    /// `binary`: like `string`, written in hexadecimal digits.
    Binary(Box<[u8]>),
    Regex(Regular),
    /// `rbinary`: a regular expression over the hexadecimal digits of the bytes.
    BinaryRegex(Regular),
    TextFormat(Format),
    BinaryFormat(Format),
    Dialogue(Dialogue),
}

/// Source of the text that a log line reports about a response.
#[derive(Clone, Debug)]
pub enum ReportedText {
    Format(Format),
    Text(&'static str),
    /// First line of the response, from this offset on.
    Line(usize),
    /// Bytes of the response from this offset on, up to a zero byte.
    Text0(usize),
}

/// Source of the code that is reported with a result.
#[derive(Clone, Debug)]
pub enum Code {
    Expression(Expression),
    /// The first three digits of the response.
    Digits,
}

#[derive(Clone, Debug)]
pub struct Expect {
    pub pattern: Pattern,
    /// `!`: the pattern must not match.
    pub negated: bool,
    /// `min-recv`: number of bytes after which the result is final. Without it (None), the check
    /// waits for more bytes until the pattern matches.
    pub min_recv: Option<usize>,
    pub ok_status: Option<CheckStatus>,
    pub error_status: Option<CheckStatus>,
    pub timeout_status: Option<CheckStatus>,
    pub on_success: Option<ReportedText>,
    pub on_error: Option<ReportedText>,
    /// `status-code`: source of the code that is reported.
    pub code: Option<Code>,
}

impl Expect {
    pub fn new(pattern: Pattern) -> Expect {
        Expect {
            pattern,
            negated: false,
            min_recv: None,
            ok_status: None,
            error_status: None,
            timeout_status: None,
            on_success: None,
            on_error: None,
            code: None,
        }
    }

    /// Creates the default expectation: status 2xx or 3xx.
    pub fn success() -> Expect {
        let range = StatusRange {
            first: 200,
            last: 399,
        };
        Expect::new(Pattern::Status(vec![range]))
    }
}

/// Response of a server in a built-in protocol check whose parts depend on each other, so that no
/// pattern describes it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Dialogue {
    /// MySQL's greeting, and nothing more.
    MySqlGreeting,
    /// MySQL's response to a login, which follows its greeting.
    MySqlLogin,
    LdapBind,
    SpopHello,
}
