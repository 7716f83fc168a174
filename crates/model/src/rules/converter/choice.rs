//! Implements converters of text: they select a parameter by name or a language, compare with a
//! secret, reverse a text or a domain name, and find control characters.

use super::{ConverterBuild, ConverterRow, rows};
use crate::rules::argument::{ArgumentKind, Arguments, bad_argument};
use crate::rules::draft::ConfigDraft;
use crate::rules::fetch::variable_value;
use crate::rules::value::{Sample, SampleValue, Type};
use crate::transaction::ProxyStream;
use aws_lc_rs::constant_time::verify_slices_are_equal;
use language::Span;
use language::arguments::Built;
use std::borrow::Cow;

pub(super) static ROWS: &[ConverterRow] = rows! {
    "param(<name>[,<delimiter>])", ConverterBuild::new(Type::Str, Type::Str, param).takes(&[ArgumentKind::Text, ArgumentKind::Text], 1).prepare(check_param),
        "acl example query,param(user) -m found",
        "Returns the value of the first parameter with this name in a text such as `a=1&b=2`. A parameter without a \
         value is an empty text. The delimiter is one character, by default `&`.";
    "language(<languages>[,<default>])", ConverterBuild::new(Type::Str, Type::Str, language).takes(&[ArgumentKind::Text, ArgumentKind::Text], 1),
        "acl french req.fhdr(accept-language),language(es;fr;en) -m str fr",
        "Returns the preferred one of the semicolon-separated languages, according to an Accept-Language header; \
         without a match the default, or no value.";
    "secure_memcmp(<variable>)", ConverterBuild::new(Type::Bin, Type::Bool, same).takes(&[ArgumentKind::Variable], 1),
        "acl known req.hdr(x-token),secure_memcmp(txn.token)",
        "Compares the value with a variable in constant time.";
    "reverse", ConverterBuild::new(Type::Str, Type::Str, reverse), "acl image path,reverse -m beg gpj.",
        "Reverses the bytes of the text.";
    "reverse_dom", ConverterBuild::new(Type::Str, Type::Str, reverse_domain), "acl site req.hdr(host),reverse_dom -m beg org.example.",
        "Reverses the parts of a domain name: `www.example.org` becomes `org.example.www`. A dot at the end is dropped. \
         There is no value if a part is empty.";
    "has_ctl", ConverterBuild::new(Type::Bin, Type::Bool, has_control), "acl odd path,url_dec,has_ctl",
        "Tests whether the value contains a control character.";
};

fn check_param(_: &mut ConfigDraft, arguments: &mut Arguments, span: Span) -> Built {
    match arguments.text(1) {
        None | Some([_]) => Ok(()),
        Some(_) => Err(bad_argument(
            span,
            "the delimiter must be one character".into(),
        )),
    }
}

fn param<'a>(arguments: &Arguments, value: SampleValue<'a>, _: &ProxyStream) -> Sample<'a> {
    let wanted = arguments.text(0)?;
    let delimiter = match arguments.text(1) {
        Some([delimiter]) => *delimiter,
        _ => b'&',
    };
    let of = |text: &[u8]| {
        let mut at = 0;
        for part in text.split(|b| *b == delimiter) {
            let name = memchr::memchr(b'=', part).unwrap_or(part.len());
            if &part[..name] == wanted {
                let start = at + (name + 1).min(part.len());
                return Some(start..at + part.len());
            }
            at += part.len() + 1;
        }
        None
    };
    Some(SampleValue::Str(match value.into_text() {
        Cow::Borrowed(text) => Cow::Borrowed(text.get(of(text)?)?),
        Cow::Owned(text) => Cow::Owned(text.get(of(&text)?)?.to_vec()),
    }))
}

/// Returns the weight of a language, in thousandths.
fn weight(parameters: &[u8]) -> u32 {
    let q = parameters.trim_ascii();
    let Some(number) = q.strip_prefix(b"q").or(q.strip_prefix(b"Q")) else {
        return 1000;
    };
    let Some(number) = number.trim_ascii_start().strip_prefix(b"=") else {
        return 1000;
    };
    let number = std::str::from_utf8(number.trim_ascii()).ok();
    let number: Option<f32> = number.and_then(|number| number.parse().ok());
    // Treats a missing or invalid number as the full weight.
    number.map_or(1000, |n| (n.clamp(0.0, 1.0) * 1000.0) as u32)
}

fn language<'a>(arguments: &'a Arguments, value: SampleValue<'a>, _: &ProxyStream) -> Sample<'a> {
    let known = arguments.text(0)?;
    let among = |name: &[u8]| {
        known
            .split(|b| *b == b';')
            .find(|k| *k == name && !k.is_empty())
    };
    let text = value.into_text();
    let mut best: Option<(u32, &'a [u8])> = None;
    for item in text.split(|b| *b == b',') {
        let end = memchr::memchr(b';', item).unwrap_or(item.len());
        let name = item[..end].trim_ascii();
        let weight = item.get(end + 1..).map_or(1000, weight);
        if weight == 0 || best.is_some_and(|(heaviest, _)| heaviest >= weight) {
            continue;
        }
        let base = memchr::memchr(b'-', name).map(|dash| &name[..dash]);
        if let Some(found) = among(name).or_else(|| among(base?)) {
            best = Some((weight, found));
        }
    }
    let found = best.map(|(_, language)| language);
    found.or_else(|| arguments.text(1)).map(SampleValue::text)
}

fn same<'a>(arguments: &Arguments, value: SampleValue<'a>, stream: &ProxyStream) -> Sample<'a> {
    let other = variable_value(arguments.variable(0)?, stream)?.into_bytes()?;
    let same = verify_slices_are_equal(&value.into_bytes()?, &other).is_ok();
    Some(SampleValue::Bool(same))
}

fn reverse<'a>(_: &Arguments, value: SampleValue<'a>, _: &ProxyStream) -> Sample<'a> {
    let mut text = value.into_text().into_owned();
    text.reverse();
    Some(SampleValue::Str(Cow::Owned(text)))
}

fn reverse_domain<'a>(_: &Arguments, value: SampleValue<'a>, _: &ProxyStream) -> Sample<'a> {
    let text = value.into_text();
    let name = text.strip_suffix(b".").unwrap_or(&text);
    let mut parts: Vec<&[u8]> = name.split(|b| *b == b'.').collect();
    if parts.iter().any(|part| part.is_empty()) {
        return None;
    }
    parts.reverse();
    Some(SampleValue::Str(Cow::Owned(parts.join(&b'.'))))
}

fn has_control<'a>(_: &Arguments, value: SampleValue<'a>, _: &ProxyStream) -> Sample<'a> {
    let bytes = value.into_bytes()?;
    Some(SampleValue::Bool(bytes.iter().any(u8::is_ascii_control)))
}
