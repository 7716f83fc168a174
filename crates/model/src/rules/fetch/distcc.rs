//! Implements the fetches of distcc, which distributes compilations over hosts. A message is a
//! sequence of tokens of four letters with a number each; some tokens are followed by that number
//! of bytes.

use super::{FetchBuild, FetchRow, int, payload};
use crate::rules::argument::{ArgumentKind, Arguments, bad_argument};
use crate::rules::draft::ConfigDraft;
use crate::rules::usage::Needs;
use crate::rules::value::{Sample, SampleValue, Type};
use crate::transaction::ProxyStream;
use language::Span;
use language::arguments::Built;

const fn token(output: Type, one: super::One) -> FetchBuild {
    FetchBuild::new(output, Needs::Request, one)
        .takes(&[ArgumentKind::Text, ArgumentKind::Int], 1)
        .prepare(check)
}

pub(super) static ROWS: &[FetchRow] = rows! {
    "distcc_param(<token>[,<occurrence>])",
        token(Type::Int, |a, s| int(find(a, s)?.0)),
        "acl big distcc_param(DOTI) gt 1000000",
        "The number of a token in a distcc message: a version, a count, or the number of bytes that follow it. \
         Occurrences are numbered from 1, the default.";
    "distcc_body(<token>[,<occurrence>])", token(Type::Bin, body), "acl c distcc_body(ARGV,1) -m sub .c",
        "The bytes that follow a token in a distcc message, once all have arrived.";
};

/// Length of the name of a token, in bytes.
const NAME_BYTES: usize = 4;
/// Length of a token with its hexadecimal number, in bytes.
const TOKEN_BYTES: usize = 12;

fn check(_: &mut ConfigDraft, arguments: &mut Arguments, span: Span) -> Built {
    if arguments
        .text(0)
        .is_none_or(|name| name.len() != NAME_BYTES)
    {
        return Err(bad_argument(span, "a token has four letters".into()));
    }
    match arguments.int(1) {
        None | Some(0..) => Ok(()),
        Some(_) => Err(bad_argument(span, "occurrences are numbered from 1".into())),
    }
}

/// Returns whether a token is followed by data, whose length is its number.
fn has_body(name: &[u8]) -> bool {
    matches!(
        name,
        b"ARGV"
            | b"CDIR"
            | b"DOTI"
            | b"DOTO"
            | b"DOTD"
            | b"FILE"
            | b"LINK"
            | b"NAME"
            | b"SERR"
            | b"SOUT"
    )
}

/// Finds a token: its number, and the part of its data that has arrived.
fn find<'a>(arguments: &Arguments, stream: &'a ProxyStream) -> Option<(u32, &'a [u8])> {
    let wanted = arguments.text(0)?;
    let mut left = arguments.int(1).unwrap_or(1).max(1);
    let mut rest = payload(arguments, stream);
    loop {
        let (token, behind) = rest.split_at_checked(TOKEN_BYTES)?;
        let (name, digits) = token.split_at(NAME_BYTES);
        let digits = std::str::from_utf8(digits).ok()?;
        if !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return None;
        }
        let number = u32::from_str_radix(digits, 16).ok()?;
        if name == wanted {
            left -= 1;
            if left == 0 {
                return Some((number, behind));
            }
        }
        rest = if has_body(name) {
            behind.get(usize::try_from(number).ok()?..)?
        } else {
            behind
        };
    }
}

fn body<'a>(arguments: &'a Arguments, stream: &'a ProxyStream) -> Sample<'a> {
    let (length, behind) = find(arguments, stream)?;
    let length = usize::try_from(length).ok().filter(|_| {
        let name = arguments.text(0).unwrap_or_default();
        has_body(name)
    })?;
    behind.get(..length).map(SampleValue::bytes)
}

#[cfg(test)]
mod tests {
    use crate::transaction::sample;

    #[test]
    fn tokens_are_found_behind_the_bytes_of_others() {
        let bytes = b"DIST00000001ARGC00000002ARGV00000002ccARGV00000003a.cDOTI00000004int ";
        let stream = sample::tcp(bytes, false);
        for (fetch, value) in [
            ("distcc_param(DIST)", Some("1")),
            ("distcc_body(ARGV)", Some("cc")),
            ("distcc_body(ARGV,2)", Some("a.c")),
            ("distcc_body(ARGV,3)", None),
            ("distcc_param(DOTI)", Some("4")),
            ("distcc_body(DOTI)", Some("int ")),
            ("distcc_body(DIST)", None),
        ] {
            let found = sample::evaluate(fetch, &stream);
            assert_eq!(found.as_deref(), value, "{fetch}");
        }
        for cut in 0..bytes.len() {
            let stream = sample::tcp(&bytes[..cut], false);
            assert_eq!(sample::evaluate("distcc_body(DOTI)", &stream), None);
        }
    }
}
