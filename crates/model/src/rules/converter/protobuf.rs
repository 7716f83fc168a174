//! Implements the converters for fields of Protocol Buffers, alone or in a gRPC message.

use super::{ConverterBuild, ConverterRow, rows};
use crate::rules::argument::{Argument, ArgumentKind, Arguments, bad_argument};
use crate::rules::draft::ConfigDraft;
use crate::rules::value::{Sample, SampleValue, Type};
use crate::transaction::ProxyStream;
use language::Span;
use language::arguments::Built;
use std::borrow::Cow;

const fn build(apply: super::Apply) -> ConverterBuild {
    ConverterBuild::new(Type::Bin, Type::Bin, apply)
        .takes(&[ArgumentKind::Text, ArgumentKind::Text], 1)
        .prepare(prepare)
}

pub(super) static ROWS: &[ConverterRow] = rows! {
    "protobuf(<field>[,<type>])", build(protobuf), "acl example req.body,protobuf(48.59.1,int32) -m found",
        "Returns a field of a Protocol Buffers message by its field numbers, from the outermost message inwards. \
         Without a type it returns the raw bytes, with one (`int32`, `sint64`, `bool`, `fixed32`, `double` and so on) \
         a number.";
    "ungrpc(<field>[,<type>])", build(ungrpc), "acl example req.body,ungrpc(48.59.1,int32) -m found",
        "Like `protobuf`, for the first gRPC message in a body, after its five-byte prefix. A compressed message has \
         no fields.";
};

/// Maximum number of nested messages in a path.
const DEPTH_MAX: usize = 32;
/// Length of the prefix of a gRPC message (compression flag and length), in bytes.
const GRPC_HEAD_BYTES: usize = 5;

const VARIED: u64 = 0;
const EIGHT_BYTES: u64 = 1;
const TEXT: u64 = 2;
const FOUR_BYTES: u64 = 5;

/// Names of types, with their wire types.
const TYPES: [(&str, u64); 15] = [
    ("int32", VARIED),
    ("int64", VARIED),
    ("uint32", VARIED),
    ("uint64", VARIED),
    ("sint32", VARIED),
    ("sint64", VARIED),
    ("bool", VARIED),
    ("enum", VARIED),
    ("fixed64", EIGHT_BYTES),
    ("sfixed64", EIGHT_BYTES),
    ("double", EIGHT_BYTES),
    ("string", TEXT),
    ("fixed32", FOUR_BYTES),
    ("sfixed32", FOUR_BYTES),
    ("float", FOUR_BYTES),
];

/// Replaces the arguments by the wire type (or -1) and the field numbers of the path.
fn prepare(_: &mut ConfigDraft, arguments: &mut Arguments, span: Span) -> Built {
    let text = |n: usize| String::from_utf8_lossy(arguments.text(n).unwrap_or(b"")).into_owned();
    let path = text(0);
    let numbers: Option<Vec<i64>> = path.split('.').map(|part| part.parse().ok()).collect();
    let numbers = numbers.filter(|n| n.len() <= DEPTH_MAX && n.iter().all(|n| *n > 0));
    let Some(numbers) = numbers else {
        return Err(bad_argument(
            span,
            format!("'{path}' is not a path of field numbers such as '48.59.1'"),
        ));
    };
    let name = text(1);
    let place = match arguments.text(1) {
        None => -1,
        Some(_) => match TYPES.iter().position(|(known, _)| *known == name) {
            Some(place) => place as i64,
            None => return Err(bad_argument(span, format!("unknown type '{name}'"))),
        },
    };
    let all = std::iter::once(place).chain(numbers);
    arguments.list = all.map(|n| Some(Argument::Int(n))).collect();
    Ok(())
}

fn varied(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        number |= u64::from(byte & 0x7f).checked_shl(shift)?;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

fn take<'t>(bytes: &mut &'t [u8], length: usize) -> Option<&'t [u8]> {
    let (taken, rest) = bytes.split_at_checked(length)?;
    *bytes = rest;
    Some(taken)
}

/// Finds a field: its wire type and its bytes. For a varint, the bytes are those of its encoding.
fn find(message: &[u8], number: i64) -> Option<(u64, &[u8])> {
    let mut rest = message;
    loop {
        let key = varied(&mut rest)?;
        let kind = key & 7;
        let field = match kind {
            VARIED => {
                let before = rest;
                varied(&mut rest)?;
                &before[..before.len() - rest.len()]
            }
            EIGHT_BYTES => take(&mut rest, 8)?,
            FOUR_BYTES => take(&mut rest, 4)?,
            TEXT => {
                let length = usize::try_from(varied(&mut rest)?).ok()?;
                take(&mut rest, length)?
            }
            _ => return None,
        };
        if i64::try_from(key >> 3) == Ok(number) {
            return Some((kind, field));
        }
    }
}

fn typed<'t>(name: &str, field: &'t [u8]) -> Sample<'t> {
    let eight = || field.try_into().map(u64::from_le_bytes).ok();
    let four = || field.try_into().map(u32::from_le_bytes).ok();
    let number = || varied(&mut { field });
    let folded = |n: u64| (n >> 1) as i64 ^ -((n & 1) as i64);
    Some(SampleValue::Int(match name {
        "int32" => i64::from(number()? as i32),
        "uint32" => i64::from(number()? as u32),
        "enum" => i64::from(number()? as i32),
        "sint32" => i64::from(folded(number()?) as i32),
        "sint64" => folded(number()?),
        "int64" | "uint64" | "bool" => number()? as i64,
        "fixed64" | "sfixed64" => eight()? as i64,
        "double" => f64::from_bits(eight()?) as i64,
        "fixed32" => four()?.into(),
        "sfixed32" => i64::from(four()? as i32),
        "float" => f32::from_bits(four()?) as i64,
        _ => return Some(SampleValue::bytes(field)),
    }))
}

fn look<'t>(arguments: &Arguments, message: &'t [u8]) -> Sample<'t> {
    let (mut kind, mut field) = (TEXT, message);
    for n in 1..arguments.list.len() {
        if kind != TEXT {
            return None;
        }
        (kind, field) = find(field, arguments.int(n)?)?;
    }
    match usize::try_from(arguments.int(0)?) {
        Err(_) => Some(SampleValue::bytes(field)),
        Ok(place) => {
            let (name, wanted) = TYPES.get(place)?;
            (*wanted == kind).then_some(())?;
            typed(name, field)
        }
    }
}

fn protobuf<'a>(arguments: &Arguments, value: SampleValue<'a>, _: &ProxyStream) -> Sample<'a> {
    match value.into_bytes()? {
        Cow::Borrowed(bytes) => look(arguments, bytes),
        Cow::Owned(bytes) => look(arguments, &bytes).map(SampleValue::into_owned),
    }
}

fn ungrpc<'a>(arguments: &Arguments, value: SampleValue<'a>, _: &ProxyStream) -> Sample<'a> {
    let bytes = value.into_bytes()?;
    let (head, rest) = bytes.split_at_checked(GRPC_HEAD_BYTES)?;
    let length = u32::from_be_bytes(head[1..].try_into().ok()?);
    if head[0] != 0 {
        return None;
    }
    let message = rest.get(..usize::try_from(length).ok()?)?;
    look(arguments, message).map(SampleValue::into_owned)
}
