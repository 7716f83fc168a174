//! Rows of keywords, and finding them by the block that they stand in.

use super::family;
use super::loader::Loader;
use super::tree::Node;
use language::keyword::{Documented, Family, Keyword};
use std::collections::HashMap;
use std::sync::OnceLock;

/// Outside of every block.
pub(super) const TOP: &str = "keepalived.conf";

/// A keyword of a block.
pub(super) type Row = Keyword<Build>;

/// How a keyword is built.
#[derive(Debug)]
pub(super) struct Build {
    /// Whether a block follows.
    pub(super) block: bool,
    /// Fewest words behind it.
    pub(super) least: usize,
    /// Most words behind it.
    pub(super) most: usize,
    /// What it does.
    pub(super) effect: Effect,
}

/// What a keyword does.
#[derive(Debug)]
pub(super) enum Effect {
    /// Puts it into the model.
    Run(fn(&mut Loader<'_>, &Node)),
    /// Nothing in this program, for this reason.
    None(&'static str),
    /// Nothing, because it is so without the keyword, for this reason.
    Anyway(&'static str),
}

/// A line of so many words behind its keyword.
pub(super) const fn line(least: usize, most: usize, run: fn(&mut Loader<'_>, &Node)) -> Build {
    Build {
        block: false,
        least,
        most,
        effect: Effect::Run(run),
    }
}

/// A line that has no effect here.
pub(super) const fn no_effect(least: usize, most: usize, why: &'static str) -> Build {
    Build {
        block: false,
        least,
        most,
        effect: Effect::None(why),
    }
}

/// A line for what is so without it.
pub(super) const fn so_anyway(least: usize, most: usize, why: &'static str) -> Build {
    Build {
        block: false,
        least,
        most,
        effect: Effect::Anyway(why),
    }
}

/// A block of so many words before its brace.
pub(super) const fn block(least: usize, most: usize, run: fn(&mut Loader<'_>, &Node)) -> Build {
    Build {
        block: true,
        least,
        most,
        effect: Effect::Run(run),
    }
}

type Table = HashMap<(&'static str, &'static str), &'static Row>;

fn table() -> &'static Table {
    static TABLE: OnceLock<Table> = OnceLock::new();
    TABLE.get_or_init(|| {
        let mut table = HashMap::new();
        for (_, rows) in family::FAMILIES {
            for row in *rows {
                for place in row.places {
                    table.insert((*place, row.name()), row);
                }
            }
        }
        table
    })
}

/// The row of a keyword in a place.
pub(super) fn find(place: &str, name: &str) -> Option<&'static Row> {
    // A key of static lifetimes is found by one that lives less long.
    let table: &HashMap<(&str, &str), &'static Row> = table();
    table.get(&(place, name)).copied()
}

/// The names of a place.
pub(super) fn names_in(place: &str) -> impl Iterator<Item = &'static str> {
    table()
        .keys()
        .filter(move |(at, _)| *at == place)
        .map(|(_, name)| *name)
}

/// Places where a name is legal.
pub(super) fn places_of(name: &str) -> Vec<&'static str> {
    let keys = table().keys().filter(|(_, n)| *n == name);
    let mut places: Vec<&str> = keys.map(|(place, _)| *place).collect();
    places.sort_unstable();
    places
}

/// Whether the word opens a block of the top and can stand in no other.
pub(super) fn is_block_of_the_top(name: &str) -> bool {
    find(TOP, name).is_some_and(|row| row.build.block) && places_of(name).len() == 1
}

/// Every row, for the manual and `evenkeel keyword`.
pub fn documented() -> Vec<Documented> {
    fn all<B>(kind: &'static str, families: &'static [Family<B>]) -> Vec<Documented> {
        let rows = families
            .iter()
            .flat_map(|(title, rows)| rows.iter().map(move |row| (*title, row)));
        rows.map(|(title, row)| row.documented(kind, title))
            .collect()
    }
    let mut rows = all("keepalived keyword", family::FAMILIES);
    rows.extend(all("keepalived address option", family::ADDRESS_OPTIONS));
    rows.extend(all("keepalived route option", family::ROUTE_OPTIONS));
    rows.extend(all("keepalived rule option", family::RULE_OPTIONS));
    rows
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn no_place_has_a_keyword_twice() {
        let mut seen = HashSet::new();
        for (_, rows) in family::FAMILIES {
            for row in *rows {
                for place in row.places {
                    assert!(seen.insert((*place, row.name())), "{place} {}", row.name());
                }
            }
        }
    }

    #[test]
    fn every_row_says_what_it_is() {
        for row in documented() {
            assert!(row.doc.len() > 8, "{}", row.name);
            assert!(
                row.syntax.starts_with(row.name) || row.name == "address",
                "{}",
                row.syntax
            );
            assert!(
                !row.example.is_empty() || row.name.starts_with("virtual_server"),
                "{}",
                row.name
            );
        }
    }
}
