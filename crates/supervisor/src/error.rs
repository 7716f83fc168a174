//! Errors of the start.

use crate::conflict::ClaimError;
use language::reason;
use part::daemon::DaemonError;
use std::io;

/// The reason why a supervisor does not start to serve.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Master sockets could not be opened; each failure was reported.
    #[error("Some protocols failed to start their listeners! Exiting.")]
    Listeners,
    /// The process cannot move into the background or open its PID file.
    #[error(transparent)]
    Daemon(#[from] DaemonError),
    /// Another instance on this machine conflicts with this one.
    #[error(transparent)]
    Claim(#[from] ClaimError),
    /// Signal descriptors or poll(2) failed.
    #[error("Cannot start threads ({})", reason(.0))]
    Threads(io::Error),
}
