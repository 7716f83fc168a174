//! Implements the commands about guests and nodes: `evenkeel guest`, `node` and `fence`, with the
//! creation and import of disk images. They are a crate of their own because they use both the
//! crate `guest` and the crate `volume`.
//!
//! The guest role executes orders, which reach it through the running supervisor. A command itself
//! builds, inspects and changes an image, by confined programs, before a guest gets it.

#![allow(
    clippy::missing_errors_doc,
    reason = "an error is the message that a command prints"
)]

pub mod cli;

pub use cli::{COMMANDS, set_confine};
