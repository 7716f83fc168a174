//! Finds the stick tables of a configuration by name, and defines the references by which rules
//! find them. A reference is filled once, before the configuration serves clients.

use super::key::KeyType;
use super::store::{Make, Settings, Table};
use crate::setting::ProxyIndex;
use language::Span;
use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

/// A `stick-table` line, or a `table` line of a `peers` section.
#[derive(Clone, Debug)]
pub struct StickTable {
    /// Name of the table: that of its proxy, or `peers/table`.
    pub name: Box<str>,
    /// Proxy of the table; None for a table of a `peers` section.
    pub proxy: Option<ProxyIndex>,
    pub span: Span,
    pub make: Make,
    /// `store`: types, numbers of elements, periods.
    pub data: Vec<(super::data::DataType, u32, u32)>,
    /// Settings that may change while the entries stay.
    pub settings: Settings,
    /// `peers`: the section with which the table is shared.
    pub peers: Option<Box<str>>,
    /// `write-to`: a second table that receives its changes.
    pub write_to: Option<Arc<TablePlace>>,
    /// `srvkey addr`: servers are identified by address, not by name.
    pub server_by_address: bool,
    pub place: Arc<TablePlace>,
}

/// Reference of a rule to a stick table, by name.
#[derive(Debug)]
pub struct TablePlace {
    /// Name of the table, in the form of [`StickTable::name`].
    pub name: Box<str>,
    live: OnceLock<Arc<Table>>,
}

impl TablePlace {
    /// Returns the table; None before the configuration serves.
    pub fn get(&self) -> Option<&Arc<Table>> {
        self.live.get()
    }
}

#[derive(Clone, Debug, Default)]
pub struct Tables {
    pub all: Vec<StickTable>,
    places: HashMap<Box<str>, Arc<TablePlace>>,
}

impl Tables {
    /// Returns the reference for a name, even if the table is defined later or not at all.
    pub fn place(&mut self, name: &str) -> Arc<TablePlace> {
        if let Some(place) = self.places.get(name) {
            return Arc::clone(place);
        }
        let place = Arc::new(TablePlace {
            name: name.into(),
            live: OnceLock::new(),
        });
        self.places.insert(name.into(), Arc::clone(&place));
        place
    }

    pub fn by_name(&self, name: &str) -> Option<&StickTable> {
        self.all.iter().find(|table| *table.name == *name)
    }

    pub fn live(&self, name: &str) -> Option<&Arc<Table>> {
        self.places.get(name)?.get()
    }

    pub fn serving(&self) -> impl DoubleEndedIterator<Item = &Arc<Table>> {
        self.all.iter().filter_map(|table| table.place.get())
    }

    pub fn sweep(&self) {
        self.serving().for_each(|table| table.sweep());
    }

    /// Connects each table with the entries of the table of the same name in the older
    /// configuration. If the structure of the table has changed, copies the entries that still
    /// fit.
    pub fn adopt(&mut self, old: Option<&Tables>) {
        for table in &self.all {
            let known = old.and_then(|old| old.live(&table.name));
            let live = match known {
                Some(known) if known.make == table.make => Arc::clone(known),
                _ => Arc::new(Table::new(&table.name, table.make.clone(), table.settings)),
            };
            live.configure(table.settings);
            if let Some(known) = known.filter(|known| !Arc::ptr_eq(known, &live)) {
                copy(known, &live);
            }
            // Fails only if the reference was filled before, which does not happen.
            let _ = table.place.live.set(live);
        }
    }
}

/// Returns whether the keys of one table are valid keys of another.
fn takes_keys(from: &Make, to: &Make) -> bool {
    from.key == to.key && (from.length == to.length || from.key == KeyType::String)
}

/// Copies entries into a table of another structure, with the data that both tables store.
fn copy(from: &Arc<Table>, to: &Arc<Table>) {
    if !takes_keys(&from.make, &to.make) {
        return;
    }
    for key in from.keys() {
        if key.len() > to.make.key.bytes(to.make.length) as usize || to.available() == 0 {
            continue;
        }
        let (Some(old), Some(new)) = (from.find(&key), to.get(&key)) else {
            continue;
        };
        for stored in to.make.layout.stored() {
            for element in 0..stored.elements {
                let cell = from.make.layout.cell(stored.kind, element);
                let (Some(cell), Some(other)) = (cell, stored.cell(element)) else {
                    continue;
                };
                match cell.shape {
                    super::data::Shape::Rate if cell.period_ms == other.period_ms => {
                        new.set_rate_parts(other, old.rate_parts(cell));
                    }
                    super::data::Shape::Word => {
                        let text = from.words.text(old.read(cell) as u32);
                        let number = text.map_or(0, |text| to.words.number(&text));
                        new.write(other, number.into());
                    }
                    _ => new.write(other, old.read(cell)),
                }
            }
        }
        // Connections under the older configuration hold the old entry, and will decrement the
        // count there, not in the copy.
        new.set(super::data::DataType::ConnCur, 0, 0);
        if from.expire_ms() != 0 && to.expire_ms() != 0 {
            new.set_expires_in_ms(old.expires_in_ms().min(to.expire_ms()));
        }
    }
}
