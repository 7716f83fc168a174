//! Implements the commands about guests and nodes: `evenkeel guest`, `node` and `fence`. They also
//! create and import disk images. They are a crate of their own because they use both the crate
//! `guest` and the crate `volume`.
//!
//! The roles execute the orders, which reach them through the running supervisor. A command itself
//! inspects and changes an image, by confined programs, before a guest gets it.

#![allow(
    clippy::missing_errors_doc,
    reason = "an error is the message that a command prints"
)]

pub mod cli;

pub use cli::{COMMANDS, set_confine};
