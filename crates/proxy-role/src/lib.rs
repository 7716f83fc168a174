//! Runs the proxy as a process. [`process`] is the life cycle of any process that serves: alone, as
//! the demo, or below a supervisor. [`role`] is the process that a supervisor starts.
//!
//! The crate knows no command line and reads no configuration file: it receives a loaded
//! configuration, or a bundle.

pub mod process;
pub mod role;
