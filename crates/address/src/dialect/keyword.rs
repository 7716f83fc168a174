//! Finds the row of a keyword (syntax, number of words, effect) by its name and its block.

use super::family;
use super::loader::Loader;
use super::tree::ConfigStatement;
use language::keyword::{Documented, Family, Keyword};
use std::collections::HashMap;
use std::sync::OnceLock;

/// Name of the place outside all blocks.
pub(super) const TOP: &str = "keepalived.conf";

pub(super) type Row = Keyword<Build>;

/// Syntax and effect of a keyword.
#[derive(Debug)]
pub(super) struct Build {
    pub(super) block: bool,
    /// Minimum number of words after the keyword.
    pub(super) least: usize,
    /// Maximum number of words after the keyword.
    pub(super) most: usize,
    pub(super) effect: Effect,
}

#[derive(Debug)]
pub(super) enum Effect {
    /// Calls the function that adds the line to the configuration.
    Run(fn(&mut Loader<'_>, &ConfigStatement)),
    /// The line has no effect in Evenkeel, for this reason.
    None(&'static str),
    /// The line requests what Evenkeel does anyway, for this reason.
    Anyway(&'static str),
}

/// Defines a line with `least` to `most` words after its keyword.
pub(super) const fn line(
    least: usize,
    most: usize,
    run: fn(&mut Loader<'_>, &ConfigStatement),
) -> Build {
    Build {
        block: false,
        least,
        most,
        effect: Effect::Run(run),
    }
}

/// Defines a line that has no effect in Evenkeel.
pub(super) const fn no_effect(least: usize, most: usize, why: &'static str) -> Build {
    Build {
        block: false,
        least,
        most,
        effect: Effect::None(why),
    }
}

/// Defines a line that requests what Evenkeel does anyway.
pub(super) const fn so_anyway(least: usize, most: usize, why: &'static str) -> Build {
    Build {
        block: false,
        least,
        most,
        effect: Effect::Anyway(why),
    }
}

/// Defines a block with `least` to `most` words between its keyword and its brace.
pub(super) const fn block(
    least: usize,
    most: usize,
    run: fn(&mut Loader<'_>, &ConfigStatement),
) -> Build {
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

/// Returns the row of a keyword in a place.
pub(super) fn find(place: &str, name: &str) -> Option<&'static Row> {
    // Uses a type with shorter lifetimes, so that `name` can be used as a key.
    let table: &HashMap<(&str, &str), &'static Row> = table();
    table.get(&(place, name)).copied()
}

/// Returns the keywords of a place.
pub(super) fn names_in(place: &str) -> impl Iterator<Item = &'static str> {
    table()
        .keys()
        .filter(move |(at, _)| *at == place)
        .map(|(_, name)| *name)
}

/// Returns the places in which a keyword is legal.
pub(super) fn places_of(name: &str) -> Vec<&'static str> {
    let keys = table().keys().filter(|(_, n)| *n == name);
    let mut places: Vec<&str> = keys.map(|(place, _)| *place).collect();
    places.sort_unstable();
    places
}

/// Returns whether a word opens a block that is only legal outside all blocks.
pub(super) fn is_block_of_the_top(name: &str) -> bool {
    find(TOP, name).is_some_and(|row| row.build.block) && places_of(name).len() == 1
}

/// Returns every row, for the manual and `evenkeel keyword`.
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
