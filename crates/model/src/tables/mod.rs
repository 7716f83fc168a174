//! Stick tables: what is remembered of clients, of users, of anything that can be
//! a key, over connections and requests. `store` holds entries, `data` says what
//! stands in one, `set` which tables a configuration has, `tracked` what a
//! connection or stream holds of them. Nothing here reads a message or knows a keyword.

pub mod codes;
pub mod data;
mod entry;
mod key;
mod rate;
mod set;
pub mod store;
#[cfg(test)]
mod tests;
pub mod tracked;
pub mod words;

pub use data::{Cell, DataType, ELEMENTS_MAX, Layout, Shape, Stored};
pub use entry::Held;
pub use key::{KeyType, LENGTH_DEFAULT, LENGTH_MAX, TEXT_DEFAULT};
pub use set::{StickTable, TablePlace, Tables};
pub use store::{Make, Removal, Settings, Table};
pub use tracked::{Level, SessionTrackers, Trackers};
