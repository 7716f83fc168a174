//! Names of hosts and services while traffic flows: the `resolvers` sections at
//! work. What is asked when, and what answers come to, are values ([`crate::names`],
//! [`assign`]); the driver on the side thread is the only part with
//! sockets and a clock, and changes servers by their state's own methods. No
//! thread of the data plane waits for any of it but a rule that asks.

mod assign;
mod driver;
mod exchange;
mod follow;

pub use driver::{Following, start};
