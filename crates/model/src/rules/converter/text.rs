//! Implements the converters of text: case, length, parts, substitution, concatenation, trimming
//! and comparison.

use super::{ConverterBuild, ConverterRow, rows};
use crate::rules::argument::{Argument, ArgumentKind, Arguments, bad_argument};
use crate::rules::draft::ConfigDraft;
use crate::rules::fetch::variable_value;
use crate::rules::regular::substitute;
use crate::rules::value::{Sample, SampleValue, Type};
use crate::transaction::ProxyStream;
use language::Span;
use language::arguments::Built;
use std::borrow::Cow;
use std::sync::Arc;

const fn text(apply: super::Apply) -> ConverterBuild {
    ConverterBuild::new(Type::Str, Type::Str, apply)
}

const PART: &[ArgumentKind] = &[ArgumentKind::Int, ArgumentKind::Text, ArgumentKind::Int];

pub(super) static ROWS: &[ConverterRow] = rows! {
    "lower",
        text(|_, v, _| changed(v, u8::is_ascii_uppercase, <[u8]>::make_ascii_lowercase)),
        "acl shop hdr(host),lower shop.example.com",
        "Converts to lower case. Non-ASCII letters are not changed.";
    "upper",
        text(|_, v, _| changed(v, u8::is_ascii_lowercase, <[u8]>::make_ascii_uppercase)),
        "acl get method,upper GET",
        "Converts to upper case. Non-ASCII letters are not changed.";
    "length", ConverterBuild::new(Type::Str, Type::Int, length), "acl long path,length gt 200",
        "The length of a text in bytes.";
    "bytes(<offset>[,<length>])", ConverterBuild::new(Type::Bin, Type::Bin, bytes).takes(&[ArgumentKind::IntOrVariable, ArgumentKind::IntOrVariable], 1).prepare(check_bytes),
        "acl begins req.payload(0,9),bytes(4,2) -m bin 0d0a",
        "Returns a part of the value: from an offset, at most this many bytes. It is empty if the value is shorter. \
         Offset and length are numbers or variables; a negative or undefined variable gives an empty value.";
    "field(<index>,<delimiters>[,<count>])", text(field).takes(PART, 2).prepare(check_part), "acl tenant path,field(2,/) red blue",
        "Returns the field with this index, separated by any of the delimiters; 1 is the first, and negative indexes \
         count from the end. A count returns several fields, 0 all remaining ones. Between two adjacent delimiters \
         there is an empty field.";
    "word(<index>,<delimiters>[,<count>])",
        text(|a, v, _| cut(a, v, true)).takes(PART, 2).prepare(check_part),
        "acl sub hdr(host),word(1,.) www",
        "Like `field`, but adjacent delimiters count as one, so no word is empty. Without a word with this index \
         there is no value.";
    "regsub(<regex>,<replacement>[,<flags>])", text(regsub).takes(&[ArgumentKind::Regex, ArgumentKind::Text, ArgumentKind::Text], 2).prepare(prepare_regsub),
        "acl clean path,regsub(/+,/,g) /admin",
        "Replaces the first match of a regular expression, or all with the flag `g`; the flag `i` ignores case. In \
         the replacement `\\0` is the match and `\\1` to `\\9` are its groups. Quote the argument if it contains \
         commas or parentheses.";
    "concat([<before>][,<variable>[,<behind>]])", text(concat).takes(&[ArgumentKind::Text, ArgumentKind::Variable, ArgumentKind::Text], 0),
        "acl both hdr(host),concat(/,txn.user) -m found",
        "Appends a text, the value of a variable, and another text. An undefined variable appends nothing.";
    "add_item(<delimiter>[,<variable>[,<text>]])", text(add_item).takes(&[ArgumentKind::Text, ArgumentKind::Variable, ArgumentKind::Text], 1).prepare(check_item),
        "acl list str(a),add_item(;,txn.user) -m found",
        "Appends the value of a variable and a text as a list item: the delimiter comes before it unless the list is \
         empty.";
    "ltrim(<characters>)", text(ltrim).takes(&[ArgumentKind::Text], 1), "acl trimmed hdr(x-list),ltrim(;) -m found",
        "Removes these characters from the beginning.";
    "rtrim(<characters>)", text(rtrim).takes(&[ArgumentKind::Text], 1), "acl slashless path,rtrim(/) /admin",
        "Removes these characters from the end.";
    "cut_crlf", text(cut_crlf), "acl first req.fhdr(x-text),cut_crlf -m found",
        "Truncates the text before its first carriage return or line feed.";
    "iif(<true>,<false>)", ConverterBuild::new(Type::Bool, Type::Str, iif).takes(&[ArgumentKind::Text, ArgumentKind::Text], 2), "acl tls ssl_fc,iif(https,http) https",
        "Returns the first text if the value is true, else the second one.";
    "strcmp(<variable>)", ConverterBuild::new(Type::Str, Type::Int, strcmp).takes(&[ArgumentKind::Variable], 1), "acl same path,strcmp(txn.path) 0",
        "Compares with the value of a variable: 0 if equal, negative if the value sorts before it, positive if after \
         it.";
};

/// Returns the text unchanged, or a copy changed by `change` if one is needed.
fn changed<'a>(
    value: SampleValue<'a>,
    needs: fn(&u8) -> bool,
    change: fn(&mut [u8]),
) -> Sample<'a> {
    let text = value.into_text();
    Some(SampleValue::Str(if text.iter().any(needs) {
        let mut owned = text.into_owned();
        change(&mut owned);
        Cow::Owned(owned)
    } else {
        text
    }))
}

fn length<'a>(_: &Arguments, value: SampleValue<'a>, _: &ProxyStream) -> Sample<'a> {
    Some(SampleValue::count(value.size()))
}

/// Returns a part of a text, borrowed if the text is.
fn part(text: Cow<'_, [u8]>, range: std::ops::Range<usize>) -> Cow<'_, [u8]> {
    match text {
        Cow::Borrowed(text) => Cow::Borrowed(&text[range]),
        Cow::Owned(mut text) => {
            text.truncate(range.end);
            text.drain(..range.start);
            Cow::Owned(text)
        }
    }
}

fn check_bytes(_: &mut ConfigDraft, arguments: &mut Arguments, span: Span) -> Built {
    let negative = |n: usize| arguments.int(n).is_some_and(|n| n < 0);
    if negative(0) || negative(1) {
        return Err(bad_argument(
            span,
            "offset and length cannot be negative".into(),
        ));
    }
    Ok(())
}

/// Returns an offset or length: the n-th argument, or the value of its variable. None is out of
/// range for any text.
fn place(arguments: &Arguments, n: usize, stream: &ProxyStream) -> Option<usize> {
    let number = match arguments.variable(n) {
        Some(name) => variable_value(name, stream)?.integer()?,
        None => arguments.int(n)?,
    };
    usize::try_from(number).ok()
}

fn bytes<'a>(arguments: &Arguments, value: SampleValue<'a>, stream: &ProxyStream) -> Sample<'a> {
    let text = value.into_bytes()?;
    let whole = arguments.list.get(1).is_none_or(Option::is_none);
    let length = if whole {
        Some(usize::MAX)
    } else {
        place(arguments, 1, stream)
    };
    let range = match (place(arguments, 0, stream), length) {
        (Some(start), Some(length)) if start < text.len() => {
            start..start.saturating_add(length).min(text.len())
        }
        _ => 0..0,
    };
    Some(SampleValue::Bin(part(text, range)))
}

fn check_part(_: &mut ConfigDraft, arguments: &mut Arguments, span: Span) -> Built {
    if arguments.int(0) == Some(0) {
        return Err(bad_argument(
            span,
            "indexes count from 1, or from -1 backwards".into(),
        ));
    }
    if arguments.int(2).is_some_and(|n| n < 0) {
        return Err(bad_argument(span, "the count cannot be negative".into()));
    }
    if arguments.text(1).is_none_or(<[u8]>::is_empty) {
        return Err(bad_argument(span, "delimiters are expected".into()));
    }
    Ok(())
}

/// Returns the ranges of the fields of a text, in order, or of its words, which are never empty.
fn fields<'t>(
    text: &'t [u8],
    delimiters: &'t [u8],
    words: bool,
) -> impl DoubleEndedIterator<Item = (usize, usize)> + 't {
    let base = text.as_ptr() as usize;
    text.split(|b| delimiters.contains(b))
        .filter(move |field| !words || !field.is_empty())
        // Computes the offset of each field from its address, because the field borrows from the
        // text.
        .map(move |field| {
            (
                field.as_ptr() as usize - base,
                field.as_ptr() as usize - base + field.len(),
            )
        })
}

/// Returns the range of the requested number of fields from an index on. If there are fewer, the
/// range ends at the end of the text (backwards: at its beginning).
fn range(text: &[u8], arguments: &Arguments, words: bool) -> Option<std::ops::Range<usize>> {
    let index = arguments.int(0)?;
    let delimiters = arguments.text(1)?;
    let count = usize::try_from(arguments.int(2).unwrap_or(1)).ok()?;
    let steps = usize::try_from(index.unsigned_abs()).ok()?.checked_sub(1)?;
    let all = fields(text, delimiters, words);
    if index > 0 {
        let mut all = all.skip(steps).peekable();
        let start = all.peek()?.0;
        let last = count.checked_sub(1).and_then(|n| all.nth(n));
        Some(start..last.map_or(text.len(), |(_, end)| end))
    } else {
        let mut all = all.rev().skip(steps).peekable();
        let end = all.peek()?.1;
        let last = count.checked_sub(1).and_then(|n| all.nth(n));
        Some(last.map_or(0, |(start, _)| start)..end)
    }
}

fn cut<'a>(arguments: &Arguments, value: SampleValue<'a>, words: bool) -> Sample<'a> {
    let text = value.into_text();
    let range = range(&text, arguments, words)?;
    Some(SampleValue::Str(part(text, range)))
}

fn field<'a>(arguments: &Arguments, value: SampleValue<'a>, _: &ProxyStream) -> Sample<'a> {
    cut(arguments, value, false)
}

/// Converts the flags of `regsub` into a compiled expression, and whether all matches are replaced.
fn prepare_regsub(_: &mut ConfigDraft, arguments: &mut Arguments, span: Span) -> Built {
    let flags = arguments.text(2).unwrap_or(b"").to_vec();
    if let Some(bad) = flags.iter().find(|flag| !b"gi".contains(flag)) {
        return Err(bad_argument(
            span,
            format!(
                "valid flags of regsub: 'g' and 'i', not '{}'",
                char::from(*bad)
            ),
        ));
    }
    if flags.contains(&b'i') {
        let compiled = arguments.regex(0).map(|regular| {
            let compiled = regular.ignoring_case();
            compiled.map_err(|error| error.diagnostic(span, regular.pattern()))
        });
        let compiled = compiled.transpose()?;
        arguments.list[0] = compiled.map(|compiled| Argument::Regex(Arc::new(compiled)));
    }
    arguments.list.truncate(2);
    arguments
        .list
        .push(Some(Argument::Bool(flags.contains(&b'g'))));
    Ok(())
}

fn regsub<'a>(arguments: &Arguments, value: SampleValue<'a>, _: &ProxyStream) -> Sample<'a> {
    let text = value.into_text();
    let all = arguments.bool(2).unwrap_or(false);
    let replaced = substitute(arguments.regex(0)?, &text, arguments.text(1)?, all);
    Some(SampleValue::Str(replaced.map_or(text, Cow::Owned)))
}

fn concat<'a>(arguments: &Arguments, value: SampleValue<'a>, stream: &ProxyStream) -> Sample<'a> {
    let mut text = value.into_text().into_owned();
    text.extend_from_slice(arguments.text(0).unwrap_or(b""));
    if let Some(found) = arguments
        .variable(1)
        .and_then(|name| variable_value(name, stream))
    {
        found.write_text(&mut text);
    }
    text.extend_from_slice(arguments.text(2).unwrap_or(b""));
    Some(SampleValue::Str(Cow::Owned(text)))
}

fn check_item(_: &mut ConfigDraft, arguments: &mut Arguments, span: Span) -> Built {
    if arguments.variable(1).is_none() && arguments.text(2).is_none() {
        return Err(bad_argument(
            span,
            "add_item expects a variable, a text, or both".into(),
        ));
    }
    Ok(())
}

fn add_item<'a>(arguments: &Arguments, value: SampleValue<'a>, stream: &ProxyStream) -> Sample<'a> {
    let mut text = value.into_text().into_owned();
    let found = arguments
        .variable(1)
        .and_then(|name| variable_value(name, stream));
    let behind = arguments.text(2).unwrap_or(b"");
    if found.is_some() || !behind.is_empty() {
        if !text.is_empty() {
            text.extend_from_slice(arguments.text(0).unwrap_or(b""));
        }
        if let Some(found) = found {
            found.write_text(&mut text);
        }
        text.extend_from_slice(behind);
    }
    Some(SampleValue::Str(Cow::Owned(text)))
}

fn ltrim<'a>(arguments: &Arguments, value: SampleValue<'a>, _: &ProxyStream) -> Sample<'a> {
    let text = value.into_text();
    let trim = arguments.text(0)?;
    let start = text.iter().take_while(|b| trim.contains(b)).count();
    let end = text.len();
    Some(SampleValue::Str(part(text, start..end)))
}

fn rtrim<'a>(arguments: &Arguments, value: SampleValue<'a>, _: &ProxyStream) -> Sample<'a> {
    let text = value.into_text();
    let trim = arguments.text(0)?;
    let end = text.len() - text.iter().rev().take_while(|b| trim.contains(b)).count();
    Some(SampleValue::Str(part(text, 0..end)))
}

fn cut_crlf<'a>(_: &Arguments, value: SampleValue<'a>, _: &ProxyStream) -> Sample<'a> {
    let text = value.into_text();
    let end = memchr::memchr2(b'\r', b'\n', &text).unwrap_or(text.len());
    Some(SampleValue::Str(part(text, 0..end)))
}

fn iif<'a>(arguments: &'a Arguments, value: SampleValue<'a>, _: &ProxyStream) -> Sample<'a> {
    let place = if value.truth()? { 0 } else { 1 };
    Some(SampleValue::text(arguments.text(place).unwrap_or(b"")))
}

fn strcmp<'a>(arguments: &Arguments, value: SampleValue<'a>, stream: &ProxyStream) -> Sample<'a> {
    let other = variable_value(arguments.variable(0)?, stream)?;
    let text = value.into_text();
    let ordering = other.with_text(|other| text.as_ref().cmp(other));
    Some(SampleValue::Int(ordering as i64))
}
