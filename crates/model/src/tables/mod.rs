//! Implements stick tables: data about clients, users or other keys across connections and
//! requests. `store` holds the entries, `data` defines their content, `set` the tables of a
//! configuration, and `tracked` the entries that a connection or stream holds. Nothing here reads
//! a message or knows a keyword.

pub mod codes;
pub mod data;
mod entry;
mod key;
mod long;
mod rate;
mod set;
pub mod store;
#[cfg(test)]
mod tests;
pub mod tracked;
pub mod words;

pub use data::{Cell, DataType, ELEMENTS_MAX, Layout, Shape, Stored};
pub use entry::HeldEntry;
pub use key::{KeyType, LENGTH_DEFAULT, LENGTH_MAX, TEXT_DEFAULT};
pub use rate::RateParts;
pub use set::{StickTable, TablePlace, Tables};
pub use store::{Make, Removal, Settings, Table};
pub use tracked::{Level, SessionTrackers, Trackers};
