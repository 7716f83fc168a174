//! Why a supervisor does not begin to serve.

use crate::conflict::ClaimError;
use language::reason;
use part::daemon::DaemonError;
use std::io;

/// Why a supervisor does not begin to serve.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Sockets of the master could not be opened; each was told.
    #[error("Some protocols failed to start their listeners! Exiting.")]
    Listeners,
    /// Going into the background, or the file of the process id.
    #[error(transparent)]
    Daemon(#[from] DaemonError),
    /// Another instance of this machine.
    #[error(transparent)]
    Claim(#[from] ClaimError),
    /// Signal descriptors, poll(2).
    #[error("Cannot start threads ({})", reason(.0))]
    Threads(io::Error),
}
