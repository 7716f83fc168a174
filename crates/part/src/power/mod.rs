//! The power of a machine, as another one switches it: by its management controller (IPMI), by a
//! program, or by a fence agent. A node fences another one so, and a person switches machines that
//! boot from the network.
//!
//! - [`control`] is such a method as the files name it, the command of each action, and what its end means.
//! - [`child`] runs a command without waiting for it.
//! - [`ask`] runs one and waits, for commands of an operator.
//! - [`mod@line`] reads a method from a line of a file.
//!
//! It never decides when a machine is switched.

pub mod ask;
pub mod child;
pub mod control;
pub mod line;
