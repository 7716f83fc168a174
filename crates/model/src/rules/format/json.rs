//! Writes items of a format as JSON values (HAProxy 3.0's manual, section 8.2.6):
//! `%{+json}[src]`. With `%{+json}o`, the whole line is one object of the items that have names.

use super::text::Put;
use crate::compiled::format::{Alias, Cast, Flags, FormatItem, JsonMember};
use crate::rules::value::SampleValue;
use crate::transaction::ProxyStream;

/// Returns the pieces of an object. The text between the values is constant.
pub(super) fn object(members: Vec<(String, JsonMember)>) -> Box<[FormatItem]> {
    let mut pieces = Vec::with_capacity(members.len() * 2 + 1);
    let mut text = b"{".to_vec();
    for (key, member) in members {
        if !pieces.is_empty() {
            text.extend_from_slice(b", ");
        }
        string(key.as_bytes(), &mut text);
        text.extend_from_slice(b": ");
        pieces.push(FormatItem::Text(std::mem::take(&mut text).into()));
        pieces.push(FormatItem::Json(Box::new(member)));
    }
    text.push(b'}');
    pieces.push(FormatItem::Text(text.into()));
    pieces.into()
}

impl JsonMember {
    /// Creates an item. Of its flags, only the hexadecimal one affects the value.
    pub(super) fn new(item: FormatItem, cast: Option<Cast>) -> JsonMember {
        JsonMember { item, cast }
    }

    pub(super) fn item(&self) -> &FormatItem {
        &self.item
    }

    pub(super) fn into_item(self) -> FormatItem {
        self.item
    }

    pub(super) fn append(&self, stream: &ProxyStream, out: &mut Vec<u8>) {
        match &self.item {
            FormatItem::Alias(alias, flags) => self.alias(*alias, flags.hex, stream, out),
            FormatItem::Expression(expression, _) => match expression.evaluate(stream) {
                Some(value) => self.value(&value, out),
                None => string(b"", out),
            },
            // Writes nothing for other pieces, which are never items.
            FormatItem::Text(_) | FormatItem::Space | FormatItem::Json(_) => {}
        }
    }

    fn value(&self, value: &SampleValue<'_>, out: &mut Vec<u8>) {
        let natural = match value {
            SampleValue::Int(_) => Cast::Int,
            SampleValue::Bool(_) => Cast::Bool,
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

    fn alias(&self, alias: Alias, hex: bool, stream: &ProxyStream, out: &mut Vec<u8>) {
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
        // Removes the plus sign of a value that may still grow, which is not part of the number.
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
