//! Items as JSON values (HAProxy 3.0's manual, section 8.2.6): `%{+json}[src]`. With `%{+json}o`,
//! the whole line is one object of the items that have names.

use super::text::Put;
use crate::compiled::format::{Alias, Cast, Flags, Member, Piece};
use crate::rules::value::Value;
use crate::transaction::Stream;

/// Returns the pieces of an object. The text between the values is constant.
pub(super) fn object(members: Vec<(String, Member)>) -> Box<[Piece]> {
    let mut pieces = Vec::with_capacity(members.len() * 2 + 1);
    let mut text = b"{".to_vec();
    for (key, member) in members {
        if !pieces.is_empty() {
            text.extend_from_slice(b", ");
        }
        string(key.as_bytes(), &mut text);
        text.extend_from_slice(b": ");
        pieces.push(Piece::Text(std::mem::take(&mut text).into()));
        pieces.push(Piece::Json(Box::new(member)));
    }
    text.push(b'}');
    pieces.push(Piece::Text(text.into()));
    pieces.into()
}

impl Member {
    /// Creates an item. Of its flags, only the hexadecimal one affects the value.
    pub(super) fn new(item: Piece, cast: Option<Cast>) -> Member {
        Member { item, cast }
    }

    pub(super) fn item(&self) -> &Piece {
        &self.item
    }

    pub(super) fn into_item(self) -> Piece {
        self.item
    }

    pub(super) fn append(&self, stream: &Stream, out: &mut Vec<u8>) {
        match &self.item {
            Piece::Alias(alias, flags) => self.alias(*alias, flags.hex, stream, out),
            Piece::Expression(expression, _) => match expression.evaluate(stream) {
                Some(value) => self.value(&value, out),
                None => string(b"", out),
            },
            // Other pieces are never items.
            Piece::Text(_) | Piece::Space | Piece::Json(_) => {}
        }
    }

    fn value(&self, value: &Value<'_>, out: &mut Vec<u8>) {
        let natural = match value {
            Value::Int(_) => Cast::Int,
            Value::Bool(_) => Cast::Bool,
            _ => Cast::Str,
        };
        match self.cast.unwrap_or(natural) {
            Cast::Str => value.with_text(|text| string(text, out)),
            Cast::Int => match value.integer() {
                Some(n) => number(n, out),
                None => string(b"", out),
            },
            Cast::Bool => match value.integer() {
                Some(n) => boolean(n != 0, out),
                None => string(b"", out),
            },
        }
    }

    fn alias(&self, alias: Alias, hex: bool, stream: &Stream, out: &mut Vec<u8>) {
        if let Some(values) = alias.listed(stream) {
            return list(&values, out);
        }
        let mut text = Vec::new();
        let flags = Flags {
            hex,
            ..Flags::default()
        };
        let mut put = Put {
            out: &mut text,
            flags,
            dash: false,
        };
        if !alias.append(stream, &mut put) {
            return out.extend_from_slice(b"null");
        }
        // The plus sign of a value that may still grow is not part of the number.
        let digits = text.strip_prefix(b"+").unwrap_or(&text);
        let n = std::str::from_utf8(digits)
            .ok()
            .and_then(|t| t.parse().ok());
        match n {
            Some(n) if alias.is_number() && !hex => match self.cast {
                Some(Cast::Bool) => boolean(n != 0, out),
                Some(Cast::Str) => string(digits, out),
                Some(Cast::Int) | None => number(n, out),
            },
            _ => string(&text, out),
        }
    }
}

fn list(values: &[Vec<u8>], out: &mut Vec<u8>) {
    out.push(b'[');
    for (n, value) in values.iter().enumerate() {
        if n > 0 {
            out.extend_from_slice(b", ");
        }
        string(value, out);
    }
    out.push(b']');
}

/// Writes text as a JSON string (RFC 8259, section 7). Bytes that are not UTF-8 become U+FFFD,
/// because a JSON string cannot contain them.
fn string(text: &[u8], out: &mut Vec<u8>) {
    // Writing into memory cannot fail.
    let _ = serde_json::to_writer(out, &String::from_utf8_lossy(text));
}

fn number(n: i64, out: &mut Vec<u8>) {
    let _ = serde_json::to_writer(out, &n);
}

fn boolean(value: bool, out: &mut Vec<u8>) {
    let _ = serde_json::to_writer(out, &value);
}
