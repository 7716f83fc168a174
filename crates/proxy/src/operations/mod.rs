//! Implements HAProxy's runtime API: the statistics sockets and their commands. All of it runs on
//! the side thread (a large report on a thread of its own). Commands change a state only through
//! the state's own methods, and no stream ever waits for a command.

mod command;
mod connection;
mod places;
mod serving;
mod socket;

pub use command::documented;
pub(crate) use command::kept;
pub use connection::orders;
pub use serving::{StatisticsSockets, start};
pub use socket::{OpenFailure, OperationsSocket, Rights, assign, open, open_one, tags};

#[cfg(test)]
mod dynamic_tests;
#[cfg(test)]
mod lists_tests;
#[cfg(test)]
mod reply_tests;
#[cfg(test)]
mod secrecy_tests;
#[cfg(test)]
mod survival_tests;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod tls_tests;
