//! Defines the lookups in maps with many entries, and writes the maps and the files that use them.

use std::fmt::Write;
use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use super::error::BenchError;

const TEMPLATE: &str = include_str!("configuration/map.cfg");

/// Number of entries of the map that is compared with the large one.
pub const ENTRIES_SMALL: usize = 100;
/// Number of addresses in each network of a map of networks.
const ADDRESSES_A_NETWORK: usize = 256;

/// Kind of lookup in a map.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lookup {
    Text,
    /// The beginning of a text.
    Beginning,
    /// The end of a text.
    End,
    /// A part of a name, between its dots.
    Domain,
    /// An address in a network.
    Network,
}

impl Lookup {
    fn converter(self) -> &'static str {
        match self {
            Self::Text => "map_str",
            Self::Beginning => "map_beg",
            Self::End => "map_end",
            Self::Domain => "map_dom",
            Self::Network => "map_ip",
        }
    }

    /// Returns the key of an entry.
    fn key(self, entry: usize) -> String {
        match self {
            Self::Text => format!("/shop/{entry}.html"),
            Self::Beginning => format!("/shop/{entry}/"),
            Self::End => format!("/{entry}.html"),
            Self::Domain => format!("shop{entry}.example.com"),
            Self::Network => {
                let first = u32::try_from(entry * ADDRESSES_A_NETWORK).unwrap_or(u32::MAX);
                format!("{}/24", Ipv4Addr::from(first))
            }
        }
    }

    fn expression(self) -> &'static str {
        match self {
            Self::Text => "str(/shop/),concat(,txn.number,.html)",
            Self::Beginning => "str(/shop/),concat(,txn.number,/item.html)",
            Self::End => "str(/shop/),concat(,txn.number,.html)",
            Self::Domain => "str(www.shop),concat(,txn.number,.example.com)",
            Self::Network => "var(txn.number)",
        }
    }

    /// Writes a map with this number of entries and the file that uses it; returns the path of the
    /// file.
    pub fn write(self, entries: usize, folder: &Path) -> Result<PathBuf, BenchError> {
        let name = self.converter();
        let map = folder.join(format!("{name}-{entries}.map"));
        let mut text = String::new();
        for entry in 0..entries {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "{} value{entry}", self.key(entry));
        }
        fs::write(&map, text).map_err(BenchError::file("writing", &map))?;
        let numbers = match self {
            Self::Network => entries * ADDRESSES_A_NETWORK,
            _ => entries,
        };
        let text = TEMPLATE
            .replace("@NUMBERS@", &numbers.to_string())
            .replace("@KEY@", self.expression())
            .replace("@CONVERTER@", name)
            .replace("@MAP@", &map.display().to_string());
        let path = folder.join(format!("{name}-{entries}.cfg"));
        fs::write(&path, text).map_err(BenchError::file("writing", &path))?;
        Ok(path)
    }
}
