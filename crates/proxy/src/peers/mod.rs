//! Peers: stick tables shared by several processes, with HAProxy's protocol
//! ([`protocol::peers`]). [`model::shared_tables`] is the state that all connections of a
//! `peers` section share. `driver` transfers the bytes on the side thread. The data plane
//! does not know the protocol; it only marks updated entries in a table.

mod driver;
mod report;
#[cfg(test)]
mod tests;

pub use driver::{Driver, start};
pub use report::report;
