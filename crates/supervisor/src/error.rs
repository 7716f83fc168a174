//! Defines the errors that end a start, with their messages.

use crate::conflict::ClaimError;
use language::reason;
use part::daemon::DaemonError;
use std::io;

/// The reason why a supervisor does not start to serve.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("Some protocols failed to start their listeners! Exiting.")]
    Listeners,
    #[error(transparent)]
    Daemon(#[from] DaemonError),
    #[error(transparent)]
    Claim(#[from] ClaimError),
    #[error("Cannot start threads ({})", reason(.0))]
    Threads(io::Error),
}
