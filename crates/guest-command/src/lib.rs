//! Commands about guests and nodes: `evenkeel guest`, `node` and `fence`. They join what the parts
//! `guest` and `volume` do, and create and import disk images.
//!
//! Orders go to the roles through the running supervisor. Images are inspected and changed here, by
//! confined programs, before a guest has them.

#![allow(
    clippy::missing_errors_doc,
    reason = "an error is the message that a command prints"
)]

pub mod cli;

pub use cli::{COMMANDS, set_confine};
