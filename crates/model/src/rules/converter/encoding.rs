//! Implements the converters between bytes and their encodings: URLs, Base64, and digits to the
//! bases 2, 10 and 16.

use super::{ConverterBuild, ConverterRow, rows};
use crate::rules::argument::{ArgumentKind, Arguments, bad_argument};
use crate::rules::draft::ConfigDraft;
use crate::rules::value::{Sample, SampleValue, Type};
use crate::transaction::ProxyStream;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use language::Span;
use language::arguments::Built;
use std::borrow::Cow;

const fn encodes(apply: super::Apply) -> ConverterBuild {
    ConverterBuild::new(Type::Bin, Type::Str, apply)
}

const fn decodes(apply: super::Apply) -> ConverterBuild {
    ConverterBuild::new(Type::Str, Type::Bin, apply)
}

const CHUNKED: &[ArgumentKind] = &[ArgumentKind::Text, ArgumentKind::Int, ArgumentKind::Int];

pub(super) static ROWS: &[ConverterRow] = rows! {
    "url_dec[(<in form>)]", ConverterBuild::new(Type::Str, Type::Str, url_dec).takes(&[ArgumentKind::Int], 0),
        "acl admin path,url_dec -m beg /admin",
        "Decodes the percent-encoding of a URL. A plus sign becomes a space after a question mark, or everywhere with \
         an argument of 1. There is no value if the encoding is invalid.";
    "url_enc[(query)]", ConverterBuild::new(Type::Str, Type::Str, url_enc).takes(&[ArgumentKind::Text], 0).prepare(check_query),
        "acl same path,url_enc -m found",
        "Percent-encodes characters that are not allowed in a URL query.";
    "base64",
        encodes(|_, v, _| owned_text(STANDARD.encode(v.into_bytes()?))),
        "acl word hdr(x-word),base64 aGVsbG8=",
        "Encodes bytes in base64, with padding.";
    "b64dec", decodes(b64dec), "acl word hdr(x-word),b64dec -m str hello",
        "Decodes base64 with padding. There is no value if the encoding is invalid.";
    "ub64enc",
        encodes(|_, v, _| owned_text(URL_SAFE_NO_PAD.encode(v.into_bytes()?))),
        "acl word hdr(x-word),ub64enc aGVsbG8",
        "Encodes in base64url without padding.";
    "ub64dec", decodes(ub64dec), "acl word hdr(x-word),ub64dec -m str hello",
        "Decodes base64url, as used in tokens. There is no value if the encoding is invalid.";
    "hex", encodes(hex), "acl local src,hex 7F000001",
        "Returns two upper-case hexadecimal digits for each byte. A number has eight bytes, an address four or \
         sixteen.";
    "hex2i", ConverterBuild::new(Type::Str, Type::Int, hex2i), "acl mark hdr(x-mark),hex2i gt 15",
        "Converts hexadecimal digits to a number. There is no value if a character is not a digit.";
    "be2hex([<separator>[,<chunk>[,<truncate>]]])", encodes(be2hex).takes(CHUNKED, 0).prepare(check_hex_chunk),
        "acl bytes req.payload(0,2),be2hex(:,1) 16:03",
        "Returns hexadecimal digits, with a separator between chunks of this many bytes. With a third argument of 1 \
         an incomplete last chunk is omitted.";
    "be2dec(<separator>,<chunk>[,<truncate>])", encodes(be2dec).takes(CHUNKED, 2).prepare(check_dec_chunk),
        "acl bytes req.payload(0,2),be2dec(:,1) 22:3",
        "Converts chunks of this many bytes to decimal numbers (big-endian), with a separator between them. With a \
         third argument of 1 an incomplete last chunk is omitted.";
    "le2dec(<separator>,<chunk>[,<truncate>])", encodes(le2dec).takes(CHUNKED, 2).prepare(check_dec_chunk),
        "acl bytes req.payload(0,2),le2dec(:,1) 22:3",
        "Like `be2dec`, but little-endian.";
    "base2", encodes(base2), "acl flags src,base2 -m beg 0000",
        "Returns eight binary digits for each byte.";
    "htonl", ConverterBuild::new(Type::Int, Type::Bin, htonl), "acl bytes int(1),htonl -m bin 00000001",
        "Returns the lower 32 bits of a number as four bytes, big-endian.";
};

fn url_dec<'a>(arguments: &Arguments, value: SampleValue<'a>, _: &ProxyStream) -> Sample<'a> {
    let text = value.into_text();
    let in_form = arguments.int(0).unwrap_or(0) != 0;
    if memchr::memchr3(b'%', b'+', b'?', &text).is_none() {
        return Some(SampleValue::Str(text));
    }
    Some(SampleValue::Str(Cow::Owned(url_decoded(&text, in_form)?)))
}

/// Decodes percent signs in a URL or a part of one; returns None if a percent sign is not followed
/// by two hexadecimal digits. In a form, and after `?`, `+` is a blank.
pub fn url_decoded(text: &[u8], mut in_form: bool) -> Option<Vec<u8>> {
    let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.iter().copied();
    while let Some(byte) = bytes.next() {
        out.push(match byte {
            b'%' => (digit(bytes.next())? * 16 + digit(bytes.next())?) as u8,
            b'+' if in_form => b' ',
            b'?' => {
                in_form = true;
                b'?'
            }
            other => other,
        });
    }
    Some(out)
}

fn check_query(_: &mut ConfigDraft, arguments: &mut Arguments, span: Span) -> Built {
    match arguments.text(0) {
        None | Some(b"query") => Ok(()),
        Some(_) => Err(bad_argument(
            span,
            "url_enc supports only the type 'query'".into(),
        )),
    }
}

fn url_enc<'a>(_: &Arguments, value: SampleValue<'a>, _: &ProxyStream) -> Sample<'a> {
    let text = value.into_text();
    let kept = |b: &u8| b.is_ascii_alphanumeric() || b"-._~".contains(b);
    if text.iter().all(kept) {
        return Some(SampleValue::Str(text));
    }
    let mut out = Vec::with_capacity(text.len() * 3);
    for byte in text.iter() {
        if kept(byte) {
            out.push(*byte);
        } else {
            out.push(b'%');
            push_hex(&mut out, *byte);
        }
    }
    Some(SampleValue::Str(Cow::Owned(out)))
}

fn push_hex(out: &mut Vec<u8>, byte: u8) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    out.extend([
        DIGITS[usize::from(byte >> 4)],
        DIGITS[usize::from(byte & 15)],
    ]);
}

fn owned_text<'a>(text: String) -> Sample<'a> {
    Some(SampleValue::Str(Cow::Owned(text.into_bytes())))
}

fn b64dec<'a>(_: &Arguments, value: SampleValue<'a>, _: &ProxyStream) -> Sample<'a> {
    STANDARD
        .decode(value.into_text())
        .ok()
        .map(|bytes| SampleValue::Bin(Cow::Owned(bytes)))
}

fn ub64dec<'a>(_: &Arguments, value: SampleValue<'a>, _: &ProxyStream) -> Sample<'a> {
    let text = value.into_text();
    let padding = text.iter().rev().take_while(|b| **b == b'=').count();
    URL_SAFE_NO_PAD
        .decode(&text[..text.len() - padding])
        .ok()
        .map(|bytes| SampleValue::Bin(Cow::Owned(bytes)))
}

fn hex<'a>(_: &Arguments, value: SampleValue<'a>, _: &ProxyStream) -> Sample<'a> {
    let bytes = value.into_bytes()?;
    let mut out = Vec::with_capacity(bytes.len() * 2);
    bytes.iter().for_each(|byte| push_hex(&mut out, *byte));
    Some(SampleValue::Str(Cow::Owned(out)))
}

fn hex2i<'a>(_: &Arguments, value: SampleValue<'a>, _: &ProxyStream) -> Sample<'a> {
    let mut n: u64 = 0;
    for byte in value.into_text().iter() {
        n = (n << 4) | u64::from(char::from(*byte).to_digit(16)?);
    }
    Some(SampleValue::Int(n as i64))
}

/// Checks that the chunk size is between 1 and `max` bytes, and that the last argument is 0 or 1.
fn check_chunk(arguments: &Arguments, span: Span, max: i64) -> Built {
    if arguments
        .int(1)
        .is_some_and(|size| !(1..=max).contains(&size))
    {
        return Err(bad_argument(
            span,
            format!("a chunk has from 1 to {max} bytes"),
        ));
    }
    if arguments.int(2).is_some_and(|n| !(0..=1).contains(&n)) {
        return Err(bad_argument(span, "the last argument is 0 or 1".into()));
    }
    Ok(())
}

fn check_hex_chunk(_: &mut ConfigDraft, arguments: &mut Arguments, span: Span) -> Built {
    check_chunk(arguments, span, i32::MAX.into())
}

fn check_dec_chunk(_: &mut ConfigDraft, arguments: &mut Arguments, span: Span) -> Built {
    check_chunk(arguments, span, 8)
}

/// Writes the value in chunks with separators between them.
fn chunked<'a>(
    arguments: &Arguments,
    value: SampleValue<'a>,
    write: fn(&mut Vec<u8>, &[u8]),
) -> Sample<'a> {
    let bytes = value.into_bytes()?;
    let size = arguments
        .int(1)
        .and_then(|n| usize::try_from(n).ok())
        .unwrap_or(bytes.len().max(1));
    let truncate = arguments.int(2) == Some(1);
    let mut out = Vec::new();
    for chunk in bytes
        .chunks(size.max(1))
        .filter(|chunk| !truncate || chunk.len() == size)
    {
        if !out.is_empty() {
            out.extend_from_slice(arguments.text(0).unwrap_or(b""));
        }
        write(&mut out, chunk);
    }
    Some(SampleValue::Str(Cow::Owned(out)))
}

fn be2hex<'a>(arguments: &Arguments, value: SampleValue<'a>, _: &ProxyStream) -> Sample<'a> {
    chunked(arguments, value, |out, chunk| {
        chunk.iter().for_each(|byte| push_hex(out, *byte))
    })
}

fn be2dec<'a>(arguments: &Arguments, value: SampleValue<'a>, _: &ProxyStream) -> Sample<'a> {
    chunked(arguments, value, |out, chunk| {
        let n = chunk
            .iter()
            .fold(0_u64, |n, byte| (n << 8) | u64::from(*byte));
        out.extend_from_slice(n.to_string().as_bytes());
    })
}

fn le2dec<'a>(arguments: &Arguments, value: SampleValue<'a>, _: &ProxyStream) -> Sample<'a> {
    chunked(arguments, value, |out, chunk| {
        let n = chunk
            .iter()
            .rev()
            .fold(0_u64, |n, byte| (n << 8) | u64::from(*byte));
        out.extend_from_slice(n.to_string().as_bytes());
    })
}

fn base2<'a>(_: &Arguments, value: SampleValue<'a>, _: &ProxyStream) -> Sample<'a> {
    let bytes = value.into_bytes()?;
    let bits = bytes.iter().map(|byte| format!("{byte:08b}"));
    owned_text(bits.collect())
}

fn htonl<'a>(_: &Arguments, value: SampleValue<'a>, _: &ProxyStream) -> Sample<'a> {
    Some(SampleValue::Bin(Cow::Owned(
        (value.integer()? as u32).to_be_bytes().to_vec(),
    )))
}
