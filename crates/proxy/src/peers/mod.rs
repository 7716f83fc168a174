//! Peers: tables that several processes share, by HAProxy's protocol
//! ([`protocol::peers`]). [`model::shared_tables`] is what all connections of one
//! `peers` section have in common, `driver` moves the bytes on the side thread. The data plane knows nothing
//! of it: it notes in a table which entries are news.

mod driver;
mod report;
#[cfg(test)]
mod tests;

pub use driver::{Driver, start};
pub use report::report;
