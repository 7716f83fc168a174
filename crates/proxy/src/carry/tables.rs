//! Passes stick table entries from one process to the next. A successor gets all entries. The
//! supervisor, which stores entries in case this process is killed, gets only those of small
//! tables ([`KEPT_ENTRIES_MAX`]), because that export repeats every few seconds.

use super::CarryError;
use super::packed::{Reader, Writer};
use model::tables::{DataType, HeldEntry, KeyType, RateParts, Shape, Table, Tables};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Maximum number of entries in a table that the supervisor stores in case this process is killed.
const KEPT_ENTRIES_MAX: u32 = 10_000;
/// Maximum size in bytes of all tables and lists in one state.
pub(super) const BYTES_MAX: usize = 200 << 20;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Which {
    All,
    Small,
}

impl Which {
    pub fn entries_max(self) -> u32 {
        match self {
            Which::All => u32::MAX,
            Which::Small => KEPT_ENTRIES_MAX,
        }
    }
}

fn key_number(key: KeyType) -> u64 {
    match key {
        KeyType::Ip => 1,
        KeyType::Ipv6 => 2,
        KeyType::Integer => 3,
        KeyType::String => 4,
        KeyType::Binary => 5,
    }
}

/// Exports the tables, and subtracts their size from the bytes that are still allowed.
pub(super) fn export_tables(
    tables: &Tables,
    which: Which,
    room_bytes: &mut usize,
) -> Vec<TableTold> {
    let mut told = Vec::new();
    for table in tables.serving() {
        if table.used() <= which.entries_max() {
            let one = one(table, *room_bytes);
            *room_bytes = room_bytes.saturating_sub(one.entries.len());
            told.push(one);
        }
    }
    told
}

pub(super) fn some<'k>(table: &Arc<Table>, keys: impl Iterator<Item = &'k [u8]>) -> TableTold {
    let mut entries = Writer::default();
    for key in keys {
        if let Some(held) = table.find(key) {
            entry(&mut entries, key, &held);
        }
    }
    of(table, entries)
}

fn one(table: &Arc<Table>, room_bytes: usize) -> TableTold {
    let mut entries = Writer::default();
    let mut keys = Vec::new();
    for shard in 0..table.shard_count() {
        table.keys_of(shard, &mut keys);
        for key in keys.drain(..) {
            if entries.bytes.len() < room_bytes
                && let Some(held) = table.find(&key)
            {
                entry(&mut entries, &key, &held);
            }
        }
    }
    of(table, entries)
}

fn of(table: &Table, entries: Writer) -> TableTold {
    let stored = table.make.layout.stored().iter();
    TableTold {
        name: table.name.to_string(),
        key: key_number(table.make.key),
        length: table.make.length,
        data: stored
            .map(|stored| (stored.kind as u64, stored.elements, stored.period_ms))
            .collect(),
        entries: entries.bytes,
    }
}

fn entry(w: &mut Writer, key: &[u8], held: &HeldEntry) {
    w.bytes(key);
    w.plain(held.expires_in_ms().into());
    for stored in held.table().make.layout.stored() {
        for element in 0..stored.elements {
            let Some(cell) = stored.cell(element) else {
                continue;
            };
            match cell.shape {
                Shape::Number | Shape::Long => w.plain(held.read(cell)),
                Shape::Rate => {
                    let rate = held.rate_parts(cell);
                    for n in [rate.age_ms, rate.current, rate.previous] {
                        w.plain(n.into());
                    }
                }
                Shape::Word => {
                    let text = held.table().words.text(held.read(cell) as u32);
                    let text = text.as_deref().unwrap_or("");
                    w.bytes(text.as_bytes());
                }
            }
        }
    }
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct TableTold {
    name: String,
    key: u64,
    length: u32,
    /// For each type its index in [`DataType::ALL`], its number of elements and its period in
    /// milliseconds.
    data: Vec<(u64, u32, u32)>,
    /// All entries as one packed byte string, because there may be millions.
    #[serde(with = "serde_bytes")]
    entries: Vec<u8>,
}

enum DecodedValue<'b> {
    Number(u64),
    Rate(u32, u32, u32),
    Text(&'b [u8]),
}

impl TableTold {
    /// Returns the data types; None if this program does not know one.
    fn kinds(&self) -> Option<Vec<(DataType, u32, u32)>> {
        let known = |(kind, elements, period_ms): &(u64, u32, u32)| {
            let kind = DataType::ALL.get(usize::try_from(*kind).ok()?)?;
            Some((*kind, *elements, *period_ms))
        };
        self.data.iter().map(known).collect()
    }

    /// Checks that the table can be decoded completely, so that a truncated one is not imported in
    /// part. A table with an unknown data type passes, because `take` ignores it.
    pub fn check(&self) -> Result<(), CarryError> {
        match self.kinds() {
            Some(kinds) => self.each(&kinds, |_, _, _| {}),
            None => Ok(()),
        }
    }

    /// Passes every entry to a function: key, remaining milliseconds, values.
    fn each<'b>(
        &'b self,
        kinds: &[(DataType, u32, u32)],
        mut look: impl FnMut(&'b [u8], u32, &[(DataType, u32, DecodedValue<'b>)]),
    ) -> Result<(), CarryError> {
        let mut reader = Reader::new(&self.entries);
        let mut values = Vec::new();
        while !reader.done() {
            let key = reader.bytes()?;
            let left_ms = reader.plain()? as u32;
            values.clear();
            for (kind, elements, _) in kinds {
                for element in 0..*elements {
                    let value = match kind.shape() {
                        Shape::Number | Shape::Long => DecodedValue::Number(reader.plain()?),
                        Shape::Rate => DecodedValue::Rate(
                            reader.plain()? as u32,
                            reader.plain()? as u32,
                            reader.plain()? as u32,
                        ),
                        Shape::Word => DecodedValue::Text(reader.bytes()?),
                    };
                    values.push((*kind, element, value));
                }
            }
            look(key, left_ms, &values);
        }
        Ok(())
    }

    /// Adds the entries that have not expired to the table with the same name and the same type of
    /// key, as long as there is space; existing entries remain. `holds`: counts of open connections
    /// are imported, too.
    pub fn take(&self, tables: &Tables, elapsed_ms: u64, holds: bool) {
        let (Some(table), Some(kinds)) = (tables.live(&self.name), self.kinds()) else {
            return;
        };
        let make = &table.make;
        if key_number(make.key) != self.key
            || make.length != self.length && make.key != KeyType::String
        {
            return;
        }
        let elapsed_ms = u32::try_from(elapsed_ms).unwrap_or(u32::MAX);
        let most = make.key.bytes(make.length) as usize;
        let _ = self.each(&kinds, |key, left_ms, values| {
            let fits = if make.key.is_text() {
                key.len() <= most
            } else {
                key.len() == most
            };
            let expires = table.expire_ms() != 0;
            if !fits || table.available() == 0 || expires && left_ms <= elapsed_ms {
                return;
            }
            if table.find(key).is_some() {
                return;
            }
            let Some(held) = table.get(key) else { return };
            for (kind, element, value) in values {
                // Leaves out counts of open connections unless `holds`: these connections belong to
                // the previous process.
                if *kind != DataType::ConnCur || holds {
                    self.set(&held, *kind, *element, value, elapsed_ms);
                }
            }
            if expires {
                held.set_expires_in_ms((left_ms - elapsed_ms).min(table.expire_ms()));
            }
        });
    }

    fn set(
        &self,
        held: &HeldEntry,
        kind: DataType,
        element: u32,
        value: &DecodedValue<'_>,
        elapsed_ms: u32,
    ) {
        let table = held.table();
        let Some(cell) = table.make.layout.cell(kind, element) else {
            return;
        };
        let period = self.data.iter().find(|(other, ..)| *other == kind as u64);
        match (value, cell.shape) {
            (DecodedValue::Number(n), Shape::Number | Shape::Long) => held.write(cell, *n),
            (DecodedValue::Rate(age_ms, current, previous), Shape::Rate)
                if period.is_some_and(|(.., ms)| *ms == cell.period_ms) =>
            {
                let parts = RateParts {
                    age_ms: age_ms.saturating_add(elapsed_ms),
                    current: *current,
                    previous: *previous,
                };
                held.set_rate_parts(cell, parts);
            }
            (DecodedValue::Text(text), Shape::Word) => {
                let text = std::str::from_utf8(text).unwrap_or("");
                held.write(cell, table.words.number(text).into());
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use keyword::testing::load_text;
    use model::config::Config;
    use model::control::install;

    fn config(store: &str) -> Config {
        let text = format!(
            "listen t\n bind 127.0.0.1:1\n stick-table type string len 20 size 100 expire 1h store {store}\n"
        );
        let mut config = load_text(&text).config.expect("it loads");
        install(&mut config, None, 0);
        config
    }

    #[test]
    fn entries_continue_in_another_process() {
        let old = config("http_req_cnt,http_req_rate(10s),conn_cur,server_key,gpc(2)");
        let table = old.tables.live("t").expect("it is there");
        let held = table.get(b"key").expect("room");
        held.add(DataType::HttpReqCnt, 0, 5);
        held.add(DataType::HttpReqRate, 0, 5);
        held.add(DataType::ConnCur, 0, 1);
        held.add(DataType::Gpc, 1, 7);
        held.set(DataType::ServerKey, 0, table.words.number("web1").into());
        let bytes = super::super::export(&old, None).bytes;
        let new = config("gpc(2),server_key,http_req_rate(10s),conn_cur,gpt0");
        super::super::import(&bytes, &new, None).expect("it is whole");
        let table = new.tables.live("t").expect("it is there");
        let held = table.find(b"key").expect("it came");
        let get = |kind, element| held.get(kind, element);
        assert_eq!(get(DataType::HttpReqRate, 0), Some(5));
        assert_eq!(get(DataType::ConnCur, 0), Some(0));
        assert_eq!(get(DataType::Gpc, 1), Some(7));
        let word = get(DataType::ServerKey, 0).unwrap_or(0) as u32;
        assert_eq!(table.words.text(word).as_deref(), Some("web1"));
        for end in 0..bytes.len() {
            assert!(super::super::import(&bytes[..end], &new, None).is_err());
        }
    }

    #[test]
    fn corrupted_transfer_does_no_harm() {
        let store = "http_req_cnt,http_req_rate(10s),server_key,gpc(2)";
        let old = config(store);
        let table = old.tables.live("t").expect("it is there");
        for n in 0..50u32 {
            let held = table.get(n.to_string().as_bytes()).expect("room");
            held.add(DataType::HttpReqRate, 0, u64::from(n));
            held.set(DataType::ServerKey, 0, table.words.number("web1").into());
        }
        let bytes = super::super::export(&old, None).bytes;
        let new = config(store);
        let mut random = lab::Random::new(1);
        let mut next = move || random.next();
        for _ in 0..2000 {
            let mut bytes = bytes.clone();
            for _ in 0..=next() % 8 {
                let at = next() as usize % bytes.len();
                bytes[at] = next() as u8;
            }
            let _ = super::super::import(&bytes, &new, None);
            let table = new.tables.live("t").expect("it is there");
            assert!(table.used() <= 100);
            for key in table.keys() {
                assert!(key.len() <= 20);
                if let Some(held) = table.find(&key) {
                    _ = held.get(DataType::HttpReqRate, 0);
                }
                table.remove(&key);
            }
        }
    }

    #[test]
    fn large_tables_are_not_stored() {
        let text = "listen t\n bind 127.0.0.1:1\n stick-table type integer size 100k expire 1h\n";
        let mut config = load_text(text).config.expect("it loads");
        install(&mut config, None, 0);
        let table = config.tables.live("t").expect("it is there");
        for n in 0..=KEPT_ENTRIES_MAX {
            drop(table.get(&n.to_ne_bytes()));
        }
        let all = super::super::export(&config, None).bytes.len();
        let kept = super::super::export_kept(&config, None).len();
        assert!(
            all > 8 * KEPT_ENTRIES_MAX as usize && kept < 1000,
            "{all} {kept}"
        );
    }
}
