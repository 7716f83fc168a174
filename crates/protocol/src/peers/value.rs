//! Encodes and decodes the table descriptions of the peers protocol, and the keys and values of
//! entries.

use super::dictionary::{Dictionary, TEXT_BYTES_MAX};
use super::integer;

/// Number of data types that a definition can name: bits of one number.
const TYPES_MAX: u8 = 64;
const ELEMENTS_MAX: u64 = 100;
const NAME_BYTES_MAX: u64 = 1024;
const KEY_BYTES_MAX: u64 = 16_384;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum KeyType {
    Integer,
    Ipv4,
    Ipv6,
    String,
    Binary,
}

const KEY_TYPES: [(u64, KeyType); 5] = [
    (2, KeyType::Integer),
    (4, KeyType::Ipv4),
    (5, KeyType::Ipv6),
    (6, KeyType::String),
    (7, KeyType::Binary),
];

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PeersDataEncoding {
    Number,
    /// A rate: age of the current period, events in it, and events in the previous period.
    Rate,
    /// A text, sent by number after its first use.
    Text,
    Numbers,
    Rates,
}

/// Returns the encoding of a data type by its bit; None if it is unknown.
pub fn kind(bit: u8) -> Option<PeersDataEncoding> {
    Some(match bit {
        0..=2 | 4 | 6 | 7 | 9 | 11 | 13 | 15 | 17 | 20 => PeersDataEncoding::Number,
        3 | 5 | 8 | 10 | 12 | 14 | 16 | 18 | 21 => PeersDataEncoding::Rate,
        19 => PeersDataEncoding::Text,
        22 | 23 => PeersDataEncoding::Numbers,
        24 => PeersDataEncoding::Rates,
        _ => return None,
    })
}

/// A data type of a table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stored {
    pub bit: u8,
    /// Number of elements; 1 if it is not an array.
    pub elements: u32,
    pub period_ms: u32,
}

/// A table as described to a peer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TableDescription {
    pub name: Vec<u8>,
    pub key: KeyType,
    /// Length of keys; for strings, the maximum length plus one.
    pub key_length: u32,
    /// Lifetime of entries in milliseconds; 0: unlimited.
    pub expire_ms: u32,
    /// The stored data types, in ascending order of their bits.
    pub stored: Vec<Stored>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum PeersValue {
    Number(u64),
    /// Milliseconds since the period began, events in it, and events in the previous one.
    Rate(u32, u32, u32),
    /// Text of the value; None: not set.
    Text(Option<String>),
}

/// An element of an entry: its type, index and value.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PeersElement {
    pub bit: u8,
    pub element: u32,
    pub value: PeersValue,
}

fn take_integer(bytes: &mut &[u8]) -> Option<u64> {
    let (n, rest) = integer::read(bytes)?;
    *bytes = rest;
    Some(n)
}

fn take_small(bytes: &mut &[u8]) -> Option<u32> {
    take_integer(bytes).map(|n| n as u32)
}

fn take<'b>(bytes: &mut &'b [u8], length: u64) -> Option<&'b [u8]> {
    let (taken, rest) = bytes.split_at_checked(usize::try_from(length).ok()?)?;
    *bytes = rest;
    Some(taken)
}

impl TableDescription {
    /// Appends the description of the table, with the number that this side gives it.
    pub(super) fn write(&self, number: u64, out: &mut Vec<u8>) {
        integer::write(out, number);
        integer::write(out, self.name.len() as u64);
        out.extend_from_slice(&self.name);
        let types = KEY_TYPES.iter().find(|(_, key)| *key == self.key);
        integer::write(out, types.map_or(0, |(code, _)| *code));
        integer::write(out, self.key_length.into());
        let bits = self
            .stored
            .iter()
            .fold(0u64, |bits, one| bits | 1 << one.bit);
        integer::write(out, bits);
        integer::write(out, self.expire_ms.into());
        for one in &self.stored {
            match kind(one.bit) {
                Some(PeersDataEncoding::Rate) => {
                    integer::write(out, one.bit.into());
                    integer::write(out, one.period_ms.into());
                }
                Some(PeersDataEncoding::Numbers) => {
                    integer::write(out, one.bit.into());
                    integer::write(out, one.elements.into());
                }
                Some(PeersDataEncoding::Rates) => {
                    integer::write(out, one.bit.into());
                    integer::write(out, one.elements.into());
                    integer::write(out, one.period_ms.into());
                }
                Some(PeersDataEncoding::Number | PeersDataEncoding::Text) | None => {}
            }
        }
    }

    /// Parses the description of a table, with the number that the peer gave it.
    pub(super) fn read(mut bytes: &[u8]) -> Option<(u64, TableDescription)> {
        let number = take_integer(&mut bytes)?;
        let length = take_integer(&mut bytes).filter(|n| *n <= NAME_BYTES_MAX)?;
        let name = take(&mut bytes, length)?.to_vec();
        let code = take_integer(&mut bytes)?;
        let (_, key) = KEY_TYPES.iter().find(|(known, _)| *known == code)?;
        let key_length = take_integer(&mut bytes).filter(|n| *n <= KEY_BYTES_MAX)? as u32;
        let bits = take_integer(&mut bytes)?;
        // Descriptions by older versions end here.
        let expire_ms = take_small(&mut bytes).unwrap_or(0);
        let mut stored: Vec<Stored> = (0..TYPES_MAX)
            .filter(|bit| bits & 1 << bit != 0)
            .map(|bit| Stored {
                bit,
                elements: 1,
                period_ms: 0,
            })
            .collect();
        while !bytes.is_empty() {
            let bit = take_integer(&mut bytes)?;
            let one = stored.iter_mut().find(|one| u64::from(one.bit) == bit)?;
            let kind = kind(one.bit)?;
            if matches!(kind, PeersDataEncoding::Numbers | PeersDataEncoding::Rates) {
                one.elements = take_integer(&mut bytes).filter(|n| *n <= ELEMENTS_MAX)? as u32;
            }
            if matches!(kind, PeersDataEncoding::Rate | PeersDataEncoding::Rates) {
                one.period_ms = take_small(&mut bytes)?;
            }
        }
        let description = TableDescription {
            name,
            key: *key,
            key_length,
            expire_ms,
            stored,
        };
        Some((number, description))
    }

    pub(super) fn has_keys_of(&self, other: &TableDescription) -> bool {
        self.key == other.key && self.key_length == other.key_length
    }

    pub(super) fn write_key(&self, key: &[u8], out: &mut Vec<u8>) {
        if self.key == KeyType::String {
            integer::write(out, key.len() as u64);
        }
        out.extend_from_slice(key);
    }

    pub(super) fn read_key<'b>(&self, bytes: &mut &'b [u8]) -> Option<&'b [u8]> {
        let length = match self.key {
            KeyType::String => {
                let length = take_integer(bytes)?;
                // Keys that are too long are truncated, as HAProxy does.
                let key = take(bytes, length)?;
                let most = (self.key_length as usize).saturating_sub(1);
                return Some(key.get(..most).unwrap_or(key));
            }
            KeyType::Integer | KeyType::Ipv4 => 4,
            KeyType::Ipv6 => 16,
            KeyType::Binary => self.key_length.into(),
        };
        take(bytes, length)
    }

    /// Parses the values of an entry, in the order of their type numbers. An unknown type ends the
    /// list, since the length of its value is unknown, too.
    pub(super) fn read_fields(
        &self,
        mut bytes: &[u8],
        dictionary: &mut Dictionary,
    ) -> Option<Vec<PeersElement>> {
        let mut fields = Vec::new();
        for one in &self.stored {
            let Some(kind) = kind(one.bit) else {
                return Some(fields);
            };
            for element in 0..one.elements {
                let value = match kind {
                    PeersDataEncoding::Number | PeersDataEncoding::Numbers => {
                        PeersValue::Number(take_integer(&mut bytes)?)
                    }
                    PeersDataEncoding::Rate | PeersDataEncoding::Rates => PeersValue::Rate(
                        take_small(&mut bytes)?,
                        take_small(&mut bytes)?,
                        take_small(&mut bytes)?,
                    ),
                    PeersDataEncoding::Text => PeersValue::Text(read_text(&mut bytes, dictionary)?),
                };
                fields.push(PeersElement {
                    bit: one.bit,
                    element,
                    value,
                });
            }
        }
        Some(fields)
    }
}

/// Parses a text: its length, its number, and the text itself when it is sent for the first time.
fn read_text(bytes: &mut &[u8], dictionary: &mut Dictionary) -> Option<Option<String>> {
    let length = take_integer(bytes)?;
    let mut inner = take(bytes, length)?;
    if inner.is_empty() {
        return Some(None);
    }
    let number = take_integer(&mut inner)?;
    if inner.is_empty() {
        return Some(dictionary.text(number).map(str::to_owned));
    }
    let length = take_integer(&mut inner).filter(|n| *n <= TEXT_BYTES_MAX as u64)?;
    let text = std::str::from_utf8(take(&mut inner, length)?).ok()?;
    dictionary.set(number, text);
    Some(Some(text.to_owned()))
}

pub(super) fn write_fields(
    fields: &[PeersElement],
    dictionary: &mut Dictionary,
    out: &mut Vec<u8>,
) {
    for field in fields {
        match &field.value {
            PeersValue::Number(n) => integer::write(out, *n),
            PeersValue::Rate(age_ms, current, previous) => {
                for n in [age_ms, current, previous] {
                    integer::write(out, (*n).into());
                }
            }
            PeersValue::Text(None) => integer::write(out, 0),
            PeersValue::Text(Some(text)) => {
                let mut inner = Vec::new();
                let (number, is_new) = dictionary.number(text);
                integer::write(&mut inner, number);
                if is_new {
                    integer::write(&mut inner, text.len() as u64);
                    inner.extend_from_slice(text.as_bytes());
                }
                integer::write(out, inner.len() as u64);
                out.extend_from_slice(&inner);
            }
        }
    }
}
