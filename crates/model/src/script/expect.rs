//! What an answer must be, as files say it.

use crate::compiled::{Expression, Format};
use crate::sample::regular::Regular;
use crate::state::CheckStatus;

/// A status or a range of them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct StatusRange {
    /// The first.
    pub first: u16,
    /// The last.
    pub last: u16,
}

/// How text is compared.
#[derive(Clone, Debug)]
pub enum Matcher {
    /// Whole.
    Exact(Format),
    /// At the beginning.
    Begin(Format),
    /// At the end.
    End(Format),
    /// Anywhere.
    Contains(Format),
    /// By a regular expression.
    Regex(Regular),
}

/// What is looked at.
#[derive(Clone, Debug)]
pub enum Pattern {
    /// `status`.
    Status(Vec<StatusRange>),
    /// `rstatus`.
    StatusText(Regular),
    /// `hdr` (each comma-separated value) and `fhdr` (whole fields).
    Header {
        /// How names are compared (without case where it is a plain one).
        name: Matcher,
        /// How values are; None: the field is enough.
        value: Option<Matcher>,
        /// `fhdr`.
        full: bool,
    },
    /// `string`: the bytes, or the body of an HTTP answer, hold this.
    Text(Box<[u8]>),
    /// `binary`: the same, written in hexadecimal digits.
    Binary(Box<[u8]>),
    /// `rstring`.
    Regex(Regular),
    /// `rbinary`: a regular expression over the hexadecimal digits of the bytes.
    BinaryRegex(Regular),
    /// `string-lf`
    TextFormat(Format),
    /// `binary-lf`
    BinaryFormat(Format),
    /// Messages of a protocol.
    Dialogue(Dialogue),
}

/// Source of the text that a log line reports about a response.
#[derive(Clone, Debug)]
pub enum ReportedText {
    /// `on-success`, `on-error`
    Format(Format),
    /// Words.
    Text(&'static str),
    /// The answer's first line, from so many bytes on.
    Line(usize),
    /// The answer's bytes from so many on, up to one that is 0.
    Text0(usize),
}

/// Where the code of a result comes from.
#[derive(Clone, Debug)]
pub enum Code {
    /// `status-code`
    Expression(Expression),
    /// The three digits that the answer begins with.
    Digits,
}

/// What an answer must be.
#[derive(Clone, Debug)]
pub struct Expect {
    /// What is looked at.
    pub pattern: Pattern,
    /// `!`: it must not be so.
    pub negated: bool,
    /// `min-recv`: no verdict on fewer bytes, but one on so many; None: as long
    /// as there is none, more is waited for.
    pub min_recv: Option<usize>,
    /// `ok-status`
    pub ok_status: Option<CheckStatus>,
    /// `error-status`
    pub error_status: Option<CheckStatus>,
    /// `tout-status`
    pub timeout_status: Option<CheckStatus>,
    /// `on-success`
    pub on_success: Option<ReportedText>,
    /// `on-error`
    pub on_error: Option<ReportedText>,
    /// `status-code`
    pub code: Option<Code>,
}

impl Expect {
    /// With nothing but what is looked at.
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

    /// A status 2xx or 3xx, which is expected where nothing else is.
    pub fn success() -> Expect {
        let range = StatusRange {
            first: 200,
            last: 399,
        };
        Expect::new(Pattern::Status(vec![range]))
    }
}

/// A message whose parts depend on each other.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Dialogue {
    /// MySQL's greeting, and nothing more.
    MySqlGreeting,
    /// MySQL's answer to a login, behind its greeting.
    MySqlLogin,
    /// LDAP's answer to a bind.
    LdapBind,
    /// The hello of a SPOP agent.
    SpopHello,
}
