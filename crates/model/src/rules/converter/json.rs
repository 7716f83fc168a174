//! Implements the converter that escapes a text for use within JSON.

use super::{ConverterBuild, ConverterRow, rows};
use crate::rules::argument::{Argument, ArgumentKind, Arguments, bad_argument};
use crate::rules::draft::ConfigDraft;
use crate::rules::value::{Sample, SampleValue, Type};
use crate::transaction::ProxyStream;
use language::Span;
use language::arguments::Built;
use std::borrow::Cow;

pub(super) static ROWS: &[ConverterRow] = rows! {
    "json[(<code>)]", ConverterBuild::new(Type::Str, Type::Str, json).takes(&[ArgumentKind::Text], 0).prepare(check),
        "acl agent req.fhdr(user-agent),json(utf8s) -m found",
        "Escapes a text for a JSON string, without the quotes. The argument is the input encoding: `ascii`, the \
         default, reads each byte as a character. `utf8` returns no value for invalid UTF-8, or for characters beyond \
         four hexadecimal digits; `utf8s` omits such bytes. `utf8p` and `utf8ps` also accept overlong encodings.";
};

/// Mode argument: each byte is a character.
const ASCII: i64 = 0;
/// Mode argument: the bytes are UTF-8.
const UTF8: i64 = 1;
/// Flag in the number of a decoding: invalid bytes are omitted, and the converter does not fail.
const SILENT: i64 = 2;
/// Flag in the number of a decoding: overlong encodings are accepted.
const PERMISSIVE: i64 = 4;

fn check(_: &mut ConfigDraft, arguments: &mut Arguments, span: Span) -> Built {
    let code = match arguments.text(0) {
        None | Some(b"" | b"ascii") => ASCII,
        Some(b"utf8") => UTF8,
        Some(b"utf8s") => UTF8 | SILENT,
        Some(b"utf8p") => UTF8 | PERMISSIVE,
        Some(b"utf8ps") => UTF8 | SILENT | PERMISSIVE,
        Some(_) => {
            return Err(bad_argument(
                span,
                "valid encodings: 'ascii', 'utf8', 'utf8s', 'utf8p' and 'utf8ps'".into(),
            ));
        }
    };
    arguments.list = vec![Some(Argument::Int(code))];
    Ok(())
}

/// Decodes the first character of a text and its length in bytes. The character is None if the
/// bytes are invalid or do not fit into JSON's four hexadecimal digits.
fn character(text: &[u8], permissive: bool) -> (Option<u16>, usize) {
    let Some(first) = text.first().copied() else {
        return (None, 0);
    };
    let (more, bits) = match first {
        0..=0x7f => return (Some(first.into()), 1),
        0xc0..=0xdf => (1, first & 0x1f),
        0xe0..=0xef => (2, first & 0x0f),
        0xf0..=0xf7 => (3, first & 0x07),
        0xf8..=0xfb => (4, first & 0x03),
        0xfc..=0xfd => (5, first & 0x01),
        _ => return (None, 1),
    };
    let mut code = u32::from(bits);
    for n in 1..=more {
        match text.get(n) {
            Some(byte @ 0x80..=0xbf) => code = (code << 6) | u32::from(byte & 0x3f),
            _ => return (None, n),
        }
    }
    let least = [0x80, 0x800, 0x1_0000, 0x20_0000, 0x400_0000][more - 1];
    let fits = (permissive || code >= least) && char::from_u32(code).is_some();
    let small = u16::try_from(code).ok();
    (small.filter(|code| fits && *code < 0xfffe), more + 1)
}

fn push(out: &mut Vec<u8>, code: u16) {
    match u8::try_from(code).unwrap_or(0) {
        c @ (b'"' | b'\\' | b'/') => out.extend([b'\\', c]),
        0x08 => out.extend(b"\\b"),
        0x0c => out.extend(b"\\f"),
        b'\n' => out.extend(b"\\n"),
        b'\r' => out.extend(b"\\r"),
        b'\t' => out.extend(b"\\t"),
        c @ b' '..=b'~' => out.push(c),
        _ => out.extend(format!("\\u{code:04x}").into_bytes()),
    }
}

fn json<'a>(arguments: &Arguments, value: SampleValue<'a>, _: &ProxyStream) -> Sample<'a> {
    let text = value.into_text();
    let mut out = Vec::with_capacity(text.len());
    let code = arguments.int(0)?;
    let mut rest = &text[..];
    while let Some(byte) = rest.first() {
        let (character, length) = match code {
            ASCII => (Some(u16::from(*byte)), 1),
            _ => character(rest, code & PERMISSIVE != 0),
        };
        match character {
            Some(code) => push(&mut out, code),
            None if code & SILENT != 0 => {}
            None => return None,
        }
        rest = rest.get(length..).unwrap_or(b"");
    }
    Some(SampleValue::Str(Cow::Owned(out)))
}
