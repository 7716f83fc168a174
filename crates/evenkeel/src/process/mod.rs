//! The life of a process that serves: from a loaded configuration to its end.
//! What needs the rights of the start (listeners, log sockets, limits, the
//! file of the process id) comes first, then the fork, then the rights are
//! given up, and only then threads begin.
//!
//! Nothing here knows a keyword or a command line.

mod daemon;
mod error;
mod limits;
mod open;
mod privileges;
mod processors;
mod side;
mod signals;
mod start;

pub use error::StartError;
use limits::WantedLimits;
pub use side::Side;
pub use start::{Plan, Serving, load_files, run, serve};
