//! Implements the converters for the first message of FIX (Financial Information eXchange).

use super::{ConverterBuild, ConverterRow, rows};
use crate::rules::argument::{Argument, ArgumentKind, Arguments, bad_argument};
use crate::rules::draft::ConfigDraft;
use crate::rules::value::{Sample, SampleValue, Type};
use crate::transaction::ProxyStream;
use language::Span;
use language::arguments::Built;
use std::borrow::Cow;

pub(super) static ROWS: &[ConverterRow] = rows! {
    "fix_is_valid", ConverterBuild::new(Type::Bin, Type::Bool, is_valid).decides(), "acl example req.payload(0,0),fix_is_valid",
        "Tests whether the input is a valid FIX message: BeginString, BodyLength and MsgType come first and CheckSum \
         last, and length and checksum are correct.";
    "fix_tag_value(<tag>)", ConverterBuild::new(Type::Bin, Type::Bin, tag_value).takes(&[ArgumentKind::Text], 1).prepare(prepare),
        "acl example req.payload(0,0),fix_tag_value(SenderCompID) -m found",
        "Returns the value of a tag of a FIX message, by its number, or by its name if it is BeginString, BodyLength, \
         MsgType, SenderCompID, TargetCompID or CheckSum.";
};

/// Byte that ends a field.
const SEPARATOR: u8 = 1;

const BEGIN_STRING: u32 = 8;
const BODY_LENGTH: u32 = 9;
const MSG_TYPE: u32 = 35;
const CHECK_SUM: u32 = 10;

const NAMES: [(&str, u32); 6] = [
    ("BeginString", BEGIN_STRING),
    ("BodyLength", BODY_LENGTH),
    ("MsgType", MSG_TYPE),
    ("SenderCompID", 49),
    ("TargetCompID", 56),
    ("CheckSum", CHECK_SUM),
];

const VERSIONS: [&[u8]; 6] = [
    b"FIX.4.0",
    b"FIX.4.1",
    b"FIX.4.2",
    b"FIX.4.3",
    b"FIX.4.4",
    b"FIXT.1.1",
];

fn prepare(_: &mut ConfigDraft, arguments: &mut Arguments, span: Span) -> Built {
    let text = String::from_utf8_lossy(arguments.text(0).unwrap_or(b"")).into_owned();
    let named = NAMES
        .iter()
        .find(|(name, _)| name.eq_ignore_ascii_case(&text));
    let tag = match named {
        Some((_, tag)) => *tag,
        None => text
            .parse()
            .map_err(|_| bad_argument(span, format!("'{text}' is not a FIX tag")))?,
    };
    arguments.list[0] = Some(Argument::Int(tag.into()));
    Ok(())
}

/// Parses the field at an offset: its tag, its value, and the offset of the next field.
fn field(bytes: &[u8], at: usize) -> Option<(u32, &[u8], usize)> {
    let rest = bytes.get(at..)?;
    let end = memchr::memchr(SEPARATOR, rest)?;
    let text = &rest[..end];
    let equals = memchr::memchr(b'=', text)?;
    let digits = std::str::from_utf8(&text[..equals]).ok()?;
    let plain = digits.bytes().all(|b| b.is_ascii_digit());
    let value = &text[equals + 1..];
    if !plain || value.is_empty() {
        return None;
    }
    Some((digits.parse().ok()?, value, at + end + 1))
}

fn number(text: &[u8]) -> Option<usize> {
    let text = std::str::from_utf8(text).ok()?;
    text.bytes().all(|b| b.is_ascii_digit()).then_some(())?;
    text.parse().ok()
}

/// Validates the fields of a message; returns None if one is wrong.
fn check(bytes: &[u8]) -> Option<()> {
    let (tag, version, at) = field(bytes, 0)?;
    if tag != BEGIN_STRING || !VERSIONS.contains(&version) {
        return None;
    }
    let (tag, length, body) = field(bytes, at)?;
    if tag != BODY_LENGTH {
        return None;
    }
    let end = body.checked_add(number(length)?)?;
    let (tag, _, mut at) = field(bytes, body)?;
    if tag != MSG_TYPE {
        return None;
    }
    while at < end {
        let (tag, _, next) = field(bytes, at)?;
        if tag == CHECK_SUM {
            return None;
        }
        at = next;
    }
    if at != end {
        return None;
    }
    let (tag, sum, _) = field(bytes, end)?;
    let wanted = bytes[..end]
        .iter()
        .fold(0_u8, |sum, b| sum.wrapping_add(*b));
    let right = tag == CHECK_SUM && sum.len() == 3 && number(sum)? == usize::from(wanted);
    right.then_some(())
}

fn is_valid<'a>(_: &Arguments, value: SampleValue<'a>, _: &ProxyStream) -> Sample<'a> {
    let bytes = value.into_bytes()?;
    is_decided(&bytes).then(|| SampleValue::Bool(check(&bytes).is_some()))
}

/// Length of the field that ends a message (tag, three digits, separator), in bytes.
const CHECK_SUM_BYTES: usize = 7;

/// Returns whether more bytes change nothing: the message is complete, or already wrong.
fn is_decided(bytes: &[u8]) -> bool {
    let is_broken = |at: usize| {
        let rest = bytes.get(at..).unwrap_or_default();
        memchr::memchr(SEPARATOR, rest).is_some()
    };
    let Some((tag, version, at)) = field(bytes, 0) else {
        return is_broken(0);
    };
    if tag != BEGIN_STRING || !VERSIONS.contains(&version) {
        return true;
    }
    let Some((tag, length, body)) = field(bytes, at) else {
        return is_broken(at);
    };
    let end =
        number(length).and_then(|length| body.checked_add(length)?.checked_add(CHECK_SUM_BYTES));
    match end {
        Some(end) if tag == BODY_LENGTH => bytes.len() >= end,
        _ => true,
    }
}

fn tag_value<'a>(arguments: &Arguments, value: SampleValue<'a>, _: &ProxyStream) -> Sample<'a> {
    let bytes = value.into_bytes()?;
    let wanted = arguments.int(0)?;
    let mut at = 0;
    loop {
        let (tag, value, next) = field(&bytes, at)?;
        if i64::from(tag) == wanted {
            return Some(SampleValue::Bin(Cow::Owned(value.to_vec())));
        }
        at = next;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_judged_when_it_is_whole_or_wrong_and_not_before() {
        let whole = b"8=FIX.4.0\x019=5\x0135=A\x0110=179\x01";
        let sum = whole[..whole.len() - CHECK_SUM_BYTES]
            .iter()
            .fold(0_u8, |sum, byte| sum.wrapping_add(*byte));
        let mut whole = whole.to_vec();
        let at = whole.len() - 4;
        whole.splice(at..at + 3, format!("{sum:03}").into_bytes());
        assert!(is_decided(&whole) && check(&whole).is_some());
        for end in 0..whole.len() {
            assert!(!is_decided(&whole[..end]), "{end} bytes");
        }
        for wrong in [
            &b"8=FIX.9.9\x01"[..],
            b"9=5\x01",
            b"hello\x01",
            b"8=FIX.4.0\x0135=A\x01",
            b"8=FIX.4.0\x019=x\x01",
            b"8=FIX.4.0\x019=5\x0135=A\x0110=000\x01",
        ] {
            assert!(is_decided(wrong) && check(wrong).is_none());
        }
    }
}
