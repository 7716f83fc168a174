//! The tables of a configuration by name, and the places by which its rules find
//! them: a place is filled once, when the configuration is about to serve.

use super::key::KeyType;
use super::store::{Make, Settings, Table};
use crate::setting::ProxyIndex;
use language::Span;
use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

/// One `stick-table` line, or a `table` line of peers.
#[derive(Clone, Debug)]
pub struct StickTable {
    /// Its name: of its proxy, or `peers/table`.
    pub name: Box<str>,
    /// Its proxy; none of a table that stands with peers.
    pub proxy: Option<ProxyIndex>,
    /// Where it stands.
    pub span: Span,
    /// What it is made of.
    pub make: Make,
    /// What `store` says: types, elements, periods.
    pub data: Vec<(super::data::DataType, u32, u32)>,
    /// The rest.
    pub settings: Settings,
    /// `peers`: the section whose peers it is shared with.
    pub peers: Option<Box<str>>,
    /// `write-to`: the table that gets its changes, too.
    pub write_to: Option<Arc<TablePlace>>,
    /// `srvkey addr`: servers are told apart by address, not by name.
    pub server_by_address: bool,
    /// Where rules find it.
    pub place: Arc<TablePlace>,
}

/// Where rules find a table by its name.
#[derive(Debug)]
pub struct TablePlace {
    /// The name.
    pub name: Box<str>,
    live: OnceLock<Arc<Table>>,
}

impl TablePlace {
    /// The table, once its configuration serves.
    pub fn get(&self) -> Option<&Arc<Table>> {
        self.live.get()
    }
}

/// All tables of a configuration.
#[derive(Clone, Debug, Default)]
pub struct Tables {
    /// In the order of the file.
    pub all: Vec<StickTable>,
    places: HashMap<Box<str>, Arc<TablePlace>>,
}

impl Tables {
    /// The place of a name, be it one of a table that stands below, or of none.
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

    /// The table of a name.
    pub fn by_name(&self, name: &str) -> Option<&StickTable> {
        self.all.iter().find(|table| *table.name == *name)
    }

    /// The table of a name that serves.
    pub fn live(&self, name: &str) -> Option<&Arc<Table>> {
        self.places.get(name)?.get()
    }

    /// All that serve.
    pub fn serving(&self) -> impl DoubleEndedIterator<Item = &Arc<Table>> {
        self.all.iter().filter_map(|table| table.place.get())
    }

    /// Removes all entries that have expired.
    pub fn sweep(&self) {
        self.serving().for_each(|table| table.sweep());
    }

    /// Gives each its entries: those of the older configuration's table of the
    /// same name. Where its make changed they are copied, as far as they fit.
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
            // Nobody else fills a place of a tree that does not serve yet.
            let _ = table.place.live.set(live);
        }
    }
}

/// Whether keys of one table can be keys of another.
fn takes_keys(from: &Make, to: &Make) -> bool {
    from.key == to.key && (from.length == to.length || from.key == KeyType::String)
}

/// Copies entries into a table of another make: what both store.
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
        // It is held by streams of the older configuration, who let it go there.
        new.set(super::data::DataType::ConnCur, 0, 0);
        if from.expire_ms() != 0 && to.expire_ms() != 0 {
            new.set_expires_in_ms(old.expires_in_ms().min(to.expire_ms()));
        }
    }
}
