//! The converter that writes a text for use within JSON.

use super::{ConverterBuild, ConverterRow, rows};
use crate::load::Loader;
use crate::rules::argument::{Argument, Arguments, Kind, bad_argument};
use crate::rules::value::{Type, Value};
use crate::stream::Stream;
use language::{Diagnostic, Span};
use std::borrow::Cow;

pub(super) static ROWS: &[ConverterRow] = rows! {
    "json", "json[(<code>)]", ConverterBuild::new(Type::Str, Type::Str, json).takes(&[Kind::Text], 0).prepare(check),
        "acl agent req.fhdr(user-agent),json(utf8s) -m found",
        "Escapes a text for a string of JSON, quotes not included. The code says what its bytes mean: `ascii` takes each as a character and is the usual, `utf8` \
         gives no value for what is no UTF-8, `utf8s` leaves such bytes out.";
};

/// What bytes mean.
const ASCII: i64 = 0;
const STRICT: i64 = 1;
const SKIPPING: i64 = 2;

fn check(_: &mut Loader, arguments: &mut Arguments, span: Span) -> Result<(), Box<Diagnostic>> {
    let code = match arguments.text(0) {
        None | Some(b"" | b"ascii") => ASCII,
        Some(b"utf8") => STRICT,
        Some(b"utf8s") => SKIPPING,
        Some(_) => {
            return Err(bad_argument(
                span,
                "json knows the codes 'ascii', 'utf8' and 'utf8s'".into(),
            ));
        }
    };
    arguments.list = vec![Some(Argument::Int(code))];
    Ok(())
}

fn push(out: &mut Vec<u8>, c: char) {
    match c {
        '"' | '\\' | '/' => out.extend([b'\\', c as u8]),
        '\u{8}' => out.extend(b"\\b"),
        '\u{c}' => out.extend(b"\\f"),
        '\n' => out.extend(b"\\n"),
        '\r' => out.extend(b"\\r"),
        '\t' => out.extend(b"\\t"),
        ' '..='~' => out.push(c as u8),
        _ => {
            for unit in c.encode_utf16(&mut [0; 2]) {
                out.extend(format!("\\u{unit:04x}").into_bytes());
            }
        }
    }
}

fn json<'a>(arguments: &'a Arguments, value: Value<'a>, _: &'a Stream) -> Option<Value<'a>> {
    let text = value.into_text();
    let mut out = Vec::with_capacity(text.len());
    match arguments.int(0)? {
        ASCII => text
            .iter()
            .for_each(|byte| push(&mut out, char::from(*byte))),
        STRICT => std::str::from_utf8(&text)
            .ok()?
            .chars()
            .for_each(|c| push(&mut out, c)),
        _ => text
            .utf8_chunks()
            .for_each(|chunk| chunk.valid().chars().for_each(|c| push(&mut out, c))),
    }
    Some(Value::Str(Cow::Owned(out)))
}
