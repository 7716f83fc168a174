//! Converts stick table entries to fields of HAProxy's peers protocol, and back.

use crate::tables::StickTable;
use crate::tables::{DataType, HeldEntry, KeyType, RateParts, Shape, Table};
use protocol::peers::{self, PeersElement, PeersValue, TableDescription, Update};
use std::sync::Arc;

/// Data types that `write-to` copies to the second table: those that are not counted or averaged.
const WRITTEN: [DataType; 4] = [
    DataType::ServerId,
    DataType::Gpt0,
    DataType::ServerKey,
    DataType::Gpt,
];

pub fn describe(described: &StickTable, table: &Table) -> TableDescription {
    let make = &table.make;
    let name = match described.proxy {
        Some(_) => described.name.as_bytes().to_vec(),
        // Tables of a `peers` section are named without the section.
        None => match described.name.find('/') {
            Some(at) => described.name.as_bytes()[at..].to_vec(),
            None => described.name.as_bytes().to_vec(),
        },
    };
    let (key, key_length) = match make.key {
        KeyType::Ip => (peers::KeyType::Ipv4, 4),
        KeyType::Ipv6 => (peers::KeyType::Ipv6, 16),
        KeyType::Integer => (peers::KeyType::Integer, 4),
        KeyType::String => (peers::KeyType::String, make.length + 1),
        KeyType::Binary => (peers::KeyType::Binary, make.length),
    };
    let stored = make.layout.stored().iter().map(|stored| peers::Stored {
        bit: stored.kind as u8,
        elements: stored.elements,
        period_ms: stored.period_ms,
    });
    TableDescription {
        name,
        key,
        key_length,
        expire_ms: table.expire_ms(),
        stored: stored.collect(),
    }
}

/// Converts a key to wire format, in which integers are big-endian.
pub fn key_out(table: &Table, key: &[u8]) -> Vec<u8> {
    match (table.make.key, <[u8; 4]>::try_from(key)) {
        (KeyType::Integer, Ok(bytes)) => u32::from_ne_bytes(bytes).to_be_bytes().to_vec(),
        _ => key.to_vec(),
    }
}

fn key_in(table: &Table, key: &[u8]) -> Vec<u8> {
    match (table.make.key, <[u8; 4]>::try_from(key)) {
        (KeyType::Integer, Ok(bytes)) => u32::from_be_bytes(bytes).to_ne_bytes().to_vec(),
        _ => key.to_vec(),
    }
}

pub fn fields(held: &HeldEntry) -> Vec<PeersElement> {
    let table = held.table();
    let mut fields = Vec::new();
    for stored in table.make.layout.stored() {
        for element in 0..stored.elements {
            let Some(cell) = stored.cell(element) else {
                continue;
            };
            let value = match cell.shape {
                Shape::Number | Shape::Long => PeersValue::Number(held.read(cell)),
                Shape::Rate => {
                    let rate = held.rate_parts(cell);
                    PeersValue::Rate(rate.age_ms, rate.current, rate.previous)
                }
                Shape::Word => {
                    let text = table.words.text(held.read(cell) as u32);
                    PeersValue::Text(text.map(|text| text.as_ref().to_owned()))
                }
            };
            fields.push(PeersElement {
                bit: stored.kind as u8,
                element,
                value,
            });
        }
    }
    fields
}

/// Applies an update of a peer: its values replace the local ones, except for `conn_cur`. During a
/// full resynchronization, entries that were sent to a peer before are skipped, because the peer
/// may return an old value, and the local one has changed since.
pub fn take(table: &Arc<Table>, write_to: Option<&Arc<Table>>, update: &Update, in_lesson: bool) {
    let key = key_in(table, &update.key);
    if in_lesson && table.find(&key).is_some_and(|held| held.was_sent_to_peer()) {
        return;
    }
    if let Some(held) = table.get(&key) {
        set(&held, &update.fields, |kind| kind != DataType::ConnCur);
        if let Some(ms) = update.expires_in_ms.filter(|_| table.expire_ms() != 0) {
            held.set_expires_in_ms(ms.min(table.expire_ms()));
        }
    }
    let other = write_to
        .filter(|other| other.make.key == table.make.key && other.make.length == table.make.length);
    if let Some(held) = other.and_then(|other| other.get(&key)) {
        set(&held, &update.fields, |kind| WRITTEN.contains(&kind));
    }
}

fn set(held: &HeldEntry, fields: &[PeersElement], takes: impl Fn(DataType) -> bool) {
    for field in fields {
        let kind = DataType::ALL.get(usize::from(field.bit)).copied();
        let Some(kind) = kind.filter(|kind| takes(*kind)) else {
            continue;
        };
        let Some(cell) = held.table().make.layout.cell(kind, field.element) else {
            continue;
        };
        match (&field.value, cell.shape) {
            (PeersValue::Number(n), Shape::Number | Shape::Long) => held.write(cell, *n),
            (PeersValue::Rate(age_ms, current, previous), Shape::Rate) => {
                let parts = RateParts {
                    age_ms: *age_ms,
                    current: *current,
                    previous: *previous,
                };
                held.set_rate_parts(cell, parts);
            }
            (PeersValue::Text(text), Shape::Word) => {
                let number = text
                    .as_deref()
                    .map_or(0, |text| held.table().words.number(text));
                held.write(cell, number.into());
            }
            _ => {}
        }
    }
}
