//! Resolves host and service names while the proxy runs (`resolvers` sections). The schedule of
//! queries and the evaluation of responses need no IO ([`model::names`], [`assign`]). Only the
//! driver, on the side thread, has sockets and a clock, and it changes servers through the
//! methods of their state. A thread that serves clients never waits for it; a rule that resolves
//! a name suspends its own stream only.

mod assign;
mod driver;
mod exchange;
mod follow;

pub use driver::{Following, start};
