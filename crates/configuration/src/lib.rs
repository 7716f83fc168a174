//! Loading of configuration files, whichever part of the program the sections are of:
//! the files of the command line, all that a load asks of its environment, and the recording
//! of a load, from which it is done again elsewhere.
//!
//! This crate knows no keyword, no part and no process.

mod context;
pub mod files;
mod options;
pub mod outside;
mod recording;

pub use context::Context;
pub use options::LoadOptions;
pub use recording::{Export, HEAD_BYTES, Recording, RecordingError, without_secrets};
