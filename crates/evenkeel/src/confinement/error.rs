//! Why a process is not confined, where the kernel could.

use rustix::io::Errno;
use std::fmt;
use std::io;
use std::path::PathBuf;

/// Why a process is not confined, where the kernel could.
#[derive(Debug)]
pub enum ConfinementError {
    /// Capabilities could not be read or given up.
    Capabilities {
        /// The system's reason.
        errno: Errno,
    },
    /// A file or directory that it is to keep.
    Path {
        /// Its path.
        path: PathBuf,
        /// Why it cannot be opened.
        error: landlock::PathFdError,
    },
    /// Landlock refused rules.
    Files(landlock::RulesetError),
    /// The filter of system calls could not be made.
    Filter(seccompiler::BackendError),
    /// The kernel, which has such filters, refused this one.
    FilterRefused(io::Error),
}

impl fmt::Display for ConfinementError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ConfinementError::Capabilities { errno } => {
                write!(f, "cannot drop capabilities: {errno}")
            }
            ConfinementError::Path { path, error } => {
                write!(f, "cannot keep access to {}: {error}", path.display())
            }
            ConfinementError::Files(error) => {
                write!(f, "cannot drop access to files: {error}")
            }
            ConfinementError::Filter(error) => {
                write!(f, "cannot create the system call filter: {error}")
            }
            ConfinementError::FilterRefused(error) => {
                write!(f, "the kernel refused the system call filter: {error}")
            }
        }
    }
}

impl std::error::Error for ConfinementError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            ConfinementError::Capabilities { errno } => Some(errno),
            ConfinementError::Path { error, .. } => Some(error),
            ConfinementError::Files(error) => Some(error),
            ConfinementError::Filter(error) => Some(error),
            ConfinementError::FilterRefused(error) => Some(error),
        }
    }
}
