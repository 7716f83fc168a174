//! Shares stick tables with other processes by HAProxy's peers protocol ([`protocol::peers`]).
//! `driver` has the connections, on the side thread, and [`model::shared_tables`] the state that
//! all connections of a `peers` section share. The threads that serve clients do not know the
//! protocol; they only mark updated entries in a table.

mod driver;
mod report;
#[cfg(test)]
mod tests;

pub use driver::{Driver, start};
pub use report::report;
