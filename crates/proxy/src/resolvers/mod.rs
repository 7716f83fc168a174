//! Resolution of host and service names while traffic flows: the `resolvers` sections.
//! The schedule of queries and the results of responses are values ([`model::names`],
//! [`assign`]). The driver on the side thread is the only part with sockets and a clock,
//! and changes servers through the methods of their state. No thread of the data plane
//! waits for any of it, except for a rule that resolves.

mod assign;
mod driver;
mod exchange;
mod follow;

pub use driver::{Following, start};
