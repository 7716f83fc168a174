//! Prints entries of a stick table as JSON for programs: those with the largest values of a
//! column.

use model::tables::{Cell, DataType, HeldEntry, Shape, Table};
use serde_json::{Map, Value, json};
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;

/// Default of `max`, the number of entries shown.
const MAX_DEFAULT: usize = 200;
const MAX_MOST: usize = 1_000;
/// Maximum number of columns, since an array may have a hundred elements.
const COLUMNS_MAX: usize = 32;

/// A column: its name, and the location of its value.
struct Column {
    name: String,
    kind: DataType,
    cell: Cell,
}

fn columns(table: &Table) -> Vec<Column> {
    let mut columns = Vec::new();
    for stored in table.make.layout.stored() {
        for element in 0..stored.elements {
            let Some(cell) = stored.cell(element) else {
                continue;
            };
            let name = match stored.kind {
                DataType::Gpt => format!("gpt{element}"),
                DataType::Gpc => format!("gpc{element}"),
                DataType::GpcRate => format!("gpc{element}_rate"),
                kind => kind.name().to_owned(),
            };
            if columns.len() < COLUMNS_MAX {
                let kind = stored.kind;
                columns.push(Column { name, kind, cell });
            }
        }
    }
    columns
}

struct TableRowsArguments<'w> {
    by: Option<&'w str>,
    has: String,
    max: usize,
}

impl<'w> TableRowsArguments<'w> {
    fn read(words: &[&'w str]) -> Result<TableRowsArguments<'w>, String> {
        let mut wanted = TableRowsArguments {
            by: None,
            has: String::new(),
            max: MAX_DEFAULT,
        };
        for pair in words.chunks(2) {
            match *pair {
                ["sort", column] => wanted.by = Some(column),
                ["has", text] => wanted.has = text.to_ascii_lowercase(),
                ["max", number] => {
                    let number = number.parse().ok();
                    let number = number.filter(|number| (1..=MAX_MOST).contains(number));
                    wanted.max = number.ok_or("max: expected a number from 1 to 1000\n")?;
                }
                _ => return Err("expected sort <column>, has <text> or max <number>\n".into()),
            }
        }
        Ok(wanted)
    }
}

/// Executes `show table <table> json [sort <column>] [has <text>] [max <number>]`: the entries with
/// the largest values first.
pub(super) fn json(table: &Arc<Table>, words: &[&str]) -> Result<String, String> {
    let wanted = TableRowsArguments::read(words)?;
    let columns = columns(table);
    let sorts = |column: &&Column| match wanted.by {
        Some(name) => column.name == name,
        None => column.cell.shape == Shape::Rate,
    };
    let by = match columns.iter().find(sorts) {
        None if wanted.by.is_some() => return Err("sort: no such column in this table\n".into()),
        found => found.or(columns.first()),
    };
    table.sweep();
    let (best, matching) = best(table, by, &wanted);
    let entries = best.iter().filter_map(|key| {
        let held = table.find(key)?;
        Some(entry(&held, &columns))
    });
    let columns: Vec<Value> = columns
        .iter()
        .map(|column| json!({ "name": column.name, "period_ms": column.cell.period_ms }))
        .collect();
    let all = json!({
        "name": table.name,
        "type": table.make.key.name(),
        "size": table.make.size,
        "used": table.used(),
        "expire_ms": Some(table.expire_ms()).filter(|ms| *ms != 0),
        "sorted_by": by.map(|column| &column.name),
        "matching": matching,
        "columns": columns,
        "entries": entries.collect::<Vec<Value>>(),
    });
    Ok(format!("{all}\n"))
}

/// Returns the keys of the entries with the largest values, the largest first, and how many
/// entries match in total.
fn best(
    table: &Arc<Table>,
    by: Option<&Column>,
    wanted: &TableRowsArguments<'_>,
) -> (Vec<Box<[u8]>>, u64) {
    let mut best = BinaryHeap::new();
    let (mut matching, mut text) = (0, Vec::new());
    for key in table.keys() {
        if !wanted.has.is_empty() {
            text.clear();
            table.make.key.write(&key, &mut text);
            let shown = String::from_utf8_lossy(&text).to_ascii_lowercase();
            if !shown.contains(&wanted.has) {
                continue;
            }
        }
        let Some(held) = table.find(&key) else {
            continue;
        };
        matching += 1;
        let value = by.filter(|column| column.cell.shape != Shape::Word);
        let value = value.map_or(0, |column| held.read(column.cell));
        // The heap has the smallest on top; of equal values the lower key remains.
        best.push(Reverse((value, Reverse(key))));
        if best.len() > wanted.max {
            best.pop();
        }
    }
    let sorted = best.into_sorted_vec().into_iter();
    (
        sorted.map(|Reverse((_, Reverse(key)))| key).collect(),
        matching,
    )
}

fn entry(held: &HeldEntry, columns: &[Column]) -> Value {
    let (table, key) = (held.table(), held.key());
    let mut text = Vec::new();
    table.make.key.write(&key, &mut text);
    // The displayed key can be used as a command argument.
    let is_plain = match table.make.key {
        model::tables::KeyType::String => text == key,
        kind => kind.can_be_written(),
    };
    let mut values = Map::new();
    for column in columns {
        let number = held.read(column.cell);
        let value = match (column.cell.shape, column.kind) {
            (Shape::Word, _) => table.words.text(number as u32).as_deref().into(),
            (_, DataType::ServerId) => (number as u32 as i32).into(),
            _ => number.into(),
        };
        values.insert(column.name.clone(), value);
    }
    json!({
        "key": String::from_utf8_lossy(&text),
        "plain": is_plain,
        "used_by": held.others(),
        "expires_ms": held.expires_in_ms(),
        "values": values,
    })
}
