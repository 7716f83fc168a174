//! Runtime resolution of host and service names (`resolvers` sections). The schedule of
//! queries and the evaluation of responses need no IO ([`model::names`], [`assign`]). The
//! driver on the side thread is the only part with sockets and a clock, and changes servers
//! through the methods of their state. No thread of the data plane waits for it, except in a
//! rule that resolves a name.

mod assign;
mod driver;
mod exchange;
mod follow;

pub use driver::{Following, start};
