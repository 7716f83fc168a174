//! Opens the listening sockets with the initial privileges ([`fn@open`]), or reuses inherited
//! ones. [`crate::accept`] then accepts connections on every thread. All threads poll the same
//! descriptors, so their number does not depend on the number of threads.

mod assign;
mod file;
mod identity;
mod inherited;
mod names;
mod open;
mod open_set;
mod options;

pub(crate) use assign::note_unopened;
pub use assign::{AssignError, addresses, assign, tags, wanted};
pub(crate) use identity::interface;
pub use identity::{Unrecognized, inode};
pub use inherited::{Inherited, SettleError};
pub(crate) use open::apply_frontend_states;
pub(crate) use open::open_alone;
pub use open::{Listening, OpenError, OpenStep, open};
pub(crate) use open_set::{OpenListeners, SocketKey};
pub(crate) use options::set_unsent;

#[cfg(test)]
mod tests;
