//! Implements the converter `json_query`: looks values up in JSON without a parse tree. The text is
//! read up to the requested value and no further, so errors after it have no effect.

use super::{ConverterBuild, ConverterRow, rows};
use crate::rules::argument::{Argument, ArgumentKind, Arguments, bad_argument};
use crate::rules::draft::ConfigDraft;
use crate::rules::value::{Sample, SampleValue, Type};
use crate::transaction::ProxyStream;
use language::Span;
use language::arguments::Built;
use std::borrow::Cow;

pub(super) static ROWS: &[ConverterRow] = rows! {
    "json_query(<path>[,<type>])", ConverterBuild::new(Type::Str, Type::Any, apply).takes(&[ArgumentKind::Text, ArgumentKind::Text], 1).prepare(prepare),
        "acl example req.body,json_query('$.user.name') -m found",
        "Returns a value from JSON: `$` is the root, `.name` a member, `[0]` an element; a backslash escapes a dot in \
         a name. A string is returned without its quotes, a boolean as a boolean, a number as text or, with the type \
         `int`, as a number, an array as text.";
};

/// Maximum depth of nested containers that are skipped.
const DEPTH_MAX: usize = 128;
/// Maximum number of steps of a path.
const STEPS_MAX: usize = 32;

/// First byte of a compiled step that selects the member with a key. A path is compiled to one text
/// for each step.
const KEY: u8 = b'.';
/// First byte of a compiled step that selects the array element with an index.
const INDEX: u8 = b'[';

/// JSON text that begins with the value found; its first byte determines the type.
#[derive(Clone, Copy, Debug)]
pub struct JsonMatch<'t>(&'t [u8]);

/// Splits a path into its steps; returns None for an invalid path.
pub(super) fn steps(path: &[u8]) -> Option<Vec<Box<[u8]>>> {
    let mut rest = path.strip_prefix(b"$")?;
    let mut steps = Vec::new();
    while let Some((first, after)) = rest.split_first() {
        let mut step = vec![*first];
        rest = match *first {
            KEY => {
                let mut bytes = after;
                while let Some((byte, behind)) = bytes.split_first() {
                    match *byte {
                        KEY | INDEX => break,
                        b'\\' => {
                            let (escaped, behind) = behind.split_first()?;
                            step.push(*escaped);
                            bytes = behind;
                        }
                        other => {
                            step.push(other);
                            bytes = behind;
                        }
                    }
                }
                bytes
            }
            INDEX => {
                let end = after.iter().position(|b| *b == b']')?;
                let inner = &after[..end];
                let quoted =
                    |q: u8| inner.len() >= 2 && inner.starts_with(&[q]) && inner.ends_with(&[q]);
                if quoted(b'\'') || quoted(b'"') {
                    step[0] = KEY;
                    step.extend_from_slice(&inner[1..inner.len() - 1]);
                } else {
                    let index: u32 = std::str::from_utf8(inner).ok()?.parse().ok()?;
                    step.extend_from_slice(&index.to_be_bytes());
                }
                &after[end + 1..]
            }
            _ => return None,
        };
        steps.push(step.into());
    }
    (steps.len() <= STEPS_MAX).then_some(steps)
}

fn blank(text: &[u8], at: usize) -> usize {
    let rest = text.get(at..).unwrap_or(b"");
    at + rest.iter().take_while(|b| b" \t\r\n".contains(b)).count()
}

/// Returns the offset after the string that begins at `at`.
fn string_end(text: &[u8], at: usize) -> Option<usize> {
    let mut at = at + 1;
    loop {
        match text.get(at)? {
            b'"' => return Some(at + 1),
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
}

/// Returns the offset after the value that begins at `at`.
fn value_end(text: &[u8], at: usize) -> Option<usize> {
    let (mut at, mut depth) = (at, 0_usize);
    loop {
        match text.get(at)? {
            b'"' => at = string_end(text, at)?,
            b'{' | b'[' => {
                depth += 1;
                if depth > DEPTH_MAX {
                    return None;
                }
                at += 1;
                continue;
            }
            b'}' | b']' => {
                depth = depth.checked_sub(1)?;
                at += 1;
            }
            b',' | b':' | b' ' | b'\t' | b'\r' | b'\n' if depth > 0 => {
                at += 1;
                continue;
            }
            _ => {
                let rest = &text[at..];
                let length = rest
                    .iter()
                    .take_while(|b| !b",:]}\" \t\r\n[{".contains(b))
                    .count();
                if length == 0 {
                    return None;
                }
                at += length;
            }
        }
        if depth == 0 {
            return Some(at);
        }
    }
}

/// Returns the offset of the member with a name, or of the element with an index.
fn descend(text: &[u8], at: usize, step: &[u8]) -> Option<usize> {
    let (kind, wanted) = step.split_first()?;
    let is_object = *kind == KEY;
    if *text.get(at)? != if is_object { b'{' } else { b'[' } {
        return None;
    }
    let index = <[u8; 4]>::try_from(wanted).map(u32::from_be_bytes);
    let mut at = blank(text, at + 1);
    let mut passed = 0;
    loop {
        let mut found = !is_object && index.is_ok_and(|index| index == passed);
        if is_object {
            if *text.get(at)? != b'"' {
                return None;
            }
            let end = string_end(text, at)?;
            found = unescaped(text.get(at + 1..end - 1)?)? == wanted;
            at = blank(text, end);
            if *text.get(at)? != b':' {
                return None;
            }
            at = blank(text, at + 1);
        }
        if found {
            return Some(at);
        }
        at = blank(text, value_end(text, at)?);
        if *text.get(at)? != b',' {
            return None;
        }
        at = blank(text, at + 1);
        passed += 1;
    }
}

pub(super) fn find<'t, 's>(
    text: &'t [u8],
    mut steps: impl Iterator<Item = &'s [u8]>,
) -> Option<JsonMatch<'t>> {
    let start = steps.try_fold(blank(text, 0), |at, step| descend(text, at, step))?;
    let end = value_end(text, start)?;
    text.get(start..end).map(JsonMatch)
}

/// Decodes the escapes of a string; returns None if they are invalid.
fn unescaped(text: &[u8]) -> Option<Cow<'_, [u8]>> {
    if !text.contains(&b'\\') {
        return Some(Cow::Borrowed(text));
    }
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((byte, after)) = rest.split_first() {
        rest = after;
        if *byte != b'\\' {
            out.push(*byte);
            continue;
        }
        let (escape, after) = rest.split_first()?;
        rest = after;
        out.push(match escape {
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'b' => 8,
            b'f' => 12,
            b'u' => {
                let (character, after) = unicode(rest)?;
                rest = after;
                out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
                continue;
            }
            b'"' | b'\\' | b'/' => *escape,
            _ => return None,
        });
    }
    Some(Cow::Owned(out))
}

/// Decodes the character of a `\u` escape, which may be a surrogate pair.
fn unicode(text: &[u8]) -> Option<(char, &[u8])> {
    let unit = |text: &[u8]| -> Option<u16> {
        let digits = std::str::from_utf8(text.get(..4)?).ok()?;
        u16::from_str_radix(digits, 16).ok()
    };
    let first = unit(text)?;
    let mut units = vec![first];
    let mut rest = &text[4..];
    if (0xd800..0xdc00).contains(&first) {
        units.push(unit(rest.strip_prefix(b"\\u")?)?);
        rest = &rest[6..];
    }
    let character = char::decode_utf16(units).next()?.ok()?;
    Some((character, rest))
}

impl<'t> JsonMatch<'t> {
    /// Returns the value, converted to a number if requested.
    pub(super) fn value(self, as_number: bool) -> Sample<'t> {
        let text = self.0;
        match text.first()? {
            b'"' => {
                let inner = unescaped(text.get(1..text.len() - 1)?)?;
                if as_number {
                    number(&inner)
                } else {
                    Some(SampleValue::Str(inner))
                }
            }
            b't' if text == b"true" => Some(SampleValue::Bool(true)),
            b'f' if text == b"false" => Some(SampleValue::Bool(false)),
            b'-' | b'0'..=b'9' => {
                if as_number {
                    number(text)
                } else {
                    Some(SampleValue::text(text))
                }
            }
            b'[' if !as_number => Some(SampleValue::text(text)),
            _ => None,
        }
    }
}

fn number<'a>(text: &[u8]) -> Sample<'a> {
    /// Smallest floating point number that exceeds the range of 64 bits.
    const BEYOND: f64 = 9_223_372_036_854_775_808.0;
    let text = std::str::from_utf8(text).ok()?;
    if let Ok(whole) = text.parse() {
        return Some(SampleValue::Int(whole));
    }
    let near: f64 = text.parse().ok()?;
    (near.abs() < BEYOND).then_some(SampleValue::Int(near as i64))
}

/// Compiles the path and the output type in the arguments. The result is a list that begins with
/// whether a number is requested, followed by the steps.
pub(super) fn compile(arguments: &mut Arguments, span: Span) -> Built {
    let as_number = match arguments.text(1) {
        None => false,
        Some(b"int") => true,
        Some(other) => {
            return Err(bad_argument(
                span,
                format!(
                    "the type must be 'int', not '{}'",
                    String::from_utf8_lossy(other)
                ),
            ));
        }
    };
    let path = arguments.text(0).unwrap_or(b"");
    let Some(steps) = steps(path) else {
        return Err(bad_argument(
            span,
            format!(
                "'{}' is not a JSON path: it begins with '$', followed by '.name' and '[0]'",
                String::from_utf8_lossy(path)
            ),
        ));
    };
    let steps = steps.into_iter().map(|step| Some(Argument::Text(step)));
    arguments.list = std::iter::once(Some(Argument::Bool(as_number)))
        .chain(steps)
        .collect();
    Ok(())
}

/// Looks a value up with arguments that [`compile`] created.
pub(super) fn query<'t>(arguments: &Arguments, text: &'t [u8]) -> Sample<'t> {
    let steps = (1..arguments.list.len()).filter_map(|n| arguments.text(n));
    find(text, steps)?.value(arguments.bool(0)?)
}

fn prepare(_: &mut ConfigDraft, arguments: &mut Arguments, span: Span) -> Built {
    compile(arguments, span)
}

fn apply<'a>(arguments: &Arguments, value: SampleValue<'a>, _: &ProxyStream) -> Sample<'a> {
    match value.into_text() {
        Cow::Borrowed(text) => query(arguments, text),
        Cow::Owned(text) => query(arguments, &text).map(SampleValue::into_owned),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(text: &str, path: &str, as_number: bool) -> Sample<'static> {
        let steps = steps(path.as_bytes()).unwrap();
        find(text.as_bytes(), steps.iter().map(|step| &**step))?
            .value(as_number)
            .map(SampleValue::into_owned)
    }

    #[test]
    fn values_are_found_by_their_path() {
        let text = r#" {"a":{"b":[1, {"c.d":"e\n\u00e4"} ,-2.5]},"t":true, "n":null,"s":"12"} "#;
        let rows: &[(&str, bool, Sample<'_>)] = &[
            ("$.a.b[0]", false, Some(SampleValue::text(b"1"))),
            ("$.a.b[0]", true, Some(SampleValue::Int(1))),
            (
                "$.a.b[1].c\\.d",
                false,
                Some(SampleValue::text("e\n\u{e4}".as_bytes())),
            ),
            ("$['a'].b[2]", false, Some(SampleValue::text(b"-2.5"))),
            ("$.a.b[2]", true, Some(SampleValue::Int(-2))),
            ("$.t", false, Some(SampleValue::Bool(true))),
            ("$.n", false, None),
            ("$.s", true, Some(SampleValue::Int(12))),
            ("$.a.b[3]", false, None),
            ("$.a[0]", false, None),
            ("$.x", false, None),
        ];
        for (path, as_number, wanted) in rows {
            assert_eq!(look(text, path, *as_number), *wanted, "{path}");
        }
    }

    #[test]
    fn nonsense_and_depth_end_it() {
        let deep = "[".repeat(100_000);
        for text in [
            "",
            "{",
            "{\"a\"",
            "{\"a\":",
            "{\"a\":\"",
            "{\"a\":\"\\",
            "{a:1}",
            "]",
            &deep,
        ] {
            assert_eq!(look(text, "$.a", false), None);
            assert_eq!(look(text, "$", false), None);
        }
    }

    #[test]
    fn paths_have_a_form() {
        for wrong in ["", "a", "$a", "$[", "$[x]", "$.a\\"] {
            assert!(steps(wrong.as_bytes()).is_none(), "{wrong}");
        }
    }
}
