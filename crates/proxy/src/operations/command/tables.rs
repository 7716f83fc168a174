//! Implements the commands that show and change stick tables.

use super::{CommandReply, Context, LongReply, Session, table_rows};
use crate::stats::piece::RowSource;
use model::config::StatsLevel;
use model::tables::{DataType, HeldEntry, Removal, Shape, Table};
use std::collections::BinaryHeap;
use std::fmt::Write;
use std::sync::Arc;

/// Maximum number of conditions in a command, as in HAProxy.
const FILTERS_MAX: usize = 4;

struct EntryFilter {
    kind: DataType,
    operator: Operator,
    value: i64,
}

#[derive(Clone, Copy)]
enum Operator {
    Eq,
    Ne,
    Le,
    Ge,
    Lt,
    Gt,
}

const OPERATORS: [(&str, Operator); 6] = [
    ("eq", Operator::Eq),
    ("ne", Operator::Ne),
    ("le", Operator::Le),
    ("ge", Operator::Ge),
    ("lt", Operator::Lt),
    ("gt", Operator::Gt),
];

impl EntryFilter {
    fn takes(&self, held: &HeldEntry) -> bool {
        let Some(value) = held.get(self.kind, 0) else {
            return false;
        };
        let value = i64::try_from(value).unwrap_or(i64::MAX);
        match self.operator {
            Operator::Eq => value == self.value,
            Operator::Ne => value != self.value,
            Operator::Le => value <= self.value,
            Operator::Ge => value >= self.value,
            Operator::Lt => value < self.value,
            Operator::Gt => value > self.value,
        }
    }
}

/// Entries that the words after the table's name select.
enum Which {
    All,
    Key(Box<[u8]>),
    Those(Vec<EntryFilter>),
}

fn find(context: &Context, name: &str) -> Option<Arc<Table>> {
    let config = context.runtime.config();
    config.tables.live(name).map(Arc::clone)
}

fn one_line(table: &Table, out: &mut String) {
    table.sweep();
    // Writing to a string cannot fail.
    let _ = writeln!(
        out,
        "# table: {}, type: {}, size:{}, used:{}",
        table.name,
        table.make.key.name(),
        table.make.size,
        table.used()
    );
}

fn key(table: &Table, text: &str) -> Option<Box<[u8]>> {
    let make = &table.make;
    let value = make.key.parse(text)?;
    make.key
        .with(make.length, value, |key| Box::<[u8]>::from(key))
}

const KEY_EXPECTED: &str = "Key value expected\n";

/// Parses `data.<type> <operator> <value>` conditions up to the end.
fn filters(table: &Table, words: &[&str]) -> Result<Vec<EntryFilter>, String> {
    let mut filters = Vec::new();
    for (at, part) in words.chunks(3).take(FILTERS_MAX).enumerate() {
        let entry = format!("Filter entry #{}:", at + 1);
        let Some(name) = part.first().and_then(|word| word.strip_prefix("data.")) else {
            return Err(
                "Optional argument only supports \"data.<store_data_type>\" <operator> <value> and key <key>\n"
                    .into(),
            );
        };
        let Some(kind) = DataType::of_name(name) else {
            return Err(format!("{entry} Unknown data type\n"));
        };
        if table.make.layout.of(kind).is_none() {
            return Err(format!("{entry} Data type not stored in this table\n"));
        }
        let operator = part.get(1).and_then(|word| {
            let mut all = OPERATORS.iter();
            all.find(|(name, _)| name == word)
        });
        let Some((_, operator)) = operator else {
            return Err(format!(
                "{entry} Require and operator among \"eq\", \"ne\", \"le\", \"ge\", \"lt\", \"gt\"\n"
            ));
        };
        let value = part.get(2).and_then(|word| word.parse().ok());
        let Some(value) = value else {
            return Err(format!(
                "{entry} Require a valid integer value to compare against\n"
            ));
        };
        filters.push(EntryFilter {
            kind,
            operator: *operator,
            value,
        });
    }
    Ok(filters)
}

fn which(table: &Table, words: &[&str]) -> Result<Which, String> {
    match words {
        [] => Ok(Which::All),
        ["key"] => Err(KEY_EXPECTED.into()),
        ["key", text, ..] => match key(table, text) {
            Some(key) => Ok(Which::Key(key)),
            None if !table.make.key.can_be_written() => Err(format!(
                "{} keys from tables of type other than ip, ipv6, string and integer is not supported\n",
                "Showing"
            )),
            None => Err("Invalid key\n".into()),
        },
        words => filters(table, words).map(Which::Those),
    }
}

fn entry(held: &HeldEntry, out: &mut String) {
    let table = held.table();
    let mut key = Vec::new();
    table.make.key.write(&held.key(), &mut key);
    let _ = write!(
        out,
        "{:#x}: key={} use={} exp={}",
        held.id(),
        String::from_utf8_lossy(&key),
        held.others(),
        held.expires_in_ms()
    );
    for stored in table.make.layout.stored() {
        for element in 0..stored.elements {
            let Some(cell) = stored.cell(element) else {
                continue;
            };
            let _ = match stored.kind {
                DataType::Gpt => write!(out, " gpt{element}"),
                DataType::Gpc => write!(out, " gpc{element}"),
                DataType::GpcRate => write!(out, " gpc{element}_rate"),
                kind => write!(out, " {}", kind.name()),
            };
            let value = held.read(cell);
            let _ = match cell.shape {
                Shape::Rate => write!(out, "({})={value}", cell.period_ms),
                Shape::Word => {
                    let text = table.words.text(value as u32);
                    write!(out, "={}", text.as_deref().unwrap_or("-"))
                }
                Shape::Number if stored.kind == DataType::ServerId => {
                    write!(out, "={}", value as u32 as i32)
                }
                Shape::Number | Shape::Long => write!(out, "={value}"),
            };
        }
    }
    out.push('\n');
}

pub fn peers(context: &Context, _: &Session, words: &[&str]) -> CommandReply {
    let config = context.runtime.config();
    let report = crate::peers::report(&config, words.get(2).copied());
    report.ok_or_else(|| "No such peers\n".to_owned()).into()
}

/// Number of keys that are stored while a table is listed. More are stored if the table would
/// otherwise be walked through more often than [`WALKS_MAX`].
const KEYS_MAX: usize = 1 << 16;
const WALKS_MAX: usize = 8;

/// Entries of a table in HAProxy's order: by the bytes of their keys. Of a large table only the
/// next keys are stored, which costs another walk over the table for each [`KEYS_MAX`] entries.
struct SortedEntries {
    table: Arc<Table>,
    keys_max: usize,
    keys: std::vec::IntoIter<Box<[u8]>>,
    /// The largest key listed so far; None at the beginning.
    last: Option<Box<[u8]>>,
    /// The table contains keys beyond the stored ones.
    has_more: bool,
}

impl SortedEntries {
    fn new(table: Arc<Table>, keys_max: usize) -> SortedEntries {
        SortedEntries {
            table,
            keys_max,
            keys: Vec::new().into_iter(),
            last: None,
            has_more: true,
        }
    }

    fn find_keys(&mut self) {
        let (table, last) = (&self.table, self.last.as_deref());
        // A heap of the smallest keys found so far, of which the largest is on top.
        let mut smallest = BinaryHeap::new();
        let mut of_shard = Vec::new();
        self.has_more = false;
        for shard in 0..table.shard_count() {
            table.keys_of(shard, &mut of_shard);
            for key in of_shard.drain(..) {
                if last.is_some_and(|last| *key <= *last) {
                    continue;
                }
                if smallest.len() < self.keys_max {
                    smallest.push(key);
                    continue;
                }
                self.has_more = true;
                if let Some(mut largest) = smallest.peek_mut()
                    && key < *largest
                {
                    *largest = key;
                }
            }
        }
        let keys = smallest.into_sorted_vec();
        self.last = keys.last().cloned();
        self.keys = keys.into_iter();
    }
}

impl Iterator for SortedEntries {
    type Item = HeldEntry;

    fn next(&mut self) -> Option<HeldEntry> {
        loop {
            for key in self.keys.by_ref() {
                // The entry may have been removed since.
                if let Some(held) = self.table.find(&key) {
                    return Some(held);
                }
            }
            if !self.has_more {
                return None;
            }
            self.find_keys();
        }
    }
}

/// `show table [<table> [json … | key <key> | data.<type> <operator> <value>]...]`.
///
/// Keys are addresses and cookies of clients: the level `user` sees the head of a table only.
pub fn show(context: &Context, session: &Session, words: &[&str]) -> LongReply {
    let mut out = String::new();
    let Some(name) = words.get(2) else {
        let config = context.runtime.config();
        for table in config.tables.serving().rev() {
            one_line(table, &mut out);
        }
        return Err(CommandReply::report(out));
    };
    let Some(table) = find(context, name) else {
        return Err(CommandReply::error("No such table\n"));
    };
    if let Some(["json", wanted @ ..]) = words.get(3..) {
        return Err(if session.level < StatsLevel::Operator {
            CommandReply::error("Permission denied\n")
        } else {
            table_rows::json(&table, wanted).into()
        });
    }
    let which = which(&table, words.get(3..).unwrap_or_default()).map_err(CommandReply::error)?;
    if session.level < StatsLevel::Operator {
        if matches!(which, Which::Key(_)) {
            return Err(CommandReply::error("Permission denied\n"));
        }
        one_line(&table, &mut out);
        out.push_str("# contents not dumped due to insufficient privileges\n");
        return Err(CommandReply::report(out));
    }
    let filters = match which {
        Which::Key(key) => {
            if let Some(held) = table.find(&key) {
                one_line(&table, &mut out);
                entry(&held, &mut out);
            }
            return Err(CommandReply::report(out));
        }
        Which::All => Vec::new(),
        Which::Those(filters) => filters,
    };
    one_line(&table, &mut out);
    let keys_max = KEYS_MAX.max(table.used() as usize / WALKS_MAX);
    let mut entries = SortedEntries::new(table, keys_max);
    Ok(Box::new(RowSource(move |piece: &mut String| {
        piece.push_str(&std::mem::take(&mut out));
        let held = entries.next();
        let selected = held.iter();
        selected
            .filter(|held| filters.iter().all(|filter| filter.takes(held)))
            .for_each(|held| entry(held, piece));
        held.is_some()
    })))
}

/// `set table <table> key <key> [data.<type> <value>]...`.
pub fn set(context: &Context, _: &Session, words: &[&str]) -> String {
    const USAGE: &str = "Required arguments: <table> key <key> [data.<store_data_type> <value>]*\n";
    let Some(name) = words.get(2) else {
        return USAGE.into();
    };
    let Some(table) = find(context, name) else {
        return "No such table\n".into();
    };
    match words.get(3..).unwrap_or_default() {
        ["key", text, data @ ..] => set_entry(&table, text, data),
        ["key"] => KEY_EXPECTED.into(),
        [word, ..] if word.starts_with("data.") => {
            "content-based lookup is only supported with the \"show\" and \"clear\" actions\n"
                .into()
        }
        _ => USAGE.into(),
    }
}

fn set_entry(table: &Arc<Table>, text: &str, data: &[&str]) -> String {
    if !table.make.key.can_be_written() {
        return "Inserting keys into tables of type other than ip, ipv6, string and integer is not supported\n"
            .into();
    }
    let Some(key) = key(table, text) else {
        return "Invalid key\n".into();
    };
    let Some(held) = table.get(&key) else {
        return "Unable to allocate a new entry\n".into();
    };
    let told = set_data(&held, data);
    held.touch();
    held.queue_peer_update();
    told
}

fn set_data(held: &HeldEntry, data: &[&str]) -> String {
    for part in data.chunks(2) {
        let Some(name) = part.first().and_then(|word| word.strip_prefix("data.")) else {
            return "\"data.<type>\" followed by a value expected\n".into();
        };
        let Some((kind, element)) = data_type(name) else {
            return "Unknown data type\n".into();
        };
        let Some(cell) = held.table().make.layout.cell(kind, element) else {
            return "Data type not stored in this table\n".into();
        };
        let value = part.get(1).copied().unwrap_or_default();
        match value.parse::<i64>() {
            Ok(value) if cell.shape != Shape::Word => held.write(cell, value as u64),
            _ => return "Require a valid integer value to store\n".into(),
        }
    }
    String::new()
}

/// Finds a data type. Of an array, the first element is meant.
fn data_type(name: &str) -> Option<(DataType, u32)> {
    DataType::of_name(name).map(|kind| (kind, 0))
}

/// `clear table <table> [key <key> | data.<type> <operator> <value>]`.
pub fn clear(context: &Context, _: &Session, words: &[&str]) -> String {
    let Some(name) = words.get(2) else {
        return "Required arguments: <table> \"data.<store_data_type>\" <operator> <value> or <table> key <key>\n".into();
    };
    let Some(table) = find(context, name) else {
        return "No such table\n".into();
    };
    let filters = match which(&table, words.get(3..).unwrap_or_default()) {
        Ok(Which::All) => Vec::new(),
        Ok(Which::Those(filters)) => filters,
        Ok(Which::Key(key)) => {
            return match table.remove(&key) {
                Removal::InUse => "Entry currently in use, cannot remove\n".into(),
                Removal::Removed | Removal::Absent => String::new(),
            };
        }
        Err(text) => return text,
    };
    for key in table.keys() {
        let held = table.find(&key);
        let goes = held.is_some_and(|held| filters.iter().all(|filter| filter.takes(&held)));
        if goes {
            table.remove(&key);
        }
    }
    String::new()
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::tables::{KeyType, Layout, Make, Settings};

    #[test]
    fn entries_are_listed_in_order_with_any_number_of_stored_keys() {
        let make = Make {
            key: KeyType::Integer,
            length: 4,
            size: 1000,
            layout: Layout::new(vec![(DataType::Gpc0, 1, 0)]),
        };
        let settings = Settings {
            expire_ms: 0,
            no_purge: false,
            has_peers: false,
        };
        let table = Arc::new(Table::new("t", make, settings));
        for n in (0..300u32).rev() {
            drop(table.get(&n.to_be_bytes()).expect("room"));
        }
        let all: Vec<Vec<u8>> = (0..300u32).map(|n| n.to_be_bytes().to_vec()).collect();
        for keys_max in [1, 7, 299, 300, 301] {
            let entries = SortedEntries::new(table.clone(), keys_max);
            let keys: Vec<Vec<u8>> = entries.map(|held| held.key()).collect();
            assert_eq!(keys, all, "{keys_max}");
        }
        let mut entries = SortedEntries::new(table.clone(), 10);
        entries.next().expect("the first");
        for n in [5u32, 250] {
            assert_eq!(table.remove(&n.to_be_bytes()), Removal::Removed);
        }
        assert_eq!(entries.count(), 300 - 1 - 2);
    }
}
