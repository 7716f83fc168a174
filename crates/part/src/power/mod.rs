//! Controls a machine's power from another machine: by its management controller (IPMI), a program,
//! or a fence agent. Nodes fence each other this way, and operators switch machines that boot from
//! the network.
//!
//! - [`control`] defines a method as configured, the command of each action, and the meaning of its
//!   end.
//! - [`child`] runs a command without blocking.
//! - [`ask`] runs a command and waits, for commands of an operator.
//! - [`mod@line`] parses a method from a line of a file.
//!
//! The module never decides when a machine is switched.

pub mod ask;
pub mod child;
pub mod control;
pub mod line;
