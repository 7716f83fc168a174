//! Why a supervisor does not begin to serve.

use language::reason;
use part::daemon::DaemonError;
use std::fmt;
use std::io;

/// Why a supervisor does not begin to serve.
#[derive(Debug)]
pub enum StartError {
    /// Sockets of the master could not be opened; each was told.
    Listeners,
    /// Going into the background, or the file of the process id.
    Daemon(DaemonError),
    /// Signal descriptors, poll(2).
    Threads(io::Error),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StartError::Listeners => {
                f.write_str("Some protocols failed to start their listeners! Exiting.")
            }
            StartError::Daemon(error) => error.fmt(f),
            StartError::Threads(error) => write!(f, "Cannot start threads ({})", reason(error)),
        }
    }
}

impl std::error::Error for StartError {}

impl From<DaemonError> for StartError {
    fn from(error: DaemonError) -> Self {
        StartError::Daemon(error)
    }
}
